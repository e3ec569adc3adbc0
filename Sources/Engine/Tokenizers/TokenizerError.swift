// What can be wrong with a tokenizer's files or a chat template, and the one place that words it.

/// A tokenizer that cannot be read, or messages that its template refuses: what, where, how to mend it.
public struct TokenizerError: Error, Sendable, CustomStringConvertible {
    /// For code: what went wrong.
    public enum Reason: Sendable, Hashable {
        case unreadable(String)
        case unwritable(String)
        case malformedJSON(offset: Int, message: String)
        /// A part of tokenizer.json that does not say what it must.
        case malformedPart(part: String, message: String)
        /// A part of tokenizer.json of a kind this engine does not implement.
        case unsupportedPart(part: String, kind: String)
        /// Only SentencePiece's own file is there.
        case sentencePieceOnly
        case noChatTemplate
        /// The template itself called `raise_exception` with this message.
        case refusedByTemplate(String)
        /// The template is not valid, at a line of it.
        case malformedTemplate(line: Int, message: String)
    }

    public let reason: Reason
    /// The file or folder, or the line of the template.
    public let place: String

    public init(_ reason: Reason, place: String) {
        self.reason = reason
        self.place = place
    }

    public var description: String {
        let (what, mend) = wording
        return "\(what)\n  where: \(place)\n  mend:  \(mend)"
    }

    private var wording: (what: String, mend: String) {
        let again =
            "fetch or copy the file again, and compare its size and sha256 with the source's."
        switch reason {
        case .unreadable(let message):
            return (
                "The tokenizer cannot be read: \(message).", "check the path and the permissions."
            )
        case .unwritable(let message):
            return (
                "The tokenizer cannot be written: \(message).",
                "check that the folder exists, is writable and has room."
            )
        case .malformedJSON(let offset, let message):
            return ("The file is not valid JSON at byte \(offset): \(message).", again)
        case .malformedPart(let part, let message):
            return ("The tokenizer's \(part) is malformed: \(message).", again)
        case .unsupportedPart(let part, let kind):
            return (
                "The tokenizer's \(part) is \(kind), which this engine does not implement.",
                "use a model whose tokenizer.json is a BPE or WordLevel model without it."
            )
        case .sentencePieceOnly:
            return (
                "The folder has tokenizer.model and no tokenizer.json.",
                "convert it: AutoTokenizer.from_pretrained(folder).save_pretrained(folder)."
            )
        case .noChatTemplate:
            return (
                "The tokenizer has no chat template.",
                "set `chatTemplate`, or write the prompt's text yourself."
            )
        case .refusedByTemplate(let message):
            return (
                "The chat template refuses these messages: \(message).".replacing("..", with: "."),
                "give it the roles and the order that it wants."
            )
        case .malformedTemplate(let line, let message):
            return (
                "The chat template cannot be used, line \(line): \(message).",
                "mend the template, or set `chatTemplate` to one of your own."
            )
        }
    }
}
