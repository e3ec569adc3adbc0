// Operations on sixteen lanes, in the variant that a variant_*.h has opened: loads and stores, the
// elementary functions, sums in one fixed tree. All are `static inline` for use inside fused loops.
// Bits: every operation here is either correctly rounded or a fixed sequence of such, so a lane's
// result depends on that lane's input alone and is the same in every variant.
// Polynomials are minimax fits in relative error (Remez exchange at 40 digits); the accuracy stated
// at each function is what Tests/EngineTests/KernelAccuracyTests.swift holds it to.

// MARK: Loads, stores, constants

EK_INLINE vf vf_set(float x) { return (vf){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
EK_INLINE vu vu_set(uint32_t x) { return (vu){x, x, x, x, x, x, x, x, x, x, x, x, x, x, x, x}; }
EK_INLINE vd vd_set(double x) { return (vd){x, x, x, x, x, x, x, x}; }
EK_INLINE vf vf_load(const float *p) { return *(const vf_unaligned *)p; }
EK_INLINE void vf_store(float *p, vf x) { *(vf_unaligned *)p = x; }

/// The first `n` (0…16) elements at p, the other lanes zero; touches no other memory.
EK_INLINE vf vf_load_n(const float *p, long n) {
#if EK_AVX512
    return (vf)_mm512_maskz_loadu_ps((__mmask16)((1u << n) - 1), p);
#else
    vf x = {0};
    memcpy(&x, p, (size_t)n * 4);
    return x;
#endif
}

/// Stores the first `n` (0…16) lanes.
EK_INLINE void vf_store_n(float *p, vf x, long n) {
#if EK_AVX512
    _mm512_mask_storeu_ps(p, (__mmask16)((1u << n) - 1), (__m512)x);
#else
    memcpy(p, &x, (size_t)n * 4);
#endif
}

/// a · b + c, rounded once.
EK_INLINE vf vf_fma(vf a, vf b, vf c) { return __builtin_elementwise_fma(a, b, c); }
EK_INLINE vd vd_fma(vd a, vd b, vd c) { return __builtin_elementwise_fma(a, b, c); }
/// a · b + c for one number, rounded once.
EK_INLINE float f_fma(float a, float b, float c) { return __builtin_fmaf(a, b, c); }

/// Lanes of `a` where the mask's are all ones, of `b` where zero.
EK_INLINE vf vf_select(vi mask, vf a, vf b) {
    return (vf)(((vu)mask & (vu)a) | (~(vu)mask & (vu)b));
}
/// The larger; where either is NaN, `b`.
EK_INLINE vf vf_max(vf a, vf b) { return vf_select(a > b, a, b); }
/// The smaller; where either is NaN, `b`.
EK_INLINE vf vf_min(vf a, vf b) { return vf_select(a < b, a, b); }
EK_INLINE vf vf_abs(vf x) { return (vf)((vu)x & vu_set(0x7fffffffu)); }
EK_INLINE vf vf_sqrt(vf x) { return __builtin_elementwise_sqrt(x); }
/// 1 / √x from two correctly rounded operations: at most 1.5 ulp.
EK_INLINE vf vf_rsqrt(vf x) { return vf_set(1) / vf_sqrt(x); }

EK_INLINE vd vd_low(vf x) {
    return __builtin_convertvector(__builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7), vd);
}
EK_INLINE vd vd_high(vf x) {
    return __builtin_convertvector(
        __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15), vd);
}
EK_INLINE vf vf_from_vd(vd low, vd high) {
    vf8 a = __builtin_convertvector(low, vf8), b = __builtin_convertvector(high, vf8);
    return __builtin_shufflevector(a, b, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
}

// MARK: Sums across lanes, always in the tree 8, 4, 2, 1

EK_INLINE float vf_sum(vf x) {
    typedef float v4 __attribute__((vector_size(16)));
    vf8 a = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7) +
            __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    v4 b = __builtin_shufflevector(a, a, 0, 1, 2, 3) + __builtin_shufflevector(a, a, 4, 5, 6, 7);
    return (b[0] + b[2]) + (b[1] + b[3]);
}
EK_INLINE double vd_sum(vd x) {
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}
EK_INLINE float vf_reduce_max(vf x) {
    float best = x[0];
    EK_UNROLL for (int i = 1; i < 16; i++) best = x[i] > best ? x[i] : best;
    return best;
}

// MARK: Half precision

EK_INLINE vf vf_from_bf16(vh bits) {
    return (vf)(__builtin_convertvector(bits, vu) << 16);
}
/// To the nearest bfloat16, ties to even; NaN stays NaN (quiet).
EK_INLINE vh vf_to_bf16(vf x) {
    vu u = (vu)x;
    vu rounded = (u + vu_set(0x7fff) + ((u >> 16) & 1)) >> 16;
    vu quiet = (u >> 16) | vu_set(0x40);
    vu isNaN = (vu)((u & vu_set(0x7fffffffu)) > vu_set(0x7f800000u));
    return __builtin_convertvector((isNaN & quiet) | (~isNaN & rounded), vh);
}
EK_INLINE vf vf_from_f16(vh bits) {
#if EK_AVX512
    return (vf)_mm512_cvtph_ps((__m256i)bits);
#elif EK_AVX2
    typedef uint16_t h8 __attribute__((vector_size(16)));
    h8 a = __builtin_shufflevector(bits, bits, 0, 1, 2, 3, 4, 5, 6, 7);
    h8 b = __builtin_shufflevector(bits, bits, 8, 9, 10, 11, 12, 13, 14, 15);
    vf8 x = (vf8)_mm256_cvtph_ps((__m128i)a), y = (vf8)_mm256_cvtph_ps((__m128i)b);
    return __builtin_shufflevector(x, y, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    // Exponent and fraction as those of a float 2^112 times too small; exact, subnormals included.
    vu h = __builtin_convertvector(bits, vu);
    vu sign = (h & vu_set(0x8000)) << 16, magnitude = (h & vu_set(0x7fff)) << 13;
    vf scaled = (vf)magnitude * vf_set(0x1p112f);
    vu special = (vu)((h & vu_set(0x7c00)) == vu_set(0x7c00));  // infinity or NaN
    vu quiet = (vu)((h & vu_set(0x3ff)) != vu_set(0)) & vu_set(0x400000u);
    vu bitsOut = (special & (magnitude | vu_set(0x7f800000u) | quiet)) | (~special & (vu)scaled);
    return (vf)(bitsOut | sign);
#endif
}
/// To the nearest half, ties to even; NaN stays NaN (quiet).
EK_INLINE vh vf_to_f16(vf x) {
#if EK_AVX512
    return (vh)_mm512_cvtps_ph((__m512)x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
#elif EK_AVX2
    typedef uint16_t h8 __attribute__((vector_size(16)));
    vf8 a = __builtin_shufflevector(x, x, 0, 1, 2, 3, 4, 5, 6, 7);
    vf8 b = __builtin_shufflevector(x, x, 8, 9, 10, 11, 12, 13, 14, 15);
    h8 p = (h8)_mm256_cvtps_ph((__m256)a, 0), q = (h8)_mm256_cvtps_ph((__m256)b, 0);
    return __builtin_shufflevector(p, q, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);
#else
    vu u = (vu)x, sign = (u >> 16) & vu_set(0x8000), a = u & vu_set(0x7fffffffu);
    // Subnormal halves: adding 0.5 leaves the rounded multiple of 2^-24 in the low bits.
    vu tiny = (vu)((vf)a + vf_set(0.5f)) - vu_set(0x3f000000u);
    vu normal = (a - vu_set(112u << 23) + vu_set(0xfff) + ((a >> 13) & 1)) >> 13;
    vu result = (vu)(a < vu_set(113u << 23));
    result = (result & tiny) | (~result & normal);
    vu overflows = (vu)(a >= vu_set(0x477ff000u));
    result = (overflows & vu_set(0x7c00)) | (~overflows & result);
    vu isNaN = (vu)(a > vu_set(0x7f800000u));
    vu quiet = vu_set(0x7e00) | ((a >> 13) & vu_set(0x3ff));
    result = (isNaN & quiet) | (~isNaN & result);
    return __builtin_convertvector(result | sign, vh);
#endif
}

// MARK: Elementary functions

/// 2^n for lanes that hold an integer as an unsigned 32-bit number, -126 ≤ n ≤ 127.
EK_INLINE vf vf_power_of_two(vu n) { return (vf)((n + 127) << 23); }

/// e^x: at most 1.0 ulp; 0 below -103.98, infinity above 88.73, NaN for NaN.
EK_INLINE vf vf_exp(vf x) {
    // Compared so that NaN passes through.
    x = vf_select(x > vf_set(89.0f), vf_set(89.0f), x);
    x = vf_select(x < vf_set(-104.0f), vf_set(-104.0f), x);
    const vf magic = vf_set(0x1.8p23f);  // adding it rounds to an integer in the low bits
    vf shifted = vf_fma(x, vf_set(0x1.715476p+0f), magic);  // 1 / ln 2
    vf n = shifted - magic;
    vf r = vf_fma(n, vf_set(-0x1.62e43p-1f), x);  // ln 2 in two parts
    r = vf_fma(n, vf_set(0x1.05c61p-29f), r);
    vf p = vf_set(0x1.6a1a9cp-10f);
    p = vf_fma(p, r, vf_set(0x1.123fc6p-7f));
    p = vf_fma(p, r, vf_set(0x1.555916p-5f));
    p = vf_fma(p, r, vf_set(0x1.55548ap-3f));
    p = vf_fma(p, r, vf_set(0x1.fffffcp-2f));
    p = vf_fma(p, r * r, r) + vf_set(1);
    // 2^n in two factors, so that subnormal results and 2^128 come out right.
    vu whole = (vu)shifted - vu_set(0x4b400000u);
    vu half = (vu)((vi)whole >> 1);
    return p * vf_power_of_two(half) * vf_power_of_two(whole - half);
}

/// ln x: at most 0.8 ulp; -infinity at 0, NaN below it.
EK_INLINE vf vf_log(vf x) {
    vi isTiny = x < vf_set(0x1p-126f);
    vf scaled = vf_select(isTiny, x * vf_set(0x1p25f), x);
    // m in [√½, √2), x = 2^e m
    vu bits = (vu)scaled - vu_set(0x3f3504f3u);
    vi e = (vi)bits >> 23;
    vf m = (vf)((bits & vu_set(0x7fffffu)) + vu_set(0x3f3504f3u));
    vf n = __builtin_convertvector(e, vf) - vf_select(isTiny, vf_set(25), vf_set(0));
    vf f = m - vf_set(1);
    vf p = vf_set(0x1.145df8p-4f);
    p = vf_fma(p, f, vf_set(-0x1.de3ed2p-4f));
    p = vf_fma(p, f, vf_set(0x1.e6ef2p-4f));
    p = vf_fma(p, f, vf_set(-0x1.fc218p-4f));
    p = vf_fma(p, f, vf_set(0x1.233774p-3f));
    p = vf_fma(p, f, vf_set(-0x1.555c52p-3f));
    p = vf_fma(p, f, vf_set(0x1.99a4b4p-3f));
    p = vf_fma(p, f, vf_set(-0x1.000006p-2f));
    p = vf_fma(p, f, vf_set(0x1.555548p-2f));
    vf f2 = f * f;
    vf tail = vf_fma(p, f2 * f, n * vf_set(-0x1.05c61p-29f));
    tail = vf_fma(f2, vf_set(-0.5f), tail) + f;
    vf result = vf_fma(n, vf_set(0x1.62e43p-1f), tail);
    result = vf_select(x == vf_set(0), vf_set(-INFINITY), result);
    result = vf_select(x == vf_set(INFINITY), x, result);
    vi isBad = ~(x >= vf_set(0));  // negative or NaN
    return vf_select(isBad, vf_set(NAN), result);
}

/// tanh x: at most 1.3 ulp.
EK_INLINE vf vf_tanh(vf x) {
    vf a = vf_abs(x), z = x * x;
    vf p = vf_set(0x1.0e9f7ap-9f);
    p = vf_fma(p, z, vf_set(-0x1.09289ap-7f));
    p = vf_fma(p, z, vf_set(0x1.62fb4ep-6f));
    p = vf_fma(p, z, vf_set(-0x1.b9e19p-5f));
    p = vf_fma(p, z, vf_set(0x1.111026p-3f));
    p = vf_fma(p, z, vf_set(-0x1.555552p-2f));
    vf small = vf_fma(p * z, x, x);
    vf large = vf_set(1) - vf_set(2) / (vf_exp(a + a) + vf_set(1));
    // x's sign, that of zero too.
    vf y = vf_select(a < vf_set(0.65f), small, large);
    return (vf)((vu)y | ((vu)x & vu_set(0x80000000u)));
}

/// 1 / (1 + e^-x): at most 2.2 ulp.
EK_INLINE vf vf_sigmoid(vf x) { return vf_set(1) / (vf_set(1) + vf_exp(-x)); }

/// x · sigmoid(x): at most 2.2 ulp.
EK_INLINE vf vf_silu(vf x) { return x / (vf_set(1) + vf_exp(-x)); }

/// d silu / dx = s · (1 + x · (1 − s)), s = sigmoid(x): within 12 · 2^-24.
EK_INLINE vf vf_silu_gradient(vf x) {
    vf s = vf_sigmoid(x);
    return s * vf_fma(x, vf_set(1) - s, vf_set(1));
}

/// −2u, u = √(2/π) (x + 0.044715 x³).
EK_INLINE vf vf_gelu_exponent(vf x) {
    return vf_set(-1.5957691216f) * vf_fma(vf_set(0.044715f) * x * x, x, x);
}

/// GELU by its tanh form, ½ x (1 + tanh u), u = √(2/π) (x + 0.044715 x³), as x / (1 + e^(−2u)): for negative x
/// 1 + tanh u would cancel. At most 2.5 ulp for x ≥ −1 and 32 ulp for x ≥ −5 (where it is −2.3e-7).
EK_INLINE vf vf_gelu_tanh(vf x) { return x / (vf_set(1) + vf_exp(vf_gelu_exponent(x))); }

/// d gelu / dx = s + x · 2u' · s (1 − s), s = 1 / (1 + e^(−2u)): within 4 · 2^-24.
EK_INLINE vf vf_gelu_tanh_gradient(vf x) {
    vf y = vf_gelu_exponent(x), t = vf_exp(y);
    vf s = vf_set(1) / (vf_set(1) + t);
    vf slope = vf_set(1.5957691216f) * vf_fma(vf_set(0.134145f) * x, x, vf_set(1));
    // Far out the second term is nothing, and its factors overflow.
    return vf_select(vf_abs(y) > vf_set(60.0f), s, vf_fma(x * slope, t * s * s, s));
}

/// Eight sines (`quadrant` 0) or cosines (1) in f64, |x| ≤ 2^30.
EK_INLINE vd vd_sine(vd x, double quadrant) {
    const vd magic = vd_set(0x1.8p52);
    vd shifted = vd_fma(x, vd_set(0x1.45f306dc9c883p-1), magic);  // 2 / π
    vd n = shifted - magic;
    vd r = vd_fma(n, vd_set(-0x1.921fb54442d18p+0), x);  // π / 2 in two parts
    r = vd_fma(n, vd_set(-0x1.1a62633145c07p-54), r);
    vd z = r * r;
    vd s = vd_set(-0x1.a965d4ae28e8bp-26);
    s = vd_fma(s, z, vd_set(0x1.71d77a22f1ad1p-19));
    s = vd_fma(s, z, vd_set(-0x1.a019f9555b8acp-13));
    s = vd_fma(s, z, vd_set(0x1.1111110c9ecd3p-7));
    s = vd_fma(s, z, vd_set(-0x1.55555555523c6p-3));
    s = vd_fma(s * z, r, r);
    vd c = vd_set(0x1.1bc7059830539p-29);
    c = vd_fma(c, z, vd_set(-0x1.27e02845d6f9cp-22));
    c = vd_fma(c, z, vd_set(0x1.a019faa588d1bp-16));
    c = vd_fma(c, z, vd_set(-0x1.6c16c1676767ap-10));
    c = vd_fma(c, z, vd_set(0x1.55555555530ebp-5));
    c = vd_fma(c, z, vd_set(-0.5));
    c = vd_fma(c, z, vd_set(1));
    vul q = (vul)shifted + (uint64_t)quadrant;
    vul odd = (vul)((q & 1) != 0);
    vul value = (odd & (vul)c) | (~odd & (vul)s);
    return (vd)(value ^ ((q & 2) << 62));
}

/// sin x, |x| ≤ 2^30 (NaN beyond): at most 0.51 ulp, since the inside is f64.
EK_INLINE vf vf_sin(vf x) {
    vf y = vf_from_vd(vd_sine(vd_low(x), 0), vd_sine(vd_high(x), 0));
    y = vf_select(x == vf_set(0), x, y);  // keeps the sign of zero
    return vf_select(vf_abs(x) <= vf_set(0x1p30f), y, vf_set(NAN));
}
/// cos x, |x| ≤ 2^30 (NaN beyond): at most 0.51 ulp.
EK_INLINE vf vf_cos(vf x) {
    vf y = vf_from_vd(vd_sine(vd_low(x), 1), vd_sine(vd_high(x), 1));
    return vf_select(vf_abs(x) <= vf_set(0x1p30f), y, vf_set(NAN));
}

/// The error function: at most 1.8 ulp.
EK_INLINE vf vf_erf(vf x) {
    vf a = vf_abs(x), z = x * x;
    vf p = vf_set(-0x1.4383cep-17f);
    p = vf_fma(p, z, vf_set(0x1.d82678p-14f));
    p = vf_fma(p, z, vf_set(-0x1.bcbe96p-11f));
    p = vf_fma(p, z, vf_set(0x1.5628eep-8f));
    p = vf_fma(p, z, vf_set(-0x1.b829a8p-6f));
    p = vf_fma(p, z, vf_set(0x1.ce2f08p-4f));
    p = vf_fma(p, z, vf_set(-0x1.812746p-2f));
    // 2/√π in two parts
    vf small = vf_fma(vf_fma(p, z, vf_set(-0x1.11d8cp-24f)), x, vf_set(0x1.20dd76p+0f) * x);
    // ln erfc on [1, 4]; beyond, erf rounds to 1.
    vf b = vf_min(a, vf_set(4));
    vf q = vf_set(-0x1.6bd7c6p-16f);
    q = vf_fma(q, b, vf_set(0x1.cec5ecp-12f));
    q = vf_fma(q, b, vf_set(-0x1.138cb6p-8f));
    q = vf_fma(q, b, vf_set(0x1.9d03p-6f));
    q = vf_fma(q, b, vf_set(-0x1.bc1514p-4f));
    q = vf_fma(q, b, vf_set(-0x1.443568p-1f));
    q = vf_fma(q, b, vf_set(-0x1.212c0cp+0f));
    q = vf_fma(q, b, vf_set(0x1.8a5718p-13f));
    vf large = vf_set(1) - vf_exp(q);
    vf y = vf_select(a < vf_set(1), small, large);
    y = (vf)((vu)y | ((vu)x & vu_set(0x80000000u)));  // x's sign, that of zero too
    return vf_select(x == x, y, x);
}

// MARK: Moving data

/// Transposes sixteen rows of sixteen lanes in place.
EK_INLINE void vf_transpose(vf r[16]) {
    vf t[16];
    EK_UNROLL for (int i = 0; i < 16; i += 4) {
        vf a = __builtin_shufflevector(
            r[i], r[i + 1], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        vf b = __builtin_shufflevector(
            r[i], r[i + 1], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
        vf c = __builtin_shufflevector(
            r[i + 2], r[i + 3], 0, 16, 1, 17, 4, 20, 5, 21, 8, 24, 9, 25, 12, 28, 13, 29);
        vf d = __builtin_shufflevector(
            r[i + 2], r[i + 3], 2, 18, 3, 19, 6, 22, 7, 23, 10, 26, 11, 27, 14, 30, 15, 31);
        t[i] = __builtin_shufflevector(
            a, c, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
        t[i + 1] = __builtin_shufflevector(
            a, c, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
        t[i + 2] = __builtin_shufflevector(
            b, d, 0, 1, 16, 17, 4, 5, 20, 21, 8, 9, 24, 25, 12, 13, 28, 29);
        t[i + 3] = __builtin_shufflevector(
            b, d, 2, 3, 18, 19, 6, 7, 22, 23, 10, 11, 26, 27, 14, 15, 30, 31);
    }
    // t[4 g + c] holds columns c, c+4, c+8, c+12 of rows 4 g … 4 g + 3: transpose 4×4 of quarters.
    EK_UNROLL for (int c = 0; c < 4; c++) {
        vf a = __builtin_shufflevector(
            t[c], t[4 + c], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        vf b = __builtin_shufflevector(
            t[c], t[4 + c], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        vf d = __builtin_shufflevector(
            t[8 + c], t[12 + c], 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        vf e = __builtin_shufflevector(
            t[8 + c], t[12 + c], 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        // a: quarters 0, 2 of groups 0 and 1; b: quarters 1, 3; d, e the same of groups 2 and 3.
        r[c] = __builtin_shufflevector(
            a, d, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        r[c + 8] = __builtin_shufflevector(
            a, d, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
        r[c + 4] = __builtin_shufflevector(
            b, e, 0, 1, 2, 3, 8, 9, 10, 11, 16, 17, 18, 19, 24, 25, 26, 27);
        r[c + 12] = __builtin_shufflevector(
            b, e, 4, 5, 6, 7, 12, 13, 14, 15, 20, 21, 22, 23, 28, 29, 30, 31);
    }
}
