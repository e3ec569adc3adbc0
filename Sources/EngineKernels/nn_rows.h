// Norms, rotary embedding, gated activations, cross-entropy and AdamW over a range of rows or
// elements, in the variant that is open. The drivers that spread the ranges over threads are in nn.c.

static void EK(rmsnorm_range)(const ek_rmsnorm_t *a, long begin, long end) {
    const vf one = vf_set(a->plusOne ? 1.0f : 0.0f);
    for (long r = begin; r < end; r++) {
        for (long g = 0; g < a->groups; g++) {
            const float *x = a->x + r * a->xStride + g * a->dim;
            float *y = a->y + r * a->yStride + g * a->dim;
            vf sum = {0};
            long i = 0;
            for (; i + 16 <= a->dim; i += 16) {
                vf v = vf_load(x + i);
                sum = vf_fma(v, v, sum);
            }
            if (i < a->dim) {
                vf v = vf_load_n(x + i, a->dim - i);
                sum = vf_fma(v, v, sum);
            }
            float mean = vf_sum(sum) / (float)a->dim;
            float inverse = 1.0f / __builtin_sqrtf(mean + a->epsilon);
            if (a->inverse) a->inverse[r * a->groups + g] = inverse;
            vf scale = vf_set(inverse);
            for (i = 0; i + 16 <= a->dim; i += 16) {
                vf_store(y + i, (vf_load(x + i) * scale) * (vf_load(a->w + i) + one));
            }
            if (i < a->dim) {
                long n = a->dim - i;
                vf_store_n(y + i, (vf_load_n(x + i, n) * scale) * (vf_load_n(a->w + i, n) + one), n);
            }
        }
    }
}

static void EK(rmsnorm_backward_range)(const ek_rmsnorm_backward_t *a, long begin, long end) {
    const vf one = vf_set(a->plusOne ? 1.0f : 0.0f);
    for (long r = begin; r < end; r++) {
        for (long g = 0; g < a->groups; g++) {
            const float *x = a->x + r * a->xStride + g * a->dim;
            const float *dy = a->dy + r * a->dyStride + g * a->dim;
            float *dx = a->dx + r * a->dxStride + g * a->dim;
            float inverse = a->inverse[r * a->groups + g];
            vf sum = {0}, scale = vf_set(inverse);
            for (long i = 0; i < a->dim; i += 16) {
                long n = a->dim - i < 16 ? a->dim - i : 16;
                vf weighted = vf_load_n(dy + i, n) * (vf_load_n(a->w + i, n) + one);
                sum = vf_fma(weighted, vf_load_n(x + i, n) * scale, sum);
            }
            vf mean = vf_set(vf_sum(sum) / (float)a->dim);
            for (long i = 0; i < a->dim; i += 16) {
                long n = a->dim - i < 16 ? a->dim - i : 16;
                vf weighted = vf_load_n(dy + i, n) * (vf_load_n(a->w + i, n) + one);
                vf d = scale * vf_fma(-mean, vf_load_n(x + i, n) * scale, weighted);
                if (a->accumulates) d += vf_load_n(dx + i, n);
                vf_store_n(dx + i, d, n);
            }
        }
    }
}

// Columns begin ..< end of dw, every row in order.
static void EK(rmsnorm_weight_range)(const ek_rmsnorm_backward_t *a, long begin, long end) {
    for (long i = begin; i < end; i += 16) {
        long n = end - i < 16 ? end - i : 16;
        vf sum = vf_load_n(a->dw + i, n);
        for (long r = 0; r < a->rows; r++) {
            for (long g = 0; g < a->groups; g++) {
                vf x = vf_load_n(a->x + r * a->xStride + g * a->dim + i, n);
                vf dy = vf_load_n(a->dy + r * a->dyStride + g * a->dim + i, n);
                sum = vf_fma(dy, x * vf_set(a->inverse[r * a->groups + g]), sum);
            }
        }
        vf_store_n(a->dw + i, sum, n);
    }
}

static void EK(rope_range)(const ek_rope_t *a, long begin, long end) {
    long half = a->headDim / 2;
    for (long r = begin; r < end; r++) {
        const float *cosine = a->cosine + (long)a->positions[r] * half;
        const float *sine = a->sine + (long)a->positions[r] * half;
        for (long h = 0; h < a->heads; h++) {
            float *x = a->x + r * a->stride + h * a->headDim;
            for (long i = 0; i < half; i += 16) {
                long n = half - i < 16 ? half - i : 16;
                vf c = vf_load_n(cosine + i, n), s = vf_load_n(sine + i, n);
                if (a->backward) s = -s;
                vf low = vf_load_n(x + i, n), high = vf_load_n(x + half + i, n);
                vf_store_n(x + i, low * c - high * s, n);
                vf_store_n(x + half + i, high * c + low * s, n);
            }
        }
    }
}

static void EK(glu_range)(const ek_glu_t *a, long begin, long end) {
    for (long r = begin; r < end; r++) {
        const float *g = a->gu + r * 2 * a->dim, *u = g + a->dim;
        float *y = a->y + r * a->dim;
        for (long i = 0; i < a->dim; i += 16) {
            long n = a->dim - i < 16 ? a->dim - i : 16;
            vf gate = vf_load_n(g + i, n);
            vf active = a->activation == 0 ? vf_silu(gate) : vf_gelu_tanh(gate);
            vf_store_n(y + i, active * vf_load_n(u + i, n), n);
        }
    }
}

static void EK(glu_backward_range)(const ek_glu_t *a, long begin, long end) {
    for (long r = begin; r < end; r++) {
        const float *g = a->gu + r * 2 * a->dim, *u = g + a->dim, *dy = a->dy + r * a->dim;
        float *dg = a->dgu + r * 2 * a->dim, *du = dg + a->dim;
        for (long i = 0; i < a->dim; i += 16) {
            long n = a->dim - i < 16 ? a->dim - i : 16;
            vf gate = vf_load_n(g + i, n), up = vf_load_n(u + i, n), d = vf_load_n(dy + i, n);
            vf active, slope;
            if (a->activation == 0) {
                active = vf_silu(gate);
                slope = vf_silu_gradient(gate);
            } else {
                active = vf_gelu_tanh(gate);
                slope = vf_gelu_tanh_gradient(gate);
            }
            vf_store_n(dg + i, d * up * slope, n);
            vf_store_n(du + i, d * active, n);
        }
    }
}

static void EK(softcap_range)(const ek_softcap_t *a, long begin, long end) {
    vf cap = vf_set(a->cap);
    for (long i = begin; i < end; i += 16) {
        long n = end - i < 16 ? end - i : 16;
        vf_store_n(a->x + i, cap * vf_tanh(vf_load_n(a->x + i, n) / cap), n);
    }
}

static void EK(cross_entropy_range)(const ek_cross_entropy_t *a, long begin, long end) {
    for (long r = begin; r < end; r++) {
        float *z = a->logits + r * a->vocabulary;
        long label = a->labels[r];
        bool writes = a->weights != NULL, caps = a->softcap > 0;
        vf cap = vf_set(caps ? a->softcap : 1);
        if (caps) {
            for (long i = 0; i < a->vocabulary; i += 16) {
                long n = a->vocabulary - i < 16 ? a->vocabulary - i : 16;
                vf_store_n(z + i, cap * vf_tanh(vf_load_n(z + i, n) / cap), n);
            }
        }
        vf best = vf_set(-INFINITY);
        long i = 0;
        for (; i + 16 <= a->vocabulary; i += 16) best = vf_max(vf_load(z + i), best);
        float largest = vf_reduce_max(best);
        for (; i < a->vocabulary; i++) largest = z[i] > largest ? z[i] : largest;
        float atLabel = z[label];
        if (a->isGreedy) {
            long first = 0;
            while (first < a->vocabulary - 1 && z[first] != largest) first++;
            a->isGreedy[r] = first == label;
        }
        // Sixteen lanes within a block of 1024, the blocks in f64: error does not grow with the
        // vocabulary. A NaN among the logits reaches the sum, and so the loss.
        double total = 0;
        vf shift = vf_set(largest);
        for (long block = 0; block < a->vocabulary; block += 1024) {
            long stop = block + 1024 < a->vocabulary ? block + 1024 : a->vocabulary;
            vf sum = {0};
            for (i = block; i + 16 <= stop; i += 16) {
                vf e = vf_exp(vf_load(z + i) - shift);
                sum += e;
                if (writes && !caps) vf_store(z + i, e);
            }
            if (i < stop) {
                long n = stop - i;
                float padded[16];
                for (int l = 0; l < 16; l++) padded[l] = l < n ? z[i + l] - largest : -INFINITY;
                vf e = vf_exp(vf_load(padded));
                sum += e;
                if (writes && !caps) vf_store_n(z + i, e, n);
            }
            total += vf_sum(sum);
        }
        if (a->losses) {
            vf logarithm = vf_log(vf_set((float)total));
            a->losses[r] = (double)logarithm[0] + (double)largest - (double)atLabel;
        }
        if (!writes) continue;
        float weight = a->weights[r];
        vf factor = vf_set((float)((double)weight / total));
        for (i = 0; i < a->vocabulary; i += 16) {
            long n = a->vocabulary - i < 16 ? a->vocabulary - i : 16;
            vf v = vf_load_n(z + i, n);
            if (caps) {
                vf t = v / cap;
                v = vf_exp(v - shift) * factor * vf_fma(-t, t, vf_set(1));
            } else {
                v = v * factor;
            }
            vf_store_n(z + i, v, n);
        }
        float slope = 1;
        if (caps) {
            float t = atLabel / a->softcap;
            slope = f_fma(-t, t, 1);
        }
        z[label] = f_fma(-weight, slope, z[label]);
    }
}

static void EK(adamw_range)(const ek_adamw_t *a, long begin, long end) {
    vf b1 = vf_set(a->beta1), c1 = vf_set(1 - a->beta1), b2 = vf_set(a->beta2);
    vf c2 = vf_set(1 - a->beta2), scale = vf_set(a->gradientScale), step = vf_set(a->stepSize);
    vf root = vf_set(a->rootCorrection), epsilon = vf_set(a->epsilon), decay = vf_set(a->decay);
    for (long i = begin; i < end; i += 16) {
        long n = end - i < 16 ? end - i : 16;
        vf g = vf_load_n(a->g + i, n) * scale;
        vf m = vf_fma(b1, vf_load_n(a->m + i, n), c1 * g);
        vf v = vf_fma(b2, vf_load_n(a->v + i, n), c2 * g * g);
        vf_store_n(a->m + i, m, n);
        vf_store_n(a->v + i, v, n);
        vf denominator = vf_sqrt(v) / root + epsilon;
        vf p = vf_load_n(a->p + i, n) * decay;
        vf_store_n(a->p + i, p - step * (m / denominator), n);
    }
}

static double EK(square_block)(const float *x, long count) {
    vd low = {0}, high = {0};
    for (long i = 0; i < count; i += 16) {
        vf v = vf_load_n(x + i, count - i < 16 ? count - i : 16);
        vd a = vd_low(v), b = vd_high(v);
        low = vd_fma(a, a, low);
        high = vd_fma(b, b, high);
    }
    return vd_sum(low + high);
}

static long EK(non_finite)(const float *x, long count) {
    for (long i = 0; i < count; i += 1024) {
        long stop = i + 1024 < count ? i + 1024 : count;
        // x - x is 0 for finite numbers and NaN for all others.
        vf sum = {0};
        for (long j = i; j < stop; j += 16) {
            vf v = vf_load_n(x + j, stop - j < 16 ? stop - j : 16);
            sum += v - v;
        }
        if (vf_sum(sum) == 0) continue;
        for (long j = i; j < stop; j++) {
            if (!(x[j] - x[j] == 0)) return j;
        }
    }
    return -1;
}

static void EK(add_range)(const ek_add_t *a, long begin, long end) {
    long i = begin;
    for (; i + 16 <= end; i += 16) vf_store(a->y + i, vf_load(a->a + i) + vf_load(a->b + i));
    for (; i < end; i++) a->y[i] = a->a[i] + a->b[i];
}

static void EK(scale_rows_range)(const ek_scale_t *a, long begin, long end) {
    vf factor = vf_set(a->factor);
    for (long r = begin; r < end; r++) {
        for (long i = 0; i < a->dim; i += 16) {
            long n = a->dim - i < 16 ? a->dim - i : 16;
            vf_store_n(a->y + r * a->yStride + i, vf_load_n(a->x + r * a->xStride + i, n) * factor, n);
        }
    }
}

static void EK(embed_range)(const ek_embed_t *a, long begin, long end) {
    vf scale = vf_set(a->scale);
    for (long r = begin; r < end; r++) {
        float *y = a->y + r * a->dim;
        long row = (long)a->ids[r] * a->dim;
        for (long i = 0; i < a->dim; i += 16) {
            long n = a->dim - i < 16 ? a->dim - i : 16;
            vf v;
            if (a->dtype == 0) {
                v = vf_load_n((const float *)a->table + row + i, n);
            } else {
                uint16_t halves[16] = {0};
                memcpy(halves, (const uint16_t *)a->table + row + i, (size_t)n * 2);
                vh bits = *(const vh_unaligned *)halves;
                v = a->dtype == 1 ? vf_from_bf16(bits) : vf_from_f16(bits);
            }
            vf_store_n(y + i, v * scale, n);
        }
    }
}

// Columns begin ..< end of the table's gradient, the rows in order.
static void EK(embed_backward_range)(const ek_embed_t *a, long begin, long end) {
    vf scale = vf_set(a->scale);
    for (long r = 0; r < a->rows; r++) {
        float *d = a->gradient + (long)a->ids[r] * a->dim;
        const float *dy = a->dy + r * a->dim;
        for (long i = begin; i < end; i += 16) {
            long n = end - i < 16 ? end - i : 16;
            vf_store_n(d + i, vf_fma(vf_load_n(dy + i, n), scale, vf_load_n(d + i, n)), n);
        }
    }
}
