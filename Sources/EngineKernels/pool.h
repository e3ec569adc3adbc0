// The one thread pool: work over a grid that the problem fixes. Which thread takes which index is
// left to chance, so a body writes only what its index owns and the bits cannot tell.
#pragma once
#include "EngineKernels.h"

/// The calling thread's scratch memory in one of eight slots, 64-byte aligned, kept between calls;
/// growing loses what it held. Slots 0–3 belong to gemm*.c, 4–7 to whoever calls it.
void *ek_scratch(int slot, size_t bytes);

/// The calling thread's place in the pool: 0 for whoever is not a worker.
int ek_thread_index(void);

/// What this thread, if it is a worker, fetches into its cache while it waits for its next job: memory that the job
/// will probably read. Only a wish, of memory that may be gone by then.
void ek_fetch_while_idle(const char *from, const char *to);
