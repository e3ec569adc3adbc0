// The weights that a token is drawn by, in one variant.

/// weights[i] = exp(max(−700, (logits[i] − largest) / temperature)) for `count` tokens, with the roundings of
/// PortableMath.exp one by one: the bits are its. A logit that is not a number weighs exp(−700).
void EK(sampling_weights)(
    const float *logits, ptrdiff_t count, double largest, double temperature, double *weights) {
    const vd zero = {0}, one = zero + 1.0, half = zero + 0.5, least = zero - 700.0;
    const vd magic = zero + 0x1.8p52;  // adding it moves an integer into the low bits
    for (ptrdiff_t at = 0; at < count; at += 8) {
        ptrdiff_t n = count - at < 8 ? count - at : 8;
        vd x = zero;
        for (int i = 0; i < n; i++) x[i] = (double)logits[at + i];
        if (n == 8) {
            vf8 eight;
            memcpy(&eight, logits + at, sizeof eight);
            x = __builtin_convertvector(eight, vd);
        }
        x = (x - (zero + largest)) / (zero + temperature);
        vil keeps = x >= least;
        x = (vd)(((vil)x & keeps) | ((vil)least & ~keeps));
        // The nearest multiple of ln 2, ties away from zero.
        vd t = x / (zero + 0.6931471805599453);
        vd f = __builtin_elementwise_trunc(t);
        vd d = t - f;
        f = f - (vd)((vil)one & (d <= -half)) + (vd)((vil)one & (d >= half));
        vd r = (x - f * (zero + 0x1.62e42fee00000p-1)) - f * (zero + 0x1.a39ef35793c76p-33);
        vd sum = one;
        EK_UNROLL for (int k = 18; k >= 1; k--) sum = one + r / (zero + (double)k) * sum;
        vul power = ((vul)(f + magic) - (vul)magic + ((vul){0} + 1023)) << 52;
        vd y = (vd)power * sum;
        memcpy(weights + at, &y, (size_t)n * sizeof *weights);
    }
}
