// The effective rank of safety: how few directions of alignment's change keep the model safe. The search
// is here; what "safe" means is the caller's judge.

/// The smallest rank r whose model θ_r = base + (rank-r part of every change) fails hardly more often than
/// the aligned model: `rate(θ_r) − rate(θ_aligned) < threshold`.
///
/// Source: arXiv:2506.15606, §3, and `safety/effective_rank.py`. There, tensors that are not matrices take
/// the aligned value, but the base's at rank 0; a matrix with no more than r rows or columns keeps its
/// whole change.
public struct EffectiveRank: Sendable {
    /// The rate of the aligned model.
    public let alignedRate: Double
    /// The rate of each model, by rank, smallest first.
    public let rates: [(rank: Int, rate: Double)]
    public let threshold: Double
    /// nil where no rank that was tried is enough.
    public var rank: Int? { rates.first { $0.rate - alignedRate < threshold }?.rank }

    /// Tries ranks with one decomposition for all.
    /// - Parameters:
    ///   - ranks: The published code's by default.
    ///   - threshold: The paper's ρ.
    ///   - selection: Which matrices are reduced; the others keep their aligned values.
    ///   - rate: The judge: how often a model fails, 0 to 1. Called for the aligned model, then for each
    ///     rank from the largest.
    public init(
        aligned: LanguageModel, base: LanguageModel, ranks: [Int] = [8, 6, 4, 3, 2, 1, 0],
        threshold: Double = 0.01, selection: WeightSelection = .everyMatrix,
        options: LoX.Options = .init(), rate: (LanguageModel) throws -> Double
    ) throws {
        precondition(ranks.allSatisfy { $0 >= 0 }, "a rank is at least 0: \(ranks)")
        self.threshold = threshold
        let aligned = aligned.adapter == nil ? aligned : try aligned.merged()
        alignedRate = try rate(aligned)
        let largest = max(ranks.max() ?? 0, 1)
        let delta = try LoX.decompose(
            aligned: aligned, base: base, rank: largest, selection: selection, options: options)
        rates = try Set(ranks).sorted(by: >).map { rank in
            let model = try Self.model(
                aligned: aligned, base: base, delta: delta, rank: rank, selection: selection)
            return (rank, try rate(model))
        }.reversed()
    }

    /// θ_r: the base with the leading part of every selected change.
    public static func model(
        aligned: LanguageModel, base: LanguageModel, delta: LoX.ModelDelta, rank: Int,
        selection: WeightSelection = .everyMatrix
    ) throws -> LanguageModel {
        var result = aligned
        let (before, after) = (try WeightSet(base), try WeightSet(aligned))
        for name in after.names {
            let tensor = try after.tensor(name)
            if tensor.shape.count != 2 {
                if rank == 0 {
                    result.weights[name] = .dense(try before.tensor(name, of: "base"))
                }
                continue
            }
            guard
                selection.contains(
                    name, shape: tensor.shape, tiesEmbeddings: after.tiesEmbeddings),
                let change = delta.deltas[name], min(tensor.shape[0], tensor.shape[1]) > rank
            else { continue }
            let start = try before.tensor(name, of: "base")
            result.weights[name] = .dense(
                rank == 0
                    ? start
                    : try LoX.extrapolate(
                        start, along: change.truncated(to: rank), coefficient: 1,
                        options: delta.options, name: name))
        }
        return result
    }
}
