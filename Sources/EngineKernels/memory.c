// Memory for tensors and panels, on huge pages where the system has them: both are walked with long strides, where
// pages of 4 KiB would miss the TLB at many steps, and each fresh page would be a fault.
#include "EngineKernels.h"
#include <pthread.h>
#include <stdlib.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

// Weights of a megabyte or two would waste most of a huge page each, so blocks of middle size lie one after the other
// in chunks. A chunk goes back to the system with its last block, except the newest.
enum {
    hugePage = 2 << 20,
    smallestShared = 64 << 10,  // below it: malloc's affair
    largestShared = 16 << 20,   // above it: a mapping of its own
    chunkBytes = 64 << 20,
};

#if defined(__linux__)
typedef struct chunk {
    _Alignas(64) struct chunk *next;
    size_t used;
    long live;
} chunk;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;  // guards the chunks
static chunk *chunks = NULL;                              // the newest first

/// Pages that begin at a multiple of `alignment`, a wish for huge ones made.
static char *mapped(size_t bytes, size_t alignment) {
    // More than wanted, so that the block can begin there; the rest goes back.
    char *region = mmap(
        NULL, bytes + alignment, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
        -1, 0);
    if (region == MAP_FAILED) return NULL;
    size_t before = (alignment - (uintptr_t)region % alignment) % alignment;
    if (before) munmap(region, before);
    munmap(region + before + bytes, alignment - before);
    madvise(region + before, bytes, MADV_HUGEPAGE);  // without it nothing is lost
    return region + before;
}

static void *fromChunk(size_t bytes) {
    bytes = (bytes + 63) & ~(size_t)63;
    pthread_mutex_lock(&lock);
    chunk *c = chunks;
    if (!c || c->used + bytes > chunkBytes) {
        chunk *fresh = (chunk *)mapped(chunkBytes, chunkBytes);
        if (fresh) {
            fresh->next = chunks;
            fresh->used = sizeof *fresh;
            chunks = fresh;
        }
        c = fresh;
    }
    void *base = NULL;
    if (c) {
        base = (char *)c + c->used;
        c->used += bytes;
        c->live++;
    }
    pthread_mutex_unlock(&lock);
    return base;
}

/// Gives a block back to its chunk.
/// - Returns: False where no chunk holds it.
static bool toChunk(void *base, size_t bytes) {
    chunk *owner = (chunk *)((uintptr_t)base & ~(uintptr_t)(chunkBytes - 1));
    pthread_mutex_lock(&lock);
    chunk **link = &chunks;
    while (*link && *link != owner) link = &(*link)->next;
    bool found = *link != NULL;
    if (found && --owner->live == 0) {
        if (owner == chunks) {
            // The newest begins anew; its first page holds what this function reads.
            owner->used = sizeof *owner;
            madvise((char *)owner + hugePage, chunkBytes - hugePage, MADV_DONTNEED);
        } else {
            *link = owner->next;
            munmap(owner, chunkBytes);
        }
    } else if (found) {
        // The block's place is not given out again; its whole pages go back now.
        uintptr_t first = ((uintptr_t)base + hugePage - 1) & ~(uintptr_t)(hugePage - 1);
        uintptr_t last = ((uintptr_t)base + bytes) & ~(uintptr_t)(hugePage - 1);
        if (first < last) madvise((void *)first, last - first, MADV_DONTNEED);
    }
    pthread_mutex_unlock(&lock);
    return found;
}
#endif

void *ek_allocate(size_t bytes) {
#if defined(__linux__)
    if (bytes > largestShared) return mapped((bytes + 4095) & ~(size_t)4095, hugePage);
    if (bytes >= smallestShared) {
        void *block = fromChunk(bytes);
        if (block) return block;
    }
#endif
    void *base = NULL;
    return posix_memalign(&base, 64, bytes ? bytes : 64) == 0 ? base : NULL;
}

void ek_release(void *base, size_t bytes) {
    if (!base) return;
#if defined(__linux__)
    if (bytes > largestShared) {
        munmap(base, (bytes + 4095) & ~(size_t)4095);
        return;
    }
    if (bytes >= smallestShared && toChunk(base, bytes)) return;
#endif
    free(base);
}
