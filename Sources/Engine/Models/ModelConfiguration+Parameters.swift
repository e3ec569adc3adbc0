// The parameters a configuration has: names, shapes and order, as Hugging Face's checkpoints have them.

extension ModelConfiguration {
    package static let embeddingPath = "model.embed_tokens"
    package static let embeddingName = embeddingPath + ".weight"
    package static let headPath = "lm_head"
    package static let headName = headPath + ".weight"
    package static let finalNormName = "model.norm.weight"

    /// A linear layer's place in its block.
    package static func path(_ name: LinearName, layer: Int) -> String {
        switch name {
        case .query, .key, .value, .output: "model.layers.\(layer).self_attn.\(name.rawValue)"
        case .gate, .up, .down: "model.layers.\(layer).mlp.\(name.rawValue)"
        }
    }

    /// `[output, input]`.
    package func shape(_ name: LinearName) -> [Int] {
        switch name {
        case .query: [headCount * headDimension, hiddenSize]
        case .key, .value: [keyValueHeadCount * headDimension, hiddenSize]
        case .output: [hiddenSize, headCount * headDimension]
        case .gate, .up: [intermediateSize, hiddenSize]
        case .down: [hiddenSize, intermediateSize]
        }
    }

    func hasBias(_ name: LinearName) -> Bool {
        switch name {
        case .query, .key, .value, .output: hasAttentionBias
        case .gate, .up, .down: hasMLPBias
        }
    }

    /// The norms of a block in the order of their use, without "model.layers.N." and ".weight".
    package var blockNorms: [String] {
        hasPostNorms
            ? [
                "input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm",
                "post_feedforward_layernorm",
            ] : ["input_layernorm", "post_attention_layernorm"]
    }

    /// Every parameter with its shape: embedding, blocks, final norm, and the head where it is not tied.
    public var parameterShapes: [(name: String, shape: [Int])] {
        var result: [(String, [Int])] = [(Self.embeddingName, [vocabularySize, hiddenSize])]
        for layer in 0..<layerCount {
            for norm in blockNorms {
                result.append(("model.layers.\(layer).\(norm).weight", [hiddenSize]))
            }
            for name in LinearName.allCases {
                let path = Self.path(name, layer: layer)
                result.append((path + ".weight", shape(name)))
                if hasBias(name) { result.append((path + ".bias", [shape(name)[0]])) }
            }
            if hasQueryKeyNorms {
                let attention = "model.layers.\(layer).self_attn"
                result.append((attention + ".q_norm.weight", [headDimension]))
                result.append((attention + ".k_norm.weight", [headDimension]))
            }
        }
        result.append((Self.finalNormName, [hiddenSize]))
        if !tiesEmbeddings { result.append((Self.headName, [vocabularySize, hiddenSize])) }
        return result
    }
}
