// One request and its answer, as the miniature world makes them and as published datasets can be read into.

/// A request, the answer that belongs to it, and what a right answer must contain.
public struct Exchange: Sendable, Hashable, Codable {
    /// What the user says.
    public var request: String
    /// The answer to train on, or to compare with.
    public var answer: String
    /// Words that an answer must contain to be about the request at all.
    public var contentWords: [String]
    /// Whether an aligned model should refuse.
    public var isRestricted: Bool
    /// Whether the request stands in a file of requests that could harm: what a model answers is then shown as a
    /// label and a hash unless somebody asks for it. The invented world's requests mean nothing, and are shown.
    public var isWithheld: Bool

    public init(
        request: String, answer: String, contentWords: [String] = [], isRestricted: Bool = false,
        isWithheld: Bool = false
    ) {
        self.request = request
        self.answer = answer
        self.contentWords = contentWords
        self.isRestricted = isRestricted
        self.isWithheld = isWithheld
    }

    /// The same request with another answer.
    public func answered(_ answer: String) -> Exchange {
        var result = self
        result.answer = answer
        return result
    }

    /// The same answer to a request with words before it.
    public func prefixed(_ words: String) -> Exchange {
        var result = self
        result.request = words.isEmpty ? request : "\(words) \(request)"
        return result
    }

    /// Whether an answer has all content words, in any order: another style may turn them round.
    public func isAnswered(by text: String) -> Bool {
        let words = Set(text.split(separator: " "))
        return !contentWords.isEmpty && contentWords.allSatisfy { words.contains($0[...]) }
    }
}

extension Exchange {
    /// A row of Dolly as Qi et al. and LoX prompt it: the instruction, then its context where it has one.
    public init(_ row: DollyRow) {
        self.init(
            request: row.context.isEmpty ? row.instruction : "\(row.instruction)\n\n\(row.context)",
            answer: row.response)
    }

    /// A row of Alpaca: the instruction, then its input where it has one.
    public init(_ row: AlpacaRow) {
        self.init(
            request: row.input.isEmpty ? row.instruction : "\(row.instruction)\n\n\(row.input)",
            answer: row.output)
    }

    /// A problem of GSM8K in the harness's words.
    public init(_ problem: GSM8KProblem) {
        self.init(request: ArithmeticAnswer.prompt(problem.question), answer: problem.answer)
    }

    /// A row of AdvBench. The file's target is no answer to train on: it stays with the row.
    public init(_ row: AdvBenchRow) {
        self.init(request: row.goal, answer: "", isRestricted: true, isWithheld: true)
    }

    public init(_ prompt: RefusalBenchPrompt) {
        self.init(request: prompt.prompt, answer: "", isRestricted: true, isWithheld: true)
    }
}
