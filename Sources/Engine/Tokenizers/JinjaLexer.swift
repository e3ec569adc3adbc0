// Cuts a Jinja template into text and tokens, with the white-space rules that chat templates are rendered
// under (trim_blocks and lstrip_blocks on, the last line end dropped). Source: jinja2/lexer.py, 3.1.

/// One token of a template.
struct JinjaToken: Sendable {
    enum Kind: Sendable, Equatable {
        /// Text between tags, as it is printed.
        case text(String)
        /// `{{` and `}}`.
        case beginOutput, endOutput
        /// `{%` and `%}`.
        case beginBlock, endBlock
        case name(String)
        case string(String)
        case integer(Int)
        case float(Double)
        /// An operator or a bracket, as it is written.
        case symbol(String)
        case end
    }
    var kind: Kind
    var line: Int
}

/// What is wrong with a template or what it was given; worded for people by ``TokenizerError``.
struct JinjaError: Error {
    var line: Int
    var message: String
    /// Whether the template itself raised it.
    var isRaised = false
}

struct JinjaLexer {
    private let source: [UInt8]
    private var position = 0
    private var line = 1
    private var tokens: [JinjaToken] = []

    /// The tokens of a template.
    static func tokens(of template: String) throws(JinjaError) -> [JinjaToken] {
        var lexer = JinjaLexer(template)
        try lexer.run()
        return lexer.tokens
    }

    private init(_ template: String) {
        // Line ends are normalized, and one at the very end is dropped.
        var bytes: [UInt8] = []
        var previous: UInt8 = 0
        for byte in template.utf8 {
            if byte == 0x0D {
                bytes.append(0x0A)
            } else if byte != 0x0A || previous != 0x0D {
                bytes.append(byte)
            }
            previous = byte
        }
        if bytes.last == 0x0A { bytes.removeLast() }
        source = bytes
    }

    private mutating func add(_ kind: JinjaToken.Kind) {
        tokens.append(JinjaToken(kind: kind, line: line))
    }
    private func fail(_ message: String) -> JinjaError { JinjaError(line: line, message: message) }
    private func byte(_ offset: Int = 0) -> UInt8 {
        position + offset < source.count ? source[position + offset] : 0
    }
    private func isAt(_ text: StaticString, _ place: Int) -> Bool {
        guard place + text.utf8CodeUnitCount <= source.count else { return false }
        for index in 0..<text.utf8CodeUnitCount
        where source[place + index] != text.utf8Start[index] {
            return false
        }
        return true
    }

    // MARK: Text

    private enum Tag { case output, block, comment }

    private mutating func run() throws(JinjaError) {
        var stripsStart = false  // the tag before ended in "-"
        var isLineStart = true  // the tag before took a line end with it, or there is none
        while true {
            let start = position
            var end = start
            var tag: Tag?
            while end < source.count, tag == nil {
                if source[end] == UInt8(ascii: "{") {
                    if isAt("{{", end) { tag = .output }
                    if isAt("{%", end) { tag = .block }
                    if isAt("{#", end) { tag = .comment }
                }
                if tag == nil { end += 1 }
            }
            var text = source[start..<end]
            let sign = tag != nil && end + 2 < source.count ? source[end + 2] : 0
            if tag != nil, sign == UInt8(ascii: "-") {
                while let last = text.last, Self.isSpace(last) { text.removeLast() }
            } else if tag == .block || tag == .comment, sign != UInt8(ascii: "+") {
                let lineStart = text.lastIndex(of: 0x0A).map { $0 + 1 } ?? text.startIndex
                if lineStart > text.startIndex || isLineStart,
                    text[lineStart...].allSatisfy(Self.isSpace)
                {
                    text = text[..<lineStart]
                }
            }
            if stripsStart { text = text.drop(while: Self.isSpace) }
            if !text.isEmpty { add(.text(String(decoding: text, as: UTF8.self))) }
            line += source[start..<end].count { $0 == 0x0A }
            position = end
            guard let tag else { break }
            position += 2
            if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { position += 1 }
            switch tag {
            case .comment: try skipComment()
            case .output:
                add(.beginOutput)
                try readTag(closing: UInt8(ascii: "}"))
                add(.endOutput)
            case .block:
                if try readRaw() { break }
                add(.beginBlock)
                try readTag(closing: UInt8(ascii: "%"))
                add(.endBlock)
            }
            (stripsStart, isLineStart) = closeTag(tag)
        }
        add(.end)
    }

    /// Passes the end of a tag: whether it strips what follows, and whether it took a line end.
    private mutating func closeTag(_ tag: Tag) -> (strips: Bool, tookLine: Bool) {
        let sign = byte()
        if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { position += 1 }
        position += 2
        if sign == UInt8(ascii: "-") { return (true, false) }
        if tag != .output, sign != UInt8(ascii: "+"), byte() == 0x0A {
            position += 1
            line += 1
            return (false, true)
        }
        return (false, false)
    }

    private mutating func skipComment() throws(JinjaError) {
        while position < source.count {
            if isAt("#}", position) { return }
            if isAt("-#}", position) || isAt("+#}", position) { return }
            if byte() == 0x0A { line += 1 }
            position += 1
        }
        throw fail("a comment does not end")
    }

    /// `{% raw %}…{% endraw %}`, whose content is text; the position is then before the last `%}`.
    private mutating func readRaw() throws(JinjaError) -> Bool {
        let start = position
        func skipSpaces(_ place: inout Int) {
            while place < source.count, Self.isSpace(source[place]) { place += 1 }
        }
        var place = position
        skipSpaces(&place)
        guard isAt("raw", place) else { return false }
        place += 3
        skipSpaces(&place)
        guard isAt("%}", place) || isAt("-%}", place) || isAt("+%}", place) else { return false }
        position = place
        let strips = closeTag(.block).strips
        var begin = position
        if strips { skipSpaces(&begin) }
        while position < source.count {
            if isAt("{%", position) {
                var after = position + 2
                let sign = after < source.count ? source[after] : 0
                if sign == UInt8(ascii: "-") || sign == UInt8(ascii: "+") { after += 1 }
                skipSpaces(&after)
                if isAt("endraw", after) {
                    after += 6
                    skipSpaces(&after)
                    var text = source[min(begin, position)..<position]
                    if sign == UInt8(ascii: "-") {
                        while let last = text.last, Self.isSpace(last) { text.removeLast() }
                    }
                    if !text.isEmpty { add(.text(String(decoding: text, as: UTF8.self))) }
                    position = after
                    line += source[start..<after].count { $0 == 0x0A }
                    return true
                }
            }
            position += 1
        }
        throw fail("a raw block does not end")
    }

    // MARK: Inside a tag

    private static let symbols: [StaticString] = [
        "==", "!=", "<=", ">=", "//", "**", "+", "-", "*", "/", "%", "~", "|", "(", ")", "[", "]",
        "{", "}", "<", ">", "=", ".", ",", ":",
    ]

    /// Reads tokens up to the tag's end, which stays unread.
    private mutating func readTag(closing: UInt8) throws(JinjaError) {
        var brackets: [UInt8] = []
        while true {
            while position < source.count, Self.isSpace(byte()) {
                if byte() == 0x0A { line += 1 }
                position += 1
            }
            guard position < source.count else { throw fail("a tag does not end") }
            if brackets.isEmpty {
                let signed = byte() == UInt8(ascii: "-") || byte() == UInt8(ascii: "+") ? 1 : 0
                if byte(signed) == closing, byte(signed + 1) == UInt8(ascii: "}") { return }
            }
            let first = byte()
            switch first {
            case UInt8(ascii: "'"), UInt8(ascii: "\""): add(.string(try readString()))
            case UInt8(ascii: "0")...UInt8(ascii: "9"): try readNumber()
            case UInt8(ascii: "_"), UInt8(ascii: "a")...UInt8(ascii: "z"),
                UInt8(ascii: "A")...UInt8(ascii: "Z"), 0x80...:
                let start = position
                while position < source.count, Self.isNamePart(byte()) { position += 1 }
                add(.name(String(decoding: source[start..<position], as: UTF8.self)))
            default:
                guard let symbol = Self.symbols.first(where: { isAt($0, position) }) else {
                    throw fail(
                        "\"\(Character(Unicode.Scalar(first)))\" has no meaning in a template")
                }
                switch first {
                case UInt8(ascii: "("), UInt8(ascii: "["), UInt8(ascii: "{"): brackets.append(first)
                case UInt8(ascii: ")"), UInt8(ascii: "]"), UInt8(ascii: "}"):
                    let opening: UInt8 =
                        switch first {
                        case UInt8(ascii: ")"): UInt8(ascii: "(")
                        case UInt8(ascii: "]"): UInt8(ascii: "[")
                        default: UInt8(ascii: "{")
                        }
                    guard brackets.popLast() == opening else {
                        throw fail("a bracket closes that was not opened")
                    }
                default: break
                }
                position += symbol.utf8CodeUnitCount
                add(.symbol(symbol.description))
            }
        }
    }

    private mutating func readNumber() throws(JinjaError) {
        let start = position
        var isFloat = false
        func isDigit(_ byte: UInt8) -> Bool { byte >= 0x30 && byte <= 0x39 }
        while isDigit(byte()) || byte() == UInt8(ascii: "_") { position += 1 }
        if byte() == UInt8(ascii: "."), isDigit(byte(1)) {
            isFloat = true
            position += 1
            while isDigit(byte()) || byte() == UInt8(ascii: "_") { position += 1 }
        }
        if byte() | 0x20 == UInt8(ascii: "e") {
            let signed = byte(1) == UInt8(ascii: "+") || byte(1) == UInt8(ascii: "-") ? 1 : 0
            if isDigit(byte(1 + signed)) {
                isFloat = true
                position += 1 + signed
                while isDigit(byte()) { position += 1 }
            }
        }
        let text = String(decoding: source[start..<position].filter { $0 != 0x5F }, as: UTF8.self)
        if !isFloat, let value = Int(text) {
            add(.integer(value))
        } else if let value = Double(text) {
            add(.float(value))
        } else {
            throw fail("\(text) is not a number")
        }
    }

    /// A string's value; Python's escapes, unknown ones as they stand.
    private mutating func readString() throws(JinjaError) -> String {
        let quote = byte()
        position += 1
        var result: [UInt8] = []
        while position < source.count {
            let next = byte()
            position += 1
            if next == quote { return String(decoding: result, as: UTF8.self) }
            if next == 0x0A { line += 1 }
            guard next == UInt8(ascii: "\\") else {
                result.append(next)
                continue
            }
            let escape = byte()
            position += 1
            switch escape {
            case UInt8(ascii: "n"): result.append(0x0A)
            case UInt8(ascii: "t"): result.append(0x09)
            case UInt8(ascii: "r"): result.append(0x0D)
            case UInt8(ascii: "b"): result.append(0x08)
            case UInt8(ascii: "f"): result.append(0x0C)
            case UInt8(ascii: "v"): result.append(0x0B)
            case UInt8(ascii: "a"): result.append(0x07)
            case UInt8(ascii: "0"): result.append(0x00)
            case UInt8(ascii: "\\"), UInt8(ascii: "'"), UInt8(ascii: "\""): result.append(escape)
            case 0x0A: line += 1
            case UInt8(ascii: "x"): try appendScalar(digits: 2, to: &result)
            case UInt8(ascii: "u"): try appendScalar(digits: 4, to: &result)
            case UInt8(ascii: "U"): try appendScalar(digits: 8, to: &result)
            default: result += [UInt8(ascii: "\\"), escape]
            }
        }
        throw fail("a string does not end")
    }

    private mutating func appendScalar(digits: Int, to result: inout [UInt8]) throws(JinjaError) {
        let end = min(position + digits, source.count)
        let text = String(decoding: source[position..<end], as: UTF8.self)
        guard text.utf8.count == digits, let value = UInt32(text, radix: 16),
            let scalar = Unicode.Scalar(value)
        else { throw fail("\\ is not followed by \(digits) hexadecimal digits of a character") }
        result.append(contentsOf: UTF8.encode(scalar)!)
        position = end
    }

    static func isSpace(_ byte: UInt8) -> Bool { byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) }
    private static func isNamePart(_ byte: UInt8) -> Bool {
        byte >= 0x80 || byte == UInt8(ascii: "_") || (byte >= 0x30 && byte <= 0x39)
            || (byte | 0x20 >= UInt8(ascii: "a") && byte | 0x20 <= UInt8(ascii: "z"))
    }
}
