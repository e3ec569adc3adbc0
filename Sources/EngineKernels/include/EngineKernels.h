// The portable tier's loops. Every function here gives the same bits for any thread count and on
// any kernel (AVX-512, AVX2, plain C); how, is said at each.
#pragma once
#include <stdint.h>
#include <stddef.h>

/// The name of the kernel set chosen for this CPU: "avx512", "avx2" or "scalar".
const char *_Nonnull ek_kernel_name(void);
