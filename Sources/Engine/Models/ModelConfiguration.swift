// What a decoder-only transformer is made of. Each family reads its own config.json in its own file
// (Llama.swift, Mistral.swift, Gemma.swift, Gemma2.swift, Gemma3.swift); what is common is read here.

/// The shape and the arithmetic of a language model.
public struct ModelConfiguration: Sendable, Codable {
    /// The architectures that the engine knows, by `model_type`.
    public enum Family: String, Sendable, Hashable, CaseIterable, Codable {
        case llama
        case mistral
        case gemma
        case gemma2
        /// Text only; the language part of multimodal checkpoints is read too.
        case gemma3 = "gemma3_text"
    }

    public var family: Family
    public var vocabularySize: Int
    public var hiddenSize: Int
    /// The width of the gated MLP.
    public var intermediateSize: Int
    public var layerCount: Int
    public var headCount: Int
    public var keyValueHeadCount: Int
    public var headDimension: Int
    public var maximumPositions = 2048
    /// ε of every RMSNorm.
    public var normEpsilon = 1e-6
    public var ropeTheta = 10_000.0
    public var ropeScaling = RopeScaling.none
    /// The rotary base of layers with a sliding window, where it differs (Gemma 3).
    public var localRopeTheta: Double?
    /// A query of a sliding layer sees itself and the `slidingWindow − 1` positions before it.
    public var slidingWindow: Int?
    /// Whether each layer's attention slides.
    public var slidingLayers: [Bool]
    /// `lm_head` is the embedding.
    public var tiesEmbeddings = false
    public var hasAttentionBias = false
    public var hasMLPBias = false
    /// Attention's products are scaled by its inverse root.
    public var queryScalar: Double
    /// Soft cap of attention's products (Gemma 2).
    public var attentionSoftCap: Double?
    /// Soft cap of the logits (Gemma 2).
    public var finalSoftCap: Double?
    public var beginningOfText: Int32?
    public var endOfText: [Int32] = []
    public var paddingToken: Int32?
    /// `config.json` as it was read; what the engine does not know is written back as it was.
    package var source: JSONValue?

    /// A model of a family's plain form; the optional features are set afterwards.
    public init(
        family: Family = .llama, vocabularySize: Int, hiddenSize: Int, intermediateSize: Int,
        layerCount: Int, headCount: Int, keyValueHeadCount: Int? = nil, headDimension: Int? = nil
    ) {
        precondition(
            headDimension != nil || hiddenSize % headCount == 0,
            "a hidden size of \(hiddenSize) does not divide into \(headCount) heads")
        self.family = family
        self.vocabularySize = vocabularySize
        self.hiddenSize = hiddenSize
        self.intermediateSize = intermediateSize
        self.layerCount = layerCount
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount ?? headCount
        self.headDimension = headDimension ?? hiddenSize / headCount
        slidingLayers = [Bool](repeating: false, count: layerCount)
        queryScalar = Double(self.headDimension)
        precondition(
            headCount % self.keyValueHeadCount == 0,
            "\(headCount) heads do not share \(self.keyValueHeadCount) key-value heads evenly")
        precondition(self.headDimension % 2 == 0, "a rotated head has an even dimension")
    }

    var isGemma: Bool { family == .gemma || family == .gemma2 || family == .gemma3 }
    /// Gemma's norms multiply by 1 + weight.
    package var normAddsOne: Bool { isGemma }
    /// Gemma's embeddings are multiplied by √hidden.
    package var scalesEmbeddings: Bool { isGemma }
    package var activation: GatedActivation { isGemma ? .geluTanh : .silu }
    /// Gemma 2 and 3 normalize after attention and MLP too.
    package var hasPostNorms: Bool { family == .gemma2 || family == .gemma3 }
    /// Gemma 3 normalizes queries and keys, head by head.
    package var hasQueryKeyNorms: Bool { family == .gemma3 }

    /// Reads `config.json`, in the form of transformers 5 or of the versions before it.
    /// - Throws: ``ModelError`` naming the key that is missing, or the feature that is not supported.
    public init(json: JSONValue) throws {
        let type = json["model_type"]?.string ?? ""
        switch type {
        case "llama": try self.init(llama: Fields(json))
        case "mistral": try self.init(mistral: Fields(json))
        case "gemma": try self.init(gemma: Fields(json))
        case "gemma2": try self.init(gemma2: Fields(json))
        case "gemma3_text": try self.init(gemma3: Fields(json))
        case "gemma3":
            guard let text = json["text_config"] else {
                throw ModelError(.missingKey("text_config"), where: "config.json")
            }
            try self.init(gemma3: Fields(text))
        default: throw ModelError(.unknownFamily(type), where: "config.json")
        }
        source = json
    }

    /// What the families share, with each one's defaults for what its files leave out.
    init(
        _ family: Family, _ fields: Fields, headDimension: Int? = nil, keyValueHeads: Int? = nil,
        heads: Int? = nil, vocabulary: Int? = nil, tied: Bool
    ) throws {
        let headCount = try fields.integer("num_attention_heads", default: heads)
        let hidden = try fields.integer("hidden_size")
        self.init(
            family: family,
            vocabularySize: try fields.integer("vocab_size", default: vocabulary),
            hiddenSize: hidden,
            intermediateSize: try fields.integer("intermediate_size"),
            layerCount: try fields.integer("num_hidden_layers"), headCount: headCount,
            keyValueHeadCount: try fields.integer(
                "num_key_value_heads", default: keyValueHeads ?? headCount),
            headDimension: try fields.integer(
                "head_dim", default: headDimension ?? hidden / max(1, headCount)))
        maximumPositions = try fields.integer("max_position_embeddings", default: 2048)
        normEpsilon = fields.double("rms_norm_eps") ?? 1e-6
        tiesEmbeddings = fields.bool("tie_word_embeddings") ?? tied
        hasAttentionBias = fields.bool("attention_bias") ?? false
        hasMLPBias = fields.bool("mlp_bias") ?? false
        beginningOfText = fields.tokens("bos_token_id").first
        endOfText = fields.tokens("eos_token_id")
        paddingToken = fields.tokens("pad_token_id").first
        (ropeTheta, ropeScaling) = try fields.rope(layerType: "full_attention", theta: 10_000)
    }
}

/// The keys of a `config.json`, read with the words that an error needs.
struct Fields {
    let json: JSONValue
    init(_ json: JSONValue) { self.json = json }

    func value(_ key: String) -> JSONValue? {
        guard let value = json[key], !value.isNull else { return nil }
        return value
    }
    /// Whether the key is there, if only as null.
    func has(_ key: String) -> Bool { json[key] != nil }
    func integer(_ key: String, default fallback: Int? = nil) throws -> Int {
        if let value = value(key) {
            guard let integer = value.integer, integer > 0 else {
                throw ModelError(.badValue(key, "a positive integer"), where: "config.json")
            }
            return integer
        }
        guard let fallback else { throw ModelError(.missingKey(key), where: "config.json") }
        return fallback
    }
    func double(_ key: String) -> Double? { value(key)?.double }
    func bool(_ key: String) -> Bool? { value(key)?.bool }
    func string(_ key: String) -> String? { value(key)?.string }
    func tokens(_ key: String) -> [Int32] {
        guard let value = value(key) else { return [] }
        if let one = value.integer { return [Int32(truncatingIfNeeded: one)] }
        return (value.array ?? []).compactMap { $0.integer.map(Int32.init(truncatingIfNeeded:)) }
    }

    /// Base and scaling, from `rope_parameters` (of one kind of layer, or of all) or from `rope_theta`
    /// and `rope_scaling`.
    func rope(layerType: String, theta: Double) throws -> (Double, RopeScaling) {
        if let parameters = value("rope_parameters") {
            let own = parameters[layerType].flatMap { $0.isNull ? nil : $0 } ?? parameters
            return (
                own["rope_theta"]?.double ?? double("rope_theta") ?? theta, try scaling(own)
            )
        }
        return (double("rope_theta") ?? theta, try value("rope_scaling").map(scaling) ?? .none)
    }

    private func scaling(_ value: JSONValue) throws -> RopeScaling {
        let type = value["rope_type"]?.string ?? value["type"]?.string ?? "default"
        func number(_ key: String) throws -> Double {
            guard let number = value[key]?.double else {
                throw ModelError(.missingKey("rope_scaling." + key), where: "config.json")
            }
            return number
        }
        switch type {
        case "default": return .none
        case "linear": return .linear(factor: try number("factor"))
        case "llama3":
            return .llama3(
                factor: try number("factor"), lowFrequency: try number("low_freq_factor"),
                highFrequency: try number("high_freq_factor"),
                originalLength: try number("original_max_position_embeddings"))
        default:
            throw ModelError(.unsupported("rope scaling \"\(type)\""), where: "config.json")
        }
    }

    /// `layer_types` as booleans: does the layer slide?
    func slidingLayers(count: Int, otherwise: (Int) -> Bool) throws -> [Bool] {
        guard let types = value("layer_types")?.array else { return (0..<count).map(otherwise) }
        guard types.count == count else {
            throw ModelError(
                .badValue("layer_types", "one entry for each of \(count) layers"),
                where: "config.json")
        }
        return try types.map { type in
            switch type.string {
            case "sliding_attention": return true
            case "full_attention": return false
            default:
                throw ModelError(
                    .unsupported("layer type \"\(type.string ?? "?")\""), where: "config.json")
            }
        }
    }

    /// Refuses an activation other than the family's.
    func requireActivation(_ key: String, _ allowed: [String]) throws {
        if let name = string(key), !allowed.contains(name) {
            throw ModelError(.unsupported("activation \"\(name)\""), where: "config.json")
        }
    }
}
