// LoRA: Hu et al. 2021, arXiv:2106.09685. What an adapter is; reading and writing PEFT's files is in
// Checkpoints/PEFTAdapter.swift, training in Training/.

/// The linear layers of a transformer block, in Hugging Face's module names.
public enum LinearName: String, Sendable, Hashable, CaseIterable, Codable {
    case query = "q_proj"
    case key = "k_proj"
    case value = "v_proj"
    case output = "o_proj"
    case gate = "gate_proj"
    case up = "up_proj"
    case down = "down_proj"
}

/// How a low-rank update is shaped: `y = x Wᵀ + scale · (x Aᵀ) Bᵀ`, `scale = alpha / rank`
/// (or `alpha / √rank` for rank-stabilised LoRA, arXiv:2312.03732).
public struct LoRA: Sendable, Hashable, Codable {
    /// The rank of the update, the paper's r.
    public var rank: Int
    /// The paper's α.
    public var alpha: Double
    public var targets: Targets
    /// The share of the update's input that is dropped in training, 0 to 1.
    public var dropout: Double
    /// Scale by `alpha / √rank` instead of `alpha / rank`.
    public var isRankStabilized: Bool
    /// Ranks for modules whose path matches, first match first.
    public var rankPattern: [Pattern<Int>]
    /// Alphas for modules whose path matches, first match first.
    public var alphaPattern: [Pattern<Double>]
    /// Modules trained and saved whole, such as "lm_head".
    public var modulesToSave: [String]
    /// Modules left out although `targets` names them.
    public var excluded: Targets?
    /// The only layers that get an update, where not all of them do.
    public var layers: [Int]?

    /// Which linear layers get an update; LoRA+Matching.swift decides by it.
    public enum Targets: Sendable, Hashable, Codable {
        /// Every linear layer except the output embedding.
        case allLinear
        /// A module matches when its path is the name or ends in "." and the name.
        case names([String])
        /// A regular expression that must match a module's whole path.
        case pattern(String)

        public static func layers(_ names: LinearName...) -> Targets {
            .names(names.map(\.rawValue))
        }
    }

    /// A value for the modules whose path matches `^(.*\.)?(pattern)$`.
    public struct Pattern<Value: Sendable & Hashable>: Sendable, Hashable {
        public var pattern: String
        public var value: Value
        public init(_ pattern: String, _ value: Value) {
            self.pattern = pattern
            self.value = value
        }
    }

    public init(
        rank: Int = 8, alpha: Double = 8, targets: Targets = .allLinear, dropout: Double = 0,
        isRankStabilized: Bool = false, rankPattern: [Pattern<Int>] = [],
        alphaPattern: [Pattern<Double>] = [], modulesToSave: [String] = [],
        excluded: Targets? = nil, layers: [Int]? = nil
    ) {
        precondition(rank > 0, "a LoRA rank is at least 1, not \(rank)")
        self.rank = rank
        self.alpha = alpha
        self.targets = targets
        self.dropout = dropout
        self.isRankStabilized = isRankStabilized
        self.rankPattern = rankPattern
        self.alphaPattern = alphaPattern
        self.modulesToSave = modulesToSave
        self.excluded = excluded
        self.layers = layers
    }
}

extension LoRA.Pattern: Codable where Value: Codable {}

/// The trained update of one linear layer.
public struct LoRAModule: Sendable, Codable {
    /// `[rank, input]`, f32.
    public var a: Tensor
    /// `[output, rank]`, f32.
    public var b: Tensor
    /// What `x Aᵀ Bᵀ` is multiplied by.
    public var scale: Float
    public init(a: Tensor, b: Tensor, scale: Float) {
        precondition(
            a.shape.count == 2 && b.shape.count == 2 && a.shape[0] == b.shape[1],
            "a LoRA update needs A [rank, input] and B [output, rank], not \(a.shape) and \(b.shape)"
        )
        self.a = a
        self.b = b
        self.scale = scale
    }
}

/// A set of updates, one for each adapted layer.
public struct LoRAAdapter: Sendable, Codable {
    public var configuration: LoRA
    /// By module path, as "model.layers.0.self_attn.q_proj"; the embedding's, "model.embed_tokens", has
    /// A `[rank, vocabulary]` and B `[hidden, rank]`.
    public var modules: [String: LoRAModule]
    /// Whole weights trained beside the updates (`modules_to_save`), by parameter name.
    public var savedModules: [String: Tensor]
    /// Weights of the base that came with the adapter, by parameter name: PEFT saves the embedding beside
    /// an update of it, or where the vocabulary was resized. They replace the model's, and are not trained.
    public var baseWeights: [String: Tensor] = [:]
    /// What PEFT's files said beyond this, where the adapter was read from them.
    public var origin: PEFTOrigin?
    public init(
        configuration: LoRA, modules: [String: LoRAModule], savedModules: [String: Tensor] = [:],
        origin: PEFTOrigin? = nil
    ) {
        self.configuration = configuration
        self.modules = modules
        self.savedModules = savedModules
        self.origin = origin
    }
}
