// Counter-based random numbers: the n-th word of a stream is a function of key, nonce and n alone.
#include "EngineKernels.h"
#include "simd_types.h"

EK_DISPATCH(
    void, random_words, (const ek_random *r, uint64_t first, ptrdiff_t count, uint32_t *to),
    (r, first, count, to))
EK_DISPATCH(
    void, random_uniform, (const ek_random *r, uint64_t first, ptrdiff_t count, float *to),
    (r, first, count, to))
EK_DISPATCH(
    void, random_normal, (const ek_random *r, uint64_t first, ptrdiff_t count, float *to),
    (r, first, count, to))
EK_DISPATCH(
    void, random_block, (const ek_random *r, uint64_t block, uint32_t *to), (r, block, to))
