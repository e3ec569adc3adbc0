// The character classes that the published splitting expressions use: \p{L}, \p{N}, \s and \w, from the
// standard library's Unicode tables, and UTF-8 read scalar by scalar.

/// What a character is to a splitting expression.
enum CharacterClass: UInt8 {
    case other, letter, number, space
}

enum UnicodeClasses {
    /// The class of each ASCII character.
    static let ascii: [UInt8] = (0..<0x80).map { classify(Unicode.Scalar(UInt8($0))).rawValue }
    /// The class of each character of the basic plane, looked up once.
    private static let basicPlane: [UInt8] = (0..<0x10000).map { value in
        Unicode.Scalar(UInt32(value)).map { classify($0).rawValue } ?? 0
    }

    static func classify(_ scalar: Unicode.Scalar) -> CharacterClass {
        if scalar.properties.isWhitespace { return .space }
        switch scalar.properties.generalCategory {
        case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
            return .letter
        case .decimalNumber, .letterNumber, .otherNumber: return .number
        default: return .other
        }
    }

    @inline(__always)
    static func of(_ scalar: UInt32) -> CharacterClass {
        if scalar < 0x10000 { return CharacterClass(rawValue: basicPlane[Int(scalar)])! }
        return classify(Unicode.Scalar(scalar)!)
    }

    /// `\w` of the Rust regex crate: Alphabetic, marks, decimal numbers, connectors, joiners.
    static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        let properties = scalar.properties
        if properties.isAlphabetic || properties.isJoinControl { return true }
        switch properties.generalCategory {
        case .nonspacingMark, .spacingMark, .enclosingMark, .decimalNumber, .connectorPunctuation:
            return true
        default: return false
        }
    }

    static func isSpace(_ scalar: Unicode.Scalar) -> Bool { scalar.properties.isWhitespace }
}

/// The scalar at an offset of valid UTF-8, and how many bytes it takes.
@inline(__always)
func scalar(
    _ bytes: UnsafeBufferPointer<UInt8>, at offset: Int
) -> (value: UInt32, count: Int) {
    let first = UInt32(bytes[offset])
    if first < 0x80 { return (first, 1) }
    let second = UInt32(bytes[offset + 1] & 0x3F)
    if first < 0xE0 { return ((first & 0x1F) << 6 | second, 2) }
    let third = UInt32(bytes[offset + 2] & 0x3F)
    if first < 0xF0 { return ((first & 0x0F) << 12 | second << 6 | third, 3) }
    let fourth = UInt32(bytes[offset + 3] & 0x3F)
    return ((first & 0x07) << 18 | second << 12 | third << 6 | fourth, 4)
}

/// How many bytes the scalar that begins with this byte takes.
@inline(__always)
func scalarLength(_ first: UInt8) -> Int {
    first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4
}

/// The scalar that ends before an offset.
func scalar(before offset: Int, in bytes: UnsafeBufferPointer<UInt8>) -> (value: UInt32, count: Int)
{
    var start = offset - 1
    while bytes[start] & 0xC0 == 0x80 { start -= 1 }
    return scalar(bytes, at: start)
}
