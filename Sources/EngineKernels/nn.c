// Spreads the transformer operators over the thread pool. The ranges are fixed by the problem, and
// no range's result depends on another's, so the bits cannot tell how many threads there were.
#include "nn_internal.h"
#include "pool.h"

extern const ek_nn_loops ek_nn_loops_scalar;
#if defined(__x86_64__)
extern const ek_nn_loops ek_nn_loops_avx2, ek_nn_loops_avx512;
#endif

static const ek_nn_loops *loops(void) {
#if defined(__x86_64__)
    switch (ek_variant()) {
    case 2: return &ek_nn_loops_avx512;
    case 1: return &ek_nn_loops_avx2;
    }
#endif
    return &ek_nn_loops_scalar;
}

typedef void (*range_body)(const void *, long, long);
typedef struct { range_body body; const void *arguments; long count, grain; } range_job;

static void rangeTask(void *context, long index) {
    const range_job *job = context;
    long begin = index * job->grain, end = begin + job->grain;
    job->body(job->arguments, begin, end < job->count ? end : job->count);
}

// `cost` is the elements an item takes: a task gets about 16,384 of them.
static void spread(range_body body, const void *arguments, long count, long cost, long multiple) {
    if (count <= 0) return;
    long grain = 16384 / (cost > 0 ? cost : 1);
    grain = (grain / multiple) * multiple;
    if (grain < multiple) grain = multiple;
    range_job job = {body, arguments, count, grain};
    ek_parallel((count + grain - 1) / grain, rangeTask, &job);
}

void ek_rmsnorm(const ek_rmsnorm_t *a) {
    spread((range_body)loops()->rmsnorm, a, a->rows, a->groups * a->dim, 1);
}
void ek_rmsnorm_backward(const ek_rmsnorm_backward_t *a) {
    if (a->dw && a->rows > 0) {
        spread((range_body)loops()->rmsnormWeight, a, a->dim, a->rows * a->groups, 64);
    }
    if (a->dx) {
        spread((range_body)loops()->rmsnormBackward, a, a->rows, 2 * a->groups * a->dim, 1);
    }
}
void ek_rope(const ek_rope_t *a) {
    spread((range_body)loops()->rope, a, a->rows, a->heads * a->headDim, 1);
}
void ek_glu(const ek_glu_t *a) {
    spread((range_body)loops()->glu, a, a->rows, 4 * a->dim, 1);
}
void ek_glu_backward(const ek_glu_t *a) {
    spread((range_body)loops()->gluBackward, a, a->rows, 8 * a->dim, 1);
}
void ek_nn_add(float *y, const float *a, const float *b, long count) {
    ek_add_t arguments = {y, a, b};
    spread((range_body)loops()->add, &arguments, count, 1, 16);
}
void ek_nn_scale(float *y, float factor, long count) {
    // One long row would be one task: cut it.
    long whole = count / 4096;
    ek_scale_t arguments = {y, y, 4096, 4096, 4096, factor};
    spread((range_body)loops()->scaleRows, &arguments, whole, 4096, 1);
    ek_scale_t tail = {y + whole * 4096, y + whole * 4096, 0, 0, count - whole * 4096, factor};
    loops()->scaleRows(&tail, 0, 1);
}
void ek_nn_scale_rows(float *y, long yStride, const float *x, long xStride, long rows, long dim,
                      float factor) {
    ek_scale_t arguments = {y, x, yStride, xStride, dim, factor};
    spread((range_body)loops()->scaleRows, &arguments, rows, dim, 1);
}
void ek_embed(float *y, const void *table, int dtype, const int32_t *ids, long rows, long dim,
              float scale) {
    ek_embed_t arguments = {y, 0, 0, table, ids, rows, dim, dtype, scale};
    spread((range_body)loops()->embed, &arguments, rows, dim, 1);
}
void ek_embed_backward(float *dTable, const float *dy, const int32_t *ids, long rows, long dim,
                       float scale) {
    ek_embed_t arguments = {0, dTable, dy, 0, ids, rows, dim, 0, scale};
    spread((range_body)loops()->embedBackward, &arguments, dim, rows, 64);
}

typedef struct { float *y; const float *x; const int32_t *index; long dim; } move_job;
static void gatherRange(const void *context, long begin, long end) {
    const move_job *job = context;
    for (long r = begin; r < end; r++) {
        memcpy(job->y + r * job->dim, job->x + job->index[r] * job->dim, (size_t)job->dim * 4);
    }
}
static void scatterRange(const void *context, long begin, long end) {
    const move_job *job = context;
    for (long r = begin; r < end; r++) {
        memcpy(job->y + job->index[r] * job->dim, job->x + r * job->dim, (size_t)job->dim * 4);
    }
}
void ek_gather_rows(float *y, const float *x, const int32_t *index, long rows, long dim) {
    move_job job = {y, x, index, dim};
    spread(gatherRange, &job, rows, dim, 1);
}
void ek_scatter_rows(float *y, const float *x, const int32_t *index, long rows, long dim) {
    move_job job = {y, x, index, dim};
    spread(scatterRange, &job, rows, dim, 1);
}

static void attentionTask(void *context, long index) { loops()->attention(context, index); }
static void attentionBackwardTask(void *context, long index) {
    loops()->attentionBackward(context, index);
}
static void cachedTask(void *context, long index) { loops()->cachedAttention(context, index); }
void ek_attention(const ek_attention_t *a) {
    ek_parallel(a->sequences * a->keyValueHeads, attentionTask, (void *)a);
}
void ek_attention_backward(const ek_attention_t *a) {
    ek_parallel(a->sequences * a->keyValueHeads, attentionBackwardTask, (void *)a);
}
void ek_cached_attention(const ek_cached_attention_t *a) {
    ek_parallel(a->sequences * a->keyValueHeads, cachedTask, (void *)a);
}

void ek_cross_entropy(const ek_cross_entropy_t *a) {
    spread((range_body)loops()->crossEntropy, a, a->rows, 4 * a->vocabulary, 1);
}
void ek_softcap(float *x, long count, float cap) {
    ek_softcap_t arguments = {x, cap};
    spread((range_body)loops()->softcap, &arguments, count, 4, 16);
}
// Updated and digested block by block, while a block is in the cache: a second reading of a large state would take as
// long as memory does.
enum { adamwBlock = ek_digest_block_bytes / sizeof(float) };
typedef struct { const ek_adamw_t *a; long first; uint64_t *parts; } adamw_job;
static void adamwTask(void *context, long index) {
    const adamw_job *job = context;
    const ek_adamw_t *a = job->a;
    long begin = (job->first + index) * adamwBlock;
    long n = a->count - begin < adamwBlock ? a->count - begin : adamwBlock;
    loops()->adamw(a, begin, begin + n);
    const float *tensors[3] = {a->p, a->m, a->v};
    for (int i = 0; i < 3; i++) {
        job->parts[3 * index + i] =
            ek_digest_block((const unsigned char *)(tensors[i] + begin), n * (long)sizeof(float));
    }
}
void ek_adamw(const ek_adamw_t *a) {
    if (a->digests == NULL) {
        spread((range_body)loops()->adamw, a, a->count, 4, 16);
        return;
    }
    uint64_t parts[3 * 256];
    for (int i = 0; i < 3; i++) a->digests[i] = (uint64_t)a->count * sizeof(float);
    long blocks = (a->count + adamwBlock - 1) / adamwBlock;
    for (long first = 0; first < blocks; first += 256) {
        long n = blocks - first < 256 ? blocks - first : 256;
        adamw_job job = {a, first, parts};
        // Waking the pool costs more than one block does.
        if (n == 1) {
            adamwTask(&job, 0);
        } else {
            ek_parallel(n, adamwTask, &job);
        }
        for (long j = 0; j < 3 * n; j++) a->digests[j % 3] = ek_mix(a->digests[j % 3], parts[j]);
    }
}

typedef struct { const float *x; long count; double *partial; } square_job;
static void squareTask(void *context, long index) {
    const square_job *job = context;
    long begin = index * 4096, n = job->count - begin < 4096 ? job->count - begin : 4096;
    job->partial[index] = loops()->squares(job->x + begin, n);
}
double ek_sum_of_squares(const float *x, long count) {
    // Batches of 1024 blocks keep the partial sums on the stack; the total ascends all the same.
    double total = 0, partial[1024];
    for (long begin = 0; begin < count; begin += 1024 * 4096) {
        long n = count - begin < 1024 * 4096 ? count - begin : 1024 * 4096;
        long blocks = (n + 4095) / 4096;
        square_job job = {x + begin, n, partial};
        ek_parallel(blocks, squareTask, &job);
        for (long i = 0; i < blocks; i++) total += partial[i];
    }
    return total;
}
long ek_first_non_finite(const float *x, long count) { return loops()->nonFinite(x, count); }
long ek_argmax(const float *x, long count) {
    // Sixteen lanes apart, each the first of its equals; nothing is greater than a NaN that comes first.
    enum { lanes = 16 };
    if (count < 2 * lanes || x[0] != x[0]) {
        long best = 0;
        for (long i = 1; i < count; i++) {
            if (x[i] > x[best]) best = i;
        }
        return best;
    }
    float value[lanes];
    int32_t at[lanes];
    for (int l = 0; l < lanes; l++) {
        value[l] = x[0];
        at[l] = 0;
    }
    long i = 0;
    for (; i + lanes <= count; i += lanes) {
        for (int l = 0; l < lanes; l++) {
            bool greater = x[i + l] > value[l];
            value[l] = greater ? x[i + l] : value[l];
            at[l] = greater ? (int32_t)i + l : at[l];
        }
    }
    long best = 0;
    for (int l = 0; l < lanes; l++) {
        if (value[l] > x[best] || (value[l] == x[best] && at[l] < best)) best = at[l];
    }
    for (; i < count; i++) {
        if (x[i] > x[best]) best = i;
    }
    return best;
}
