// The output embedding and the cross-entropy in one operator: logits exist for a few rows at a time and
// become their own gradient, so no [tokens, vocabulary] matrix is ever held. A head that is not trained is one
// kernel's affair (EngineKernels, head.c).

internal import EngineKernels

/// The layer that makes logits, and the loss on them.
package struct OutputHead {
    /// The parameter's name; the embedding's where they are tied.
    package var name: String
    /// `[vocabulary, hidden]`.
    package var weight: Weight
    /// Soft cap of the logits; 0 for none.
    package var softCap: Float
    /// The weights that are read after these where text is generated; may be empty.
    package var following: [Weight] = []
    /// Rows of logits held at once are at most this many elements: 64 MiB.
    static let chunkElements = 1 << 24

    package init(name: String, weight: Weight, softCap: Float) {
        self.name = name
        self.weight = weight
        self.softCap = softCap
    }

    var chunkRows: Int { max(64, Self.chunkElements / max(1, weight.shape[0]) / 64 * 64) }

    /// `[rows, vocabulary]`, soft-capped.
    package func logits(_ x: Tensor) -> Tensor {
        let y = Tensor(uninitialized: [x.shape[0], weight.shape[0]])
        product(x, 0..<x.shape[0], to: y)
        if softCap > 0 { ek_softcap(y.freshFloats, y.count, softCap) }
        return y
    }

    private func product(_ x: Tensor, _ rows: Range<Int>, to y: Tensor) {
        var left = x.columns(from: 0)
        left.data = UnsafeRawPointer(x.floats + rows.lowerBound * x.shape[1])
        multiply(
            [
                ek_gemm_call(
                    m: rows.count, n: weight.shape[0], k: x.shape[1], a: left,
                    b: weight.operand(transposed: true), c: y.freshFloats, ldc: weight.shape[0],
                    accumulate: false)
            ], then: following)
    }

    /// What the loss says of each row.
    package struct Losses {
        /// −ln p(label), in nats.
        package var values: [Double]
        /// Whether the label is the most likely token (the first of equals).
        package var isGreedy: [Bool]
    }

    /// Cross-entropy of each row against its label.
    ///
    /// Where `weights` is given, the gradient of `Σ weights · loss` is seeded on `x` and added to the
    /// head's own, if it is trained. The gradient's chains ascend over rows, whatever the chunks.
    /// - Parameters:
    ///   - x: `[rows, hidden]`, normalized.
    ///   - labels: `[rows]`, tokens of the vocabulary.
    ///   - weights: `[rows]`.
    package func crossEntropy(
        _ x: Variable, labels: [Int32], weights: [Float]?, on tape: Tape
    ) -> Losses {
        let (count, hidden, vocabulary) = (labels.count, weight.shape[1], weight.shape[0])
        precondition(x.value.shape == [count, hidden], "\(x.value.shape) rows for \(count) labels")
        for label in labels {
            precondition(
                label >= 0 && Int(label) < vocabulary,
                "label \(label) is not in a vocabulary of \(vocabulary)")
        }
        var losses = Losses(
            values: [Double](repeating: 0, count: count),
            isGreedy: [Bool](repeating: false, count: count))
        let gradient =
            weights != nil && x.needsGradient ? Tensor(uninitialized: x.value.shape) : nil
        // Whatever happens below, the gradient is the way back's beginning.
        defer { if let gradient { tape.seed(x, gradient: gradient) } }
        if isFrozen(on: tape) {
            frozenCrossEntropy(x.value, labels, gradient == nil ? nil : weights, &losses, gradient)
            return losses
        }
        let step = min(chunkRows, count)
        let logits = Tensor(uninitialized: [step, vocabulary])
        for start in stride(from: 0, to: count, by: max(1, step)) {
            let rows = start..<min(count, start + step)
            product(x.value, rows, to: logits)
            losses.values.withUnsafeMutableBufferPointer { values in
                losses.isGreedy.withUnsafeMutableBufferPointer { greedy in
                    labels.withUnsafeBufferPointer { labels in
                        withOptional(weights) { weights in
                            var a = ek_cross_entropy_t()
                            (a.rows, a.vocabulary, a.softcap) = (rows.count, vocabulary, softCap)
                            a.logits = logits.freshFloats
                            a.labels = labels.baseAddress! + start
                            a.weights = weights.map { $0 + start }
                            a.losses = values.baseAddress! + start
                            a.isGreedy = greedy.baseAddress! + start
                            ek_cross_entropy(&a)
                        }
                    }
                }
            }
            guard weights != nil else { continue }
            if let gradient {
                ek_gemm(
                    rows.count, hidden, vocabulary, logits.columns(from: 0),
                    weight.operand(transposed: false), gradient.freshFloats + start * hidden,
                    hidden,
                    false)
            }
            tape.parameters.add(to: name) { dw in
                var right = x.value.columns(from: 0)
                right.data = UnsafeRawPointer(x.value.floats + start * hidden)
                ek_gemm(
                    vocabulary, hidden, rows.count, logits.columns(from: 0, transposed: true),
                    right,
                    dw, hidden, true)
            }
        }
        return losses
    }
}

extension OutputHead {
    /// Whether one kernel can do it all: the weights are not trained and need no decoding by blocks, and the
    /// products are our own.
    private func isFrozen(on tape: Tape) -> Bool {
        guard case .dense = weight, arithmeticTier == .portable else { return false }
        return !tape.parameters.contains(name)
    }

    /// ``crossEntropy(_:labels:weights:on:)`` to the same bits, with fewer logits held at once.
    /// - Parameter gradient: `[rows, hidden]`, written; nil exactly where `weights` is.
    private func frozenCrossEntropy(
        _ x: Tensor, _ labels: [Int32], _ weights: [Float]?, _ losses: inout Losses,
        _ gradient: Tensor?
    ) {
        guard !labels.isEmpty else { return }
        losses.values.withUnsafeMutableBufferPointer { values in
            losses.isGreedy.withUnsafeMutableBufferPointer { greedy in
                labels.withUnsafeBufferPointer { labels in
                    withOptional(weights) { weights in
                        var a = ek_head_t()
                        (a.rows, a.hidden) = (labels.count, weight.shape[1])
                        (a.vocabulary, a.softcap) = (weight.shape[0], softCap)
                        (a.x, a.w) = (x.floats, weight.operand(transposed: false))
                        (a.labels, a.weights) = (labels.baseAddress, weights)
                        (a.losses, a.isGreedy) = (values.baseAddress, greedy.baseAddress)
                        a.dx = gradient?.freshFloats
                        let room = Tensor(uninitialized: [ek_head_room(&a)])
                        a.room = room.freshFloats
                        ek_head_loss(&a)
                    }
                }
            }
        }
    }
}

private func withOptional<R>(
    _ array: [Float]?, _ body: (UnsafePointer<Float>?) -> R
) -> R {
    guard let array else { return body(nil) }
    return array.withUnsafeBufferPointer { body($0.baseAddress) }
}
