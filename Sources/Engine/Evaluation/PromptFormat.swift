// How a request becomes tokens and tokens become an answer: a tokenizer and what stands around a request. Chat
// templates themselves are in Tokenizers/ChatTemplate.swift.

/// What a model is asked through: words before and after the request, in a tokenizer's tokens.
public struct PromptFormat: Sendable, Codable {
    public let tokenizer: Tokenizer
    /// The text in front of the request, special tokens included.
    public var opening: String
    /// The text behind it, up to where the answer begins.
    public var closing: String
    /// The token that ends an answer.
    public var endToken: Int32?

    public init(_ tokenizer: Tokenizer, opening: String = "", closing: String = "") {
        self.tokenizer = tokenizer
        self.opening = opening
        self.closing = closing
        endToken = tokenizer.endID
    }

    /// The request alone, as a base model or a benchmark's own text wants it.
    public static func plain(_ tokenizer: Tokenizer) -> PromptFormat { PromptFormat(tokenizer) }

    /// Alpaca's prompt without input, which Qi et al. and LoX use too.
    public static func alpaca(_ tokenizer: Tokenizer) -> PromptFormat {
        PromptFormat(
            tokenizer,
            opening: "Below is an instruction that describes a task. Write a response that "
                + "appropriately completes the request.\n\n### Instruction:\n",
            closing: "\n\n### Response:")
    }

    /// Llama 2's chat layout without a system prompt.
    public static func llama2(_ tokenizer: Tokenizer) -> PromptFormat {
        PromptFormat(tokenizer, opening: "[INST] ", closing: " [/INST]")
    }

    /// Gemma's turns.
    public static func gemma(_ tokenizer: Tokenizer) -> PromptFormat {
        var format = PromptFormat(
            tokenizer, opening: "<start_of_turn>user\n",
            closing: "<end_of_turn>\n<start_of_turn>model\n")
        format.endToken = tokenizer.id(of: "<end_of_turn>") ?? tokenizer.endID
        return format
    }

    /// What the tokenizer's own chat template puts around a single request, and the token that it ends an answer with.
    /// - Throws: ``TokenizerError`` where there is no template, it refuses a lone request, or changes what it is given.
    public static func chat(_ tokenizer: Tokenizer) throws(TokenizerError) -> PromptFormat {
        let (request, answer) = ("Qrequest", "Qanswer")
        let asked = ChatMessage(role: "user", content: request)
        let text = try tokenizer.applyChatTemplate([asked], addGenerationPrompt: true)
        guard let place = text.firstRange(of: request) else {
            throw TokenizerError(
                .malformedTemplate(line: 1, message: "it does not show what the user says"),
                place: "chat template")
        }
        var opening = String(text[..<place.lowerBound])
        // Encoding begins a text by itself where the tokenizer is made so.
        if let begin = tokenizer.beginToken, opening.hasPrefix(begin),
            tokenizer.encode("").first == tokenizer.beginID
        {
            opening.removeFirst(begin.count)
        }
        var format = PromptFormat(
            tokenizer, opening: opening, closing: String(text[place.upperBound...]))
        let whole = try tokenizer.applyChatTemplate([
            asked, ChatMessage(role: "assistant", content: answer),
        ])
        if let end = whole.firstRange(of: answer) {
            let rest = tokenizer.encode(String(whole[end.upperBound...]), addSpecialTokens: false)
            format.endToken = rest.first(where: tokenizer.isSpecial) ?? tokenizer.endID
        }
        return format
    }

    /// The tokens of a request, from the beginning of text to where the answer begins.
    public func prompt(_ request: String) -> [Int32] {
        tokenizer.encode(opening + request + closing)
    }

    /// The tokens of an answer and of its end.
    public func completion(_ answer: String) -> [Int32] {
        let text = closing.hasSuffix(":") ? " " + answer : answer
        return tokenizer.encode(text, addSpecialTokens: false) + (endToken.map { [$0] } ?? [])
    }

    /// A request to learn the answer of; the request itself is not learned.
    public func example(_ exchange: Exchange) -> TrainingExample {
        TrainingExample(prompt: prompt(exchange.request), completion: completion(exchange.answer))
    }

    /// A text of which every token is learned, its end too.
    public func example(text: String) -> TrainingExample {
        TrainingExample(tokens: tokenizer.encode(text) + (tokenizer.endID.map { [$0] } ?? []))
    }

    public func pair(_ preference: Preference) -> PreferencePair {
        PreferencePair(
            prompt: prompt(preference.request), chosen: completion(preference.chosen),
            rejected: completion(preference.rejected))
    }

    /// The text of generated tokens, up to the end of the answer.
    public func answer(_ tokens: [Int32]) -> String {
        let end = tokens.firstIndex { $0 == endToken || $0 == tokenizer.endID } ?? tokens.count
        return tokenizer.decode(Array(tokens[..<end]), skipSpecialTokens: true)
    }
}

/// A request with the answer to prefer and the one to avoid.
public struct Preference: Sendable, Hashable, Codable {
    public var request: String
    public var chosen: String
    public var rejected: String
    public init(request: String, chosen: String, rejected: String) {
        self.request = request
        self.chosen = chosen
        self.rejected = rejected
    }

    /// A row of HH-RLHF: its dialogue so far is the request.
    public init(_ row: PreferenceRow) {
        self.init(request: row.prompt, chosen: row.chosen, rejected: row.rejected)
    }
}
