// Quantisation and its inverse: rows in 8 bits, blocks of 64 in 4-bit NormalFloat, blocks of 256 on the
// signed 8-bit dynamic map. Same bits for any thread count and variant: every element depends on its
// row or block alone. The GEMM decodes the same layouts by the same formulas while it packs.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// The sixteen values of 4-bit NormalFloat, ascending (QLoRA, arXiv:2305.14314, appendix E).
const float *_Nonnull ek_nf4_table(void);

/// absmax of each row, and codes `w · (127 · (1 / absmax))` rounded half to even, the scale rounded twice; a zero
/// row has zeros.
/// False where an element is not finite.
bool ek_int8_quantize(
    const float *_Nullable w, long rows, long columns, int8_t *_Nullable codes,
    float *_Nullable absmax);

/// `code · (absmax / 127)`.
void ek_int8_dequantize(
    const int8_t *_Nullable codes, const float *_Nullable absmax, long rows, long columns,
    float *_Nullable w);

/// Blocks of 64 along `count` elements: absmax, and the nearest table entry of `w · (1 / absmax)`, a
/// midpoint taking the lower; two codes a byte, the first high; an odd end padded with 7, the code of 0.
/// False where an element is not finite.
bool ek_nf4_quantize(
    const float *_Nullable w, long count, uint8_t *_Nullable packed, float *_Nullable absmax);

/// `table[code] · absmax`.
void ek_nf4_dequantize(
    const uint8_t *_Nullable packed, const float *_Nullable absmax, long count,
    float *_Nullable w);

/// Blocks of `block` along `count` elements on a map of 256 ascending values: absmax of each block and
/// the nearest entry of `value · (1 / absmax)`, a midpoint taking the lower.
void ek_map_quantize(
    const float *_Nullable values, long count, long block, const float *_Nonnull map,
    uint8_t *_Nullable codes, float *_Nullable absmax);

/// The mean, summed in eight lanes and halves as numpy's `mean` does (PW_BLOCKSIZE 128); 0 of nothing.
float ek_pairwise_mean(const float *_Nullable values, long count);

/// `c[m, n] = Σ a[m, k] · b[n, k]` in 32-bit integers, which are exact up to k = 133,000.
void ek_int8_products(
    const int8_t *_Nullable a, const int8_t *_Nullable b, long m, long n, long k,
    int32_t *_Nullable c);

/// LLM.int8's outlier columns: `marks[c]` where any row of `x` `[rows, columns]` has a magnitude of at
/// least `threshold` there.
void ek_int8_mark_outliers(
    const float *_Nullable x, long rows, long columns, float threshold, bool *_Nullable marks);

/// `y[i, j] = sums[i, j] · (left[i] · right[j]) · 6.200124e-05`, rounded in that order; rows of `y` lie
/// `stride` apart.
void ek_int8_scale_sums(
    const int32_t *_Nullable sums, const float *_Nullable left, const float *_Nullable right,
    long rows, long columns, float *_Nullable y, long stride);
