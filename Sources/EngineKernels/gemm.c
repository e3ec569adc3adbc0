// The matrix product's blocking and threads. C is cut into blocks over k, so that a panel of B and
// a block of A stay in cache; C is reloaded between them, so that each of its elements remains one
// chain of fused multiply-adds.
#include "EngineKernels.h"
#include "pool.h"
#include "simd_types.h"

EK_DISPATCH(void, gemm_geometry, (int *mr, int *nr), (mr, nr))
EK_DISPATCH(
    void, gemm_pack,
    (const ek_matrix *x, bool isB, long row, long rows, long k0, long kc, float *to),
    (x, isB, row, rows, k0, kc, to))
EK_DISPATCH(
    void, gemm_tile,
    (long m, long n, long kc, const float *a, const float *b, float *c, long ldc, bool accumulate),
    (m, n, kc, a, b, c, ldc, accumulate))

EK_DISPATCH(
    void, gemm_narrow,
    (long rows, long n, long kc, const float *a, long aRow, long aStep, const float *b, long lanes,
     float *c, long ldc, bool accumulate),
    (rows, n, kc, a, aRow, aStep, b, lanes, c, ldc, accumulate))
EK_DISPATCH(void, gemm_low_rows, (int *rows), (rows))
EK_DISPATCH(
    void, gemm_low,
    (long m, long columns, long kc, const float *a, const float *b, long bStep, float *c, long ldc,
     bool accumulate),
    (m, columns, kc, a, b, bStep, c, ldc, accumulate))
EK_DISPATCH(
    void, gemm_vector,
    (long m, const ek_matrix *w, long row, long rows, long k, const float *x, long ldx, float *c,
     long ldc, bool accumulate),
    (m, w, row, rows, k, x, ldx, c, ldc, accumulate))

// Measured on Zen 4 (1 MiB of second-level cache): C is reloaded between blocks of k, so long blocks
// win until a block of A leaves that cache.
enum {
    blockK = 768,        // the longest k of one packed block
    blockN = 2048,       // columns of B packed at a time: 6 MiB, in the third-level cache
    tilePanelsA = 12,    // panels of A in one tile's share: with AVX-512 504 KiB
    packPanels = 4,      // panels that one task packs
    serialWork = 48 * 48 * 48,  // products smaller than this are not worth another thread
    narrowColumns = 32,  // C this narrow: A is not worth packing
    lowRows = 32,        // C this low: B is not worth packing
    vectorRows = 4,      // C so low that W is used straight from registers
};

static long smaller(long a, long b) { return a < b ? a : b; }
static long quotient(long a, long b) { return (a + b - 1) / b; }

typedef struct {
    const ek_gemm_call *call;
    int mr, nr;
    long k0, kc, j0, nc;          // the block of B
    long panelsA, panelsB;        // in all of A, in this block of B
    long tileColumns, tilesAcross;
    float *a, *b;
    bool packsA;
} block;

static void packTask(void *context, ptrdiff_t index) {
    block *t = context;
    const ek_gemm_call *g = t->call;
    long tasksA = t->packsA ? quotient(t->panelsA, packPanels) : 0;
    bool isB = index >= tasksA;
    long first = (isB ? index - tasksA : index) * packPanels;
    long last = smaller(first + packPanels, isB ? t->panelsB : t->panelsA);
    for (long i = first; i < last; i++) {
        if (isB) {
            long columns = smaller(t->nr, t->nc - i * t->nr);
            ek_gemm_pack(
                &g->b, true, t->j0 + i * t->nr, columns, t->k0, t->kc, t->b + i * t->nr * t->kc);
        } else {
            long rows = smaller(t->mr, g->m - i * t->mr);
            ek_gemm_pack(&g->a, false, i * t->mr, rows, t->k0, t->kc, t->a + i * t->mr * t->kc);
        }
    }
}

static void tileTask(void *context, ptrdiff_t index) {
    block *t = context;
    const ek_gemm_call *g = t->call;
    long i = index / t->tilesAcross * tilePanelsA * t->mr;
    long j = index % t->tilesAcross * t->tileColumns;
    ek_gemm_tile(
        smaller(tilePanelsA * t->mr, g->m - i), smaller(t->tileColumns, t->nc - j), t->kc,
        t->a + i * t->kc, t->b + j * t->kc, g->c + i * g->ldc + t->j0 + j, g->ldc,
        g->accumulate || t->k0 > 0);
}

/// Calls `task` for every index, on the threads where the product is worth it.
static void spread(const ek_gemm_call *g, long tasks, void (*task)(void *, ptrdiff_t), void *t) {
    if (g->m * g->n * g->k < serialWork) {
        for (long i = 0; i < tasks; i++) task(t, i);
    } else {
        ek_parallel(tasks, task, t);
    }
}

/// The length of the blocks into which k is cut evenly.
static long evenBlock(long k, long longest) {
    return quotient(quotient(k, quotient(k, longest)), 16) * 16;
}

static void blocked(const ek_gemm_call *g) {
    block t = {.call = g, .packsA = true};
    ek_gemm_geometry(&t.mr, &t.nr);
    t.panelsA = quotient(g->m, t.mr);
    long nc = smaller(blockN, quotient(g->n, t.nr) * t.nr), longest = evenBlock(g->k, blockK);
    t.a = ek_scratch(0, (size_t)(g->m * longest + 16) * 4);
    t.b = ek_scratch(1, (size_t)(nc * longest) * 4);
    for (t.j0 = 0; t.j0 < g->n; t.j0 += nc) {
        t.nc = smaller(nc, g->n - t.j0);
        t.panelsB = quotient(t.nc, t.nr);
        // Tiles enough to share out evenly, wide enough that A's panels are worth their loading.
        long tilesDown = quotient(t.panelsA, tilePanelsA);
        long across = smaller(quotient(32, tilesDown), quotient(t.panelsB, 2));
        t.tileColumns = quotient(t.panelsB, across) * t.nr;
        t.tilesAcross = quotient(t.nc, t.tileColumns);
        for (t.k0 = 0; t.k0 < g->k; t.k0 += t.kc) {
            t.kc = smaller(longest, g->k - t.k0);
            spread(
                g, quotient(t.panelsA, packPanels) + quotient(t.panelsB, packPanels), packTask, &t);
            spread(g, tilesDown * t.tilesAcross, tileTask, &t);
        }
    }
}

// MARK: Thin products

enum {
    thinRows = 64, thinColumns = 256,  // rows or columns of C that one task computes
    thinDepth = 64,                    // k that it takes at a time where rows lie far apart
};

typedef struct {
    const ek_gemm_call *call;
    long lanes;
    float *packed;
} thin;

/// `rows` stretches of `width` floats, `stride` apart, brought together: far apart they are a page each,
/// which no hardware prefetcher follows.
static const float *gathered(const float *from, long stride, long rows, long width) {
    float *to = ek_scratch(3, (size_t)(rows * width) * 4);
    for (long i = 0; i < rows; i++) memcpy(to + i * width, from + i * stride, (size_t)width * 4);
    return to;
}

static void narrowTask(void *context, ptrdiff_t index) {
    const thin *t = context;
    const ek_gemm_call *g = t->call;
    if (!g->a.transposed) {
        long i = index * thinRows;
        ek_gemm_narrow(
            smaller(thinRows, g->m - i), g->n, g->k, (const float *)g->a.data + i * g->a.stride,
            g->a.stride, 1, t->packed, t->lanes, g->c + i * g->ldc, g->ldc, g->accumulate);
        return;
    }
    long i = index * thinColumns, rows = smaller(thinColumns, g->m - i);
    for (long k0 = 0; k0 < g->k; k0 += thinDepth) {
        long kc = smaller(thinDepth, g->k - k0);
        const float *a = gathered(
            (const float *)g->a.data + k0 * g->a.stride + i, g->a.stride, kc, rows);
        ek_gemm_narrow(
            rows, g->n, kc, a, 1, rows, t->packed + k0 * t->lanes, t->lanes, g->c + i * g->ldc,
            g->ldc, g->accumulate || k0 > 0);
    }
}

static void narrow(const ek_gemm_call *g) {
    long lanes = quotient(g->n, 16) * 16;
    thin t = {.call = g, .lanes = lanes, .packed = ek_scratch(1, (size_t)(lanes * g->k) * 4)};
    ek_gemm_pack(&g->b, true, 0, g->n, 0, g->k, t.packed);
    spread(g, quotient(g->m, g->a.transposed ? thinColumns : thinRows), narrowTask, &t);
}

static void lowTask(void *context, ptrdiff_t index) {
    const thin *t = context;
    const ek_gemm_call *g = t->call;
    long j = index * thinColumns, columns = smaller(thinColumns, g->n - j), whole = columns / 16 * 16;
    int rows;
    ek_gemm_low_rows(&rows);
    for (long k0 = 0; k0 < g->k; k0 += thinDepth) {
        long kc = smaller(thinDepth, g->k - k0);
        bool accumulate = g->accumulate || k0 > 0;
        const float *a = t->packed + k0 * g->m, *b = gathered(
            (const float *)g->b.data + k0 * g->b.stride + j, g->b.stride, kc, columns);
        ek_gemm_low(g->m, whole, kc, a, b, columns, g->c + j, g->ldc, accumulate);
        for (long q = whole; q < columns; q++) {
            for (long i = 0; i < g->m; i++) {
                float *c = g->c + i * g->ldc + j + q, sum = accumulate ? *c : 0;
                long panel = i / rows * rows, width = smaller(rows, g->m - panel);
                for (long p = 0; p < kc; p++) {
                    sum = fmaf(a[panel * kc + p * width + i - panel], b[p * columns + q], sum);
                }
                *c = sum;
            }
        }
    }
}

static void low(const ek_gemm_call *g) {
    int rows;
    ek_gemm_low_rows(&rows);
    thin t = {.call = g, .packed = ek_scratch(0, (size_t)(g->m * g->k) * 4)};
    for (long k0 = 0; k0 < g->k; k0 += thinDepth) {
        long kc = smaller(thinDepth, g->k - k0);
        for (long i = 0; i < g->m; i += rows) {
            ek_gemm_pack(
                &g->a, false, i, smaller(rows, g->m - i), k0, kc, t.packed + k0 * g->m + i * kc);
        }
    }
    spread(g, quotient(g->n, thinColumns), lowTask, &t);
}

static void vectorTask(void *context, ptrdiff_t index) {
    const thin *t = context;
    const ek_gemm_call *g = t->call;
    long j = index * thinRows;
    ek_gemm_vector(
        g->m, &g->b, j, smaller(thinRows, g->n - j), g->k, t->packed, g->k, g->c + j, g->ldc,
        g->accumulate);
}

static void vector(const ek_gemm_call *g) {
    thin t = {.call = g, .packed = ek_scratch(0, (size_t)(g->m * g->k) * 4)};
    // A's rows one after another, widened.
    for (long i = 0; i < g->m; i++) {
        ek_gemm_pack(&g->a, false, i, 1, 0, g->k, t.packed + i * g->k);
    }
    spread(g, quotient(g->n, thinRows), vectorTask, &t);
}

// MARK: The blas tier

static ek_sgemm blas = NULL;

void ek_set_blas(ek_sgemm sgemm) { blas = sgemm; }

EK_DISPATCH(
    void, gemm_decode, (const ek_matrix *x, long row, long rows, long columns, float *to),
    (x, row, rows, columns, to))

// The library's bits depend on the shape of a call and on its thread count: so C is always cut into
// these tiles, and a tile is one call on one thread.
enum { blasTile = 512 };

/// The stored part of an operand that a tile needs, as f32: `rows` of op(x) from `row`.
static const float *blasOperand(
    const ek_matrix *x, bool alongK, long row, long rows, long k, int slot, long *stride
) {
    if (x->dtype == EK_F32) {
        *stride = x->stride;
        return (const float *)x->data + (alongK ? row * x->stride : row);
    }
    float *to = ek_scratch(slot, (size_t)(rows * k) * 4);
    if (alongK) {
        ek_gemm_decode(x, row, rows, k, to);
        *stride = k;
        return to;
    }
    // Stored rows run along the other axis: its part of each, packed as the portable tier packs it.
    for (long i = 0; i < rows; i += EK_LANES) {
        float panel[EK_LANES * 64];
        long n = smaller(EK_LANES, rows - i);
        for (long p = 0; p < k; p += 64) {
            long kc = smaller(64, k - p);
            ek_gemm_pack(x, x->transposed ? false : true, row + i, n, p, kc, panel);
            long width = x->transposed ? n : EK_LANES;
            for (long q = 0; q < kc; q++) {
                memcpy(to + (p + q) * rows + i, panel + q * width, (size_t)n * 4);
            }
        }
    }
    *stride = rows;
    return to;
}

static void blasTask(void *context, ptrdiff_t index) {
    const ek_gemm_call *g = context;
    long across = quotient(g->n, blasTile);
    long i = index / across * blasTile, j = index % across * blasTile;
    long m = smaller(blasTile, g->m - i), n = smaller(blasTile, g->n - j), lda, ldb;
    const float *a = blasOperand(&g->a, !g->a.transposed, i, m, g->k, 0, &lda);
    const float *b = blasOperand(&g->b, g->b.transposed, j, n, g->k, 1, &ldb);
    enum { rowMajor = 101, noTranspose = 111, transpose = 112 };  // cblas.h
    blas(
        rowMajor, g->a.transposed ? transpose : noTranspose,
        g->b.transposed ? transpose : noTranspose, (int)m, (int)n, (int)g->k, 1, a, (int)lda, b,
        (int)ldb, g->accumulate ? 1 : 0, g->c + i * g->ldc + j, (int)g->ldc);
}

static void product(const ek_gemm_call *g) {
    if (g->m <= 0 || g->n <= 0) return;
    if (g->k <= 0) {
        if (!g->accumulate) {
            for (long i = 0; i < g->m; i++) memset(g->c + i * g->ldc, 0, (size_t)g->n * 4);
        }
        return;
    }
    if (blas) {
        spread(g, quotient(g->m, blasTile) * quotient(g->n, blasTile), blasTask, (void *)g);
    } else if (g->m <= vectorRows && g->b.transposed) vector(g);
    else if (g->n <= narrowColumns && g->a.dtype == EK_F32) narrow(g);
    else if (g->m <= lowRows && g->b.dtype == EK_F32 && !g->b.transposed) low(g);
    else blocked(g);
}

void ek_gemm(
    ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, ek_matrix a, ek_matrix b, float *c, ptrdiff_t ldc,
    bool accumulate
) {
    ek_gemm_call call = {m, n, k, a, b, c, ldc, accumulate};
    product(&call);
}

static void batchTask(void *context, ptrdiff_t index) { product((const ek_gemm_call *)context + index); }

void ek_gemm_batch(ptrdiff_t count, const ek_gemm_call *calls) {
    ek_parallel(count, batchTask, (void *)calls);
}
