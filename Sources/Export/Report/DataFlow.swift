// Which cell takes what from which, as a drawing: cells in their order, an arc for each taking, and
// the names beside it. Names that a cell declares at its top level and a later one uses count; comments
// and the words of strings do not. The run's own handle is no data and is left out.

internal import Foundation
internal import Events
internal import Provenance

enum DataFlow {
    struct Edge: Hashable {
        var from: Int
        var to: Int
        var names: [String]
    }

    /// Read from the text of the cells. A name that an inner scope declares anew counts too; that is
    /// rare at the top level of a study.
    static func edges(_ run: RunFacts) -> [Edge] {
        var owner: [String: Int] = [:]
        var found: [[Int]: [String]] = [:]
        for (index, cell) in run.cells.enumerated() {
            for word in used(cell.source) {
                if let from = owner[word], from != index {
                    found[[from, index], default: []].append(word)
                }
            }
            for name in declared(cell.source) { owner[name] = index }
        }
        return found.map { Edge(from: $0.key[0], to: $0.key[1], names: $0.value.sorted()) }
            .sorted { ($0.from, $0.to) < ($1.from, $1.to) }
    }

    /// Names that the cell's top level declares, but for `let run = Run.current`.
    static func declared(_ source: String) -> Set<String> {
        var names: Set<String> = []
        let kinds = ["let", "var", "func", "struct", "enum", "class", "actor", "typealias"]
        let modifiers = [
            "public", "internal", "private", "fileprivate", "final", "indirect", "nonisolated",
            "unsafe", "lazy", "mutating", "MainActor", "Sendable",
        ]
        for line in source.split(separator: "\n") where line.first?.isWhitespace == false {
            guard !line.hasPrefix("//"), !line.contains("Run.current") else { continue }
            let words = line.split { !isWord($0) }
            // Nothing but modifiers stands before a declaration: `if let` makes none.
            guard let place = words.firstIndex(where: { kinds.contains(String($0)) }),
                words[..<place].allSatisfy({ modifiers.contains(String($0)) })
            else { continue }
            if let open = line.range(of: words[place] + " ("), words[place].count == 3 {
                // let (a, b) = …
                let tuple = line[open.upperBound...].prefix { $0 != ")" }
                for name in tuple.split(whereSeparator: { !isWord($0) }) {
                    names.insert(String(name))
                }
            } else if place + 1 < words.count {
                names.insert(String(words[place + 1]))
            }
        }
        return names
    }

    /// Names that the cell may use: not members (`.x`), not argument labels (`x:`).
    static func used(_ source: String) -> Set<String> {
        let code = Array(SwiftHighlighter.code(source))
        var words: Set<String> = []
        var index = 0
        while index < code.count {
            guard isWord(code[index]), !code[index].isNumber else {
                index += 1
                continue
            }
            var end = index
            while end < code.count, isWord(code[end]) { end += 1 }
            let isMember =
                index > 0 && code[index - 1] == "." && !(index > 1 && code[index - 2] == ".")
            let isLabel = end < code.count && code[end] == ":"
            if !isMember, !isLabel { words.insert(String(code[index..<end])) }
            index = end
        }
        return words
    }

    private static func isWord(_ character: Character) -> Bool {
        character.isLetter || character.isNumber || character == "_"
    }

    /// The section of the report; empty where no cell takes anything.
    static func html(_ run: RunFacts) -> String {
        let edges = edges(run)
        guard !edges.isEmpty else { return "" }
        var takes = [[String]](repeating: [], count: run.cells.count)
        for edge in edges {
            takes[edge.to].append(
                edge.names.joined(separator: ", ") + " from " + run.cells[edge.from].id)
        }
        var out = "<h3 id=\"flow\">What each cell takes from those above</h3>"
        // A drawing of more says nothing any more; the list still does.
        if run.cells.count <= 40 { return out + svg(run, edges, takes) }
        out += "<ul>"
        for (index, cell) in run.cells.enumerated() where !takes[index].isEmpty {
            out +=
                "<li>\(HTMLText.escaped(cell.id)): \(HTMLText.escaped(takes[index].joined(separator: "; ")))</li>"
        }
        return out + "</ul>"
    }

    private static func svg(_ run: RunFacts, _ edges: [Edge], _ takes: [[String]]) -> String {
        let (step, left, boxWidth, width) = (32, 118, 156, 720)
        let height = run.cells.count * step + 4
        let words = run.cells.indices.filter { !takes[$0].isEmpty }.map {
            "\(run.cells[$0].id) takes \(takes[$0].joined(separator: "; "))."
        }.joined(separator: " ")
        var out =
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Data flow of the cells\"><svg class=\"flow\" viewBox=\"0 0 \(width) \(height)\" role=\"img\" aria-label=\"\(HTMLText.escaped(words))\">"
        for edge in edges {
            let (top, bottom) = (edge.from * step + 17, edge.to * step + 13)
            // The farther apart, the wider the arc; none leaves the picture.
            let reach = left - min(112, 16 + (edge.to - edge.from) * 11)
            out +=
                "<path d=\"M\(left) \(top)C\(reach) \(top) \(reach) \(bottom) \(left - 3) \(bottom)m-6 -3.5l6 3.5l-6 3.5\"><title>\(HTMLText.escaped(edge.names.joined(separator: ", ")))</title></path>"
        }
        for (index, cell) in run.cells.enumerated() {
            let failed = cell.state == "failed" ? " class=\"failed\"" : ""
            out +=
                "<rect\(failed) x=\"\(left)\" y=\"\(index * step + 2)\" width=\"\(boxWidth)\" height=\"26\" rx=\"5\"/><text x=\"\(left + 9)\" y=\"\(index * step + 20)\">\(short(cell.id, 20))</text>"
            let line = takes[index].joined(separator: " · ")
            if !line.isEmpty {
                out +=
                    "<text class=\"takes\" x=\"\(left + boxWidth + 12)\" y=\"\(index * step + 19)\">\(short(line, 66))<title>\(HTMLText.escaped(line))</title></text>"
            }
        }
        out += "</svg></div>"
        // The drawing cuts long lines off.
        return out + "<details class=\"more\"><summary>In words</summary><p>"
            + HTMLText.escaped(words) + "</p></details>"
    }

    private static func short(_ text: String, _ limit: Int) -> String {
        HTMLText.escaped(text.count > limit ? text.prefix(limit - 1) + "…" : text)
    }
}
