// Threads that wait for work: they spin for a while after each job, since the next one of a training
// step comes within microseconds, then sleep.
#include "pool.h"
#include "EngineKernels.h"
#include "simd_types.h"
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <immintrin.h>
#define PAUSE() _mm_pause()
#else
#define PAUSE() ((void)0)
#endif

enum { maximumThreads = 256 };
static const long spinNanoseconds = 60000;

static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;  // held by the thread whose job runs
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;   // guards sleeping
static pthread_cond_t wake = PTHREAD_COND_INITIALIZER;
static int started = 0;                                    // worker threads that exist
static atomic_int wanted = 0;                              // threads set; 0 = not yet
static atomic_int sleepers = 0;

// One job at a time. `generation` is odd while a job is open.
static void (*jobBody)(void *, ptrdiff_t);
static void *jobContext;
static ptrdiff_t jobCount;
static int jobThreads;
static int jobVariant;
static _Alignas(64) atomic_ulong generation = 0;
static _Alignas(64) atomic_long next = 0;
static _Alignas(64) atomic_int inside = 0;  // workers that may still touch the job

static __thread bool isInside = false;
static __thread int ownIndex = 0;
static __thread const char *idleFrom = NULL, *idleTo = NULL;

int ek_thread_index(void) { return ownIndex; }

void ek_fetch_while_idle(const char *from, const char *to) {
    idleFrom = from;
    idleTo = to;
}

static long nanoseconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void drain(void) {
    isInside = true;
    for (;;) {
        long i = atomic_fetch_add_explicit(&next, 1, memory_order_relaxed);
        if (i >= jobCount) break;
        jobBody(jobContext, i);
    }
    isInside = false;
}

static void *worker(void *argument) {
    int index = ownIndex = (int)(size_t)argument;  // 1-based: the caller is thread 0
    unsigned long seen = 0;
    for (;;) {
        unsigned long g;
        long start = nanoseconds();
        int spins = 0;
        while ((g = atomic_load_explicit(&generation, memory_order_acquire)) == seen || !(g & 1)) {
            if (idleFrom < idleTo) {
                for (int i = 0; i < 8; i++) __builtin_prefetch(idleFrom + 64 * i, 0, 2);
                idleFrom += 8 * 64;
                continue;
            }
            PAUSE();
            if (++spins < 64) continue;
            spins = 0;
            if (nanoseconds() - start < spinNanoseconds) continue;
            pthread_mutex_lock(&lock);
            atomic_fetch_add(&sleepers, 1);
            while ((g = atomic_load(&generation)) == seen || !(g & 1)) {
                pthread_cond_wait(&wake, &lock);
            }
            atomic_fetch_sub(&sleepers, 1);
            pthread_mutex_unlock(&lock);
            break;
        }
        seen = g;
        atomic_fetch_add(&inside, 1);
        // The job may have closed meanwhile: its fields are ours to read only while it is open.
        if (atomic_load(&generation) == g && index < jobThreads) {
            ek_inherit_variant(jobVariant);
            drain();
        }
        atomic_fetch_sub(&inside, 1);
    }
    return NULL;
}

int ek_threads(void) {
    int n = atomic_load_explicit(&wanted, memory_order_relaxed);
    if (n > 0) return n;
    const char *text = getenv("STUDY_THREADS");
    n = text ? atoi(text) : 0;
    if (n <= 0) n = (int)sysconf(_SC_NPROCESSORS_ONLN);
    ek_set_threads(n);
    return atomic_load_explicit(&wanted, memory_order_relaxed);
}

void ek_set_threads(int count) {
    if (count < 1) count = 1;
    if (count > maximumThreads) count = maximumThreads;
    atomic_store(&wanted, count);
}

static void startWorkers(int threads) {
    while (started < threads - 1) {
        pthread_t thread;
        pthread_attr_t attributes;
        pthread_attr_init(&attributes);
        pthread_attr_setstacksize(&attributes, 2 << 20);
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        int status = pthread_create(&thread, &attributes, worker, (void *)(size_t)(started + 1));
        pthread_attr_destroy(&attributes);
        if (status != 0) return;  // the caller does the work alone
        started++;
    }
}

void ek_parallel(ptrdiff_t count, void (*body)(void *, ptrdiff_t), void *context) {
    int threads = count > 1 && !isInside ? ek_threads() : 1;
    // A second caller does its job alone rather than wait for the first one's.
    if (threads <= 1 || pthread_mutex_trylock(&owner) != 0) {
        for (long i = 0; i < count; i++) body(context, i);
        return;
    }
    startWorkers(threads);
    jobBody = body;
    jobContext = context;
    jobCount = count;
    jobThreads = threads;
    jobVariant = ek_variant();
    atomic_store(&next, 0);
    atomic_fetch_add(&generation, 1);  // odd: open
    if (atomic_load(&sleepers) > 0) {
        pthread_mutex_lock(&lock);
        pthread_cond_broadcast(&wake);
        pthread_mutex_unlock(&lock);
    }
    drain();
    atomic_fetch_add(&generation, 1);  // even: closed to late comers
    for (int spins = 1; atomic_load(&inside) > 0; spins++) {
        if (spins % 1024 == 0) sched_yield();  // the worker we wait for may want this core
        PAUSE();
    }
    pthread_mutex_unlock(&owner);
}

enum { slots = 8 };
static __thread struct { void *base; size_t bytes; } scratch[slots];

void *ek_scratch(int slot, size_t bytes) {
    if (scratch[slot].bytes < bytes) {
        ek_release(scratch[slot].base, scratch[slot].bytes);
        scratch[slot].bytes = (bytes + bytes / 4 + 4095) & ~(size_t)4095;
        scratch[slot].base = ek_allocate(scratch[slot].bytes);
        if (!scratch[slot].base) abort();
    }
    return scratch[slot].base;
}
