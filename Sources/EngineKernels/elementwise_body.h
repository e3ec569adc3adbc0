// Loops over elements in one variant: one operation a call, the operation a constant of each loop.

EK_INLINE vf unary_value(ek_unary_op op, vf x) {
    switch (op) {
    case EK_EXP: return vf_exp(x);
    case EK_LOG: return vf_log(x);
    case EK_TANH: return vf_tanh(x);
    case EK_SIN: return vf_sin(x);
    case EK_COS: return vf_cos(x);
    case EK_SQRT: return vf_sqrt(x);
    case EK_RSQRT: return vf_rsqrt(x);
    case EK_ERF: return vf_erf(x);
    case EK_SIGMOID: return vf_sigmoid(x);
    case EK_SILU: return vf_silu(x);
    case EK_SILU_GRADIENT: return vf_silu_gradient(x);
    case EK_GELU_TANH: return vf_gelu_tanh(x);
    case EK_GELU_TANH_GRADIENT: return vf_gelu_tanh_gradient(x);
    case EK_ABS: return vf_abs(x);
    }
    return x;
}

EK_INLINE void unary_loop(ek_unary_op op, ptrdiff_t count, const float *x, float *y) {
    for (ptrdiff_t i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        if (n == EK_LANES) vf_store(y + i, unary_value(op, vf_load(x + i)));
        else vf_store_n(y + i, unary_value(op, vf_load_n(x + i, n)), n);
    }
}

void EK(unary_range)(ek_unary_op op, ptrdiff_t count, const float *x, float *y) {
    switch (op) {
#define EK_CASE(o) case o: unary_loop(o, count, x, y); break;
        EK_CASE(EK_EXP) EK_CASE(EK_LOG) EK_CASE(EK_TANH) EK_CASE(EK_SIN) EK_CASE(EK_COS)
        EK_CASE(EK_SQRT) EK_CASE(EK_RSQRT) EK_CASE(EK_ERF) EK_CASE(EK_SIGMOID) EK_CASE(EK_SILU)
        EK_CASE(EK_SILU_GRADIENT) EK_CASE(EK_GELU_TANH) EK_CASE(EK_GELU_TANH_GRADIENT)
        EK_CASE(EK_ABS)
#undef EK_CASE
    }
}

EK_INLINE vf binary_value(ek_binary_op op, vf x, vf y, vf factor) {
    switch (op) {
    case EK_ADD: return x + y;
    case EK_SUBTRACT: return x - y;
    case EK_MULTIPLY: return x * y;
    case EK_DIVIDE: return x / y;
    case EK_ADD_PRODUCT: return vf_fma(factor, y, x);
    }
    return x;
}

/// `isScalar`: y is one number for all.
EK_INLINE void binary_loop(
    ek_binary_op op, ptrdiff_t count, const float *x, const float *y, bool isScalar, float factor,
    float *z
) {
    vf f = vf_set(factor), one = vf_set(isScalar ? *y : 0);
    for (ptrdiff_t i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        if (n == EK_LANES) {
            vf right = isScalar ? one : vf_load(y + i);
            vf_store(z + i, binary_value(op, vf_load(x + i), right, f));
        } else {
            vf right = isScalar ? one : vf_load_n(y + i, n);
            vf_store_n(z + i, binary_value(op, vf_load_n(x + i, n), right, f), n);
        }
    }
}

void EK(binary_range)(
    ek_binary_op op, ptrdiff_t count, const float *x, const float *y, bool isScalar, float factor,
    float *z
) {
    switch (op) {
#define EK_CASE(o)                                                        \
    case o:                                                               \
        if (isScalar) binary_loop(o, count, x, y, true, factor, z);       \
        else binary_loop(o, count, x, y, false, factor, z);               \
        break;
        EK_CASE(EK_ADD) EK_CASE(EK_SUBTRACT) EK_CASE(EK_MULTIPLY) EK_CASE(EK_DIVIDE)
        EK_CASE(EK_ADD_PRODUCT)
#undef EK_CASE
    }
}

// MARK: Reductions

// A sum runs in four accumulators of sixteen lanes: element 64 i + 16 a + l goes to lane l of
// accumulator a, i ascending; then (a0 + a1) + (a2 + a3), then the lanes in vf_sum's tree.
#define EK_FOUR(count, load, step)                                                              \
    ptrdiff_t i = 0;                                                                            \
    for (; i + 4 * EK_LANES <= count; i += 4 * EK_LANES) {                                      \
        EK_UNROLL for (int a = 0; a < 4; a++) {                                                 \
            long at = i + a * EK_LANES;                                                         \
            step(a, load(at));                                                                  \
        }                                                                                       \
    }                                                                                           \
    for (int a = 0; i < count; i += EK_LANES, a++) {                                            \
        long n = count - i < EK_LANES ? count - i : EK_LANES;                                   \
        step(a, load##_n(i, n));                                                                \
    }

/// Σ x in f32, in the fixed order above.
EK_INLINE float row_sum(const float *x, ptrdiff_t count) {
    vf s[4] = {{0}, {0}, {0}, {0}};
#define LOAD(at) vf_load(x + (at))
#define LOAD_n(at, n) vf_load_n(x + (at), n)
#define STEP(a, v) s[a] += (v)
    EK_FOUR(count, LOAD, STEP)
#undef STEP
    return vf_sum((s[0] + s[1]) + (s[2] + s[3]));
}

/// Σ x y in f32, each product fused into its accumulator.
EK_INLINE float row_dot(const float *x, const float *y, ptrdiff_t count) {
    vf s[4] = {{0}, {0}, {0}, {0}};
#define PAIR(at) vf_load(x + (at)), vf_load(y + (at))
#define PAIR_n(at, n) vf_load_n(x + (at), n), vf_load_n(y + (at), n)
#define STEP(a, ...) STEP2(a, __VA_ARGS__)
#define STEP2(a, u, v) s[a] = vf_fma(u, v, s[a])
    EK_FOUR(count, PAIR, STEP)
#undef STEP
#undef STEP2
    return vf_sum((s[0] + s[1]) + (s[2] + s[3]));
}

/// The largest; NaN where any element is NaN; -infinity of nothing.
EK_INLINE float row_max(const float *x, ptrdiff_t count) {
    vf best = vf_set(-INFINITY);
    vi isNaN = {0}, lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    for (ptrdiff_t i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        vf v = vf_load_n(x + i, n);
        vi used = lanes < (int)n;
        v = vf_select(used, v, vf_set(-INFINITY));
        isNaN |= v != v;
        best = vf_max(best, v);
    }
    return vf_sum(vf_select(isNaN, vf_set(1), vf_set(0))) > 0 ? NAN : vf_reduce_max(best);
}

float EK(sum_block)(const float *x, ptrdiff_t count) { return row_sum(x, count); }
float EK(dot_block)(const float *x, const float *y, ptrdiff_t count) {
    return row_dot(x, y, count);
}
float EK(max_block)(const float *x, ptrdiff_t count) { return row_max(x, count); }

/// Σ x y (or Σ x where y is null) with every product and sum in f64: lanes as in f32, in two halves.
double EK(sum_block_f64)(const float *x, const float *y, ptrdiff_t count) {
    vd low = {0}, high = {0};
    for (ptrdiff_t i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        vf u = vf_load_n(x + i, n);
        if (y) {
            vf v = vf_load_n(y + i, n);
            // The product of two f32 is exact in f64.
            low += vd_low(u) * vd_low(v);
            high += vd_high(u) * vd_high(v);
        } else {
            low += vd_low(u);
            high += vd_high(u);
        }
    }
    return vd_sum(low + high);
}

/// y = softmax(x) of one row; where all of x is -infinity, NaN. x and y may be the same.
void EK(softmax_row)(ptrdiff_t count, const float *x, float *y) {
    vf shift = vf_set(row_max(x, count));
    for (ptrdiff_t i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        vf_store_n(y + i, vf_exp(vf_load_n(x + i, n) - shift), n);
    }
    vf sum = vf_set(row_sum(y, count));
    for (ptrdiff_t i = 0; i < count; i += EK_LANES) {
        long n = count - i < EK_LANES ? count - i : EK_LANES;
        vf_store_n(y + i, vf_load_n(y + i, n) / sum, n);
    }
}
