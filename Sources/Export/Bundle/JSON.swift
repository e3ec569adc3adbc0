// JSON that is the same bytes each time: members in the order given, numbers as they are. For writing
// only, and for looking into a stranger's file after JSONSerialization has judged it.

internal import Foundation

/// A JSON value whose members keep their order.
package indirect enum JSON: Sendable, Equatable {
    case null
    case bool(Bool)
    case integer(Int64)
    case number(Double)
    case string(String)
    case array([JSON])
    case object([(String, JSON)])

    package static func == (a: JSON, b: JSON) -> Bool { a.text() == b.text() }

    /// `{"@id": id}`, JSON-LD's reference.
    package static func reference(_ id: String) -> JSON { .object([("@id", .string(id))]) }

    /// One value bare, several as an array: the crate's validator wants single values unwrapped.
    package static func oneOrMany(_ values: [JSON]) -> JSON? {
        values.isEmpty ? nil : values.count == 1 ? values[0] : .array(values)
    }

    package subscript(key key: String) -> JSON? {
        guard case .object(let members) = self else { return nil }
        return members.first { $0.0 == key }?.1
    }

    package var string: String? {
        guard case .string(let text) = self else { return nil }
        return text
    }

    package var integer: Int64? {
        guard case .integer(let value) = self else { return nil }
        return value
    }

    package var array: [JSON]? {
        guard case .array(let values) = self else { return nil }
        return values
    }

    /// Parses what a stranger wrote; nil where it is not JSON.
    package init?(parsing bytes: [UInt8]) {
        guard
            let any = try? JSONSerialization.jsonObject(
                with: Data(bytes), options: [.fragmentsAllowed])
        else { return nil }
        self.init(any)
    }

    private init(_ any: Any) {
        switch any {
        case let text as String: self = .string(text)
        case let number as NSNumber:
            if CFGetTypeIDIsBoolean(number) {
                self = .bool(number.boolValue)
            } else if let exact = Int64(exactly: number.doubleValue) {
                self = .integer(exact)
            } else {
                self = .number(number.doubleValue)
            }
        case let values as [Any]: self = .array(values.map { JSON($0) })
        case let members as [String: Any]:
            self = .object(members.keys.sorted().map { ($0, JSON(members[$0]!)) })
        default: self = .null
        }
    }

    /// - Parameter indented: One member a line, two spaces a level.
    package func text(indented: Bool = false) -> String {
        var out = ""
        write(&out, indented ? 0 : nil)
        return out
    }

    /// The text with a newline at its end, as a file has it.
    package func file(indented: Bool = true) -> [UInt8] {
        Array((text(indented: indented) + "\n").utf8)
    }

    private func write(_ out: inout String, _ level: Int?) {
        switch self {
        case .null: out += "null"
        case .bool(let value): out += value ? "true" : "false"
        case .integer(let value): out += String(value)
        // JSON has no NaN: null, and the word stands in the tables where it matters.
        case .number(let value): out += value.isFinite ? Self.text(value) : "null"
        case .string(let text): Self.quote(text, &out)
        case .array(let values):
            Self.list(values, "[", "]", &out, level) { value, out, level in value.write(&out, level)
            }
        case .object(let members):
            Self.list(members, "{", "}", &out, level) { member, out, level in
                Self.quote(member.0, &out)
                out += level == nil ? ":" : ": "
                member.1.write(&out, level)
            }
        }
    }

    private static func list<Element>(
        _ elements: [Element], _ open: String, _ close: String, _ out: inout String, _ level: Int?,
        _ write: (Element, inout String, Int?) -> Void
    ) {
        out += open
        for (index, element) in elements.enumerated() {
            if index > 0 { out += "," }
            if let level { out += "\n" + String(repeating: "  ", count: level + 1) }
            write(element, &out, level.map { $0 + 1 })
        }
        if let level, !elements.isEmpty { out += "\n" + String(repeating: "  ", count: level) }
        out += close
    }

    /// The shortest text that reads back to the same number; whole numbers without ".0".
    package static func text(_ value: Double) -> String {
        if let exact = Int64(exactly: value), abs(exact) < 1 << 53 { return String(exact) }
        return "\(value)"
    }

    /// A text as JSON has it (RFC 8259, section 7).
    package static func quoted(_ text: String) -> String {
        var out = ""
        quote(text, &out)
        return out
    }

    private static func quote(_ text: String, _ out: inout String) {
        out += "\""
        // Most texts have nothing to escape: a list of ten thousand runs is a hundred thousand of them.
        let isPlain = text.utf8.allSatisfy {
            switch $0 {
            case 0x22, 0x26, 0x3C, 0x3E, 0x5C: false
            default: (0x20..<0x7F).contains($0)
            }
        }
        if isPlain {
            out += text
            out += "\""
            return
        }
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\"": out += "\\\""
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\r": out += "\\r"
            case "\t": out += "\\t"
            // Harmless inside a <script> too: no </script>, no <!--.
            case "<", ">", "&", "\u{2028}", "\u{2029}", "\u{7f}":
                out += escape(scalar)
            default:
                if scalar.value < 0x20 {
                    out += escape(scalar)
                } else {
                    out.unicodeScalars.append(scalar)
                }
            }
        }
        out += "\""
    }

    private static func escape(_ scalar: Unicode.Scalar) -> String {
        let digits = String(scalar.value, radix: 16)
        return "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
    }
}

private func CFGetTypeIDIsBoolean(_ number: NSNumber) -> Bool {
    String(cString: number.objCType) == "c" || String(cString: number.objCType) == "B"
}
