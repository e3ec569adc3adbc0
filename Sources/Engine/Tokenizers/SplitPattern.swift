// The expressions by which text is cut into words. The published ones are scanned by hand, which is exact
// and fast; any other goes through Swift's Regex, read scalar by scalar.

/// What a `Split` looks for.
enum SplitPattern: Sendable {
    case string([UInt8])
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+` (GPT-2).
    case gpt2
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*|
    /// \s*[\r\n]+|\s+(?!\S)|\s+` (Llama 3 with n = 3, Qwen 2 with n = 1).
    case llama3(digits: Int)
    case expression(String)

    private static let gpt2Text =
        #"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"#
    private static let llama3Head =
        #"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"#
    private static let llama3Tail =
        #"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"#

    /// The scanner of an expression; `nil` where it cannot be read at all.
    init?(expression: String) {
        switch expression {
        case Self.gpt2Text: self = .gpt2
        case Self.llama3Head + "{1,3}" + Self.llama3Tail: self = .llama3(digits: 3)
        case Self.llama3Head + Self.llama3Tail: self = .llama3(digits: 1)
        default:
            guard (try? Regex(expression)) != nil else { return nil }
            self = .expression(expression)
        }
    }

    /// Whether every character of any text lies in some match.
    var coversEverything: Bool {
        switch self {
        case .gpt2, .llama3: true
        case .string, .expression: false
        }
    }

    /// The matches, and what lies between them, in order.
    func matches(_ bytes: UnsafeBufferPointer<UInt8>) -> [(range: Range<Int>, isMatch: Bool)] {
        var result: [(range: Range<Int>, isMatch: Bool)] = []
        var end = 0
        func add(_ range: Range<Int>) {
            if range.lowerBound > end { result.append((end..<range.lowerBound, false)) }
            result.append((range, true))
            end = range.upperBound
        }
        switch self {
        case .gpt2, .llama3:
            while end < bytes.count { add(end..<wordEnd(bytes, from: end)) }
        case .string(let wanted):
            if wanted.isEmpty { break }
            var offset = 0
            while offset + wanted.count <= bytes.count {
                if bytes[offset] == wanted[0],
                    bytes[offset..<(offset + wanted.count)].elementsEqual(wanted)
                {
                    add(offset..<(offset + wanted.count))
                    offset += wanted.count
                } else {
                    offset += 1
                }
            }
        case .expression(let expression):
            let text = String(decoding: bytes, as: UTF8.self)
            // The expression was checked when the pattern was made.
            let regex = try! Regex(expression).matchingSemantics(.unicodeScalar)
            for match in text.matches(of: regex) where !match.range.isEmpty {
                let start = text.utf8.distance(from: text.startIndex, to: match.range.lowerBound)
                let stop = text.utf8.distance(from: text.startIndex, to: match.range.upperBound)
                add(start..<stop)
            }
        }
        if end < bytes.count { result.append((end..<bytes.count, false)) }
        return result
    }

    /// Where the match that begins at `start` ends.
    /// - Precondition: `coversEverything`, and `start` lies inside the text.
    @inline(__always)
    func wordEnd(_ bytes: UnsafeBufferPointer<UInt8>, from start: Int) -> Int {
        switch self {
        case .gpt2: Self.gpt2End(bytes, start)
        case .llama3(let digits): Self.llama3End(bytes, start, digits)
        case .string, .expression: preconditionFailure("this pattern leaves gaps")
        }
    }

    // MARK: Scanners

    @inline(__always)
    private static func classOf(
        _ bytes: UnsafeBufferPointer<UInt8>, _ offset: Int
    ) -> (CharacterClass, Int) {
        let byte = bytes[offset]
        if byte < 0x80 {
            let lower = byte | 0x20
            if lower >= UInt8(ascii: "a"), lower <= UInt8(ascii: "z") { return (.letter, 1) }
            if byte >= UInt8(ascii: "0"), byte <= UInt8(ascii: "9") { return (.number, 1) }
            if byte == 0x20 || (byte >= 0x09 && byte <= 0x0D) { return (.space, 1) }
            return (.other, 1)
        }
        let (value, count) = scalar(bytes, at: offset)
        return (UnicodeClasses.of(value), count)
    }

    @inline(__always)
    private static func run(
        _ bytes: UnsafeBufferPointer<UInt8>, of kind: CharacterClass, from start: Int
    ) -> Int {
        var end = start
        while end < bytes.count {
            let (other, count) = classOf(bytes, end)
            if other != kind { break }
            end += count
        }
        return end
    }

    /// `'s`, `'t`, `'m`, `'d`, `'re`, `'ve`, `'ll` after an apostrophe: the end, or `nil`.
    private static func contractionEnd(
        _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, ignoringCase: Bool
    ) -> Int? {
        guard start + 1 < bytes.count else { return nil }
        let fold: UInt8 = ignoringCase ? 0x20 : 0
        let first = bytes[start + 1]
        // U+017F, the long s, is an s to an expression that ignores case.
        if ignoringCase, first == 0xC5, start + 2 < bytes.count, bytes[start + 2] == 0xBF {
            return start + 3
        }
        switch first | fold {
        case UInt8(ascii: "s"), UInt8(ascii: "t"), UInt8(ascii: "m"), UInt8(ascii: "d"):
            return start + 2
        case let letter:
            guard start + 2 < bytes.count else { return nil }
            switch (letter, bytes[start + 2] | fold) {
            case (UInt8(ascii: "r"), UInt8(ascii: "e")), (UInt8(ascii: "v"), UInt8(ascii: "e")),
                (UInt8(ascii: "l"), UInt8(ascii: "l")):
                return start + 3
            default: return nil
            }
        }
    }

    /// `\s+(?!\S)|\s+` at a space: all but the last character before something else, if more than one.
    private static func spaceEnd(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        let end = run(bytes, of: .space, from: start)
        if end == bytes.count { return end }
        let last = end - scalar(before: end, in: bytes).count
        return last > start ? last : end
    }

    private static func gpt2End(_ bytes: UnsafeBufferPointer<UInt8>, _ start: Int) -> Int {
        if bytes[start] == UInt8(ascii: "'"),
            let end = contractionEnd(bytes, start, ignoringCase: false)
        {
            return end
        }
        var (kind, count) = classOf(bytes, start)
        if bytes[start] == 0x20, start + 1 < bytes.count {
            let (next, nextCount) = classOf(bytes, start + 1)
            if next != .space { (kind, count) = (next, 1 + nextCount) }
        }
        if kind == .space { return spaceEnd(bytes, start) }
        return run(bytes, of: kind, from: start + count)
    }

    private static func llama3End(
        _ bytes: UnsafeBufferPointer<UInt8>, _ start: Int, _ digits: Int
    ) -> Int {
        let first = bytes[start]
        if first == UInt8(ascii: "'"),
            let end = contractionEnd(bytes, start, ignoringCase: true)
        {
            return end
        }
        let (kind, count) = classOf(bytes, start)
        if kind == .letter { return run(bytes, of: .letter, from: start + count) }
        if kind == .number {
            var end = start + count
            var taken = 1
            while taken < digits, end < bytes.count {
                let (next, nextCount) = classOf(bytes, end)
                if next != .number { break }
                end += nextCount
                taken += 1
            }
            return end
        }
        let isLineEnd = first == 0x0A || first == 0x0D
        if !isLineEnd, start + count < bytes.count {
            let (next, nextCount) = classOf(bytes, start + count)
            if next == .letter {
                return run(bytes, of: .letter, from: start + count + nextCount)
            }
            if kind == .other || (first == 0x20 && next == .other) {
                var end = run(bytes, of: .other, from: start + count)
                while end < bytes.count, bytes[end] == 0x0A || bytes[end] == 0x0D { end += 1 }
                return end
            }
        }
        if kind == .other { return start + count }
        // `\s*[\r\n]+`: up to the last line end of this run of spaces.
        let end = run(bytes, of: .space, from: start)
        var last = end
        while last > start, bytes[last - 1] != 0x0A, bytes[last - 1] != 0x0D { last -= 1 }
        return last > start ? last : spaceEnd(bytes, start)
    }
}
