// Reads JSON from bytes: whole values, or piece by piece where a tokenizer of 30 MB should not become a
// tree first. Strict RFC 8259: no comments, no trailing commas, no lone surrogates, valid UTF-8.

/// What is wrong with a JSON text, and at which byte.
public struct JSONError: Error, Sendable, Hashable, CustomStringConvertible {
    /// The byte at which the fault was noticed, counted from 0.
    public let offset: Int
    /// What was expected or found there.
    public let message: String
    public init(offset: Int, message: String) {
        self.offset = offset
        self.message = message
    }
    public var description: String { "byte \(offset): \(message)" }
}

/// A cursor over one JSON text in memory that must outlive it.
public struct JSONReader {
    /// What to do where an object names a key twice.
    public enum DuplicateKeys: Sendable { case refused, lastWins }

    /// What the next value is, by its first byte.
    package enum Kind { case null, bool, number, string, array, object }

    private let bytes: UnsafeBufferPointer<UInt8>
    package private(set) var position = 0
    private let duplicateKeys: DuplicateKeys
    private var depth = 0
    /// How deep values may nest; serde_json's limit, far above any real file.
    private static let maximumDepth = 128

    package init(_ bytes: UnsafeBufferPointer<UInt8>, duplicateKeys: DuplicateKeys = .lastWins) {
        self.bytes = bytes
        self.duplicateKeys = duplicateKeys
    }

    package func fail(_ message: String, at offset: Int? = nil) -> JSONError {
        JSONError(offset: offset ?? position, message: message)
    }

    /// Checks that only white space is left.
    package mutating func finish() throws(JSONError) {
        skipSpace()
        if position < bytes.count { throw fail("the text goes on after its value") }
    }

    // MARK: Values

    package mutating func peekKind() throws(JSONError) -> Kind {
        skipSpace()
        guard position < bytes.count else { throw fail("the text ends where a value should be") }
        switch bytes[position] {
        case UInt8(ascii: "n"): return .null
        case UInt8(ascii: "t"), UInt8(ascii: "f"): return .bool
        case UInt8(ascii: "\""): return .string
        case UInt8(ascii: "["): return .array
        case UInt8(ascii: "{"): return .object
        case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return .number
        default: throw fail("a value cannot begin with \(shown(bytes[position]))")
        }
    }

    package mutating func readValue() throws(JSONError) -> JSONValue {
        switch try peekKind() {
        case .null:
            try expect("null")
            return .null
        case .bool:
            let value = bytes[position] == UInt8(ascii: "t")
            try expect(value ? "true" : "false")
            return .bool(value)
        case .number: return try readNumber()
        case .string: return .string(try readString())
        case .array:
            var elements: [JSONValue] = []
            try readArray { (reader) throws(JSONError) in elements.append(try reader.readValue()) }
            return .array(elements)
        case .object:
            var entries: [(key: String, value: JSONValue)] = []
            try readObject { (reader, key) throws(JSONError) in
                entries.append((key, try reader.readValue()))
            }
            return .object(JSONObject(entries))
        }
    }

    /// Reads past one value, checking it.
    package mutating func skipValue() throws(JSONError) {
        switch try peekKind() {
        case .array: try readArray { (reader) throws(JSONError) in try reader.skipValue() }
        case .object:
            try readObject { (reader, _) throws(JSONError) in try reader.skipValue() }
        default: _ = try readValue()
        }
    }

    /// Reads an object; `body` must read the value of each key it is given.
    package mutating func readObject(
        _ body: (inout JSONReader, String) throws(JSONError) -> Void
    ) throws(JSONError) {
        var seen: [String] = []  // looked through while short, then a set takes over
        var many: Set<UTF8Key> = []
        try readEntries { (reader, start) throws(JSONError) in
            let key = try reader.readString()
            if reader.duplicateKeys == .refused {
                if seen.count < 16 {
                    let isRepeated = seen.contains { $0.hasSameBytes(as: key) }
                    if isRepeated { throw reader.fail("the key \"\(key)\" is repeated", at: start) }
                    seen.append(key)
                    many.insert(UTF8Key(key))
                } else if !many.insert(UTF8Key(key)).inserted {
                    throw reader.fail("the key \"\(key)\" is repeated", at: start)
                }
            }
            try reader.expectByte(UInt8(ascii: ":"), "a colon after the key")
            try body(&reader, key)
        }
    }

    /// Reads an object whose keys are wanted as bytes; repeated keys are the caller's affair.
    /// `body` must read the value.
    package mutating func readObjectBytes(
        _ body: (inout JSONReader, UnsafeBufferPointer<UInt8>) throws(JSONError) -> Void
    ) throws(JSONError) {
        var scratch: [UInt8] = []
        try readEntries { (reader, _) throws(JSONError) in
            if let key = try reader.readPlainString() {
                try reader.expectByte(UInt8(ascii: ":"), "a colon after the key")
                try body(&reader, key)
            } else {
                scratch.removeAll(keepingCapacity: true)
                try reader.appendString(to: &scratch)
                try reader.expectByte(UInt8(ascii: ":"), "a colon after the key")
                let copy = scratch
                try copy.withUnsafeBufferPointer { (key) throws(JSONError) in
                    try body(&reader, key)
                }
            }
        }
    }

    private mutating func readEntries(
        _ entry: (inout JSONReader, Int) throws(JSONError) -> Void
    ) throws(JSONError) {
        try open(UInt8(ascii: "{"), "an object")
        if closes(UInt8(ascii: "}")) { return }
        while true {
            skipSpace()
            guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
                throw fail("an object's key must be a string")
            }
            try entry(&self, position)
            if try ends(UInt8(ascii: "}"), "an object") { return }
        }
    }

    /// Reads an array; `body` must read each element.
    package mutating func readArray(
        _ body: (inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        try open(UInt8(ascii: "["), "an array")
        if closes(UInt8(ascii: "]")) { return }
        while true {
            try body(&self)
            if try ends(UInt8(ascii: "]"), "an array") { return }
        }
    }

    private mutating func open(_ byte: UInt8, _ what: String) throws(JSONError) {
        skipSpace()
        guard position < bytes.count, bytes[position] == byte else {
            throw fail("\(what) is missing")
        }
        position += 1
        depth += 1
        if depth > Self.maximumDepth {
            throw fail("values nest deeper than \(Self.maximumDepth) levels")
        }
    }

    private mutating func closes(_ byte: UInt8) -> Bool {
        skipSpace()
        guard position < bytes.count, bytes[position] == byte else { return false }
        position += 1
        depth -= 1
        return true
    }

    private mutating func ends(_ byte: UInt8, _ what: String) throws(JSONError) -> Bool {
        skipSpace()
        guard position < bytes.count else { throw fail("the text ends inside \(what)") }
        if bytes[position] == byte {
            position += 1
            depth -= 1
            return true
        }
        guard bytes[position] == UInt8(ascii: ",") else {
            throw fail(
                "a comma or the end of \(what) should be here, not \(shown(bytes[position]))")
        }
        position += 1
        return false
    }

    // MARK: Numbers

    package mutating func readInteger() throws(JSONError) -> Int {
        let start = position
        guard case .integer(let value) = try readNumber() else {
            throw fail("an integer should be here", at: start)
        }
        return value
    }

    private mutating func readNumber() throws(JSONError) -> JSONValue {
        skipSpace()
        let start = position
        var isNegative = false
        var magnitude: UInt64 = 0
        var isExact = true
        if position < bytes.count, bytes[position] == UInt8(ascii: "-") {
            isNegative = true
            position += 1
        }
        let firstDigit = position
        while position < bytes.count, let digit = digit(bytes[position]) {
            let (product, overflow) = magnitude.multipliedReportingOverflow(by: 10)
            let (sum, carry) = product.addingReportingOverflow(digit)
            if overflow || carry { isExact = false }
            magnitude = sum
            position += 1
        }
        let digits = position - firstDigit
        if digits == 0 { throw fail("a number needs a digit here") }
        if digits > 1, bytes[firstDigit] == UInt8(ascii: "0") {
            throw fail("a number cannot begin with a zero", at: start)
        }
        var isInteger = true
        if position < bytes.count, bytes[position] == UInt8(ascii: ".") {
            isInteger = false
            position += 1
            try skipDigits()
        }
        if position < bytes.count, bytes[position] | 0x20 == UInt8(ascii: "e") {
            isInteger = false
            position += 1
            if position < bytes.count,
                bytes[position] == UInt8(ascii: "+") || bytes[position] == UInt8(ascii: "-")
            {
                position += 1
            }
            try skipDigits()
        }
        if isInteger, isExact {
            if !isNegative, magnitude <= UInt64(Int.max) { return .integer(Int(magnitude)) }
            if isNegative, magnitude <= UInt64(Int.max) + 1, magnitude > 0 {
                return .integer(Int(truncatingIfNeeded: 0 &- magnitude))
            }
        }
        // Swift's own conversion: correctly rounded, and deaf to the locale.
        let text = String(decoding: bytes[start..<position], as: UTF8.self)
        guard let value = Double(text), value.isFinite else {
            throw fail("the number \(text) is too large for 64 bits", at: start)
        }
        return .number(value)
    }

    private mutating func skipDigits() throws(JSONError) {
        let start = position
        while position < bytes.count, digit(bytes[position]) != nil { position += 1 }
        if position == start { throw fail("a number needs a digit here") }
    }

    @inline(__always) private func digit(_ byte: UInt8) -> UInt64? {
        let value = byte &- UInt8(ascii: "0")
        return value < 10 ? UInt64(value) : nil
    }

    // MARK: Strings

    package mutating func readString() throws(JSONError) -> String {
        skipSpace()
        let start = position
        if let plain = try readPlainString() {
            guard let text = String(validating: plain, as: UTF8.self) else {
                throw fail("a string is not valid UTF-8", at: start)
            }
            return text
        }
        var scratch: [UInt8] = []
        try appendString(to: &scratch)
        guard let text = String(validating: scratch, as: UTF8.self) else {
            throw fail("a string is not valid UTF-8", at: start)
        }
        return text
    }

    /// The bytes of a string without escapes, in place; `nil`, and nothing read, where it has one.
    package mutating func readPlainString() throws(JSONError) -> UnsafeBufferPointer<UInt8>? {
        skipSpace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
            throw fail("a string should be here")
        }
        var end = position + 1
        while end < bytes.count {
            let byte = bytes[end]
            if byte == UInt8(ascii: "\"") {
                let content = UnsafeBufferPointer(rebasing: bytes[(position + 1)..<end])
                position = end + 1
                return content
            }
            if byte == UInt8(ascii: "\\") { return nil }
            if byte < 0x20 { throw fail("a control character must be escaped", at: end) }
            end += 1
        }
        throw fail("the text ends inside a string")
    }

    /// Appends the bytes of a string, escapes resolved.
    package mutating func appendString(to result: inout [UInt8]) throws(JSONError) {
        skipSpace()
        guard position < bytes.count, bytes[position] == UInt8(ascii: "\"") else {
            throw fail("a string should be here")
        }
        let start = position
        position += 1
        while position < bytes.count {
            let byte = bytes[position]
            position += 1
            switch byte {
            case UInt8(ascii: "\""): return
            case UInt8(ascii: "\\"): try appendEscape(to: &result)
            case 0..<0x20: throw fail("a control character must be escaped", at: position - 1)
            default: result.append(byte)
            }
        }
        throw fail("the text ends inside a string", at: start)
    }

    private mutating func appendEscape(to result: inout [UInt8]) throws(JSONError) {
        guard position < bytes.count else { throw fail("the text ends inside a string") }
        let byte = bytes[position]
        position += 1
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): result.append(byte)
        case UInt8(ascii: "b"): result.append(0x08)
        case UInt8(ascii: "f"): result.append(0x0C)
        case UInt8(ascii: "n"): result.append(0x0A)
        case UInt8(ascii: "r"): result.append(0x0D)
        case UInt8(ascii: "t"): result.append(0x09)
        case UInt8(ascii: "u"):
            let start = position - 2
            var scalar = try readHexadecimal()
            if scalar & 0xFC00 == 0xD800 {
                guard position + 1 < bytes.count, bytes[position] == UInt8(ascii: "\\"),
                    bytes[position + 1] == UInt8(ascii: "u")
                else { throw fail("half of a surrogate pair stands alone", at: start) }
                position += 2
                let low = try readHexadecimal()
                guard low & 0xFC00 == 0xDC00 else {
                    throw fail("half of a surrogate pair stands alone", at: start)
                }
                scalar = 0x10000 + (scalar & 0x3FF) << 10 + (low & 0x3FF)
            }
            guard let value = Unicode.Scalar(scalar) else {
                throw fail("half of a surrogate pair stands alone", at: start)
            }
            result.append(contentsOf: UTF8.encode(value)!)
        default: throw fail("\\\(shown(byte)) is no escape", at: position - 2)
        }
    }

    private mutating func readHexadecimal() throws(JSONError) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard position < bytes.count,
                let digit = Character(Unicode.Scalar(bytes[position])).hexDigitValue,
                bytes[position] < 0x80
            else { throw fail("four hexadecimal digits should follow \\u") }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }

    // MARK: Bytes

    private mutating func skipSpace() {
        while position < bytes.count {
            switch bytes[position] {
            case 0x20, 0x0A, 0x0D, 0x09: position += 1
            default: return
            }
        }
    }

    private mutating func expect(_ word: StaticString) throws(JSONError) {
        for index in 0..<word.utf8CodeUnitCount {
            guard position + index < bytes.count,
                bytes[position + index] == word.utf8Start[index]
            else { throw fail("\"\(word)\" should be here") }
        }
        position += word.utf8CodeUnitCount
    }

    private mutating func expectByte(_ byte: UInt8, _ what: String) throws(JSONError) {
        skipSpace()
        guard position < bytes.count, bytes[position] == byte else {
            throw fail("\(what) should be here")
        }
        position += 1
    }

    private func shown(_ byte: UInt8) -> String {
        byte >= 0x20 && byte < 0x7F
            ? "\"\(Character(Unicode.Scalar(byte)))\"" : "the byte \(byte)"
    }
}
