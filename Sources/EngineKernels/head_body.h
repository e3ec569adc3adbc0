// The output layer and its cross-entropy in one variant: what tasks compute. Logits lie with the rows of x side by
// side, so W is read as it lies on both ways, and the logits too; nothing is packed. head.c shares out the tasks.

/// Rows of W (columns on the way back) in a tile of 32 lanes, or two of 16.
enum { HEAD = EK_AVX512 ? 12 : EK_AVX2 ? 6 : 4 };

EK_INLINE void head_tile_of(
    int rows, long kc, const float *a, long aRow, long aStep, const float *b, long lanes, float *c,
    bool accumulate, const float *ahead, const float *nextC
) {
    if (EK_AVX512 && lanes == 32) {
        micro(rows, 2, kc, a, aRow, aStep, b, 32, c, 32, 32, accumulate, ahead, nextC, false);
        return;
    }
    for (long l = 0; l < lanes; l += EK_LANES) {
        micro(rows, 1, kc, a, aRow, aStep, b + l, lanes, c + l, lanes, 16, accumulate, ahead, nextC, false);
    }
}

/// c[rows ≤ HEAD, lanes] (+)= a · b over kc; a as in `micro`.
static __attribute__((noinline)) void head_tile(
    long rows, long kc, const float *a, long aRow, long aStep, const float *b, long lanes, float *c,
    bool accumulate, const float *ahead, const float *nextC
) {
    switch (rows) {
#define EK_HEAD(r)                                                                              \
    case r: head_tile_of(r, kc, a, aRow, aStep, b, lanes, c, accumulate, ahead, nextC); break;
        EK_HEAD(1) EK_HEAD(2) EK_HEAD(3) EK_HEAD(4)
#if !EK_SCALAR
        EK_HEAD(5) EK_HEAD(6)
#endif
#if EK_AVX512
        EK_HEAD(7) EK_HEAD(8) EK_HEAD(9) EK_HEAD(10) EK_HEAD(11) EK_HEAD(12)
#endif
#undef EK_HEAD
    }
}

/// Rows `row` ..< `row + rows` of W at columns `column` ..< `column + columns` as f32: where they lie, or decoded.
static const float *head_weights(
    const ek_matrix *w, long row, long rows, long column, long columns, long *stride
) {
    if (w->dtype == EK_F32) {
        *stride = w->stride;
        return (const float *)w->data + row * w->stride + column;
    }
    float *to = ek_scratch(0, (size_t)(rows * columns) * 4);
    for (long i = 0; i < rows; i++) {
        for (long j = 0; j < columns; j += 16) {
            long n = columns - j < 16 ? columns - j : 16;
            vf_store_n(to + i * columns + j, load_elements(w, w->dtype, row + i, column + j, n), n);
        }
    }
    *stride = columns;
    return to;
}

/// Logits of a strip, capped where they are, and the best of each row in it.
void EK(head_logits)(const head_chunk *t, long strip) {
    const ek_head_t *h = t->head;
    long first = strip * headStrip, rows = smaller(headStrip, h->vocabulary - first);
    for (long k0 = 0; k0 < h->hidden; k0 += headInner) {
        long kc = smaller(headInner, h->hidden - k0), stride;
        const float *w = head_weights(&h->w, first, rows, k0, kc, &stride);
        for (long i = 0; i < rows; i += HEAD) {
            for (long p = 0; p < t->panels; p++) {
                long lanes = head_lanes(t, p);
                float *c = t->z + p * headPanel * h->vocabulary + (first + i) * lanes;
                // Each panel fetches its part of the rows that follow.
                const float *ahead = w + (i + HEAD) * stride + p * (HEAD * stride / t->panels);
                head_tile(
                    smaller(HEAD, rows - i), kc, w + i * stride, stride, 1,
                    t->x + p * headPanel * h->hidden + k0 * lanes, lanes, c, k0 > 0, ahead,
                    p + 1 < t->panels ? t->z + (p + 1) * headPanel * h->vocabulary + (first + i) * lanes
                                      : t->z + (first + i + HEAD) * headPanel);
            }
        }
    }
    vf cap = vf_set(h->softcap > 0 ? h->softcap : 1);
    for (long p = 0; p < t->panels; p++) {
        long lanes = head_lanes(t, p);
        for (long l = 0; l < lanes; l += EK_LANES) {
            float *z = t->z + p * headPanel * h->vocabulary + first * lanes + l;
            vf best = vf_set(-INFINITY);
            vi at = (vi)vu_set(~0u);
            for (long i = 0; i < rows; i++) {
                vf v = vf_load(z + i * lanes);
                if (h->softcap > 0) {
                    v = cap * vf_tanh(v / cap);
                    vf_store(z + i * lanes, v);
                }
                // The first of equals, of negative infinities too.
                vi better = (v > best) | ((at < 0) & (v == best));
                best = vf_select(v > best, v, best);
                at = (better & (vi)vu_set((uint32_t)(first + i))) | (~better & at);
            }
            vf_store(t->best + strip * headRows + p * headPanel + l, best);
            memcpy(t->at + strip * headRows + p * headPanel + l, &at, sizeof at);
        }
    }
}

/// Logits to exponentials (in place where the way back needs them), and the sum of each row's block: sixteen lanes by
/// the logit's index, as a row's own vectors would sum them.
void EK(head_exponentials)(const head_chunk *t, long index) {
    const ek_head_t *h = t->head;
    long block = index / t->panels, p = index % t->panels, lanes = head_lanes(t, p);
    long first = block * headBlock, count = smaller(headBlock, h->vocabulary - first);
    bool writes = t->weights != NULL && h->softcap <= 0;
    for (long l = 0; l < lanes; l += EK_LANES) {
        float *z = t->z + p * headPanel * h->vocabulary + first * lanes + l;
        vf shift = vf_load(t->largest + p * headPanel + l), sum[16];
        for (int s = 0; s < 16; s++) sum[s] = (vf){0};
        long i = 0;
        for (; i + 16 <= count; i += 16) {
            EK_UNROLL for (int s = 0; s < 16; s++) {
                vf e = vf_exp(vf_load(z + (i + s) * lanes) - shift);
                if (writes) vf_store(z + (i + s) * lanes, e);
                sum[s] += e;
            }
        }
        for (int s = 0; i < count; i++, s++) {
            vf e = vf_exp(vf_load(z + i * lanes) - shift);
            if (writes) vf_store(z + i * lanes, e);
            sum[s] += e;
        }
        // The tree of vf_sum.
        for (int half = 8; half > 1; half /= 2) {
            for (int s = 0; s < half; s++) sum[s] += sum[s + half];
        }
        vf_store(t->sums + block * headRows + p * headPanel + l, sum[0] + sum[1]);
    }
}

/// ln x of one number.
float EK(head_log)(float x) { return vf_log(vf_set(x))[0]; }

/// The gradient of a panel's logits at `first` ..< `first + count`, `lanes` side by side.
static void head_gradient(const head_chunk *t, long p, long lanes, long first, long count, float *to) {
    const ek_head_t *h = t->head;
    const float *z = t->z + p * headPanel * h->vocabulary + first * lanes;
    vf cap = vf_set(h->softcap > 0 ? h->softcap : 1);
    for (long l = 0; l < lanes; l += EK_LANES) {
        vf shift = vf_load(t->largest + p * headPanel + l), factor = vf_load(t->factor + p * headPanel + l);
        for (long i = 0; i < count; i++) {
            vf v = vf_load(z + i * lanes + l);
            if (h->softcap > 0) {
                vf slope = v / cap;
                v = vf_exp(v - shift) * factor * vf_fma(-slope, slope, vf_set(1));
            } else {
                v = v * factor;
            }
            vf_store(to + i * lanes + l, v);
        }
    }
    for (long r = p * headPanel; r < smaller(t->rows, (p + 1) * headPanel); r++) {
        long i = t->labels[r] - first;
        if (i < 0 || i >= count) continue;
        float slope = 1, *g = to + i * lanes + r - p * headPanel;
        if (h->softcap > 0) {
            float c = t->atLabel[r] / h->softcap;
            slope = f_fma(-c, c, 1);
        }
        *g = f_fma(-t->weights[r], slope, *g);
    }
}

/// Columns of the gradient of x: a chain over the vocabulary.
void EK(head_slopes)(const head_chunk *t, long index) {
    const ek_head_t *h = t->head;
    _Alignas(64) float g[headDepth * headPanel];
    long j0 = index * t->width, columns = smaller(t->width, h->hidden - j0);
    for (long k0 = 0; k0 < h->vocabulary; k0 += headDepth) {
        long kc = smaller(headDepth, h->vocabulary - k0), stride;
        const float *w = head_weights(&h->w, k0, kc, j0, columns, &stride);
        for (long p = 0; p < t->panels; p++) {
            long lanes = head_lanes(t, p);
            head_gradient(t, p, lanes, k0, kc, g);
            const float *next = t->z + (p + 1 < t->panels ? p + 1 : 0) * headPanel * h->vocabulary
                + (p + 1 < t->panels ? k0 : k0 + kc) * lanes;
            for (long j = 0; j < columns; j += HEAD) {
                float *c = t->dx + p * headPanel * h->hidden + (j0 + j) * lanes;
                head_tile(
                    smaller(HEAD, columns - j), kc, w + j, 1, stride, g, lanes, c, k0 > 0,
                    next + j / HEAD * (kc * lanes / quotient(columns, HEAD)), c + HEAD * lanes);
            }
        }
    }
}
