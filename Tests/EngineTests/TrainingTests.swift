// The trainer: same bits whatever the threads, the cut into batches or an interruption; reductions,
// packing, clipping, schedules, errors.

import Engine
import EngineKernels
import Foundation
import Testing

/// A model small enough that a step takes a millisecond.
func tinyModel(
    family: ModelConfiguration.Family = .llama, tied: Bool = true, seed: UInt64 = 1
) -> LanguageModel {
    var configuration = ModelConfiguration(
        family: family, vocabularySize: 40, hiddenSize: 24, intermediateSize: 40, layerCount: 2,
        headCount: 3, keyValueHeadCount: 1, headDimension: 8)
    configuration.tiesEmbeddings = tied
    if family == .gemma3 {
        configuration.slidingWindow = 4
        configuration.slidingLayers = [true, false]
    }
    var random = RandomStream(seed: seed, name: "tiny")
    return LanguageModel(configuration: configuration, standardDeviation: 0.2, using: &random)
}

func tinyExamples(_ count: Int, seed: UInt64 = 2) -> [TrainingExample] {
    var random = RandomStream(seed: seed, name: "examples")
    return (0..<count).map { _ in
        let prompt = (0..<1 + random.below(4)).map { _ in Int32(random.below(40)) }
        let answer = (0..<1 + random.below(9)).map { _ in Int32(random.below(40)) }
        return TrainingExample(prompt: prompt, completion: answer)
    }
}

/// Every trained tensor's bytes.
func trainedBytes(_ model: LanguageModel) throws -> [[UInt8]] {
    try model.trainedTensors().map { model[$0].withUnsafeBytes { Array($0) } }
}

/// A model with an adapter that has dropout.
func adapted(_ model: LanguageModel, dropout: Double = 0) throws -> LanguageModel {
    var result = model
    var random = RandomStream(seed: 9, name: "adapter")
    try result.attach(LoRA(rank: 2, alpha: 4, dropout: dropout), using: &random)
    return result
}

@Suite(.serialized) struct `Training` {
    @Test(arguments: [false, true]) func `gives the same bits for 1, 2, 3 and 7 threads`(
        full: Bool
    ) throws {
        let start = full ? tinyModel() : try adapted(tinyModel(family: .gemma3), dropout: 0.2)
        let before = ek_threads()
        defer { ek_set_threads(before) }
        var runs: [([Double], [[UInt8]])] = []
        for threads in [1, 2, 3, 7] {
            ek_set_threads(Int32(threads))
            var model = start
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(40), with: AdamW(learningRate: 1e-2), epochs: 1,
                using: &random)
            runs.append((summary.losses, try trainedBytes(model)))
        }
        for run in runs.dropFirst() {
            #expect(run.0 == runs[0].0)
            #expect(run.1 == runs[0].1)
        }
    }

    @Test(arguments: ["scalar", "avx2"]) func `gives the same bits on lower kernels`(name: String)
        throws
    {
        let before = String(cString: ek_kernel_name())
        defer { _ = ek_use_kernels(before) }
        func run() throws -> ([Double], [[UInt8]]) {
            var model = tinyModel(family: .gemma3)
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(24), with: AdamW(learningRate: 1e-2), epochs: 1,
                using: &random)
            return (summary.losses, try trainedBytes(model))
        }
        let best = try run()
        guard ek_use_kernels(name) else { return }
        let lower = try run()
        #expect(best.0 == lower.0 && best.1 == lower.1)
    }

    @Test(arguments: [LossReduction.tokenMean, .perExample], [false, true])
    func `accumulates to the bits of the large batch`(reduction: LossReduction, full: Bool) throws {
        let start = full ? tinyModel() : try adapted(tinyModel())
        func run(_ batch: Int, _ accumulation: Int) throws -> ([Double], [[UInt8]]) {
            var model = start
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(24), with: AdamW(learningRate: 1e-2),
                TrainingOptions(
                    batchSize: batch, accumulation: accumulation, reduction: reduction),
                using: &random)
            return (summary.losses, try trainedBytes(model))
        }
        let large = try run(12, 1)
        for (batch, accumulation) in [(6, 2), (4, 3), (1, 12), (5, 3)]
        where batch * accumulation == 12 {
            let small = try run(batch, accumulation)
            #expect(small.0 == large.0)
            #expect(small.1 == large.1)
        }
    }

    // Two batches of 1 and 3 labels, losses a and (b, c, d): token mean (a+b+c+d)/4; mean of means
    // a/2 + (b+c+d)/6; per example as batches hold one example each.
    @Test func `names what a loss is the mean of`() {
        let one = TrainingBatch([
            TrainingRow(segments: [TrainingExample(prompt: [1], completion: [2])])
        ])
        let three = TrainingBatch([
            TrainingRow(segments: [TrainingExample(prompt: [1], completion: [2, 3, 4])])
        ])
        #expect(LossReduction.tokenMean.weights([one, three]) == [[0.25], [0.25, 0.25, 0.25]])
        let sixth = 1.0 / 6
        #expect(
            LossReduction.meanOfBatchMeans.weights([one, three]) == [[0.5], [sixth, sixth, sixth]])
        #expect(LossReduction.perExample.weights([one, three]) == [[0.5], [sixth, sixth, sixth]])
    }

    /// What a run to be stopped and resumed trains, and how.
    enum Resumed: String, CaseIterable {
        case weights = "all weights"
        case adapter = "an adapter with dropout"
        case nf4 = "QLoRA on NF4"
        case int8 = "QLoRA on int8"
        case llmInt8 = "QLoRA on LLM.int8"
        case naive = "naive packing"
        case masked = "masked packing"
        case recomputed = "recomputed blocks"
        case half = "bf16 weights with masters"
        case pure = "bf16 weights without"
        case embedding = "an embedding's update and a head saved whole"

        func start() throws -> LanguageModel {
            let tied = tinyModel()
            switch self {
            case .weights: return tinyModel(tied: false)
            case .adapter, .naive, .recomputed: return try adapted(tied, dropout: 0.3)
            case .masked: return tinyModel(family: .gemma3)
            case .half, .pure: return tinyModel(tied: false).converted(to: .bf16)
            case .nf4: return try adapted(tied.quantized(.nf4(doubleQuantization: true)))
            case .int8: return try adapted(tied.quantized(.int8), dropout: 0.3)
            case .llmInt8:
                return try adapted(tied.quantized(.llmInt8(OutlierDecomposition(threshold: 1))))
            case .embedding:
                var model = tied
                var random = RandomStream(seed: 3, name: "init")
                try model.attach(
                    LoRA(
                        rank: 2, targets: .names(["embed_tokens", "v_proj"]),
                        modulesToSave: ["lm_head"]), using: &random)
                return model
            }
        }

        var options: TrainingOptions {
            var options = TrainingOptions(
                epochs: 3, batchSize: 2, accumulation: 2, schedule: .cosine, warmupSteps: 2,
                gradientClip: 1)
            switch self {
            case .naive: (options.packing, options.epochs) = (.naive(length: 7), 4)
            case .masked: (options.packing, options.epochs) = (.masked(length: 12), 4)
            case .recomputed: options.gradientCheckpointing = true
            case .pure: options.keepsMasterWeights = false
            case .int8: (options.reduction, options.schedule) = (.perExample, .linear)
            default: break
            }
            return options
        }
    }

    @Test(arguments: Resumed.allCases) func `goes on from every step as if it had not stopped`(
        kind: Resumed
    ) throws {
        let start = try kind.start()
        let examples = tinyExamples(10)
        try withTemporaryFolder { folder in
            struct Killed: Error {}
            let optimizer = AdamW(learningRate: 1e-2, weightDecay: 0.1)
            var whole = start
            var random = RandomStream(seed: 5, name: "run")
            var digests: [UInt64] = []
            let summary = try train(
                &whole, on: examples, with: optimizer, kind.options, using: &random
            ) { digests.append($0.stateDigest) }
            let steps = summary.steps
            #expect(steps >= 6 && Set(digests).count == steps, "\(steps)")
            for stop in 1..<steps {
                let path = folder + "/step-\(stop).safetensors"
                var killed = start
                var stream = RandomStream(seed: 5, name: "run")
                var stopping = kind.options
                stopping.checkpoints = (every: 1, path: path)
                #expect(throws: Killed.self) {
                    try train(&killed, on: examples, with: optimizer, stopping, using: &stream) {
                        if $0.number == stop { throw Killed() }
                    }
                }
                let checkpoint = try TrainingCheckpoint(path)
                #expect(checkpoint.step == stop && checkpoint.stateDigest == digests[stop - 1])
                var going = kind.options
                going.resumption = checkpoint
                var resumed = start
                var other = RandomStream(seed: 0, name: "overwritten by the checkpoint")
                var rest: [UInt64] = []
                let again = try train(
                    &resumed, on: examples, with: optimizer, going, using: &other
                ) { rest.append($0.stateDigest) }
                #expect(again.losses == summary.losses, "after \(stop)")
                #expect(again.gradientNorms == summary.gradientNorms)
                #expect(again.tokenCount == summary.tokenCount)
                #expect(rest == Array(digests[stop...]))
                #expect(try trainedBytes(resumed) == trainedBytes(whole), "after \(stop)")
                #expect(other == random)
            }
        }
    }

    /// Processes that get SIGKILL in the middle of a step, at each step once, and what is on disk afterwards.
    @Test func `goes on from what a killed process left on disk`() async throws {
        let folder = Self.folderOfTheKilled(getpid())
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let optimizer = AdamW(learningRate: 1e-2)
        let start = try Resumed.adapter.start()
        let examples = tinyExamples(10)
        var whole = start
        var random = RandomStream(seed: 5, name: "run")
        let summary = try train(
            &whole, on: examples, with: optimizer, Resumed.adapter.options, using: &random)
        #expect(summary.steps == 9)
        for done in 1..<9 {
            try "\(done)".write(toFile: folder + "/stop", atomically: true, encoding: .utf8)
            await #expect(processExitsWith: .signal(SIGKILL)) {
                let folder = Training.folderOfTheKilled(getppid())
                let stop = Int(try String(contentsOfFile: folder + "/stop", encoding: .utf8))!
                var model = try Training.Resumed.adapter.start()
                var options = Training.Resumed.adapter.options
                options.checkpoints = (every: 1, path: folder + "/state.safetensors")
                var random = RandomStream(seed: 5, name: "run")
                try train(
                    &model, on: tinyExamples(10), with: AdamW(learningRate: 1e-2), options,
                    using: &random
                ) { step in
                    // Another thread kills while the next step computes, or writes its state.
                    if step.number == stop {
                        Thread.detachNewThread { kill(getpid(), SIGKILL) }
                    }
                }
                Thread.sleep(forTimeInterval: 60)
            }
            let checkpoint = try TrainingCheckpoint(folder + "/state.safetensors")
            #expect((done...9).contains(checkpoint.step))
            var options = Resumed.adapter.options
            options.resumption = checkpoint
            var resumed = start
            var other = random
            let rest = try train(
                &resumed, on: examples, with: optimizer, options, using: &other)
            #expect(rest.losses == summary.losses)
            #expect(try trainedBytes(resumed) == trainedBytes(whole))
        }
    }

    fileprivate static func folderOfTheKilled(_ process: Int32) -> String {
        NSTemporaryDirectory() + "/killed-trainings-\(process)"
    }

    @Test func `refuses a checkpoint of another run`() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/state.safetensors"
            var model = tinyModel()
            var random = RandomStream(seed: 5, name: "run")
            try train(
                &model, on: tinyExamples(4), with: AdamW(learningRate: 1e-3),
                TrainingOptions(batchSize: 2, checkpoints: (every: 1, path: path)), using: &random)
            let error = #expect(throws: TrainingError.self) {
                try train(
                    &model, on: tinyExamples(6), with: AdamW(learningRate: 1e-3),
                    TrainingOptions(batchSize: 2, resumption: TrainingCheckpoint(path)),
                    using: &random)
            }
            #expect(
                error?.description.hasPrefix("The checkpoint is not of this run: it was made by")
                    == true)
        }
    }

    @Test func `checkpoints gradients to the same bits and in less memory`() throws {
        func run(_ checkpointing: Bool) throws -> (TrainingSummary, [[UInt8]]) {
            var model = try adapted(tinyModel(), dropout: 0.2)
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(32), with: AdamW(learningRate: 1e-2),
                TrainingOptions(batchSize: 16, gradientCheckpointing: checkpointing), using: &random
            )
            return (summary, try trainedBytes(model))
        }
        let (plain, plainBytes) = try run(false)
        let (saving, savingBytes) = try run(true)
        #expect(plain.losses == saving.losses && plainBytes == savingBytes)
        #expect(saving.peakActivationBytes < plain.peakActivationBytes)
    }

    @Test func `learns a small text by heart`() throws {
        var model = tinyModel()
        var random = RandomStream(seed: 5, name: "run")
        let summary = try train(
            &model, on: [TrainingExample(tokens: [1, 7, 3, 9, 4, 4, 8])],
            with: AdamW(learningRate: 1e-2), TrainingOptions(maximumSteps: 60), using: &random)
        #expect(summary.finalLoss! < 0.05)
        #expect(model.generate([[1]], maximumNewTokens: 6) == [[7, 3, 9, 4, 4, 8]])
    }

    @Test func `leaves other copies of the model alone`() throws {
        let start = tinyModel()
        let before = try trainedBytes(start)
        var model = start
        var random = RandomStream(seed: 5, name: "run")
        try train(
            &model, on: tinyExamples(4), with: AdamW(learningRate: 1e-2), epochs: 1, using: &random)
        #expect(try trainedBytes(start) == before && trainedBytes(model) != before)
    }

    @Test func `trains bfloat16 weights with f32 masters, or loses small steps without`() throws {
        func moved(_ masters: Bool) throws -> Int {
            let start = tinyModel().converted(to: .bf16)
            var model = start
            var random = RandomStream(seed: 5, name: "run")
            try train(
                &model, on: tinyExamples(32), with: AdamW(learningRate: 2e-5),
                TrainingOptions(epochs: 4, keepsMasterWeights: masters), using: &random)
            #expect(model["model.norm.weight"].dtype == .bf16)
            return zip(try trainedBytes(start), try trainedBytes(model)).reduce(0) {
                $0 + zip($1.0, $1.1).count { $0 != $1 }
            }
        }
        #expect(try moved(true) > moved(false))
    }

    @Test func `stops at a loss that is not finite, and says where`() throws {
        var model = tinyModel()
        var poisoned = model["model.layers.1.mlp.up_proj.weight"]
        poisoned.withUnsafeMutableFloats { $0[3] = .infinity }
        model["model.layers.1.mlp.up_proj.weight"] = poisoned
        var random = RandomStream(seed: 5, name: "run")
        let error = #expect(throws: TrainingError.self) {
            try train(
                &model, on: tinyExamples(4), with: AdamW(learningRate: 1e-2), epochs: 1,
                using: &random)
        }
        #expect(
            error?.description == """
                The loss is not finite.
                  where: step 1, layer 1, model.layers.1.mlp.up_proj.weight
                  mend:  Lower the learning rate, clip gradients, or resume from the last checkpoint.
                """)
    }

    @Test func `refuses what cannot be learned`() throws {
        var model = tinyModel()
        var random = RandomStream(seed: 5, name: "run")
        func reason(_ examples: [TrainingExample]) -> TrainingError.Reason? {
            #expect(throws: TrainingError.self) {
                try train(
                    &model, on: examples, with: AdamW(learningRate: 1e-2), epochs: 1, using: &random
                )
            }?.reason
        }
        #expect(reason([]) == .noExamples)
        #expect(reason([TrainingExample(prompt: [1, 2], completion: [])]) == .nothingToLearn)
        #expect(reason([TrainingExample(tokens: [1, 40])]) == .tokenOutOfRange(40, vocabulary: 40))
    }
}

@Suite struct `Packing of examples` {
    let examples = [
        TrainingExample(tokens: [1, 2, 3]), TrainingExample(tokens: [4, 5]),
        TrainingExample(tokens: [6, 7, 8, 9]),
    ]

    @Test func `naive cuts the stream, masked keeps examples whole`() {
        let naive = Packing.naive(length: 4).rows(examples, maximumLength: nil)
        #expect(
            naive.map { $0.segments.map(\.tokens) } == [[[1, 2, 3, 4]], [[5, 6, 7, 8]], [[9]]])
        let masked = Packing.masked(length: 5).rows(examples, maximumLength: nil)
        #expect(
            masked.map { $0.segments.map(\.tokens) } == [[[1, 2, 3], [4, 5]], [[6, 7, 8, 9]]])
        let none = Packing.none.rows(examples, maximumLength: 2)
        #expect(none.map { $0.segments.map(\.tokens) } == [[[1, 2]], [[4, 5]], [[6, 7]]])
    }

    @Test func `masked gives the loss of separate rows, naive another`() throws {
        let model = tinyModel()
        func loss(_ packing: Packing) throws -> Double {
            var copy = model
            var random = RandomStream(seed: 5, name: "run")
            return try train(
                &copy, on: examples, with: AdamW(learningRate: 0),
                TrainingOptions(packing: packing, shuffles: false), using: &random
            ).losses[0]
        }
        #expect(try loss(.masked(length: 16)) == loss(.none))
        #expect(try loss(.naive(length: 16)) != loss(.none))
    }
}
