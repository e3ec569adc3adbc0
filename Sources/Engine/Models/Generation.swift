// Text from a model: greedy or sampled, batched, from a key-value cache.

internal import EngineKernels

/// How to continue prompts. The defaults are greedy.
public struct GenerationOptions: Sendable, Codable {
    public var maximumNewTokens: Int
    /// 0 takes the most likely token.
    public var temperature: Float
    /// Only this many of the most likely tokens can be drawn.
    public var topK: Int?
    /// Only the most likely tokens whose probabilities reach this sum can be drawn (nucleus sampling,
    /// arXiv:1904.09751).
    public var topP: Float?
    /// Tokens that end a text, besides the model's own end-of-text; they are part of the result.
    public var stopTokens: Set<Int32>
    /// Texts that end a text; the result ends with the token that completes one. Needs a tokenizer.
    public var stopStrings: [String]
    /// Whether the model's end-of-text tokens end a text.
    public var stopsAtEndOfText: Bool
    /// Prompts continued at once. The text does not depend on it.
    public var batchSize: Int

    public init(
        maximumNewTokens: Int = 64, temperature: Float = 0, topK: Int? = nil, topP: Float? = nil,
        stopTokens: Set<Int32> = [], stopStrings: [String] = [], stopsAtEndOfText: Bool = true,
        batchSize: Int = 16
    ) {
        precondition(temperature >= 0, "a temperature is not negative: \(temperature)")
        precondition(topK.map { $0 > 0 } ?? true, "top-k keeps at least one token")
        precondition(topP.map { $0 > 0 && $0 <= 1 } ?? true, "top-p lies in (0, 1]")
        precondition(batchSize > 0, "a batch has at least one prompt")
        self.maximumNewTokens = maximumNewTokens
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
        self.stopTokens = stopTokens
        self.stopStrings = stopStrings
        self.stopsAtEndOfText = stopsAtEndOfText
        self.batchSize = batchSize
    }

    /// The most likely continuation.
    public static func greedy(_ maximumNewTokens: Int) -> GenerationOptions {
        GenerationOptions(maximumNewTokens: maximumNewTokens)
    }
}

extension LanguageModel {
    /// Continues prompts; the new tokens of each.
    ///
    /// A prompt's continuation does not depend on the batch that it is in: greedy decoding computes each
    /// row alone, and the i-th prompt draws from a stream of its own. No padding is computed.
    /// - Throws: ``ModelError`` with reason `.noTokenizer` where stop strings are given without one.
    /// - Precondition: no prompt is empty.
    public func generate(
        _ prompts: [[Int32]], _ options: GenerationOptions = GenerationOptions(),
        using random: inout RandomStream
    ) throws -> [[Int32]] {
        guard options.stopStrings.isEmpty || tokenizer != nil else {
            throw ModelError(.noTokenizer, where: "generate(_:_:using:)")
        }
        precondition(prompts.allSatisfy { !$0.isEmpty }, "a prompt has at least one token")
        // One word of the caller's stream, so that a second call draws anew.
        let streams =
            options.temperature > 0
            ? random.stream(named: "generation \(random.nextUInt32())") : random
        let transformer = Transformer(self)
        var rope = RotaryTables(configuration)
        rope.extend(to: (prompts.map(\.count).max() ?? 0) + options.maximumNewTokens)
        var results: [[Int32]] = []
        for start in stride(from: 0, to: prompts.count, by: options.batchSize) {
            let range = start..<min(prompts.count, start + options.batchSize)
            var generation = Generation(
                prompts: Array(prompts[range]),
                streams: range.map { streams.stream(named: "prompt \($0)") }, options: options,
                stops: options.stopsAtEndOfText
                    ? options.stopTokens.union(configuration.endOfText) : options.stopTokens,
                tokenizer: options.stopStrings.isEmpty ? nil : tokenizer)
            generation.run(transformer, rope)
            results += generation.results
        }
        return results
    }

    /// Greedy continuations; nothing is drawn.
    public func generate(_ prompts: [[Int32]], maximumNewTokens: Int) -> [[Int32]] {
        var unused = RandomStream(seed: 0, name: "greedy")
        // Without stop strings there is nothing to throw.
        return try! generate(prompts, .greedy(maximumNewTokens), using: &unused)
    }

    /// The greedy continuation of a text, decoded without special tokens.
    /// - Throws: ``ModelError`` with reason `.noTokenizer`.
    public func generate(_ prompt: String, maximumNewTokens: Int) throws -> String {
        guard let tokenizer else { throw ModelError(.noTokenizer, where: "generate(_:)") }
        let tokens = generate([tokenizer.encode(prompt)], maximumNewTokens: maximumNewTokens)[0]
        return tokenizer.decode(tokens, skipSpecialTokens: true)
    }
}

/// One batch of prompts under way.
private struct Generation {
    let prompts: [[Int32]]
    var streams: [RandomStream]
    let options: GenerationOptions
    let stops: Set<Int32>
    let tokenizer: Tokenizer?
    var results: [[Int32]] = []

    mutating func run(_ transformer: Transformer, _ rope: RotaryTables) {
        results = prompts.map { _ in [] }
        guard options.maximumNewTokens > 0 else { return }
        let cache = KeyValueCache(
            transformer.configuration, sequences: prompts.count,
            positions: prompts.map(\.count).max()! + options.maximumNewTokens)
        var pending = prompts
        while !cache.active.isEmpty {
            let active = cache.active
            let counts = active.map { pending[$0].count }
            let rows = PackedRows(lengths: counts, starts: active.map { cache.lengths[$0] })
            let hidden = transformer(
                active.flatMap { pending[$0] }, rows: rows, rope: rope, cache: cache)
            cache.advance(counts)
            let last = rows.offsets.dropFirst().map { $0 - 1 }
            let tape = Tape(recording: false)
            let x = transformer.finalNorm(
                chosenRows(Variable(constant: hidden), last, on: tape), on: tape)
            let logits = transformer.head.logits(x.value)
            let vocabulary = logits.shape[1]
            logits.withUnsafeFloats { values in
                for (i, sequence) in active.enumerated() {
                    let row = UnsafeBufferPointer(
                        rebasing: values[i * vocabulary..<(i + 1) * vocabulary])
                    let token = choose(row, &streams[sequence])
                    results[sequence].append(token)
                    pending[sequence] = [token]
                }
            }
            cache.active = active.filter { !isFinished($0) }
        }
    }

    private func isFinished(_ sequence: Int) -> Bool {
        let tokens = results[sequence]
        if tokens.count >= options.maximumNewTokens || stops.contains(tokens.last!) { return true }
        guard let tokenizer else { return false }
        let text = tokenizer.decode(tokens, skipSpecialTokens: false)
        return options.stopStrings.contains { contains(text, $0) }
    }

    private func contains(_ text: String, _ part: String) -> Bool {
        let (text, part) = (Array(text.utf8), Array(part.utf8))
        guard !part.isEmpty, text.count >= part.count else { return false }
        return (0...text.count - part.count).contains {
            text[$0..<$0 + part.count].elementsEqual(part)
        }
    }

    /// The next token of one row of logits.
    private func choose(_ logits: UnsafeBufferPointer<Float>, _ random: inout RandomStream) -> Int32
    {
        guard options.temperature > 0 else {
            return Int32(ek_argmax(logits.baseAddress, logits.count))
        }
        let sampler = TokenSampler(
            temperature: options.temperature, topK: options.topK, topP: options.topP)
        return sampler(logits, &random)
    }
}
