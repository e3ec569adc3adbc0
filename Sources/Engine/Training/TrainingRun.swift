// What every kind of training shares: the plan of steps, the order of the data, updates, reports,
// checkpoints. Trainer.swift and DPO.swift say what a step computes.

/// The order of rows over epochs, fixed by a salt.
package struct DataPlan {
    let rowCount: Int
    let batchSize: Int
    let accumulation: Int
    let shuffles: Bool
    let streams: RandomStream
    let totalSteps: Int
    private let stepsPerEpoch: Int
    private var epoch = -1
    private var order: [Int] = []

    init(
        rowCount: Int, batchSize: Int, accumulation: Int, epochs: Int, maximumSteps: Int?,
        shuffles: Bool, streams: RandomStream
    ) {
        self.rowCount = rowCount
        self.batchSize = batchSize
        self.accumulation = accumulation
        self.shuffles = shuffles
        self.streams = streams
        let perStep = batchSize * accumulation
        stepsPerEpoch = (rowCount + perStep - 1) / perStep
        let planned = epochs * stepsPerEpoch
        totalSteps =
            maximumSteps.map { epochs == 1 ? $0 : min($0, planned) } ?? planned
    }

    /// The rows of each batch of a step, 0 the first.
    mutating func batches(step: Int) -> [[Int]] {
        let wanted = step / stepsPerEpoch
        if wanted != epoch {
            epoch = wanted
            order = Array(0..<rowCount)
            if shuffles {
                var stream = streams.stream(named: "order of epoch \(epoch)")
                stream.shuffle(&order)
            }
        }
        let start = step % stepsPerEpoch * batchSize * accumulation
        let end = min(rowCount, start + batchSize * accumulation)
        return stride(from: start, to: end, by: batchSize).map {
            Array(order[$0..<min(end, $0 + batchSize)])
        }
    }
}

/// What a step computed before its update.
struct StepResult {
    var loss: Double
    var tokenCount: Int
    var accuracy: Double?
    var margin: Double?
}

/// A run under way.
struct TrainingRun {
    var plan: DataPlan
    var optimization: Optimization
    var losses: [Double] = []
    var norms: [Double] = []
    var tokenCount = 0
    var peakActivationBytes = 0
    /// Of the step that is computed.
    var stepActivationBytes = 0
    let options: TrainingOptions
    let salt: UInt32
    let random: RandomStream
    let outline: String
    /// Of each trained tensor, the digests of its state's names; ``stateDigest(_:)``.
    let stateNames: [[UInt64]]

    init(
        _ model: inout LanguageModel, rowCount: Int, kind: String, optimizer: AdamW,
        options: TrainingOptions, random: inout RandomStream
    ) throws {
        guard rowCount > 0 else { throw TrainingError(.noExamples) }
        // One word of the caller's stream; everything else follows from it, so two runs from one stream
        // differ and a checkpoint needs nothing more.
        if let resumption = options.resumption {
            salt = resumption.salt
            random = resumption.random
        } else {
            salt = random.nextUInt32()
        }
        self.random = random
        self.options = options
        let streams = random.stream(named: "training \(salt)")
        plan = DataPlan(
            rowCount: rowCount, batchSize: options.batchSize, accumulation: options.accumulation,
            epochs: options.epochs, maximumSteps: options.maximumSteps, shuffles: options.shuffles,
            streams: streams)
        optimization = try Optimization(
            model, optimizer: optimizer, keepsMasterWeights: options.keepsMasterWeights)
        stateNames = optimization.stateNames()
        outline =
            "\(kind) rows \(rowCount) batch \(options.batchSize) accumulation \(options.accumulation) "
            + "reduction \(options.reduction.rawValue) shuffles \(options.shuffles) "
            + "tensors \(optimization.tensors.count)"
        guard let resumption = options.resumption else { return }
        guard resumption.outline == outline else {
            throw TrainingError(
                .checkpointMismatch(
                    "it was made by \"\(resumption.outline)\", this is \"\(outline)\""))
        }
        try optimization.restore(resumption, into: &model)
        (losses, norms) = (resumption.losses, resumption.gradientNorms)
        tokenCount = resumption.tokenCount
    }

    /// The dropout of a batch's low-rank updates.
    func dropout(_ model: LanguageModel, batch: Int) -> UpdateDropout? {
        guard let probability = model.adapter?.configuration.dropout, probability > 0 else {
            return nil
        }
        let stream = plan.streams.stream(
            named: "dropout of step \(optimization.step) batch \(batch)")
        return UpdateDropout(probability: Float(probability), stream: stream)
    }

    /// Takes every step that is left.
    mutating func run(
        _ model: inout LanguageModel, onStep: (TrainingStep) throws -> Void,
        compute: (inout TrainingRun, LanguageModel, [[Int]]) throws -> StepResult
    ) throws -> TrainingSummary {
        while optimization.step < plan.totalSteps {
            let step = optimization.step
            let batches = plan.batches(step: step)
            stepActivationBytes = 0
            let result = try compute(&self, model, batches)
            peakActivationBytes = max(peakActivationBytes, stepActivationBytes)
            ActivationMemory.note(
                stepActivationBytes, isRecomputed: options.gradientCheckpointing)
            let rate =
                optimization.optimizer.learningRate
                * options.schedule.factor(
                    step: step, of: plan.totalSteps, warmup: options.warmupSteps)
            let norm = try optimization.update(&model, rate: rate, clip: options.gradientClip)
            losses.append(result.loss)
            norms.append(norm)
            tokenCount += result.tokenCount
            if let (every, path) = options.checkpoints,
                (step + 1) % every == 0 || step + 1 == plan.totalSteps
            {
                try checkpoint(model).save(to: path)
            }
            try onStep(
                TrainingStep(
                    number: step + 1, totalSteps: plan.totalSteps, loss: result.loss,
                    gradientNorm: norm, learningRate: rate, tokenCount: result.tokenCount,
                    accuracy: result.accuracy, margin: result.margin,
                    activationBytes: stepActivationBytes,
                    recomputesBlocks: options.gradientCheckpointing,
                    stateDigest: stateDigest(model)))
        }
        return TrainingSummary(
            losses: losses, gradientNorms: norms, tokenCount: tokenCount,
            peakActivationBytes: peakActivationBytes)
    }

    func checkpoint(_ model: LanguageModel) -> TrainingCheckpoint {
        TrainingCheckpoint(
            step: optimization.step, losses: losses, gradientNorms: norms, tokenCount: tokenCount,
            random: random, salt: salt, outline: outline, tensors: optimization.tensors(model))
    }
}
