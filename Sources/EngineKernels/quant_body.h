// The loops of quantisation, in the variant that is open. Which thread takes what is in quant.c.

static const float EK(nf4_values)[16] = EK_NF4_VALUES;

/// False where an element of the row is not finite.
bool EK(int8_quantize_row)(const float *w, long columns, int8_t *codes, float *absmax) {
    vf largest = {0};
    vi odd = {0};
    for (long i = 0; i < columns; i += EK_LANES) {
        long n = columns - i < EK_LANES ? columns - i : EK_LANES;
        vf x = vf_abs(vf_load_n(w + i, n));
        odd |= ~(x < vf_set(INFINITY));
        largest = vf_max(x, largest);
    }
    float peak = vf_reduce_max(largest);
    *absmax = peak;
    bool finite = true;
    for (int i = 0; i < EK_LANES; i++) finite &= odd[i] == 0;
    // As PyTorch computes 127.0 / absmax: by the reciprocal, rounded twice. One code in some ten thousand
    // would differ otherwise.
    const vf scale = vf_set(peak > 0 ? 127.0f * (1.0f / peak) : 0.0f);
    const vf magic = vf_set(0x1.8p23f);  // adding it rounds to an integer, half to even
    for (long i = 0; i < columns; i += EK_LANES) {
        long n = columns - i < EK_LANES ? columns - i : EK_LANES;
        vf x = vf_load_n(w + i, n) * scale;
        x = vf_min(vf_max(x, vf_set(-127)), vf_set(127));
        vi whole = __builtin_convertvector((x + magic) - magic, vi);
        vb bytes = __builtin_convertvector(whole, vb);
        if (n == EK_LANES) *(vb_unaligned *)(codes + i) = bytes;
        else memcpy(codes + i, &bytes, (size_t)n);
    }
    return finite;
}

void EK(int8_dequantize_row)(const int8_t *codes, float absmax, long columns, float *w) {
    const vf scale = vf_set(absmax / 127.0f);
    for (long i = 0; i < columns; i += EK_LANES) {
        long n = columns - i < EK_LANES ? columns - i : EK_LANES;
        vb bytes = {0};
        if (n == EK_LANES) bytes = *(const vb_unaligned *)(codes + i);
        else memcpy(&bytes, codes + i, (size_t)n);
        vf x = __builtin_convertvector(__builtin_convertvector(bytes, vi), vf);
        vf_store_n(w + i, x * scale, n);
    }
}

/// One block of at most 64.
bool EK(nf4_quantize_block)(const float *w, long count, uint8_t *packed, float *absmax) {
    vf largest = {0};
    vi odd = {0};
    for (long i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        vf x = vf_abs(vf_load_n(w + i, n));
        odd |= ~(x < vf_set(INFINITY));
        largest = vf_max(x, largest);
    }
    float peak = vf_reduce_max(largest);
    *absmax = peak;
    bool finite = true;
    for (int i = 0; i < EK_LANES; i++) finite &= odd[i] == 0;
    const vf inverse = vf_set(1.0f / (peak > 1e-38f ? peak : 1e-38f));
    const float *values = EK(nf4_values);
    uint8_t codes[64];
    for (long i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        vf x = vf_load_n(w + i, n) * inverse;
        x = vf_min(vf_max(x, vf_set(-1)), vf_set(1));
        vi code = {0};
        EK_UNROLL for (int j = 0; j < 15; j++) {
            code -= x > vf_set((values[j] + values[j + 1]) / 2);  // a true lane is -1
        }
        vb bytes = __builtin_convertvector(code, vb);
        memcpy(codes + i, &bytes, 16);
    }
    if (count % 2) codes[count] = 7;
    for (long i = 0; i < (count + 1) / 2; i++) {
        packed[i] = (uint8_t)(codes[2 * i] << 4 | codes[2 * i + 1]);
    }
    return finite;
}

void EK(nf4_dequantize_block)(const uint8_t *packed, float absmax, long count, float *w) {
    float table[16];
    vf scaled = vf_load(EK(nf4_values)) * vf_set(absmax);
    vf_store(table, scaled);
    long i = 0;
#if EK_AVX512
    for (; i + 16 <= count; i += 16) {
        __m128i bytes = _mm_loadl_epi64((const __m128i *)(packed + i / 2));
        __m128i high = _mm_and_si128(_mm_srli_epi16(bytes, 4), _mm_set1_epi8(15));
        __m128i low = _mm_and_si128(bytes, _mm_set1_epi8(15));
        __m512i codes = _mm512_cvtepu8_epi32(_mm_unpacklo_epi8(high, low));
        _mm512_storeu_ps(w + i, _mm512_permutexvar_ps(codes, (__m512)scaled));
    }
#endif
    for (; i + 2 <= count; i += 2) {
        w[i] = table[packed[i / 2] >> 4];
        w[i + 1] = table[packed[i / 2] & 15];
    }
    if (i < count) w[i] = table[packed[i / 2] >> 4];
}

/// One row of a against n rows of b.
void EK(int8_products_row)(const int8_t *a, const int8_t *b, long n, long k, int32_t *c) {
    for (long j = 0; j < n; j++, b += k) {
        int32_t sum = 0;
        for (long i = 0; i < k; i++) sum += (int32_t)a[i] * (int32_t)b[i];
        c[j] = sum;
    }
}
