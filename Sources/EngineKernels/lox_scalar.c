// LoX's loops in their scalar variant.
#include "lox_parts.h"
#include "variant_scalar.h"
#include "lox_body.h"
#include "variant_end.h"
