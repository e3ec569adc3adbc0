// The inner loops of products of few rows with a weight as it is stored, C (+)= A · Wᵀ, in one variant. Each
// element of W is used a few times only: so W is decoded and transposed into registers, or into a panel of the
// first-level cache, and used there. Strips and threads are gemm_few.c's.

/// Rows of A that a tile of C takes at once.
enum { FEW_PART = EK_AVX512 ? 14 : EK_AVX2 ? 6 : 4 };
void EK(gemm_few_part)(int *rows) { *rows = FEW_PART; }

/// Elements of a stored row in one line of 64 bytes that share 32 bits: transposed as one, they come apart
/// afterwards. 0 for types that do not come apart so.
EK_INLINE long few_each(ek_dtype dtype) {
    return dtype == EK_I8 ? 4 : dtype == EK_BF16 ? 2 : dtype == EK_F32 ? 1 : 0;
}

/// A line of each of sixteen stored rows, `step` bytes apart, transposed.
EK_INLINE void few_lines(const char *line, long step, vf r[16]) {
    EK_UNROLL for (int j = 0; j < 16; j++) r[j] = vf_load((const float *)(line + j * step));
    vf_transpose(r);
}

/// Element `u` of those that share a transposed line's 32 bits.
EK_INLINE vf few_element(ek_dtype dtype, vf line, int u, vf scales) {
    vi word = (vi)line;
    if (dtype == EK_BF16) return (vf)(u == 0 ? word << 16 : word & -65536);
    if (dtype == EK_I8) return __builtin_convertvector((word << (24 - 8 * u)) >> 24, vf) * scales;
    return line;
}

/// The scales of sixteen stored i8 rows; the bits of ek_int8_dequantize.
EK_INLINE vf few_scales(const ek_matrix *w, ek_dtype dtype, long row) {
    return dtype == EK_I8 ? vf_load(w->scales + row) / vf_set(127) : (vf){0};
}

// MARK: One or two rows

/// Sixteen `halves` rows of W, from `first` of the strip. Two halves in turn let one's chains of additions run while the
/// other is transposed, which pays where a line holds many elements; the rows that follow are fetched meanwhile.
EK_INLINE void few_direct(int m, int halves, ek_dtype dtype, const ek_few_strip *s, long first) {
    vf acc[2][directRows], scales[2];
    const ek_matrix *w = s->w;
    long k = s->k, p = 0, each = few_each(dtype), rows = s->rows - first;
    const float *x = s->a;
    float *c = s->c + first;
    EK_UNROLL for (int h = 0; h < halves; h++) {
        long n = rows - 16 * h;
        EK_UNROLL for (int i = 0; i < m; i++) {
            acc[h][i] = s->accumulate && n > 0 ? vf_load_n(c + i * s->ldc + 16 * h, n < 16 ? n : 16) : (vf){0};
        }
    }
    if (each > 0 && rows >= 16 * halves) {
        long size = 4 / each, step = w->stride * size;
        const char *line = (const char *)w->data + (s->row + first) * step;
        bool last = first + 16 * halves >= fewColumns;
        const char *ahead = last ? s->ahead : line + 16 * halves * step;
        long aheadStep = last ? s->aheadStep : step;
        EK_UNROLL for (int h = 0; h < halves; h++) scales[h] = few_scales(w, dtype, s->row + first + 16 * h);
        for (; p + 16 * each <= k; p += 16 * each, line += 64, ahead += 64) {
            EK_UNROLL for (int h = 0; h < halves; h++) {
                EK_UNROLL for (int j = 0; j < 16; j++) __builtin_prefetch(ahead + (16 * h + j) * aheadStep);
                vf r[16];
                few_lines(line + h * 16 * step, step, r);
                EK_UNROLL for (int q = 0; q < 16; q++) {
                    EK_UNROLL for (int u = 0; u < each; u++) {
                        vf weights = few_element(dtype, r[q], u, scales[h]);
                        EK_UNROLL for (int i = 0; i < m; i++) {
                            acc[h][i] =
                                vf_fma(vf_set(x[i * s->lda + p + q * each + u]), weights, acc[h][i]);
                        }
                    }
                }
            }
        }
    }
    // The other types, and what is left at the edges.
    for (; p < k; p += 16) {
        long n = k - p < 16 ? k - p : 16;
        EK_UNROLL for (int h = 0; h < halves; h++) {
            if (rows <= 16 * h) break;
            vf r[16];
            EK_UNROLL for (int j = 0; j < 16; j++) {
                r[j] = 16 * h + j < rows ? load_elements(w, dtype, s->row + first + 16 * h + j, p, n) : (vf){0};
            }
            vf_transpose(r);
            for (long q = 0; q < n; q++) {
                EK_UNROLL for (int i = 0; i < m; i++) {
                    acc[h][i] = vf_fma(vf_set(x[i * s->lda + p + q]), r[q], acc[h][i]);
                }
            }
        }
    }
    EK_UNROLL for (int h = 0; h < halves; h++) {
        long n = rows - 16 * h;
        EK_UNROLL for (int i = 0; i < m; i++) {
            if (n > 0) vf_store_n(c + i * s->ldc + 16 * h, acc[h][i], n < 16 ? n : 16);
        }
    }
}

EK_INLINE void few_registers(int m, ek_dtype dtype, const ek_few_strip *s) {
    if (dtype == EK_I8) {
        few_direct(m, 2, dtype, s, 0);
    } else {
        for (long first = 0; first < s->rows; first += 16) few_direct(m, 1, dtype, s, first);
    }
}

// MARK: More rows

/// The strip's rows of W at k0 ..< k0 + kc in a panel of fewColumns lanes.
EK_INLINE void few_decode(ek_dtype dtype, const ek_few_strip *s, long k0, long kc, float *to) {
    const ek_matrix *w = s->w;
    long p = 0, each = few_each(dtype);
    if (each > 0 && s->rows == fewColumns) {
        long size = 4 / each, step = w->stride * size;
        const char *line = (const char *)w->data + s->row * step + k0 * size;
        vf scales[fewColumns / 16];
        EK_UNROLL for (int h = 0; h < fewColumns / 16; h++) scales[h] = few_scales(w, dtype, s->row + 16 * h);
        for (; p + 16 * each <= kc; p += 16 * each, line += 64) {
            EK_UNROLL for (int h = 0; h < fewColumns / 16; h++) {
                vf r[16];
                few_lines(line + h * 16 * step, step, r);
                EK_UNROLL for (int q = 0; q < 16; q++) {
                    EK_UNROLL for (int u = 0; u < each; u++) {
                        vf_store(
                            to + (p + q * each + u) * fewColumns + 16 * h,
                            few_element(dtype, r[q], u, scales[h]));
                    }
                }
            }
        }
    }
    if (p < kc) {
        pack_panel(w, dtype, true, s->row, s->rows, k0 + p, kc - p, to + p * fewColumns, fewColumns, true);
    }
}

/// c[mr, columns ≤ 16 nv] (+)= a · b over kc, a packed `mr` wide and b fewColumns. `rate` lines of what the thread reads
/// next are fetched every fourth step, in the order of memory: sixteen rows at once are more streams than a hardware
/// prefetcher follows.
EK_INLINE const char *few_tile(
    int mr, int nv, long kc, const float *restrict a, const float *restrict b, float *restrict c, long ldc,
    long columns, bool accumulate, const char *ahead, const char *aheadEnd, long rate
) {
    vf acc[FEW_PART][2];
    EK_UNROLL for (int i = 0; i < mr; i++) {
        EK_UNROLL for (int v = 0; v < nv; v++) {
            long n = columns - 16 * v;
            acc[i][v] = accumulate ? vf_load_n(c + i * ldc + 16 * v, n < 16 ? n : 16) : (vf){0};
        }
    }
    for (long p = 0; p < kc; p++) {
        if ((p & 3) == 0 && ahead < aheadEnd) {
            for (long f = 0; f < rate; f++) __builtin_prefetch(ahead + 64 * f);
            ahead += 64 * rate;
        }
        vf w[2];
        EK_UNROLL for (int v = 0; v < nv; v++) w[v] = vf_load(b + p * fewColumns + 16 * v);
        EK_UNROLL for (int i = 0; i < mr; i++) {
            vf x = vf_set(a[p * mr + i]);
            EK_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = vf_fma(x, w[v], acc[i][v]);
        }
    }
    EK_UNROLL for (int i = 0; i < mr; i++) {
        EK_UNROLL for (int v = 0; v < nv; v++) {
            long n = columns - 16 * v;
            vf_store_n(c + i * ldc + 16 * v, acc[i][v], n < 16 ? n : 16);
        }
    }
    return ahead;
}

static __attribute__((noinline)) const char *few_rows_tile(
    long mr, long kc, const float *a, const float *b, float *c, long ldc, long columns, bool accumulate,
    const char *ahead, const char *end, long rate
) {
    switch (mr) {
#if EK_AVX512
// Both vectors of B at once where the registers hold them.
#define EK_FEW(r)                                                                               \
    case r:                                                                                     \
        return columns > 16                                                                     \
            ? few_tile(r, 2, kc, a, b, c, ldc, columns, accumulate, ahead, end, rate)           \
            : few_tile(r, 1, kc, a, b, c, ldc, columns, accumulate, ahead, end, rate);
#else
#define EK_FEW(r)                                                                               \
    case r:                                                                                     \
        ahead = few_tile(                                                                       \
            r, 1, kc, a, b, c, ldc, columns < 16 ? columns : 16, accumulate, ahead, end, rate); \
        if (columns > 16) {                                                                     \
            few_tile(                                                                           \
                r, 1, kc, a, b + 16, c + 16, ldc, columns - 16, accumulate, NULL, NULL, 0);     \
        }                                                                                       \
        return ahead;
#endif
        EK_FEW(1) EK_FEW(2) EK_FEW(3) EK_FEW(4)
#if EK_AVX512 || EK_AVX2
        EK_FEW(5) EK_FEW(6)
#endif
#if EK_AVX512
        EK_FEW(7) EK_FEW(8) EK_FEW(9) EK_FEW(10) EK_FEW(11) EK_FEW(12) EK_FEW(13) EK_FEW(14)
#endif
#undef EK_FEW
    }
    return ahead;
}

/// A strip of C by its type: its panel decoded fewDepth of k at a time, and C's tiles one after the other.
EK_INLINE void few_panel(ek_dtype dtype, const ek_few_strip *s) {
    _Alignas(64) float panel[fewDepth * fewColumns];
    long parts = (s->m + FEW_PART - 1) / FEW_PART, part = (s->m + parts - 1) / parts;
    // Lines for each four steps of each tile, so that all are under way by seven eighths of the strip.
    long lines = (s->aheadEnd - s->ahead + 63) / 64, steps = parts * s->k * 7 / 32;
    long rate = steps > 0 ? (lines + steps - 1) / steps : 0;
    const char *ahead = s->ahead;
    for (long k0 = 0; k0 < s->k; k0 += fewDepth) {
        long kc = s->k - k0 < fewDepth ? s->k - k0 : fewDepth;
        few_decode(dtype, s, k0, kc, panel);
        for (long i = 0; i < s->m; i += part) {
            long mr = s->m - i < part ? s->m - i : part;
            ahead = few_rows_tile(
                mr, kc, s->a + k0 * s->m + i * kc, panel, s->c + i * s->ldc, s->ldc, s->rows,
                s->accumulate || k0 > 0, ahead, s->aheadEnd, rate);
        }
    }
}

void EK(gemm_few)(const ek_few_strip *s) {
    switch (s->w->dtype) {
#define EK_CASE(t)                                                                              \
    case t:                                                                                     \
        if (s->m == 1) few_registers(1, t, s);                                                  \
        else if (s->m == 2) few_registers(2, t, s);                                             \
        else few_panel(t, s);                                                                   \
        break;
        EK_CASE(EK_F32) EK_CASE(EK_BF16) EK_CASE(EK_F16) EK_CASE(EK_I8) EK_CASE(EK_NF4)
#undef EK_CASE
    }
}
