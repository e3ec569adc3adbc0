// Element by element and reductions over whole arrays: cut into blocks that the length alone fixes.
#include "EngineKernels.h"
#include "pool.h"
#include "simd_types.h"

EK_DISPATCH(
    void, unary_range, (ek_unary_op op, ptrdiff_t count, const float *x, float *y),
    (op, count, x, y))
EK_DISPATCH(
    void, binary_range,
    (ek_binary_op op, ptrdiff_t count, const float *x, const float *y, bool isScalar, float factor,
     float *z),
    (op, count, x, y, isScalar, factor, z))
EK_DISPATCH(float, sum_block, (const float *x, ptrdiff_t count), (x, count))
EK_DISPATCH(float, dot_block, (const float *x, const float *y, ptrdiff_t count), (x, y, count))
EK_DISPATCH(float, max_block, (const float *x, ptrdiff_t count), (x, count))
EK_DISPATCH(
    double, sum_block_f64, (const float *x, const float *y, ptrdiff_t count), (x, y, count))
EK_DISPATCH(void, softmax_row, (ptrdiff_t count, const float *x, float *y), (count, x, y))

enum {
    elementBlock = 1 << 14,    // 64 KiB of operand: a task long enough to be worth its start
    reductionBlock = 1 << 12,  // part of what a sum means: changing it changes bits
};

static ptrdiff_t smaller(ptrdiff_t a, ptrdiff_t b) { return a < b ? a : b; }

typedef struct {
    int op;
    ptrdiff_t count;
    const float *x, *y;
    ptrdiff_t period;  // y repeats after so many elements; 0: one number
    float factor;
    float *z;
} elements;

static void unaryTask(void *context, ptrdiff_t index) {
    const elements *e = context;
    ptrdiff_t at = index * elementBlock;
    ek_unary_range(
        (ek_unary_op)e->op, smaller(elementBlock, e->count - at), e->x + at, e->z + at);
}

void ek_unary(ek_unary_op op, ptrdiff_t count, const float *x, float *y) {
    elements e = {.op = (int)op, .count = count, .x = x, .z = y};
    ek_parallel((count + elementBlock - 1) / elementBlock, unaryTask, &e);
}

static void binaryTask(void *context, ptrdiff_t index) {
    const elements *e = context;
    ptrdiff_t at = index * elementBlock, end = smaller(at + elementBlock, e->count);
    if (e->period == 0) {
        ek_binary_range(
            (ek_binary_op)e->op, end - at, e->x + at, e->y, true, e->factor, e->z + at);
        return;
    }
    while (at < end) {
        ptrdiff_t offset = at % e->period, n = smaller(end - at, e->period - offset);
        ek_binary_range(
            (ek_binary_op)e->op, n, e->x + at, e->y + offset, false, e->factor, e->z + at);
        at += n;
    }
}

void ek_binary(
    ek_binary_op op, ptrdiff_t count, const float *x, const float *y, ptrdiff_t period,
    float factor, float *z
) {
    elements e = {
        .op = (int)op, .count = count, .x = x, .y = y, .period = period, .factor = factor, .z = z};
    ek_parallel((count + elementBlock - 1) / elementBlock, binaryTask, &e);
}

typedef struct {
    ptrdiff_t count;
    const float *x, *y;
    double *wide;
    float *narrow;
    bool isMax;
} reduction;

static void reduceTask(void *context, ptrdiff_t index) {
    const reduction *r = context;
    ptrdiff_t at = index * reductionBlock, n = smaller(reductionBlock, r->count - at);
    const float *x = r->x + at, *y = r->y ? r->y + at : NULL;
    if (r->wide) r->wide[index] = ek_sum_block_f64(x, y, n);
    else if (r->isMax) r->narrow[index] = ek_max_block(x, n);
    else r->narrow[index] = y ? ek_dot_block(x, y, n) : ek_sum_block(x, n);
}

static void reduce(reduction *r, ptrdiff_t blocks) {
    if (r->count < elementBlock) {
        for (ptrdiff_t i = 0; i < blocks; i++) reduceTask(r, i);
    } else {
        ek_parallel(blocks, reduceTask, r);
    }
}

/// Halves added, and their halves, down to single blocks: the error grows with the logarithm.
static float pairwise(const float *x, ptrdiff_t count) {
    if (count == 0) return 0;
    if (count == 1) return x[0];
    return pairwise(x, count / 2) + pairwise(x + count / 2, count - count / 2);
}

static float reduceNarrow(ptrdiff_t count, const float *x, const float *y, bool isMax) {
    ptrdiff_t blocks = (count + reductionBlock - 1) / reductionBlock;
    float *partial = ek_scratch(2, (size_t)(blocks + 1) * 4);
    reduction r = {.count = count, .x = x, .y = y, .narrow = partial, .isMax = isMax};
    reduce(&r, blocks);
    if (!isMax) return pairwise(partial, blocks);
    return ek_max_block(partial, blocks);
}

float ek_sum(ptrdiff_t count, const float *x) { return reduceNarrow(count, x, NULL, false); }
float ek_dot(ptrdiff_t count, const float *x, const float *y) {
    return reduceNarrow(count, x, y, false);
}
float ek_max(ptrdiff_t count, const float *x) { return reduceNarrow(count, x, NULL, true); }

double ek_dot_f64(ptrdiff_t count, const float *x, const float *y) {
    ptrdiff_t blocks = (count + reductionBlock - 1) / reductionBlock;
    double *partial = ek_scratch(2, (size_t)(blocks + 1) * 8);
    reduction r = {.count = count, .x = x, .y = y, .wide = partial};
    reduce(&r, blocks);
    double sum = 0;
    for (ptrdiff_t i = 0; i < blocks; i++) sum += partial[i];
    return sum;
}
double ek_sum_f64(ptrdiff_t count, const float *x) { return ek_dot_f64(count, x, NULL); }

typedef struct {
    ptrdiff_t rows, columns, perTask;
    const float *x;
    float *y;
} rowwise;

static void softmaxTask(void *context, ptrdiff_t index) {
    const rowwise *r = context;
    ptrdiff_t end = smaller((index + 1) * r->perTask, r->rows);
    for (ptrdiff_t i = index * r->perTask; i < end; i++) {
        ek_softmax_row(r->columns, r->x + i * r->columns, r->y + i * r->columns);
    }
}

void ek_softmax(ptrdiff_t rows, ptrdiff_t columns, const float *x, float *y) {
    if (rows == 0 || columns == 0) return;
    rowwise r = {rows, columns, elementBlock / columns + 1, x, y};
    ek_parallel((rows + r.perTask - 1) / r.perTask, softmaxTask, &r);
}

typedef struct {
    ptrdiff_t count;
    ek_dtype kind;
    const void *from;
    void *to;
    bool widens;
} conversion;

void ek_widen_range(ptrdiff_t, ek_dtype, const void *, float *);
void ek_narrow_range(ptrdiff_t, ek_dtype, const float *, void *);

static void convertTask(void *context, ptrdiff_t index) {
    const conversion *c = context;
    ptrdiff_t at = index * elementBlock, n = smaller(elementBlock, c->count - at);
    if (c->widens) ek_widen_range(n, c->kind, (const uint16_t *)c->from + at, (float *)c->to + at);
    else ek_narrow_range(n, c->kind, (const float *)c->from + at, (uint16_t *)c->to + at);
}

void ek_widen(ptrdiff_t count, ek_dtype kind, const void *from, float *to) {
    conversion c = {count, kind, from, to, true};
    ek_parallel((count + elementBlock - 1) / elementBlock, convertTask, &c);
}

void ek_narrow(ptrdiff_t count, ek_dtype kind, const float *from, void *to) {
    conversion c = {count, kind, from, to, false};
    ek_parallel((count + elementBlock - 1) / elementBlock, convertTask, &c);
}
