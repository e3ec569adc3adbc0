// LoX's loops: a weight difference read tile by tile, its products with thin blocks, the f64 work on
// those blocks, and the sum that extrapolates a weight. Which products to take, and when to stop, is
// the business of Engine/Adapters/LowRankDelta.swift.
//
// Same bits: every output element is a fused multiply-add chain over fixed chunks in a fixed order;
// threads share out whole chunks, whose number follows from the shape alone.
#pragma once
#include <stddef.h>
#include <stdint.h>

enum { EK_LOX_F32 = 0, EK_LOX_BF16 = 1, EK_LOX_F16 = 2 };

/// `aligned - base` of two row-major matrices, never stored whole. With `tuned`, the whole update
/// `(aligned - base) + (tuned - aligned)`, as R_ft is defined. Without `base`, `aligned` itself.
typedef struct {
    const void *_Nonnull aligned;
    const void *_Nullable base;
    const void *_Nullable tuned;
    int32_t aligned_type, base_type, tuned_type;
    int64_t rows, columns;
    /// Nonzero: inputs are rounded to bf16 as they are read (the reference loads checkpoints in bf16).
    int32_t bf16_inputs;
    /// Nonzero: `aligned - base` is rounded to bf16 (the reference subtracts in bf16).
    int32_t bf16_delta;
    /// A power of two that every element is multiplied by, so that squares stay in range.
    float scale;
} ek_lox_delta;

/// What a sweep over the difference saw.
typedef struct {
    /// Set by the caller: sweeps fill in `largest` and `nonfinite`. (The first of a series does.)
    int32_t wanted;
    /// Sum of squares of the (scaled) difference; f64 sweeps only.
    double sum_of_squares;
    /// The largest magnitude of the (scaled) difference.
    float largest;
    /// Nonzero where an element is infinite or not a number.
    int32_t nonfinite;
} ek_lox_seen;

/// One sweep over the difference D, products in f32. With `x` [columns, width]: y = D x, `y` being
/// [rows, width]; without, `y` is given. With `z` [columns, width]: z = Dᵀ y, so that one reading
/// of the difference gives DᵀD x. `width` is a multiple of 16.
void ek_lox_sweep_f32(
    const ek_lox_delta *_Nonnull d, int64_t width, const float *_Nullable x, float *_Nonnull y,
    double *_Nullable z, ek_lox_seen *_Nonnull seen);
/// The same, products in f64. `width` is a multiple of 8.
void ek_lox_sweep_f64(
    const ek_lox_delta *_Nonnull d, int64_t width, const double *_Nullable x, double *_Nonnull y,
    double *_Nullable z, ek_lox_seen *_Nonnull seen);

/// to = (float) from, `count` of them.
void ek_lox_narrow(const double *_Nonnull from, float *_Nonnull to, int64_t count);

/// Rows `[row0, row1)` of the difference as f32, `[row1 - row0, columns]`.
void ek_lox_rows(
    const ek_lox_delta *_Nonnull d, int64_t row0, int64_t row1, float *_Nonnull out,
    ek_lox_seen *_Nonnull seen);

/// c [p, width] = qᵀ w for q [rows, p] and w [rows, width]; p and width are multiples of 8.
void ek_lox_cross(
    int64_t rows, int64_t p, int64_t width, const double *_Nonnull q, const double *_Nonnull w,
    double *_Nonnull c);
/// w [rows, width] += sign · q [rows, p] · c [p, width]; width is a multiple of 8.
void ek_lox_update(
    int64_t rows, int64_t p, int64_t width, double sign, const double *_Nonnull q,
    const double *_Nonnull c, double *_Nonnull w);
/// Householder QR of w [rows, width] by blocks of rows: w becomes Q, orthonormal whatever the rank;
/// r [width, width] the triangle. rows ≥ width; width is a multiple of 8.
void ek_lox_qr(int64_t rows, int64_t width, double *_Nonnull w, double *_Nonnull r);

/// How an extrapolated weight is rounded.
enum {
    /// One f64 sum, then f32, then the stored type.
    EK_LOX_ONCE = 0,
    /// As the published code: u diag(s) vᵀ a chain of f32 multiply-adds, times the coefficient in f32, f32 sum,
    /// bf16; with rank 0, bf16 product, bf16 sum. `us` and `vt` then hold numbers that f32 holds.
    EK_LOX_PUBLISHED = 1,
};
/// The extrapolated weight, in `out_type`: aligned + coefficient · u diag(s) vᵀ, where `us` is
/// [rows, rank] (u times s) and `vt` is [rank, columns]; with rank 0 the whole difference:
/// aligned + coefficient · (aligned - base). `seen` tells of results that are not finite.
void ek_lox_extrapolate(
    const ek_lox_delta *_Nonnull d, int64_t rank, const double *_Nullable us,
    const double *_Nullable vt, double coefficient, int32_t rounding, int32_t out_type,
    void *_Nonnull out, ek_lox_seen *_Nonnull seen);

/// With d = w2 - w1 and e = ((w3 - w1) + (w4 - w2)) / 2: sums = ⟨d, d⟩, ⟨d, e⟩, ⟨e, e⟩, in f64.
void ek_lox_plane_sums(
    const float *_Nonnull w1, const float *_Nonnull w2, const float *_Nonnull w3,
    const float *_Nonnull w4, int64_t count, double *_Nonnull sums);
/// out = w1 + a · d + b · e, summed in f64.
void ek_lox_plane_point(
    const float *_Nonnull w1, const float *_Nonnull w2, const float *_Nonnull w3,
    const float *_Nonnull w4, double a, double b, int64_t count, float *_Nonnull out);

/// Eigenvalues of the symmetric a [n, n] (destroyed), largest first, and of each eigenvector the
/// coordinates `[first, last)`: `vectors` is [n, last - first], a row an eigenvector.
/// Returns 0, or 1 where the iteration did not converge.
int32_t ek_lox_eigen(
    int64_t n, double *_Nonnull a, int64_t first, int64_t last, double *_Nonnull values,
    double *_Nonnull vectors);

/// One-sided Jacobi. `a` holds n vectors of length m as rows; on return they are orthogonal, largest
/// first, with lengths `values`, and row i of `a` is Σ_j v[i, j] · (row j of the old). `v` is [n, n].
/// Returns 0, or 1 where it did not converge.
int32_t ek_lox_jacobi(
    int64_t n, int64_t m, double *_Nonnull a, double *_Nonnull v, double *_Nonnull values);
