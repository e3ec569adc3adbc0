// The computation that all five families share: blocks of attention and gated MLP on packed rows. What
// differs between families is in ModelConfiguration; the operators are in Layers/.

/// One block's layers.
package struct TransformerBlock {
    package var inputNorm: RMSNorm
    package var queryKeyValue: LinearGroup
    package var attention: Attention
    package var output: LinearGroup
    /// After attention, before the residual (Gemma 2, 3).
    package var postAttentionNorm: RMSNorm?
    package var mlpNorm: RMSNorm
    package var gateUp: LinearGroup
    package var down: LinearGroup
    /// After the MLP, before the residual (Gemma 2, 3).
    package var postMLPNorm: RMSNorm?
    package var isSliding: Bool
}

/// Rotary tables for a model, kept between uses.
package struct RotaryTables {
    package var full: RotaryEmbedding
    package var local: RotaryEmbedding

    package init(_ configuration: ModelConfiguration) {
        full = RotaryEmbedding(
            headDimension: configuration.headDimension, theta: configuration.ropeTheta,
            scaling: configuration.ropeScaling)
        local =
            configuration.localRopeTheta.map {
                RotaryEmbedding(
                    headDimension: configuration.headDimension, theta: $0, scaling: .none)
            } ?? full
    }

    package mutating func extend(to count: Int) {
        full.extend(to: count)
        local.extend(to: count)
    }
}

/// A model's layers, ready to run. It holds references to the weights: release it before they are trained.
package struct Transformer {
    package let configuration: ModelConfiguration
    package let embedding: Embedding
    package let blocks: [TransformerBlock]
    package let finalNorm: RMSNorm
    package let head: OutputHead
    /// The model's edits, and whoever reads its states.
    var tap: ActivationTap

    package init(_ model: LanguageModel) {
        let c = model.configuration
        configuration = c
        for edit in model.edits { edit.check(c) }
        tap = ActivationTap(model.edits)
        // A module trained whole beside the updates takes its weight's place.
        func dense(_ name: String) -> Tensor { model.adapter?.savedModules[name] ?? model[name] }
        func weight(_ name: String) -> Weight {
            model.adapter?.savedModules[name].map { .dense($0) } ?? model.weights[name]!
        }
        func norm(_ name: String) -> RMSNorm {
            RMSNorm(
                name: name, weight: dense(name), epsilon: Float(c.normEpsilon),
                addsOne: c.normAddsOne)
        }
        let table = dense(ModelConfiguration.embeddingName)
        embedding = Embedding(
            name: ModelConfiguration.embeddingName, table: table,
            scale: c.scalesEmbeddings ? Self.embeddingScale(c.hiddenSize, table.dtype) : 1,
            update: model.adapter?.modules[ModelConfiguration.embeddingPath])
        var blocks = (0..<c.layerCount).map { layer in
            func linear(_ name: LinearName) -> Linear {
                let path = ModelConfiguration.path(name, layer: layer)
                return Linear(
                    path: path, weight: weight(path + ".weight"),
                    bias: c.hasBias(name) ? dense(path + ".bias") : nil,
                    update: model.adapter?.modules[path])
            }
            let prefix = "model.layers.\(layer)."
            let slides = c.slidingLayers[layer] && c.slidingWindow != nil
            return TransformerBlock(
                inputNorm: norm(prefix + "input_layernorm.weight"),
                queryKeyValue: LinearGroup(linear(.query), linear(.key), linear(.value)),
                attention: Attention(
                    headCount: c.headCount, keyValueHeadCount: c.keyValueHeadCount,
                    headDimension: c.headDimension, scale: Float(1 / c.queryScalar.squareRoot()),
                    softCap: Float(c.attentionSoftCap ?? 0),
                    window: slides ? c.slidingWindow! : 0,
                    queryNorm: c.hasQueryKeyNorms
                        ? norm(prefix + "self_attn.q_norm.weight") : nil,
                    keyNorm: c.hasQueryKeyNorms ? norm(prefix + "self_attn.k_norm.weight") : nil),
                output: LinearGroup(linear(.output)),
                postAttentionNorm: c.hasPostNorms
                    ? norm(prefix + "post_attention_layernorm.weight") : nil,
                mlpNorm: norm(
                    prefix
                        + (c.hasPostNorms
                            ? "pre_feedforward_layernorm" : "post_attention_layernorm")
                        + ".weight"),
                gateUp: LinearGroup(linear(.gate), linear(.up)), down: LinearGroup(linear(.down)),
                postMLPNorm: c.hasPostNorms
                    ? norm(prefix + "post_feedforward_layernorm.weight") : nil,
                isSliding: slides)
        }
        finalNorm = norm(ModelConfiguration.finalNormName)
        // A tied head trains under a name of its own; the two gradients meet at the end of a step. An
        // adapter changes the embedding alone, or the head alone where it saves that whole, as in PEFT.
        let savedHead = model.adapter?.savedModules[ModelConfiguration.headName]
        var head = OutputHead(
            name: ModelConfiguration.headName,
            weight: c.tiesEmbeddings
                ? .dense(savedHead ?? model[ModelConfiguration.embeddingName])
                : weight(ModelConfiguration.headName),
            softCap: Float(c.finalSoftCap ?? 0))
        // Each group of weights knows the next in the order of use, and the head the first.
        for layer in blocks.indices {
            blocks[layer].queryKeyValue.following = blocks[layer].output.layers.map(\.weight)
            blocks[layer].output.following = blocks[layer].gateUp.layers.map(\.weight)
            blocks[layer].gateUp.following = blocks[layer].down.layers.map(\.weight)
            blocks[layer].down.following =
                layer + 1 < blocks.count
                ? blocks[layer + 1].queryKeyValue.layers.map(\.weight) : [head.weight]
        }
        head.following = blocks.first?.queryKeyValue.layers.map(\.weight) ?? []
        (self.blocks, self.head) = (blocks, head)
    }

    /// √hidden rounded to the weights' type, as the reference rounds it: 45.25 for 2048 in bf16.
    package static func embeddingScale(_ hidden: Int, _ dtype: DType) -> Float {
        let root = Float(Double(hidden).squareRoot())
        if dtype == .f32 { return root }
        var tensor = Tensor([root], shape: [1]).converted(to: dtype)
        tensor = tensor.converted(to: .f32)
        return tensor.withUnsafeFloats { $0[0] }
    }

    /// Hidden states after the last block, before the final norm.
    /// - Parameters:
    ///   - rope: tables that reach every position.
    ///   - observe: called with the (scaled) embeddings and with each block's output.
    /// - Returns: `[rows, hidden]`.
    package func callAsFunction(
        _ tokens: [Int32], rows: PackedRows, rope: RotaryTables, on tape: Tape,
        dropout: UpdateDropout? = nil, checkpointing: Bool = false,
        observe: ((Int, Tensor) -> Void)? = nil
    ) -> Variable {
        var x = tap(embedding(tokens, on: tape), at: .embedding, rows, on: tape)
        observe?(0, x.value)
        for (layer, block) in blocks.enumerated() {
            if checkpointing, tape.isRecording {
                let trains = x.needsGradient || block.trains(tape.parameters)
                x = tape.checkpoint(x, needsGradient: trains) { tape, x in
                    block(x, rows: rows, rope: rope, on: tape, dropout: dropout, tap, layer)
                }
            } else {
                x = block(x, rows: rows, rope: rope, on: tape, dropout: dropout, tap, layer)
            }
            observe?(layer + 1, x.value)
        }
        return x
    }

    /// The same against a cache, which takes the new keys and values in.
    package func callAsFunction(
        _ tokens: [Int32], rows: PackedRows, rope: RotaryTables, cache: KeyValueCache
    ) -> Tensor {
        let tape = Tape(recording: false)
        var x = tap(embedding(tokens, on: tape), at: .embedding, rows, on: tape)
        for (layer, block) in blocks.enumerated() {
            x = block(x, on: tape, rows, tap, layer) { qkv in
                Variable(
                    constant: block.attention(
                        qkv.value, rows: rows, rope: block.isSliding ? rope.local : rope.full,
                        cache: cache, layer: layer))
            }
        }
        return x.value
    }
}

extension TransformerBlock {
    func callAsFunction(
        _ x: Variable, rows: PackedRows, rope: RotaryTables, on tape: Tape, dropout: UpdateDropout?,
        _ tap: ActivationTap, _ layer: Int
    ) -> Variable {
        callAsFunction(x, on: tape, rows, tap, layer, dropout: dropout) {
            attention($0, rows: rows, rope: isSliding ? rope.local : rope.full, on: tape)
        }
    }

    /// `x + post(attention(norm x))`, then `x + post(mlp(norm x))`.
    fileprivate func callAsFunction(
        _ x: Variable, on tape: Tape, _ rows: PackedRows, _ tap: ActivationTap, _ layer: Int,
        dropout: UpdateDropout? = nil, attend: (Variable) -> Variable
    ) -> Variable {
        let qkv = queryKeyValue(inputNorm(x, on: tape), on: tape, dropout: dropout)
        var attended = output(attend(qkv), on: tape, dropout: dropout)
        if let postAttentionNorm { attended = postAttentionNorm(attended, on: tape) }
        attended = tap(attended, at: .attention(layer: layer), rows, on: tape)
        let middle = residual(x, attended, on: tape)
        let hidden = gateUp(mlpNorm(middle, on: tape), on: tape, dropout: dropout)
        var transformed = down(activation(hidden, on: tape), on: tape, dropout: dropout)
        if let postMLPNorm { transformed = postMLPNorm(transformed, on: tape) }
        transformed = tap(transformed, at: .mlp(layer: layer), rows, on: tape)
        return tap(
            residual(middle, transformed, on: tape), at: .block(layer: layer), rows, on: tape)
    }

    private var activation: GatedActivation { mlpNorm.addsOne ? .geluTanh : .silu }

    /// Whether anything in the block is trained.
    func trains(_ parameters: ParameterGradients) -> Bool {
        let linear = queryKeyValue.layers + output.layers + gateUp.layers + down.layers
        let norms = [
            inputNorm, postAttentionNorm, mlpNorm, postMLPNorm, attention.queryNorm,
            attention.keyNorm,
        ].compactMap { $0 }
        return norms.contains { parameters.contains($0.name) }
            || linear.contains {
                parameters.contains($0.weightName) || parameters.contains($0.aName)
                    || parameters.contains($0.biasName)
            }
    }
}
