// The avx2 variant of quantisation's loops.
#if defined(__x86_64__)
#include "quant_internal.h"
#include "variant_avx2.h"
#include "quant_body.h"
#include "variant_end.h"
#endif
