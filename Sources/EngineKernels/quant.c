// Spreads quantisation over the thread pool, and the parts that are small: the dynamic map's blocks and
// the mean of scales. The formulas are in quant_body.h and quant.h.
#include "quant_internal.h"
#include "EngineKernels.h"

static const float nf4[16] = EK_NF4_VALUES;
const float *ek_nf4_table(void) { return nf4; }

EK_DISPATCH(bool, int8_quantize_row,
    (const float *w, long columns, int8_t *codes, float *absmax), (w, columns, codes, absmax))
EK_DISPATCH(void, int8_dequantize_row,
    (const int8_t *codes, float absmax, long columns, float *w), (codes, absmax, columns, w))
EK_DISPATCH(bool, nf4_quantize_block,
    (const float *w, long count, uint8_t *packed, float *absmax), (w, count, packed, absmax))
EK_DISPATCH(void, nf4_dequantize_block,
    (const uint8_t *packed, float absmax, long count, float *w), (packed, absmax, count, w))
EK_DISPATCH(void, int8_products_row,
    (const int8_t *a, const int8_t *b, long n, long k, int32_t *c), (a, b, n, k, c))

// About 65,536 elements a task, whatever the threads.
enum { taskSize = 65536 };

typedef struct {
    const float *in;
    float *out, *absmax;
    const float *scales;
    const int8_t *a, *b;
    int8_t *codes;
    const uint8_t *packed;
    uint8_t *packedOut;
    int32_t *sums;
    long rows, columns, inner, grain;
    bool *finite;  // one a task
} job;

static long rowsEach(long columns) {
    long rows = taskSize / (columns > 0 ? columns : 1);
    return rows > 0 ? rows : 1;
}
static long end(const job *j, long task) {
    long last = (task + 1) * j->grain;
    return last < j->rows ? last : j->rows;
}
static bool all(const bool *finite, long count) {
    for (long i = 0; i < count; i++) if (!finite[i]) return false;
    return true;
}

static void int8QuantizeTask(void *context, ptrdiff_t task) {
    const job *j = context;
    bool finite = true;
    for (long r = task * j->grain; r < end(j, task); r++) {
        finite &= ek_int8_quantize_row(
            j->in + r * j->columns, j->columns, j->codes + r * j->columns, j->absmax + r);
    }
    j->finite[task] = finite;
}

bool ek_int8_quantize(const float *w, long rows, long columns, int8_t *codes, float *absmax) {
    long grain = rowsEach(columns), tasks = (rows + grain - 1) / grain;
    bool finite[tasks > 0 ? tasks : 1];
    job j = {.in = w, .codes = codes, .absmax = absmax, .rows = rows, .columns = columns,
             .grain = grain, .finite = finite};
    ek_parallel(tasks, int8QuantizeTask, &j);
    return all(finite, tasks);
}

static void int8DequantizeTask(void *context, ptrdiff_t task) {
    const job *j = context;
    for (long r = task * j->grain; r < end(j, task); r++) {
        ek_int8_dequantize_row(
            j->a + r * j->columns, j->scales[r], j->columns, j->out + r * j->columns);
    }
}

void ek_int8_dequantize(
    const int8_t *codes, const float *absmax, long rows, long columns, float *w) {
    long grain = rowsEach(columns);
    job j = {.a = codes, .scales = absmax, .rows = rows, .columns = columns, .out = w,
             .grain = grain};
    ek_parallel((rows + grain - 1) / grain, int8DequantizeTask, &j);
}

// Blocks of 64; `columns` counts all elements, `rows` the blocks.
static long blockCount(const job *j, long block) {
    long left = j->columns - block * 64;
    return left < 64 ? left : 64;
}

static void nf4QuantizeTask(void *context, ptrdiff_t task) {
    const job *j = context;
    bool finite = true;
    for (long b = task * j->grain; b < end(j, task); b++) {
        finite &= ek_nf4_quantize_block(
            j->in + b * 64, blockCount(j, b), j->packedOut + b * 32, j->absmax + b);
    }
    j->finite[task] = finite;
}

bool ek_nf4_quantize(const float *w, long count, uint8_t *packed, float *absmax) {
    long blocks = (count + 63) / 64, grain = taskSize / 64, tasks = (blocks + grain - 1) / grain;
    bool finite[tasks > 0 ? tasks : 1];
    job j = {.in = w, .packedOut = packed, .absmax = absmax, .rows = blocks, .columns = count,
             .grain = grain, .finite = finite};
    ek_parallel(tasks, nf4QuantizeTask, &j);
    return all(finite, tasks);
}

static void nf4DequantizeTask(void *context, ptrdiff_t task) {
    const job *j = context;
    for (long b = task * j->grain; b < end(j, task); b++) {
        ek_nf4_dequantize_block(
            j->packed + b * 32, j->scales[b], blockCount(j, b), j->out + b * 64);
    }
}

void ek_nf4_dequantize(const uint8_t *packed, const float *absmax, long count, float *w) {
    long blocks = (count + 63) / 64, grain = taskSize / 64;
    job j = {.packed = packed, .scales = absmax, .out = w, .rows = blocks, .columns = count,
             .grain = grain};
    ek_parallel((blocks + grain - 1) / grain, nf4DequantizeTask, &j);
}

void ek_map_quantize(
    const float *values, long count, long block, const float *map, uint8_t *codes,
    float *absmax) {
    float edges[255];
    for (int i = 0; i < 255; i++) edges[i] = (map[i] + map[i + 1]) / 2;
    for (long start = 0; start < count; start += block) {
        long last = start + block < count ? start + block : count;
        float peak = 0;
        for (long i = start; i < last; i++) peak = fmaxf(peak, fabsf(values[i]));
        absmax[start / block] = peak;
        float inverse = 1.0f / (peak > 1e-38f ? peak : 1e-38f);
        for (long i = start; i < last; i++) {
            float x = values[i] * inverse;
            x = x < -1 ? -1 : x > 1 ? 1 : x;
            int low = 0, high = 255;  // the number of edges below x
            while (low < high) {
                int middle = (low + high) / 2;
                if (edges[middle] < x) low = middle + 1;
                else high = middle;
            }
            codes[i] = (uint8_t)low;
        }
    }
}

static float pairwiseSum(const float *x, long n) {
    if (n < 8) {
        float sum = 0;
        for (long i = 0; i < n; i++) sum += x[i];
        return sum;
    }
    if (n <= 128) {
        float r[8];
        for (int j = 0; j < 8; j++) r[j] = x[j];
        long i = 8;
        for (; i < n - n % 8; i += 8) {
            for (int j = 0; j < 8; j++) r[j] += x[i + j];
        }
        float sum = ((r[0] + r[1]) + (r[2] + r[3])) + ((r[4] + r[5]) + (r[6] + r[7]));
        for (; i < n; i++) sum += x[i];
        return sum;
    }
    long half = n / 2;
    half -= half % 8;
    return pairwiseSum(x, half) + pairwiseSum(x + half, n - half);
}

float ek_pairwise_mean(const float *values, long count) {
    return count > 0 ? pairwiseSum(values, count) / (float)count : 0;
}

static void int8ProductsTask(void *context, ptrdiff_t task) {
    // A task is a stretch of b's rows, so that each is read once for all of a's.
    const job *j = context;
    long first = task * j->grain, last = first + j->grain < j->columns ? first + j->grain : j->columns;
    for (long r = 0; r < j->rows; r++) {
        ek_int8_products_row(
            j->a + r * j->inner, j->b + first * j->inner, last - first, j->inner,
            j->sums + r * j->columns + first);
    }
}

void ek_int8_products(const int8_t *a, const int8_t *b, long m, long n, long k, int32_t *c) {
    long grain = rowsEach(k);
    job j = {.a = a, .b = b, .rows = m, .columns = n, .inner = k, .sums = c, .grain = grain};
    ek_parallel((n + grain - 1) / grain, int8ProductsTask, &j);
}
