// Multiple choice as lm-evaluation-harness v0.4.12 prompts and scores it (tasks/mmlu, tasks/hellaswag). What a model
// thinks of each choice comes from the model; see LanguageModel+Evaluation.swift.

/// A context and the choices that may follow it, one of them right.
public struct MultipleChoiceItem: Sendable, Hashable, Codable {
    public var context: String
    /// Each with its leading space where it has one.
    public var choices: [String]
    public var answer: Int

    public init(context: String, choices: [String], answer: Int) {
        precondition(choices.indices.contains(answer), "the right choice is one of the choices")
        self.context = context
        self.choices = choices
        self.answer = answer
    }

    /// An MMLU question: the subject's description, worked examples, the question, and the letters as choices.
    /// - Parameter examples: The dev split's first questions (five in published results), in the file's order.
    public init(_ question: MMLUQuestion, examples: [MMLUQuestion] = []) {
        let subject = question.subject.split(separator: "_").joined(separator: " ")
        var context =
            "The following are multiple choice questions (with answers) about \(subject).\n\n"
        for example in examples {
            context += "\(Self.asked(example)) \(Self.letters[example.answer])\n\n"
        }
        context += Self.asked(question)
        self.init(context: context, choices: Self.letters.map { " \($0)" }, answer: question.answer)
    }

    /// An MMLU question in the harness's continuation form (`tasks/mmlu/continuation`): the choices themselves follow
    /// `Question: …\nAnswer:`, no letters. For models too small to bind a letter to a choice.
    public init(continuing question: MMLUQuestion) {
        self.init(
            context: "Question: \(Self.trimmed(question.question))\nAnswer:",
            choices: question.choices.map { " \($0)" }, answer: question.answer)
    }

    /// A HellaSwag item: `activity: ctx_a Ctx_b`, cleaned, and the endings with a leading space.
    public init(_ item: HellaSwagItem) {
        let query = "\(item.activityLabel): \(item.contextA) \(Self.capitalized(item.contextB))"
        self.init(
            context: Self.cleaned(query), choices: item.endings.map { " \(Self.cleaned($0))" },
            answer: item.label)
    }

    private static let letters = ["A", "B", "C", "D"]

    private static func asked(_ question: MMLUQuestion) -> String {
        var text = trimmed(question.question)
        for (letter, choice) in zip(letters, question.choices) { text += "\n\(letter). \(choice)" }
        return text + "\nAnswer:"
    }

    /// Python's `str.capitalize`: the first letter upper, all others lower.
    static func capitalized(_ text: String) -> String {
        guard let first = text.first else { return text }
        return first.uppercased() + text.dropFirst().lowercased()
    }

    /// The harness's `preprocess`: WikiHow's artefacts go. Strip; " [title]" becomes ". "; what stands in square
    /// brackets goes; two spaces become one, in one pass.
    static func cleaned(_ text: String) -> String {
        var bytes = Array(trimmed(text).utf8)
        bytes = replacing(" [title]", by: ". ", in: bytes)
        var kept: [UInt8] = []
        var i = 0
        while i < bytes.count {
            // The expression is `\[.*?\]`, whose dot stops at a line end.
            if bytes[i] == UInt8(ascii: "["),
                let end = bytes[i...].firstIndex(where: {
                    $0 == UInt8(ascii: "]") || $0 == UInt8(ascii: "\n")
                }), bytes[end] == UInt8(ascii: "]")
            {
                i = end + 1
            } else {
                kept.append(bytes[i])
                i += 1
            }
        }
        return String(decoding: replacing("  ", by: " ", in: kept), as: UTF8.self)
    }

    private static func trimmed(_ text: String) -> String {
        let isSpace: (Character) -> Bool = { $0.isWhitespace }
        return String(
            text.drop(while: isSpace).reversed().drop(while: isSpace).reversed())
    }

    private static func replacing(_ old: String, by new: String, in bytes: [UInt8]) -> [UInt8] {
        let old = Array(old.utf8)
        var result: [UInt8] = []
        var i = 0
        while i < bytes.count {
            if bytes[i] == old[0], bytes[i...].starts(with: old) {
                result += Array(new.utf8)
                i += old.count
            } else {
                result.append(bytes[i])
                i += 1
            }
        }
        return result
    }
}

/// Which choice a model prefers, under the harness's two rules.
public struct MultipleChoiceOutcome: Sendable, Hashable, Codable {
    public let answer: Int
    /// The choice with the largest summed log-probability; ties go to the lowest index.
    public let chosen: Int
    /// The same after division by the choice's length in characters, without a leading space (`acc_norm`).
    public let chosenByLength: Int

    /// - Parameter logProbabilities: Summed over each choice's tokens, in nats.
    public init(_ item: MultipleChoiceItem, logProbabilities: [Double]) {
        precondition(
            logProbabilities.count == item.choices.count,
            "\(item.choices.count) choices need as many scores, not \(logProbabilities.count)")
        answer = item.answer
        chosen = Self.best(logProbabilities)
        let lengths = item.choices.map { choice in
            // Python counts code points; a choice's own leading space is not part of it.
            Double(max(1, choice.unicodeScalars.count - (choice.hasPrefix(" ") ? 1 : 0)))
        }
        chosenByLength = Self.best(zip(logProbabilities, lengths).map { $0 / $1 })
    }

    public var isRight: Bool { chosen == answer }
    public var isRightByLength: Bool { chosenByLength == answer }

    private static func best(_ scores: [Double]) -> Int {
        var best = 0
        for (i, score) in scores.enumerated() where score > scores[best] { best = i }
        return best
    }
}
