// The output layer and the cross-entropy of its logits in one, for a layer that is not trained itself. The logits of a
// few rows at a time lie with those rows side by side, so that they stay in the third-level cache and neither they nor W
// are packed: packing and memory took a fifth of this, the largest part of a small model's step. What a task computes
// is in head_body.h. Bits: logits and slopes are ascending chains, as ek_gemm's, and the sums are ek_cross_entropy's.
#include "head_internal.h"

EK_DISPATCH(void, head_logits, (const head_chunk *t, long strip), (t, strip))
EK_DISPATCH(void, head_exponentials, (const head_chunk *t, long index), (t, index))
EK_DISPATCH(void, head_slopes, (const head_chunk *t, long index), (t, index))
EK_DISPATCH(float, head_log, (float x), (x))

static void logitsTask(void *context, ptrdiff_t index) { ek_head_logits(context, index); }
static void exponentialsTask(void *context, ptrdiff_t index) { ek_head_exponentials(context, index); }

static void slopesTask(void *context, ptrdiff_t index) {
    const head_chunk *t = context;
    const ek_head_t *h = t->head;
    ek_head_slopes(t, index);
    long j = index * t->width, columns = smaller(t->width, h->hidden - j);
    for (long p = 0; p < t->panels; p++) {
        long lanes = head_lanes(t, p), row = t->labels - h->labels + p * headPanel;
        ek_transpose(
            columns, smaller(lanes, t->rows - p * headPanel), t->dx + p * headPanel * h->hidden + j * lanes,
            lanes, h->dx + row * h->hidden + j, h->hidden);
    }
}

/// Of each row the largest logit, whether it is the label's, and the label's own, before exponentials replace them.
static void findLargest(head_chunk *t, bool *isGreedy) {
    const ek_head_t *h = t->head;
    int32_t at[headRows];
    for (long r = 0; r < headRows; r++) {
        at[r] = -1;
        t->largest[r] = -INFINITY;
    }
    for (long s = 0; s < t->strips; s++) {
        const int32_t *there = t->at + s * headRows;
        const float *best = t->best + s * headRows;
        for (long r = 0; r < roundedUp(t->rows, 16); r++) {
            if (there[r] >= 0 && (at[r] < 0 || best[r] > t->largest[r])) {
                at[r] = there[r];
                t->largest[r] = best[r];
            }
        }
    }
    for (long r = 0; r < t->rows; r++) {
        long p = r / headPanel, lanes = head_lanes(t, p), label = t->labels[r];
        t->atLabel[r] = t->z[p * headPanel * h->vocabulary + label * lanes + r % headPanel];
        // Where no logit is a number, the last counts as the first of the largest.
        if (isGreedy) isGreedy[r] = label == (at[r] < 0 ? h->vocabulary - 1 : at[r]);
    }
}

static void findLosses(head_chunk *t, double *losses) {
    for (long r = 0; r < roundedUp(t->rows, 16); r++) {
        double total = 0;
        for (long b = 0; b < t->blocks; b++) total += t->sums[b * headRows + r];
        t->factor[r] = r < t->rows && t->weights ? (float)((double)t->weights[r] / total) : 0;
        if (r < t->rows) {
            losses[r] = (double)ek_head_log((float)total) + (double)t->largest[r] - (double)t->atLabel[r];
        }
    }
}

/// Rows at a time, and the floats of each part of the room.
typedef struct { long rows, z, x, sums, best; } room;
static room roomOf(const ek_head_t *h) {
    long rows = smaller(headRows, roundedUp(h->rows, 16));
    return (room){
        rows, rows * h->vocabulary, rows * h->hidden, headRows * quotient(h->vocabulary, headBlock),
        headRows * quotient(h->vocabulary, headStrip)};
}

ptrdiff_t ek_head_room(const ek_head_t *h) {
    room r = roomOf(h);
    return r.z + 2 * r.x + r.sums + 2 * r.best;
}

void ek_head_loss(const ek_head_t *h) {
    room r = roomOf(h);
    head_chunk t = {
        .head = h, .strips = quotient(h->vocabulary, headStrip), .blocks = quotient(h->vocabulary, headBlock)};
    t.width = smaller(roundedUp(quotient(h->hidden, ek_threads()), 48), headColumns);
    t.z = h->room;
    float *x = t.z + r.z;
    t.x = x;
    t.dx = x + r.x;
    t.sums = t.dx + r.x;
    t.best = t.sums + r.sums;
    t.at = (int32_t *)(t.best + r.best);
    ek_matrix right = {h->x, EK_F32, true, h->hidden, NULL};
    for (long first = 0; first < h->rows; first += headRows) {
        t.rows = smaller(headRows, h->rows - first);
        t.panels = quotient(t.rows, headPanel);
        t.labels = h->labels + first;
        t.weights = h->weights ? h->weights + first : NULL;
        for (long p = 0; p < t.panels; p++) {
            ek_gemm_pack(
                &right, true, first + p * headPanel, smaller(headPanel, t.rows - p * headPanel), 0, h->hidden,
                x + p * headPanel * h->hidden);
        }
        ek_parallel(t.strips, logitsTask, &t);
        findLargest(&t, h->isGreedy ? h->isGreedy + first : NULL);
        ek_parallel(t.blocks * t.panels, exponentialsTask, &t);
        findLosses(&t, h->losses + first);
        if (h->dx) ek_parallel(quotient(h->hidden, t.width), slopesTask, &t);
    }
}
