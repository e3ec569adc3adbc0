// Where we are: frame pointers (Swift keeps them), and the place of the last throw.
#include "internal.h"
#include "KernelSupport.h"
#include <errno.h>
#include <dlfcn.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/uio.h>
#include <unwind.h>
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

#if defined(__x86_64__)
enum { frame_register = 6 };  // rbp, as DWARF counts
// Where the return address lies while a frame is made or undone, and in a stub of the linkage table; 0 within a body.
static uintptr_t return_slot(uintptr_t pc, uintptr_t sp) {
    const uint8_t *code = (const uint8_t *)pc;
    uintptr_t words[2];
    if (!ks_read_words(pc - 8, words) || !ks_read_words(pc, words)) return 0;
    if (code[0] == 0x55 || code[0] == 0xc3) return sp;                                // push %rbp; ret
    if (memcmp(code, "\xf3\x0f\x1e\xfa", 4) == 0) return sp;                          // endbr64
    if (memcmp(code, "\x48\x89\xe5", 3) == 0 && code[-1] == 0x55) return sp + 8;      // mov %rsp, %rbp
    if (memcmp(code, "\xff\x25", 2) == 0 || code[0] == 0x68) return sp;               // stub: jmp *slot; push index
    if (code[0] == 0xe9 && code[-5] == 0x68) return sp + 8;                           // stub: jmp to the first
    if (code[0] == 0xe9 && code[-1] == 0x5d) return sp;                               // pop %rbp; jmp elsewhere
    return 0;
}
#elif defined(__aarch64__)
enum { frame_register = 29 };
static uintptr_t return_slot(uintptr_t pc, uintptr_t sp) {
    (void)pc, (void)sp;
    return 0;
}
#endif

typedef struct {
    uintptr_t from;  // frames before it are the handler's own
    uintptr_t *frames;
    size_t count, capacity;
    uintptr_t fp;  // of the last frame
} unwinding;

static _Unwind_Reason_Code step(struct _Unwind_Context *context, void *into) {
    unwinding *u = into;
    uintptr_t ip = _Unwind_GetIP(context);
    if (u->count == 0 && ip != u->from) return _URC_NO_REASON;
    if (u->count == u->capacity) return _URC_END_OF_STACK;
    u->frames[u->count] = u->count == 0 ? ip : ip - 1;
    u->count++;
    u->fp = _Unwind_GetGR(context, frame_register);
    return _URC_NO_REASON;
}

// By the unwinder's tables first: libc keeps no frame pointers, and following them from there would skip its caller, the
// very line of the cell. Where the tables end (Swift's runtime has functions without), by frame pointers: those keep them.
size_t ks_unwind(uintptr_t pc, uintptr_t sp, uintptr_t fp, uintptr_t *frames, size_t capacity) {
    unwinding u = {.from = pc, .frames = frames, .capacity = capacity};
    _Unwind_Backtrace(step, &u);
    if (u.count == capacity || pc == 0) return u.count;
    if (u.count > 1) {
        // The walk gives the last frame again.
        uintptr_t last = frames[u.count - 1];
        return u.count - 1 + ks_walk(last, u.fp, frames + u.count - 1, capacity - u.count + 1);
    }
    uintptr_t slot = return_slot(pc, sp), words[2];
    if (slot == 0 || !ks_read_words(slot, words) || capacity < 2) return ks_walk(pc, fp, frames, capacity);
    frames[0] = pc;
    return 1 + ks_walk(words[0] - 1, fp, frames + 1, capacity - 1);
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
    int number;
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
    ring[i].number = errno;
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

size_t ks_throw_frames(const void *error, uintptr_t *frames, size_t capacity, int *number) {
    size_t newest = atomic_load(&next_entry);
    for (size_t back = 1; back <= ring_size && back <= newest; back++) {
        size_t i = (newest - back) % ring_size;
        if (ring[i].error != NULL && ring[i].error != error) continue;
        size_t count = ring[i].count < capacity ? ring[i].count : capacity;
        memcpy(frames, ring[i].frames, count * sizeof *frames);
        *number = ring[i].number;
        return count;
    }
    return 0;
}
