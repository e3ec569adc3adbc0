// Text while tokens arrive: what can be shown so far, always whole characters.

/// Decodes ids one at a time. The pieces, joined, are what `decode` gives for all ids at once; only where tokens
/// of single bytes (`<0xE6>`) go on after a whole character with bytes that are no UTF-8, does `decode` make
/// U+FFFD of that character as well, which was shown by then.
public struct StreamingDecoder: Sendable {
    private let tokenizer: Tokenizer
    private let skipSpecialTokens: Bool
    /// The ids that may still change how the next one reads, and the text of all but the newest.
    private var window: [Int32] = []
    private var shown: [UInt8] = []
    private var shownCount = 0

    public init(_ tokenizer: Tokenizer, skipSpecialTokens: Bool = true) {
        self.tokenizer = tokenizer
        self.skipSpecialTokens = skipSpecialTokens
    }

    /// Takes the next id and gives the text it completes: empty while a character is still in parts.
    public mutating func append(_ id: Int32) -> String {
        window.append(id)
        let text = decoded()
        // A trailing U+FFFD may be the first bytes of a character whose others are to come.
        guard text.count > shown.count, !text.suffix(3).elementsEqual([0xEF, 0xBF, 0xBD]) else {
            return ""
        }
        return advance(to: text)
    }

    /// The text that was held back, when no id follows.
    public mutating func finish() -> String {
        let text = decoded()
        guard text.count > shown.count else { return "" }
        return advance(to: text)
    }

    private func decoded() -> [UInt8] {
        Array(tokenizer.decode(window, skipSpecialTokens: skipSpecialTokens).utf8)
    }

    private mutating func advance(to text: [UInt8]) -> String {
        let new = String(decoding: text[shown.count...], as: UTF8.self)
        // The last shown ids stay in the window: decoders treat the first token of a text specially.
        window.removeFirst(shownCount)
        shownCount = window.count
        shown = decoded()
        return new
    }
}
