// The weights of a model by name, wherever they lie: what LoX and its metrics compare two or three of.

/// A model's weights, read one at a time.
public struct WeightSet: Sendable {
    /// Parameter names, sorted by bytes, so that every walk over them has one order.
    public let names: [String]
    /// Whether one tensor serves as embedding and as head: there is no `lm_head.weight`, and the pair is
    /// treated once (the published code would treat it under both names).
    public let tiesEmbeddings: Bool
    private let read: @Sendable (String) throws -> Tensor
    /// Lets go of the memory that reading a mapped tensor brought in.
    let release: @Sendable (Tensor) -> Void

    /// The weights of a checkpoint's folder, mapped and read when they are used.
    public init(_ checkpoint: Checkpoint) {
        self.init(
            names: checkpoint.names, read: { try checkpoint.tensor($0) },
            release: { $0.forgetMappedPages() })
    }

    /// The weights of a model, an adapter folded in.
    /// - Throws: ``LoXError`` with reason `.quantized` when a quantised weight is read.
    public init(_ model: LanguageModel) throws {
        let merged = model.adapter == nil ? model : try model.merged()
        let weights = merged.weights
        self.init(names: Array(weights.keys)) { name in
            guard case .dense(let tensor)? = weights[name] else {
                throw LoXError(.quantized, tensor: name)
            }
            return tensor
        }
    }

    /// Weights in memory.
    public init(_ tensors: [String: Tensor]) {
        self.init(names: Array(tensors.keys)) { name in tensors[name]! }
    }

    private init(
        names: [String], read: @escaping @Sendable (String) throws -> Tensor,
        release: @escaping @Sendable (Tensor) -> Void = { _ in }
    ) {
        self.names = names.sorted { $0.precedesInBytes($1) }
        tiesEmbeddings = !names.contains { $0.hasSuffix("lm_head.weight") }
        self.read = read
        self.release = release
    }

    /// - Throws: ``LoXError`` with reason `.missing`, or what reading throws.
    public func tensor(_ name: String, of side: String = "first") throws -> Tensor {
        guard contains(name) else { throw LoXError(.missing(side: side), tensor: name) }
        return try read(name)
    }

    public func contains(_ name: String) -> Bool {
        var (low, high) = (0, names.count)
        while low < high {
            let middle = (low + high) / 2
            if names[middle].precedesInBytes(name) { low = middle + 1 } else { high = middle }
        }
        return low < names.count && names[low].hasSameBytes(as: name)
    }
}

/// Which weight matrices a method works on. Tensors that are not matrices (norms, biases) never count.
public enum WeightSelection: Sendable, Hashable {
    /// Every matrix, the embedding and the head among them: the published LoX.
    case everyMatrix
    /// The linear layers, the head among them and not the embedding (but a tied pair counts, as the
    /// head): the published robustness metrics.
    case linearLayers
    /// The linear layers of the blocks alone.
    case blocks
    /// Matrices whose name contains this: the published `--decompose-layer`.
    case containing(String)

    /// Whether a tensor of that name and shape is meant.
    public func contains(_ name: String, shape: [Int], tiesEmbeddings: Bool) -> Bool {
        guard shape.count == 2 else { return false }
        let isHead = name.hasSuffix("lm_head.weight")
        let isEmbedding = name.hasSuffix("embed_tokens.weight")
        return switch self {
        case .everyMatrix: true
        case .linearLayers: !isEmbedding || tiesEmbeddings
        case .blocks: !isEmbedding && !isHead
        case .containing(let part): name.contains(part)
        }
    }
}
