// Values out of YAML nodes, with a line for each complaint; the only user of Yams beside FrontMatter
// and CellOptions, who say which keys there are.

internal import Yams

/// Collects faults instead of stopping at the first.
struct YAMLReader {
    let path: String
    /// The study's line on which the YAML starts.
    let firstLine: Int
    /// What stands before the YAML on each of its lines, as `//| `, in characters.
    let margin: Int
    private(set) var faults: [Diagnostic] = []

    init(path: String, firstLine: Int, margin: Int = 0) {
        self.path = path
        self.firstLine = firstLine
        self.margin = margin
    }

    struct Entry {
        let key: String
        let node: Node
        let value: Node
    }

    /// The root node; nothing where the YAML is empty or wrong.
    mutating func compose(_ yaml: String) -> Node? {
        do {
            return try Yams.compose(yaml: yaml)
        } catch let error as YamlError {
            switch error {
            case .scanner(_, let problem, let mark, _), .parser(_, let problem, let mark, _),
                .composer(_, let problem, let mark, _):
                faults.append(
                    Diagnostic(
                        path: path, place: place(line: mark.line, column: mark.column),
                        message: "this is no YAML: \(problem)"))
            case .duplicatedKeysInMapping(let keys, let context):
                faults.append(
                    Diagnostic(
                        path: path,
                        place: place(line: context.mark.line, column: context.mark.column),
                        message: "\(keys.map { "\($0)" }.joined(separator: ", ")) stands twice"))
            default:
                faults.append(
                    Diagnostic(
                        path: path, place: SourcePlace(line: firstLine),
                        message: "this is no YAML: \(error)"))
            }
        } catch {
            faults.append(
                Diagnostic(
                    path: path, place: SourcePlace(line: firstLine),
                    message: "this is no YAML: \(error)"))
        }
        return nil
    }

    private func place(line: Int, column: Int) -> SourcePlace {
        SourcePlace(line: firstLine + max(line, 1) - 1, column: max(column, 1) + margin)
    }

    func place(_ node: Node) -> SourcePlace {
        guard let mark = node.mark else { return SourcePlace(line: firstLine) }
        return place(line: mark.line, column: mark.column)
    }

    mutating func complain(_ node: Node, _ message: String, mend: String = "") {
        complain(at: place(node), message, mend: mend)
    }

    mutating func complain(at place: SourcePlace, _ message: String, mend: String = "") {
        faults.append(Diagnostic(path: path, place: place, message: message, mend: mend))
    }

    /// A mapping's entries with known keys; the others are faults. `known` of nil takes any key.
    mutating func entries(_ node: Node, known: [String]?, what: String) -> [Entry] {
        guard let mapping = node.mapping else {
            complain(node, "\(what) must be a list of `key: value` lines")
            return []
        }
        var entries: [Entry] = []
        for (keyNode, value) in mapping {
            // The spelling of the other side of the ocean means the same.
            let written = keyNode.scalar?.string ?? ""
            let key = written == "license" ? "licence" : written == "author" ? "authors" : written
            if let known, !known.contains(key) {
                complain(
                    keyNode, "unknown key '\(key)' in \(what)" + NearMiss.hint(key, in: known))
            } else {
                entries.append(Entry(key: key, node: keyNode, value: value))
            }
        }
        return entries
    }

    /// The items of a list, or the one value that stands for a list of one.
    func items(_ node: Node) -> [Node] {
        if let sequence = node.sequence { return Array(sequence) }
        return [node]
    }

    /// The items of a list, or of a mapping whose keys name them.
    mutating func namedItems(_ node: Node, what: String) -> [(
        name: String?, node: Node, value: Node
    )] {
        if node.mapping != nil {
            return entries(node, known: nil, what: what).map { ($0.key, $0.node, $0.value) }
        }
        return items(node).map { (nil, $0, $0) }
    }

    mutating func text(_ node: Node, _ name: String) -> String {
        if let scalar = node.scalar { return scalar.string }
        complain(node, "\(name) must be a text")
        return ""
    }

    mutating func texts(_ node: Node, _ name: String) -> [String] {
        items(node).map { text($0, name) }
    }

    mutating func flag(_ node: Node, _ name: String) -> Bool {
        if let value = node.bool { return value }
        complain(node, "\(name) must be true or false")
        return false
    }

    mutating func number(_ node: Node, _ name: String) -> Double {
        if let value = node.float ?? node.int.map(Double.init), value.isFinite, value >= 0 {
            return value
        }
        complain(node, "\(name) must be a number that is not negative")
        return 0
    }
}

extension ParameterValue {
    /// The value of a YAML node, typed as YAML 1.2's core schema would.
    init?(_ node: Node) {
        if let sequence = node.sequence {
            let values = sequence.compactMap { ParameterValue($0) }
            guard values.count == sequence.count, let first = values.first else { return nil }
            let numbers = values.compactMap { value -> Double? in
                switch value {
                case .integer(let number): Double(number)
                case .number(let number): number
                default: nil
                }
            }
            let integers = values.compactMap { value -> Int? in
                if case .integer(let number) = value { number } else { nil }
            }
            let texts = values.compactMap { value -> String? in
                if case .text(let text) = value { text } else { nil }
            }
            switch first {
            case .integer where integers.count == values.count: self = .integers(integers)
            case .integer where numbers.count == values.count,
                .number where numbers.count == values.count:
                self = .numbers(numbers)
            case .text where texts.count == values.count: self = .texts(texts)
            default: return nil
            }
            return
        }
        guard let scalar = node.scalar else { return nil }
        // A quoted or block scalar is a text whatever it looks like.
        guard scalar.style == .plain || scalar.style == .any else {
            self = .text(scalar.string)
            return
        }
        switch scalar.string {
        case "true", "True", "TRUE": self = .boolean(true)
        case "false", "False", "FALSE": self = .boolean(false)
        case "", "~", "null", "Null", "NULL": return nil
        default:
            if let integer = Int(scalar.string) {
                self = .integer(integer)
            } else if let number = Double(scalar.string), number.isFinite {
                self = .number(number)
            } else {
                self = .text(scalar.string)
            }
        }
    }
}

/// Sizes and times as people write them.
package enum Size {
    /// "512M", "8G", "1.5GiB" or a plain number of bytes.
    package static func bytes(_ text: String) -> UInt64? {
        let units: [(String, Double)] = [
            ("TiB", 0x1p40), ("GiB", 0x1p30), ("MiB", 0x1p20), ("KiB", 0x1p10), ("T", 0x1p40),
            ("G", 0x1p30), ("M", 0x1p20), ("K", 0x1p10), ("B", 1), ("", 1),
        ]
        return scaled(text, units).map { UInt64($0) }
    }

    /// "90s", "10m", "1.5h", "500ms" or a plain number of seconds.
    package static func seconds(_ text: String) -> Double? {
        scaled(text, [("ms", 1e-3), ("s", 1), ("m", 60), ("h", 3600), ("d", 86400), ("", 1)])
    }

    private static func scaled(_ text: String, _ units: [(String, Double)]) -> Double? {
        for (unit, scale) in units where text.hasSuffix(unit) {
            let number = text.dropLast(unit.count).filter { $0 != " " }
            guard let value = Double(number), value > 0, value * scale < 0x1p62 else { continue }
            return value * scale
        }
        return nil
    }
}

/// What may name a Swift variable without backticks.
enum SwiftName {
    static let keywords: Set<String> = [
        "as", "associatedtype", "break", "case", "catch", "class", "continue", "default", "defer",
        "deinit", "do", "else", "enum", "extension", "fallthrough", "false", "fileprivate", "for",
        "func", "guard", "if", "import", "in", "init", "inout", "internal", "is", "let", "nil",
        "operator", "precedencegroup", "private", "protocol", "public", "repeat", "rethrows",
        "return", "self", "static", "struct", "subscript", "super", "switch", "throw", "throws",
        "true", "try", "typealias", "var", "where", "while", "Any", "Self",
    ]

    static func isIdentifier(_ text: String) -> Bool {
        guard let first = text.unicodeScalars.first else { return false }
        return (first == "_" || first.properties.isXIDStart)
            && text.unicodeScalars.allSatisfy { $0.properties.isXIDContinue } && text != "_"
            && !keywords.contains(text)
    }
}
