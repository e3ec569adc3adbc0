// Logits and log-probabilities of given texts.

/// How likely a continuation is.
public struct ContinuationScore: Sendable, Hashable, Codable {
    /// Σ ln p over the continuation's tokens, in nats.
    public var logProbability: Double
    public var tokenCount: Int
    /// Whether greedy decoding would produce exactly these tokens.
    public var isGreedy: Bool
}

extension LanguageModel {
    /// Rows of tokens computed at once when scoring.
    static let scoringRows = 2048

    /// Logits of whole sequences, `[batch, T, vocabulary]` where T is the longest length; rows past a
    /// sequence's end are zero.
    public func logits(_ tokens: [[Int32]]) -> Tensor {
        let transformer = Transformer(self)
        let longest = tokens.map(\.count).max() ?? 0
        let vocabulary = configuration.vocabularySize
        var result = Tensor(zeros: [tokens.count, longest, vocabulary])
        let rows = PackedRows(lengths: tokens.map(\.count))
        guard rows.count > 0 else { return result }
        let (tape, rope) = prepared(longest)
        let hidden = transformer(tokens.flatMap { $0 }, rows: rows, rope: rope, on: tape)
        let packed = transformer.head.logits(transformer.finalNorm(hidden, on: tape).value)
        result.withUnsafeMutableFloats { values in
            packed.withUnsafeFloats { source in
                for (i, sequence) in tokens.enumerated() where !sequence.isEmpty {
                    let from = Int(rows.offsets[i]) * vocabulary
                    (values.baseAddress! + i * longest * vocabulary).update(
                        from: source.baseAddress! + from, count: sequence.count * vocabulary)
                }
            }
        }
        return result
    }

    /// The residual stream of one sequence: (scaled) embeddings, then each block's output, the last one
    /// after the final norm; `[layers + 1]` tensors `[T, hidden]`.
    public func hiddenStates(_ tokens: [Int32]) -> [Tensor] {
        let transformer = Transformer(self)
        let (tape, rope) = prepared(tokens.count)
        var states: [Tensor] = []
        let last = transformer(
            tokens, rows: PackedRows(lengths: [tokens.count]), rope: rope, on: tape
        ) { _, state in states.append(state) }
        states[states.count - 1] = transformer.finalNorm(last, on: tape).value
        return states
    }

    /// Log-probabilities of continuations, each after its context; the same bits whatever the batch.
    ///
    /// An empty context stands for the beginning of text where the model has such a token.
    /// - Precondition: no item is without a context where the model has no beginning-of-text token.
    public func scores(
        of items: [(context: [Int32], continuation: [Int32])]
    ) -> [ContinuationScore] {
        let transformer = Transformer(self)
        var results: [ContinuationScore] = []
        var batch: [(context: [Int32], continuation: [Int32])] = []
        var rows = 0
        var (tape, rope) = prepared(0)
        func finish() {
            let scored = Self.score(batch, transformer, rope, tape)
            results += scored
            (batch, rows) = ([], 0)
        }
        for item in items {
            let context = item.context.isEmpty ? beginning() : item.context
            let length = context.count + item.continuation.count
            if rows + length > Self.scoringRows, !batch.isEmpty { finish() }
            rope.extend(to: length)
            batch.append((context, item.continuation))
            rows += length
        }
        if !batch.isEmpty { finish() }
        return results
    }

    private static func score(
        _ batch: [(context: [Int32], continuation: [Int32])], _ transformer: Transformer,
        _ rope: RotaryTables, _ tape: Tape
    ) -> [ContinuationScore] {
        // The last token predicts nothing that is asked for.
        let sequences = batch.map { Array(($0.context + $0.continuation).dropLast()) }
        let packed = PackedRows(lengths: sequences.map(\.count))
        var chosen: [Int32] = []
        var labels: [Int32] = []
        for (i, item) in batch.enumerated() {
            let first = packed.offsets[i] + Int32(item.context.count) - 1
            for (j, token) in item.continuation.enumerated() {
                chosen.append(first + Int32(j))
                labels.append(token)
            }
        }
        let hidden = transformer(sequences.flatMap { $0 }, rows: packed, rope: rope, on: tape)
        let x = transformer.finalNorm(chosenRows(hidden, chosen, on: tape), on: tape)
        let losses = transformer.head.crossEntropy(x, labels: labels, weights: nil, on: tape)
        var position = 0
        return batch.map { item in
            let range = position..<position + item.continuation.count
            position = range.upperBound
            return ContinuationScore(
                logProbability: -range.reduce(0) { $0 + losses.values[$1] },
                tokenCount: range.count, isGreedy: range.allSatisfy { losses.isGreedy[$0] })
        }
    }

    private func beginning() -> [Int32] {
        guard let token = configuration.beginningOfText else {
            preconditionFailure("a continuation needs a context: this model has no beginning token")
        }
        return [token]
    }

    /// What a computation without gradients needs.
    package func prepared(_ positions: Int) -> (Tape, RotaryTables) {
        var rope = RotaryTables(configuration)
        rope.extend(to: positions)
        return (Tape(recording: false), rope)
    }
}
