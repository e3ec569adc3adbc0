// What the matrix product's drivers (gemm.c, gemm_few.c) share with each other and with the inner loops.
#pragma once
#include "EngineKernels.h"
#include "pool.h"
#include "simd_types.h"

static inline long smaller(long a, long b) { return a < b ? a : b; }
static inline long larger(long a, long b) { return a > b ? a : b; }
static inline long quotient(long a, long b) { return (a + b - 1) / b; }
static inline long roundedUp(long a, long b) { return quotient(a, b) * b; }

enum {
    serialWork = 48 * 48 * 48,  // products smaller than this are not worth another thread
    // C so low that packing all of W would cost more than it saves: W is decoded strip by strip.
    fewRows = 128,
    fewFloats = 1 << 18,  // of A, which is read again for each strip: 1 MiB
    fewColumns = 32,      // columns of C in a strip: rows of W
    fewDepth = 128,       // k decoded at a time: 16 KiB of f32, which stay in the first-level cache
    directRows = 2,       // C so low that W's elements are used from the registers they are decoded in
};

/// A strip of C: `m` rows by `rows` (at most fewColumns) of W's rows from `row`.
typedef struct {
    long m, k;
    const ek_matrix *w;
    long row, rows;
    /// m ≤ directRows: A's rows, `lda` apart. Otherwise packed: at k0 · m for each fewDepth of k, and in there
    /// panels as wide as `few_part` says.
    const float *a;
    long lda;
    float *c;
    long ldc;
    bool accumulate;
    /// What this thread reads next, to be fetched meanwhile, in rows `aheadStep` bytes apart; empty where
    /// ahead == aheadEnd.
    const char *ahead, *aheadEnd;
    long aheadStep;
} ek_few_strip;

/// Packs rows of A, or (isB) columns of B, in one panel: see gemm_body.h.
void ek_gemm_pack(
    const ek_matrix *x, bool isB, long row, long rows, long k0, long kc, float *to);

/// Whether the product is one for ``ek_few``.
bool ek_is_few(const ek_gemm_call *g);
/// Products that share A, m and k; while they end, and while threads wait for the next one, they fetch `next`.
void ek_few(long count, const ek_gemm_call *calls, long nextCount, const ek_gemm_call *next);
