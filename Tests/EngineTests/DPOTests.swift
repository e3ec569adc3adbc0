// Preference losses against the fixtures (trl's sigmoid loss) and against their formulas.

import Engine
import Testing

@Suite struct `DPO` {
    static func pairs(_ file: SafetensorsFile) throws -> [PreferencePair] {
        let chosen = try LoRAFixture.examples(file, prefix: "chosen_")
        let rejected = try LoRAFixture.examples(file, prefix: "rejected_")
        return zip(chosen, rejected).map { chosen, rejected in
            let prompt = chosen.labels.prefix { $0 == TrainingExample.ignored }.count
            return PreferencePair(
                prompt: Array(chosen.tokens.prefix(prompt)),
                chosen: Array(chosen.tokens.dropFirst(prompt)),
                rejected: Array(rejected.tokens.dropFirst(prompt)))
        }
    }

    @Test(arguments: ["llama-mha", "gemma2"])
    func `gives the fixtures' loss, log-probabilities and gradients`(name: String) throws {
        let lora = try LoRAFixture(name)
        let pairs = try Self.pairs(SafetensorsFile(lora.folder + "/dpo/batch.safetensors"))
        let expected = try lora.json("dpo/expected.json")
        let references = lora.base.scores(
            of: pairs.flatMap { [($0.prompt, $0.chosen), ($0.prompt, $0.rejected)] })
        let optimization = try Optimization(
            lora.model, optimizer: AdamW(learningRate: 0), keepsMasterWeights: true)
        let tape = Tape(recording: true, parameters: optimization.gradients)
        var rope = RotaryTables(lora.model.configuration)
        rope.extend(to: 64)
        let terms = try Transformer(lora.model).preferenceTerms(
            pairs,
            references: pairs.indices.map {
                (references[2 * $0].logProbability, references[2 * $0 + 1].logProbability)
            }, PreferenceOptions(beta: 0.1), rope: rope, on: tape, pairCount: 2, chosenTokens: 1,
            step: 1, model: lora.model)
        tape.backward()
        func numbers(_ key: String) -> [Double] { expected[key]!.array!.map { $0.double! } }
        #expect(abs(terms.loss - expected["loss"]!.double!) < 1e-5)
        for (ours, theirs) in [
            (terms.losses, numbers("losses")),
            (terms.chosenLogProbabilities, numbers("policy_chosen_logps")),
            (terms.rejectedLogProbabilities, numbers("policy_rejected_logps")),
            (
                pairs.indices.map { references[2 * $0].logProbability },
                numbers("reference_chosen_logps")
            ),
        ] {
            // Sums of thirteen log-probabilities near 100 in f32: 1e-5 relative.
            for (a, b) in zip(ours, theirs) { #expect(abs(a - b) < 1e-5 * max(1, abs(b)) + 1e-5) }
        }
        let file = try SafetensorsFile(lora.folder + "/dpo/gradients.safetensors")
        #expect(try gradientError(optimization.gradients, file) < 1e-4)
    }

    /// IPO's log-probabilities are means over tokens, the others' are sums; the likelihood is the chosen answer's alone.
    @Test(arguments: [PreferenceLoss.sigmoid(), .ipo, .hinge], [0, 0.5])
    func `takes answers of unequal length by tokens or whole, as each loss has it`(
        loss: PreferenceLoss, likelihood: Double
    ) throws {
        let (policy, reference) = (tinyModel(), tinyModel(seed: 2))
        let pair = PreferencePair(prompt: [1, 2], chosen: [3, 4, 5, 6], rejected: [7])
        func scores(_ model: LanguageModel) -> (chosen: Double, rejected: Double) {
            let both = model.scores(of: [(pair.prompt, pair.chosen), (pair.prompt, pair.rejected)])
            return (both[0].logProbability, both[1].logProbability)
        }
        let (p, r) = (scores(policy), scores(reference))
        let h = (p.chosen - r.chosen) / (loss == .ipo ? 4 : 1) - (p.rejected - r.rejected)
        let expected = loss.value(h, beta: 0.2).loss - likelihood * p.chosen / 4
        var model = policy
        var random = RandomStream(seed: 5, name: "run")
        let summary = try trainDPO(
            &model, reference: reference, on: [pair], with: AdamW(learningRate: 0),
            PreferenceOptions(beta: 0.2, loss: loss, likelihoodWeight: likelihood), using: &random)
        #expect(abs(summary.losses[0] - expected) < 1e-5 * max(1, abs(expected)))
    }

    // By hand, β = 0.5, h = 1: ln(1 + e^-0.5) = 0.474077; 1 − 0.5 = 0.5; (1 − 1)² = 0; h = 3: 2² = 4.
    @Test func `has the losses of the papers`() {
        let sigmoid = PreferenceLoss.sigmoid().value(1, beta: 0.5)
        #expect(abs(sigmoid.loss - 0.474_076_984_1) < 1e-9)
        #expect(abs(sigmoid.slope + 0.5 * 0.377_540_668_8) < 1e-9)
        #expect(PreferenceLoss.hinge.value(1, beta: 0.5) == (0.5, -0.5))
        #expect(PreferenceLoss.hinge.value(3, beta: 0.5) == (0, 0))
        #expect(PreferenceLoss.ipo.value(1, beta: 0.5) == (0, 0))
        #expect(PreferenceLoss.ipo.value(3, beta: 0.5) == (4, 4))
        let extreme = PreferenceLoss.sigmoid().value(-1e6, beta: 1)
        #expect(extreme.loss == 1e6 && extreme.slope == -1)
    }

    @Test(arguments: [
        PreferenceLoss.sigmoid(), .sigmoid(labelSmoothing: 0.1), .ipo, .hinge,
    ]) func `slopes are the losses' derivatives`(loss: PreferenceLoss) {
        for h in [-3.0, -0.4, 0.1, 2.5] {
            let step = 1e-5
            let slope =
                (loss.value(h + step, beta: 0.3).loss - loss.value(h - step, beta: 0.3).loss)
                / (2 * step)
            #expect(abs(slope - loss.value(h, beta: 0.3).slope) < 1e-6)
        }
    }

    @Test(arguments: [PreferenceLoss.sigmoid(), .ipo, .hinge])
    func `teaches the model to prefer the chosen answer`(loss: PreferenceLoss) throws {
        let reference = try LanguageModel(fixture("models/llama-mha"))
        var model = reference
        var random = RandomStream(seed: 5, name: "dpo")
        let pairs = [
            PreferencePair(prompt: [1, 20, 30], chosen: [40, 41], rejected: [50, 51, 52]),
            PreferencePair(prompt: [1, 21, 33], chosen: [45], rejected: [55, 56]),
        ]
        let summary = try trainDPO(
            &model, reference: reference, on: pairs, with: AdamW(learningRate: 1e-3),
            PreferenceOptions(loss: loss, likelihoodWeight: 0.1), TrainingOptions(maximumSteps: 6),
            using: &random)
        #expect(summary.losses[5] < summary.losses[0])
        let before = reference.scores(of: [(pairs[0].prompt, pairs[0].chosen)])[0]
        let after = model.scores(of: [(pairs[0].prompt, pairs[0].chosen)])[0]
        #expect(after.logProbability > before.logProbability)
    }

    private func tinyPairs() -> [PreferencePair] {
        tinyExamples(10, seed: 4).map { example in
            let prompt = example.labels.prefix { $0 == TrainingExample.ignored }.count
            let answer = Array(example.tokens[prompt...])
            return PreferencePair(
                prompt: Array(example.tokens[..<prompt]), chosen: answer,
                rejected: answer.reversed() + [7])
        }
    }

    @Test(arguments: [false, true]) func `goes on from every step as if it had not stopped`(
        full: Bool
    ) throws {
        let start = full ? tinyModel(tied: false) : try adapted(tinyModel(), dropout: 0.3)
        let pairs = tinyPairs()
        let optimizer = AdamW(learningRate: 1e-2, weightDecay: 0.1)
        let preference = PreferenceOptions(beta: 0.2, likelihoodWeight: 0.1)
        struct Killed: Error {}
        func trained(
            _ model: inout LanguageModel, _ random: inout RandomStream,
            _ resumption: TrainingCheckpoint? = nil, killedAfter stop: Int? = nil, path: String = ""
        ) throws -> (summary: TrainingSummary, digests: [UInt64]) {
            var options = TrainingOptions(
                epochs: 3, batchSize: 2, accumulation: 2, schedule: .cosine, warmupSteps: 2,
                gradientClip: 1, resumption: resumption)
            if stop != nil { options.checkpoints = (every: 1, path: path) }
            var digests: [UInt64] = []
            let summary = try trainDPO(
                &model, reference: start, on: pairs, with: optimizer, preference, options,
                using: &random
            ) { step in
                digests.append(step.stateDigest)
                if step.number == stop { throw Killed() }
            }
            return (summary, digests)
        }
        try withTemporaryFolder { folder in
            var whole = start
            var random = RandomStream(seed: 5, name: "run")
            let (summary, digests) = try trained(&whole, &random)
            #expect(summary.steps == 9 && Set(digests).count == 9)
            for stop in 1..<9 {
                let path = folder + "/step-\(stop).safetensors"
                var killed = start
                var stream = RandomStream(seed: 5, name: "run")
                #expect(throws: Killed.self) {
                    try trained(&killed, &stream, killedAfter: stop, path: path)
                }
                let checkpoint = try TrainingCheckpoint(path)
                #expect(checkpoint.step == stop && checkpoint.stateDigest == digests[stop - 1])
                var resumed = start
                var other = RandomStream(seed: 0, name: "overwritten by the checkpoint")
                let rest = try trained(&resumed, &other, checkpoint)
                #expect(rest.summary.losses == summary.losses)
                #expect(rest.summary.gradientNorms == summary.gradientNorms)
                #expect(rest.digests == Array(digests[stop...]))
                #expect(try trainedBytes(resumed) == trainedBytes(whole))
                #expect(other == random)
            }
        }
    }

    @Test(arguments: [
        PreferenceOptions(beta: 0.2), PreferenceOptions(loss: .ipo),
        PreferenceOptions(likelihoodWeight: 0.1),
    ]) func `refuses a checkpoint of another loss`(other: PreferenceOptions) throws {
        try withTemporaryFolder { folder in
            var options = TrainingOptions(
                batchSize: 5, checkpoints: (every: 1, path: folder + "/state.safetensors"))
            func run(_ preference: PreferenceOptions, _ options: TrainingOptions) throws {
                let base = tinyModel()
                var model = base
                var random = RandomStream(seed: 5, name: "run")
                try trainDPO(
                    &model, reference: base, on: tinyPairs(), with: AdamW(learningRate: 1e-3),
                    preference, options, using: &random)
            }
            try run(PreferenceOptions(), options)
            options.resumption = try TrainingCheckpoint(folder + "/state.safetensors")
            try run(PreferenceOptions(), options)
            let error = #expect(throws: TrainingError.self) { try run(other, options) }
            #expect(
                error?.description.hasPrefix("The checkpoint is not of this run: it was made by")
                    == true)
        }
    }
}
