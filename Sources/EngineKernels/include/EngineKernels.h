// The portable tier's loops. Every function here gives the same bits for any thread count and on any
// kernel (AVX-512, AVX2, plain C): each element is computed by one fixed sequence of correctly
// rounded operations, whoever computes it. What the numbers mean is Swift's affair (Sources/Engine).
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lox.h"

#ifdef __cplusplus
extern "C" {
#endif

// MARK: Which kernels, how many threads

/// The name of the kernel set this process uses: "avx512", "avx2" or "scalar".
const char *_Nonnull ek_kernel_name(void);
/// Chooses the named set for calls from this thread; false where this CPU cannot run it. For tests.
bool ek_use_kernels(const char *_Nonnull name);
/// Whether this CPU can run the named set; false for a word that names none.
bool ek_can_use_kernels(const char *_Nonnull name);

/// Threads that share the work: STUDY_THREADS, or else the CPUs online.
int ek_threads(void);
void ek_set_threads(int count);

/// Calls `body(context, i)` for every i in 0..<count on the pool, and returns when all are done.
/// Order and thread are left to chance; inside a body, nested calls run serially.
void ek_parallel(
    ptrdiff_t count, void (*_Nonnull body)(void *_Nullable context, ptrdiff_t index),
    void *_Nullable context);

// MARK: Memory

/// `bytes` of memory, 64-byte aligned, contents undefined; null where there is none. Large blocks lie on huge pages
/// where the system has them.
void *_Nullable ek_allocate(size_t bytes);
/// Gives back what ``ek_allocate`` gave for as many bytes.
void ek_release(void *_Nullable base, size_t bytes);

// MARK: Matrices

typedef enum ek_dtype { EK_F32 = 0, EK_BF16 = 1, EK_F16 = 2, EK_I8 = 3, EK_NF4 = 4 } ek_dtype;

/// An operand of a product: a row-major matrix of any element type, or its transpose.
typedef struct ek_matrix {
    const void *_Nullable data;
    ek_dtype dtype;
    /// The operand is the transpose of what is stored.
    bool transposed;
    /// Elements from one stored row to the next; for NF4 the row's length.
    ptrdiff_t stride;
    /// I8: absmax of each stored row (w = code · (absmax / 127)). NF4: absmax of each block of 64 along
    /// the flattened matrix.
    const float *_Nullable scales;
} ek_matrix;

/// One product C (+)= A · B with A `[m, k]`, B `[k, n]` (as operands), C `[m, n]` f32 row-major.
typedef struct ek_gemm_call {
    ptrdiff_t m, n, k;
    ek_matrix a, b;
    float *_Nullable c;
    ptrdiff_t ldc;
    /// C is added to, not overwritten.
    bool accumulate;
} ek_gemm_call;

/// C (+)= A · B. Every element of C is one chain, k ascending, of fused multiply-adds that starts at
/// zero or at C: so its bits do not depend on blocking, threads or vectors, nor on m and n.
void ek_gemm(
    ptrdiff_t m, ptrdiff_t n, ptrdiff_t k, ek_matrix a, ek_matrix b, float *_Nullable c,
    ptrdiff_t ldc, bool accumulate);

/// Products of one A (one m and k) with several B's, as ``ek_gemm`` for each. Where they read weights for a few rows,
/// the threads fetch the weights of the `next` calls (of which only `n` and `b` are read) as they run out of work.
void ek_gemm_group(
    ptrdiff_t count, const ek_gemm_call *_Nonnull calls, ptrdiff_t nextCount,
    const ek_gemm_call *_Nullable next);

/// Independent products (attention's heads), spread over the threads. No C overlaps another's.
void ek_gemm_batch(ptrdiff_t count, const ek_gemm_call *_Nonnull calls);

/// `cblas_sgemm`, as a library exports it.
typedef void (*ek_sgemm)(
    int order, int transA, int transB, int m, int n, int k, float alpha, const float *_Nullable a,
    int lda, const float *_Nullable b, int ldb, float beta, float *_Nullable c, int ldc);
/// From now on products go to this function, over a tile grid that the shape fixes, a tile a thread;
/// with null, to the portable kernels. Not while kernels run.
void ek_set_blas(ek_sgemm _Nullable sgemm);

/// The file that the code at this address was loaded from; null where the loader does not know.
const char *_Nullable ek_library_of(const void *_Nonnull address);

// MARK: Copies

/// to[j, i] = from[i, j], rows `fromStride` and `toStride` apart.
void ek_transpose(
    ptrdiff_t rows, ptrdiff_t columns, const float *_Nullable from, ptrdiff_t fromStride,
    float *_Nullable to, ptrdiff_t toStride);
/// BF16 or F16 to f32, exactly.
void ek_widen(
    ptrdiff_t count, ek_dtype kind, const void *_Nullable from, float *_Nullable to);
/// f32 to BF16 or F16, to nearest, ties to even.
void ek_narrow(
    ptrdiff_t count, ek_dtype kind, const float *_Nullable from, void *_Nullable to);

// MARK: Element by element

/// Our own functions (libm's differ between machines); their accuracy is stated in simd.h and held by
/// KernelAccuracyTests.
typedef enum ek_unary_op {
    EK_EXP, EK_LOG, EK_TANH, EK_SIN, EK_COS, EK_SQRT, EK_RSQRT, EK_ERF, EK_SIGMOID, EK_SILU,
    EK_SILU_GRADIENT, EK_GELU_TANH, EK_GELU_TANH_GRADIENT, EK_ABS
} ek_unary_op;
/// y = op(x); x and y may be the same.
void ek_unary(
    ek_unary_op op, ptrdiff_t count, const float *_Nullable x, float *_Nullable y);

typedef enum ek_binary_op {
    EK_ADD, EK_SUBTRACT, EK_MULTIPLY, EK_DIVIDE,
    EK_ADD_PRODUCT  // x + factor · y, rounded once
} ek_binary_op;
/// z = x op y, where y repeats every `period` elements (count: no repetition; 0: y is one number).
/// z may be x or y.
void ek_binary(
    ek_binary_op op, ptrdiff_t count, const float *_Nullable x, const float *_Nullable y,
    ptrdiff_t period, float factor, float *_Nullable z);

// MARK: Reductions, in an order that the length alone fixes

/// Σ x in f32: blocks of 4096, sixteen lanes by four in each, then pairwise.
float ek_sum(ptrdiff_t count, const float *_Nullable x);
/// Σ x y in f32, in the order of ``ek_sum``.
float ek_dot(ptrdiff_t count, const float *_Nullable x, const float *_Nullable y);
/// The largest element; NaN where any is; -infinity of nothing.
float ek_max(ptrdiff_t count, const float *_Nullable x);
/// Σ x in f64.
double ek_sum_f64(ptrdiff_t count, const float *_Nullable x);
/// Σ x y in f64 (Σ x where y is null).
double ek_dot_f64(ptrdiff_t count, const float *_Nullable x, const float *_Nullable y);
/// Each row's softmax; x and y may be the same.
void ek_softmax(
    ptrdiff_t rows, ptrdiff_t columns, const float *_Nullable x, float *_Nullable y);

// MARK: Random numbers (Philox4x32-10)

/// A stream: words 4 b … 4 b + 3 are the cipher of (b, nonce) under `key`.
typedef struct ek_random { uint64_t key, nonce; } ek_random;

/// Words `first` ..< `first + count` of the stream.
void ek_random_words(
    const ek_random *_Nonnull r, uint64_t first, ptrdiff_t count, uint32_t *_Nonnull to);
/// The four words of one block.
void ek_random_block(const ek_random *_Nonnull r, uint64_t block, uint32_t *_Nonnull to);
/// One word each: its upper 24 bits / 2^24, in [0, 1).
void ek_random_uniform(
    const ek_random *_Nonnull r, uint64_t first, ptrdiff_t count, float *_Nonnull to);
/// Two words each: √(-2 ln u) cos 2πv, u = (word + ½) / 2^32, v = (next word's upper 24 bits) / 2^24.
void ek_random_normal(
    const ek_random *_Nonnull r, uint64_t first, ptrdiff_t count, float *_Nonnull to);

// MARK: Sampling

/// weights[i] = exp(max(−700, (logits[i] − largest) / temperature)), to the bits of PortableMath.exp;
/// logits are at most `largest`, and those that are not numbers weigh exp(−700).
void ek_token_weights(
    const float *_Nullable logits, ptrdiff_t count, double largest, double temperature,
    double *_Nullable weights);

// MARK: Digests

/// A 64-bit digest of bytes, as fast as memory: the same on every kernel and thread count. It tells
/// states of a training apart; it is no cryptographic hash.
uint64_t ek_digest(const void *_Nullable bytes, ptrdiff_t count);

#ifdef __cplusplus
}
#endif

#include "head.h"
#include "nn.h"
#include "quant.h"
