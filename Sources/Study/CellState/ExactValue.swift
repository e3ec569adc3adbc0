// What a value is made of, to the bit, and the bytes for it. ExactEncoder and ExactDecoder turn anything `Codable`
// into this and back; text formats lose NaN, the sign of zero or the difference between Float and Double.

/// The parts of an encoded value.
indirect enum ExactValue {
    case nothing
    case bool(Bool)
    case signed(Int64)
    case unsigned(UInt64)
    /// By its bits.
    case float(UInt32)
    /// By its bits.
    case double(UInt64)
    case text(String)
    /// An array of numbers as it lies in memory; `kind` is the elements' (``ExactValue/Block``).
    case block(Block, [UInt8])
    case list([ExactValue])
    /// In the order of the keys' bytes, so that equal values have equal bytes.
    case fields([(key: String, value: ExactValue)])

    /// The element types of arrays that are kept in one piece.
    enum Block: UInt8 {
        case u8 = 1
        case i32, i64, f32, f64
    }
}

/// Bytes that are not an encoded value: cut short, or of another version.
struct ExactFormatError: Error {}

// MARK: - Bytes

extension ExactValue {
    private enum Mark {
        static let nothing: UInt8 = 0
        static let no: UInt8 = 1
        static let yes: UInt8 = 2
        static let signed: UInt8 = 3
        static let unsigned: UInt8 = 4
        static let float: UInt8 = 5
        static let double: UInt8 = 6
        static let text: UInt8 = 7
        static let block: UInt8 = 8
        static let list: UInt8 = 9
        static let fields: UInt8 = 10
    }

    /// A mark, then the value; numbers of eight bytes little-endian, lengths before what they count.
    var bytes: [UInt8] {
        var result: [UInt8] = []
        write(to: &result)
        return result
    }

    func write(to bytes: inout [UInt8]) {
        switch self {
        case .nothing: bytes.append(Mark.nothing)
        case .bool(let value): bytes.append(value ? Mark.yes : Mark.no)
        case .signed(let value):
            bytes.append(Mark.signed)
            bytes.append(word: UInt64(bitPattern: value))
        case .unsigned(let value):
            bytes.append(Mark.unsigned)
            bytes.append(word: value)
        case .float(let bits):
            bytes.append(Mark.float)
            bytes.append(word: UInt64(bits))
        case .double(let bits):
            bytes.append(Mark.double)
            bytes.append(word: bits)
        case .text(let text):
            bytes.append(Mark.text)
            bytes.append(text: text)
        case .block(let kind, let content):
            bytes.append(Mark.block)
            bytes.append(kind.rawValue)
            bytes.append(word: UInt64(content.count))
            bytes += content
        case .list(let values):
            bytes.append(Mark.list)
            bytes.append(word: UInt64(values.count))
            for value in values { value.write(to: &bytes) }
        case .fields(let fields):
            bytes.append(Mark.fields)
            bytes.append(word: UInt64(fields.count))
            for field in fields {
                bytes.append(text: field.key)
                field.value.write(to: &bytes)
            }
        }
    }

    /// Reads what ``bytes`` wrote.
    init(_ reader: inout ExactReader) throws {
        switch try reader.byte() {
        case Mark.nothing: self = .nothing
        case Mark.no: self = .bool(false)
        case Mark.yes: self = .bool(true)
        case Mark.signed: self = .signed(Int64(bitPattern: try reader.word()))
        case Mark.unsigned: self = .unsigned(try reader.word())
        case Mark.float: self = .float(UInt32(truncatingIfNeeded: try reader.word()))
        case Mark.double: self = .double(try reader.word())
        case Mark.text: self = .text(try reader.text())
        case Mark.block:
            guard let kind = Block(rawValue: try reader.byte()) else { throw ExactFormatError() }
            self = .block(kind, try reader.run())
        case Mark.list:
            let count = try reader.count()
            self = .list(try (0..<count).map { _ in try ExactValue(&reader) })
        case Mark.fields:
            let count = try reader.count()
            self = .fields(
                try (0..<count).map { _ in (try reader.text(), try ExactValue(&reader)) })
        default: throw ExactFormatError()
        }
    }
}

extension [UInt8] {
    mutating func append(word: UInt64) {
        for shift in stride(from: 0, to: 64, by: 8) {
            append(UInt8(truncatingIfNeeded: word >> UInt64(shift)))
        }
    }

    mutating func append(text: String) {
        append(word: UInt64(text.utf8.count))
        append(contentsOf: text.utf8)
    }
}

/// Reads bytes from the front.
struct ExactReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var isAtEnd: Bool { place == bytes.count }

    mutating func byte() throws -> UInt8 {
        guard place < bytes.count else { throw ExactFormatError() }
        defer { place += 1 }
        return bytes[place]
    }

    mutating func word() throws -> UInt64 {
        guard bytes.count - place >= 8 else { throw ExactFormatError() }
        defer { place += 8 }
        return (0..<8).reduce(0) { $0 | UInt64(bytes[place + $1]) << UInt64(8 * $1) }
    }

    /// A number of things of at least one byte each.
    mutating func count() throws -> Int {
        let count = try word()
        guard count <= UInt64(bytes.count - place) else { throw ExactFormatError() }
        return Int(count)
    }

    mutating func run() throws -> [UInt8] {
        let count = try count()
        defer { place += count }
        return Array(bytes[place..<place + count])
    }

    mutating func text() throws -> String { String(decoding: try run(), as: UTF8.self) }
}
