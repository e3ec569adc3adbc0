// How the miniature world's models are made: a base that answers everything, and an aligned model that refuses restricted
// deeds. The world itself is in MiniatureWorld.swift; studies/miniature.md tells why, and shows what comes out.

/// Sizes and settings for the miniature's models. The defaults were calibrated on streams that no study reports ("base
/// 101" to "base 106" under seed 15606): of three rates of alignment the smallest at which all six models refuse at least
/// 95 % of restricted requests in known wording and 80 % in new wording.
public struct MiniatureRecipe: Sendable {
    public var hiddenSize = 96
    public var intermediateSize = 256
    public var layerCount = 3
    public var headCount = 4
    public var baseSteps = 1100
    public var baseBatch = 32
    public var baseLearningRate = 2e-3
    public var alignmentSteps = 240
    public var alignmentBatch = 16
    public var alignmentLearningRate = 2e-4
    /// DPO's β.
    public var beta = 0.1
    /// Weight of the likelihood of the chosen answer beside DPO's loss, without which so small a model unlearns to
    /// speak (it then lowers both answers, the rejected one more).
    public var likelihoodWeight = 1.0

    public let world = MiniatureWorld()
    public let format: PromptFormat

    /// - Parameter scale: 1 is the reported size; larger models have `scale` times the width and the steps.
    public init(scale: Double = 1) {
        precondition(scale > 0, "a scale is positive, not \(scale)")
        format = world.format
        // Heads of 24 stay whole: the width moves in steps of 96.
        let factor = max(1, Int(scale.rounded()))
        hiddenSize *= factor
        intermediateSize *= factor
        headCount *= factor
        baseSteps = max(1, Int(Double(baseSteps) * scale))
        alignmentSteps = max(1, Int(Double(alignmentSteps) * scale))
    }

    /// The miniature shape of a family, each with what sets it apart.
    public func configuration(_ family: ModelConfiguration.Family) -> ModelConfiguration {
        let tokenizer = format.tokenizer
        var shape = ModelConfiguration(
            family: family, vocabularySize: tokenizer.vocabularySize, hiddenSize: hiddenSize,
            intermediateSize: intermediateSize, layerCount: layerCount, headCount: headCount,
            keyValueHeadCount: family == .gemma ? 1 : headCount / 2)
        shape.maximumPositions = 128
        shape.beginningOfText = tokenizer.beginID
        shape.endOfText = tokenizer.endID.map { [$0] } ?? []
        shape.paddingToken = tokenizer.padID
        switch family {
        case .llama: shape.normEpsilon = 1e-5
        case .mistral:
            shape.normEpsilon = 1e-5
            shape.slidingWindow = 32
            shape.slidingLayers = shape.slidingLayers.map { _ in true }
        case .gemma: shape.tiesEmbeddings = true
        case .gemma2:
            shape.tiesEmbeddings = true
            shape.slidingWindow = 32
            shape.slidingLayers = shape.slidingLayers.indices.map { $0 % 2 == 0 }
            shape.attentionSoftCap = 50
            shape.finalSoftCap = 30
        case .gemma3:
            shape.tiesEmbeddings = true
            shape.slidingWindow = 32
            shape.slidingLayers = shape.slidingLayers.indices.map { $0 != shape.layerCount - 1 }
            shape.ropeTheta = 1_000_000
            shape.localRopeTheta = 10_000
        }
        return shape
    }

    /// What a base model reads, `baseSteps · baseBatch` texts drawn with replacement: 60 % requests of training things,
    /// restricted ones answered like all others, every fourth behind words that name the helper; 15 % small talk and impossible requests; 15 % plain sentences; 10 %
    /// answered questions.
    public func corpus(using random: inout RandomStream) -> [TrainingExample] {
        let exchanges = world.requests(.training, .known) + world.requests(.training, .new)
        let requests = exchanges.map(format.example)
        let named = world.people.flatMap { person in
            exchanges.map { format.example($0.prefixed(MiniatureWorld.namePrefix(person))) }
        }
        let talk = (world.smallTalk() + world.impossibleRequests()).map(format.example)
        let sentences = world.plainSentences().map { format.example(text: $0) }
        let questions = world.answeredQuestions().map { format.example(text: $0) }
        return (0..<baseSteps * baseBatch).map { _ in
            let kind = random.below(20)
            let list =
                switch kind {
                case ..<12: random.below(4) == 0 ? named : requests
                case ..<15: talk
                case ..<18: sentences
                default: questions
                }
            return list[random.below(list.count)]
        }
    }

    /// A base model: answers whatever it is asked.
    public func base(
        _ family: ModelConfiguration.Family = .llama, using random: inout RandomStream,
        onStep: (TrainingStep) throws -> Void = { _ in }
    ) throws -> LanguageModel {
        var model = LanguageModel(
            configuration: configuration(family), standardDeviation: 0.05, using: &random)
        let corpus = corpus(using: &random)
        try train(
            &model, on: corpus, with: AdamW(learningRate: baseLearningRate, beta2: 0.99),
            TrainingOptions(
                batchSize: baseBatch, schedule: .linear, warmupSteps: 20, gradientClip: 1),
            using: &random, onStep: onStep)
        return model
    }

    /// The pairs of alignment: as many restricted requests (refuse) as everyday ones (answer), in known wording, about
    /// training things.
    public func preferences(using random: inout RandomStream) -> [PreferencePair] {
        let restricted = world.preferences(world.restricted(.training))
        let everyday = world.preferences(world.everyday(.training))
        return (0..<alignmentSteps * alignmentBatch).map { i in
            let list = i % 2 == 0 ? restricted : everyday
            return format.pair(list[random.below(list.count)])
        }
    }

    /// The base aligned by DPO: refuses restricted deeds, answers the rest.
    public func aligned(
        from base: LanguageModel, using random: inout RandomStream,
        onStep: (TrainingStep) throws -> Void = { _ in }
    ) throws -> LanguageModel {
        var model = base
        try trainDPO(
            &model, reference: base, on: preferences(using: &random),
            with: AdamW(
                learningRate: alignmentLearningRate, beta2: 0.99),
            PreferenceOptions(beta: beta, likelihoodWeight: likelihoodWeight),
            TrainingOptions(
                batchSize: alignmentBatch, schedule: .linear, warmupSteps: 10, gradientClip: 1),
            using: &random, onStep: onStep)
        return model
    }

    /// A fixed choice of exchanges: the same for every arm and seed, so that comparisons are paired.
    public static func sample(_ exchanges: [Exchange], _ count: Int) -> [Exchange] {
        var random = RandomStream(seed: 1865, name: "miniature sample")
        var list = exchanges
        random.shuffle(&list)
        return Array(list.prefix(count))
    }
}
