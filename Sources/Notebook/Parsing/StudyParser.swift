// From Markdown blocks to cells, prose and inline values. Document.swift knows Markdown; this knows
// what a study makes of it.

internal import Yams

struct StudyParser {
    let text: String
    let path: String
    /// Where the document starts, after the front matter.
    let firstLine: Int
    private(set) var blocks: [StudyBlock] = []
    private(set) var cells: [Cell] = []
    private(set) var inlineValues: [InlineValue] = []
    private(set) var faults: [Diagnostic] = []
    private(set) var heading: String?

    private let lines: [Substring]
    private var proseStart: Int
    private var proseValues: [Int] = []
    private var lastEvaluated: Int?

    init(text: String, path: String, firstLine: Int) {
        self.text = text
        self.path = path
        self.firstLine = firstLine
        lines = StudyText.lines(of: text)
        proseStart = firstLine
    }

    mutating func parse() {
        // Blank lines in place of the front matter keep cmark's line numbers those of the file.
        let document = Document(
            parsing: String(repeating: "\n", count: firstLine - 1)
                + lines.dropFirst(firstLine - 1).joined(separator: "\n"))
        for block in document.blocks {
            for fence in block.nestedFences where Self.isSwift(fence.info) {
                complain(
                    fence.line, "a cell cannot stand inside a list or a quotation",
                    mend: "move it to the margin, or call its language something else, such as text"
                )
            }
            switch block.kind {
            case .fencedCode(let info):
                endProse(before: block.firstLine)
                code(block, info)
                proseStart = block.lastLine + 1
            case .heading(let level, let words):
                if level == 1, heading == nil, !words.isEmpty { heading = words }
                findValues(block)
            case .other:
                findValues(block)
            }
        }
        endProse(before: lines.count + 1)
    }

    private static func isSwift(_ info: String) -> Bool {
        let word = info.split(whereSeparator: \.isWhitespace).first ?? ""
        return word == "swift" || word == "{swift}"
    }

    private mutating func complain(
        _ line: Int, column: Int = 1, _ message: String, mend: String = ""
    ) {
        faults.append(
            Diagnostic(
                path: path, place: SourcePlace(line: line, column: column), message: message,
                mend: mend))
    }

    private mutating func endProse(before line: Int) {
        defer { proseValues = [] }
        var start = proseStart
        var end = min(line - 1, lines.count)
        while start <= end, lines[start - 1].trimmed.isEmpty { start += 1 }
        while start <= end, lines[end - 1].trimmed.isEmpty { end -= 1 }
        guard start <= end else { return }
        blocks.append(
            .prose(
                markdown: lines[start - 1..<end].joined(separator: "\n"), lines: start...end,
                inlineValues: proseValues))
    }

    // MARK: - Cells

    private mutating func code(_ block: Document.Block, _ info: String) {
        let opening = lines[block.firstLine - 1].drop { $0 == " " }
        let mark = opening.first ?? "`"
        let width = opening.prefix { $0 == mark }.count
        let closing = lines[block.lastLine - 1].drop { $0 == " " }.trimmed
        let isClosed =
            block.lastLine > block.firstLine && closing.count >= width
            && closing.allSatisfy { $0 == mark }
        let last = isClosed ? block.lastLine - 1 : block.lastLine
        let range = block.firstLine..<max(last, block.firstLine)
        let source = lines[range].joined(separator: "\n")
        guard Self.isSwift(info) else {
            let language = info.split(whereSeparator: \.isWhitespace).first.map(String.init) ?? ""
            blocks.append(
                .code(language: language, source: source, lines: block.firstLine...block.lastLine))
            return
        }
        if !isClosed {
            complain(
                block.firstLine, "this cell is never closed",
                mend: "end it with a line of \(String(repeating: mark, count: width))")
        }
        let words = info.split(whereSeparator: \.isWhitespace)
        if words.count > 1 {
            complain(
                block.firstLine, column: 1 + lines[block.firstLine - 1].count,
                "'\(words.dropFirst().joined(separator: " "))' after swift means nothing here",
                mend: "write options at the top of the cell, as in `//| id: train`")
        }
        let index = cells.count
        var id = "cell-\(index + 1)"
        let options = cellOptions(range, id: &id)
        if let other = cells.first(where: { $0.id == id }) {
            complain(
                block.firstLine + 1, "there is a cell '\(id)' already, on line \(other.firstLine)",
                mend: "give each cell an id of its own")
        }
        cells.append(
            Cell(
                index: index, id: id, options: options, source: source,
                firstLine: block.firstLine + 1, lastLine: max(last, block.firstLine)))
        blocks.append(.cell(index: index))
        if options.evaluated { lastEvaluated = index }
    }

    /// `//| key: value` lines at the top of the cell whose lines are `lines[range]`.
    private mutating func cellOptions(_ range: Range<Int>, id: inout String) -> CellOptions {
        var options = CellOptions()
        let optionLines = lines[range].prefix { $0.hasPrefix("//|") }
        guard !optionLines.isEmpty else { return options }
        let yaml = optionLines.map { $0.dropFirst(3) }.joined(separator: "\n")
        var reader = YAMLReader(path: path, firstLine: range.lowerBound + 1, margin: 3)
        defer { faults += reader.faults }
        guard let root = reader.compose(yaml) else { return options }
        for entry in reader.entries(root, known: CellOptions.known, what: "the cell's options") {
            switch entry.key {
            case "id":
                id = reader.text(entry.value, "id")
                let allowed = id.allSatisfy {
                    $0.isLetter || $0.isNumber || $0 == "-" || $0 == "_" || $0 == "."
                }
                if id.isEmpty || !allowed {
                    reader.complain(
                        entry.value, "'\(id)' cannot be a cell's id",
                        mend: "use letters, digits, - and _")
                }
            case "eval": options.evaluated = reader.flag(entry.value, "eval")
            case "echo": options.shown = reader.flag(entry.value, "echo")
            case "cache": options.isCached = reader.flag(entry.value, "cache")
            default:
                let text = reader.text(entry.value, "timeout")
                options.timeout = Size.seconds(text)
                if options.timeout == nil {
                    reader.complain(
                        entry.value, "timeout must be a time such as 90s, 10m or 2h, not '\(text)'")
                }
            }
        }
        return options
    }

    // MARK: - Inline values

    private static let marker = "{swift}"

    private mutating func findValues(_ block: Document.Block) {
        var cursor: (line: Int, offset: Int) = (block.firstLine, 0)
        for span in block.codeSpans where span.literal.hasPrefix(Self.marker) {
            if span.line > cursor.line { cursor = (span.line, 0) }
            guard let found = locate(span.literal, from: cursor, through: block.lastLine) else {
                complain(span.line, "this inline value cannot be found again in its paragraph")
                continue
            }
            let after = span.literal.dropFirst(Self.marker.count)
            let expression = after.drop { $0.isWhitespace }.trimmed
            let skipped = Self.marker.count + after.prefix { $0.isWhitespace }.count
            if expression.isEmpty || after.first?.isWhitespace != true {
                complain(
                    found.line, column: found.column, "an inline value needs an expression",
                    mend: "write `{swift} expression`, with a space between")
                continue
            }
            var place = SourcePlace(line: found.line, column: found.column + skipped)
            // The expression may start on the line after the marker.
            let rest = lines[found.line - 1].count - (found.column - 1)
            if skipped >= rest, found.line < lines.count {
                let next = lines[found.line]
                place = SourcePlace(
                    line: found.line + 1, column: 1 + next.prefix { $0.isWhitespace }.count)
            }
            proseValues.append(inlineValues.count)
            inlineValues.append(
                InlineValue(
                    index: inlineValues.count, expression: String(expression), place: place,
                    cell: lastEvaluated, bytes: found.bytes))
            cursor = (found.endLine, found.endOffset)
        }
    }

    private struct Found {
        var line: Int
        var column: Int
        var endLine: Int
        var endOffset: Int
        var bytes: Range<Int>
    }

    /// Finds a code span's text in the lines, where a line's end counts as a space. cmark gives the
    /// line of a span but not, in every case, its column.
    private func locate(_ literal: String, from: (line: Int, offset: Int), through last: Int)
        -> Found?
    {
        let end = min(last, lines.count)
        guard from.line <= end else { return nil }
        let start = lines[from.line - 1].startIndex
        let from = text.index(start, offsetBy: from.offset)
        let region = text[from..<lines[end - 1].endIndex]
        var at = region.startIndex
        while at < region.endIndex {
            if region[at] == "{", let stop = matches(literal, region[at...]) {
                return found(at..<stop)
            }
            at = region.index(after: at)
        }
        return nil
    }

    /// The end of `literal` at the head of `region`: white space matches however it is broken.
    private func matches(_ literal: String, _ region: Substring) -> String.Index? {
        var a = literal.startIndex
        var b = region.startIndex
        while a < literal.endIndex {
            guard b < region.endIndex else { return nil }
            if literal[a] == " " && region[b].isWhitespace {
                a = literal.index(after: a)
                let broke = region[b].isNewline
                b = region.index(after: b)
                // A paragraph's continuation lines lose their indentation.
                if broke {
                    while b < region.endIndex, region[b] == " " || region[b] == "\t" {
                        b = region.index(after: b)
                    }
                }
            } else if literal[a] == region[b] {
                a = literal.index(after: a)
                b = region.index(after: b)
            } else {
                return nil
            }
        }
        return b
    }

    private func found(_ range: Range<String.Index>) -> Found {
        func place(_ index: String.Index) -> (line: Int, offset: Int) {
            let line = lines.lastIndex { $0.startIndex <= index }!
            return (line + 1, text.distance(from: lines[line].startIndex, to: index))
        }
        // Take the backticks in; a span may have a space of padding inside them.
        var low = range.lowerBound
        while low > text.startIndex, "` ".contains(text[text.index(before: low)]) {
            low = text.index(before: low)
            if text[low] == "`", low == text.startIndex || text[text.index(before: low)] != "`" {
                break
            }
        }
        var high = range.upperBound
        while high < text.endIndex, text[high] == " " { high = text.index(after: high) }
        while high < text.endIndex, text[high] == "`" { high = text.index(after: high) }
        let start = place(range.lowerBound)
        let end = place(range.upperBound)
        let utf8 = text.utf8
        return Found(
            line: start.line, column: start.offset + 1, endLine: end.line, endOffset: end.offset,
            bytes: utf8.distance(
                from: utf8.startIndex, to: low)..<utf8.distance(
                    from: utf8.startIndex, to: high))
    }
}
