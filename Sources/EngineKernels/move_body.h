// Copies that change layout or element type, in one variant.

/// to[j, i] = from[i, j] for i < rows, j < columns.
void EK(transpose_block)(
    long rows, long columns, const float *from, long fromStride, float *to, long toStride
) {
    for (long i = 0; i < rows; i += 16) {
        long m = rows - i < 16 ? rows - i : 16;
        for (long j = 0; j < columns; j += 16) {
            long n = columns - j < 16 ? columns - j : 16;
            vf r[16];
            EK_UNROLL for (int p = 0; p < 16; p++) {
                r[p] = p < m ? vf_load_n(from + (i + p) * fromStride + j, n) : (vf){0};
            }
            vf_transpose(r);
            if (n == 16 && m == 16) {
                EK_UNROLL for (int p = 0; p < 16; p++) vf_store(to + (j + p) * toStride + i, r[p]);
            } else {
                for (long p = 0; p < n; p++) vf_store_n(to + (j + p) * toStride + i, r[p], m);
            }
        }
    }
}

/// `count` elements to f32; `kind` is an ek_dtype of F32, BF16 or F16.
void EK(widen_range)(ptrdiff_t count, ek_dtype kind, const void *from, float *to) {
    const uint16_t *p = from;
    for (ptrdiff_t i = 0; i < count; i += 16) {
        long n = count - i < 16 ? count - i : 16;
        vh bits = {0};
        if (n == 16) bits = *(const vh_unaligned *)(p + i);
        else memcpy(&bits, p + i, (size_t)n * 2);
        vf x = kind == EK_BF16 ? vf_from_bf16(bits) : vf_from_f16(bits);
        if (n == 16) vf_store(to + i, x);
        else vf_store_n(to + i, x, n);
    }
}

/// `count` elements from f32 to BF16 or F16, to nearest, ties to even.
void EK(narrow_range)(ptrdiff_t count, ek_dtype kind, const float *from, void *to) {
    uint16_t *p = to;
    for (ptrdiff_t i = 0; i < count; i += 16) {
        long n = count - i < 16 ? count - i : 16;
        vf x = n == 16 ? vf_load(from + i) : vf_load_n(from + i, n);
        vh bits = kind == EK_BF16 ? vf_to_bf16(x) : vf_to_f16(x);
        memcpy(p + i, &bits, (size_t)n * 2);
    }
}
