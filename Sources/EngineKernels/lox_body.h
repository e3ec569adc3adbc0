// LoX's loops in one variant; lox.c includes this once a variant, between variant_*.h and
// variant_end.h, and shares the work out among threads.

#if EK_AVX512
#define LOX_ACCUMULATORS 8
#else
#define LOX_ACCUMULATORS 4  // AVX2 has half as many registers of half the size
#endif

EK_INLINE vd EK(lox_load8)(const double *p) { return *(const lox_vd_unaligned *)p; }
EK_INLINE void EK(lox_store8)(double *p, vd x) { *(lox_vd_unaligned *)p = x; }

// MARK: Reading the difference

EK_INLINE vf EK(lox_bf16)(vf x) {
    return vf_from_bf16(vf_to_bf16(x));
}

EK_INLINE vf EK(lox_load)(const void *p, int64_t at, int32_t type, int64_t count) {
    if (type == EK_LOX_F32) {
        const float *f = (const float *)p + at;
        return count == 16 ? vf_load(f) : vf_load_n(f, count);
    }
    vh bits = {0};
    const uint16_t *h = (const uint16_t *)p + at;
    if (count == 16) bits = *(const vh_unaligned *)h;
    else memcpy(&bits, h, (size_t)count * 2);
    return type == EK_LOX_BF16 ? vf_from_bf16(bits) : vf_from_f16(bits);
}

EK_INLINE vf EK(lox_read)(
    const ek_lox_delta *d, const void *p, int64_t at, int32_t type, int64_t count
) {
    vf x = EK(lox_load)(p, at, type, count);
    return d->bf16_inputs ? EK(lox_bf16)(x) : x;
}

EK_INLINE vf EK(lox_difference)(const ek_lox_delta *d, int64_t at, int64_t count) {
    vf a = EK(lox_read)(d, d->aligned, at, d->aligned_type, count), x = a;
    if (d->base) x = a - EK(lox_read)(d, d->base, at, d->base_type, count);
    if (d->bf16_delta) x = EK(lox_bf16)(x);
    if (d->tuned) x = x + (EK(lox_read)(d, d->tuned, at, d->tuned_type, count) - a);
    return x * vf_set(d->scale);
}

/// What a sweep notices, lane by lane: the largest magnitude, and 0 · x summed, which turns NaN at
/// the first element that is infinite or not a number.
typedef struct { vf largest, poison; } EK(lox_watch);

EK_INLINE void EK(lox_notice)(EK(lox_watch) *watch, vf x) {
    watch->largest = vf_max(watch->largest, vf_abs(x));
    watch->poison = vf_fma(x, vf_set(0), watch->poison);
}

EK_INLINE void EK(lox_conclude)(const EK(lox_watch) *watch, ek_lox_seen *seen) {
    for (int i = 0; i < 16; i++) {
        if (watch->largest[i] > seen->largest) seen->largest = watch->largest[i];
        if (watch->poison[i] != 0.0f) seen->nonfinite = 1;
    }
}

#define LOX_EACH(EXPRESSION)                      \
    if (watch) {                                  \
        EK(lox_watch) seen = *watch;              \
        for (; c + 16 <= count; c += 16) {        \
            vf x = (EXPRESSION);                  \
            vf_store(out + c, x);                 \
            EK(lox_notice)(&seen, x);             \
        }                                         \
        *watch = seen;                            \
    } else {                                      \
        for (; c + 16 <= count; c += 16) vf_store(out + c, (EXPRESSION)); \
    }

/// `count` elements of a row; the two common cases without tests in the loop. `watch` may be null.
EK_INLINE void EK(lox_fill)(
    const ek_lox_delta *d, int64_t row, int64_t column, int64_t count, float *out,
    EK(lox_watch) *watch
) {
    int64_t at = row * d->columns + column, c = 0;
    bool plain = d->base && !d->tuned && !d->bf16_inputs && !d->bf16_delta && d->scale == 1.0f;
    if (plain && d->aligned_type == EK_LOX_F32 && d->base_type == EK_LOX_F32) {
        const float *a = (const float *)d->aligned + at, *b = (const float *)d->base + at;
        LOX_EACH(vf_load(a + c) - vf_load(b + c))
    } else if (plain && d->aligned_type == EK_LOX_BF16 && d->base_type == EK_LOX_BF16) {
        const uint16_t *a = (const uint16_t *)d->aligned + at, *b = (const uint16_t *)d->base + at;
        LOX_EACH(vf_from_bf16(*(const vh_unaligned *)(a + c)) -
                 vf_from_bf16(*(const vh_unaligned *)(b + c)))
    } else {
        LOX_EACH(EK(lox_difference)(d, at + c, 16))
    }
    if (c < count) {
        vf x = EK(lox_difference)(d, at + c, count - c);
        vf_store_n(out + c, x, count - c);
        if (watch) EK(lox_notice)(watch, x);
    }
}
#undef LOX_EACH

void EK(lox_fill_rows)(
    const ek_lox_delta *d, int64_t row0, int64_t row1, float *out, ek_lox_seen *seen
) {
    EK(lox_watch) watch = {0};
    for (int64_t r = row0; r < row1; r++)
        EK(lox_fill)(d, r, 0, d->columns, out + (r - row0) * d->columns, &watch);
    EK(lox_conclude)(&watch, seen);
}

// MARK: Sweeps

#define REAL float
#define LANES 16
#define VECTOR vf
#define VECTOR_UNALIGNED vf_unaligned
#define SPLAT vf_set
#define VECTOR_FMA vf_fma
#define PANEL 16
#define NAMED(name) EK(EK_CAT2(name, _f32))
#include "lox_sweep.h"

#define REAL double
#define LANES 8
#define VECTOR vd
#define VECTOR_UNALIGNED lox_vd_unaligned
#define SPLAT vd_set
#define VECTOR_FMA vd_fma
#define PANEL 8
#define NAMED(name) EK(EK_CAT2(name, _f64))
#define IS_WIDE 1
#include "lox_sweep.h"

// MARK: f64 blocks

void EK(lox_cross_rows)(
    int64_t row0, int64_t row1, int64_t p, int64_t width, const double *q, const double *w,
    double *c
) {
    // Eight rows of c at a time, and eight or sixteen of its columns.
    for (int64_t i = 0; i < p; i += 8) {
        for (int64_t j = 0; j < width; j += 16) {
            vd a[8] = {0}, b[8] = {0};
            if (j + 8 < width) {
                for (int64_t r = row0; r < row1; r++) {
                    vd x = EK(lox_load8)(w + r * width + j), y = EK(lox_load8)(w + r * width + j + 8);
                    EK_UNROLL for (int e = 0; e < 8; e++) {
                        vd s = vd_set(q[r * p + i + e]);
                        a[e] = vd_fma(s, x, a[e]);
                        b[e] = vd_fma(s, y, b[e]);
                    }
                }
            } else {
                for (int64_t r = row0; r < row1; r++) {
                    vd x = EK(lox_load8)(w + r * width + j);
                    EK_UNROLL for (int e = 0; e < 8; e++)
                        a[e] = vd_fma(vd_set(q[r * p + i + e]), x, a[e]);
                }
            }
            for (int e = 0; e < 8; e++) {
                EK(lox_store8)(c + (i + e) * width + j, a[e]);
                if (j + 8 < width) EK(lox_store8)(c + (i + e) * width + j + 8, b[e]);
            }
        }
    }
}

void EK(lox_update_rows)(
    int64_t row0, int64_t row1, int64_t p, int64_t width, double sign, const double *q,
    const double *c, double *w
) {
    int64_t r = row0;
    for (; r + 8 <= row1; r += 8) {
        for (int64_t j = 0; j < width; j += 8) {
            vd a[8];
            EK_UNROLL for (int e = 0; e < 8; e++) a[e] = EK(lox_load8)(w + (r + e) * width + j);
            for (int64_t i = 0; i < p; i++) {
                vd y = EK(lox_load8)(c + i * width + j) * vd_set(sign);
                EK_UNROLL for (int e = 0; e < 8; e++)
                    a[e] = vd_fma(vd_set(q[(r + e) * p + i]), y, a[e]);
            }
            EK_UNROLL for (int e = 0; e < 8; e++) EK(lox_store8)(w + (r + e) * width + j, a[e]);
        }
    }
    for (; r < row1; r++) {
        for (int64_t j = 0; j < width; j += 8) {
            vd a = EK(lox_load8)(w + r * width + j);
            for (int64_t i = 0; i < p; i++)
                a = vd_fma(
                    vd_set(q[r * p + i]), EK(lox_load8)(c + i * width + j) * vd_set(sign), a);
            EK(lox_store8)(w + r * width + j, a);
        }
    }
}

/// w -= beta · v (vᵀ w) over rows `[from, rows)`; v is column `column` of h [rows, width].
EK_INLINE void EK(lox_reflect)(
    int64_t from, int64_t rows, int64_t width, int64_t column, double beta, const double *h,
    double *w
) {
    for (int64_t j = 0; j < width; j += 8) {
        vd s[4] = {0};  // four interleaved chains, then a tree: fixed by the row numbers alone
        int64_t r = from;
        for (; r + 4 <= rows; r += 4) {
            EK_UNROLL for (int e = 0; e < 4; e++)
                s[e] = vd_fma(
                    vd_set(h[(r + e) * width + column]), EK(lox_load8)(w + (r + e) * width + j),
                    s[e]);
        }
        for (; r < rows; r++)
            s[0] = vd_fma(vd_set(h[r * width + column]), EK(lox_load8)(w + r * width + j), s[0]);
        vd t = ((s[0] + s[1]) + (s[2] + s[3])) * vd_set(-beta);
        for (r = from; r < rows; r++) {
            double *at = w + r * width + j;
            EK(lox_store8)(at, vd_fma(vd_set(h[r * width + column]), t, EK(lox_load8)(at)));
        }
    }
}

/// Householder QR of one block of rows; `h` [rows, width] keeps the reflectors, `beta` [width].
void EK(lox_qr_block)(
    int64_t rows, int64_t width, double *w, double *triangle, double *h, double *beta
) {
    memset(triangle, 0, (size_t)(width * width) * sizeof(double));
    for (int64_t k = 0; k < width; k++) {
        double s[4] = {0};
        for (int64_t r = k; r < rows; r++) {
            double x = w[r * width + k];
            s[r & 3] = __builtin_fma(x, x, s[r & 3]);
        }
        double norm = sqrt((s[0] + s[1]) + (s[2] + s[3]));
        double head = w[k * width + k], alpha = head > 0 ? -norm : norm, v0 = head - alpha;
        beta[k] = norm == 0 ? 0 : -v0 / alpha;
        for (int64_t r = 0; r < rows; r++)
            h[r * width + k] = r < k || norm == 0 ? 0 : r == k ? 1 : w[r * width + k] / v0;
        if (norm != 0) EK(lox_reflect)(k, rows, width, k, beta[k], h, w);
        for (int64_t j = k; j < width; j++) triangle[k * width + j] = w[k * width + j];
    }
    memset(w, 0, (size_t)(rows * width) * sizeof(double));
    for (int64_t k = 0; k < width; k++) w[k * width + k] = 1;
    for (int64_t k = width - 1; k >= 0; k--) {
        if (beta[k] != 0) EK(lox_reflect)(k, rows, width, k, beta[k], h, w);
    }
}

// MARK: The extrapolated weight

EK_INLINE void EK(lox_put)(vf x, void *out, int64_t at, int32_t type, int64_t count) {
    if (type == EK_LOX_F32) {
        vf_store_n((float *)out + at, x, count);
        return;
    }
    vh bits = type == EK_LOX_BF16 ? vf_to_bf16(x) : vf_to_f16(x);
    memcpy((uint16_t *)out + at, &bits, (size_t)count * 2);
}

/// Sixteen elements of u diag(s) vᵀ, a chain over the rank.
EK_INLINE void EK(lox_low_rank)(
    int64_t rank, const double *us, const double *vt, int64_t columns, int64_t count, vd *low,
    vd *high
) {
    vd a = {0}, b = {0};
    for (int64_t i = 0; i < rank; i++) {
        double part[16] = {0};
        const double *v = vt + i * columns;
        if (count < 16) v = memcpy(part, v, (size_t)count * sizeof(double));
        a = vd_fma(vd_set(us[i]), EK(lox_load8)(v), a);
        b = vd_fma(vd_set(us[i]), EK(lox_load8)(v + 8), b);
    }
    *low = a;
    *high = b;
}

/// The same as the published code has it: numbers that f32 holds, and an f32 chain.
EK_INLINE vf EK(lox_low_rank_narrow)(
    int64_t rank, const double *us, const double *vt, int64_t columns, int64_t count
) {
    vf sum = {0};
    for (int64_t i = 0; i < rank; i++) {
        double part[16] = {0};
        const double *v = vt + i * columns;
        if (count < 16) v = memcpy(part, v, (size_t)count * sizeof(double));
        sum = vf_fma(
            vf_set((float)us[i]), vf_from_vd(EK(lox_load8)(v), EK(lox_load8)(v + 8)), sum);
    }
    return sum;
}

void EK(lox_extrapolate_rows)(
    const ek_lox_delta *d, int64_t row0, int64_t row1, int64_t rank, const double *us,
    const double *vt, double coefficient, int32_t rounding, int32_t out_type, void *out,
    ek_lox_seen *seen
) {
    vf small = vf_set((float)coefficient);
    vd wide = vd_set(coefficient);
    EK(lox_watch) watch = {0};
    for (int64_t r = row0; r < row1; r++) {
        for (int64_t c = 0; c < d->columns; c += 16) {
            int64_t at = r * d->columns + c;
            int64_t count = d->columns - c < 16 ? d->columns - c : 16;
            vf w = EK(lox_read)(d, d->aligned, at, d->aligned_type, count), result;
            if (rank == 0) {
                vf x = EK(lox_difference)(d, at, count);
                if (rounding == EK_LOX_PUBLISHED) {
                    result = EK(lox_bf16)(w + EK(lox_bf16)(x * small));
                } else {
                    result = vf_from_vd(
                        vd_fma(wide, vd_low(x), vd_low(w)), vd_fma(wide, vd_high(x), vd_high(w)));
                }
            } else if (rounding == EK_LOX_PUBLISHED) {
                result = w
                    + EK(lox_low_rank_narrow)(rank, us + r * rank, vt + c, d->columns, count)
                        * small;
            } else {
                vd low, high;
                EK(lox_low_rank)(rank, us + r * rank, vt + c, d->columns, count, &low, &high);
                result = vf_from_vd(
                    vd_fma(wide, low, vd_low(w)), vd_fma(wide, high, vd_high(w)));
            }
            EK(lox_notice)(&watch, result);
            EK(lox_put)(result, out, at, out_type, count);
        }
    }
    EK(lox_conclude)(&watch, seen);
}

#undef LOX_ACCUMULATORS
