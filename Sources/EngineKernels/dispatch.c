// Which variant of the kernels this process uses: chosen once, from the CPU's features and the
// environment variable STUDY_KERNELS (avx512, avx2 or scalar), which can only choose a lower one. What it
// says otherwise is ignored here; checkArithmeticVariables (Engine/Backends) refuses it.
#define _GNU_SOURCE  // dladdr
#include "EngineKernels.h"
#include "simd_types.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_int chosen = -1;
// What ek_use_kernels chose on this thread; a job of the pool takes it from the thread that gave it.
// Per thread, so that a test that switches never changes a product that another thread is in.
static __thread int own = -1;

static int supported(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma") ||
        !__builtin_cpu_supports("f16c")) return 0;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl")) return 2;
    return 1;
#else
    return 0;
#endif
}

static const char *const names[3] = {"scalar", "avx2", "avx512"};

void ek_inherit_variant(int variant) { own = variant; }

int ek_variant(void) {
    if (own >= 0) return own;
    int variant = atomic_load_explicit(&chosen, memory_order_relaxed);
    if (__builtin_expect(variant >= 0, 1)) return variant;
    variant = supported();
    const char *wanted = getenv("STUDY_KERNELS");
    if (wanted) {
        for (int i = 0; i < variant; i++) {
            if (strcmp(wanted, names[i]) == 0) variant = i;
        }
    }
    atomic_store_explicit(&chosen, variant, memory_order_relaxed);
    return variant;
}

const char *ek_kernel_name(void) { return names[ek_variant()]; }

static int index_of(const char *name) {
    for (int i = 0; i <= supported(); i++) {
        if (strcmp(name, names[i]) == 0) return i;
    }
    return -1;
}

bool ek_can_use_kernels(const char *name) { return index_of(name) >= 0; }

bool ek_use_kernels(const char *name) {
    int i = index_of(name);
    if (i >= 0) own = i;
    return i >= 0;
}

const char *ek_library_of(const void *address) {
    Dl_info information;
    return dladdr(address, &information) != 0 ? information.dli_fname : NULL;
}
