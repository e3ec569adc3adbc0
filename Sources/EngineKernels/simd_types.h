// The vector types that every kernel is written on, and the names of the three variants. The
// operations on them are in simd.h, which each variant includes once.
#pragma once
#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

// All functions that take or return vectors are inlined: no ABI is involved.
#pragma clang diagnostic ignored "-Wpsabi"

// Sixteen lanes always: AVX-512 has them in one register, AVX2 in two, plain C in a loop. The order
// of every operation is that of the sixteen lanes, so the bits do not depend on which it is.
typedef float vf __attribute__((vector_size(64)));
typedef uint32_t vu __attribute__((vector_size(64)));
typedef int32_t vi __attribute__((vector_size(64)));
typedef float vf_unaligned __attribute__((vector_size(64), aligned(4)));
typedef float vf8 __attribute__((vector_size(32)));
typedef double vd __attribute__((vector_size(64)));  // eight lanes
typedef uint64_t vul __attribute__((vector_size(64)));
typedef int64_t vil __attribute__((vector_size(64)));
typedef uint16_t vh __attribute__((vector_size(32)));  // sixteen halves, as bits
typedef uint16_t vh_unaligned __attribute__((vector_size(32), aligned(2)));
typedef int8_t vb __attribute__((vector_size(16)));
typedef int8_t vb_unaligned __attribute__((vector_size(16), aligned(1)));

#define EK_LANES 16
#define EK_INLINE static inline __attribute__((always_inline, unused))
#define EK_UNROLL _Pragma("clang loop unroll(full)")
#define EK_CAT2(a, b) a##b
#define EK_CAT(a, b) EK_CAT2(a, b)
// A function that each variant defines: `void EK(silu)(…)` is ek_silu_avx512 in one of them.
#define EK(name) EK_CAT(EK_CAT(ek_, name), EK_SUFFIX)

// Defines `ek_name`, which calls the variant chosen for this process (dispatch.c).
#if defined(__x86_64__)
#define EK_DISPATCH(type, name, parameters, arguments)            \
    type ek_##name##_avx512 parameters;                           \
    type ek_##name##_avx2 parameters;                             \
    type ek_##name##_scalar parameters;                           \
    type ek_##name parameters {                                   \
        switch (ek_variant()) {                                   \
        case 2: return ek_##name##_avx512 arguments;              \
        case 1: return ek_##name##_avx2 arguments;                \
        default: return ek_##name##_scalar arguments;             \
        }                                                         \
    }
#else
#define EK_DISPATCH(type, name, parameters, arguments)            \
    type ek_##name##_scalar parameters;                           \
    type ek_##name parameters { return ek_##name##_scalar arguments; }
#endif

/// 2 is AVX-512, 1 is AVX2 with FMA, 0 plain C.
int ek_variant(void);
/// Makes the calling thread use a variant.
void ek_inherit_variant(int variant);

/// The bytes of which ek_digest takes the digest at once, and that of one such block.
enum { ek_digest_block_bytes = 1 << 16 };
uint64_t ek_digest_block(const unsigned char *p, ptrdiff_t count);

/// Takes one more word into a digest (MurmurHash3's finalizer: its two odd factors).
static inline uint64_t ek_mix(uint64_t digest, uint64_t word) {
    digest = (digest ^ word) * 0xff51afd7ed558ccdu;
    digest = (digest ^ digest >> 32) * 0xc4ceb9fe1a85ec53u;
    return digest ^ digest >> 29;
}
