// The scalar variant of quantisation's loops.
#include "quant_internal.h"
#include "variant_scalar.h"
#include "quant_body.h"
#include "variant_end.h"
