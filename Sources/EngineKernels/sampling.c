// The weights that a token is drawn by, over the threads. Each element is a chain of roundings of its own, so
// neither threads nor variants matter.
#include "EngineKernels.h"
#include "simd_types.h"

EK_DISPATCH(
    void, sampling_weights,
    (const float *logits, ptrdiff_t count, double largest, double temperature, double *weights),
    (logits, count, largest, temperature, weights))

enum { block = 8192 };

typedef struct {
    const float *logits;
    ptrdiff_t count;
    double largest, temperature;
    double *weights;
} sampling_job;

static void samplingTask(void *context, ptrdiff_t index) {
    const sampling_job *job = context;
    ptrdiff_t at = index * block, n = job->count - at < block ? job->count - at : block;
    ek_sampling_weights(
        job->logits + at, n, job->largest, job->temperature, job->weights + at);
}

void ek_token_weights(
    const float *logits, ptrdiff_t count, double largest, double temperature, double *weights) {
    sampling_job job = {logits, count, largest, temperature, weights};
    ek_parallel((count + block - 1) / block, samplingTask, &job);
}
