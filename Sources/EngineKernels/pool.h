// The one thread pool: work over a grid that the problem fixes. Which thread takes which index is
// left to chance, so a body writes only what its index owns and the bits cannot tell.
#pragma once
#include "EngineKernels.h"

/// The calling thread's scratch memory in one of eight slots, 64-byte aligned, kept between calls;
/// growing loses what it held. Slots 0–3 belong to gemm.c, 4–7 to whoever calls it.
void *ek_scratch(int slot, size_t bytes);
