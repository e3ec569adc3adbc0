// Low-rank updates against PEFT's numbers (Tests/Fixtures/lora): logits, losses, gradients, merged weights,
// and twenty steps of AdamW.

import Engine
import Testing

/// A LoRA fixture's base model with its adapter attached.
struct LoRAFixture {
    let base: LanguageModel
    let model: LanguageModel
    let folder: String

    init(_ name: String) throws {
        folder = fixture("lora/\(name)")
        base = try LanguageModel(fixture("models/\(name)"))
        var model = base
        try model.attach(LoRAAdapter(peft: folder + "/adapter"))
        self.model = model
    }

    func json(_ path: String) throws -> JSONValue { try FileSystem.readJSON(folder + "/" + path) }

    /// A batch's rows without their padding.
    static func examples(
        _ file: SafetensorsFile, prefix: String = "", batch: Int? = nil
    ) throws -> [TrainingExample] {
        var ids = try integers(file, prefix + "input_ids")
        var mask = try integers(file, prefix + "attention_mask")
        var labels = try integers(file, prefix + "labels")
        if let batch {
            (ids, mask, labels) = (
                Array(ids[2 * batch..<2 * batch + 2]), Array(mask[2 * batch..<2 * batch + 2]),
                Array(labels[2 * batch..<2 * batch + 2])
            )
        }
        return ids.indices.map { row in
            let length = mask[row].count { $0 == 1 }
            return TrainingExample(
                tokens: Array(ids[row].prefix(length)), labels: Array(labels[row].prefix(length)))
        }
    }
}

/// Loss and gradients of one batch.
func lossAndGradients(
    _ model: LanguageModel, _ batches: [[TrainingExample]], reduction: LossReduction = .tokenMean,
    checkpointing: Bool = false
) throws -> (Double, ParameterGradients) {
    let optimization = try Optimization(
        model, optimizer: AdamW(learningRate: 0), keepsMasterWeights: true)
    let trainingBatches = batches.map { TrainingBatch($0.map { TrainingRow(segments: [$0]) }) }
    let weights = reduction.weights(trainingBatches)
    var rope = RotaryTables(model.configuration)
    rope.extend(to: 512)
    let transformer = Transformer(model)
    var loss = 0.0
    for (i, batch) in trainingBatches.enumerated() {
        let tape = Tape(recording: true, parameters: optimization.gradients)
        let hidden = transformer(
            batch.tokens, rows: PackedRows(lengths: batch.lengths), rope: rope, on: tape,
            checkpointing: checkpointing)
        let x = transformer.finalNorm(chosenRows(hidden, batch.chosen, on: tape), on: tape)
        let losses = transformer.head.crossEntropy(
            x, labels: batch.labels, weights: weights[i].map { Float($0) }, on: tape)
        for (value, weight) in zip(losses.values, weights[i]) { loss += value * weight }
        tape.backward()
    }
    optimization.gradients.foldAliases()
    return (loss, optimization.gradients)
}

/// The largest difference from PEFT's gradients, relative to the largest of them.
func gradientError(_ gradients: ParameterGradients, _ file: SafetensorsFile) throws -> Double {
    var (difference, largest) = (0.0, 0.0)
    for name in file.names {
        let ours = try #require(
            gradients.gradient(String(name.dropFirst("base_model.model.".count))))
        let theirs = try file.tensor(name)
        #expect(ours.shape == theirs.shape)
        ours.withUnsafeFloats { a in
            theirs.withUnsafeFloats { b in
                difference = max(difference, largestDifference(a, b))
                largest = b.reduce(largest) { max($0, Double(abs($1))) }
            }
        }
    }
    return difference / largest
}

@Suite struct `LoRA against PEFT` {
    static let names = ["llama-mha", "gemma2"]

    @Test(arguments: names) func `gives PEFT's logits, with the adapter and without`(name: String)
        throws
    {
        let lora = try LoRAFixture(name)
        let expected = try SafetensorsFile(lora.folder + "/expected.safetensors")
        let ids = try integers(expected, "input_ids")
        let mask = try integers(expected, "attention_mask")
        for (model, tensor) in [(lora.model, "logits"), (lora.base, "base_logits")] {
            let wanted = try expected.tensor(tensor)
            let width = wanted.shape[1] * wanted.shape[2]
            for row in ids.indices {
                let length = mask[row].count { $0 == 1 }
                let logits = model.logits([Array(ids[row].prefix(length))])
                let difference = wanted.withUnsafeFloats { all in
                    logits.withUnsafeFloats {
                        largestDifference($0, all[row * width..<(row + 1) * width])
                    }
                }
                // The fixtures' README: logits within 2e-4; their deviation is about 2.
                #expect(difference < 2e-4)
            }
        }
    }

    @Test(arguments: names) func `gives PEFT's loss and gradients`(name: String) throws {
        let lora = try LoRAFixture(name)
        let examples = try LoRAFixture.examples(
            SafetensorsFile(lora.folder + "/expected.safetensors"))
        let (loss, gradients) = try lossAndGradients(lora.model, [examples])
        let expected = try lora.json("expected.json")["loss"]!.double!
        #expect(abs(loss - expected) / expected < 1e-5)
        let file = try SafetensorsFile(lora.folder + "/gradients.safetensors")
        #expect(gradients.names.count == file.names.count)
        #expect(try gradientError(gradients, file) < 1e-4)
    }

    @Test(arguments: names) func `merges as PEFT does`(name: String) throws {
        let lora = try LoRAFixture(name)
        let merged = try lora.model.merged()
        #expect(merged.adapter == nil)
        let expected = try SafetensorsFile(lora.folder + "/merged_layer0.safetensors")
        for tensor in expected.names {
            let wanted = try expected.tensor(tensor)
            let difference = wanted.withUnsafeFloats { a in
                merged[tensor].withUnsafeFloats { largestDifference($0, a) }
            }
            #expect(difference < 1e-6, "\(tensor)")  // one ulp of weights below 8
        }
        let tokens: [[Int32]] = [[1, 5, 9, 30, 2, 77]]
        let a = merged.logits(tokens), b = lora.model.logits(tokens)
        let difference = a.withUnsafeFloats { x in b.withUnsafeFloats { largestDifference(x, $0) } }
        #expect(difference < 5e-4)  // the fixtures say 5e-5 between merged and unmerged, times ten
    }

    @Test(arguments: names) func `follows PEFT's twenty steps of AdamW`(name: String) throws {
        let lora = try LoRAFixture(name)
        var model = lora.model
        let curve = try lora.json("train/curve.json")
        let file = try SafetensorsFile(lora.folder + "/train/batches.safetensors")
        let order = curve["batch_of_step"]!.array!.map { $0.integer! }
        let examples = try order.flatMap { try LoRAFixture.examples(file, batch: $0) }
        var random = RandomStream(seed: 1, name: "unused")
        let summary = try train(
            &model, on: examples, with: AdamW(learningRate: curve["lr"]!.double!),
            TrainingOptions(batchSize: 2, shuffles: false), using: &random)
        let losses = curve["losses"]!.array!.map { $0.double! }
        #expect(summary.losses.count == losses.count)
        // The fixtures' README: along the steps within 2e-3 absolute.
        for (ours, theirs) in zip(summary.losses, losses) { #expect(abs(ours - theirs) < 2e-3) }
        for (ours, theirs) in zip(
            summary.gradientNorms, curve["gradient_norms"]!.array!.map { $0.double! })
        { #expect(abs(ours - theirs) / theirs < 2e-3) }
        let trained = try LoRAAdapter(peft: lora.folder + "/train/adapter")
        for (path, module) in trained.modules {
            let ours = try #require(model.adapter?.modules[path])
            for (a, b) in [(ours.a, module.a), (ours.b, module.b)] {
                let difference = a.withUnsafeFloats { x in
                    b.withUnsafeFloats { largestDifference(x, $0) }
                }
                #expect(difference < 1e-3, "\(path)")  // the README: adapters within 1e-3 absolute
            }
        }
    }

    @Test func `changes nothing when it is attached`() throws {
        let base = try LanguageModel(fixture("models/llama-mha"))
        var model = base
        var random = RandomStream(seed: 3, name: "init")
        try model.attach(LoRA(rank: 4, alpha: 8), using: &random)
        let tokens: [[Int32]] = [[1, 2, 3, 4]]
        #expect(sameBits(model.logits(tokens), base.logits(tokens)))
        #expect(model.adapterParameterCount == 4 * (3 * (4 * (64 + 64) + 3 * (64 + 112))))
        #expect(throws: ModelError.self) { try model.attach(LoRA(), using: &random) }
    }
}
