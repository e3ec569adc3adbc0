// Philox4x32-10 and what is made of its words, in one variant. Streams and their names are Swift's
// (Engine/Random/RandomStream.swift).
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", §3.3; constants theirs.

enum { randomBlocks = 16 };  // blocks made side by side

/// Blocks `first` ..< `first` + 16: words[4 b + w] is word w of block b.
static void philox_blocks(const ek_random *r, uint64_t first, uint32_t words[4 * randomBlocks]) {
    uint32_t x[4][randomBlocks];
    for (int b = 0; b < randomBlocks; b++) {
        x[0][b] = (uint32_t)(first + (uint64_t)b);
        x[1][b] = (uint32_t)((first + (uint64_t)b) >> 32);
        x[2][b] = (uint32_t)r->nonce;
        x[3][b] = (uint32_t)(r->nonce >> 32);
    }
    uint32_t k0 = (uint32_t)r->key, k1 = (uint32_t)(r->key >> 32);
    for (int round = 0; round < 10; round++) {
        for (int b = 0; b < randomBlocks; b++) {
            uint64_t p = (uint64_t)0xD2511F53u * x[0][b], q = (uint64_t)0xCD9E8D57u * x[2][b];
            uint32_t y0 = (uint32_t)(q >> 32) ^ x[1][b] ^ k0;
            uint32_t y2 = (uint32_t)(p >> 32) ^ x[3][b] ^ k1;
            x[0][b] = y0;
            x[1][b] = (uint32_t)q;
            x[2][b] = y2;
            x[3][b] = (uint32_t)p;
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    for (int b = 0; b < randomBlocks; b++) {
        for (int w = 0; w < 4; w++) words[4 * b + w] = x[w][b];
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
