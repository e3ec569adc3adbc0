// Times one f32 product at a time, ours or OpenBLAS's, as compare.py asks on standard input:
//   ours|openblas THREADS M N K NT REPEATS   ->  seconds a product
// NT is 1 where B is stored [n, k] (a linear layer's weight), else 0. OpenBLAS is loaded as it comes.
#include "EngineKernels.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static float *filled(long count) {
    float *p = aligned_alloc(64, (size_t)(count * 4 + 63) / 64 * 64);
    uint32_t state = 1;
    for (long i = 0; i < count; i++) {
        state = state * 1664525u + 1013904223u;
        p[i] = (float)(int32_t)state * 0x1p-31f;
    }
    return p;
}

int main(void) {
    void *library = dlopen("libopenblas.so.0", RTLD_NOW);
    ek_sgemm sgemm = NULL;
    void (*setThreads)(int) = NULL;
    char *(*coreName)(void) = NULL;
    char *(*configuration)(void) = NULL;
    if (library) {
        *(void **)&sgemm = dlsym(library, "cblas_sgemm");
        *(void **)&setThreads = dlsym(library, "openblas_set_num_threads");
        *(void **)&coreName = dlsym(library, "openblas_get_corename");
        *(void **)&configuration = dlsym(library, "openblas_get_config");
    }
    printf("%s\n%s\n", ek_kernel_name(), library ? configuration() : "missing");
    printf("%s\n", library ? coreName() : "none");
    fflush(stdout);
    char who[16];
    int threads, nt, repeats;
    long m, n, k;
    while (scanf("%15s %d %ld %ld %ld %d %d", who, &threads, &m, &n, &k, &nt, &repeats) == 7) {
        float *a = filled(m * k), *b = filled(k * n), *c = filled(m * n);
        ek_matrix x = {a, EK_F32, false, k, NULL}, y = {b, EK_F32, nt, nt ? k : n, NULL};
        bool isOurs = strcmp(who, "ours") == 0;
        ek_set_threads(threads);
        if (library) setThreads(threads);
        double start = 0;
        // The first, untimed, wakes threads and touches memory.
        for (int i = -1; i < repeats; i++) {
            if (i == 0) start = now();
            if (isOurs) ek_gemm(m, n, k, x, y, c, n, false);
            else sgemm(101, 111, nt ? 112 : 111, (int)m, (int)n, (int)k, 1, a, (int)k, b,
                       (int)y.stride, 0, c, (int)n);
        }
        printf("%.9f\n", (now() - start) / repeats);
        fflush(stdout);
        free(a);
        free(b);
        free(c);
    }
    return 0;
}
