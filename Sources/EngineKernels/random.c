// Counter-based random numbers: the n-th word of a stream is a function of key, nonce and n alone.
#include "EngineKernels.h"
#include "simd_types.h"

EK_DISPATCH(
    void, random_words, (const ek_random *r, uint64_t first, ptrdiff_t count, uint32_t *to),
    (r, first, count, to))
EK_DISPATCH(
    void, random_uniform, (const ek_random *r, uint64_t first, ptrdiff_t count, float *to),
    (r, first, count, to))
EK_DISPATCH(
    void, random_normal_part, (const ek_random *r, uint64_t first, ptrdiff_t count, float *to),
    (r, first, count, to))

typedef struct {
    const ek_random *r;
    uint64_t first;
    ptrdiff_t count;
    float *to;
} normal_job;

// A multiple of what a variant makes at a time, so that no block of the cipher is made twice.
enum { normalPart = 16384 };

static void normalTask(void *context, ptrdiff_t index) {
    const normal_job *job = context;
    ptrdiff_t begin = index * normalPart, n = job->count - begin;
    ek_random_normal_part(
        job->r, job->first + 2 * (uint64_t)begin, n < normalPart ? n : normalPart, job->to + begin);
}

void ek_random_normal(const ek_random *r, uint64_t first, ptrdiff_t count, float *to) {
    normal_job job = {r, first, count, to};
    ek_parallel((count + normalPart - 1) / normalPart, normalTask, &job);
}

EK_DISPATCH(
    void, random_block, (const ek_random *r, uint64_t block, uint32_t *to), (r, block, to))
