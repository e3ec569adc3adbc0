// Direct preference optimization (Rafailov et al. 2023, arXiv:2305.18290) and two of its relatives, as
// trl's DPOTrainer computes them.

/// Two answers to one prompt.
public struct PreferencePair: Sendable, Hashable, Codable {
    public var prompt: [Int32]
    /// The better answer; its end-of-text token included.
    public var chosen: [Int32]
    public var rejected: [Int32]
    public init(prompt: [Int32], chosen: [Int32], rejected: [Int32]) {
        self.prompt = prompt
        self.chosen = chosen
        self.rejected = rejected
    }
}

/// The loss of a pair as a function of `h`, the chosen answer's log-ratio (policy to reference) less the
/// rejected one's.
public enum PreferenceLoss: Sendable, Hashable, Codable {
    /// `−ln σ(β h)`, and with smoothing ε: `−(1 − ε) ln σ(β h) − ε ln σ(−β h)` (arXiv:2305.18290, Eq. 7).
    case sigmoid(labelSmoothing: Double = 0)
    /// `(h − 1/(2β))²` on log-probabilities per token (arXiv:2310.12036, Eq. 17).
    case ipo
    /// `max(0, 1 − β h)` (arXiv:2305.10425).
    case hinge

    /// The loss and its derivative with respect to `h`.
    package func value(_ h: Double, beta: Double) -> (loss: Double, slope: Double) {
        switch self {
        case .sigmoid(let smoothing):
            let z = beta * h
            let (up, down) = (Self.softplus(-z), Self.softplus(z))
            // σ(−z) from the smaller exponential.
            let e = PortableMath.exp(-min(abs(z), 700))
            let toward = z >= 0 ? e / (1 + e) : 1 / (1 + e)
            return (
                (1 - smoothing) * up + smoothing * down,
                beta * (-(1 - smoothing) * toward + smoothing * (1 - toward))
            )
        case .ipo:
            let distance = h - 1 / (2 * beta)
            return (distance * distance, 2 * distance)
        case .hinge:
            let slack = 1 - beta * h
            return slack > 0 ? (slack, -beta) : (0, 0)
        }
    }

    /// ln(1 + eˣ).
    private static func softplus(_ x: Double) -> Double {
        let e = PortableMath.exp(-min(abs(x), 700))
        return max(x, 0) + PortableMath.log(1 + e)
    }

    var isPerToken: Bool { self == .ipo }
}

/// What preference training adds to ``TrainingOptions``.
public struct PreferenceOptions: Sendable, Codable {
    /// How strongly the policy is held to the reference, β.
    public var beta: Double
    public var loss: PreferenceLoss
    /// Weight of the chosen answers' mean negative log-likelihood per token, added to the loss; 0 is
    /// plain DPO.
    public var likelihoodWeight: Double
    public init(beta: Double = 0.1, loss: PreferenceLoss = .sigmoid(), likelihoodWeight: Double = 0)
    {
        precondition(beta > 0, "β is positive, not \(beta)")
        self.beta = beta
        self.loss = loss
        self.likelihoodWeight = likelihoodWeight
    }

    /// What a resumption must share: another loss would go on to another model.
    var outline: String { "\(loss) beta \(beta) likelihood \(likelihoodWeight)" }
}

/// Trains a model to prefer the chosen answers, held to a reference that does not change.
///
/// A step's loss is the mean over its pairs. Rewards are `β` times log-ratios; `TrainingStep` reports
/// their mean difference and the share of pairs where it is positive.
/// - Parameters:
///   - reference: usually the model as it was. Its log-probabilities are computed once.
///   - options: `reduction`, `packing` and `maximumLength` have no meaning here.
/// - Throws: ``TrainingError`` as ``train(_:on:with:_:using:onStep:)``.
@discardableResult
public func trainDPO(
    _ model: inout LanguageModel, reference: LanguageModel, on pairs: [PreferencePair],
    with optimizer: AdamW, _ preference: PreferenceOptions = PreferenceOptions(),
    _ options: TrainingOptions = TrainingOptions(), using random: inout RandomStream,
    onStep: (TrainingStep) throws -> Void = { _ in }
) throws -> TrainingSummary {
    for pair in pairs {
        try model.check(pair.prompt + pair.chosen + pair.rejected, [])
        guard !pair.prompt.isEmpty, !pair.chosen.isEmpty, !pair.rejected.isEmpty else {
            throw TrainingError(.nothingToLearn)
        }
    }
    let references = reference.scores(
        of: pairs.flatMap { [($0.prompt, $0.chosen), ($0.prompt, $0.rejected)] })
    if references.contains(where: { !$0.logProbability.isFinite }) {
        throw TrainingError(
            .nonFiniteLoss,
            tensor: "the reference's " + (reference.firstNonFiniteTensor() ?? "log-probabilities"))
    }
    var run = try TrainingRun(
        &model, rowCount: pairs.count, kind: "preference \(preference.outline)",
        optimizer: optimizer, options: options, random: &random)
    var rope = RotaryTables(model.configuration)
    rope.extend(
        to: pairs.map { $0.prompt.count + max($0.chosen.count, $0.rejected.count) }.max() ?? 0)
    return try run.run(&model, onStep: onStep) { run, model, indices in
        let pairCount = Double(indices.joined().count)
        let chosenTokens = Double(indices.joined().reduce(0) { $0 + pairs[$1].chosen.count })
        let transformer = Transformer(model)
        var result = StepResult(loss: 0, tokenCount: 0, accuracy: 0, margin: 0)
        for (i, batch) in indices.enumerated() {
            let tape = Tape(recording: true, parameters: run.optimization.gradients)
            let terms = try transformer.preferenceTerms(
                batch.map { pairs[$0] },
                references: batch.map {
                    (references[2 * $0].logProbability, references[2 * $0 + 1].logProbability)
                }, preference, rope: rope, on: tape, dropout: run.dropout(model, batch: i),
                checkpointing: options.gradientCheckpointing, pairCount: pairCount,
                chosenTokens: chosenTokens, step: run.optimization.step + 1, model: model)
            tape.backward()
            run.stepActivationBytes = max(run.stepActivationBytes, tape.peakActivationBytes)
            result.loss += terms.loss
            result.tokenCount += terms.tokenCount
            for margin in terms.margins {
                result.margin! += margin / pairCount
                if margin > 0 { result.accuracy! += 1 / pairCount }
            }
        }
        return result
    }
}

/// What a batch of pairs gives: its share of the loss, and each pair's rewards.
package struct PreferenceTerms {
    package var loss = 0.0
    package var losses: [Double] = []
    package var chosenLogProbabilities: [Double] = []
    package var rejectedLogProbabilities: [Double] = []
    /// Reward of the chosen answer less that of the rejected one.
    package var margins: [Double] = []
    package var tokenCount = 0
}

extension Transformer {
    /// Computes a batch's loss and seeds its gradient.
    package func preferenceTerms(
        _ pairs: [PreferencePair], references: [(chosen: Double, rejected: Double)],
        _ options: PreferenceOptions, rope: RotaryTables, on tape: Tape,
        dropout: UpdateDropout? = nil, checkpointing: Bool = false, pairCount: Double,
        chosenTokens: Double, step: Int, model: LanguageModel
    ) throws -> PreferenceTerms {
        let batch = TrainingBatch(
            pairs.map { pair in
                TrainingRow(segments: [
                    TrainingExample(prompt: pair.prompt, completion: pair.chosen),
                    TrainingExample(prompt: pair.prompt, completion: pair.rejected),
                ])
            })
        let hidden = self(
            batch.tokens, rows: PackedRows(lengths: batch.lengths), rope: rope, on: tape,
            dropout: dropout, checkpointing: checkpointing)
        let x = finalNorm(chosenRows(hidden, batch.chosen, on: tape), on: tape)
        // The gradient's weights depend on all rows' losses: once for those, once more for the gradient.
        let rowLosses = head.crossEntropy(x, labels: batch.labels, weights: nil, on: tape).values
        let counts = batch.labelCounts
        var sums = [Double](repeating: 0, count: counts.count)
        for (loss, segment) in zip(rowLosses, batch.segmentOf) { sums[segment] -= loss }
        var terms = PreferenceTerms()
        terms.tokenCount = batch.tokens.count
        var slopes = [Double](repeating: 0, count: counts.count)
        for (i, reference) in references.enumerated() {
            let (chosen, rejected) = (2 * i, 2 * i + 1)
            let perToken = options.loss.isPerToken
            let scales = [chosen, rejected].map { perToken ? 1 / Double(counts[$0]) : 1.0 }
            let h =
                (sums[chosen] - reference.chosen) * scales[0]
                - (sums[rejected] - reference.rejected) * scales[1]
            guard h.isFinite else { throw nonFinite(batch, rope, model, step: step) }
            let (loss, slope) = options.loss.value(h, beta: options.beta)
            terms.losses.append(loss)
            terms.loss += loss / pairCount - options.likelihoodWeight * sums[chosen] / chosenTokens
            terms.chosenLogProbabilities.append(sums[chosen])
            terms.rejectedLogProbabilities.append(sums[rejected])
            terms.margins.append(
                options.beta
                    * ((sums[chosen] - reference.chosen) - (sums[rejected] - reference.rejected)))
            // d loss / d (−ln p) of each row: the sign turns.
            slopes[chosen] =
                -slope * scales[0] / pairCount + options.likelihoodWeight / chosenTokens
            slopes[rejected] = slope * scales[1] / pairCount
        }
        guard terms.loss.isFinite else { throw nonFinite(batch, rope, model, step: step) }
        _ = head.crossEntropy(
            x, labels: batch.labels, weights: batch.segmentOf.map { Float(slopes[$0]) }, on: tape)
        return terms
    }
}
