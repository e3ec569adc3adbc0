// Products of few rows with weights as they are stored: generation's. A weight is read once and used for every row,
// so what bounds them is memory: each thread walks a stretch of the weights of its own and fetches ahead in the
// order of memory, across the ends of products where it is told which comes next.
#include "gemm_internal.h"
#include <stdatomic.h>

EK_DISPATCH(void, gemm_few, (const ek_few_strip *s), (s))
EK_DISPATCH(void, gemm_few_part, (int *rows), (rows))
enum {
    mostRegions = 64,
    idleBytes = 192 << 10,  // of the next product that a waiting thread fetches: it has 1 MiB of cache
    packFloats = 1 << 15,   // of A that are packed by one thread alone
};

/// A thread's stretch of strips; the others take from it when they have done theirs.
typedef struct {
    _Alignas(64) atomic_long next;
    long end;
} region;

typedef struct {
    const ek_gemm_call *calls, *next;
    long count, nextCount;
    const float *a;
    long lda, regions;
    region region[mostRegions];
} few;

bool ek_is_few(const ek_gemm_call *g) {
    return g->b.transposed && g->m <= fewRows && (g->m <= 8 || g->m * g->k <= fewFloats);
}

static long stripCount(long count, const ek_gemm_call *calls) {
    long strips = 0;
    for (long i = 0; i < count; i++) strips += quotient(calls[i].n, fewColumns);
    return strips;
}

/// The first strip of a region: stretches as even as whole strips allow.
static long firstStrip(long strips, long region, long regions) { return strips * region / regions; }

static const char *rowAddress(const ek_matrix *w, long row) {
    long elements = row * w->stride;
    switch (w->dtype) {
    case EK_F32: return (const char *)w->data + 4 * elements;
    case EK_BF16:
    case EK_F16: return (const char *)w->data + 2 * elements;
    case EK_I8: return (const char *)w->data + elements;
    case EK_NF4: return (const char *)w->data + elements / 2;
    }
    return w->data;
}

/// The call that has a strip, which becomes the strip's number in it.
static const ek_gemm_call *locate(const ek_gemm_call *calls, long *strip) {
    for (;; calls++) {
        long strips = quotient(calls->n, fewColumns);
        if (*strip < strips) return calls;
        *strip -= strips;
    }
}

/// Where a strip's weights lie, and how far apart its rows are in bytes.
static const char *stripBytes(const ek_gemm_call *calls, long strip, const char **end, long *step) {
    const ek_gemm_call *g = locate(calls, &strip);
    long row = strip * fewColumns;
    const char *start = rowAddress(&g->b, row);
    *end = rowAddress(&g->b, smaller(row + fewColumns, g->n));
    *step = rowAddress(&g->b, row + 1) - start;
    return start;
}

static void stripTask(few *t, long index, long following, long own) {
    long strip = index;
    const ek_gemm_call *g = locate(t->calls, &strip);
    long row = strip * fewColumns;
    ek_few_strip s = {
        .m = g->m, .k = g->k, .w = &g->b, .row = row, .rows = smaller(fewColumns, g->n - row), .a = t->a,
        .lda = t->lda, .c = g->c + row, .ldc = g->ldc, .accumulate = g->accumulate};
    if (following >= 0) {
        s.ahead = stripBytes(t->calls, following, &s.aheadEnd, &s.aheadStep);
    } else if (t->nextCount > 0) {
        long strips = stripCount(t->nextCount, t->next);
        s.ahead = stripBytes(t->next, firstStrip(strips, own, t->regions), &s.aheadEnd, &s.aheadStep);
    }
    ek_gemm_few(&s);
}

static void fewTask(void *context, ptrdiff_t index) {
    (void)index;
    few *t = context;
    long own = ek_thread_index() % t->regions;
    ek_fetch_while_idle(NULL, NULL);
    for (long r = 0; r < t->regions; r++) {
        region *stretch = &t->region[(own + r) % t->regions];
        for (;;) {
            long strip = atomic_fetch_add_explicit(&stretch->next, 1, memory_order_relaxed);
            if (strip >= stretch->end) break;
            stripTask(t, strip, strip + 1 < stretch->end ? strip + 1 : -1, own);
        }
    }
    if (t->nextCount > 0) {
        // The first strip is on its way already: what follows it, up to the end of its matrix.
        long strip = firstStrip(stripCount(t->nextCount, t->next), own, t->regions);
        const char *from, *end;
        long step;
        stripBytes(t->next, strip, &from, &step);
        const ek_gemm_call *g = locate(t->next, &strip);
        end = rowAddress(&g->b, g->n);
        ek_fetch_while_idle(from, end - from < idleBytes ? end : from + idleBytes);
    }
}

typedef struct {
    const ek_gemm_call *call;
    float *to;
    int part;
} pack;

/// A's part of one fewDepth of k, in panels of as many rows as a tile takes.
static void packTask(void *context, ptrdiff_t index) {
    const pack *t = context;
    const ek_gemm_call *g = t->call;
    long k0 = index * fewDepth, kc = smaller(fewDepth, g->k - k0);
    for (long i = 0; i < g->m; i += t->part) {
        ek_gemm_pack(&g->a, false, i, smaller(t->part, g->m - i), k0, kc, t->to + k0 * g->m + i * kc);
    }
}

static const float *packed(const ek_gemm_call *g, long *lda) {
    *lda = g->a.stride;
    if (g->m <= directRows && g->a.dtype == EK_F32 && !g->a.transposed) return g->a.data;
    float *to = ek_scratch(0, (size_t)(g->m * g->k) * 4);
    *lda = g->k;
    if (g->m <= directRows) {
        // Rows one after another, widened.
        for (long i = 0; i < g->m; i++) ek_gemm_pack(&g->a, false, i, 1, 0, g->k, to + i * g->k);
        return to;
    }
    pack t = {g, to, 0};
    ek_gemm_few_part(&t.part);
    t.part = (int)quotient(g->m, quotient(g->m, t.part));
    long tasks = quotient(g->k, fewDepth);
    if (g->m * g->k < packFloats) {
        for (long i = 0; i < tasks; i++) packTask(&t, i);
    } else {
        ek_parallel(tasks, packTask, &t);
    }
    return to;
}

void ek_few(long count, const ek_gemm_call *calls, long nextCount, const ek_gemm_call *next) {
    few t = {.calls = calls, .count = count, .next = next, .nextCount = nextCount};
    t.a = packed(calls, &t.lda);
    long strips = stripCount(count, calls), work = 0;
    for (long i = 0; i < count; i++) work += calls[i].m * calls[i].n * calls[i].k;
    t.regions = work < serialWork ? 1 : smaller(smaller(ek_threads(), mostRegions), strips);
    for (long r = 0; r < t.regions; r++) {
        atomic_init(&t.region[r].next, firstStrip(strips, r, t.regions));
        t.region[r].end = firstStrip(strips, r + 1, t.regions);
    }
    ek_parallel(t.regions, fewTask, &t);
}
