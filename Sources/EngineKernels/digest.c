// The digest of any number of bytes: blocks of 64 KiB shared out over the threads, their digests taken
// together in order, so the number of threads cannot be seen in it.
#include "EngineKernels.h"
#include "simd_types.h"

EK_DISPATCH(uint64_t, digest_block, (const unsigned char *p, ptrdiff_t count), (p, count))

enum { block = ek_digest_block_bytes };

typedef struct {
    const unsigned char *bytes;
    ptrdiff_t count;
    uint64_t *parts;
} digest_job;

static void digestTask(void *context, ptrdiff_t index) {
    const digest_job *job = context;
    ptrdiff_t at = index * block, n = job->count - at < block ? job->count - at : block;
    job->parts[index] = ek_digest_block(job->bytes + at, n);
}

uint64_t ek_digest(const void *bytes, ptrdiff_t count) {
    uint64_t result = (uint64_t)count, parts[256];
    for (ptrdiff_t at = 0; at < count; at += 256 * block) {
        ptrdiff_t n = count - at < 256 * block ? count - at : 256 * block;
        ptrdiff_t blocks = (n + block - 1) / block;
        digest_job job = {(const unsigned char *)bytes + at, n, parts};
        // Waking the pool costs more than a few blocks do.
        if (blocks < 4) {
            for (ptrdiff_t i = 0; i < blocks; i++) digestTask(&job, i);
        } else {
            ek_parallel(blocks, digestTask, &job);
        }
        for (ptrdiff_t i = 0; i < blocks; i++) result = ek_mix(result, parts[i]);
    }
    return result;
}
