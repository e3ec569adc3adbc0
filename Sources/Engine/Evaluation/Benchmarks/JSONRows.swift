// Rows of a JSON Lines file, or of one JSON array, each with the line it begins on. JSON itself is in Checkpoints/JSON.swift.

/// The rows of a JSON text, found before they are parsed, so that a bad one can be named by its line.
package enum JSONRows {
    package struct Row {
        package var line: Int
        package var value: JSONValue
    }

    /// One value a line; blank lines are skipped.
    static func lines(_ bytes: [UInt8], _ faults: inout FaultCollector) -> [Row] {
        var rows: [Row] = []
        var line = 0
        for slice in bytes.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false) {
            line += 1
            if slice.allSatisfy({ $0 == 0x20 || $0 == 0x09 || $0 == 0x0D }) { continue }
            parse(Array(slice), line, &rows, &faults)
        }
        return rows
    }

    /// The elements of one array at the top of the file.
    static func elements(_ bytes: [UInt8], _ faults: inout FaultCollector) -> [Row] {
        var rows: [Row] = []
        var line = 1
        var depth = 0
        var inString = false
        var start: Int?
        var startLine = 1
        var sawArray = false
        var i = 0
        while i < bytes.count {
            let byte = bytes[i]
            if inString {
                if byte == UInt8(ascii: "\\") { i += 1 }
                if byte == UInt8(ascii: "\"") { inString = false }
                i += 1
                continue
            }
            switch byte {
            case UInt8(ascii: "\n"): line += 1
            case 0x20, 0x09, 0x0D: break
            case UInt8(ascii: "["), UInt8(ascii: "{"), UInt8(ascii: "\""),
                UInt8(ascii: "]"), UInt8(ascii: "}"), UInt8(ascii: ","):
                if depth == 0 {
                    guard byte == UInt8(ascii: "["), !sawArray else {
                        faults.add(line, "the file is not one JSON array")
                        return rows
                    }
                    sawArray = true
                    depth = 1
                    break
                }
                let closes = byte == UInt8(ascii: "]") || byte == UInt8(ascii: "}")
                if depth == 1, closes || byte == UInt8(ascii: ",") {
                    if let from = start {
                        parse(Array(bytes[from..<i]), startLine, &rows, &faults)
                    }
                    start = nil
                    if closes { depth = 0 }
                    break
                }
                if start == nil {
                    start = i
                    startLine = line
                }
                if byte == UInt8(ascii: "\"") {
                    inString = true
                } else if closes {
                    depth -= 1
                } else if byte != UInt8(ascii: ",") {
                    depth += 1
                }
            default:
                if depth == 0 {
                    faults.add(line, "the file is not one JSON array")
                    return rows
                }
                if start == nil {
                    start = i
                    startLine = line
                }
            }
            i += 1
        }
        if depth != 0 || !sawArray { faults.add(line, "the JSON array never ends") }
        return rows
    }

    /// Of an object of lists that has been parsed: for each key, in order, the line it stands on and those of its list's
    /// elements. A parsed value has no lines.
    static func listLines(_ bytes: [UInt8]) -> [(key: Int, elements: [Int])] {
        var result: [(key: Int, elements: [Int])] = []
        var (line, depth, i) = (1, 0, 0)
        var awaitsKey = false
        var awaitsElement = false
        while i < bytes.count {
            let byte = bytes[i]
            switch byte {
            case UInt8(ascii: "\n"): line += 1
            case 0x20, 0x09, 0x0D, UInt8(ascii: ":"): break
            case UInt8(ascii: "}"), UInt8(ascii: "]"):
                depth -= 1
                awaitsElement = false
            case UInt8(ascii: ","):
                (awaitsKey, awaitsElement) = (depth == 1, depth == 2)
            default:
                if depth == 1, awaitsKey {
                    result.append((line, []))
                    awaitsKey = false
                } else if depth == 2, awaitsElement {
                    result[result.count - 1].elements.append(line)
                    awaitsElement = false
                }
                if byte == UInt8(ascii: "{") || byte == UInt8(ascii: "[") {
                    depth += 1
                    (awaitsKey, awaitsElement) = (depth == 1, depth == 2)
                } else if byte == UInt8(ascii: "\"") {
                    i += 1
                    while i < bytes.count, bytes[i] != UInt8(ascii: "\"") {
                        i += bytes[i] == UInt8(ascii: "\\") ? 2 : 1
                    }
                }
            }
            i += 1
        }
        return result
    }

    private static func parse(
        _ bytes: [UInt8], _ line: Int, _ rows: inout [Row], _ faults: inout FaultCollector
    ) {
        do {
            rows.append(Row(line: line, value: try JSONValue(parsing: bytes)))
        } catch {
            faults.add(line, "not JSON at byte \(error.offset) of the row: \(error.message)")
        }
    }
}

extension JSONRows.Row {
    /// The text under a key; adds a fault and answers `nil` where there is none.
    func text(
        _ key: String, isOptional: Bool = false, _ faults: inout FaultCollector
    ) -> String? {
        guard let found = value[key] else {
            if isOptional { return "" }
            faults.add(line, "no \"\(key)\"")
            return nil
        }
        if isOptional, found.isNull { return "" }
        guard let text = found.string else {
            faults.add(line, "\"\(key)\" is \(found.kind), not a string")
            return nil
        }
        return text
    }
}
