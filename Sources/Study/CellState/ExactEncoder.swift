// Values into ExactValue. Equal values give equal bytes: fields go by their names, what has no order (sets,
// dictionaries) by its bytes.

/// A value that no state can hold: which, why, and what to write instead.
struct NotStorable: Error, CustomStringConvertible {
    let description: String
    let mend: String
}

/// Encodes one value.
struct ExactEncoder {
    /// Folders that are this run's own: a text that names one would mislead a later run.
    var ownFolders: [String] = []

    func encode<T: Encodable>(_ value: T) throws -> ExactValue {
        let slot = Slot()
        try Writer(slot: slot, owner: self, codingPath: []).put(value)
        return slot.value
    }

    /// Where a part is put; a class, since containers outlive the calls that make them.
    fileprivate final class Slot {
        enum Content {
            case one(ExactValue)
            case list([Slot])
            case fields([(key: String, slot: Slot)])
        }
        var content = Content.one(.nothing)

        var value: ExactValue {
            switch content {
            case .one(let value): value
            case .list(let slots): .list(slots.map(\.value))
            case .fields(let fields):
                .fields(
                    fields.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }
                        .map { ($0.key, $0.slot.value) })
            }
        }

        func append() -> Slot {
            let slot = Slot()
            if case .list(var slots) = content {
                // Taken out meanwhile, or each append would copy them all.
                content = .one(.nothing)
                slots.append(slot)
                content = .list(slots)
            } else {
                content = .list([slot])
            }
            return slot
        }

        func field(_ key: String) -> Slot {
            let slot = Slot()
            guard case .fields(var fields) = content else {
                content = .fields([(key, slot)])
                return slot
            }
            content = .one(.nothing)
            // Said twice: the later counts.
            if let place = fields.firstIndex(where: { $0.key == key }), fields.count < 64 {
                fields[place].slot = slot
            } else {
                fields.append((key, slot))
            }
            content = .fields(fields)
            return slot
        }
    }

    fileprivate struct Writer: Encoder {
        let slot: Slot
        let owner: ExactEncoder
        let codingPath: [any CodingKey]
        var userInfo: [CodingUserInfoKey: Any] { [:] }

        func container<Key: CodingKey>(keyedBy type: Key.Type) -> KeyedEncodingContainer<Key> {
            if case .fields = slot.content {} else { slot.content = .fields([]) }
            return KeyedEncodingContainer(Keyed(writer: self))
        }

        func unkeyedContainer() -> any UnkeyedEncodingContainer {
            if case .list = slot.content {} else { slot.content = .list([]) }
            return Unkeyed(writer: self)
        }

        func singleValueContainer() -> any SingleValueEncodingContainer { Single(writer: self) }

        func below(_ slot: Slot, _ key: any CodingKey) -> Writer {
            Writer(slot: slot, owner: owner, codingPath: codingPath + [key])
        }

        func put<T: Encodable>(_ value: T) throws {
            if let plain = try plain(value) {
                slot.content = .one(plain)
            } else if type(of: value as Any) is AnyClass {
                throw NotStorable(
                    description:
                        "\(place)an object of the class \(T.self): what else refers to it would be left with another one",
                    mend: "make it a struct")
            } else if let value = value as? any Unordered, let list = try value.inOrder(self) {
                slot.content = .one(.list(list))
            } else {
                try value.encode(to: self)
            }
        }

        /// Numbers, texts, and arrays of numbers.
        private func plain<T>(_ value: T) throws -> ExactValue? {
            switch T.self {
            case is Bool.Type: return .bool(value as! Bool)
            case is Int.Type: return .signed(Int64(value as! Int))
            case is Double.Type: return .double((value as! Double).bitPattern)
            case is Float.Type: return .float((value as! Float).bitPattern)
            case is String.Type:
                let text = value as! String
                try check(text)
                return .text(text)
            case is [UInt8].Type: return .block(.u8, value as! [UInt8])
            case is [Int32].Type: return .block(.i32, bytes(of: value as! [Int32]))
            case is [Int].Type: return .block(.i64, bytes(of: value as! [Int]))
            case is [Float].Type: return .block(.f32, bytes(of: value as! [Float]))
            case is [Double].Type: return .block(.f64, bytes(of: value as! [Double]))
            default: return nil
            }
        }

        private func bytes<E: BitwiseCopyable>(of array: [E]) -> [UInt8] {
            array.withUnsafeBytes { [UInt8]($0) }
        }

        private func check(_ text: String) throws {
            for folder in owner.ownFolders where text.contains(folder) {
                throw NotStorable(
                    description: "\(place)the path \(text), which is a place of this run alone",
                    mend:
                        "take the path from `run.input` or `run.save` in the cell that uses it"
                )
            }
        }

        /// "at `arms[2].path` " for messages; empty for the value itself.
        private var place: String {
            var text = ""
            for key in codingPath {
                text +=
                    key.intValue.map { "[\($0)]" } ?? (text.isEmpty ? "" : ".") + key.stringValue
            }
            return text.isEmpty ? "" : "at `\(text)` "
        }

        func integer(_ value: some BinaryInteger) -> ExactValue {
            Int64(exactly: value).map { .signed($0) } ?? .unsigned(UInt64(value))
        }
    }

    private struct Index: CodingKey {
        var intValue: Int?
        var stringValue: String { "\(intValue ?? 0)" }
        init(_ index: Int) { intValue = index }
        init?(intValue: Int) { self.init(intValue) }
        init?(stringValue: String) { return nil }
    }

    private struct Keyed<Key: CodingKey>: KeyedEncodingContainerProtocol {
        let writer: Writer
        var codingPath: [any CodingKey] { writer.codingPath }

        private func at(_ key: any CodingKey) -> Writer {
            writer.below(writer.slot.field(key.stringValue), key)
        }
        mutating func encodeNil(forKey key: Key) { at(key).slot.content = .one(.nothing) }
        mutating func encode<T: Encodable>(_ value: T, forKey key: Key) throws {
            try at(key).put(value)
        }
        mutating func nestedContainer<Nested: CodingKey>(
            keyedBy type: Nested.Type, forKey key: Key
        ) -> KeyedEncodingContainer<Nested> { at(key).container(keyedBy: type) }
        mutating func nestedUnkeyedContainer(forKey key: Key) -> any UnkeyedEncodingContainer {
            at(key).unkeyedContainer()
        }
        mutating func superEncoder() -> any Encoder {
            writer.below(writer.slot.field("super"), Index(0))
        }
        mutating func superEncoder(forKey key: Key) -> any Encoder { at(key) }
    }

    private struct Unkeyed: UnkeyedEncodingContainer {
        let writer: Writer
        var codingPath: [any CodingKey] { writer.codingPath }
        private(set) var count = 0

        init(writer: Writer) {
            self.writer = writer
            if case .list(let slots) = writer.slot.content { count = slots.count }
        }
        private mutating func next() -> Writer {
            defer { count += 1 }
            return writer.below(writer.slot.append(), Index(count))
        }
        mutating func encodeNil() { next().slot.content = .one(.nothing) }
        mutating func encode<T: Encodable>(_ value: T) throws { try next().put(value) }
        mutating func nestedContainer<Nested: CodingKey>(keyedBy type: Nested.Type)
            -> KeyedEncodingContainer<Nested>
        { next().container(keyedBy: type) }
        mutating func nestedUnkeyedContainer() -> any UnkeyedEncodingContainer {
            next().unkeyedContainer()
        }
        mutating func superEncoder() -> any Encoder { next() }
    }

    private struct Single: SingleValueEncodingContainer {
        let writer: Writer
        var codingPath: [any CodingKey] { writer.codingPath }
        private func set(_ value: ExactValue) { writer.slot.content = .one(value) }

        mutating func encodeNil() { set(.nothing) }
        mutating func encode(_ value: Bool) { set(.bool(value)) }
        mutating func encode(_ value: String) throws { try writer.put(value) }
        mutating func encode(_ value: Double) { set(.double(value.bitPattern)) }
        mutating func encode(_ value: Float) { set(.float(value.bitPattern)) }
        mutating func encode(_ value: Int) { set(writer.integer(value)) }
        mutating func encode(_ value: Int8) { set(writer.integer(value)) }
        mutating func encode(_ value: Int16) { set(writer.integer(value)) }
        mutating func encode(_ value: Int32) { set(writer.integer(value)) }
        mutating func encode(_ value: Int64) { set(writer.integer(value)) }
        mutating func encode(_ value: UInt) { set(writer.integer(value)) }
        mutating func encode(_ value: UInt8) { set(writer.integer(value)) }
        mutating func encode(_ value: UInt16) { set(writer.integer(value)) }
        mutating func encode(_ value: UInt32) { set(writer.integer(value)) }
        mutating func encode(_ value: UInt64) { set(writer.integer(value)) }
        mutating func encode<T: Encodable>(_ value: T) throws { try writer.put(value) }
    }
}

/// What has no order of its own, put in that of its bytes. Nil where its own form has one already.
private protocol Unordered {
    func inOrder(_ writer: ExactEncoder.Writer) throws -> [ExactValue]?
}

extension Set: Unordered where Element: Encodable {
    fileprivate func inOrder(_ writer: ExactEncoder.Writer) throws -> [ExactValue]? {
        try map { try writer.owner.encode($0) }
            .map { (value: $0, bytes: $0.bytes) }
            .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
            .map(\.value)
    }
}

extension Dictionary: Unordered where Key: Encodable, Value: Encodable {
    /// Keys and values in turn, as the standard library writes dictionaries whose keys are no texts.
    fileprivate func inOrder(_ writer: ExactEncoder.Writer) throws -> [ExactValue]? {
        if Key.self == String.self || Key.self == Int.self
            || Key.self is any CodingKeyRepresentable.Type
        {
            return nil
        }
        return try map { (try writer.owner.encode($0.key), try writer.owner.encode($0.value)) }
            .map { (pair: $0, bytes: $0.0.bytes) }
            .sorted { $0.bytes.lexicographicallyPrecedes($1.bytes) }
            .flatMap { [$0.pair.0, $0.pair.1] }
    }
}
