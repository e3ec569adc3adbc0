// The plain-C variant of the transformer operators' loops.
#include "nn_internal.h"
#include "pool.h"
#include "variant_scalar.h"
#include "nn_rows.h"
#include "nn_attention.h"
const ek_nn_loops ek_nn_loops_scalar = EK_NN_LOOPS;
#include "variant_end.h"
