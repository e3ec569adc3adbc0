// Generation: the same text whatever the batch, sampling from streams, stopping.

import Engine
import Testing

@Suite struct `Generation` {
    static let prompts: [[Int32]] = [
        [1], [1, 5, 9, 2, 8, 3], [1, 33], [1, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 7, 8],
        [1, 6, 6],
    ]

    @Test(arguments: ["llama-mha", "mistral-swa", "gemma2", "gemma3"])
    func `gives the same text whatever the batch`(name: String) throws {
        let model = try LanguageModel(fixture("models/\(name)"))
        for temperature in [Float(0), 0.8] {
            func texts(_ batch: Int) throws -> [[Int32]] {
                var random = RandomStream(seed: 3, name: "sampling")
                return try model.generate(
                    Self.prompts,
                    GenerationOptions(
                        maximumNewTokens: 20, temperature: temperature, topK: 50, topP: 0.95,
                        batchSize: batch), using: &random)
            }
            let alone = try texts(1)
            #expect(try texts(2) == alone)
            #expect(try texts(5) == alone)
        }
    }

    @Test(arguments: `Model families`.names)
    func `gives thirty random prompts the same text alone, in batches and in any order`(
        name: String
    ) throws {
        let model = try LanguageModel(fixture("models/\(name)"))
        var random = RandomStream(seed: 30, name: name)
        let prompts: [[Int32]] = (0..<30).map { _ in
            (0..<1 + random.below(40)).map { _ in
                Int32(random.below(model.configuration.vocabularySize))
            }
        }
        func texts(_ prompts: [[Int32]], _ batch: Int) throws -> [[Int32]] {
            var unused = RandomStream(seed: 1, name: "unused")
            return try model.generate(
                prompts, GenerationOptions(maximumNewTokens: 12, batchSize: batch), using: &unused)
        }
        let alone = try texts(prompts, 1)
        for batch in [2, 7, 30] { #expect(try texts(prompts, batch) == alone) }
        #expect(try texts(prompts.reversed(), 8) == alone.reversed())
    }

    @Test func `computes through the cache what it computes without`() throws {
        for name in `Model families`.names {
            let model = try LanguageModel(fixture("models/\(name)"))
            let prompt = Self.prompts[3]
            var options = GenerationOptions.greedy(24)
            options.stopsAtEndOfText = false
            var random = RandomStream(seed: 3, name: "unused")
            let cached = try model.generate([prompt], options, using: &random)[0]
            var tokens = prompt
            for _ in 0..<24 {
                let logits = model.logits([tokens])
                let vocabulary = logits.shape[2]
                let best = logits.withUnsafeFloats { values in
                    let last = values[(tokens.count - 1) * vocabulary..<tokens.count * vocabulary]
                    return last.indices.max { last[$0] < last[$1] }! - last.startIndex
                }
                tokens.append(Int32(best))
            }
            #expect(cached == Array(tokens.dropFirst(prompt.count)), "\(name)")
        }
    }

    @Test func `samples from the stream that it is given`() throws {
        let model = tinyModel()
        let options = GenerationOptions(maximumNewTokens: 12, temperature: 1)
        func text(_ seed: UInt64) throws -> [[Int32]] {
            var random = RandomStream(seed: seed, name: "sampling")
            return try model.generate([[1], [1]], options, using: &random)
        }
        #expect(try text(1) == text(1))
        #expect(try text(1) != text(2))
        let both = try text(1)
        #expect(both[0] != both[1])  // each prompt has a stream of its own
        var random = RandomStream(seed: 1, name: "sampling")
        let first = try model.generate([[1]], options, using: &random)
        #expect(try model.generate([[1]], options, using: &random) != first)
    }

    @Test func `draws only from the tokens that top-k and top-p keep`() throws {
        let model = tinyModel()
        var random = RandomStream(seed: 1, name: "sampling")
        let greedy = model.generate([[1, 2, 3]], maximumNewTokens: 10)
        for options in [
            GenerationOptions(maximumNewTokens: 10, temperature: 5, topK: 1),
            GenerationOptions(maximumNewTokens: 10, temperature: 5, topP: 1e-6),
        ] { #expect(try model.generate([[1, 2, 3]], options, using: &random) == greedy) }
    }

    @Test func `stops at tokens and at the given length`() throws {
        let model = tinyModel()
        let free = model.generate([[1, 2]], maximumNewTokens: 8)[0]
        #expect(free.count == 8)
        var random = RandomStream(seed: 1, name: "unused")
        var options = GenerationOptions.greedy(8)
        options.stopTokens = [free[2]]
        let stopped = try model.generate([[1, 2]], options, using: &random)[0]
        #expect(stopped == Array(free.prefix(1 + free.firstIndex(of: free[2])!)))
        #expect(model.generate([[1, 2]], maximumNewTokens: 0) == [[]])
        #expect(model.generate([], maximumNewTokens: 5).isEmpty)
    }

    @Test func `stops at a text`() throws {
        let model = try LanguageModel(fixture("models/llama-mha"))
        let tokenizer = try #require(model.tokenizer)
        let prompt = tokenizer.encode("The river")
        var random = RandomStream(seed: 1, name: "unused")
        var options = GenerationOptions.greedy(24)
        options.stopsAtEndOfText = false
        let free = try model.generate([prompt], options, using: &random)[0]
        let stop = tokenizer.decode(Array(free[4...5]))
        options.stopStrings = [stop]
        let stopped = try model.generate([prompt], options, using: &random)[0]
        #expect(stopped.count <= 6 && free.starts(with: stopped))
        #expect(tokenizer.decode(stopped).contains(stop))
        options.stopStrings = ["x"]
        #expect(throws: ModelError.self) {
            try tinyModel().generate([[1]], options, using: &random)
        }
    }
}

@Suite(.serialized) struct `Generation on any kernel` {
    /// The cache, soft caps, windows, query norms, half-precision embeddings and the draw: all that training does not use.
    @Test(arguments: ["llama-gqa-rope", "mistral-swa", "gemma2", "gemma3"], [DType.f32, .bf16])
    func `and thread count gives the same logits and the same text`(name: String, dtype: DType)
        throws
    {
        let model = try LanguageModel(fixture("models/\(name)")).converted(to: dtype)
        let options = GenerationOptions(
            maximumNewTokens: 8, temperature: 0.9, topK: 60, topP: 0.97, stopsAtEndOfText: false)
        // Longer than the windows, and rows enough for every way that a product has.
        let prompts: [[Int32]] = [
            [1, 5, 9], (0..<21).map { Int32(7 + 3 * $0) }, [1, 33], (0..<13).map { Int32(2 + $0) },
        ]
        var expected: (texts: [[Int32]], logits: [UInt32])?
        onEveryKernel { setting in
            var random = RandomStream(seed: 3, name: "sampling")
            // Without stop strings there is nothing to throw.
            let texts = try! model.generate(prompts, options, using: &random)
            let found = (texts, bits(model.logits(prompts)))
            if expected == nil { expected = found }
            #expect(found.0 == expected!.texts && found.1 == expected!.logits, "\(setting)")
        }
    }
}
