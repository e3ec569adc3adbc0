// The Swift text of a module made from a cell: imports, the cell's lines with their Markdown line
// numbers, and the inline values that follow it.

/// One Swift module of a study.
struct CellModule: Sendable {
    /// As "Cell3", "BeforeCells" or "StudyParameters".
    let name: String
    /// The C name of its top-level code; nothing for a module of declarations.
    let entry: String?
    /// The cell that it runs as; nothing for parameters.
    let cell: Int?
    /// Modules that the cells above import; as in any notebook, an import holds from there on.
    var imports: [String] = []
    /// What the compiler reads, imports left out (Compiler adds them).
    let body: String

    /// The modules of a study in the order in which they run, through the cell `last`.
    static func all(
        of study: StudyFile, sourceName: String, through last: Int? = nil
    ) -> [CellModule] {
        var modules: [CellModule] = []
        if !study.parameters.isEmpty { modules.append(parameters(study.parameters)) }
        let cells = study.cells.filter { cell in
            cell.options.evaluated && last.map { cell.index <= $0 } ?? true
        }
        let early = study.inlineValues.filter { $0.cell == nil }
        if let first = cells.first, !early.isEmpty {
            modules.append(
                CellModule(
                    name: "BeforeCells", entry: "study_before_cells", cell: first.index,
                    body: inline(early, sourceName) + end))
        }
        var imports: [String] = []
        for cell in cells {
            let values = study.inlineValues.filter { $0.cell == cell.index }
            modules.append(
                CellModule(
                    name: "Cell\(cell.index + 1)", entry: "study_cell_\(cell.index + 1)",
                    cell: cell.index, imports: imports,
                    body: directive(sourceName, cell.firstLine) + cell.source + "\n"
                        + inline(values, sourceName) + end))
            for line in importLines(cell.source) where !imports.contains(line) {
                imports.append(line)
            }
        }
        return modules
    }

    /// The lines of `source` that import a module.
    static func importLines(_ source: String) -> [String] {
        var isText = false
        return StudyText.lines(of: source).compactMap { line in
            let marks = line.split(separator: "\"\"\"", omittingEmptySubsequences: false).count - 1
            defer { if marks % 2 == 1 { isText.toggle() } }
            let words = line.split(whereSeparator: \.isWhitespace)
            guard !isText, words.first == "import", words.count >= 2 else { return nil }
            return words.prefix { !$0.hasPrefix("//") }.joined(separator: " ")
        }
    }

    /// Tells the kernel that the cell's own code is through, and not left by `exit`.
    private static let end = "Study.Run.reachedEnd()\n"

    /// How the compiler and the debug information call a study. `#sourceLocation` takes no escapes back, and what is
    /// said with the name is read line by line: signs that would end a text or a line are others there.
    static func compilerName(_ path: String) -> String {
        guard path.contains(where: { $0 == "\"" || $0 == "\\" || $0.isNewline }) else {
            return path
        }
        return String(
            path.map { $0 == "\"" ? "″" : $0 == "\\" ? "∖" : $0.isNewline ? "␤" : $0 })
    }

    private static func directive(_ file: String, _ line: Int) -> String {
        "#sourceLocation(file: \"\(file)\", line: \(line))\n"
    }

    /// Each expression stands on its own line and in its own column, so that what the compiler and the
    /// debug information say of it needs no translation.
    private static func inline(_ values: [InlineValue], _ file: String) -> String {
        values.map { value in
            let call = "Study.Run.current.inline(\(value.index),"
            let indent = String(repeating: " ", count: value.place.column - 1)
            // Line 1 has no line before it to hold the call; the column is then off, the line is not.
            if value.place.line == 1 {
                return directive(file, 1) + call + value.expression + ")\n"
            }
            return directive(file, value.place.line - 1) + call + "\n" + indent + value.expression
                + "\n)\n"
        }.joined()
    }

    /// `params`: a struct with the study's names and types; the values come when the run begins, so a
    /// change of value compiles nothing.
    private static func parameters(_ parameters: [Parameter]) -> CellModule {
        let fields = parameters.map { parameter in
            "    public let \(parameter.name): \(parameter.defaultValue.swiftType)"
                + " = \(reading(parameter))"
        }
        return CellModule(
            name: "StudyParameters", entry: nil, cell: nil,
            body: """
                public struct Parameters: Sendable {
                \(fields.joined(separator: "\n"))
                }
                public let params = Parameters()

                """)
    }

    private static func reading(_ parameter: Parameter) -> String {
        func scalar(_ type: String) -> String {
            "Study.Run.current.parameter(\"\(parameter.name)\", as: \(type).self)"
        }
        func list(_ type: String) -> String {
            scalar("String") + ".split(separator: \",\").map { \(type)(String($0))! }"
        }
        return switch parameter.defaultValue {
        case .integers: list("Int")
        case .numbers: list("Double")
        case .texts: scalar("String") + ".split(separator: \",\").map { String($0) }"
        default: scalar(parameter.defaultValue.swiftType)
        }
    }
}
