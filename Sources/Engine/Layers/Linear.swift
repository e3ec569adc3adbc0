// Linear layers with their low-rank updates (Hu et al. 2021, arXiv:2106.09685), several of one input side
// by side, forward by backward. Which layers are adapted is Adapters/LoRA+Model.swift's affair.

internal import EngineKernels

/// One linear layer: `y = x Wᵀ + bias + scale · (x Aᵀ) Bᵀ`.
package struct Linear {
    /// The module's path, as "model.layers.0.self_attn.q_proj".
    package var path: String
    /// `[output, input]`.
    package var weight: Weight
    /// `[output]`.
    package var bias: Tensor?
    package var update: LoRAModule?

    package init(path: String, weight: Weight, bias: Tensor? = nil, update: LoRAModule? = nil) {
        self.path = path
        self.weight = weight
        self.bias = bias?.asFloats
        self.update = update
    }

    package var outputCount: Int { weight.shape[0] }
    package var inputCount: Int { weight.shape[1] }
    package var weightName: String { path + ".weight" }
    package var biasName: String { path + ".bias" }
    package var aName: String { LoRAModule.aName(path) }
    package var bName: String { LoRAModule.bName(path) }
}

extension LoRAModule {
    /// The name under which a module's A trains and is saved, without PEFT's prefix.
    package static func aName(_ path: String) -> String {
        path + (isEmbedding(path) ? ".lora_embedding_A" : ".lora_A.weight")
    }
    package static func bName(_ path: String) -> String {
        path + (isEmbedding(path) ? ".lora_embedding_B" : ".lora_B.weight")
    }
    /// Whether a module is the token embedding, whose table lies the other way round: `[input, output]`.
    static func isEmbedding(_ path: String) -> Bool { path == ModelConfiguration.embeddingPath }
}

/// Where the dropout of low-rank updates draws from: a probability, and a stream for this step.
package struct UpdateDropout {
    package var probability: Float
    package var stream: RandomStream
    package init(probability: Float, stream: RandomStream) {
        self.probability = probability
        self.stream = stream
    }

    /// `[rows, dim]`: 0 or 1 / (1 − p); the same for a path each time it is asked.
    func mask(_ path: String, rows: Int, dim: Int) -> Tensor {
        var mask = Tensor(uninitialized: [rows, dim])
        var random = stream.stream(named: path)
        mask.withUnsafeMutableFloats { values in
            random.fillUniform(values)
            let kept = 1 / (1 - probability)
            for i in values.indices { values[i] = values[i] < probability ? 0 : kept }
        }
        return mask
    }
}

/// Linear layers that share their input; their outputs lie side by side in one row.
package struct LinearGroup {
    package var layers: [Linear]
    /// The weights that are read after these, which threads fetch as they run out of work; may be empty.
    package var following: [Weight] = []
    package init(_ layers: Linear...) { self.layers = layers }
    package init(_ layers: [Linear]) { self.layers = layers }

    /// - Parameter x: `[rows, input]`.
    /// - Returns: `[rows, Σ output]`.
    package func callAsFunction(
        _ x: Variable, on tape: Tape, dropout: UpdateDropout? = nil
    ) -> Variable {
        let (rows, input) = (x.value.shape[0], layers[0].inputCount)
        precondition(
            x.value.shape[1] == input && layers.allSatisfy { $0.inputCount == input },
            "linear \(layers[0].path): \(x.value.shape) · [\(layers[0].outputCount), \(input)]ᵀ")
        let width = layers.reduce(0) { $0 + $1.outputCount }
        let y = Tensor(uninitialized: [rows, width])
        var column = 0
        var decomposed = DecomposedInputs(x.value)
        var calls: [ek_gemm_call] = []
        for layer in layers {
            if case .int8(let matrix) = layer.weight, let decomposition = matrix.decomposition {
                decomposed[decomposition].product(
                    with: matrix, to: y.freshFloats + column, stride: width)
            } else {
                calls.append(
                    ek_gemm_call(
                        m: rows, n: layer.outputCount, k: input, a: x.value.columns(from: 0),
                        b: layer.weight.operand(transposed: true), c: y.freshFloats + column,
                        ldc: width, accumulate: false))
            }
            column += layer.outputCount
        }
        multiply(calls, then: following)
        column = 0
        for layer in layers {
            if let bias = layer.bias { addRow(bias, to: y, column: column) }
            column += layer.outputCount
        }
        let updates = Updates(layers, x: x.value, dropout: dropout, y: y)
        let trains = layers.contains {
            tape.parameters.contains($0.weightName) || tape.parameters.contains($0.biasName)
        }
        let trainsUpdate = layers.contains { tape.parameters.contains($0.aName) }
        // x is needed again only where some parameter here is trained.
        let keeps = trains || trainsUpdate
        let kept = keeps ? x.kept : nil
        var tensors = updates.map { $0.kept } ?? []
        if keeps, x.recompute == nil { tensors.append(x.value) }
        // Holding x itself would hold what `kept` makes again.
        let (source, shape) = (x.withoutValue, x.value.shape)
        return tape.record(
            y, needsGradient: x.needsGradient || keeps, keeping: tensors
        ) { [self] dy, tape in
            let input = kept?()
            if trains, let input { addWeightGradients(dy, input, tape) }
            let slopes = updates?.backward(dy, x: input, tape)
            guard source.needsGradient else { return }
            tape.accumulate(into: source, shape: shape) { dx, accumulates in
                var column = 0
                for (i, layer) in layers.enumerated() {
                    ek_gemm(
                        rows, layer.inputCount, layer.outputCount, dy.columns(from: column),
                        layer.weight.operand(transposed: false), dx, layer.inputCount,
                        accumulates || i > 0)
                    column += layer.outputCount
                }
                if let slopes { updates?.addInputGradient(slopes, to: dx) }
            }
        }
    }

    private func addRow(_ bias: Tensor, to y: Tensor, column: Int) {
        let (rows, width) = (y.shape[0], y.shape[1])
        for row in 0..<rows {
            let start = y.freshFloats + row * width + column
            ek_nn_add(start, start, bias.floats, bias.count)
        }
    }

    private func addWeightGradients(_ dy: Tensor, _ x: Tensor, _ tape: Tape) {
        let rows = dy.shape[0]
        var column = 0
        for layer in layers {
            tape.parameters.add(to: layer.weightName) { dw in
                ek_gemm(
                    layer.outputCount, layer.inputCount, rows,
                    dy.columns(from: column, transposed: true), x.columns(from: 0), dw,
                    layer.inputCount, true)
            }
            tape.parameters.add(to: layer.biasName) { db in
                for row in 0..<rows {
                    let start = dy.floats + row * dy.shape[1] + column
                    ek_nn_add(db, db, start, layer.outputCount)
                }
            }
            column += layer.outputCount
        }
    }
}

/// The low-rank updates of a group: one thin product for all their A's where no dropout tells them apart.
private struct Updates {
    struct Part {
        var layer: Linear
        var update: LoRAModule
        /// The part's columns of y and of the hidden `scale · x Aᵀ`.
        var column: Int
        var hiddenColumn: Int
        var mask: Tensor?
        var dropped: Tensor?
    }
    var parts: [Part] = []
    /// Every A above the other, `[Σ rank, input]`.
    var stacked: Tensor
    /// `scale · x Aᵀ`, `[rows, Σ rank]`.
    var hidden: Tensor
    /// What the way back needs and no weight holds.
    var kept: [Tensor] {
        [stacked, hidden] + parts.flatMap { [$0.mask, $0.dropped].compactMap { $0 } }
    }

    init?(_ layers: [Linear], x: Tensor, dropout: UpdateDropout?, y: Tensor) {
        var column = 0
        var ranks = 0
        for layer in layers {
            if let update = layer.update {
                parts.append(
                    Part(layer: layer, update: update, column: column, hiddenColumn: ranks))
                ranks += update.a.shape[0]
            }
            column += layer.outputCount
        }
        guard let first = parts.first else { return nil }
        let (rows, input) = (x.shape[0], first.update.a.shape[1])
        stacked = Tensor(uninitialized: [ranks, input])
        for part in parts {
            (stacked.freshFloats + part.hiddenColumn * input).update(
                from: part.update.a.floats, count: part.update.a.count)
        }
        hidden = Tensor(uninitialized: [rows, ranks])
        if let dropout, dropout.probability > 0 {
            for i in parts.indices {
                let mask = dropout.mask(parts[i].layer.path, rows: rows, dim: input)
                let dropped = multiplied(x, mask)
                let rank = parts[i].update.a.shape[0]
                ek_gemm(
                    rows, rank, input, dropped.columns(from: 0),
                    parts[i].update.a.columns(from: 0, transposed: true),
                    hidden.freshFloats + parts[i].hiddenColumn, ranks, false)
                (parts[i].mask, parts[i].dropped) = (mask, dropped)
            }
        } else {
            ek_gemm(
                rows, ranks, input, x.columns(from: 0), stacked.columns(from: 0, transposed: true),
                hidden.freshFloats, ranks, false)
        }
        scale(hidden)
        for part in parts {
            ek_gemm(
                rows, part.layer.outputCount, part.update.a.shape[0],
                hidden.columns(from: part.hiddenColumn),
                part.update.b.columns(from: 0, transposed: true), y.freshFloats + part.column,
                y.shape[1], true)
        }
    }

    private func scale(_ tensor: Tensor) {
        let ranks = tensor.shape[1]
        for part in parts where part.update.scale != 1 {
            let start = tensor.freshFloats + part.hiddenColumn
            ek_nn_scale_rows(
                start, ranks, start, ranks, tensor.shape[0], part.update.a.shape[0],
                part.update.scale)
        }
    }

    /// Adds to the gradients of the A's and B's.
    /// - Returns: `scale · dy B`, `[rows, Σ rank]`.
    func backward(_ dy: Tensor, x: Tensor?, _ tape: Tape) -> Tensor {
        let (rows, width, ranks) = (dy.shape[0], dy.shape[1], hidden.shape[1])
        _ = width
        let slopes = Tensor(uninitialized: [rows, ranks])
        for part in parts {
            let (rank, output) = (part.update.a.shape[0], part.layer.outputCount)
            tape.parameters.add(to: part.layer.bName) { db in
                ek_gemm(
                    output, rank, rows, dy.columns(from: part.column, transposed: true),
                    hidden.columns(from: part.hiddenColumn), db, rank, true)
            }
            ek_gemm(
                rows, rank, output, dy.columns(from: part.column), part.update.b.columns(from: 0),
                slopes.freshFloats + part.hiddenColumn, ranks, false)
        }
        scale(slopes)
        for part in parts {
            guard let input = part.dropped ?? x else { continue }
            tape.parameters.add(to: part.layer.aName) { da in
                ek_gemm(
                    part.update.a.shape[0], input.shape[1], rows,
                    slopes.columns(from: part.hiddenColumn, transposed: true),
                    input.columns(from: 0), da, input.shape[1], true)
            }
        }
        return slopes
    }

    func addInputGradient(_ slopes: Tensor, to dx: UnsafeMutablePointer<Float>) {
        let (rows, ranks, input) = (slopes.shape[0], slopes.shape[1], stacked.shape[1])
        guard parts.contains(where: { $0.mask != nil }) else {
            ek_gemm(
                rows, input, ranks, slopes.columns(from: 0), stacked.columns(from: 0), dx, input,
                true)
            return
        }
        for part in parts {
            let through = Tensor(uninitialized: [rows, input])
            ek_gemm(
                rows, input, part.update.a.shape[0], slopes.columns(from: part.hiddenColumn),
                part.update.a.columns(from: 0), through.freshFloats, input, false)
            let masked = part.mask.map { multiplied(through, $0) } ?? through
            ek_nn_add(dx, dx, masked.floats, masked.count)
        }
    }
}

/// Element by element.
private func multiplied(_ a: Tensor, _ b: Tensor) -> Tensor {
    let result = Tensor(uninitialized: a.shape)
    let (x, y, z) = (a.floats, b.floats, result.freshFloats)
    for i in 0..<a.count { z[i] = x[i] * y[i] }
    return result
}
