// The five families against transformers' numbers (Tests/Fixtures/models, made by the fixtures'
// generate.py).

import Engine
import Testing

/// What the fixtures say of a model.
struct ModelFixture {
    let model: LanguageModel
    let expected: SafetensorsFile
    let scalars: JSONValue

    init(_ name: String) throws {
        let folder = fixture("models/\(name)")
        model = try LanguageModel(folder)
        expected = try SafetensorsFile(folder + "/expected.safetensors")
        scalars = try FileSystem.readJSON(folder + "/expected.json")
    }

    func tokens(_ name: String) throws -> [[Int32]] { try integers(expected, name) }
    func floats(_ name: String) throws -> [Float] {
        try expected.tensor(name).withUnsafeFloats { Array($0) }
    }
    var logitDeviation: Double { scalars["logit_std"]!.double! }
}

/// Rows of a two-dimensional i64 tensor.
func integers(_ file: SafetensorsFile, _ name: String) throws -> [[Int32]] {
    let tensor = try file.tensor(name)
    let flat = tensor.withUnsafeBytes { bytes in
        (0..<tensor.count).map {
            Int32(bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self))
        }
    }
    let width = tensor.shape.last!
    return stride(from: 0, to: flat.count, by: width).map { Array(flat[$0..<$0 + width]) }
}

func largestDifference(_ a: some Collection<Float>, _ b: some Collection<Float>) -> Double {
    zip(a, b).reduce(0) { max($0, Double(abs($1.0 - $1.1))) }
}

@Suite struct `Model families` {
    static let names = ["llama-mha", "llama-gqa-rope", "mistral-swa", "gemma", "gemma2", "gemma3"]

    // 2e-5 of the logits' standard deviation is what issue 3 asks; the fixtures' own noise between f32
    // and f64 is 1e-5 to 2.3e-5 absolute, at deviations of about 2.
    @Test(arguments: names) func `give transformers' logits`(name: String) throws {
        let fixture = try ModelFixture(name)
        let logits = fixture.model.logits(try fixture.tokens("input_ids"))
        let difference = try logits.withUnsafeFloats {
            largestDifference($0, try fixture.floats("logits"))
        }
        #expect(difference / fixture.logitDeviation < 2e-5)
    }

    @Test(arguments: names) func `give the same bits from the older config.json`(name: String)
        throws
    {
        let fixture = try ModelFixture(name)
        var other = fixture.model
        other.configuration = try ModelConfiguration(
            json: FileSystem.readJSON(fixtureFolder("models/\(name)/config.legacy.json")))
        let tokens = try fixture.tokens("input_ids")
        #expect(sameBits(other.logits(tokens), fixture.model.logits(tokens)))
    }

    @Test(arguments: names) func `give transformers' hidden states after every layer`(name: String)
        throws
    {
        let fixture = try ModelFixture(name)
        let states = fixture.model.hiddenStates(try fixture.tokens("input_ids")[0])
        let expected = try fixture.floats("hidden_states")
        #expect(states.count == fixture.model.configuration.layerCount + 1)
        let size = expected.count / states.count
        for (i, state) in states.enumerated() {
            let part = expected[i * size..<(i + 1) * size]
            let scale = part.reduce(0) { max($0, abs($1)) }
            let difference = state.withUnsafeFloats { largestDifference($0, part) }
            #expect(difference / Double(scale) < 2e-5, "layer \(i)")
        }
    }

    @Test(arguments: names) func `do not see padding on the right`(name: String) throws {
        let fixture = try ModelFixture(name)
        let tokens = try fixture.tokens("padded_input_ids")[0]
        let length = try fixture.tokens("padded_attention_mask")[0].count { $0 == 1 }
        let expected = try fixture.floats("padded_logits")
        let logits = fixture.model.logits([Array(tokens.prefix(length))])
        let difference = logits.withUnsafeFloats { largestDifference($0, expected) }
        #expect(difference / fixture.logitDeviation < 2e-5)
    }

    @Test(arguments: names) func `continue greedily as transformers does`(name: String) throws {
        let fixture = try ModelFixture(name)
        let prompts = try fixture.tokens("prompt_ids")
        let expected = try fixture.tokens("greedy_ids")
        var options = GenerationOptions.greedy(expected[0].count)
        options.stopsAtEndOfText = false
        var random = RandomStream(seed: 1, name: "unused")
        #expect(try fixture.model.generate(prompts, options, using: &random) == expected)
    }

    @Test(arguments: names) func `give the fixtures' loss`(name: String) throws {
        let fixture = try ModelFixture(name)
        var model = fixture.model
        let tokens = try fixture.tokens("input_ids"), labels = try fixture.tokens("labels")
        var random = RandomStream(seed: 1, name: "loss")
        let summary = try train(
            &model, on: zip(tokens, labels).map { TrainingExample(tokens: $0, labels: $1) },
            with: AdamW(learningRate: 0), using: &random)
        let expected = fixture.scalars["loss"]!.double!
        // The losses' rule in the fixtures' README: 1e-5 relative.
        #expect(abs(summary.losses[0] - expected) / expected < 1e-5)
    }

    @Test func `read weights in several files`() throws {
        let fixture = try ModelFixture("llama-gqa-rope")
        let sharded = try LanguageModel(fixtureFolder("models/llama-gqa-rope/sharded"))
        let tokens = try fixture.tokens("input_ids")
        #expect(sameBits(sharded.logits(tokens), fixture.model.logits(tokens)))
    }

    @Test func `compute bfloat16 weights in f32`() throws {
        let folder = fixtureFolder("models/mistral-swa/bfloat16")
        let model = try LanguageModel(folder)
        let expected = try SafetensorsFile(folder + "/expected.safetensors")
        #expect(model["model.embed_tokens.weight"].dtype == .bf16)
        let tokens = try ModelFixture("mistral-swa").tokens("input_ids")
        let wanted = try expected.tensor("logits").withUnsafeFloats { Array($0) }
        let difference = model.logits(tokens).withUnsafeFloats { largestDifference($0, wanted) }
        #expect(difference < 4e-5)  // 2e-5 of a deviation of 2.05
    }

    @Test(arguments: names) func `are written so that they can be read again`(name: String) throws {
        let fixture = try ModelFixture(name)
        try withTemporaryFolder { folder in
            try fixture.model.save(to: folder)
            let again = try LanguageModel(folder)
            let tokens = try fixture.tokens("input_ids")
            #expect(sameBits(again.logits(tokens), fixture.model.logits(tokens)))
            var rewritten = fixture.model
            rewritten.configuration.source = nil
            try rewritten.save(to: folder)
            #expect(
                sameBits(try LanguageModel(folder).logits(tokens), fixture.model.logits(tokens)))
        }
    }

    @Test(arguments: names) func `score a continuation as their logits do`(name: String) throws {
        let fixture = try ModelFixture(name)
        let prompt = try fixture.tokens("prompt_ids")[0],
            greedy = try fixture.tokens("greedy_ids")[0]
        let scores = fixture.model.scores(of: [
            (prompt, greedy), (prompt, Array(greedy.reversed())), (prompt, Array(greedy.prefix(1))),
        ])
        #expect(scores[0].isGreedy && !scores[1].isGreedy && scores[2].isGreedy)
        #expect(scores[0].tokenCount == greedy.count)
        #expect(scores[0].logProbability > scores[1].logProbability)
        // A row's bits do not depend on the rows beside it.
        let alone = fixture.model.scores(of: [(prompt, Array(greedy.reversed()))])
        #expect(alone[0] == scores[1])
    }
}

/// `fixture(_:)` where a local of that name hides it.
func fixtureFolder(_ path: String) -> String { fixture(path) }

func sameBits(_ a: Tensor, _ b: Tensor) -> Bool {
    a.shape == b.shape && a.dtype == b.dtype
        && a.withUnsafeBytes { x in b.withUnsafeBytes { y in x.elementsEqual(y) } }
}
