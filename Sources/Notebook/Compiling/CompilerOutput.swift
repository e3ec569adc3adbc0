// What `swift-frontend` prints, as diagnostics of the study. Its excerpts show generated text and
// are dropped; ours come from the Markdown.

enum CompilerOutput {
    /// The findings in `text`. Notes that point outside the study lose their place; other findings
    /// there are not the study's.
    static func diagnostics(
        in text: String, sourceName: String, study: StudyFile, cell: Int? = nil
    ) -> [Diagnostic] {
        var found: [Diagnostic] = []
        for line in text.split(separator: "\n") {
            guard let parsed = parse(line) else { continue }
            var diagnostic = Diagnostic(
                parsed.severity, path: study.path,
                place: SourcePlace(line: parsed.line, column: parsed.column),
                message: parsed.message)
            if parsed.file == sourceName {
                diagnostic.place?.column = character(
                    parsed.column, line: parsed.line, in: study.text)
            } else if parsed.severity == .error, let cell, parsed.file.hasSuffix("/main.swift") {
                // Something is still open where the generated text ends: the cell's end, to its author.
                let last = study.cells[cell].lastLine
                let lines = StudyText.lines(of: study.text)
                diagnostic.place = SourcePlace(line: last, column: lines[last - 1].count + 1)
            } else {
                guard parsed.severity == .note, !found.isEmpty else { continue }
                diagnostic.place = nil
            }
            // The compiler repeats a finding when two passes meet it.
            if !found.contains(diagnostic) { found.append(diagnostic) }
        }
        return found.map { improved($0, study) }
    }

    private struct Line {
        var file: String
        var line: Int
        var column: Int
        var severity: Diagnostic.Severity
        var message: String
    }

    /// `FILE:LINE:COLUMN: SEVERITY: MESSAGE`, where FILE may hold colons and spaces.
    private static func parse(_ text: Substring) -> Line? {
        for severity in [Diagnostic.Severity.error, .warning, .note] {
            guard let range = text.firstRange(of: ": \(severity.rawValue): ") else { continue }
            let parts = text[..<range.lowerBound].split(
                separator: ":", omittingEmptySubsequences: false)
            guard parts.count >= 3, let column = Int(parts[parts.count - 1]),
                let line = Int(parts[parts.count - 2])
            else { continue }
            return Line(
                file: parts.dropLast(2).joined(separator: ":"), line: line, column: column,
                severity: severity, message: String(text[range.upperBound...]))
        }
        return nil
    }

    /// The compiler counts columns in UTF-8 bytes; people count characters.
    static func character(_ column: Int, line: Int, in text: String) -> Int {
        let lines = StudyText.lines(of: text)
        guard line >= 1, line <= lines.count, column > 1 else { return column }
        let utf8 = lines[line - 1].utf8
        guard column - 1 <= utf8.count else { return column }
        let index = utf8.index(utf8.startIndex, offsetBy: column - 1)
        return lines[line - 1].distance(from: lines[line - 1].startIndex, to: index) + 1
    }

    /// Adds what a study's author can do, where the compiler cannot know it.
    private static func improved(_ diagnostic: Diagnostic, _ study: StudyFile) -> Diagnostic {
        var result = diagnostic
        if diagnostic.message.hasPrefix("ambiguous use of") {
            result.mend =
                "two cells define this name; a name is defined once in a study, so rename one"
        } else if diagnostic.message.hasPrefix("cannot find 'params' in scope") {
            result.mend = "declare `params:` in the front matter, as in `params: {rank: 8}`"
        } else if diagnostic.severity == .error, let name = missingName(diagnostic.message),
            let later = study.cells.first(where: {
                $0.firstLine > diagnostic.place?.line ?? 0 && declares(name, $0.source)
            })
        {
            result.mend =
                later.options.evaluated
                ? "cell '\(later.id)', line \(later.firstLine), defines it; cells see what stands above them"
                : "cell '\(later.id)' defines it, but says `eval: false`"
        }
        return result
    }

    private static func missingName(_ message: String) -> String? {
        guard message.hasPrefix("cannot find '"), message.hasSuffix("' in scope") else {
            return nil
        }
        return String(message.dropFirst(13).dropLast(10))
    }

    private static func declares(_ name: String, _ source: String) -> Bool {
        ["let", "var", "func", "struct", "class", "enum", "protocol", "typealias"].contains {
            source.contains("\($0) \(name)")
        }
    }
}
