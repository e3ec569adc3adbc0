// What a Jinja expression can be worth, and how Python prints, compares and tests it.

/// Tuples are lists here, and print as lists do.
indirect enum JinjaValue: Sendable {
    /// A name or attribute that is not there; the message that using it gives.
    case undefined(String)
    case none
    case bool(Bool)
    case integer(Int)
    case float(Double)
    case string(String)
    case list([JinjaValue])
    case dictionary([(key: String, value: JinjaValue)])
    case namespace(JinjaNamespace)
    case macro(JinjaMacro)
    /// `loop` inside a loop.
    case loop(JinjaLoop)
    /// A function of the surroundings, by name.
    case function(String)
}

/// The one value that can be changed: `namespace(x=1)`.
///
/// `@unchecked Sendable`: it lives inside one rendering, on one thread.
final class JinjaNamespace: @unchecked Sendable {
    var values: [(key: String, value: JinjaValue)]
    init(_ values: [(key: String, value: JinjaValue)]) { self.values = values }
}

struct JinjaLoop: Sendable {
    var index: Int
    var items: [JinjaValue]

    func attribute(_ name: String) -> JinjaValue? {
        switch name {
        case "index": .integer(index + 1)
        case "index0": .integer(index)
        case "revindex": .integer(items.count - index)
        case "revindex0": .integer(items.count - index - 1)
        case "first": .bool(index == 0)
        case "last": .bool(index == items.count - 1)
        case "length": .integer(items.count)
        case "previtem":
            index > 0 ? items[index - 1] : .undefined("there is no previous item")
        case "nextitem":
            index + 1 < items.count ? items[index + 1] : .undefined("there is no next item")
        case "depth": .integer(1)
        case "depth0": .integer(0)
        default: nil
        }
    }
}

extension JinjaValue {
    init(_ json: JSONValue) {
        switch json {
        case .null: self = .none
        case .bool(let value): self = .bool(value)
        case .integer(let value): self = .integer(value)
        case .number(let value): self = .float(value)
        case .string(let value): self = .string(value)
        case .array(let elements): self = .list(elements.map { JinjaValue($0) })
        case .object(let object):
            self = .dictionary(object.entries.map { ($0.key, JinjaValue($0.value)) })
        }
    }

    /// Python's truth.
    var isTrue: Bool {
        switch self {
        case .undefined, .none: false
        case .bool(let value): value
        case .integer(let value): value != 0
        case .float(let value): value != 0
        case .string(let value): !value.isEmpty
        case .list(let elements): !elements.isEmpty
        case .dictionary(let entries): !entries.isEmpty
        case .namespace, .macro, .loop, .function: true
        }
    }

    /// As `{{ … }}` prints it: Python's `str`.
    var text: String {
        switch self {
        case .undefined: ""
        case .string(let value): value
        default: representation
        }
    }

    /// Python's `repr`.
    var representation: String {
        switch self {
        case .undefined: "Undefined"
        case .none: "None"
        case .bool(let value): value ? "True" : "False"
        case .integer(let value): String(value)
        case .float(let value): value.description
        case .string(let value): Self.quoted(value)
        case .list(let elements):
            "[" + elements.map(\.representation).joined(separator: ", ") + "]"
        case .dictionary(let entries):
            "{"
                + entries.map { Self.quoted($0.key) + ": " + $0.value.representation }
                .joined(separator: ", ") + "}"
        case .namespace(let space):
            "<Namespace " + JinjaValue.dictionary(space.values).representation + ">"
        case .macro(let macro): "<Macro '\(macro.name)'>"
        case .loop(let loop): "<LoopContext \(loop.index + 1)/\(loop.items.count)>"
        case .function(let name): "<function \(name)>"
        }
    }

    private static func quoted(_ text: String) -> String {
        let scalars = text.unicodeScalars
        let quote = scalars.contains("'") && !scalars.contains("\"") ? "\"" : "'"
        var result = quote
        for scalar in scalars {
            switch scalar {
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\r": result += "\\r"
            case "\t": result += "\\t"
            case _ where scalar.value < 0x20 || scalar.value == 0x7F:
                let digits = String(scalar.value, radix: 16)
                result += "\\x" + (digits.count < 2 ? "0" : "") + digits
            case _ where String(scalar) == quote: result += "\\" + quote
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result + quote
    }

    /// The name of the Python type, for messages.
    var kind: String {
        switch self {
        case .undefined: "undefined"
        case .none: "None"
        case .bool: "bool"
        case .integer: "int"
        case .float: "float"
        case .string: "str"
        case .list: "list"
        case .dictionary: "dict"
        case .namespace: "namespace"
        case .macro: "macro"
        case .loop: "loop"
        case .function: "function"
        }
    }

    /// Any number, booleans included, as Python has it.
    var number: Double? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .integer(let value): Double(value)
        case .float(let value): value
        default: nil
        }
    }
    /// An integer or a boolean.
    var whole: Int? {
        switch self {
        case .bool(let value): value ? 1 : 0
        case .integer(let value): value
        default: nil
        }
    }

    /// Python's `==`; strings by their characters, not by canonical equivalence.
    func equals(_ other: JinjaValue) -> Bool {
        switch (self, other) {
        case (.undefined, .undefined), (.none, .none): return true
        case (.string(let a), .string(let b)): return a.hasSameBytes(as: b)
        case (.list(let a), .list(let b)):
            return a.count == b.count && zip(a, b).allSatisfy { $0.equals($1) }
        case (.dictionary(let a), .dictionary(let b)):
            return a.count == b.count
                && a.allSatisfy { entry in
                    b.contains {
                        $0.key.hasSameBytes(as: entry.key) && $0.value.equals(entry.value)
                    }
                }
        case (.namespace(let a), .namespace(let b)): return a === b
        default:
            guard let a = number, let b = other.number else { return false }
            return a == b
        }
    }

    /// The value of a key of a dictionary.
    func entry(_ key: String) -> JinjaValue? {
        switch self {
        case .dictionary(let entries): entries.last { $0.key.hasSameBytes(as: key) }?.value
        case .namespace(let space): space.values.last { $0.key.hasSameBytes(as: key) }?.value
        case .loop(let loop): loop.attribute(key)
        default: nil
        }
    }

    /// The value as JSON; `nil` where it has none.
    var json: JSONValue? {
        switch self {
        case .none: return .null
        case .bool(let value): return .bool(value)
        case .integer(let value): return .integer(value)
        case .float(let value): return .number(value)
        case .string(let value): return .string(value)
        case .list(let elements):
            let converted = elements.compactMap(\.json)
            return converted.count == elements.count ? .array(converted) : nil
        case .dictionary(let entries):
            var object: [(key: String, value: JSONValue)] = []
            for (key, value) in entries {
                guard let value = value.json else { return nil }
                object.append((key, value))
            }
            return .object(JSONObject(object))
        default: return nil
        }
    }
}
