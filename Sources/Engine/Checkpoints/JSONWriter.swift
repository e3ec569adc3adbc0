// Prints JSON values: compact, or indented as Python's json.dumps lays them out. Numbers are the
// shortest decimals that read back as the same value.

extension JSONValue {
    /// How a value is laid out.
    public struct Layout: Sendable {
        /// Spaces a level; `nil` for one line.
        public var indentation: Int?
        /// What stands between a key and its value.
        public var colon = ":"
        /// What stands between entries of one line.
        public var comma = ","
        public var sortsKeys = false
        /// Whether characters beyond ASCII are written as `\u` escapes.
        public var escapesNonASCII = false

        /// `{"a":1,"b":[2,3]}`, as serde_json prints.
        public static let compact = Layout()
        /// Two spaces a level, as `json.dumps(value, indent=2)` prints, characters kept.
        public static let indented = Layout(indentation: 2, colon: ": ")
        /// Two spaces a level, keys sorted, ASCII only: how PEFT and transformers print configurations.
        public static let sortedConfiguration = Layout(
            indentation: 2, colon: ": ", sortsKeys: true, escapesNonASCII: true)
        /// One line as `json.dumps(value)` prints: spaces after separators, ASCII only.
        public static let python = Layout(colon: ": ", comma: ", ", escapesNonASCII: true)

        public init(
            indentation: Int? = nil, colon: String = ":", comma: String = ",",
            sortsKeys: Bool = false, escapesNonASCII: Bool = false
        ) {
            self.indentation = indentation
            self.colon = colon
            self.comma = comma
            self.sortsKeys = sortsKeys
            self.escapesNonASCII = escapesNonASCII
        }
    }

    /// The value as UTF-8 bytes of JSON.
    /// - Precondition: Numbers are finite; JSON has no other.
    public func bytes(_ layout: Layout = .compact) -> [UInt8] {
        var result: [UInt8] = []
        append(to: &result, layout, level: 0)
        return result
    }

    /// The value as JSON text.
    public func text(_ layout: Layout = .compact) -> String {
        String(decoding: bytes(layout), as: UTF8.self)
    }

    private func append(to result: inout [UInt8], _ layout: Layout, level: Int) {
        switch self {
        case .null: result.append(contentsOf: "null".utf8)
        case .bool(let value): result.append(contentsOf: (value ? "true" : "false").utf8)
        case .integer(let value): result.append(contentsOf: String(value).utf8)
        case .number(let value):
            precondition(value.isFinite, "JSON has no number for \(value)")
            result.append(contentsOf: value.description.utf8)
        case .string(let value): Self.append(quoted: value, to: &result, layout)
        case .array(let elements):
            Self.append(
                between: ("[", "]"), count: elements.count, to: &result, layout, level: level
            ) { result, index in
                elements[index].append(to: &result, layout, level: level + 1)
            }
        case .object(let object):
            var entries = object.entries
            if layout.sortsKeys { entries.sort { $0.key.precedesInBytes($1.key) } }
            Self.append(
                between: ("{", "}"), count: entries.count, to: &result, layout, level: level
            ) { result, index in
                Self.append(quoted: entries[index].key, to: &result, layout)
                result.append(contentsOf: layout.colon.utf8)
                entries[index].value.append(to: &result, layout, level: level + 1)
            }
        }
    }

    private static func append(
        between brackets: (String, String), count: Int, to result: inout [UInt8], _ layout: Layout,
        level: Int, element: (inout [UInt8], Int) -> Void
    ) {
        result.append(contentsOf: brackets.0.utf8)
        for index in 0..<count {
            if let indentation = layout.indentation {
                result.append(contentsOf: index == 0 ? "\n".utf8 : ",\n".utf8)
                result.append(
                    contentsOf: repeatElement(0x20, count: (level + 1) * indentation))
            } else if index > 0 {
                result.append(contentsOf: layout.comma.utf8)
            }
            element(&result, index)
        }
        if let indentation = layout.indentation, count > 0 {
            result.append(0x0A)
            result.append(contentsOf: repeatElement(0x20, count: level * indentation))
        }
        result.append(contentsOf: brackets.1.utf8)
    }

    /// Appends a string in quotes, escaped as serde_json and Python do it.
    static func append(quoted text: String, to result: inout [UInt8], _ layout: Layout) {
        result.append(UInt8(ascii: "\""))
        for scalar in text.unicodeScalars {
            switch scalar.value {
            case 0x22: result.append(contentsOf: "\\\"".utf8)
            case 0x5C: result.append(contentsOf: "\\\\".utf8)
            case 0x08: result.append(contentsOf: "\\b".utf8)
            case 0x0C: result.append(contentsOf: "\\f".utf8)
            case 0x0A: result.append(contentsOf: "\\n".utf8)
            case 0x0D: result.append(contentsOf: "\\r".utf8)
            case 0x09: result.append(contentsOf: "\\t".utf8)
            case 0..<0x20: append(escaped: UInt16(scalar.value), to: &result)
            case 0x7F...0x10FFFF where layout.escapesNonASCII && scalar.value > 0x7F:
                for unit in UTF16.encode(scalar)! { append(escaped: unit, to: &result) }
            default: result.append(contentsOf: UTF8.encode(scalar)!)
            }
        }
        result.append(UInt8(ascii: "\""))
    }

    private static func append(escaped unit: UInt16, to result: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        result.append(contentsOf: "\\u".utf8)
        for shift in [12, 8, 4, 0] { result.append(digits[Int(unit >> UInt16(shift)) & 15]) }
    }
}
