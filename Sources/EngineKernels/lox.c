// LoX's loops shared out among threads, over grids that the shapes fix. The loops themselves are in
// lox_body.h, once a variant.
#include "lox_parts.h"
#include "pool.h"

EK_DISPATCH(
    void, lox_sweep_rows_f32,
    (const ek_lox_delta *d, int64_t row0, int64_t row1, int64_t width, const float *x, float *y,
     float *z, float *panel, ek_lox_seen *seen),
    (d, row0, row1, width, x, y, z, panel, seen))
EK_DISPATCH(
    void, lox_sweep_rows_f64,
    (const ek_lox_delta *d, int64_t row0, int64_t row1, int64_t width, const double *x, double *y,
     double *z, double *panel, ek_lox_seen *seen),
    (d, row0, row1, width, x, y, z, panel, seen))
EK_DISPATCH(
    void, lox_fill_rows,
    (const ek_lox_delta *d, int64_t row0, int64_t row1, float *out, ek_lox_seen *seen),
    (d, row0, row1, out, seen))
EK_DISPATCH(
    void, lox_cross_rows,
    (int64_t row0, int64_t row1, int64_t p, int64_t width, const double *q, const double *w,
     double *c),
    (row0, row1, p, width, q, w, c))
EK_DISPATCH(
    void, lox_update_rows,
    (int64_t row0, int64_t row1, int64_t p, int64_t width, double sign, const double *q,
     const double *c, double *w),
    (row0, row1, p, width, sign, q, c, w))
EK_DISPATCH(
    void, lox_qr_block,
    (int64_t rows, int64_t width, double *w, double *triangle, double *h, double *beta),
    (rows, width, w, triangle, h, beta))
EK_DISPATCH(
    void, lox_extrapolate_rows,
    (const ek_lox_delta *d, int64_t row0, int64_t row1, int64_t rank, const double *us,
     const double *vt, double coefficient, int32_t rounding, int32_t out_type, void *out,
     ek_lox_seen *seen),
    (d, row0, row1, rank, us, vt, coefficient, rounding, out_type, out, seen))

static void join(ek_lox_seen *all, const ek_lox_seen *one) {
    all->sum_of_squares += one->sum_of_squares;
    if (one->largest > all->largest) all->largest = one->largest;
    all->nonfinite |= one->nonfinite;
}

// MARK: Sweeps

/// One sweep: its groups of rows, then the sum over groups. Slots 5 and 6 of the scratch memory hold
/// the groups' sums (the caller's) and a panel (each thread's).
typedef struct {
    const ek_lox_delta *d;
    int64_t width, groups, rows_each;
    const void *x;
    void *y;
    double *z;
    void *sums;
    ek_lox_seen seen[LOX_GROUPS];
    bool is_wide;
} sweep;

/// Rows of a group: whole panels, at most LOX_GROUPS groups, none of them tiny.
static void cut(sweep *s) {
    int64_t panels = quotient(s->d->rows, LOX_PANEL);
    int64_t each = quotient(panels, LOX_GROUPS);
    if (each < 4) each = 4;
    s->rows_each = each * LOX_PANEL;
    s->groups = quotient(s->d->rows, s->rows_each);
}

static void sweep_task(void *context, long g) {
    sweep *s = context;
    int64_t row0 = g * s->rows_each, row1 = smaller(row0 + s->rows_each, s->d->rows);
    size_t size = s->is_wide ? sizeof(double) : sizeof(float);
    size_t sum = (size_t)(s->d->columns * s->width) * size;
    size_t panel = (size_t)(2 * (lox_panel_width(s->d->columns) + s->width) * LOX_PANEL) * sizeof(double);
    char *z = s->z ? (char *)s->sums + (size_t)g * sum : NULL;
    if (z) memset(z, 0, sum);
    if (s->is_wide) {
        ek_lox_sweep_rows_f64(
            s->d, row0, row1, s->width, s->x, s->y, (double *)z, ek_scratch(6, panel), &s->seen[g]);
    } else {
        ek_lox_sweep_rows_f32(
            s->d, row0, row1, s->width, s->x, s->y, (float *)z, ek_scratch(6, panel), &s->seen[g]);
    }
}

/// z = Σ over groups, ascending, in f64.
static void sum_task(void *context, long block) {
    sweep *s = context;
    int64_t count = s->d->columns * s->width;
    int64_t from = block * 16384, to = smaller(from + 16384, count);
    for (int64_t g = 0; g < s->groups; g++) {
        if (s->is_wide) {
            const double *part = (const double *)s->sums + g * count;
            for (int64_t i = from; i < to; i++) s->z[i] = g == 0 ? part[i] : s->z[i] + part[i];
        } else {
            const float *part = (const float *)s->sums + g * count;
            for (int64_t i = from; i < to; i++)
                s->z[i] = g == 0 ? (double)part[i] : s->z[i] + (double)part[i];
        }
    }
}

static void run(sweep *s, ek_lox_seen *seen) {
    cut(s);
    for (int64_t g = 0; g < s->groups; g++) s->seen[g].wanted = seen->wanted;
    int64_t count = s->d->columns * s->width;
    size_t size = s->is_wide ? sizeof(double) : sizeof(float);
    if (s->z) s->sums = ek_scratch(5, (size_t)(s->groups * count) * size);
    ek_parallel(s->groups, sweep_task, s);
    if (s->z) ek_parallel(quotient(count, 16384), sum_task, s);
    for (int64_t g = 0; g < s->groups; g++) join(seen, &s->seen[g]);
}

void ek_lox_sweep_f32(
    const ek_lox_delta *d, int64_t width, const float *x, float *y, double *z, ek_lox_seen *seen
) {
    sweep s = {.d = d, .width = width, .x = x, .y = y, .z = z};
    run(&s, seen);
}

void ek_lox_sweep_f64(
    const ek_lox_delta *d, int64_t width, const double *x, double *y, double *z, ek_lox_seen *seen
) {
    sweep s = {.d = d, .width = width, .x = x, .y = y, .z = z, .is_wide = true};
    run(&s, seen);
}

void ek_lox_rows(
    const ek_lox_delta *d, int64_t row0, int64_t row1, float *out, ek_lox_seen *seen
) {
    ek_lox_fill_rows(d, row0, row1, out, seen);
}

void ek_lox_narrow(const double *from, float *to, int64_t count) {
    for (int64_t i = 0; i < count; i++) to[i] = (float)from[i];
}

// MARK: f64 blocks

typedef struct {
    int64_t rows, p, width;
    double sign;
    const double *q, *c;
    double *w, *out;
} product;

static void cross_task(void *context, long block) {
    product *t = context;
    int64_t row0 = block * LOX_BLOCK, row1 = smaller(row0 + LOX_BLOCK, t->rows);
    ek_lox_cross_rows(
        row0, row1, t->p, t->width, t->q, t->w, t->out + block * t->p * t->width);
}

void ek_lox_cross(
    int64_t rows, int64_t p, int64_t width, const double *q, const double *w, double *c
) {
    int64_t blocks = quotient(rows, LOX_BLOCK), count = p * width;
    double *parts = ek_scratch(5, (size_t)(blocks * count) * sizeof(double));
    product t = {.rows = rows, .p = p, .width = width, .q = q, .w = (double *)w, .out = parts};
    ek_parallel(blocks, cross_task, &t);
    memset(c, 0, (size_t)count * sizeof(double));
    for (int64_t b = 0; b < blocks; b++) {
        for (int64_t i = 0; i < count; i++) c[i] += parts[b * count + i];
    }
}

static void update_task(void *context, long block) {
    product *t = context;
    int64_t row0 = block * LOX_BLOCK, row1 = smaller(row0 + LOX_BLOCK, t->rows);
    ek_lox_update_rows(row0, row1, t->p, t->width, t->sign, t->q, t->c, t->w);
}

void ek_lox_update(
    int64_t rows, int64_t p, int64_t width, double sign, const double *q, const double *c,
    double *w
) {
    product t = {.rows = rows, .p = p, .width = width, .sign = sign, .q = q, .c = c, .w = w};
    ek_parallel(quotient(rows, LOX_BLOCK), update_task, &t);
}

/// QR of each block of rows, then of the stacked triangles, then Q's blocks times the stack's Q.
typedef struct {
    int64_t rows, width, blocks, each;
    double *w, *triangles;
} tall;

static void qr_task(void *context, long block) {
    tall *t = context;
    int64_t row0 = block * t->each;
    int64_t rows = block == t->blocks - 1 ? t->rows - row0 : t->each;
    double *h = ek_scratch(6, (size_t)((rows + 1) * t->width) * sizeof(double));
    ek_lox_qr_block(
        rows, t->width, t->w + row0 * t->width, t->triangles + block * t->width * t->width, h,
        h + rows * t->width);
}

static void qr_join_task(void *context, long block) {
    tall *t = context;
    int64_t row0 = block * t->each;
    int64_t rows = block == t->blocks - 1 ? t->rows - row0 : t->each;
    size_t bytes = (size_t)(rows * t->width) * sizeof(double);
    double *q = ek_scratch(6, bytes), *w = t->w + row0 * t->width;
    memcpy(q, w, bytes);
    memset(w, 0, bytes);
    ek_lox_update_rows(
        0, rows, t->width, t->width, 1, q, t->triangles + block * t->width * t->width, w);
}

void ek_lox_qr(int64_t rows, int64_t width, double *w, double *r) {
    tall t = {.rows = rows, .width = width, .w = w};
    t.each = LOX_BLOCK > 2 * width ? LOX_BLOCK : 2 * width;
    t.blocks = rows / t.each;  // the last takes what is left over, so none is wider than tall
    if (t.blocks < 2) {
        double *h = ek_scratch(6, (size_t)((rows + 1) * width) * sizeof(double));
        ek_lox_qr_block(rows, width, w, r, h, h + rows * width);
        return;
    }
    int64_t stacked = t.blocks * width;
    t.triangles = ek_scratch(5, (size_t)(stacked * width) * sizeof(double));
    ek_parallel(t.blocks, qr_task, &t);
    double *h = ek_scratch(6, (size_t)((stacked + 1) * width) * sizeof(double));
    ek_lox_qr_block(stacked, width, t.triangles, r, h, h + stacked * width);
    ek_parallel(t.blocks, qr_join_task, &t);
}

// MARK: The extrapolated weight

typedef struct {
    const ek_lox_delta *d;
    int64_t rank, each;
    const double *us, *vt;
    double coefficient;
    int32_t rounding, out_type;
    void *out;
    ek_lox_seen *seen;
} extrapolation;

static void extrapolate_task(void *context, long block) {
    extrapolation *t = context;
    int64_t row0 = block * t->each, row1 = smaller(row0 + t->each, t->d->rows);
    ek_lox_extrapolate_rows(
        t->d, row0, row1, t->rank, t->us, t->vt, t->coefficient, t->rounding, t->out_type, t->out,
        &t->seen[block]);
}

void ek_lox_extrapolate(
    const ek_lox_delta *d, int64_t rank, const double *us, const double *vt, double coefficient,
    int32_t rounding, int32_t out_type, void *out, ek_lox_seen *seen
) {
    extrapolation t = {
        .d = d, .rank = rank, .each = quotient(d->rows, 64), .us = us, .vt = vt,
        .coefficient = coefficient, .rounding = rounding, .out_type = out_type, .out = out,
    };
    if (d->rows == 0) return;
    ek_lox_seen seens[64] = {{0}};  // the grid: at most 64 blocks of rows
    t.seen = seens;
    int64_t blocks = quotient(d->rows, t.each);
    ek_parallel(blocks, extrapolate_task, &t);
    for (int64_t b = 0; b < blocks; b++) join(seen, &seens[b]);
}
