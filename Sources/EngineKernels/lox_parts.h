// What lox.c and the three variants of lox_body.h share.
#pragma once
#include "EngineKernels.h"
#include "lox.h"
#include "simd_types.h"

typedef double lox_vd_unaligned __attribute__((vector_size(64), aligned(8)));

enum {
    // Columns whose products make one chain before they join a row's sum: short enough that f32
    // chains lose little, long enough that the accumulators stay in registers.
    LOX_CHUNK = 256,
    LOX_STRIDE = LOX_CHUNK + 16,
    // Rows of a tall f64 block that one thread takes at a time.
    LOX_BLOCK = 512,
    // The most groups of rows that a sweep is cut into: each has a sum of its own, [columns, width].
    LOX_GROUPS = 8,
    LOX_PANEL = 16,
};

static inline int64_t smaller(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t quotient(int64_t a, int64_t b) { return (a + b - 1) / b; }

/// Elements that a row takes in a panel: a panel holds chunk after chunk, each with rows of
/// LOX_STRIDE elements, so that equal columns of different rows fall into different cache sets.
static inline int64_t lox_panel_width(int64_t columns) {
    return quotient(columns, LOX_CHUNK) * LOX_STRIDE;
}

/// Cache lines of the inputs that will be needed next.
typedef struct {
    int64_t count;
    const char *lines[3 * LOX_PANEL * (LOX_CHUNK * 4 / 64 + 1)];
} lox_ahead;

static inline void lox_look_ahead(
    const ek_lox_delta *d, int64_t row, int64_t rows, int64_t column, lox_ahead *ahead
) {
    const char *inputs[3] = {d->aligned, d->base, d->tuned};
    int32_t types[3] = {d->aligned_type, d->base_type, d->tuned_type};
    int64_t n = 0, columns = smaller(LOX_CHUNK, d->columns - column);
    for (int64_t r = 0; r < rows; r++) {
        for (int i = 0; i < 3; i++) {
            if (!inputs[i]) continue;
            int64_t size = types[i] == EK_LOX_F32 ? 4 : 2;
            const char *from = inputs[i] + ((row + r) * d->columns + column) * size;
            const char *line = (const char *)((uintptr_t)from & ~(uintptr_t)63);
            for (; line < from + columns * size; line += 64) ahead->lines[n++] = line;
        }
    }
    ahead->count = n;
}
