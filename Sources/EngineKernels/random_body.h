// Philox4x32-10 and what is made of its words, in one variant. Streams and their names are Swift's
// (Engine/Random/RandomStream.swift).
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", §3.3; constants theirs.

enum { randomBlocks = EK_LANES };  // blocks made side by side

/// The upper and the lower halves of sixteen products.
EK_INLINE void philox_multiply(vu x, uint32_t factor, vu *high, vu *low) {
    const uint64_t f = factor, m = 0xffffffffu;
    const vul factors = {f, f, f, f, f, f, f, f}, lower = {m, m, m, m, m, m, m, m};
    vul even = ((vul)x & lower) * factors, odd = ((vul)x >> 32) * factors;
    *high = (vu)(even >> 32 | (odd & ~lower));
    *low = (vu)((even & lower) | odd << 32);
}

/// Blocks `first` ..< `first` + 16: words[4 b + w] is word w of block b.
static void philox_blocks(const ek_random *r, uint64_t first, uint32_t words[4 * randomBlocks]) {
    const vu lanes = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    vu start = vu_set((uint32_t)first), x0 = start + lanes;
    // A carry's mask is -1.
    vu x1 = vu_set((uint32_t)(first >> 32)) - (vu)(x0 < start);
    vu x2 = vu_set((uint32_t)r->nonce), x3 = vu_set((uint32_t)(r->nonce >> 32));
    uint32_t k0 = (uint32_t)r->key, k1 = (uint32_t)(r->key >> 32);
    for (int round = 0; round < 10; round++) {
        vu ph, pl, qh, ql;
        philox_multiply(x0, 0xD2511F53u, &ph, &pl);
        philox_multiply(x2, 0xCD9E8D57u, &qh, &ql);
        x0 = qh ^ x1 ^ vu_set(k0);
        x1 = ql;
        x2 = ph ^ x3 ^ vu_set(k1);
        x3 = pl;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    // Words 0 and 1 of each block side by side, and 2 and 3; then the pairs.
    vul a[2] = {
        (vul)__builtin_shufflevector(x0, x1, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
        (vul)__builtin_shufflevector(x0, x1, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
    vul b[2] = {
        (vul)__builtin_shufflevector(x2, x3, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23),
        (vul)__builtin_shufflevector(x2, x3, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)};
    EK_UNROLL for (int half = 0; half < 2; half++) {
        vul low = __builtin_shufflevector(a[half], b[half], 0, 8, 1, 9, 2, 10, 3, 11);
        vul high = __builtin_shufflevector(a[half], b[half], 4, 12, 5, 13, 6, 14, 7, 15);
        memcpy(words + 32 * half, &low, 64);
        memcpy(words + 32 * half + 16, &high, 64);
    }
}

void EK(random_words)(const ek_random *r, uint64_t first, ptrdiff_t count, uint32_t *to) {
    uint32_t words[4 * randomBlocks];
    while (count > 0) {
        uint64_t block = first / 4;
        philox_blocks(r, block, words);
        long skip = (long)(first % 4), n = 4 * randomBlocks - skip;
        if (n > count) n = count;
        memcpy(to, words + skip, (size_t)n * 4);
        to += n;
        first += (uint64_t)n;
        count -= n;
    }
}

void EK(random_uniform)(const ek_random *r, uint64_t first, ptrdiff_t count, float *to) {
    uint32_t words[256];
    while (count > 0) {
        long n = count < 256 ? count : 256;
        EK(random_words)(r, first, n, words);
        for (long i = 0; i < n; i++) to[i] = (float)(words[i] >> 8) * 0x1p-24f;
        to += n;
        first += (uint64_t)n;
        count -= n;
    }
}

void EK(random_normal_part)(const ek_random *r, uint64_t first, ptrdiff_t count, float *to) {
    uint32_t words[256] = {0};
    while (count > 0) {
        long n = count < 128 ? count : 128;
        EK(random_words)(r, first, 2 * n, words);
        for (long i = 0; i < n; i += EK_LANES) {
            long m = n - i < EK_LANES ? n - i : EK_LANES;
            // Past the last pair the words are an earlier round's or zero: nobody sees those lanes.
            vu x, y;
            memcpy(&x, words + 2 * i, 64);
            memcpy(&y, words + 2 * i + 16, 64);
            vf a = __builtin_convertvector(
                __builtin_shufflevector(
                    x, y, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30), vf);
            vf b = __builtin_convertvector(
                __builtin_shufflevector(
                    x, y, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31) >> 8, vf);
            vf u = vf_fma(a, vf_set(0x1p-32f), vf_set(0x1p-33f));
            vf radius = vf_sqrt(vf_set(-2) * vf_log(u));
            vf z = radius * vf_cos(b * vf_set(0x1.921fb6p-22f));  // 2π · 2^-24
            vf_store_n(to + i, z, m);
        }
        to += n;
        first += 2 * (uint64_t)n;
        count -= n;
    }
}

void EK(random_block)(const ek_random *r, uint64_t block, uint32_t *to) {
    uint32_t words[4 * randomBlocks];
    philox_blocks(r, block, words);
    memcpy(to, words, 16);
}
