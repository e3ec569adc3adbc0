// What the output layer's driver (head.c) and its inner loops share.
#pragma once
#include "gemm_internal.h"

enum {
    headRows = 128,    // rows of x whose logits are held at once
    headPanel = 32,    // of them side by side: the lanes of a tile
    headStrip = 96,    // rows of W that a task on the way forward takes
    headBlock = 1024,  // logits of a row that are summed in f32
    headDepth = 256,   // rows of W that are gone through together on the way back: 32 KiB of a panel
    headInner = 1024,  // the longest part of x's width taken at once
    headColumns = 384, // the most columns of W that a task on the way back takes
};

/// The rows under way, in panels of at most headPanel: element (v, r) of panel p at
/// z[p · headPanel · vocabulary + v · lanes + r].
typedef struct {
    const ek_head_t *head;
    const float *x;         // packed: element (k, r) of panel p at x[p · headPanel · hidden + k · lanes + r]
    long rows, panels, strips, blocks, width;
    float *z, *sums;        // sums: [block][headRows]
    float *best;            // [strip][headRows]
    int32_t *at;            // [strip][headRows]: where the best is, -1 for nowhere
    float *dx;              // transposed: element (j, r) of panel p at dx[p · headPanel · hidden + j · lanes + r]
    const int32_t *labels;
    const float *weights;
    float largest[headRows], factor[headRows], atLabel[headRows];
} head_chunk;

/// Lanes of a panel: 16 or 32.
static inline long head_lanes(const head_chunk *t, long panel) {
    return smaller(headPanel, roundedUp(t->rows - panel * headPanel, 16));
}
