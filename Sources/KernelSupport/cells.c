// A cell runs on a stack of its own, on the main thread. One that throws, or whose top-level `await`
// ended, never returns: its stack is left as it is and the host goes on. State that points into such a
// stack (the runtime's record of the running task) thus stays valid.
#include "internal.h"
#include "KernelSupport.h"
#include <errno.h>
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default"), used))
// Not optimized: splitting off cold code would move "the address this returns to" into another function.
#define WAY_OUT EXPORT __attribute__((optnone, noinline))
#define SWIFTCC __attribute__((swiftcall))

static const size_t stack_size = (size_t)512 << 20;  // touched only as far as it is used
static const size_t guard_size = 1 << 16;

static ucontext_t host;
static struct ks_outcome *current;
static int (*entry_point)(int, char **);
static char *stack;
static pthread_t cell_thread;
static int cell_index = -1;
static int is_asynchronous;
static int reached_end;
static void *top_level_task;
static volatile int draining;
static volatile int cancelled;

int ks_current_cell(void) { return cell_index; }
void ks_reached_end(void) { reached_end = 1; }
int ks_is_cancelled(void) { return cancelled; }
void ks_cancel(void) { cancelled = 1; }

int ks_is_stack_guard(uintptr_t address) {
    return stack != NULL && address >= (uintptr_t)stack && address < (uintptr_t)stack + guard_size;
}

static void trampoline(void) {
    entry_point(0, (char *[]){NULL});
    current->kind = KS_RETURNED;
}

static int is_on_cell_stack(void) {
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    return current != NULL && pthread_equal(pthread_self(), cell_thread)
        && here > (uintptr_t)stack && here < (uintptr_t)stack + stack_size;
}

_Noreturn static void leave(int kind) {
    current->kind = kind;
    setcontext(&host);
    abort();
}

void ks_run_cell(int (*entry)(int, char **), int cell, struct ks_outcome *outcome) {
    memset(outcome, 0, sizeof *outcome);
    stack = mmap(NULL, stack_size, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
    if (stack == MAP_FAILED) {
        fprintf(stderr, "study: no memory for the stack of a cell: %s\n", strerror(errno));
        _exit(KS_CANNOT_START);
    }
    mprotect(stack, guard_size, PROT_NONE);
    entry_point = entry;
    current = outcome;
    outcome->kind = -1;
    cell_thread = pthread_self();
    cell_index = cell;
    is_asynchronous = 0;
    reached_end = 0;
    draining = 0;

    ucontext_t inside;
    getcontext(&inside);
    inside.uc_stack.ss_sp = stack;
    inside.uc_stack.ss_size = stack_size;
    inside.uc_link = &host;
    makecontext(&inside, trampoline, 0);
    errno = 0;
    swapcontext(&host, &inside);

    // A child that the cell forked must not go on as a second kernel.
    if (getpid() != ks_owner()) _exit(0);
    if (outcome->kind == KS_RETURNED && !is_asynchronous) munmap(stack, stack_size);
    stack = NULL;
    current = NULL;
    cell_index = -1;
}

// MARK: ways out, called by the cell in place of the functions they are named after (`ld --wrap`)

EXPORT SWIFTCC void __wrap_swift_errorInMain(void *error) {
    if (!is_on_cell_stack()) {
        void (*real)(void *) SWIFTCC = dlsym(RTLD_DEFAULT, "swift_errorInMain");
        real(error);
        abort();
    }
    current->error = error;
    current->frame_count = ks_throw_frames(error, current->frames, KS_MAXIMUM_FRAMES, &current->error_number);
    leave(KS_THREW);
}

// The caller of the function in which this stands, outwards.
#define KEEP_FRAMES() \
    current->error_number = errno; \
    current->frame_count = ks_walk((uintptr_t)__builtin_return_address(0) - 1, \
        *(uintptr_t *)__builtin_frame_address(0), current->frames, KS_MAXIMUM_FRAMES)

WAY_OUT void __wrap_exit(int status) {
    if (getpid() != ks_owner() || !is_on_cell_stack()) exit(status);
    // Top-level code with `await` ends in `exit(0)`: that is its way to return.
    if (status == 0 && is_asynchronous && reached_end) leave(KS_RETURNED);
    current->status = status;
    KEEP_FRAMES();
    leave(KS_EXITED);
}

WAY_OUT void __wrap__exit(int status) {
    if (getpid() != ks_owner() || !is_on_cell_stack()) _exit(status);
    current->status = status;
    KEEP_FRAMES();
    leave(KS_EXITED);
}

WAY_OUT void __wrap_quick_exit(int status) {
    if (getpid() != ks_owner() || !is_on_cell_stack()) quick_exit(status);
    current->status = status;
    KEEP_FRAMES();
    leave(KS_EXITED);
}

WAY_OUT int __wrap_close(int descriptor) {
    if (descriptor != ks_socket() || getpid() != ks_owner()) return close(descriptor);
    if (!is_on_cell_stack()) {
        errno = EBADF;
        return -1;
    }
    KEEP_FRAMES();
    leave(KS_CLOSED);
}

// A second process with this one's memory would be a second kernel on the same socket.
WAY_OUT pid_t __wrap_fork(void) {
    if (!is_on_cell_stack()) {
        errno = ENOSYS;
        return -1;
    }
    KEEP_FRAMES();
    leave(KS_FORKED);
}

// MARK: the main actor, whose jobs run on the cell's stack while its top level waits

struct executor {
    void *identity;
    uintptr_t implementation;
};

static pthread_mutex_t queue_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t queue_filled = PTHREAD_COND_INITIALIZER;
static void **queue;
static size_t queue_count, queue_capacity, queue_start;

void ks_enqueue(void *job) {
    pthread_mutex_lock(&queue_lock);
    if (queue_start == queue_count) queue_start = queue_count = 0;
    if (queue_count == queue_capacity) {
        queue_capacity = queue_capacity ? 2 * queue_capacity : 64;
        queue = realloc(queue, queue_capacity * sizeof *queue);
        if (queue == NULL) abort();
    }
    queue[queue_count++] = job;
    pthread_cond_signal(&queue_filled);
    pthread_mutex_unlock(&queue_lock);
}

static struct executor main_executor;

static SWIFTCC struct executor get_main_executor(void *original) {
    (void)original;
    return main_executor;
}

void ks_set_main_executor(const void *identity, uintptr_t implementation) {
    main_executor.identity = (void *)identity;
    main_executor.implementation = implementation;
    void **hook = dlsym(RTLD_DEFAULT, "swift_task_getMainExecutor_hook");
    if (hook) __atomic_store_n(hook, (void *)get_main_executor, __ATOMIC_RELEASE);
}

int ks_is_cell_thread(void) { return pthread_equal(pthread_self(), cell_thread); }

// Only the entry point of top-level code with `await` runs a job itself: its first.
EXPORT SWIFTCC void __wrap_swift_job_run(void *job, struct executor executor) {
    SWIFTCC void (*run)(void *, struct executor) =
        (SWIFTCC void (*)(void *, struct executor))dlsym(RTLD_DEFAULT, "swift_job_run");
    if (is_on_cell_stack()) {
        is_asynchronous = 1;
        top_level_task = job;
    }
    run(job, executor);
}

EXPORT SWIFTCC void __wrap_swift_task_asyncMainDrainQueue(void) {
    SWIFTCC void (*run)(void *, struct executor) =
        (SWIFTCC void (*)(void *, struct executor))dlsym(RTLD_DEFAULT, "swift_job_run");
    for (;;) {
        pthread_mutex_lock(&queue_lock);
        draining = 1;
        while (queue_start == queue_count) pthread_cond_wait(&queue_filled, &queue_lock);
        draining = 0;
        void *job = queue[queue_start++];
        pthread_mutex_unlock(&queue_lock);
        run(job, main_executor);
    }
}

// A task that waits has no stack: its frames are the contexts that its innermost one leads to, each
// with the code that goes on after it. Offsets of Swift 6's `AsyncTask` (stdlib/public/Concurrency,
// ABI/Task.h): where to resume, then the context; a context is its parent, then the parent's code.
size_t ks_waiting_frames(uintptr_t *frames, size_t capacity) {
    // Such code starts with instructions that belong to no line; its first line begins soon after.
    enum { resume_offset = 56, past_prologue = 40 };
    size_t count = 0;
    uintptr_t words[2];
    if (!draining || !is_asynchronous || top_level_task == NULL) return 0;
    if (!pthread_equal(pthread_self(), cell_thread)) return 0;  // another thread trapped
    if (!ks_read_words((uintptr_t)top_level_task + resume_offset, words)) return 0;
    if (count < capacity) frames[count++] = words[0] + past_prologue;
    for (uintptr_t context = words[1]; count < capacity && context != 0; context = words[0]) {
        if ((context & 7) != 0 || !ks_read_words(context, words) || words[1] < 4096) break;
        frames[count++] = words[1] + past_prologue;
    }
    return count;
}

void ks_start(int socket) {
    // By the line: a cell that dies must not take its output along.
    setvbuf(stdout, NULL, _IOLBF, 1 << 16);
    ks_outbox_start(socket);
    ks_order_start();
    ks_throws_start();
    ks_traps_start();
}
