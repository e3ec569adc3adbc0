// The inner loops of the matrix product in one variant: packing (with decoding of narrow types) and
// the micro-kernel. Blocking and threads are gemm.c's.
//
// Packed form: a panel of `width` rows of A (or columns of B) holds, for each k in turn, its `width`
// elements side by side. A's panels are as wide as their rows (at most MR), B's a multiple of 16
// lanes, padded with zeros.

#if EK_AVX512
enum { MR = 14, NV = 2 };  // 28 accumulators, 2 for B, of 32 registers
#elif EK_AVX2
enum { MR = 6, NV = 1 };  // 12 accumulators of two halves, 2 for B, of 16
#else
enum { MR = 4, NV = 1 };
#endif

void EK(gemm_geometry)(int *mr, int *nr) { *mr = MR; *nr = NV * EK_LANES; }

// MARK: Decoding

/// Sixteen NF4 values by code. Source: QLoRA, arXiv:2305.14314, appendix E.
static const float K_nf4[16] = {
    -1.0f, -0.6961928009986877f, -0.5250730514526367f, -0.39491748809814453f,
    -0.28444138169288635f, -0.18477343022823334f, -0.09105003625154495f, 0.0f,
    0.07958029955625534f, 0.16093020141124725f, 0.24611230194568634f, 0.33791524171829224f,
    0.44070982933044434f, 0.5626170039176941f, 0.7229568362236023f, 1.0f};

/// Sixteen NF4 values from eight bytes, the first code in the high half of each.
EK_INLINE vf nf4_decode(const uint8_t *p) {
#if EK_AVX512 || EK_AVX2
    __m128i bytes = _mm_loadl_epi64((const __m128i *)p);
    __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
    __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
    __m128i codes = _mm_unpacklo_epi8(high, low);
#if EK_AVX512
    return (vf)_mm512_permutexvar_ps(
        _mm512_cvtepu8_epi32(codes), _mm512_loadu_ps(K_nf4));
#else
    vf result;
    for (int half = 0; half < 2; half++) {
        __m256i index = _mm256_cvtepu8_epi32(half ? _mm_srli_si128(codes, 8) : codes);
        __m256 a = _mm256_permutevar8x32_ps(_mm256_loadu_ps(K_nf4), index);
        __m256 b = _mm256_permutevar8x32_ps(_mm256_loadu_ps(K_nf4 + 8), index);
        __m256 value = _mm256_blendv_ps(a, b, _mm256_castsi256_ps(_mm256_slli_epi32(index, 28)));
        memcpy((char *)&result + 32 * half, &value, 32);
    }
    return result;
#endif
#else
    vf result;
    for (int i = 0; i < 8; i++) {
        result[2 * i] = K_nf4[p[i] >> 4];
        result[2 * i + 1] = K_nf4[p[i] & 15];
    }
    return result;
#endif
}

/// `n` (1…16) elements of a stored row from `column`, as f32; the other lanes are zero.
EK_INLINE vf load_elements(const ek_matrix *x, ek_dtype dtype, long row, long column, long n) {
    long at = row * x->stride + column;
    switch (dtype) {
    case EK_F32: {
        const float *p = (const float *)x->data + at;
        return n == 16 ? vf_load(p) : vf_load_n(p, n);
    }
    case EK_BF16:
    case EK_F16: {
        const uint16_t *p = (const uint16_t *)x->data + at;
        vh bits = {0};
        if (n == 16) bits = *(const vh_unaligned *)p;
        else memcpy(&bits, p, (size_t)n * 2);
        return dtype == EK_BF16 ? vf_from_bf16(bits) : vf_from_f16(bits);
    }
    case EK_I8: {
        const int8_t *p = (const int8_t *)x->data + at;
        vb bytes = {0};
        if (n == 16) bytes = *(const vb_unaligned *)p;
        else memcpy(&bytes, p, (size_t)n);
        vf codes = __builtin_convertvector(__builtin_convertvector(bytes, vi), vf);
        return codes * vf_set(x->scales[row] / 127);  // the bits of ek_int8_dequantize
    }
    case EK_NF4: {
        const uint8_t *packed = (const uint8_t *)x->data;
        if (n == 16 && at % 16 == 0) {
            return nf4_decode(packed + at / 2) * vf_set(x->scales[at / 64]);
        }
        vf result = {0};
        for (long i = 0; i < n; i++, at++) {
            uint8_t byte = packed[at / 2];
            result[i] = K_nf4[at & 1 ? byte & 15 : byte >> 4] * x->scales[at / 64];
        }
        return result;
    }
    }
    return (vf){0};
}

// MARK: Packing

EK_INLINE void store_width(float *p, vf x, int width, long n) {
    if (width == 16) vf_store(p, x);
    else vf_store_n(p, x, n);
}

/// One panel of up to 16 rows (of A, or of Bᵀ) at k0 ..< k0 + kc. `width` is the distance from one k
/// to the next; `lanes` how many floats are written at each, `rows` of them from the matrix.
EK_INLINE void pack16(
    const ek_matrix *x, ek_dtype dtype, bool alongK, long row, long rows, long k0, long kc,
    float *to, long width, long lanes
) {
    if (!alongK) {
        // Stored with the panel's rows side by side: a copy for each k.
        for (long p = 0; p < kc; p++) {
            vf v = load_elements(x, dtype, k0 + p, row, rows);
            if (lanes == 16) vf_store(to + p * width, v);
            else vf_store_n(to + p * width, v, lanes);
        }
        return;
    }
    for (long p = 0; p < kc; p += 16) {
        long n = kc - p < 16 ? kc - p : 16;
        vf r[16];
        if (dtype == EK_F32) {
            EK_UNROLL for (int i = 0; i < 16; i++) {
                __builtin_prefetch((const float *)x->data + (row + rows + i) * x->stride + k0 + p);
            }
        }
        EK_UNROLL for (int i = 0; i < 16; i++) {
            r[i] = i < rows ? load_elements(x, dtype, row + i, k0 + p, n) : (vf){0};
        }
        vf_transpose(r);
        if (n == 16 && lanes == 16) {
            EK_UNROLL for (int i = 0; i < 16; i++) vf_store(to + (p + i) * width, r[i]);
        } else {
            for (long i = 0; i < n; i++) vf_store_n(to + (p + i) * width, r[i], lanes);
        }
    }
}

EK_INLINE void pack_panel(
    const ek_matrix *x, ek_dtype dtype, bool alongK, long row, long rows, long k0, long kc,
    float *to, long width, bool padded
) {
    for (long i = 0; i < rows; i += 16) {
        long count = rows - i < 16 ? rows - i : 16;
        pack16(x, dtype, alongK, row + i, count, k0, kc, to + i, width, padded ? 16 : count);
    }
}

/// Packs `rows` rows of A from `row`, or (isB) columns of B, in one panel at k0 ..< k0 + kc.
void EK(gemm_pack)(
    const ek_matrix *x, bool isB, long row, long rows, long k0, long kc, float *to
) {
    // Stored rows run along k for A as it is, and for B transposed.
    bool alongK = isB ? x->transposed : !x->transposed;
    long width = isB ? (rows + 15) / 16 * 16 : rows;
    switch (x->dtype) {
#define EK_CASE(type)                                                                  \
    case type:                                                                         \
        if (alongK) pack_panel(x, type, true, row, rows, k0, kc, to, width, isB);      \
        else pack_panel(x, type, false, row, rows, k0, kc, to, width, isB);            \
        break;
        EK_CASE(EK_F32)
        EK_CASE(EK_BF16)
        EK_CASE(EK_F16)
        EK_CASE(EK_I8)
        EK_CASE(EK_NF4)
#undef EK_CASE
    }
}

/// Stored rows `row` ..< `row + rows` as f32, one after another.
void EK(gemm_decode)(const ek_matrix *x, long row, long rows, long columns, float *to) {
    for (long i = 0; i < rows; i++) {
        for (long j = 0; j < columns; j += 16) {
            long n = columns - j < 16 ? columns - j : 16;
            vf_store_n(to + i * columns + j, load_elements(x, x->dtype, row + i, j, n), n);
        }
    }
}

// MARK: The micro-kernel

/// How far ahead of the arithmetic A is fetched, which the core's own prefetcher does too late: k steps where it is
/// packed, elements along each row where it is read as it lies. Measured on Zen 5.
enum { packedAhead = 40, rowAhead = 256 };

/// c[mr, 16 nv] (+)= a · b over kc. Element (i, p) of a is a[i * aRow + p * aStep], row p of b begins at
/// b + p * bStep. `columns` of the lanes are C's. `ahead` and `nextC`, where given, are on their way to the cache
/// meanwhile: a line every fourth step, the next tile of C last. With `past`, which only a whole tile of aligned lines
/// can have, C is written past the cache.
EK_INLINE void micro(
    int mr, int nv, long kc, const float *restrict a, long aRow, long aStep,
    const float *restrict b, long bStep, float *restrict c, long ldc, long columns, bool accumulate,
    const float *ahead, const float *nextC, bool past
) {
    vf acc[16][2];
    bool whole = columns == nv * EK_LANES;
    if (accumulate) {
        EK_UNROLL for (int i = 0; i < mr; i++) {
            EK_UNROLL for (int v = 0; v < nv; v++) {
                long n = columns - v * EK_LANES;
                acc[i][v] = whole ? vf_load(c + i * ldc + v * EK_LANES)
                                  : vf_load_n(c + i * ldc + v * EK_LANES, n < 16 ? n : 16);
            }
        }
    } else {
        EK_UNROLL for (int i = 0; i < mr; i++) {
            EK_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = (vf){0};
        }
    }
#define EK_STEP                                                                                 \
    vf w[2];                                                                                    \
    EK_UNROLL for (int v = 0; v < nv; v++) w[v] = vf_load(b + v * EK_LANES);                    \
    EK_UNROLL for (int i = 0; i < mr; i++) {                                                    \
        vf x = vf_set(a[i * aRow]);                                                             \
        EK_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = vf_fma(x, w[v], acc[i][v]);          \
    }                                                                                           \
    a += aStep;                                                                                 \
    b += bStep;
    long p = 0;
    if (ahead) {
        for (long left = kc / 4; left > 0; left--) {
            long line = left - 1;
            bool isC = line < nv * mr;
            __builtin_prefetch(
                isC ? nextC + (nv == 2 ? line >> 1 : line) * ldc + (nv == 2 ? line & 1 : 0) * EK_LANES
                    : ahead);
            ahead += EK_LANES;
            EK_UNROLL for (int q = 0; q < 4; q++) {
                __builtin_prefetch(a + packedAhead * aStep);
                EK_STEP
            }
        }
        p = kc & ~3L;
    } else if (aStep == 1 && aRow != 1) {
        for (; p + EK_LANES <= kc; p += EK_LANES) {
            EK_UNROLL for (int i = 0; i < mr; i++) __builtin_prefetch(a + i * aRow + rowAhead);
            for (int q = 0; q < EK_LANES; q += 4) { EK_UNROLL for (int u = 0; u < 4; u++) { EK_STEP } }
        }
    }
    for (; p < kc; p++) { EK_STEP }
#undef EK_STEP
    EK_UNROLL for (int i = 0; i < mr; i++) {
        EK_UNROLL for (int v = 0; v < nv; v++) {
            long n = columns - v * EK_LANES;
            if (past) __builtin_nontemporal_store(acc[i][v], (vf *)(c + i * ldc + v * EK_LANES));
            else if (whole) vf_store(c + i * ldc + v * EK_LANES, acc[i][v]);
            else vf_store_n(c + i * ldc + v * EK_LANES, acc[i][v], n < 16 ? n : 16);
        }
    }
}

#define EK_MICRO(mr)                                                                            \
    case mr:                                                                                    \
        if (NV == 2 && columns > EK_LANES)                                                      \
            micro(                                                                              \
                mr, NV, kc, a, 1, mr, b, NV * EK_LANES, c, ldc, columns, accumulate, ahead,     \
                nextC, false);                                                                  \
        else micro(                                                                             \
            mr, 1, kc, a, 1, mr, b, EK_LANES, c, ldc, columns, accumulate, ahead, nextC, false); \
        break;

static __attribute__((noinline)) void micro_rows(
    long mr, long kc, const float *a, const float *b, float *c, long ldc, long columns,
    bool accumulate, const float *ahead, const float *nextC
) {
    switch (mr) {
        EK_MICRO(1) EK_MICRO(2) EK_MICRO(3) EK_MICRO(4)
#if !EK_SCALAR
        EK_MICRO(5) EK_MICRO(6)
#endif
#if EK_AVX512
        EK_MICRO(7) EK_MICRO(8) EK_MICRO(9) EK_MICRO(10)
        EK_MICRO(11) EK_MICRO(12) EK_MICRO(13) EK_MICRO(14)
#endif
    }
}

/// A tile of C: `m` rows from packed A (panels of MR), `n` columns from packed B (panels of 16 NV). With `past`, for
/// which C's rows must begin at a line, C is written past the cache.
void EK(gemm_tile)(
    long m, long n, long kc, const float *a, const float *b, float *c, long ldc, bool accumulate,
    bool past
) {
    enum { NR = NV * EK_LANES };
    // A short product is bound by C: walk along its rows. A long one by B's panel: stay with it.
    bool along = kc <= 64;
    long down = (m + MR - 1) / MR, across = (n + NR - 1) / NR;
    long steps = along ? down : across, inner = along ? across : down;
    for (long outer = 0; outer < steps; outer++) {
        for (long step = 0; step < inner; step++) {
            long i = (along ? outer : step) * MR, j = (along ? step : outer) * NR;
            if (past && m - i >= MR && n - j >= NR) {
                micro(
                    MR, NV, kc, a + i * kc, 1, MR, b + j * kc, NR, c + i * ldc + j, ldc, NR, false, NULL,
                    NULL, true);
                continue;
            }
            // Each of the tiles down fetches its part of B's next panel, then the C that follows it.
            const float *nextC = along ? c + i * ldc + j + NR
                : step + 1 < inner ? c + (i + MR) * ldc + j : c + j + NR;
            const float *ahead = b + (j + NR) * kc + step * (kc / 4) * EK_LANES;
            if (along || (step + 1) * (kc / 4) > 2 * kc) ahead = b + j * kc;
            micro_rows(
                m - i < MR ? m - i : MR, kc, a + i * kc, b + j * kc, c + i * ldc + j, ldc,
                n - j < NR ? n - j : NR, accumulate, ahead, nextC);
        }
    }
#if defined(__x86_64__)
    if (past) _mm_sfence();  // such stores are in no order with those that say that the tile is done
#endif
}

// MARK: Thin products: an operand that is used by few rows or columns is read where it lies

/// C[rows, n ≤ 32] (+)= A · B with A f32 as it lies (aRow, aStep as in `micro`) and B packed in one
/// panel of `lanes` (16 or 32).
void EK(gemm_narrow)(
    long rows, long n, long kc, const float *a, long aRow, long aStep, const float *b, long lanes,
    float *c, long ldc, bool accumulate
) {
    enum { R = EK_AVX512 ? 8 : 4 };
    long i = 0;
    for (; i + R <= rows; i += R) {
        if (lanes == 32) {
            // Two halves where the registers do not hold both.
            if (EK_AVX512) {
                micro(R, 2, kc, a + i * aRow, aRow, aStep, b, 32, c + i * ldc, ldc, n, accumulate, NULL, NULL, false);
            } else {
                micro(R, 1, kc, a + i * aRow, aRow, aStep, b, 32, c + i * ldc, ldc, 16, accumulate, NULL, NULL, false);
                micro(
                    R, 1, kc, a + i * aRow, aRow, aStep, b + 16, 32, c + i * ldc + 16, ldc, n - 16,
                    accumulate, NULL, NULL, false);
            }
        } else {
            micro(R, 1, kc, a + i * aRow, aRow, aStep, b, 16, c + i * ldc, ldc, n, accumulate, NULL, NULL, false);
        }
    }
    for (; i < rows; i++) {
        micro(
            1, 1, kc, a + i * aRow, aRow, aStep, b, lanes, c + i * ldc, ldc, n < 16 ? n : 16,
            accumulate, NULL, NULL, false);
        if (n > 16) {
            micro(
                1, 1, kc, a + i * aRow, aRow, aStep, b + 16, lanes, c + i * ldc + 16, ldc, n - 16,
                accumulate, NULL, NULL, false);
        }
    }
}

/// c[mr, 16 nv] (+)= a · b over kc, b's rows as they lie; `ahead` is fetched row by row as b is read.
EK_INLINE void low_tile(
    int mr, int nv, long kc, const float *restrict a, const float *restrict b, long bStep,
    float *restrict c, long ldc, bool accumulate, const float *ahead, bool fetches
) {
    vf acc[8][2];
    EK_UNROLL for (int i = 0; i < mr; i++) {
        EK_UNROLL for (int v = 0; v < nv; v++) {
            acc[i][v] = accumulate ? vf_load(c + i * ldc + v * EK_LANES) : (vf){0};
        }
    }
    for (long p = 0; p < kc; p++) {
        vf w[2];
        EK_UNROLL for (int v = 0; v < nv; v++) {
            // To the second-level cache: rows a multiple of 4 KiB apart share one set of the first.
            if (fetches) __builtin_prefetch(ahead + v * EK_LANES, 0, 2);
            w[v] = vf_load(b + v * EK_LANES);
        }
        EK_UNROLL for (int i = 0; i < mr; i++) {
            vf x = vf_set(a[i]);
            EK_UNROLL for (int v = 0; v < nv; v++) acc[i][v] = vf_fma(x, w[v], acc[i][v]);
        }
        a += mr;
        b += bStep;
        ahead += bStep;
    }
    EK_UNROLL for (int i = 0; i < mr; i++) {
        EK_UNROLL for (int v = 0; v < nv; v++) vf_store(c + i * ldc + v * EK_LANES, acc[i][v]);
    }
}

EK_INLINE void low_rows(
    int mr, long columns, long kc, const float *a, const float *b, long bStep, float *c, long ldc,
    bool accumulate, const float *ahead, bool fetches
) {
    if (EK_AVX512 && columns == 2 * EK_LANES) {
        low_tile(mr, 2, kc, a, b, bStep, c, ldc, accumulate, ahead, fetches);
        return;
    }
    for (long j = 0; j < columns; j += EK_LANES) {
        low_tile(mr, 1, kc, a, b + j, bStep, c + j, ldc, accumulate, ahead + j, fetches);
    }
}

/// C[m, columns] (+)= A · B with 16 or 32 columns of B's f32 rows as they lie, `bStep` apart, and A packed in panels of
/// `gemm_low_rows` (the last as wide as its rows). As many rows from `ahead` are fetched meanwhile.
enum { LOW = EK_AVX512 ? 8 : 4 };
void EK(gemm_low_rows)(int *rows) { *rows = LOW; }
void EK(gemm_low)(
    long m, long columns, long kc, const float *a, const float *b, long bStep, float *c, long ldc,
    bool accumulate, const float *ahead
) {
    for (long i = 0; i < m; i += LOW) {
        switch (m - i < LOW ? m - i : LOW) {
#define EK_LOW(r)                                                                               \
    case r:                                                                                     \
        low_rows(                                                                               \
            r, columns, kc, a + i * kc, b, bStep, c + i * ldc, ldc, accumulate, ahead, i == 0); \
        break;
            EK_LOW(1) EK_LOW(2) EK_LOW(3) EK_LOW(4)
#if EK_AVX512
            EK_LOW(5) EK_LOW(6) EK_LOW(7) EK_LOW(8)
#endif
#undef EK_LOW
        }
    }
}
