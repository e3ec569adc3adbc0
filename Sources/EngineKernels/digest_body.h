// A fast 64-bit digest of bytes, in one variant: what tells two states of a training apart at the speed
// of memory. It finds accidents and differences of arithmetic; it is no cryptographic hash.

/// The digest of one block, `count` bytes from p. Each 64-bit lane takes every 32nd word of the block:
/// state ← low₃₂(x) · K + swap(x), with x = state ⊕ word, K odd. A change in one word changes its lane's
/// state (but for one difference in 2³²), and what follows keeps the states apart.
uint64_t EK(digest_block)(const unsigned char *p, ptrdiff_t count) {
    const vul low = (vul){0} + 0xffffffffu;
    const vul factor = (vul){0} + 0x9e3779b1u;  // the prime next to 2³² / φ
    vul state[4];
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 8; j++) state[i][j] = 0x9e3779b97f4a7c15u * (uint64_t)(8 * i + j + 1);
    }
    unsigned char last[256];
    for (ptrdiff_t at = 0; at < count; at += 256) {
        const unsigned char *from = p + at;
        if (count - at < 256) {
            memset(last, 0, sizeof last);
            memcpy(last, from, (size_t)(count - at));
            from = last;
        }
        EK_UNROLL for (int i = 0; i < 4; i++) {
            vul word;
            memcpy(&word, from + 64 * i, 64);
            vul x = state[i] ^ word;
            state[i] = (x & low) * factor + (x << 32 | x >> 32);
        }
    }
    uint64_t result = (uint64_t)count;
    for (int i = 0; i < 4; i++) {
        for (int j = 0; j < 8; j++) result = ek_mix(result, state[i][j]);
    }
    return result;
}
