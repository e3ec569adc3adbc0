// What LLM.int8 does around its integer product: which columns hold outliers, and the sums scaled. Every
// element is a fixed few roundings of its own, so neither threads nor variants matter.
#include "EngineKernels.h"
#include <math.h>

typedef struct {
    const float *x, *left, *right;
    const int32_t *sums;
    long rows, columns, stride;
    float threshold;
    bool *marks;
    float *y;
} job;

enum { stripe = 256 };

static void markTask(void *context, ptrdiff_t task) {
    const job *j = context;
    long first = task * stripe, last = first + stripe < j->columns ? first + stripe : j->columns;
    for (long c = first; c < last; c++) j->marks[c] = false;
    for (long r = 0; r < j->rows; r++) {
        const float *x = j->x + r * j->columns;
        for (long c = first; c < last; c++) j->marks[c] |= fabsf(x[c]) >= j->threshold;
    }
}

void ek_int8_mark_outliers(
    const float *x, long rows, long columns, float threshold, bool *marks) {
    job j = {.x = x, .rows = rows, .columns = columns, .threshold = threshold, .marks = marks};
    ek_parallel((columns + stripe - 1) / stripe, markTask, &j);
}

static void scaleTask(void *context, ptrdiff_t row) {
    const job *j = context;
    const int32_t *sums = j->sums + row * j->columns;
    float *y = j->y + row * j->stride;
    float left = j->left[row];
    for (long c = 0; c < j->columns; c++) {
        y[c] = (float)sums[c] * (left * j->right[c]) * 6.200124e-05f;
    }
}

void ek_int8_scale_sums(
    const int32_t *sums, const float *left, const float *right, long rows, long columns, float *y,
    long stride) {
    job j = {.sums = sums, .left = left, .right = right, .rows = rows, .columns = columns, .y = y,
             .stride = stride};
    ek_parallel(rows, scaleTask, &j);
}
