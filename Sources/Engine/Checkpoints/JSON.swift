// JSON (RFC 8259) as a value: what configurations, headers and tokenizers are read into. Reading is in
// JSONReader.swift, printing in JSONWriter.swift.

/// A JSON value that keeps what it read: the order of an object's keys, and integers exactly.
///
/// Keys and strings are compared by their UTF-8 bytes in every lookup here, never by Swift's canonical
/// equivalence: vocabularies contain entries that are canonically equivalent and yet different.
public indirect enum JSONValue: Sendable, Codable {
    case null
    case bool(Bool)
    /// A number written without fraction or exponent that fits 64 bits.
    case integer(Int)
    /// Any other number, to the nearest Float64.
    case number(Double)
    case string(String)
    case array([JSONValue])
    case object(JSONObject)

    /// Reads one JSON text.
    /// - Parameter duplicateKeys: Whether an object may name a key twice; the last value then counts,
    ///   as in Python's reader.
    /// - Throws: ``JSONError`` with the byte offset of the first fault.
    public init(
        parsing bytes: [UInt8], duplicateKeys: JSONReader.DuplicateKeys = .lastWins
    ) throws(JSONError) {
        self = try bytes.withUnsafeBufferPointer { (buffer) throws(JSONError) in
            try JSONValue(parsing: buffer, duplicateKeys: duplicateKeys)
        }
    }

    /// Reads one JSON text from a string.
    public init(
        parsing text: String, duplicateKeys: JSONReader.DuplicateKeys = .lastWins
    ) throws(JSONError) {
        try self.init(parsing: Array(text.utf8), duplicateKeys: duplicateKeys)
    }

    /// Reads one JSON text from bytes in memory that outlive the call.
    package init(
        parsing buffer: UnsafeBufferPointer<UInt8>, duplicateKeys: JSONReader.DuplicateKeys
    ) throws(JSONError) {
        var reader = JSONReader(buffer, duplicateKeys: duplicateKeys)
        self = try reader.readValue()
        try reader.finish()
    }
}

/// A JSON object: its entries in the order of the text.
public struct JSONObject: Sendable {
    public private(set) var entries: [(key: String, value: JSONValue)]

    public init(_ entries: [(key: String, value: JSONValue)] = []) {
        self.entries = entries
    }

    public var keys: [String] { entries.map(\.key) }
    public var isEmpty: Bool { entries.isEmpty }
    public var count: Int { entries.count }

    /// The value of a key, compared by bytes; the last where a key is repeated. Setting keeps the key's
    /// place, or appends it; setting `nil` removes it. Each access looks through all keys.
    public subscript(key: String) -> JSONValue? {
        get { entries.last { $0.key.hasSameBytes(as: key) }?.value }
        set {
            let place = entries.lastIndex { $0.key.hasSameBytes(as: key) }
            switch (place, newValue) {
            case (let place?, let value?): entries[place].value = value
            case (let place?, nil): entries.remove(at: place)
            case (nil, let value?): entries.append((key, value))
            case (nil, nil): break
            }
        }
    }
}

extension JSONValue {
    /// The value of an object's key; `nil` where this is no object, or has no such key.
    public subscript(key: String) -> JSONValue? {
        guard case .object(let object) = self else { return nil }
        return object[key]
    }

    /// The element of an array; `nil` where this is no array, or it is shorter.
    public subscript(index: Int) -> JSONValue? {
        guard case .array(let elements) = self, elements.indices.contains(index) else { return nil }
        return elements[index]
    }

    public var isNull: Bool {
        if case .null = self { true } else { false }
    }
    public var bool: Bool? {
        if case .bool(let value) = self { value } else { nil }
    }
    /// An integer; a number without a fraction counts (`1.0`, `1e3`).
    public var integer: Int? {
        switch self {
        case .integer(let value): value
        case .number(let value): Int(exactly: value)
        default: nil
        }
    }
    /// Any number.
    public var double: Double? {
        switch self {
        case .integer(let value): Double(value)
        case .number(let value): value
        default: nil
        }
    }
    public var string: String? {
        if case .string(let value) = self { value } else { nil }
    }
    public var array: [JSONValue]? {
        if case .array(let value) = self { value } else { nil }
    }
    public var object: JSONObject? {
        if case .object(let value) = self { value } else { nil }
    }

    /// What kind of value this is, in words for messages.
    package var kind: String {
        switch self {
        case .null: "null"
        case .bool: "a boolean"
        case .integer, .number: "a number"
        case .string: "a string"
        case .array: "an array"
        case .object: "an object"
        }
    }
}

extension JSONValue: Equatable {
    /// Equal structure: object keys in any order, strings by bytes, `1` and `1.0` alike.
    public static func == (left: JSONValue, right: JSONValue) -> Bool {
        switch (left, right) {
        case (.null, .null): true
        case (.bool(let a), .bool(let b)): a == b
        case (.integer(let a), .integer(let b)): a == b
        case (.integer, .number), (.number, .integer), (.number, .number):
            left.double == right.double
        case (.string(let a), .string(let b)): a.hasSameBytes(as: b)
        case (.array(let a), .array(let b)): a == b
        case (.object(let a), .object(let b)):
            a.count == b.count && a.entries.allSatisfy { b[$0.key] == $0.value }
        default: false
        }
    }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByFloatLiteral, ExpressibleByBooleanLiteral, ExpressibleByNilLiteral,
    ExpressibleByArrayLiteral, ExpressibleByDictionaryLiteral
{
    public init(stringLiteral value: String) { self = .string(value) }
    public init(integerLiteral value: Int) { self = .integer(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(booleanLiteral value: Bool) { self = .bool(value) }
    public init(nilLiteral: ()) { self = .null }
    public init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
    public init(dictionaryLiteral elements: (String, JSONValue)...) {
        self = .object(JSONObject(elements.map { (key: $0.0, value: $0.1) }))
    }
}

/// A string as a dictionary key that compares its UTF-8 bytes, so that canonically equivalent strings
/// stay different keys.
package struct UTF8Key: Hashable, Sendable {
    package let string: String
    package init(_ string: String) { self.string = string }
    package static func == (left: UTF8Key, right: UTF8Key) -> Bool {
        left.string.hasSameBytes(as: right.string)
    }
    package func hash(into hasher: inout Hasher) {
        var copy = string
        copy.withUTF8 { hasher.combine(bytes: UnsafeRawBufferPointer($0)) }
    }
}

extension String {
    /// Whether both strings are the same UTF-8 bytes.
    package func hasSameBytes(as other: String) -> Bool {
        utf8.count == other.utf8.count && utf8.elementsEqual(other.utf8)
    }
    /// Whether this string's UTF-8 bytes come before the other's.
    package func precedesInBytes(_ other: String) -> Bool {
        utf8.lexicographicallyPrecedes(other.utf8)
    }
}

/// As keys and values in their order: an object that is read back has the same text.
extension JSONObject: Codable {
    private enum CodingKeys: String, CodingKey { case keys, values }

    public init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let keys = try container.decode([String].self, forKey: .keys)
        let values = try container.decode([JSONValue].self, forKey: .values)
        guard keys.count == values.count else {
            throw DecodingError.dataCorruptedError(
                forKey: .values, in: container,
                debugDescription: "\(keys.count) keys have \(values.count) values")
        }
        entries = zip(keys, values).map { ($0, $1) }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(entries.map(\.key), forKey: .keys)
        try container.encode(entries.map(\.value), forKey: .values)
    }
}
