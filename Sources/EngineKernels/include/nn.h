// The fused operators of a transformer, forward and backward, on f32 rows. Matrix products are in the
// GEMM's header; which thread takes which rows is left to the pool. Every function gives the same bits
// for any thread count and kernel variant: a row's result depends on that row alone, sums over a row
// run in sixteen lanes and one tree, and sums over rows ascend.
#pragma once
#include <stdbool.h>
#include <stdint.h>

/// Root-mean-square normalization: `y = x / √(mean x² + epsilon) · w`, `1 + w` where `plusOne`.
/// Row r, group g begins at `r · stride + g · dim` (groups are heads in QK-norm, 1 elsewhere).
typedef struct {
    long rows, groups, dim;
    const float *_Nullable x;
    long xStride;
    const float *_Nullable w;   // [dim]
    float *_Nullable y;
    long yStride;
    float *_Nullable inverse;   // [rows, groups]: 1 / √(mean x² + epsilon)
    float epsilon;
    bool plusOne;
} ek_rmsnorm_t;
void ek_rmsnorm(const ek_rmsnorm_t *_Nonnull a);

/// The gradient of ``ek_rmsnorm``; `dw` is added to, rows ascending.
typedef struct {
    long rows, groups, dim;
    const float *_Nullable x;
    long xStride;
    const float *_Nullable w;
    const float *_Nullable dy;
    long dyStride;
    const float *_Nullable inverse;
    float *_Nullable dx;        // may be dy itself where !accumulates
    long dxStride;
    bool accumulates;           // dx += instead of dx =
    float *_Nullable dw;        // [dim] or NULL
    bool plusOne;
} ek_rmsnorm_backward_t;
void ek_rmsnorm_backward(const ek_rmsnorm_backward_t *_Nonnull a);

/// Rotary position embedding in place, halves rotated (`rotate_half`); backward turns the other way.
/// Head h of row r begins at `r · stride + h · headDim`.
typedef struct {
    long rows, heads, headDim, stride;
    float *_Nullable x;
    const int32_t *_Nullable positions;  // [rows]
    const float *_Nullable cosine;       // [positions, headDim / 2]
    const float *_Nullable sine;
    bool backward;
} ek_rope_t;
void ek_rope(const ek_rope_t *_Nonnull a);

/// Gated activation: `y = act(g) · u`, act 0 SiLU, 1 tanh-GELU; row r of `gu` is g [dim], then u [dim].
typedef struct {
    long rows, dim;
    const float *_Nullable gu;   // [rows, 2 · dim]
    float *_Nullable y;          // [rows, dim]
    const float *_Nullable dy;   // backward only
    float *_Nullable dgu;        // backward only; may be gu itself
    int activation;
} ek_glu_t;
void ek_glu(const ek_glu_t *_Nonnull a);
void ek_glu_backward(const ek_glu_t *_Nonnull a);

/// `y = a + b`; y may be a or b.
void ek_nn_add(float *_Nullable y, const float *_Nullable a, const float *_Nullable b, long count);
/// `y *= factor`.
void ek_nn_scale(float *_Nullable y, float factor, long count);
/// `y = x · factor` for rows of `dim` with strides.
void ek_nn_scale_rows(float *_Nullable y, long yStride, const float *_Nullable x, long xStride,
                      long rows, long dim, float factor);

/// Row r of `y` is row `ids[r]` of the table, times `scale`. dtype: 0 f32, 1 bf16, 2 f16.
void ek_embed(float *_Nullable y, const void *_Nullable table, int dtype, const int32_t *_Nullable ids,
              long rows, long dim, float scale);
/// `dTable[ids[r]] += scale · dy[r]`, r ascending.
void ek_embed_backward(float *_Nullable dTable, const float *_Nullable dy,
                       const int32_t *_Nullable ids, long rows, long dim, float scale);
/// Rows chosen: `y[i] = x[index[i]]`.
void ek_gather_rows(float *_Nullable y, const float *_Nullable x, const int32_t *_Nullable index,
                    long rows, long dim);
/// `y[index[i]] = x[i]`, every index at most once.
void ek_scatter_rows(float *_Nullable y, const float *_Nullable x, const int32_t *_Nullable index,
                     long rows, long dim);

/// Causal attention of packed sequences, softmax over the last `window` keys (0: all), with the
/// products' soft cap where `softcap > 0`: `softcap · tanh(scale · q kᵀ / softcap)`.
typedef struct {
    long sequences, heads, keyValueHeads, headDim;
    const int32_t *_Nullable offsets;  // [sequences + 1], rows of each sequence
    const float *_Nullable q;          // head h of row r at r · stride + h · headDim
    const float *_Nullable k;
    const float *_Nullable v;
    long stride;                       // of q, k and v
    float *_Nullable o;                // [rows, heads · headDim]
    float *_Nullable statistics;       // [rows, heads, 2]: the row's maximum and 1 / sum
    float scale, softcap;
    long window;
    // backward only
    const float *_Nullable dO;         // [rows, heads · headDim]
    float *_Nullable dq;               // as q, k, v
    float *_Nullable dk;
    float *_Nullable dv;
} ek_attention_t;
void ek_attention(const ek_attention_t *_Nonnull a);
void ek_attention_backward(const ek_attention_t *_Nonnull a);

/// Attention against a cache: each sequence's new rows attend to what its cache holds and to
/// themselves. Keys lie transposed, `[keyValueHeads, paddedHeadDim, capacity]`, values
/// `[keyValueHeads, capacity, paddedHeadDim]`; capacity is a multiple of 64, paddedHeadDim of 16.
typedef struct {
    long sequences, heads, keyValueHeads, headDim, capacity;
    const int32_t *_Nullable offsets;                       // [sequences + 1], new rows of each
    const int32_t *_Nullable lengths;                       // [sequences], keys cached before them
    float *_Nullable const *_Nullable keys;                 // [sequences]
    float *_Nullable const *_Nullable values;
    const float *_Nullable q;
    const float *_Nullable k;
    const float *_Nullable v;
    long stride;
    float *_Nullable o;
    float scale, softcap;
    long window;
} ek_cached_attention_t;
/// Writes the new keys and values into the caches, then attends.
void ek_cached_attention(const ek_cached_attention_t *_Nonnull a);

/// Cross-entropy of rows of logits; the logits become their gradient where `weights` is given.
typedef struct {
    long rows, vocabulary;
    float *_Nullable logits;               // [rows, vocabulary]; overwritten where weights != NULL
    const int32_t *_Nullable labels;       // [rows]
    const float *_Nullable weights;        // [rows]: d total / d loss of the row
    float softcap;                         // final soft cap; 0: none
    double *_Nullable losses;              // [rows]: -log p(label), in nats
    bool *_Nullable isGreedy;              // [rows] or NULL: the label is the first largest logit
} ek_cross_entropy_t;
void ek_cross_entropy(const ek_cross_entropy_t *_Nonnull a);

/// `x = cap · tanh(x / cap)`.
void ek_softcap(float *_Nullable x, long count, float cap);

/// AdamW (arXiv:1711.05101) on one tensor; `gradientScale` multiplies g first (clipping).
typedef struct {
    long count;
    float *_Nullable p;
    const float *_Nullable g;
    float *_Nullable m;
    float *_Nullable v;
    float gradientScale, beta1, beta2, decay;  // decay = 1 - learningRate · weightDecay
    float stepSize;                            // learningRate / (1 - beta1^t)
    float rootCorrection;                      // √(1 - beta2^t)
    float epsilon;
    uint64_t *_Nullable digests;               // [3] or NULL: ek_digest of p, m and v as they are afterwards
} ek_adamw_t;
void ek_adamw(const ek_adamw_t *_Nonnull a);

/// Σ x², in f64, in blocks of 4096 summed in order.
double ek_sum_of_squares(const float *_Nullable x, long count);
/// The index of the first element that is not finite, or -1.
long ek_first_non_finite(const float *_Nullable x, long count);
/// The index of the first largest element.
long ek_argmax(const float *_Nullable x, long count);
