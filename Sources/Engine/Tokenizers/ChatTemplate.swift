// Messages to the text that a model was trained on, by the Jinja template that came with it.

/// One message of a conversation.
public struct ChatMessage: Sendable, Hashable, Codable {
    /// "system", "user" or "assistant", in the words that templates expect.
    public var role: String
    public var content: String
    public init(role: String, content: String) {
        self.role = role
        self.content = content
    }
    public static func system(_ content: String) -> ChatMessage {
        .init(role: "system", content: content)
    }
    public static func user(_ content: String) -> ChatMessage {
        .init(role: "user", content: content)
    }
    public static func assistant(_ content: String) -> ChatMessage {
        .init(role: "assistant", content: content)
    }

    var json: JSONValue { ["role": .string(role), "content": .string(content)] }
}

/// A moment as a calendar writes it, for templates that print the date. It is always given, never asked
/// of the clock, so that a prompt is the same next year.
public struct CalendarTime: Sendable, Hashable {
    public var year, month, day, hour, minute, second: Int
    public init(
        year: Int, month: Int, day: Int, hour: Int = 0, minute: Int = 0, second: Int = 0
    ) {
        precondition(
            (1...12).contains(month) && (1...31).contains(day) && (0..<24).contains(hour)
                && (0..<60).contains(minute) && (0...60).contains(second),
            "not a time: \(year)-\(month)-\(day) \(hour):\(minute):\(second)")
        (self.year, self.month, self.day) = (year, month, day)
        (self.hour, self.minute, self.second) = (hour, minute, second)
    }

    /// The text of C's `strftime` in the C locale, for the fields that templates use.
    func formatted(_ format: String) -> String {
        let months = [
            "January", "February", "March", "April", "May", "June", "July", "August", "September",
            "October", "November", "December",
        ]
        let days = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"]
        func two(_ value: Int) -> String { value < 10 ? "0\(value)" : "\(value)" }
        var result = ""
        var scalars = format.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            guard scalar == "%", var field = scalars.next() else {
                result.unicodeScalars.append(scalar)
                continue
            }
            let isBare = field == "-"
            if isBare { field = scalars.next() ?? "%" }
            func number(_ value: Int) -> String { isBare ? "\(value)" : two(value) }
            switch field {
            case "Y": result += "\(year)"
            case "y": result += number(year % 100)
            case "m": result += number(month)
            case "d": result += number(day)
            case "e": result += day < 10 ? " \(day)" : "\(day)"
            case "H": result += number(hour)
            case "I": result += number((hour + 11) % 12 + 1)
            case "M": result += number(minute)
            case "S": result += number(second)
            case "p": result += hour < 12 ? "AM" : "PM"
            case "B": result += months[month - 1]
            case "b", "h": result += String(months[month - 1].prefix(3))
            case "A": result += days[weekday]
            case "a": result += String(days[weekday].prefix(3))
            case "F": result += "\(year)-\(two(month))-\(two(day))"
            case "T": result += "\(two(hour)):\(two(minute)):\(two(second))"
            case "%": result += "%"
            default: result += "%" + String(field)
            }
        }
        return result
    }

    /// 0 for Sunday: Sakamoto's method, for the Gregorian calendar.
    private var weekday: Int {
        let shifts = [0, 3, 2, 5, 0, 3, 5, 1, 4, 6, 2, 4]
        let year = month < 3 ? year - 1 : year
        return (year + year / 4 - year / 100 + year / 400 + shifts[month - 1] + day) % 7
    }
}

/// A chat template, parsed: the Jinja subset of published models, with transformers' extensions.
public struct ChatTemplate: Sendable {
    private let statements: [JinjaStatement]

    /// - Throws: ``TokenizerError`` with reason `.malformedTemplate` and the line.
    public init(_ text: String) throws(TokenizerError) {
        do { statements = try JinjaParser.parse(text) } catch { throw Self.worded(error) }
    }

    /// The text that the template makes of the names it is given.
    /// - Parameter time: What `strftime_now` prints; a template that asks for it fails without.
    /// - Throws: ``TokenizerError`` with reason `.refusedByTemplate` where the template raises its own
    ///   exception, `.malformedTemplate` where it fails.
    public func render(
        _ variables: JSONObject, time: CalendarTime? = nil
    ) throws(TokenizerError) -> String {
        do {
            return try JinjaInterpreter.render(
                statements, variables: variables.entries.map { ($0.key, JinjaValue($0.value)) },
                time: time)
        } catch {
            throw Self.worded(error)
        }
    }

    private static func worded(_ error: JinjaError) -> TokenizerError {
        TokenizerError(
            error.isRaised
                ? .refusedByTemplate(error.message)
                : .malformedTemplate(line: error.line, message: error.message),
            place: "chat template, line \(error.line)")
    }
}

extension Tokenizer {
    /// The text of a conversation, as transformers' `apply_chat_template` gives it. It contains the marks
    /// that begin a text: encode it with `addSpecialTokens: false`.
    /// - Parameters:
    ///   - addGenerationPrompt: Whether the opening of the assistant's next turn follows.
    ///   - time: What the template's `strftime_now` prints.
    ///   - variables: Further names that the template knows, such as "tools".
    /// - Throws: ``TokenizerError`` where there is no template, or it refuses the messages.
    public func applyChatTemplate(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = false, time: CalendarTime? = nil,
        variables: JSONObject = JSONObject()
    ) throws(TokenizerError) -> String {
        try applyChatTemplate(
            messages.map(\.json), addGenerationPrompt: addGenerationPrompt, time: time,
            variables: variables)
    }

    /// The same for messages with other fields than role and content.
    public func applyChatTemplate(
        _ messages: [JSONValue], addGenerationPrompt: Bool = false, time: CalendarTime? = nil,
        variables: JSONObject = JSONObject()
    ) throws(TokenizerError) -> String {
        guard let chatTemplate else {
            throw TokenizerError(.noChatTemplate, place: "the tokenizer")
        }
        var names = JSONObject([
            ("messages", .array(messages)), ("tools", nil), ("documents", nil),
            ("add_generation_prompt", .bool(addGenerationPrompt)),
        ])
        // A token that the configuration does not name is undefined in the template.
        for (name, token) in [
            ("bos_token", beginToken), ("eos_token", endToken), ("unk_token", unknownToken),
            ("pad_token", padToken),
        ] {
            if let token { names[name] = .string(token) }
        }
        for (name, value) in variables.entries { names[name] = value }
        return try ChatTemplate(chatTemplate).render(names, time: time)
    }

    /// The ids of a conversation.
    public func encode(
        _ messages: [ChatMessage], addGenerationPrompt: Bool = true, time: CalendarTime? = nil
    ) throws(TokenizerError) -> [Int32] {
        let text = try applyChatTemplate(
            messages, addGenerationPrompt: addGenerationPrompt, time: time)
        return encode(text, addSpecialTokens: false)
    }
}
