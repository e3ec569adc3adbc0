// ExactValue back into values.

/// Decodes one value that ``ExactEncoder`` encoded.
struct ExactDecoder: Decoder {
    fileprivate let value: ExactValue
    let codingPath: [any CodingKey]
    var userInfo: [CodingUserInfoKey: Any] { [:] }

    init(_ value: ExactValue, codingPath: [any CodingKey] = []) {
        self.value = value
        self.codingPath = codingPath
    }

    static func decode<T: Decodable>(_ type: T.Type, from value: ExactValue) throws -> T {
        try ExactDecoder(value).get(type)
    }

    func container<Key: CodingKey>(keyedBy type: Key.Type) throws -> KeyedDecodingContainer<Key> {
        guard case .fields(let fields) = value else { throw mismatch("a value with fields") }
        return KeyedDecodingContainer(Keyed(decoder: self, fields: fields))
    }

    func unkeyedContainer() throws -> any UnkeyedDecodingContainer {
        switch value {
        case .list(let values): return Unkeyed(decoder: self, values: values)
        // An array of numbers, read one by one by somebody's own `init(from:)`.
        case .block(let kind, let bytes):
            return Unkeyed(decoder: self, values: Self.elements(kind, bytes))
        default: throw mismatch("a list")
        }
    }

    func singleValueContainer() -> any SingleValueDecodingContainer { Single(decoder: self) }

    fileprivate func mismatch(_ wanted: String) -> DecodingError {
        .dataCorrupted(
            .init(
                codingPath: codingPath, debugDescription: "the stored state has no \(wanted) here"))
    }

    fileprivate func below(_ value: ExactValue, _ key: any CodingKey) -> ExactDecoder {
        ExactDecoder(value, codingPath: codingPath + [key])
    }

    private static func elements(_ kind: ExactValue.Block, _ bytes: [UInt8]) -> [ExactValue] {
        switch kind {
        case .u8: bytes.map { .signed(Int64($0)) }
        case .i32: array(bytes, Int32.self).map { .signed(Int64($0)) }
        case .i64: array(bytes, Int.self).map { .signed(Int64($0)) }
        case .f32: array(bytes, Float.self).map { .float($0.bitPattern) }
        case .f64: array(bytes, Double.self).map { .double($0.bitPattern) }
        }
    }

    private static func array<E: BitwiseCopyable>(_ bytes: [UInt8], _ type: E.Type) -> [E] {
        [E](unsafeUninitializedCapacity: bytes.count / MemoryLayout<E>.size) { buffer, count in
            count = bytes.count / MemoryLayout<E>.size
            UnsafeMutableRawBufferPointer(buffer).copyBytes(
                from: bytes.prefix(count * MemoryLayout<E>.size))
        }
    }

    fileprivate func get<T: Decodable>(_ type: T.Type) throws -> T {
        func block<E: BitwiseCopyable>(_ kind: ExactValue.Block, _ element: E.Type) throws -> T {
            guard case .block(kind, let bytes) = value else { throw mismatch("array") }
            return Self.array(bytes, element) as! T
        }
        switch type {
        case is Bool.Type:
            guard case .bool(let flag) = value else { throw mismatch("Bool") }
            return flag as! T
        case is Int.Type: return try integer(Int.self) as! T
        case is Double.Type: return try double() as! T
        case is Float.Type: return try float() as! T
        case is String.Type:
            guard case .text(let text) = value else { throw mismatch("String") }
            return text as! T
        case is [UInt8].Type: return try block(.u8, UInt8.self)
        case is [Int32].Type: return try block(.i32, Int32.self)
        case is [Int].Type: return try block(.i64, Int.self)
        case is [Float].Type: return try block(.f32, Float.self)
        case is [Double].Type: return try block(.f64, Double.self)
        default: return try T(from: self)
        }
    }

    fileprivate func integer<I: FixedWidthInteger>(_ type: I.Type) throws -> I {
        switch value {
        case .signed(let number):
            if let number = I(exactly: number) { return number }
        case .unsigned(let number):
            if let number = I(exactly: number) { return number }
        default: break
        }
        throw mismatch("\(I.self)")
    }

    fileprivate func double() throws -> Double {
        guard case .double(let bits) = value else { throw mismatch("Double") }
        return Double(bitPattern: bits)
    }

    fileprivate func float() throws -> Float {
        guard case .float(let bits) = value else { throw mismatch("Float") }
        return Float(bitPattern: bits)
    }

    private struct Index: CodingKey {
        var intValue: Int?
        var stringValue: String { "\(intValue ?? 0)" }
        init(_ index: Int) { intValue = index }
        init?(intValue: Int) { self.init(intValue) }
        init?(stringValue: String) { return nil }
    }

    private struct Keyed<Key: CodingKey>: KeyedDecodingContainerProtocol {
        let decoder: ExactDecoder
        let values: [String: ExactValue]
        let keys: [String]

        init(decoder: ExactDecoder, fields: [(key: String, value: ExactValue)]) {
            self.decoder = decoder
            values = Dictionary(
                fields.map { ($0.key, $0.value) }, uniquingKeysWith: { _, last in last })
            keys = fields.map(\.key)
        }

        var codingPath: [any CodingKey] { decoder.codingPath }
        var allKeys: [Key] { keys.compactMap(Key.init(stringValue:)) }
        func contains(_ key: Key) -> Bool { values[key.stringValue] != nil }

        private func at(_ key: any CodingKey) throws -> ExactDecoder {
            guard let value = values[key.stringValue] else {
                throw decoder.mismatch("`\(key.stringValue)`")
            }
            return decoder.below(value, key)
        }
        func decodeNil(forKey key: Key) throws -> Bool {
            if case .nothing = try at(key).value { return true }
            return false
        }
        func decode<T: Decodable>(_ type: T.Type, forKey key: Key) throws -> T {
            try at(key).get(type)
        }
        func nestedContainer<Nested: CodingKey>(
            keyedBy type: Nested.Type, forKey key: Key
        ) throws -> KeyedDecodingContainer<Nested> { try at(key).container(keyedBy: type) }
        func nestedUnkeyedContainer(forKey key: Key) throws -> any UnkeyedDecodingContainer {
            try at(key).unkeyedContainer()
        }
        func superDecoder() throws -> any Decoder {
            guard let value = values["super"] else { throw decoder.mismatch("`super`") }
            return decoder.below(value, Index(0))
        }
        func superDecoder(forKey key: Key) throws -> any Decoder { try at(key) }
    }

    private struct Unkeyed: UnkeyedDecodingContainer {
        let decoder: ExactDecoder
        let values: [ExactValue]
        var currentIndex = 0

        init(decoder: ExactDecoder, values: [ExactValue]) {
            self.decoder = decoder
            self.values = values
        }

        var codingPath: [any CodingKey] { decoder.codingPath }
        var count: Int? { values.count }
        var isAtEnd: Bool { currentIndex >= values.count }

        private mutating func next() throws -> ExactDecoder {
            guard !isAtEnd else { throw decoder.mismatch("element \(currentIndex)") }
            defer { currentIndex += 1 }
            return decoder.below(values[currentIndex], Index(currentIndex))
        }
        mutating func decodeNil() throws -> Bool {
            guard !isAtEnd, case .nothing = values[currentIndex] else { return false }
            currentIndex += 1
            return true
        }
        mutating func decode<T: Decodable>(_ type: T.Type) throws -> T { try next().get(type) }
        mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type) throws
            -> KeyedDecodingContainer<Nested>
        { try next().container(keyedBy: type) }
        mutating func nestedUnkeyedContainer() throws -> any UnkeyedDecodingContainer {
            try next().unkeyedContainer()
        }
        mutating func superDecoder() throws -> any Decoder { try next() }
    }

    private struct Single: SingleValueDecodingContainer {
        let decoder: ExactDecoder
        var codingPath: [any CodingKey] { decoder.codingPath }

        func decodeNil() -> Bool {
            if case .nothing = decoder.value { return true }
            return false
        }
        func decode(_ type: Bool.Type) throws -> Bool { try decoder.get(type) }
        func decode(_ type: String.Type) throws -> String { try decoder.get(type) }
        func decode(_ type: Double.Type) throws -> Double { try decoder.double() }
        func decode(_ type: Float.Type) throws -> Float { try decoder.float() }
        func decode(_ type: Int.Type) throws -> Int { try decoder.integer(type) }
        func decode(_ type: Int8.Type) throws -> Int8 { try decoder.integer(type) }
        func decode(_ type: Int16.Type) throws -> Int16 { try decoder.integer(type) }
        func decode(_ type: Int32.Type) throws -> Int32 { try decoder.integer(type) }
        func decode(_ type: Int64.Type) throws -> Int64 { try decoder.integer(type) }
        func decode(_ type: UInt.Type) throws -> UInt { try decoder.integer(type) }
        func decode(_ type: UInt8.Type) throws -> UInt8 { try decoder.integer(type) }
        func decode(_ type: UInt16.Type) throws -> UInt16 { try decoder.integer(type) }
        func decode(_ type: UInt32.Type) throws -> UInt32 { try decoder.integer(type) }
        func decode(_ type: UInt64.Type) throws -> UInt64 { try decoder.integer(type) }
        func decode<T: Decodable>(_ type: T.Type) throws -> T { try decoder.get(type) }
    }
}
