// Small dense factorizations in f64: symmetric eigenvalues (Householder tridiagonal form, then
// implicit shifted QL) and one-sided Jacobi. Plain loops: sums run in four interleaved chains or
// along independent elements, so the compiler may widen them without changing a bit.
// Sources: Golub and Van Loan, Matrix Computations, 4th ed., §8.3 (tridiagonal QR), §8.6 (Jacobi).
#include "lox.h"
#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static double dot(int64_t n, const double *a, const double *b) {
    double s[8] = {0};
    int64_t i = 0;
    for (; i + 8 <= n; i += 8) {
        for (int e = 0; e < 8; e++) s[e] += a[i + e] * b[i + e];
    }
    for (; i < n; i++) s[i & 7] += a[i] * b[i];
    return ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
}

static void add(int64_t n, double c, const double *x, double *y) {
    for (int64_t i = 0; i < n; i++) y[i] += c * x[i];
}

// MARK: A plane through four weights

void ek_lox_plane_sums(
    const float *w1, const float *w2, const float *w3, const float *w4, int64_t count, double *sums
) {
    double dd[8] = {0}, de[8] = {0}, ee[8] = {0};
    for (int64_t i = 0; i < count; i++) {
        double d = (double)w2[i] - w1[i];
        double e = 0.5 * (((double)w3[i] - w1[i]) + ((double)w4[i] - w2[i]));
        dd[i & 7] += d * d;
        de[i & 7] += d * e;
        ee[i & 7] += e * e;
    }
    const double *lanes[3] = {dd, de, ee};
    for (int k = 0; k < 3; k++) {
        const double *s = lanes[k];
        sums[k] = ((s[0] + s[1]) + (s[2] + s[3])) + ((s[4] + s[5]) + (s[6] + s[7]));
    }
}

void ek_lox_plane_point(
    const float *w1, const float *w2, const float *w3, const float *w4, double a, double b,
    int64_t count, float *out
) {
    for (int64_t i = 0; i < count; i++) {
        double d = (double)w2[i] - w1[i];
        double e = 0.5 * (((double)w3[i] - w1[i]) + ((double)w4[i] - w2[i]));
        out[i] = (float)(w1[i] + (a * d + b * e));
    }
}

// MARK: Symmetric eigenvalues

/// a = Q T Qᵀ with T tridiagonal: `diagonal` [n], `beside` [n] (element i couples i and i + 1).
/// Reflector k stays in row k of `v` [n, n] (elements k + 1 …) with `beta[k]`.
static void tridiagonal(
    int64_t n, double *a, double *diagonal, double *beside, double *v, double *beta, double *p
) {
    for (int64_t k = 0; k + 1 < n; k++) {
        diagonal[k] = a[k * n + k];
        double *x = v + k * n;
        int64_t m = n - k - 1;  // the part below the diagonal
        memcpy(x + k + 1, a + k * n + k + 1, (size_t)m * sizeof(double));
        double norm = sqrt(dot(m, x + k + 1, x + k + 1)), head = x[k + 1];
        double alpha = head > 0 ? -norm : norm;
        beta[k] = 0;
        if (m == 1 || norm == 0 || norm == fabs(head)) {
            beside[k] = head;
            continue;
        }
        beside[k] = alpha;
        double v0 = head - alpha;
        x[k + 1] = 1;
        for (int64_t i = k + 2; i < n; i++) x[i] /= v0;
        beta[k] = -v0 / alpha;
        // a -= v wᵀ + w vᵀ, w = p - (β/2)(pᵀ v) v, p = β a v, on the trailing part.
        memset(p, 0, (size_t)n * sizeof(double));
        for (int64_t i = k + 1; i < n; i++) add(m, x[i], a + i * n + k + 1, p + k + 1);
        for (int64_t i = k + 1; i < n; i++) p[i] *= beta[k];
        add(m, -0.5 * beta[k] * dot(m, p + k + 1, x + k + 1), x + k + 1, p + k + 1);
        for (int64_t i = k + 1; i < n; i++) {
            double *row = a + i * n;
            double s = x[i], t = p[i];
            for (int64_t j = k + 1; j < n; j++) row[j] -= s * p[j] + t * x[j];
        }
    }
    if (n > 0) {
        diagonal[n - 1] = a[n * n - 1];
        beside[n - 1] = 0;
    }
}

/// Eigenvalues of a tridiagonal matrix; its rotations also turn the rows of e [n, w].
static int32_t ql(int64_t n, double *d, double *b, int64_t w, double *e) {
    for (int64_t l = 0; l < n; l++) {
        for (int round = 0;; round++) {
            int64_t m = l;
            for (; m + 1 < n; m++) {
                if (fabs(b[m]) <= DBL_EPSILON * 0.5 * (fabs(d[m]) + fabs(d[m + 1]))) break;
                if (fabs(b[m]) < DBL_MIN) break;
            }
            if (m == l) break;
            if (round == 60) return 1;
            // Wilkinson's shift from the leading two by two.
            double g = (d[l + 1] - d[l]) / (2 * b[l]), r = sqrt(g * g + 1);
            double shift = d[l] - b[l] / (g + (g >= 0 ? r : -r));
            g = d[m] - shift;
            double s = 1, c = 1, p = 0;
            int64_t i = m - 1;
            for (; i >= l; i--) {
                double f = s * b[i], h = c * b[i];
                // hypot without its library: the magnitudes differ by at most a few powers of ten.
                double big = fabs(f) > fabs(g) ? fabs(f) : fabs(g);
                if (big == 0) {
                    b[i + 1] = 0;
                    d[i + 1] -= p;
                    b[m] = 0;
                    break;
                }
                double fs = f / big, gs = g / big;
                r = big * sqrt(fs * fs + gs * gs);
                b[i + 1] = r;
                s = f / r;
                c = g / r;
                g = d[i + 1] - p;
                double q = (d[i] - g) * s + 2 * c * h;
                p = s * q;
                d[i + 1] = g + p;
                g = c * q - h;
                double *x = e + i * w, *y = x + w;
                for (int64_t j = 0; j < w; j++) {
                    double t = y[j];
                    y[j] = s * x[j] + c * t;
                    x[j] = c * x[j] - s * t;
                }
            }
            if (i >= l) continue;
            d[l] -= p;
            b[l] = g;
            b[m] = 0;
        }
    }
    return 0;
}

int32_t ek_lox_eigen(
    int64_t n, double *a, int64_t first, int64_t last, double *values, double *vectors
) {
    if (n == 0) return 0;
    int64_t w = last - first;
    double *memory = calloc((size_t)(n * n + 4 * n + n * w), sizeof(double));
    if (!memory) abort();
    double *v = memory, *d = v + n * n, *b = d + n, *beta = b + n, *p = beta + n, *e = p + n;
    tridiagonal(n, a, d, b, v, beta, p);
    // e = Qᵀ's columns [first, last): reflectors in turn on the identity's columns.
    for (int64_t j = 0; j < w; j++) e[(first + j) * w + j] = 1;
    double *line = calloc((size_t)(w + 1), sizeof(double));
    if (!line) abort();
    for (int64_t k = 0; k + 1 < n; k++) {
        if (beta[k] == 0) continue;
        memset(line, 0, (size_t)w * sizeof(double));
        for (int64_t i = k + 1; i < n; i++) add(w, v[k * n + i], e + i * w, line);
        for (int64_t i = k + 1; i < n; i++) add(w, -beta[k] * v[k * n + i], line, e + i * w);
    }
    int32_t status = ql(n, d, b, w, e);
    // Largest first; equal values keep their order.
    for (int64_t i = 0; i < n; i++) {
        int64_t at = 0;
        for (int64_t j = 0; j < n; j++) at += d[j] > d[i] || (d[j] == d[i] && j < i);
        values[at] = d[i];
        memcpy(vectors + at * w, e + i * w, (size_t)w * sizeof(double));
    }
    free(line);
    free(memory);
    return status;
}

// MARK: One-sided Jacobi

int32_t ek_lox_jacobi(int64_t n, int64_t m, double *a, double *v, double *values) {
    for (int64_t i = 0; i < n; i++) {
        for (int64_t j = 0; j < n; j++) v[i * n + j] = i == j;
    }
    double *norms = calloc((size_t)(n + 1), sizeof(double));
    if (!norms) abort();
    int32_t status = n > 1;
    for (int sweep = 0; status && sweep < 60; sweep++) {
        status = 0;
        double largest = 0;
        for (int64_t i = 0; i < n; i++) {
            norms[i] = dot(m, a + i * m, a + i * m);
            if (norms[i] > largest) largest = norms[i];
        }
        for (int64_t i = 0; i + 1 < n; i++) {
            for (int64_t j = i + 1; j < n; j++) {
                double *x = a + i * m, *y = a + j * m;
                double xx = norms[i], yy = norms[j];
                // Lengths below 1e-150 of the longest are zero to f64.
                if (xx <= largest * 1e-300 || yy <= largest * 1e-300) continue;
                double xy = dot(m, x, y);
                if (fabs(xy) <= 4 * DBL_EPSILON * sqrt(xx) * sqrt(yy)) continue;
                status = 1;
                double zeta = (yy - xx) / (2 * xy);
                double t = (zeta >= 0 ? 1 : -1) / (fabs(zeta) + sqrt(1 + zeta * zeta));
                double c = 1 / sqrt(1 + t * t), s = c * t;
                for (int64_t k = 0; k < m; k++) {
                    double p = x[k], q = y[k];
                    x[k] = c * p - s * q;
                    y[k] = s * p + c * q;
                }
                double *vx = v + i * n, *vy = v + j * n;
                for (int64_t k = 0; k < n; k++) {
                    double p = vx[k], q = vy[k];
                    vx[k] = c * p - s * q;
                    vy[k] = s * p + c * q;
                }
                norms[i] = dot(m, x, x);
                norms[j] = dot(m, y, y);
            }
        }
    }
    // Largest first by exchange; equal lengths keep their order.
    for (int64_t i = 0; i < n; i++) values[i] = sqrt(dot(m, a + i * m, a + i * m));
    for (int64_t i = 0; i < n; i++) {
        int64_t best = i;
        for (int64_t j = i + 1; j < n; j++) {
            if (values[j] > values[best]) best = j;
        }
        if (best == i) continue;
        double value = values[best];
        double *held = malloc((size_t)(m + n) * sizeof(double));
        if (!held) abort();
        memcpy(held, a + best * m, (size_t)m * sizeof(double));
        memcpy(held + m, v + best * n, (size_t)n * sizeof(double));
        for (int64_t j = best; j > i; j--) {
            values[j] = values[j - 1];
            memcpy(a + j * m, a + (j - 1) * m, (size_t)m * sizeof(double));
            memcpy(v + j * n, v + (j - 1) * n, (size_t)n * sizeof(double));
        }
        values[i] = value;
        memcpy(a + i * m, held, (size_t)m * sizeof(double));
        memcpy(v + i * n, held + m, (size_t)n * sizeof(double));
        free(held);
    }
    free(norms);
    return status;
}
