// Copies that change layout or element type, shared out over the threads.
#include "EngineKernels.h"
#include "simd_types.h"

EK_DISPATCH(
    void, transpose_block,
    (long rows, long columns, const float *from, long fromStride, float *to, long toStride),
    (rows, columns, from, fromStride, to, toStride))
EK_DISPATCH(
    void, widen_range, (ptrdiff_t count, ek_dtype kind, const void *from, float *to),
    (count, kind, from, to))
EK_DISPATCH(
    void, narrow_range, (ptrdiff_t count, ek_dtype kind, const float *from, void *to),
    (count, kind, from, to))

enum { side = 64 };  // a tile of 64 × 64 reads and writes whole cache lines

typedef struct {
    long rows, columns, fromStride, toStride;
    const float *from;
    float *to;
} transposition;

static void transposeTask(void *context, ptrdiff_t index) {
    const transposition *t = context;
    long i = index * side, m = t->rows - i < side ? t->rows - i : side;
    for (long j = 0; j < t->columns; j += side) {
        long n = t->columns - j < side ? t->columns - j : side;
        ek_transpose_block(
            m, n, t->from + i * t->fromStride + j, t->fromStride, t->to + j * t->toStride + i,
            t->toStride);
    }
}

void ek_transpose(
    ptrdiff_t rows, ptrdiff_t columns, const float *from, ptrdiff_t fromStride, float *to,
    ptrdiff_t toStride
) {
    transposition t = {rows, columns, fromStride, toStride, from, to};
    ptrdiff_t tasks = (rows + side - 1) / side;
    if (rows * columns < 1 << 15) {
        for (ptrdiff_t i = 0; i < tasks; i++) transposeTask(&t, i);
    } else {
        ek_parallel(tasks, transposeTask, &t);
    }
}
