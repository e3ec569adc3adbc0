// Opens the AVX-512 variant: what follows is compiled for it, until variant_end.h.
#include "simd_types.h"
#define EK_SUFFIX _avx512
#define EK_AVX512 1
#define EK_AVX2 0
#define EK_SCALAR 0
#pragma clang attribute push(                                                                    \
    __attribute__((target("avx512f,avx512dq,avx512bw,avx512vl,avx2,fma,f16c"))), apply_to = function)
#include "simd.h"
