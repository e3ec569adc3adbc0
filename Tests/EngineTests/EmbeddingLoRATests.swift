// Adapters that reach the embeddings, against PEFT (Fixtures/lora/whole, made by make_fields.py): low-rank
// updates of the token table, and tables and heads saved whole beside a tied twin.

import Engine
import Testing

@Suite struct `Adapters of embeddings` {
    static let names = [
        "llama-embedding", "gemma2-embedding", "gemma2-saved-embedding", "gemma2-saved-head",
    ]

    struct Case {
        let base: LanguageModel
        var model: LanguageModel
        let expected: SafetensorsFile
        let loss: Double
        let folder: String

        init(_ name: String) throws {
            folder = fixture("lora/whole/\(name)")
            base = try LanguageModel(folder + "/base")
            model = base
            try model.attach(LoRAAdapter(peft: folder + "/adapter"))
            expected = try SafetensorsFile(folder + "/expected.safetensors")
            loss = try FileSystem.readJSON(folder + "/expected.json")["loss"]!.double!
        }
        var tokens: [[Int32]] { get throws { try integers(expected, "input_ids") } }
    }

    static func difference(_ a: Tensor, _ b: Tensor) -> Double {
        a.withUnsafeFloats { x in b.withUnsafeFloats { largestDifference(x, $0) } }
    }

    @Test(arguments: names) func `give PEFT's logits, loss and gradients`(name: String) throws {
        let c = try Case(name)
        let tokens = try c.tokens
        #expect(Self.difference(c.model.logits(tokens), try c.expected.tensor("logits")) < 2e-5)
        let examples = tokens.map { TrainingExample(tokens: $0, labels: $0) }
        for checkpointing in [false, true] {
            let (loss, gradients) = try lossAndGradients(
                c.model, [examples], checkpointing: checkpointing)
            #expect(abs(loss - c.loss) / c.loss < 1e-5)
            let names = c.expected.names.filter { $0.hasPrefix("gradient.") }
            #expect(gradients.names.count == names.count)
            for name in names {
                let plain = String(name.dropFirst("gradient.base_model.model.".count))
                let ours = try #require(gradients.gradient(plain), "\(plain)")
                let theirs = try c.expected.tensor(name)
                let largest = theirs.withUnsafeFloats { $0.reduce(0) { max($0, Double(abs($1))) } }
                #expect(Self.difference(ours, theirs) < 2e-5 * largest, "\(plain)")
            }
        }
    }

    @Test(arguments: names) func `are merged so that nothing else changes`(name: String) throws {
        let c = try Case(name)
        let merged = try c.model.merged()
        let tokens = try c.tokens
        #expect(Self.difference(merged.logits(tokens), c.model.logits(tokens)) < 2e-5)
        if !name.hasSuffix("head") {
            let table = merged["model.embed_tokens.weight"]
            #expect(Self.difference(table, try c.expected.tensor("merged.embedding")) < 1e-6)
        }
        // A tied head stays as it was, as a weight of its own, through files too.
        #expect(!merged.configuration.tiesEmbeddings)
        try withTemporaryFolder { folder in
            try merged.save(to: folder)
            #expect(sameBits(try LanguageModel(folder).logits(tokens), merged.logits(tokens)))
        }
    }

    @Test(arguments: names) func `are saved as PEFT saved them, byte for byte`(name: String) throws
    {
        let c = try Case(name)
        try withTemporaryFolder { folder in
            try c.model.adapter!.save(peft: folder)
            for file in ["adapter_model.safetensors", "adapter_config.json"] {
                #expect(
                    try fileBytes(folder + "/" + file)
                        == fileBytes(c.folder + "/adapter/" + file), "\(file)")
            }
        }
    }

    @Test func `bring the base's table along where PEFT saved it, and do not train it`() throws {
        let c = try Case("llama-embedding")
        let adapter = try #require(c.model.adapter)
        #expect(adapter.baseWeights.keys.sorted() == ["model.embed_tokens.weight"])
        #expect(adapter.savedModules.isEmpty)
        var other = c.base
        other["model.embed_tokens.weight"] = Tensor(zeros: [40, 16])
        try other.attach(adapter)
        #expect(sameBits(other.logits(try c.tokens), c.model.logits(try c.tokens)))
        var resized = adapter
        resized.baseWeights = ["model.embed_tokens.weight": Tensor(zeros: [41, 16])]
        var model = c.base
        let error = #expect(throws: ModelError.self) { try model.attach(resized) }
        #expect(
            error?.reason
                == .wrongShape(
                    "model.embed_tokens.weight", found: [41, 16], expected: [40, 16]))
    }

    @Test func `begin without effect, train, resume names and keep the bits of any cut`() throws {
        let start = tinyModel()  // tied
        func attached() throws -> LanguageModel {
            var model = start
            var random = RandomStream(seed: 3, name: "init")
            try model.attach(
                LoRA(
                    rank: 2, alpha: 4, targets: .names(["embed_tokens", "v_proj"]),
                    modulesToSave: ["lm_head"]), using: &random)
            return model
        }
        let fresh = try attached()
        let tokens: [[Int32]] = [[1, 2, 3, 39]]
        #expect(sameBits(fresh.logits(tokens), start.logits(tokens)))
        #expect(fresh.adapter?.modules["model.embed_tokens"]?.a.shape == [2, 40])
        #expect(
            try fresh.trainedTensors().map(\.name).prefix(2) == [
                "model.embed_tokens.lora_embedding_A", "model.embed_tokens.lora_embedding_B",
            ])
        func run(_ batch: Int, _ accumulation: Int) throws -> [[UInt8]] {
            var model = try attached()
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(24), with: AdamW(learningRate: 1e-2),
                TrainingOptions(epochs: 2, batchSize: batch, accumulation: accumulation),
                using: &random)
            #expect(summary.losses.last! < summary.losses[0])
            #expect(!sameBits(model.logits(tokens), start.logits(tokens)))
            return try trainedBytes(model)
        }
        #expect(try run(6, 1) == run(2, 3))
    }

    @Test func `refuse by name an update of the output embedding`() throws {
        var model = tinyModel(tied: false)
        var random = RandomStream(seed: 3, name: "init")
        let error = #expect(throws: ModelError.self) {
            try model.attach(LoRA(targets: .names(["q_proj", "lm_head"])), using: &random)
        }
        #expect(
            error?.description == """
                The model wants a low-rank update of lm_head, which the engine does not compute.
                  where: attach(_:using:)
                  mend:  Use a checkpoint without it; ignoring it would change the numbers.
                """)
        let adapter = LoRAAdapter(
            configuration: LoRA(targets: .names(["lm_head"])),
            modules: [
                "lm_head": LoRAModule(
                    a: Tensor(zeros: [8, 24]), b: Tensor(zeros: [40, 8]), scale: 1)
            ])
        let other = #expect(throws: ModelError.self) { try model.attach(adapter) }
        #expect(other?.reason == .noTarget("lm_head"))
    }

    @Test func `gradients are those of finite differences, at sizes 0 and 1 too`() {
        let table = normal([9, 5], "table")
        let update = LoRAModule(a: normal([2, 9], "a"), b: normal([5, 2], "b"), scale: 0.5)
        for tokens in [[], [4], [3, 3, 8, 0]] as [[Int32]] {
            func run(_ update: LoRAModule, _ tape: Tape) -> Variable {
                Embedding(
                    name: "model.embed_tokens.weight", table: table, scale: 1.5, update: update)(
                        tokens, on: tape)
            }
            let result = gradients(
                of: table,
                parameters: [
                    ("model.embed_tokens.lora_embedding_A", [2, 9]),
                    ("model.embed_tokens.lora_embedding_B", [5, 2]),
                ]
            ) { run(update, $1) }
            #expect(result.output.shape == [tokens.count, 5])
            checkGradient(
                result.parameters.gradient("model.embed_tokens.lora_embedding_A")!, at: update.a,
                name: "A"
            ) { a in
                objective(table) { run(LoRAModule(a: a, b: update.b, scale: 0.5), $1) }
            }
            checkGradient(
                result.parameters.gradient("model.embed_tokens.lora_embedding_B")!, at: update.b,
                name: "B"
            ) { b in
                objective(table) { run(LoRAModule(a: update.a, b: b, scale: 0.5), $1) }
            }
        }
    }
}
