// Attention over one sequence and one key-value head, in the variant that is open. Keys and values
// are packed first: keys transposed, so that sixteen lanes are sixteen keys; values and gradients
// with head dimensions padded to sixteen lanes.
// Bits: a score is one ascending chain over the head's dimensions, an output one ascending chain over
// the keys, a softmax sum sixteen lanes by the key's index modulo 16; masked keys add exact zeros. So
// a query's result depends neither on the block it is in nor on the batch.

#if EK_AVX512
#define NN_COLUMNS 4  // vectors of a register tile: 4 × 4 accumulators of 32 registers
#else
#define NN_COLUMNS 2
#endif
enum { EK(queryBlock) = 32 };

// c[r][0 ..< width] = Σ_d a[r][d] · b[d][·], d ascending; width a multiple of 16, a strided by rows.
// `add` continues the sums already in c.
EK_INLINE void EK(tile)(int rows, int columns, const float *a, long aStride, long aStep,
                        const float *b, long bStride, long depth, float *c, long cStride, bool add) {
    vf sum[4][4];
    EK_UNROLL for (int r = 0; r < rows; r++) {
        EK_UNROLL for (int j = 0; j < columns; j++) {
            sum[r][j] = add ? vf_load(c + r * cStride + 16 * j) : vf_set(0);
        }
    }
    for (long d = 0; d < depth; d++) {
        vf right[4];
        EK_UNROLL for (int j = 0; j < columns; j++) right[j] = vf_load(b + d * bStride + 16 * j);
        EK_UNROLL for (int r = 0; r < rows; r++) {
            vf left = vf_set(a[r * aStride + d * aStep]);
            EK_UNROLL for (int j = 0; j < columns; j++) {
                sum[r][j] = vf_fma(left, right[j], sum[r][j]);
            }
        }
    }
    EK_UNROLL for (int r = 0; r < rows; r++) {
        EK_UNROLL for (int j = 0; j < columns; j++) vf_store(c + r * cStride + 16 * j, sum[r][j]);
    }
}

// The product of any shape from such tiles. Element (r, d) of a lies at r · aStride + d · aStep.
static void EK(product)(long rows, long width, long depth, const float *a, long aStride, long aStep,
                        const float *b, long bStride, float *c, long cStride, bool add) {
    for (long j = 0; j < width; j += 16 * NN_COLUMNS) {
        long columns = (width - j) / 16;
        if (columns > NN_COLUMNS) columns = NN_COLUMNS;
        for (long r = 0; r < rows; r += 4) {
            const float *left = a + r * aStride;
            float *out = c + r * cStride + j;
            // Whole vectors side by side even for one row: their chains run at the same time.
#define NN_TILE(n)                                                                                  \
    case n:                                                                                         \
        if (rows - r >= 4) {                                                                        \
            EK(tile)(4, n, left, aStride, aStep, b + j, bStride, depth, out, cStride, add);         \
        } else {                                                                                    \
            for (long p = 0; p < rows - r; p++) {                                                   \
                EK(tile)(1, n, left + p * aStride, aStride, aStep, b + j, bStride, depth,           \
                         out + p * cStride, cStride, add);                                          \
            }                                                                                       \
        }                                                                                           \
        break;
            switch (columns) {
                NN_TILE(1) NN_TILE(2)
#if NN_COLUMNS == 4
                NN_TILE(3) NN_TILE(4)
#endif
            }
#undef NN_TILE
        }
    }
}

// Keys that a block of queries can see: from a multiple of 16 to a multiple of 16.
EK_INLINE long EK(firstKey)(long query, long window) {
    long first = window > 0 && query >= window ? query - window + 1 : 0;
    return first & ~15L;
}

// Scores of one query to exponentials, in place: keys `from` ..< `from + width`, query at `position`.
// Leaves e^(score - maximum) for keys it sees, exact zeros for the others.
EK_INLINE void EK(exponentials)(float *s, long from, long width, long position, long window,
                                float scale, float softcap, float *maximum, float *inverse) {
    long first = window > 0 && position >= window ? position - window + 1 : 0;
    const vi lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vf best = vf_set(-INFINITY), factor = vf_set(scale), cap = vf_set(softcap > 0 ? softcap : 1);
    for (long j = 0; j < width; j += 16) {
        vi key = lanes + (int32_t)(from + j);
        vi sees = (key >= (int32_t)first) & (key <= (int32_t)position);
        vf x = vf_load(s + j) * factor;
        if (softcap > 0) x = cap * vf_tanh(x / cap);
        x = vf_select(sees, x, vf_set(-INFINITY));
        vf_store(s + j, x);
        best = vf_max(x, best);
    }
    float largest = vf_reduce_max(best);
    vf shift = vf_set(largest), sum = {0};
    for (long j = 0; j < width; j += 16) {
        vf e = vf_exp(vf_load(s + j) - shift);
        vf_store(s + j, e);
        sum += e;
    }
    *maximum = largest;
    *inverse = 1.0f / vf_sum(sum);
}

// Rows of n elements into rows of `padded`, zeros behind.
EK_INLINE void EK(pack_rows)(float *to, long padded, const float *from, long stride, long rows,
                             long n) {
    for (long r = 0; r < rows; r++) {
        memcpy(to + r * padded, from + r * stride, (size_t)n * 4);
        memset(to + r * padded + n, 0, (size_t)(padded - n) * 4);
    }
}

// Rows transposed into `to` [n, capacity], columns `at` ..< `at + rows`.
static void EK(pack_transposed)(float *to, long capacity, long at, const float *from, long stride,
                                long rows, long n) {
    long r = 0;
    for (; r + 16 <= rows; r += 16) {
        for (long d = 0; d < n; d += 16) {
            vf block[16];
            long m = n - d < 16 ? n - d : 16;
            for (int i = 0; i < 16; i++) block[i] = vf_load_n(from + (r + i) * stride + d, m);
            vf_transpose(block);
            for (int i = 0; i < m; i++) vf_store(to + (d + i) * capacity + at + r, block[i]);
        }
    }
    for (; r < rows; r++) {
        for (long d = 0; d < n; d++) to[d * capacity + at + r] = from[r * stride + d];
    }
}

// Outputs of up to one block of queries of one head, the first at `position`.
static void EK(attend)(const float *q, long qStride, long queries, long position, const float *keys,
                       const float *values, long capacity, long headDim, long padded, float scale,
                       float softcap, long window, float *scores, float *out, float *o, long oStride,
                       float *statistics, long statisticsStride) {
    long from = EK(firstKey)(position, window);
    long width = (position + queries - from + 15) & ~15L;
    EK(product)(queries, width, headDim, q, qStride, 1, keys + from, capacity, scores, width, false);
    float inverse[EK(queryBlock)];
    for (long i = 0; i < queries; i++) {
        float maximum;
        EK(exponentials)(scores + i * width, from, width, position + i, window, scale, softcap,
                         &maximum, &inverse[i]);
        if (statistics) {
            statistics[i * statisticsStride] = maximum;
            statistics[i * statisticsStride + 1] = inverse[i];
        }
    }
    // Keys past the last query carry zeros: stop at it, since their values may not exist.
    EK(product)(queries, padded, position + queries - from, scores, width, 1,
                values + from * padded, padded, out, padded, false);
    for (long i = 0; i < queries; i++) {
        for (long d = 0; d < headDim; d += 16) {
            long n = headDim - d < 16 ? headDim - d : 16;
            vf_store_n(o + i * oStride + d, vf_load(out + i * padded + d) * vf_set(inverse[i]), n);
        }
    }
}

static void EK(attention_task)(const ek_attention_t *a, long index) {
    long sequence = index / a->keyValueHeads, kv = index % a->keyValueHeads;
    long row = a->offsets[sequence], count = a->offsets[sequence + 1] - row;
    if (count == 0) return;
    long padded = (a->headDim + 15) & ~15L, capacity = (count + 63) & ~63L;
    long group = a->heads / a->keyValueHeads, block = EK(queryBlock);
    float *keys = ek_scratch(4, (size_t)(2 * padded * capacity + block * (capacity + padded)) * 4);
    float *values = keys + padded * capacity, *scores = values + padded * capacity;
    float *out = scores + block * capacity;
    const float *k = a->k + row * a->stride + kv * a->headDim;
    EK(pack_transposed)(keys, capacity, 0, k, a->stride, count, a->headDim);
    for (long d = 0; d < a->headDim; d++) {
        memset(keys + d * capacity + count, 0, (size_t)(capacity - count) * 4);
    }
    EK(pack_rows)(values, padded, a->v + row * a->stride + kv * a->headDim, a->stride, count,
                  a->headDim);
    for (long h = kv * group; h < (kv + 1) * group; h++) {
        for (long i = 0; i < count; i += block) {
            long queries = count - i < block ? count - i : block;
            float *statistics =
                a->statistics ? a->statistics + ((row + i) * a->heads + h) * 2 : NULL;
            EK(attend)(a->q + (row + i) * a->stride + h * a->headDim, a->stride, queries, i, keys,
                       values, capacity, a->headDim, padded, a->scale, a->softcap, a->window, scores,
                       out, a->o + ((row + i) * a->heads + h) * a->headDim, a->heads * a->headDim,
                       statistics, a->heads * 2);
        }
    }
}

static void EK(cached_attention_task)(const ek_cached_attention_t *a, long index) {
    long sequence = index / a->keyValueHeads, kv = index % a->keyValueHeads;
    long row = a->offsets[sequence], count = a->offsets[sequence + 1] - row;
    if (count == 0) return;
    long before = a->lengths[sequence], padded = (a->headDim + 15) & ~15L;
    long group = a->heads / a->keyValueHeads, block = EK(queryBlock);
    float *keys = a->keys[sequence] + kv * padded * a->capacity;
    float *values = a->values[sequence] + kv * padded * a->capacity;
    EK(pack_transposed)(keys, a->capacity, before, a->k + row * a->stride + kv * a->headDim,
                        a->stride, count, a->headDim);
    EK(pack_rows)(values + before * padded, padded, a->v + row * a->stride + kv * a->headDim,
                  a->stride, count, a->headDim);
    float *scores = ek_scratch(4, (size_t)(block * (a->capacity + padded)) * 4);
    float *out = scores + block * a->capacity;
    for (long h = kv * group; h < (kv + 1) * group; h++) {
        for (long i = 0; i < count; i += block) {
            long queries = count - i < block ? count - i : block;
            EK(attend)(a->q + (row + i) * a->stride + h * a->headDim, a->stride, queries, before + i,
                       keys, values, a->capacity, a->headDim, padded, a->scale, a->softcap,
                       a->window, scores, out, a->o + ((row + i) * a->heads + h) * a->headDim,
                       a->heads * a->headDim, NULL, 0);
        }
    }
}

// Recomputes the probabilities from the row statistics, block by block, and adds each block's share
// to the gradients of keys and values, which no other task touches.
static void EK(attention_backward_task)(const ek_attention_t *a, long index) {
    long sequence = index / a->keyValueHeads, kv = index % a->keyValueHeads;
    long row = a->offsets[sequence], count = a->offsets[sequence + 1] - row;
    if (count == 0) return;
    long dim = a->headDim, padded = (dim + 15) & ~15L, capacity = (count + 63) & ~63L;
    long group = a->heads / a->keyValueHeads, block = EK(queryBlock);
    long matrix = padded * capacity, strip = block * padded, width = a->heads * dim;
    float *keysT = ek_scratch(4, (size_t)(5 * matrix + 2 * block * capacity + 3 * strip) * 4);
    float *valuesT = keysT + matrix, *keys = valuesT + matrix;
    float *dKeys = keys + matrix, *dValues = dKeys + matrix;
    float *scores = dValues + matrix, *slopes = scores + block * capacity;
    float *queriesPacked = slopes + block * capacity, *dOut = queriesPacked + strip;
    float *dQuery = dOut + strip;
    const float *k = a->k + row * a->stride + kv * dim, *v = a->v + row * a->stride + kv * dim;
    EK(pack_transposed)(keysT, capacity, 0, k, a->stride, count, dim);
    EK(pack_transposed)(valuesT, capacity, 0, v, a->stride, count, dim);
    for (long d = 0; d < dim; d++) {
        memset(keysT + d * capacity + count, 0, (size_t)(capacity - count) * 4);
        memset(valuesT + d * capacity + count, 0, (size_t)(capacity - count) * 4);
    }
    EK(pack_rows)(keys, padded, k, a->stride, count, dim);
    memset(dKeys, 0, (size_t)matrix * 4);
    memset(dValues, 0, (size_t)matrix * 4);
    const vi lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vf factor = vf_set(a->scale), cap = vf_set(a->softcap > 0 ? a->softcap : 1);
    for (long h = kv * group; h < (kv + 1) * group; h++) {
        for (long i = 0; i < count; i += block) {
            long n = count - i < block ? count - i : block;
            long from = EK(firstKey)(i, a->window), seen = i + n - from;
            long keyCount = (seen + 15) & ~15L;
            EK(pack_rows)(queriesPacked, padded, a->q + (row + i) * a->stride + h * dim, a->stride,
                          n, dim);
            EK(pack_rows)(dOut, padded, a->dO + (row + i) * width + h * dim, width, n, dim);
            EK(product)(n, keyCount, dim, queriesPacked, padded, 1, keysT + from, capacity, scores,
                        keyCount, false);
            EK(product)(n, keyCount, dim, dOut, padded, 1, valuesT + from, capacity, slopes, keyCount,
                        false);
            for (long r = 0; r < n; r++) {
                const float *o = a->o + ((row + i + r) * a->heads + h) * dim;
                const float *statistics = a->statistics + ((row + i + r) * a->heads + h) * 2;
                vf dot = {0};
                for (long d = 0; d < dim; d += 16) {
                    long m = dim - d < 16 ? dim - d : 16;
                    dot = vf_fma(vf_load(dOut + r * padded + d), vf_load_n(o + d, m), dot);
                }
                vf mean = vf_set(vf_sum(dot)), shift = vf_set(statistics[0]);
                vf inverse = vf_set(statistics[1]);
                long position = i + r;
                long first =
                    a->window > 0 && position >= a->window ? position - a->window + 1 : 0;
                float *s = scores + r * keyCount, *ds = slopes + r * keyCount;
                for (long j = 0; j < keyCount; j += 16) {
                    vi key = lanes + (int32_t)(from + j);
                    vi sees = (key >= (int32_t)first) & (key <= (int32_t)position);
                    vf x = vf_load(s + j) * factor, slope = factor;
                    if (a->softcap > 0) {
                        vf t = vf_tanh(x / cap);
                        x = cap * t;
                        slope = factor * vf_fma(-t, t, vf_set(1));
                    }
                    x = vf_select(sees, x, vf_set(-INFINITY));
                    vf p = vf_exp(x - shift) * inverse;
                    vf_store(s + j, p);
                    vf_store(ds + j, p * (vf_load(ds + j) - mean) * slope);
                }
            }
            EK(product)(n, padded, seen, slopes, keyCount, 1, keys + from * padded, padded, dQuery,
                        padded, false);
            for (long r = 0; r < n; r++) {
                memcpy(a->dq + (row + i + r) * a->stride + h * dim, dQuery + r * padded,
                       (size_t)dim * 4);
            }
            EK(product)(seen, padded, n, scores, 1, keyCount, dOut, padded,
                        dValues + from * padded, padded, true);
            EK(product)(seen, padded, n, slopes, 1, keyCount, queriesPacked, padded,
                        dKeys + from * padded, padded, true);
        }
    }
    for (long r = 0; r < count; r++) {
        memcpy(a->dk + (row + r) * a->stride + kv * dim, dKeys + r * padded, (size_t)dim * 4);
        memcpy(a->dv + (row + r) * a->stride + kv * dim, dValues + r * padded, (size_t)dim * 4);
    }
}
