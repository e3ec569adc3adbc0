// The portable tier's kernels in their avx512 variant.
#if defined(__x86_64__)
#include "gemm_internal.h"
#include "head_internal.h"
#include "variant_avx512.h"
#include "gemm_body.h"
#include "gemm_few_body.h"
#include "head_body.h"
#include "elementwise_body.h"
#include "move_body.h"
#include "random_body.h"
#include "digest_body.h"
#include "sampling_body.h"
#include "variant_end.h"
#else
typedef int ek_no_variant_here;
#endif
