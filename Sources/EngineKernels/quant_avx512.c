// The avx512 variant of quantisation's loops.
#if defined(__x86_64__)
#include "quant_internal.h"
#include "variant_avx512.h"
#include "quant_body.h"
#include "variant_end.h"
#endif
