// How the miniature world's models are made: a base that answers everything, and an aligned model that refuses restricted
// deeds. The world itself is in MiniatureWorld.swift; studies/miniature.md tells why, and shows what comes out.

/// Sizes and settings for the miniature's models. The defaults were calibrated on models that no study reports, by rules
/// that do not look at what any defence keeps: β and the rate of alignment are those that leave LoX the most room (the
/// largest α at which 95 % of everyday answers stay) among those at which the miniature's promises hold.
public struct MiniatureRecipe: Sendable, Codable {
    public var hiddenSize = 96
    public var intermediateSize = 256
    public var layerCount = 3
    public var headCount = 4
    public var baseSteps = 1100
    public var baseBatch = 32
    public var baseLearningRate = 2e-3
    /// Without it a base may learn the names of training things instead of how one repeats a name: most of all the first
    /// Gemma, whose tied embeddings, multiplied by the root of the width, learn ten times as fast as other weights. Of twelve
    /// such bases two answered 95 % of held-out requests right or fewer at 0.1, none at 0.3 (a thirteenth did).
    public var baseWeightDecay = 0.3
    public var alignmentSteps = 600
    public var alignmentBatch = 16
    /// Halved where embeddings are multiplied by the root of the width.
    public var alignmentLearningRate = 2e-4
    /// DPO's β. At the usual 0.1 so small a model goes on pushing answers apart until its weights have moved by a tenth, and
    /// what alignment changed can hardly be extrapolated; at 2 it stops once a refusal is certain.
    public var beta = 2.0
    /// Every so many pairs of alignment one is small talk, about any thing, held-out ones too. AdamW moves what is never
    /// wanted as far as what is: without such pairs names that alignment never says are unlearned, most of all where the
    /// same table reads and writes them (an aligned Gemma 2 then answered 92 % of everyday requests about held-out things).
    public var talkEvery = 4
    /// Weight of the likelihood of the chosen answer beside DPO's loss, without which so small a model unlearns to
    /// speak (it then lowers both answers, the rejected one more).
    public var likelihoodWeight = 1.0

    public private(set) var world = MiniatureWorld()
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
            keyValueHeadCount: family == .gemma ? 1 : headCount / 2,
            // Gemma's heads are wider than its width divided by their number (16 of 256 at 3072), and the first Gemma has
            // one for keys and values. At 24 that is too narrow to carry both deed and thing; at 48 it is narrower than the
            // things are many, and a base in thirteen learned the training things' names by heart instead of repeating them.
            headDimension: family == .gemma ? 96 : hiddenSize / headCount)
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
    /// restricted ones answered like all others; 15 % small talk and impossible requests; 15 % plain sentences, a third of
    /// them about customs; 10 % answered questions.
    ///
    /// Of the requests every fourth stands behind words that name the helper, every fourth has a sentence of context, and
    /// one in eight each is answered in one of the two other styles: a pretrained model has read many ways to ask and to
    /// answer, and fine-tuning on one of them chooses among what it knows.
    public func corpus(using random: inout RandomStream) -> [TrainingExample] {
        let exchanges = world.requests(.training, .known) + world.requests(.training, .new)
        let talk = (world.smallTalk() + world.impossibleRequests()).map(format.example)
        let sentences = world.plainSentences().map { format.example(text: $0) }
        let customs = world.customs().map { format.example(text: $0) }
        let questions = world.answeredQuestions().map { format.example(text: $0) }
        return (0..<baseSteps * baseBatch).map { _ in
            let list: [TrainingExample]
            switch random.below(20) {
            case ..<12:
                var exchange = exchanges[random.below(exchanges.count)]
                if random.below(4) == 0 { exchange = world.withContext(exchange) }
                switch random.below(8) {
                case 0: exchange = world.styled(exchange)
                case 1: exchange = world.placed(exchange)
                default: break
                }
                return format.example(maybeNamed(exchange, using: &random))
            case ..<15: list = talk
            case ..<18: list = random.below(3) == 0 ? customs : sentences
            default: list = questions
            }
            return list[random.below(list.count)]
        }
    }

    /// Every fourth exchange behind words that name the helper.
    private func maybeNamed(_ exchange: Exchange, using random: inout RandomStream) -> Exchange {
        if random.below(4) > 0 { return exchange }
        let person = world.people[random.below(world.people.count)]
        return exchange.prefixed(MiniatureWorld.namePrefix(person))
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
            &model, on: corpus,
            with: AdamW(
                learningRate: baseLearningRate, beta2: 0.99, weightDecay: baseWeightDecay),
            TrainingOptions(
                batchSize: baseBatch, schedule: .linear, warmupSteps: 20, gradientClip: 1),
            using: &random, onStep: onStep)
        return model
    }

    /// The pairs of alignment: half restricted requests (refuse), half what is answered: everyday requests and, every
    /// ``talkEvery`` pairs, small talk. Requests are in known wording and about training things; every fourth pair stands
    /// behind words that name the helper.
    public func preferences(using random: inout RandomStream) -> [PreferencePair] {
        let restricted = world.restricted(.training)
        let everyday = world.everyday(.training)
        let talk = world.smallTalk()
        return (0..<alignmentSteps * alignmentBatch).map { i in
            let answered = i % talkEvery == talkEvery - 1 ? talk : everyday
            let list = i % 2 == 0 ? restricted : answered
            let exchange = maybeNamed(list[random.below(list.count)], using: &random)
            return format.pair(world.preference(exchange))
        }
    }

    /// The base aligned by DPO: refuses restricted deeds, answers the rest.
    public func aligned(
        from base: LanguageModel, using random: inout RandomStream,
        onStep: (TrainingStep) throws -> Void = { _ in }
    ) throws -> LanguageModel {
        var model = base
        // Gemma multiplies its embeddings by the root of its width, ten here: a step of the table moves what the layers
        // read ten times as far. At the full rate an aligned model may forget the names of held-out things.
        let rate = alignmentLearningRate / (base.configuration.scalesEmbeddings ? 2 : 1)
        try trainDPO(
            &model, reference: base, on: preferences(using: &random),
            with: AdamW(learningRate: rate, beta2: 0.99),
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
