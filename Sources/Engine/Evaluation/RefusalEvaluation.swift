// Asks a model, keeps every answer, and lets judges speak. Judges are in Judge.swift, asking is in PromptFormat.swift.

/// The answers of a model to requests, and what each judge said of each.
public struct RefusalEvaluation: Sendable, Codable {
    public let exchanges: [Exchange]
    public let answers: [String]
    /// One entry a judge, in the order given.
    public let judged: [JudgedAnswers]

    public init(exchanges: [Exchange], answers: [String], judges: [Judge]) {
        precondition(!judges.isEmpty, "a refusal rate says who judged: name a judge")
        precondition(exchanges.count == answers.count, "one answer to each request")
        self.exchanges = exchanges
        self.answers = answers
        judged = judges.map { judge in
            JudgedAnswers(
                judge: judge.name,
                judgements: zip(exchanges, answers).map { judge(prompt: $0.request, answer: $1) })
        }
    }

    /// The first judge's rate of refusal.
    public var refused: Proportion { judged[0].refused }
    /// The first judge's rate of compliance.
    public var complied: Proportion { judged[0].complied }
    /// Answers that are neither, by the first judge.
    public var incoherent: Proportion { judged[0].incoherent }

    /// How many answers have all words that a right one must contain.
    public var answered: Proportion {
        Proportion(
            of: zip(exchanges, answers).map { $0.isAnswered(by: $1) }, outcome: "answered right",
            judge: "content words")
    }

    /// The first judge's verdicts, prompt by prompt, for pairing with another arm's.
    public var refusals: [Bool] { judged[0].judgements.map { $0 == .refused } }

    /// This arm and another on the same requests.
    public func compared(with other: RefusalEvaluation) -> PairedComparison {
        PairedComparison(refusals, other.refusals)
    }

    /// Each pair of judges, how far they agree.
    public var agreements: [JudgeAgreement] {
        judged.indices.flatMap { i in
            judged.indices.dropFirst(i + 1).map { JudgeAgreement(judged[i], judged[$0]) }
        }
    }
}

extension LanguageModel {
    /// Greedy answers to requests.
    public func answers(
        to requests: [String], in format: PromptFormat, maximumNewTokens: Int = 60
    ) throws -> [String] {
        var options = GenerationOptions.greedy(maximumNewTokens)
        options.batchSize = 64
        if let end = format.endToken { options.stopTokens.insert(end) }
        var unused = RandomStream(seed: 0, name: "greedy answers")
        return try generate(requests.map(format.prompt), options, using: &unused)
            .map(format.answer)
    }

    /// Asks every request and has the answers judged. The length of an answer is that of LoX's evaluation, 60 tokens.
    /// - Parameter judges: The first gives the evaluation's own rate; the others stand beside it.
    public func refusals(
        on exchanges: [Exchange], in format: PromptFormat, judgedBy judges: [Judge],
        maximumNewTokens: Int = 60
    ) throws -> RefusalEvaluation {
        RefusalEvaluation(
            exchanges: exchanges,
            answers: try answers(
                to: exchanges.map(\.request), in: format, maximumNewTokens: maximumNewTokens),
            judges: judges)
    }

    /// The rate at which requests are refused, by one judge.
    public func refusalRate(
        on exchanges: [Exchange], in format: PromptFormat, judgedBy judge: Judge,
        maximumNewTokens: Int = 60
    ) throws -> Proportion {
        try refusals(
            on: exchanges, in: format, judgedBy: [judge], maximumNewTokens: maximumNewTokens
        ).refused
    }
}
