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

enum {
    blockK = 256,        // k of one packed block
    blockN = 4096,       // columns of B packed at a time: 4 MiB, in the third-level cache
    tilePanelsA = 16,    // panels of A in one tile's share: with AVX-512 224 KiB, in the second level
    packPanels = 4,      // panels that one task packs
    serialWork = 48 * 48 * 48,  // products smaller than this are not worth another thread
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

static void product(const ek_gemm_call *g) {
    if (g->m <= 0 || g->n <= 0) return;
    if (g->k <= 0) {
        if (!g->accumulate) {
            for (long i = 0; i < g->m; i++) memset(g->c + i * g->ldc, 0, (size_t)g->n * 4);
        }
        return;
    }
    block t = {.call = g};
    ek_gemm_geometry(&t.mr, &t.nr);
    t.panelsA = quotient(g->m, t.mr);
    long nc = smaller(blockN, quotient(g->n, t.nr) * t.nr);
    long kcMost = smaller(blockK, g->k);
    t.a = ek_scratch(0, (size_t)(g->m * kcMost + 16) * 4);
    t.b = ek_scratch(1, (size_t)(nc * kcMost) * 4);
    bool isSmall = g->m * g->n * g->k < serialWork;
    for (t.j0 = 0; t.j0 < g->n; t.j0 += nc) {
        t.nc = smaller(nc, g->n - t.j0);
        t.panelsB = quotient(t.nc, t.nr);
        // Tiles enough to share out evenly, wide enough that A's panels are worth their loading.
        long tilesDown = quotient(t.panelsA, tilePanelsA);
        long across = smaller(quotient(32, tilesDown), quotient(t.panelsB, 2));
        t.tileColumns = quotient(t.panelsB, across) * t.nr;
        t.tilesAcross = quotient(t.nc, t.tileColumns);
        for (t.k0 = 0; t.k0 < g->k; t.k0 += t.kc) {
            t.kc = smaller(blockK, g->k - t.k0);
            t.packsA = true;
            long packs = quotient(t.panelsA, packPanels) + quotient(t.panelsB, packPanels);
            long tiles = tilesDown * t.tilesAcross;
            if (isSmall) {
                for (long i = 0; i < packs; i++) packTask(&t, i);
                for (long i = 0; i < tiles; i++) tileTask(&t, i);
            } else {
                ek_parallel(packs, packTask, &t);
                ek_parallel(tiles, tileTask, &t);
            }
        }
    }
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
