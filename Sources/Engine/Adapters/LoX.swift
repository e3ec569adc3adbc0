// LoX: Perin et al. 2025, "LoX: Low-Rank Extrapolation Robustifies LLM Safety Against Fine-tuning",
// arXiv:2506.15606. One weight at a time; whole models are in LoX+Models.swift.

internal import EngineKernels

/// Low-rank extrapolation of what alignment changed:
/// `W = W_aligned + coefficient · Proj_k(W_aligned − W_base)`.
///
/// `Proj_k(ΔW) = U_k U_kᵀ ΔW`, the best approximation of rank k. Our `rank` is the paper's k, our
/// `coefficient` its α. Rank 0 extrapolates the whole difference, as the published code does (ExPO,
/// Zheng et al. 2024, arXiv:2404.16792). Weights are `[output, input]`, so the left vectors lie on the
/// output side. Source: §4, Eq. 5, and the published `safety/LoX.py`.
public enum LoX {
    /// How a decomposition is found, and how the sum is rounded.
    public struct Options: Sendable, Hashable {
        /// In what precision the difference is taken.
        public var deltaPrecision: DeltaPrecision
        public var rounding: Rounding
        /// The residual wanted of every triplet, relative to the largest singular value.
        public var residualTarget: Double
        /// Readings of a difference before the search gives up.
        public var maximumPasses: Int

        /// In what precision the difference is taken.
        public enum DeltaPrecision: String, Sendable, Hashable, CaseIterable {
            /// f32 from the stored values.
            case float32
            /// Weights rounded to bf16 as they are read, their difference rounded to bf16.
            case bfloat16
        }

        /// How `W_aligned + coefficient · M` is rounded.
        public enum Rounding: String, Sendable, Hashable, CaseIterable {
            /// Summed in f64, rounded to f32 and then to the stored type.
            case once
            /// As the published code: U, S and V in f32, `U S` rounded to f32, `M = (U S) Vᵀ` an ascending chain of f32
            /// multiply-adds, `coefficient · M` in f32, the sum in f32, the result in bf16; with rank 0,
            /// `coefficient · ΔW` in bf16 and the sum in bf16.
            case published
        }

        public init(
            deltaPrecision: DeltaPrecision = .float32, rounding: Rounding = .once,
            residualTarget: Double = 1e-5, maximumPasses: Int = 300
        ) {
            self.deltaPrecision = deltaPrecision
            self.rounding = rounding
            self.residualTarget = residualTarget
            self.maximumPasses = maximumPasses
        }

        /// The published code's precision and rounding; the result is bf16.
        ///
        /// Rank 0 gives its bits. Above it every rounding is the published one, to the bit, from the factors U, S, V on
        /// (for weights of at least four rows: below, PyTorch's product on a CPU rounds each term). The factors are not
        /// the published ones to the bit, and no build's are another's: LAPACK's f32 SVD has an error of about 1e-6 of
        /// its own, which depends on the library and its CPU. Ours are the exact ones rounded to f32. That turns a few
        /// of the last roundings, each by one unit of bf16: in our fixtures at most 1 in 1,000 elements, and 1 in 20
        /// where the rank cuts nothing off, since exact sums lie on ties there.
        public static let published = Options(
            deltaPrecision: .bfloat16, rounding: .published, residualTarget: 1e-9)
    }

    /// The leading singular triplets of `aligned − base`, read tile by tile and never stored whole.
    ///
    /// - Parameters:
    ///   - aligned: `[output, input]`, f32, bf16 or f16; may be a window on a mapped checkpoint.
    ///   - base: The same shape.
    ///   - name: What to call the weight in an error.
    /// - Throws: ``LinearAlgebraError`` where an element is not finite, or the residual is not reached;
    ///   ``LoXError`` where shapes or types do not fit.
    public static func decompose(
        aligned: Tensor, base: Tensor, rank: Int, options: Options = Options(),
        name: String = "weight"
    ) throws -> LowRankDelta {
        try LowRankDelta(
            difference(aligned: aligned, base: base, options: options, name: name), rank: rank,
            target: options.residualTarget, maximumPasses: options.maximumPasses)
    }

    /// The extrapolated weight: `aligned + coefficient · delta`.
    ///
    /// - Returns: In the type of `aligned`; in bf16 with rounding `.published`.
    /// - Throws: ``LoXError`` with reason `.overflow`.
    public static func extrapolate(
        _ aligned: Tensor, along delta: LowRankDelta, coefficient: Double,
        options: Options = Options(), name: String = "weight"
    ) throws -> Tensor {
        let result = sum(
            aligned, delta, coefficient: coefficient, rounding: options.rounding,
            precision: options.deltaPrecision, dtype: resultType(aligned, options))
        if !result.isFinite { throw LoXError(.overflow(result.tensor.dtype), tensor: name) }
        return result.tensor
    }

    /// The weight with the leading part of its change extrapolated; rank 0 takes the whole change.
    ///
    /// A tensor that is not a matrix (a norm's weight) is returned as it is, in the result's type.
    public static func extrapolate(
        aligned: Tensor, base: Tensor, rank: Int, coefficient: Double,
        options: Options = Options(), name: String = "weight"
    ) throws -> Tensor {
        if aligned.shape.count != 2 {
            return aligned.converted(to: resultType(aligned, options))
        }
        if rank == 0 {
            return try extrapolateWhole(
                aligned: aligned, base: base, coefficient: coefficient, options: options,
                name: name)
        }
        let delta = try decompose(
            aligned: aligned, base: base, rank: rank, options: options, name: name)
        return try extrapolate(
            aligned, along: delta, coefficient: coefficient, options: options, name: name)
    }

    /// ExPO: `aligned + coefficient · (aligned − base)`.
    private static func extrapolateWhole(
        aligned: Tensor, base: Tensor, coefficient: Double, options: Options, name: String
    ) throws -> Tensor {
        let delta = try difference(aligned: aligned, base: base, options: options, name: name)
        let result = run(
            delta, rank: 0, us: nil, vt: nil, coefficient: coefficient, rounding: options.rounding,
            dtype: resultType(aligned, options))
        if !result.isFinite { throw LoXError(.overflow(result.tensor.dtype), tensor: name) }
        return result.tensor
    }

    static func difference(
        aligned: Tensor, base: Tensor, tuned: Tensor? = nil, options: Options, name: String
    ) throws(LoXError) -> WeightDifference {
        try WeightDifference(
            aligned: aligned, base: base, tuned: tuned,
            precision: options.deltaPrecision == .bfloat16 ? .bfloat16 : .float32, name: name)
    }

    static func resultType(_ aligned: Tensor, _ options: Options) -> DType {
        options.rounding == .published ? .bf16 : aligned.dtype
    }

    /// `aligned + coefficient · delta` in `dtype`, and whether every element is finite.
    static func sum(
        _ aligned: Tensor, _ delta: LowRankDelta, coefficient: Double, rounding: Options.Rounding,
        precision: Options.DeltaPrecision, dtype: DType
    ) -> (tensor: Tensor, isFinite: Bool) {
        precondition(
            aligned.shape == delta.shape, "a delta of \(delta.shape) does not fit \(aligned.shape)")
        guard
            let weight = try? WeightDifference(
                aligned: aligned, base: nil,
                precision: precision == .bfloat16 ? .bfloat16 : .float32, name: "")
        else { preconditionFailure("weights are f32, bf16 or f16, not \(aligned.dtype)") }
        if delta.rank == 0 {
            // One direction of length zero: the sum is the weight, rounded as any other.
            let (us, vt) = (
                [Double](repeating: 0, count: weight.rows),
                [Double](repeating: 0, count: weight.columns)
            )
            return run(
                weight, rank: 1, us: us, vt: vt, coefficient: coefficient, rounding: rounding,
                dtype: dtype)
        }
        let (us, vt) = delta.factors(narrow: rounding == .published)
        return run(
            weight, rank: delta.rank, us: us, vt: vt, coefficient: coefficient, rounding: rounding,
            dtype: dtype)
    }

    private static func run(
        _ delta: WeightDifference, rank: Int, us: [Double]?, vt: [Double]?, coefficient: Double,
        rounding: Options.Rounding, dtype: DType
    ) -> (tensor: Tensor, isFinite: Bool) {
        let result = Tensor(uninitialized: delta.aligned.shape, dtype: dtype)
        var seen = ek_lox_seen()
        delta.withKernel {
            ek_lox_extrapolate(
                $0, Int64(rank), us, vt, coefficient,
                Int32(rounding == .published ? EK_LOX_PUBLISHED : EK_LOX_ONCE),
                WeightDifference.code(dtype)!, result.storage.base, &seen)
        }
        // What would round to infinity in the stored type: half a unit beyond its largest number.
        let limit: Float =
            switch dtype {
            case .f16: 65520
            case .bf16: 0x1.ffp127
            default: .infinity
            }
        return (result, seen.nonfinite == 0 && seen.largest < limit)
    }
}
