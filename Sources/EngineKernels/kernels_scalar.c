// The portable tier's kernels in their scalar variant.
#include "EngineKernels.h"
#include "variant_scalar.h"
#include "gemm_body.h"
#include "elementwise_body.h"
#include "move_body.h"
#include "random_body.h"
#include "digest_body.h"
#include "variant_end.h"
