// The matrix product's blocking and threads. C is cut into blocks over k, so that a panel of B and
// a block of A stay in cache; C is reloaded between them, so that each of its elements remains one
// chain of fused multiply-adds.
#include "gemm_internal.h"

EK_DISPATCH(void, gemm_geometry, (int *mr, int *nr), (mr, nr))
EK_DISPATCH(
    void, gemm_pack,
    (const ek_matrix *x, bool isB, long row, long rows, long k0, long kc, float *to),
    (x, isB, row, rows, k0, kc, to))
EK_DISPATCH(
    void, gemm_tile,
    (long m, long n, long kc, const float *a, const float *b, float *c, long ldc, bool accumulate,
     bool past),
    (m, n, kc, a, b, c, ldc, accumulate, past))

EK_DISPATCH(
    void, gemm_narrow,
    (long rows, long n, long kc, const float *a, long aRow, long aStep, const float *b, long lanes,
     float *c, long ldc, bool accumulate),
    (rows, n, kc, a, aRow, aStep, b, lanes, c, ldc, accumulate))
EK_DISPATCH(void, gemm_low_rows, (int *rows), (rows))
EK_DISPATCH(
    void, gemm_low,
    (long m, long columns, long kc, const float *a, const float *b, long bStep, float *c, long ldc,
     bool accumulate, const float *ahead),
    (m, columns, kc, a, b, bStep, c, ldc, accumulate, ahead))
// Measured on Zen 5 (48 KiB of first-level cache, 1 MiB of second, full-width AVX-512): C is reloaded
// between blocks of k, so long blocks win until a block of A and a panel of B leave the second-level cache;
// and a task walks all of k over its part of C, which stays near the core meanwhile.
enum {
    blockK = 1024,           // the longest k of one packed block
    longestK = 4096,         // k packed at a time; beyond it C is continued
    smallC = 1 << 20,        // floats of C up to which a longer product packs less k at a time,
    shortK = 1024,           // this much, in two blocks: C and what is packed stay in the caches together
    floatsA = 8 << 20,       // of A packed at a time: 32 MiB
    floatsB = 4 << 20,       // of B
    tilePanelsA = 8,         // panels of A in one task's share: with AVX-512 448 KiB of each block
    packPanels = 4,          // panels that one task packs
    pastDepth = 64, pastFloats = 6 << 20,  // k, and floats of C (24 MiB), from which C is written past the cache
    narrowColumns = 32,      // C this narrow: A is not worth packing
    lowRows = 32,            // C this low: B is not worth packing
};

/// A block of the product with both operands packed. A block of k of either lies after those before it:
/// panel i of A's at k0 · rows + i · mr · kc.
typedef struct {
    const ek_gemm_call *call;
    int mr, nr;
    long i0, rows, j0, columns, padded, k0, depth, stepK;  // columns rounded up to whole vectors
    long panelsA, panelsB, tilePanels, tileColumns, tilesAcross;
    float *a, *b;
    bool packsA, packsB;
    bool past;  // C is written past the cache
} block;

static void packTask(void *context, ptrdiff_t index) {
    block *t = context;
    const ek_gemm_call *g = t->call;
    long tasksA = t->packsA ? quotient(t->panelsA, packPanels) : 0;
    bool isB = index >= tasksA;
    long first = (isB ? index - tasksA : index) * packPanels;
    long last = smaller(first + packPanels, isB ? t->panelsB : t->panelsA);
    for (long k = 0; k < t->depth; k += t->stepK) {
        long kc = smaller(t->stepK, t->depth - k);
        for (long i = first; i < last; i++) {
            if (isB) {
                long columns = smaller(t->nr, t->columns - i * t->nr);
                ek_gemm_pack(
                    &g->b, true, t->j0 + i * t->nr, columns, t->k0 + k, kc,
                    t->b + k * t->padded + i * t->nr * kc);
            } else {
                long rows = smaller(t->mr, t->rows - i * t->mr);
                ek_gemm_pack(
                    &g->a, false, t->i0 + i * t->mr, rows, t->k0 + k, kc,
                    t->a + k * t->rows + i * t->mr * kc);
            }
        }
    }
}

static void tileTask(void *context, ptrdiff_t index) {
    block *t = context;
    const ek_gemm_call *g = t->call;
    long i = index / t->tilesAcross * t->tilePanels * t->mr;
    long j = index % t->tilesAcross * t->tileColumns;
    long m = smaller(t->tilePanels * t->mr, t->rows - i), n = smaller(t->tileColumns, t->columns - j);
    for (long k = 0; k < t->depth; k += t->stepK) {
        long kc = smaller(t->stepK, t->depth - k);
        ek_gemm_tile(
            m, n, kc, t->a + k * t->rows + i * kc, t->b + k * t->padded + j * kc,
            g->c + (t->i0 + i) * g->ldc + t->j0 + j, g->ldc, g->accumulate || t->k0 + k > 0,
            t->past);
    }
}

/// Calls `task` for every index, on the threads where the product is worth it.
static void spread(const ek_gemm_call *g, long tasks, void (*task)(void *, ptrdiff_t), void *t) {
    if (g->m * g->n * g->k < serialWork) {
        for (long i = 0; i < tasks; i++) task(t, i);
    } else {
        ek_parallel(tasks, task, t);
    }
}

/// The length of the blocks into which a length is cut evenly, a multiple of `unit`.
static long evenBlock(long length, long longest, long unit) {
    return roundedUp(quotient(length, quotient(length, longest)), unit);
}

static void blocked(const ek_gemm_call *g) {
    block t = {.call = g};
    ek_gemm_geometry(&t.mr, &t.nr);
    bool isShort = g->k > longestK && g->m * g->n <= smallC;
    long depth = evenBlock(g->k, isShort ? shortK : longestK, 16);
    t.stepK = evenBlock(depth, isShort ? shortK / 2 : blockK, 16);
    long rows = smaller(evenBlock(g->m, larger(floatsA / depth, 16 * t.mr), t.mr), g->m);
    long columns = evenBlock(g->n, larger(floatsB / depth, 16 * t.nr), t.nr);
    t.a = ek_scratch(0, (size_t)(rows * depth + 16) * 4);
    t.b = ek_scratch(1, (size_t)(roundedUp(columns, t.nr) * depth) * 4);
    // A large C that few steps of k make is bound by memory: nothing of it is read first, then.
    t.past = !g->accumulate && g->k <= pastDepth && g->m * g->n >= pastFloats && g->ldc % EK_LANES == 0
        && (uintptr_t)g->c % 64 == 0;
    long wanted = larger(32, 4 * ek_threads());
    for (t.k0 = 0; t.k0 < g->k; t.k0 += t.depth) {
        t.depth = smaller(depth, g->k - t.k0);
        for (t.i0 = 0; t.i0 < g->m; t.i0 += t.rows) {
            t.rows = smaller(rows, g->m - t.i0);
            t.panelsA = quotient(t.rows, t.mr);
            for (t.j0 = 0; t.j0 < g->n; t.j0 += t.columns) {
                t.columns = smaller(columns, g->n - t.j0);
                t.panelsB = quotient(t.columns, t.nr);
                t.padded = roundedUp(t.columns, 16);
                t.packsA = t.j0 == 0;
                t.packsB = t.i0 == 0 || columns < g->n;
                spread(
                    g, (t.packsA ? quotient(t.panelsA, packPanels) : 0)
                        + (t.packsB ? quotient(t.panelsB, packPanels) : 0), packTask, &t);
                // Tiles enough to share out evenly, wide enough that A's panels are worth loading.
                long down = quotient(t.panelsA, tilePanelsA);
                t.tilePanels = quotient(t.panelsA, down);
                long across = larger(smaller(quotient(wanted, down), quotient(t.panelsB, 2)), 1);
                t.tileColumns = quotient(t.panelsB, across) * t.nr;
                t.tilesAcross = quotient(t.columns, t.tileColumns);
                spread(g, quotient(t.panelsA, t.tilePanels) * t.tilesAcross, tileTask, &t);
            }
        }
    }
}

// MARK: Thin products

enum {
    thinRows = 64, thinColumns = 256,  // rows or columns of C that one task computes
    thinDepth = 64,                    // k that it takes at a time where rows lie far apart
    lowAhead = 64,                     // columns of B that are fetched ahead
    narrowFloats = 8192,               // of B's panel at a time: it stays in the first-level cache
};

typedef struct {
    const ek_gemm_call *call;
    long lanes, width;  // width: rows or columns of C a task, where they lie across the stored rows
    float *packed;
} thin;

/// Asks for the part `share` of `shares` of what ``gathered`` will read next.
static void fetchShare(
    const float *from, long stride, long rows, long width, long share, long shares
) {
    for (long i = rows * share / shares; i < rows * (share + 1) / shares; i++) {
        for (long j = 0; j < width; j += 16) __builtin_prefetch(from + i * stride + j);
    }
}

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
        long i = index * thinRows, step = narrowFloats / t->lanes;
        for (long k0 = 0; k0 < g->k; k0 += step) {
            ek_gemm_narrow(
                smaller(thinRows, g->m - i), g->n, smaller(step, g->k - k0),
                (const float *)g->a.data + i * g->a.stride + k0, g->a.stride, 1,
                t->packed + k0 * t->lanes, t->lanes, g->c + i * g->ldc, g->ldc,
                g->accumulate || k0 > 0);
        }
        return;
    }
    long i = index * t->width, rows = smaller(t->width, g->m - i);
    for (long k0 = 0; k0 < g->k; k0 += thinDepth) {
        long kc = smaller(thinDepth, g->k - k0), after = smaller(thinDepth, g->k - k0 - kc);
        const float *from = (const float *)g->a.data + k0 * g->a.stride + i;
        const float *a = gathered(from, g->a.stride, kc, rows);
        for (long r = 0; r < rows; r += 16) {
            fetchShare(from + kc * g->a.stride, g->a.stride, after, rows, r / 16, quotient(rows, 16));
            ek_gemm_narrow(
                smaller(16, rows - r), g->n, kc, a + r, 1, rows, t->packed + k0 * t->lanes, t->lanes,
                g->c + (i + r) * g->ldc, g->ldc, g->accumulate || k0 > 0);
        }
    }
}

/// How many of `count` rows or columns a task takes: enough tasks for the threads, whole vectors each.
static long thinWidth(long count) {
    return smaller(roundedUp(quotient(count, 2 * ek_threads()), 16), thinColumns);
}

static void narrow(const ek_gemm_call *g) {
    long lanes = quotient(g->n, 16) * 16;
    thin t = {.call = g, .lanes = lanes, .width = thinWidth(g->m)};
    t.packed = ek_scratch(1, (size_t)(lanes * g->k) * 4);
    ek_gemm_pack(&g->b, true, 0, g->n, 0, g->k, t.packed);
    spread(g, quotient(g->m, g->a.transposed ? t.width : thinRows), narrowTask, &t);
}

static void lowTask(void *context, ptrdiff_t index) {
    const thin *t = context;
    const ek_gemm_call *g = t->call;
    long j = index * t->width, columns = smaller(t->width, g->n - j), whole = columns / 16 * 16;
    int rows;
    ek_gemm_low_rows(&rows);
    for (long k0 = 0; k0 < g->k; k0 += thinDepth) {
        long kc = smaller(thinDepth, g->k - k0);
        bool accumulate = g->accumulate || k0 > 0;
        const float *a = t->packed + k0 * g->m, *b = (const float *)g->b.data + k0 * g->b.stride + j;
        for (long q = 0; q < whole; q += 32) {
            // Rows far apart no hardware prefetcher follows. After a row's last columns come the first of those below.
            long at = q + lowAhead < whole ? q + lowAhead
                : kc * g->b.stride + (whole > lowAhead ? q + lowAhead - whole : q);
            ek_gemm_low(
                g->m, smaller(whole - q, 32), kc, a, b + q, g->b.stride, g->c + j + q, g->ldc, accumulate,
                b + at);
        }
        for (long q = whole; q < columns; q++) {
            for (long i = 0; i < g->m; i++) {
                float *c = g->c + i * g->ldc + j + q, sum = accumulate ? *c : 0;
                long panel = i / rows * rows, width = smaller(rows, g->m - panel);
                for (long p = 0; p < kc; p++) {
                    sum = fmaf(a[panel * kc + p * width + i - panel], b[p * g->b.stride + q], sum);
                }
                *c = sum;
            }
        }
    }
}

static void low(const ek_gemm_call *g) {
    int rows;
    ek_gemm_low_rows(&rows);
    thin t = {
        .call = g, .width = thinWidth(g->n), .packed = ek_scratch(0, (size_t)(g->m * g->k) * 4)};
    for (long k0 = 0; k0 < g->k; k0 += thinDepth) {
        long kc = smaller(thinDepth, g->k - k0);
        for (long i = 0; i < g->m; i += rows) {
            ek_gemm_pack(
                &g->a, false, i, smaller(rows, g->m - i), k0, kc, t.packed + k0 * g->m + i * kc);
        }
    }
    spread(g, quotient(g->n, t.width), lowTask, &t);
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
    } else if (g->m <= 8 && ek_is_few(g)) ek_few(1, g, 0, NULL);
    else if (g->n <= narrowColumns && g->a.dtype == EK_F32) narrow(g);
    else if (ek_is_few(g)) ek_few(1, g, 0, NULL);
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

void ek_gemm_group(
    ptrdiff_t count, const ek_gemm_call *calls, ptrdiff_t nextCount, const ek_gemm_call *next
) {
    bool few = !blas && count > 0 && calls[0].m > 0 && calls[0].k > 0;
    for (long i = 0; i < count && few; i++) few = calls[i].n > 0 && ek_is_few(&calls[i]);
    for (long i = 0; i < nextCount; i++) {
        if (next[i].n <= 0) nextCount = 0;
    }
    if (few) {
        ek_few(count, calls, nextCount, next);
    } else {
        for (long i = 0; i < count; i++) product(&calls[i]);
    }
}

static void batchTask(void *context, ptrdiff_t index) { product((const ek_gemm_call *)context + index); }

void ek_gemm_batch(ptrdiff_t count, const ek_gemm_call *calls) {
    ek_parallel(count, batchTask, (void *)calls);
}
