// LoX's loops in their avx512 variant.
#if defined(__x86_64__)
#include "lox_parts.h"
#include "variant_avx512.h"
#include "lox_body.h"
#include "variant_end.h"
#else
typedef int ek_no_variant_here;
#endif
