// A language model as a value: configuration, weights, adapter. The computation is in Transformer.swift,
// files are in LanguageModel+Files.swift, adapters in Adapters/LoRA+Model.swift.

internal import EngineKernels

/// A decoder-only language model. Copying it copies no weights until one copy is trained.
public struct LanguageModel: Sendable, Codable {
    public var configuration: ModelConfiguration
    /// Every parameter by Hugging Face's name; norms and embeddings are dense.
    public var weights: [String: Weight]
    public var adapter: LoRAAdapter?
    /// Changes of hidden states, in order; part of the computation wherever the model is used, and of no
    /// file. See ``ActivationEdit``.
    public var edits: [ActivationEdit] = []
    public var tokenizer: Tokenizer?

    /// A model of given weights.
    /// - Precondition: every parameter of the configuration is there in its shape.
    public init(
        configuration: ModelConfiguration, weights: [String: Weight], tokenizer: Tokenizer? = nil
    ) {
        for (name, shape) in configuration.parameterShapes {
            precondition(
                weights[name]?.shape == shape,
                "\(name) must be \(shape), not \(weights[name].map { "\($0.shape)" } ?? "missing")")
        }
        self.configuration = configuration
        self.weights = weights
        self.tokenizer = tokenizer
    }

    /// A model with random weights: matrices normal with standard deviation 0.02 as Hugging Face's
    /// `initializer_range` has it, norms at their identity, biases zero.
    ///
    /// Each parameter draws from a stream of its own, named after it, below `random`.
    public init(
        configuration: ModelConfiguration, standardDeviation: Float = 0.02,
        tokenizer: Tokenizer? = nil, using random: inout RandomStream
    ) {
        // One word of the parent's, so that two models from one stream differ.
        let streams = random.stream(named: "init \(random.nextUInt32())")
        var weights: [String: Weight] = [:]
        for (name, shape) in configuration.parameterShapes {
            let isMatrix = shape.count == 2
            var tensor = isMatrix ? Tensor(uninitialized: shape) : Tensor(zeros: shape)
            if isMatrix {
                var stream = streams.stream(named: name)
                tensor.withUnsafeMutableFloats { values in
                    stream.fillNormal(values)
                    ek_nn_scale(values.baseAddress, standardDeviation, values.count)
                }
            } else if !name.hasSuffix(".bias"), !configuration.normAddsOne {
                tensor.withUnsafeMutableFloats { $0.update(repeating: 1) }
            }
            weights[name] = .dense(tensor)
        }
        self.init(configuration: configuration, weights: weights, tokenizer: tokenizer)
    }

    /// The dense tensor of a parameter.
    /// - Precondition: there is one of that name, and it is not quantized.
    public subscript(name: String) -> Tensor {
        get {
            guard case .dense(let tensor)? = weights[name] else {
                preconditionFailure("no dense parameter \"\(name)\" in this model")
            }
            return tensor
        }
        set {
            precondition(
                weights[name]?.shape == newValue.shape,
                "\(name) must keep its shape \(weights[name]?.shape ?? []), not \(newValue.shape)")
            weights[name] = .dense(newValue)
        }
    }

    /// Module paths and shapes `[output, input]` of the linear layers in the blocks, in the order of use.
    public var linearLayers: [(path: String, shape: [Int])] {
        (0..<configuration.layerCount).flatMap { layer in
            LinearName.allCases.map {
                (ModelConfiguration.path($0, layer: layer), configuration.shape($0))
            }
        }
    }

    /// What can have a low-rank update: the embedding (its shape as a layer from tokens, `[hidden,
    /// vocabulary]`), then the linear layers of the blocks.
    package var adaptableLayers: [(path: String, shape: [Int])] {
        [
            (
                ModelConfiguration.embeddingPath,
                [configuration.hiddenSize, configuration.vocabularySize]
            )
        ] + linearLayers
    }

    /// Parameters of the model itself, a tied embedding once.
    public var parameterCount: Int {
        weights.values.reduce(0) { $0 + $1.shape.reduce(1, *) }
    }
    /// Parameters of the adapter.
    public var adapterParameterCount: Int {
        guard let adapter else { return 0 }
        return adapter.modules.values.reduce(0) { $0 + $1.a.count + $1.b.count }
            + adapter.savedModules.values.reduce(0) { $0 + $1.count }
    }
    /// Bytes that the weights take as they are stored.
    public var weightBytes: Int { weights.values.reduce(0) { $0 + $1.byteCount } }

    /// Every floating-point weight stored in another type; quantized ones stay.
    public func converted(to dtype: DType) -> LanguageModel {
        var result = self
        for (name, weight) in weights {
            if case .dense(let tensor) = weight {
                result.weights[name] = .dense(tensor.converted(to: dtype))
            }
        }
        return result
    }
}

extension Weight {
    /// Bytes that the weight takes, its scales included.
    public var byteCount: Int {
        switch self {
        case .dense(let tensor): return tensor.byteCount
        case .int8(let matrix): return matrix.codes.byteCount + matrix.absmax.byteCount
        case .nf4(let matrix): return matrix.packed.byteCount + matrix.absmax.byteCount
        }
    }
}
