// One number from many, summed in an order that the count alone fixes.

internal import EngineKernels

extension Tensor {
    /// The sum of all elements, accumulated in f64.
    public func sum() -> Double { withUnsafeFloats { ek_sum_f64($0.count, $0.baseAddress) } }

    /// The mean of all elements, accumulated in f64; NaN of nothing.
    public func mean() -> Double { sum() / Double(count) }

    /// The Euclidean (Frobenius) norm, accumulated in f64.
    public func norm() -> Double { dot(self).squareRoot() }

    /// Σ a b over all elements, accumulated in f64.
    /// - Precondition: the shapes agree.
    public func dot(_ other: Tensor) -> Double {
        precondition(shape == other.shape, "dot: \(shape) and \(other.shape) differ")
        return withUnsafeFloats { x in
            other.withUnsafeFloats { y in ek_dot_f64(x.count, x.baseAddress, y.baseAddress) }
        }
    }

    /// The largest element; NaN where any is NaN, -infinity of nothing.
    public func max() -> Float { withUnsafeFloats { ek_max($0.count, $0.baseAddress) } }

    /// The index of the largest along the last axis, the lowest where several are.
    public func argmax() -> [Int] {
        let columns = shape.last ?? 1
        precondition(columns > 0, "argmax: the last axis of \(shape) is empty")
        return withUnsafeFloats { x in
            (0..<(count / columns)).map { row in
                var best = 0
                for j in 1..<Swift.max(columns, 1)
                where x[row * columns + j] > x[row * columns + best] {
                    best = j
                }
                return best
            }
        }
    }
}
