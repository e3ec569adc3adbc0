// What a training run can be told, and what it reports.

/// How a supervised run goes over its examples. The defaults are one epoch of batches of eight.
public struct TrainingOptions: Sendable {
    public var epochs: Int
    /// Stops earlier, or (with `epochs` left at 1) goes around again until it has taken as many.
    public var maximumSteps: Int?
    /// Examples (rows, where they are packed) computed at once.
    public var batchSize: Int
    /// Batches to a step: their gradients add up to those of one large batch, to the bit.
    public var accumulation: Int
    public var reduction: LossReduction
    public var schedule: LearningRateSchedule
    public var warmupSteps: Int
    /// The largest norm that a step's gradient keeps; `nil` does not clip.
    public var gradientClip: Double?
    public var packing: Packing
    /// Tokens of an example beyond which it is cut.
    public var maximumLength: Int?
    /// Keeps each block's input alone and computes the block again on the way back.
    public var gradientCheckpointing: Bool
    /// Draws a new order each epoch; otherwise the examples' own.
    public var shuffles: Bool
    /// Trains f32 copies of half-precision weights; otherwise each update is rounded into them, as
    /// training in pure bf16 does (a step below half an ulp is then lost).
    public var keepsMasterWeights: Bool
    /// Writes a checkpoint every so many steps, and after the last, to this file.
    public var checkpoints: (every: Int, path: String)?
    /// Goes on from here instead of from the beginning.
    public var resumption: TrainingCheckpoint?

    public init(
        epochs: Int = 1, maximumSteps: Int? = nil, batchSize: Int = 8, accumulation: Int = 1,
        reduction: LossReduction = .tokenMean, schedule: LearningRateSchedule = .constant,
        warmupSteps: Int = 0, gradientClip: Double? = nil, packing: Packing = .none,
        maximumLength: Int? = nil, gradientCheckpointing: Bool = false, shuffles: Bool = true,
        keepsMasterWeights: Bool = true, checkpoints: (every: Int, path: String)? = nil,
        resumption: TrainingCheckpoint? = nil
    ) {
        precondition(batchSize > 0 && accumulation > 0, "a step takes at least one example")
        self.epochs = epochs
        self.maximumSteps = maximumSteps
        self.batchSize = batchSize
        self.accumulation = accumulation
        self.reduction = reduction
        self.schedule = schedule
        self.warmupSteps = warmupSteps
        self.gradientClip = gradientClip
        self.packing = packing
        self.maximumLength = maximumLength
        self.gradientCheckpointing = gradientCheckpointing
        self.shuffles = shuffles
        self.keepsMasterWeights = keepsMasterWeights
        self.checkpoints = checkpoints
        self.resumption = resumption
    }
}

/// What the loss of a step is the mean of.
public enum LossReduction: String, Sendable, Hashable, Codable {
    /// Over every labelled token of the step, whatever batch it is in (transformers since 4.46).
    case tokenMean
    /// Over the batches of a step, of each batch's mean over its tokens (transformers before).
    case meanOfBatchMeans
    /// Over the examples of the step, of each one's mean over its tokens.
    case perExample
}

/// Whether examples share rows.
public enum Packing: Sendable, Hashable, Codable {
    /// Each example is a row of its own. Rows are never padded.
    case none
    /// Examples one after the other, cut every `length` tokens; tokens see the examples before them in
    /// their row.
    case naive(length: Int)
    /// Whole examples side by side in rows of at most `length` tokens; none sees another.
    case masked(length: Int)
}

/// A text to learn.
public struct TrainingExample: Sendable, Hashable, Codable {
    public var tokens: [Int32]
    /// What each position should have been predicted to be: usually the tokens themselves, −100 where
    /// the loss ignores them. Not shifted: position i is predicted from those before it.
    public var labels: [Int32]

    /// The label that the loss ignores.
    public static let ignored: Int32 = -100

    /// - Precondition: as many labels as tokens.
    public init(tokens: [Int32], labels: [Int32]) {
        precondition(
            tokens.count == labels.count, "\(tokens.count) tokens and \(labels.count) labels")
        self.tokens = tokens
        self.labels = labels
    }

    /// All tokens are learned.
    public init(tokens: [Int32]) { self.init(tokens: tokens, labels: tokens) }

    /// The completion is learned, the prompt is not.
    public init(prompt: [Int32], completion: [Int32]) {
        self.init(
            tokens: prompt + completion,
            labels: [Int32](repeating: Self.ignored, count: prompt.count) + completion)
    }
}

/// One step of a run, reported when it is done.
public struct TrainingStep: Sendable, Hashable, Codable {
    /// 1 for the first.
    public var number: Int
    public var totalSteps: Int
    /// Before the update, by the run's reduction; nats per token.
    public var loss: Double
    /// Before clipping.
    public var gradientNorm: Double
    public var learningRate: Double
    /// Tokens computed, labelled or not.
    public var tokenCount: Int
    /// Preference training: the share of pairs whose chosen answer has the larger reward.
    public var accuracy: Double?
    /// Preference training: the mean difference of rewards, chosen less rejected.
    public var margin: Double?
    /// The most bytes of activations that one of the step's batches kept for its way back, the largest moment
    /// of a recomputed block included. Depends on shapes alone.
    public var activationBytes: Int
    /// Whether blocks kept their input alone (``TrainingOptions/gradientCheckpointing``).
    public var recomputesBlocks: Bool
    /// Of the state after the update: trained tensors, moments, step, random stream. The same on any CPU
    /// and thread count; two runs whose numbers agree by chance still differ here.
    public var stateDigest: UInt64
}

/// A whole run.
public struct TrainingSummary: Sendable, Codable {
    /// Of every step, those before a resumption included.
    public var losses: [Double]
    public var gradientNorms: [Double]
    public var steps: Int { losses.count }
    public var tokenCount: Int
    /// The most bytes of activations that a batch of this run kept for its way back; 0 where no step was left
    /// to take.
    public var peakActivationBytes: Int
    public var finalLoss: Double? { losses.last }
}
