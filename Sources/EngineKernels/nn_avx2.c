// The avx2 variant of the transformer operators' loops.
#if defined(__x86_64__)
#include "nn_internal.h"
#include "pool.h"
#include "variant_avx2.h"
#include "nn_rows.h"
#include "nn_attention.h"
const ek_nn_loops ek_nn_loops_avx2 = EK_NN_LOOPS;
#include "variant_end.h"
#endif
