// What a model can do, in lm-evaluation-harness's conventions (v0.4.12): choices by log-probability, sums by extraction,
// perplexity over whole texts. The forms of the questions are in MultipleChoice.swift and ArithmeticAnswer.swift.

/// A multiple-choice evaluation: each item's outcome and the harness's two accuracies.
public struct MultipleChoiceEvaluation: Sendable, Codable {
    public let outcomes: [MultipleChoiceOutcome]

    /// `acc`: the largest summed log-probability is the right choice's.
    public var accuracy: Proportion {
        Proportion(of: outcomes.map(\.isRight), outcome: "right", judge: "acc")
    }
    /// `acc_norm`: after division by the choice's length in characters.
    public var normalizedAccuracy: Proportion {
        Proportion(of: outcomes.map(\.isRightByLength), outcome: "right", judge: "acc_norm")
    }
}

/// How well a text is predicted.
public struct Perplexity: Sendable, Hashable, CustomStringConvertible, Codable {
    /// Σ −ln p over the predicted tokens, in nats.
    public var negativeLogProbability: Double
    public var tokenCount: Int
    public var wordCount: Int
    public var byteCount: Int

    /// Mean loss, in nats a token.
    public var loss: Double { negativeLogProbability / Double(tokenCount) }
    /// e to the mean loss a token.
    public var perToken: Double { PortableMath.exp(loss) }
    /// The harness's `word_perplexity`, which does not depend on the tokenizer.
    public var perWord: Double { PortableMath.exp(negativeLogProbability / Double(wordCount)) }
    /// The harness's `bits_per_byte`.
    public var bitsPerByte: Double {
        negativeLogProbability / Double(byteCount) / 0.693_147_180_559_945_3
    }

    public var description: String {
        "\(perToken.formatted(decimals: 2)) a token (\(loss.formatted(decimals: 3)) nats, "
            + "\(tokenCount) tokens)"
    }
}

/// GSM8K-form problems: the answers, and which are right under each rule.
public struct ArithmeticEvaluation: Sendable, Codable {
    public let problems: [GSM8KProblem]
    public let answers: [String]

    public init(problems: [GSM8KProblem], answers: [String]) {
        precondition(problems.count == answers.count, "one answer to each problem")
        self.problems = problems
        self.answers = answers
    }

    /// The harness's `strict-match`.
    public var strict: Proportion { proportion("strict-match", ArithmeticAnswer.strict) }
    /// The harness's `flexible-extract`.
    public var flexible: Proportion { proportion("flexible-extract", ArithmeticAnswer.flexible) }

    private func proportion(_ name: String, _ extract: (String) -> String?) -> Proportion {
        let right = zip(problems, answers).map { problem, answer in
            extract(answer).map { ArithmeticAnswer.agree($0, problem.answer) } ?? false
        }
        return Proportion(of: right, outcome: "right", judge: name)
    }
}

extension LanguageModel {
    /// Scores every choice of every item: context and continuation are encoded together and cut at the context's length,
    /// trailing spaces of the context first moved to the continuation.
    public func accuracy(
        on items: [MultipleChoiceItem], tokenizer: Tokenizer
    ) -> MultipleChoiceEvaluation {
        var requests: [(context: [Int32], continuation: [Int32])] = []
        for item in items {
            for choice in item.choices {
                requests.append(Self.encoded(item.context, choice, tokenizer))
            }
        }
        let scores = scores(of: requests)
        var first = 0
        return MultipleChoiceEvaluation(
            outcomes: items.map { item in
                let range = first..<first + item.choices.count
                first = range.upperBound
                return MultipleChoiceOutcome(
                    item, logProbabilities: scores[range].map(\.logProbability))
            })
    }

    /// The harness's `_encode_pair`.
    static func encoded(
        _ context: String, _ continuation: String, _ tokenizer: Tokenizer
    ) -> (context: [Int32], continuation: [Int32]) {
        let spaces = context.reversed().prefix { $0.isWhitespace }.count
        let head = String(context.dropLast(spaces))
        let tail = String(context.suffix(spaces)) + continuation
        let whole = tokenizer.encode(head + tail)
        let cut = tokenizer.encode(head).count
        return (Array(whole[..<cut]), Array(whole[cut...]))
    }

    /// The mean loss over a text, in windows of at most `maximumLength` tokens that share nothing; each begins with
    /// the beginning-of-text token where the tokenizer has one. (The harness's rolling windows are the same at a text
    /// no longer than one window.)
    public func perplexity(
        of text: String, tokenizer: Tokenizer, maximumLength: Int = 256
    ) -> Perplexity {
        let tokens = tokenizer.encode(text, addSpecialTokens: false)
        let begin = tokenizer.beginID.map { [$0] } ?? []
        var items: [(context: [Int32], continuation: [Int32])] = []
        for start in stride(from: 0, to: tokens.count, by: maximumLength) {
            let window = Array(tokens[start..<min(tokens.count, start + maximumLength)])
            // Without such a token the window's first token has no context and is not predicted.
            items.append(
                begin.isEmpty
                    ? (Array(window.prefix(1)), Array(window.dropFirst())) : (begin, window))
        }
        let scores = scores(of: items.filter { !$0.continuation.isEmpty })
        return Perplexity(
            negativeLogProbability: -scores.reduce(0) { $0 + $1.logProbability },
            tokenCount: scores.reduce(0) { $0 + $1.tokenCount },
            wordCount: text.split(whereSeparator: \.isWhitespace).count, byteCount: text.utf8.count)
    }

    /// Greedy answers to problems in the harness's prompt, without worked examples.
    public func solve(
        _ problems: [GSM8KProblem], in format: PromptFormat, maximumNewTokens: Int = 256
    ) throws -> ArithmeticEvaluation {
        ArithmeticEvaluation(
            problems: problems,
            answers: try answers(
                to: problems.map { Exchange($0).request }, in: format,
                maximumNewTokens: maximumNewTokens))
    }
}
