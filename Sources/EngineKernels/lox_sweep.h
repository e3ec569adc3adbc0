// One sweep over a group of rows of the difference, in f32 and once more in f64: lox_body.h includes
// this with REAL, LANES, VECTOR and PANEL (the rows held at once).

/// y [PANEL, width] += (the panel's columns `[c0, c0 + count)`) · x, one strip of lanes at a time. On
/// the way it asks for the cache lines in `ahead`, one an iteration, so that reading the next
/// elements of the difference and multiplying these overlap.
EK_INLINE void NAMED(lox_product)(
    const REAL *panel, int64_t count, const REAL *x, int64_t width, REAL *y,
    const lox_ahead *ahead
) {
    int64_t asked = 0;
    for (int64_t s = 0; s < width; s += LANES) {
        for (int64_t r = 0; r < PANEL; r += LOX_ACCUMULATORS) {
            VECTOR a[LOX_ACCUMULATORS] = {0};
            const REAL *p = panel + r * LOX_STRIDE, *v = x + s;
            int64_t c = 0;
            for (int64_t end = smaller(count, ahead->count - asked); c < end; c++, v += width) {
                VECTOR b = *(const VECTOR_UNALIGNED *)v;
                __builtin_prefetch(ahead->lines[asked++], 0, 2);  // second-level cache
                EK_UNROLL for (int e = 0; e < LOX_ACCUMULATORS; e++)
                    a[e] = VECTOR_FMA(SPLAT(p[e * LOX_STRIDE + c]), b, a[e]);
            }
            for (; c < count; c++, v += width) {
                VECTOR b = *(const VECTOR_UNALIGNED *)v;
                EK_UNROLL for (int e = 0; e < LOX_ACCUMULATORS; e++)
                    a[e] = VECTOR_FMA(SPLAT(p[e * LOX_STRIDE + c]), b, a[e]);
            }
            EK_UNROLL for (int e = 0; e < LOX_ACCUMULATORS; e++) {
                VECTOR_UNALIGNED *at = (VECTOR_UNALIGNED *)(y + (r + e) * width + s);
                *at = *at + a[e];
            }
        }
    }
    while (asked < ahead->count) __builtin_prefetch(ahead->lines[asked++], 0, 2);
}

/// z [count, width] += (the panel's `count` columns)ᵀ · y, each element a chain over the panel's rows.
EK_INLINE void NAMED(lox_transposed)(
    const REAL *panel, int64_t count, const REAL *y, int64_t width, REAL *z
) {
    for (int64_t s = 0; s < width; s += LANES) {
        VECTOR v[PANEL];
        EK_UNROLL for (int r = 0; r < PANEL; r++)
            v[r] = *(const VECTOR_UNALIGNED *)(y + r * width + s);
        int64_t c = 0;
        for (; c + LOX_ACCUMULATORS <= count; c += LOX_ACCUMULATORS) {
            VECTOR a[LOX_ACCUMULATORS];
            EK_UNROLL for (int e = 0; e < LOX_ACCUMULATORS; e++)
                a[e] = *(const VECTOR_UNALIGNED *)(z + (c + e) * width + s);
            EK_UNROLL for (int r = 0; r < PANEL; r++) {
                EK_UNROLL for (int e = 0; e < LOX_ACCUMULATORS; e++)
                    a[e] = VECTOR_FMA(SPLAT(panel[r * LOX_STRIDE + c + e]), v[r], a[e]);
            }
            EK_UNROLL for (int e = 0; e < LOX_ACCUMULATORS; e++)
                *(VECTOR_UNALIGNED *)(z + (c + e) * width + s) = a[e];
        }
        for (; c < count; c++) {
            VECTOR a = *(const VECTOR_UNALIGNED *)(z + c * width + s);
            EK_UNROLL for (int r = 0; r < PANEL; r++)
                a = VECTOR_FMA(SPLAT(panel[r * LOX_STRIDE + c]), v[r], a);
            *(VECTOR_UNALIGNED *)(z + c * width + s) = a;
        }
    }
}

/// One chunk of a panel, as REAL; `squares` gains its sum of squares (f64 only).
EK_INLINE void NAMED(lox_chunk)(
    const ek_lox_delta *d, int64_t row, int64_t rows, int64_t column, int64_t count, REAL *to,
    EK(lox_watch) *watch, vd *squares
) {
    for (int64_t r = 0; r < rows; r++, to += LOX_STRIDE) {
#ifdef IS_WIDE
        float line[LOX_CHUNK];
        EK(lox_fill)(d, row + r, column, count, line, watch);
        // Zeros up to a whole vector; the panel's rows are long enough for them.
        for (int64_t c = count; c < ((count + 15) & ~(int64_t)15); c++) line[c] = 0;
        vd sum = *squares;
        for (int64_t c = 0; c < count; c += 16) {
            vf x = vf_load(line + c);
            vd low = vd_low(x), high = vd_high(x);
            EK(lox_store8)(to + c, low);
            EK(lox_store8)(to + c + 8, high);
            sum = vd_fma(low, low, sum);
            sum = vd_fma(high, high, sum);
        }
        *squares = sum;
#else
        (void)squares;
        EK(lox_fill)(d, row + r, column, count, to, watch);
#endif
    }
}

/// Panel by panel, chunk by chunk: y for this panel, z for the one before it (whose y is complete),
/// so that the reading, which only the former needs, is spread over all of the arithmetic.
void NAMED(lox_sweep_rows)(
    const ek_lox_delta *d, int64_t row0, int64_t row1, int64_t width, const REAL *x, REAL *y,
    REAL *z, REAL *memory, ek_lox_seen *seen
) {
    int64_t columns = d->columns, whole = PANEL * lox_panel_width(columns);
    REAL *panels[2] = {memory, memory + whole};
    REAL *parts[2] = {memory + 2 * whole, memory + 2 * whole + PANEL * width};
    EK(lox_watch) notes = {0}, *watch = seen->wanted ? &notes : NULL;
    vd squares = {0};
    lox_ahead ahead;
    int64_t count = (row1 - row0 + PANEL - 1) / PANEL;
    for (int64_t i = 0; i <= count; i++) {
        int64_t row = row0 + i * PANEL, rows = smaller(PANEL, row1 - row);
        REAL *panel = panels[i & 1], *part = parts[i & 1];
        if (i < count) {
            if (rows < PANEL) memset(panel, 0, (size_t)whole * sizeof(REAL));
            memset(part, 0, (size_t)(PANEL * width) * sizeof(REAL));
            if (!x) memcpy(part, y + row * width, (size_t)(rows * width) * sizeof(REAL));
        }
        for (int64_t c = 0; c < columns; c += LOX_CHUNK) {
            int64_t n = smaller(LOX_CHUNK, columns - c), at = c / LOX_CHUNK * PANEL * LOX_STRIDE;
            if (i < count) {
                NAMED(lox_chunk)(d, row, rows, c, n, panel + at, watch, &squares);
                bool last = c + LOX_CHUNK >= columns;
                lox_look_ahead(
                    d, last ? row + PANEL : row, smaller(PANEL, row1 - (last ? row + PANEL : row)),
                    last ? 0 : c + LOX_CHUNK, &ahead);
                if (x)
                    NAMED(lox_product)(panel + at, n, x + c * width, width, part, &ahead);
            }
            if (i > 0 && z)
                NAMED(lox_transposed)(
                    panels[~i & 1] + at, n, parts[~i & 1], width, z + c * width);
        }
        if (i < count && x) memcpy(y + row * width, part, (size_t)(rows * width) * sizeof(REAL));
    }
    EK(lox_conclude)(&notes, seen);
    seen->sum_of_squares += vd_sum(squares);
}

#undef REAL
#undef LANES
#undef VECTOR
#undef VECTOR_UNALIGNED
#undef SPLAT
#undef VECTOR_FMA
#undef PANEL
#undef NAMED
#ifdef IS_WIDE
#undef IS_WIDE
#endif
