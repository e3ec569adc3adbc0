// Opens the plain-C variant: what follows is compiled for any CPU, until variant_end.h.
#include "simd_types.h"
#define EK_SUFFIX _scalar
#define EK_AVX512 0
#define EK_AVX2 0
#define EK_SCALAR 1
#include "simd.h"
