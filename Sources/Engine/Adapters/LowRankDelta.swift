// The best low-rank part of a weight difference, and what is known of its accuracy. How it is found is
// in LinearAlgebra/BlockLanczos.swift; what LoX does with it in LoX.swift.

internal import EngineKernels

/// The leading singular triplets of a weight difference: `Proj_k(ΔW) = u · diag(singularValues) · vᵀ`.
///
/// One decomposition serves every smaller rank (``truncated(to:)``) and every coefficient.
/// Signs: the entry of largest magnitude in each left vector is positive, the first such on a tie.
public struct LowRankDelta: Sendable {
    /// `[output, input]`: the shape of the difference.
    public let shape: [Int]
    /// Largest first.
    public let singularValues: [Double]
    /// For each triplet, measured in f64: `max(‖ΔW v − σ u‖, ‖ΔWᵀ u − σ v‖)`. A singular value of ΔW lies
    /// within it of each of ours (Weyl).
    public let residuals: [Double]
    /// The next singular value, as far as it was found: a lower bound; 0 where there is none.
    public let nextSingularValue: Double
    /// ‖ΔW‖ in the Frobenius norm.
    public let frobeniusNorm: Double
    /// Readings of the difference that it took.
    public let passes: Int
    /// Left singular vectors as columns, `[output, rank]`, row-major, each of length 1.
    package let left: [Double]
    /// Right singular vectors as columns, `[input, rank]`, row-major, each of length 1.
    package let right: [Double]

    /// Left singular vectors as columns, `[output, rank]`, rounded to f32.
    public var u: Tensor { Tensor(left.map(Float.init), shape: [shape[0], rank]) }
    /// Right singular vectors as columns, `[input, rank]`, rounded to f32.
    public var v: Tensor { Tensor(right.map(Float.init), shape: [shape[1], rank]) }

    /// How many triplets there are: the rank asked for, or that of the difference where it is smaller.
    public var rank: Int { singularValues.count }
    /// The largest residual relative to the largest singular value; 0 for a difference of zero.
    public var relativeResidual: Double {
        guard let largest = singularValues.first else { return 0 }
        return (residuals.max() ?? 0) / largest
    }
    /// `σ_{k+1} / σ_k`: near 1, which directions belong to the top k is a matter of rounding.
    public var gapRatio: Double {
        guard let last = singularValues.last else { return 0 }
        return nextSingularValue / last
    }
    /// Whether the gap is so small (ratio above 0.98) that the top-k subspace is ill-determined, whatever
    /// the solver.
    public var isIllDetermined: Bool { gapRatio > 0.98 }
    /// Wedin's bound on the sine of the angle to the true subspace, residual over gap; nil without a gap.
    public var subspaceErrorBound: Double? {
        guard let last = singularValues.last, let worst = residuals.max() else { return 0 }
        let gap = last - nextSingularValue
        return gap > worst ? worst / gap : nil
    }
    /// The share of the difference's squared norm that these directions hold: the square of R_align.
    public var energy: Double {
        let squares = singularValues.reduce(0) { $0 + $1 * $1 }
        return frobeniusNorm > 0 ? squares / (frobeniusNorm * frobeniusNorm) : 0
    }

    package init(
        shape: [Int], left: [Double], singularValues: [Double], right: [Double],
        residuals: [Double], nextSingularValue: Double = 0, frobeniusNorm: Double, passes: Int = 0
    ) {
        precondition(
            left.count == shape[0] * singularValues.count
                && right.count == shape[1] * singularValues.count,
            "\(singularValues.count) triplets of \(shape) need as many vectors on either side")
        self.shape = shape
        self.left = left
        self.singularValues = singularValues
        self.right = right
        self.residuals = residuals
        self.nextSingularValue = nextSingularValue
        self.frobeniusNorm = frobeniusNorm
        self.passes = passes
    }

    /// A triplet below this share of σ₁ changes the low-rank part by less than a tenth of the residual
    /// that was asked for, and is left out.
    static func negligible(target: Double) -> Double { max(1e-9, 0.1 * target) }

    /// The leading `rank` triplets.
    public func truncated(to rank: Int) -> LowRankDelta {
        precondition(rank >= 0, "a rank is at least 0, not \(rank)")
        if rank >= self.rank { return self }
        return LowRankDelta(
            shape: shape,
            left: Self.leading(left, rows: shape[0], width: self.rank, count: rank),
            singularValues: Array(singularValues[..<rank]),
            right: Self.leading(right, rows: shape[1], width: self.rank, count: rank),
            residuals: Array(residuals[..<rank]), nextSingularValue: singularValues[rank],
            frobeniusNorm: frobeniusNorm, passes: passes)
    }

    /// `u · diag(singularValues) · vᵀ` as a matrix `[output, input]`, f32, summed in f64.
    public func dense() -> Tensor { dense(rounding: .once) }

    /// The same, rounded as `rounding` says.
    package func dense(rounding: LoX.Options.Rounding) -> Tensor {
        let zeros = Tensor(zeros: shape)
        if rank == 0 { return zeros }
        return LoX.sum(
            zeros, self, coefficient: 1, rounding: rounding, precision: .float32, dtype: .f32
        ).tensor
    }

    /// `u · diag(s)` `[output, rank]` and `vᵀ` `[rank, input]` in f64, as the kernels take them.
    /// - Parameter narrow: u, s, v and the product u s each rounded to f32, as where all of it is computed in f32.
    func factors(narrow: Bool) -> (us: [Double], vt: [Double]) {
        if narrow {
            let (s, v) = (singularValues.map(Float.init), right.map { Double(Float($0)) })
            return (
                left.indices.map { Double(Float(left[$0]) * s[$0 % rank]) }, transposed(v)
            )
        }
        var us = left
        for i in us.indices { us[i] *= singularValues[i % rank] }
        return (us, transposed(right))
    }

    /// `[input, rank]` as `[rank, input]`.
    private func transposed(_ right: [Double]) -> [Double] {
        var vt = [Double](repeating: 0, count: right.count)
        for c in 0..<shape[1] {
            for i in 0..<rank { vt[i * shape[1] + c] = right[c * rank + i] }
        }
        return vt
    }
}

extension LowRankDelta {
    /// Finds the leading triplets of a difference.
    /// - Parameter target: The residual wanted, relative to the largest singular value.
    /// - Throws: ``LinearAlgebraError`` with reason `.nonFinite` or `.notConverged`.
    init(
        _ difference: WeightDifference, rank: Int, target: Double, maximumPasses: Int
    ) throws(LinearAlgebraError) {
        precondition(rank >= 0, "a rank is at least 0, not \(rank)")
        precondition(target > 0, "a residual target is positive, not \(target)")
        let (rows, columns) = (difference.rows, difference.columns)
        let wanted = min(rank, rows, columns)
        var search = BlockLanczos(
            difference, rank: wanted, target: target, maximumPasses: maximumPasses)
        let triplets: BlockLanczos.Triplets?
        if wanted == 0 {
            triplets = nil
        } else if BlockLanczos.isSmall(rows: rows, columns: columns, rank: wanted) {
            triplets = try search.runWhole()
        } else {
            triplets = try search.run()
        }
        guard let triplets, let largest = triplets.values.first, largest > 0 else {
            self.init(
                shape: [rows, columns], left: [], singularValues: [], right: [], residuals: [],
                frobeniusNorm: 0, passes: search.passes)
            return
        }
        let least = Self.negligible(target: target) * largest
        let count = triplets.values[..<wanted].prefix { $0 > least }.count
        let scale = Double(search.difference.scale)
        var (u, v) = (
            Self.leading(triplets.u, rows: rows, width: triplets.width, count: count),
            Self.leading(triplets.v, rows: columns, width: triplets.width, count: count)
        )
        Self.fixSigns(&u, &v, count: count)
        self.init(
            shape: [rows, columns], left: u,
            singularValues: triplets.values[..<count].map { $0 / scale }, right: v,
            residuals: triplets.residuals[..<count].map { $0 / scale },
            nextSingularValue: count < triplets.width ? triplets.values[count] / scale : 0,
            frobeniusNorm: triplets.sumOfSquares.squareRoot() / scale, passes: search.passes)
    }

    private static func leading(
        _ block: [Double], rows: Int, width: Int, count: Int
    ) -> [Double] {
        var result = [Double](repeating: 0, count: rows * count)
        for r in 0..<rows {
            for i in 0..<count { result[r * count + i] = block[r * width + i] }
        }
        return result
    }

    /// Makes the entry of largest magnitude in each column of `u` positive.
    static func fixSigns(_ u: inout [Double], _ v: inout [Double], count: Int) {
        for i in 0..<count {
            var best = i
            for at in stride(from: i, to: u.count, by: count)
            where u[at].magnitude > u[best].magnitude { best = at }
            if u.isEmpty || u[best] >= 0 { continue }
            for at in stride(from: i, to: u.count, by: count) { u[at] = -u[at] }
            for at in stride(from: i, to: v.count, by: count) { v[at] = -v[at] }
        }
    }
}
