// Where we are: frame pointers (Swift keeps them), and the place of the last throw.
#include "internal.h"
#include "KernelSupport.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

int ks_read_words(uintptr_t address, uintptr_t words[2]) {
    struct iovec local = {words, 2 * sizeof(uintptr_t)};
    struct iovec remote = {(void *)address, 2 * sizeof(uintptr_t)};
    return process_vm_readv(getpid(), &local, 1, &remote, 1, 0) == (ssize_t)local.iov_len;
}

size_t ks_walk(uintptr_t pc, uintptr_t fp, uintptr_t *frames, size_t capacity) {
    size_t count = 0;
    if (pc != 0 && count < capacity) frames[count++] = pc;
    while (count < capacity && fp != 0 && (fp & 7) == 0) {
        uintptr_t words[2];
        if (!ks_read_words(fp, words) || words[1] < 4096) break;
        frames[count++] = words[1] - 1;
        // Async frames mark their saved pointer in its top bits; stacks grow down otherwise.
        uintptr_t next = words[0] & ~((uintptr_t)0xf << 60);
        if (next <= fp) break;
        fp = next;
    }
    return count;
}

int ks_locate(uintptr_t address, const char **object, uintptr_t *base) {
    Dl_info info;
    if (dladdr((void *)address, &info) == 0 || info.dli_fname == NULL) return 0;
    *object = info.dli_fname;
    *base = (uintptr_t)info.dli_fbase;
    return 1;
}

// MARK: throws

enum { throw_depth = 32, ring_size = 32 };

// The last throws of the whole process: an async function may throw on another thread than the one
// on which its error reaches the top level. Two threads a ring apart could share an entry; then the
// place is lost, never wrong by more than that throw.
static struct {
    const void *error;
    size_t count;
    uintptr_t frames[throw_depth];
} ring[ring_size];
static atomic_size_t next_entry = 0;

// A throw in a loop must stay cheap, so frames are followed without asking the kernel: Swift's frames
// lie on this thread's stack, above the present one.
static size_t walk_here(uintptr_t *frames, size_t capacity) {
    uintptr_t *fp = __builtin_frame_address(0);
    size_t count = 0;
    while (count < capacity && fp != NULL) {
        uintptr_t pc = fp[1];
        if (pc < 4096) break;
        frames[count++] = pc - 1;
        uintptr_t *next = (uintptr_t *)(fp[0] & ~((uintptr_t)0xf << 60));
        if (next <= fp || (uintptr_t)next - (uintptr_t)fp > (8 << 20)) break;
        fp = next;
    }
    return count;
}

static void will_throw(void *error) {
    size_t i = atomic_fetch_add_explicit(&next_entry, 1, memory_order_relaxed) % ring_size;
    ring[i].error = error;
    ring[i].count = walk_here(ring[i].frames, throw_depth);
}

static void will_throw_typed(void *value, const void *type, const void **table) {
    (void)value, (void)type, (void)table;
    will_throw(NULL);
}

void ks_throws_start(void) {
    void **untyped = dlsym(RTLD_DEFAULT, "_swift_willThrow");
    void **typed = dlsym(RTLD_DEFAULT, "_swift_willThrowTypedImpl");
    if (untyped) __atomic_store_n(untyped, (void *)will_throw, __ATOMIC_RELEASE);
    if (typed) __atomic_store_n(typed, (void *)will_throw_typed, __ATOMIC_RELEASE);
}

size_t ks_throw_frames(const void *error, uintptr_t *frames, size_t capacity) {
    size_t newest = atomic_load(&next_entry);
    for (size_t back = 1; back <= ring_size && back <= newest; back++) {
        size_t i = (newest - back) % ring_size;
        if (ring[i].error != NULL && ring[i].error != error) continue;
        size_t count = ring[i].count < capacity ? ring[i].count : capacity;
        memcpy(frames, ring[i].frames, count * sizeof *frames);
        return count;
    }
    return 0;
}
