// Training with everything on record: each step's numbers, the digest of its state, and the checkpoints
// from which a reader can compute any part of it again (`study replay --spot`).

public import Engine
internal import Events
internal import Glibc
internal import Synchronization

extension Run {
    /// Trains a model on examples and records every step: loss, gradient norm, digest of the state.
    ///
    /// The most memory that a step's activations took is a fact of the run, which `study show` prints by arm.
    ///
    /// With `checkpointEvery`, the whole state is kept with the run after every so many steps and after the
    /// last one: `study replay --spot K` then computes K random parts again instead of everything.
    /// - Parameters:
    ///   - arm: names the series, and the checkpoints; two trainings of a run that keep checkpoints need
    ///     different ones.
    ///   - onStep: called after each step is recorded; a spot check calls it for the steps it computes.
    /// - Throws: what `train(_:on:with:_:using:onStep:)` throws; ``RunError`` where an arm is used twice
    ///   or the options write checkpoints of their own.
    @discardableResult
    public func train(
        _ model: inout LanguageModel, on examples: [TrainingExample], with optimizer: AdamW,
        _ options: TrainingOptions = TrainingOptions(), arm: String = "",
        checkpointEvery: Int? = nil, using random: inout RandomStream,
        onStep: (TrainingStep) throws -> Void = { _ in }
    ) throws -> TrainingSummary {
        try keeping(options, arm, checkpointEvery, &model, &random) {
            model, options, random, each in
            try Engine.train(
                &model, on: examples, with: optimizer, options, using: &random
            ) { step in
                record(step, arm: arm)
                keepActivations(of: step, arm: arm)
                try onStep(step)
                try each(step)
            }
        }
    }

    /// Trains a model to prefer the chosen answers and records every step, as ``train(_:on:with:_:arm:checkpointEvery:using:onStep:)``
    /// does; accuracy and margin of the rewards too.
    /// - Parameters:
    ///   - reference: usually the model as it was before.
    ///   - arm: names the series, and the checkpoints.
    /// - Throws: what `trainDPO(_:reference:on:with:_:_:using:onStep:)` throws; ``RunError`` as above.
    @discardableResult
    public func trainDPO(
        _ model: inout LanguageModel, reference: LanguageModel, on pairs: [PreferencePair],
        with optimizer: AdamW, _ preference: PreferenceOptions = PreferenceOptions(),
        _ options: TrainingOptions = TrainingOptions(), arm: String = "",
        checkpointEvery: Int? = nil, using random: inout RandomStream,
        onStep: (TrainingStep) throws -> Void = { _ in }
    ) throws -> TrainingSummary {
        try keeping(options, arm, checkpointEvery, &model, &random) {
            model, options, random, each in
            try Engine.trainDPO(
                &model, reference: reference, on: pairs, with: optimizer, preference, options,
                using: &random
            ) { step in
                record(step, arm: arm)
                keepActivations(of: step, arm: arm)
                try onStep(step)
                try each(step)
            }
        }
    }

    private typealias Body = (
        inout LanguageModel, TrainingOptions, inout RandomStream,
        (TrainingStep) throws -> Void
    ) throws -> TrainingSummary

    /// Runs a training as the recorder wants it: whole, keeping checkpoints, or in part from them.
    private func keeping(
        _ options: TrainingOptions, _ arm: String, _ every: Int?, _ model: inout LanguageModel,
        _ random: inout RandomStream, _ body: Body
    ) throws -> TrainingSummary {
        guard let every else { return try body(&model, options, &random) { _ in } }
        guard every > 0, options.checkpoints == nil else {
            throw RunError(
                what: every > 0
                    ? "the options write checkpoints, and so does checkpointEvery"
                    : "checkpointEvery is \(every)",
                mend: "leave `checkpoints` out of the options, and give a positive number of steps")
        }
        guard Run.trainings.withLock({ $0.insert(arm).inserted }) else {
            throw RunError(
                what: "a second training keeps checkpoints under the arm \"\(arm)\"",
                mend: "give each such training an arm of its own: run.train(…, arm: \"…\")")
        }
        let parts = settings.segments.filter { $0.arm == arm }
        if !parts.isEmpty { return try compute(parts, options, &model, &random, body) }

        var options = options
        let draft = scratch + "/checkpoint.safetensors"
        options.checkpoints = (every, draft)
        return try body(&model, options, &random) { step in
            guard step.number % every == 0 || step.number == step.totalSteps else { return }
            let name = "\(TrainingSegment.folder(of: arm))/\(step.number).safetensors"
            try save(name, mediaType: "application/vnd.safetensors", kind: "weights") { path in
                rename(draft, path)
            }
        }
    }

    /// Computes parts of a training from its checkpoints, and leaves it as its last one has it.
    private func compute(
        _ parts: [TrainingSegment], _ options: TrainingOptions, _ model: inout LanguageModel,
        _ random: inout RandomStream, _ body: Body
    ) throws -> TrainingSummary {
        struct PartDone: Error {}
        var summary: TrainingSummary?
        for part in parts {
            var options = options
            var (state, chance) = (model, random)
            if !part.checkpoint.isEmpty {
                let checkpoint = try TrainingCheckpoint(part.checkpoint)
                // That the file is the state on record is for the recorder to see.
                record(checkpoint.stateDigest, step: checkpoint.step, arm: part.arm)
                options.resumption = checkpoint
            }
            do {
                // Where nothing is computed, `totalSteps` are done already and the body returns at once.
                summary = try body(&state, options, &chance) { step in
                    if step.number >= part.to, step.number < step.totalSteps { throw PartDone() }
                }
            } catch is PartDone {}
            if part.from == part.to { (model, random) = (state, chance) }
        }
        guard let summary else {
            throw RunError(
                what: "the recorder named no last checkpoint for this training",
                mend: "run `study replay` without --spot")
        }
        return summary
    }

    /// Puts on record how much memory a training's activations took, each time that a step took more.
    private func keepActivations(of step: TrainingStep, arm: String) {
        let isMore = Run.activations.withLock { known in
            guard step.activationBytes > known[arm] ?? -1 else { return false }
            known[arm] = step.activationBytes
            return true
        }
        guard isMore, !arm.isEmpty else { return }
        let fact = ActivationFact(
            arm: arm, bytes: step.activationBytes, isRecomputed: step.recomputesBlocks)
        channel.send(fact.event)
    }

    /// The most bytes of activations so far, by arm.
    private static let activations = Mutex<[String: Int]>([:])

    /// The arms whose trainings have kept checkpoints in this run.
    private static let trainings = Mutex<Set<String>>([])

    /// Records the digest of a training's state.
    func record(_ state: UInt64, step: Int, arm: String) {
        let digits = String(state, radix: 16)
        digest(
            String(repeating: "0", count: 16 - digits.count) + digits,
            series: arm.isEmpty ? "training state" : "training state[\(arm)]", step: step)
    }
}
