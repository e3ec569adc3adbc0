// A change that a LoRA adapter made has a known rank: its decomposition is exact and nearly free.

extension LoX {
    /// The decomposition of an adapter's update `scale · B A`, without forming it.
    ///
    /// QR of B and of Aᵀ, then a `rank × rank` singular value decomposition: `B A = Q_B (R_B R_Aᵀ) Q_Aᵀ`.
    /// All in f64, so the residual is rounding. The update's own rank bounds the result's.
    public static func decompose(_ module: LoRAModule, rank: Int) -> LowRankDelta {
        precondition(rank >= 0, "a rank is at least 0, not \(rank)")
        let (inner, output, input) = (module.a.shape[0], module.b.shape[0], module.a.shape[1])
        let width = SmallFactorizations.roundedUp(inner, to: 8)
        // Both factors standing tall, padded with zeros to what the kernels take.
        let (tallLeft, tallRight) = (max(output, width), max(input, width))
        var left = [Double](repeating: 0, count: tallLeft * width)
        var right = [Double](repeating: 0, count: tallRight * width)
        let (b, a) = (module.b.converted(to: .f32), module.a.converted(to: .f32))
        b.withUnsafeFloats { b in
            for r in 0..<output {
                for i in 0..<inner { left[r * width + i] = Double(b[r * inner + i]) }
            }
        }
        a.withUnsafeFloats { a in
            for i in 0..<inner {
                for c in 0..<input { right[c * width + i] = Double(a[i * input + c]) }
            }
        }
        let r = SmallFactorizations.orthonormalize(&left, rows: tallLeft, width: width)
        let s = SmallFactorizations.orthonormalize(&right, rows: tallRight, width: width)
        // The core R_B R_Aᵀ, column by column.
        var core = [Double](repeating: 0, count: width * width)
        for j in 0..<width {
            for i in 0..<width {
                var sum = 0.0
                for k in max(i, j)..<width { sum += r[i * width + k] * s[j * width + k] }
                core[j * width + i] = sum * Double(module.scale)
            }
        }
        let small = SmallFactorizations.singularValues(columns: core, count: width, length: width)
        let largest = small.values.first ?? 0
        // Below this share a value is rounding of the f32 factors.
        let whole = small.values.prefix(min(inner, output, input)).prefix { $0 > 1e-9 * largest }
            .count
        let count = min(rank, whole)
        func turned(_ block: [Double], rows: Int, by turn: [Double]) -> [Double] {
            var result = [Double](repeating: 0, count: rows * count)
            for row in 0..<rows {
                for i in 0..<count {
                    var sum = 0.0
                    for j in 0..<width { sum += block[row * width + j] * turn[i * width + j] }
                    result[row * count + i] = sum
                }
            }
            return result
        }
        var (u, v) = (
            turned(left, rows: output, by: small.left), turned(right, rows: input, by: small.right)
        )
        LowRankDelta.fixSigns(&u, &v, count: count)
        let squares = small.values.reduce(0) { $0 + $1 * $1 }
        return LowRankDelta(
            shape: [output, input], left: u, singularValues: Array(small.values[..<count]),
            right: v,
            // Backward stable: a modest multiple of f64's unit of the largest value.
            residuals: [Double](repeating: 0x1p-50 * largest * Double(width), count: count),
            nextSingularValue: count < whole ? small.values[count] : 0,
            frobeniusNorm: squares.squareRoot())
    }
}
