// A study's Markdown, taken apart: front matter, prose, cells, inline values, each with its place.
// Nothing is compiled or run here; a fault is found with its line, and all faults at once.

internal import Foundation

/// A parsed study.
package struct StudyFile: Sendable {
    /// As messages show it.
    package let path: String
    /// The whole text, as it stands on disk.
    package let text: String
    package let frontMatter: FrontMatter
    /// The document in its order, front matter left out.
    package let blocks: [StudyBlock]
    package let cells: [Cell]
    package let inlineValues: [InlineValue]

    /// The title of the front matter, else the first heading's text, else the file's name.
    package let title: String

    package var seed: UInt64 { frontMatter.seed }
    package var parameters: [Parameter] { frontMatter.parameters }

    /// - Throws: ``StudyError`` with every fault; see `Tests/NotebookTests` for the sentences.
    package init(parsing text: String, path: String) throws(StudyError) {
        let frontMatter = try FrontMatter(parsing: text, path: path)
        var parser = StudyParser(text: text, path: path, firstLine: frontMatter.firstLineAfter)
        parser.parse()
        guard parser.faults.isEmpty else { throw StudyError(parser.faults, text: text) }
        self.path = path
        self.text = text
        self.frontMatter = frontMatter
        blocks = parser.blocks
        cells = parser.cells
        inlineValues = parser.inlineValues
        title =
            !frontMatter.title.isEmpty
            ? frontMatter.title : parser.heading ?? (path as NSString).lastPathComponent
    }

    /// Reads the study at `file`; messages call it `path`.
    /// - Throws: ``StudyError`` where it cannot be read, is no UTF-8, or has faults.
    package init(contentsOf file: String, path: String) throws(StudyError) {
        func unreadable(_ message: String, _ mend: String) -> StudyError {
            StudyError([Diagnostic(path: path, place: nil, message: message, mend: mend)], text: "")
        }
        guard let data = FileManager.default.contents(atPath: file) else {
            let reason = access(file, F_OK) == 0 ? "cannot be read" : "does not exist"
            throw unreadable("the study \(reason)", "check the name and the folder you are in")
        }
        guard let text = String(validating: data, as: UTF8.self) else {
            throw unreadable("the study is not UTF-8", "save it as UTF-8, then run it again")
        }
        try self.init(parsing: text, path: path)
    }

    /// The cell with this id.
    package func cell(_ id: String) -> Cell? { cells.first { $0.id == id } }

    /// The cell whose lines include `line`, or whose inline values stand on it.
    package func cell(atLine line: Int) -> Cell? {
        if let cell = cells.first(where: { $0.firstLine <= line && line <= $0.lastLine }) {
            return cell
        }
        let value = inlineValues.first { $0.place.line == line }
        return value.flatMap { value in
            value.cell.map { cells[$0] } ?? cells.first(where: \.options.evaluated)
        }
    }

    /// The parameters' values after `-p name=value` arguments.
    /// - Throws: ``StudyError`` for unknown names (with the near miss) and values of another type.
    package func values(
        overriding arguments: [String]
    ) throws(StudyError) -> [(parameter: Parameter, value: ParameterValue)] {
        var values = parameters.map { (parameter: $0, value: $0.defaultValue) }
        var faults: [Diagnostic] = []
        for argument in arguments {
            let parts = argument.split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(parts[0])
            guard parts.count == 2 else {
                faults.append(
                    Diagnostic(
                        path: path, place: nil, message: "-p \(argument): a value is missing",
                        mend: "write -p \(name)=VALUE"))
                continue
            }
            guard let index = values.firstIndex(where: { $0.parameter.name == name }) else {
                let known = parameters.map(\.name)
                faults.append(
                    Diagnostic(
                        path: path, place: nil,
                        message: "the study has no parameter '\(name)'"
                            + (known.isEmpty ? "; it has none" : NearMiss.hint(name, in: known))))
                continue
            }
            let parameter = values[index].parameter
            guard let value = parameter.defaultValue.replaced(by: String(parts[1])) else {
                faults.append(
                    Diagnostic(
                        path: path, place: parameter.place,
                        message:
                            "'\(parts[1])' is no \(parameter.defaultValue.swiftType): parameter"
                            + " \(name) is typed by its default \(parameter.defaultValue)"))
                continue
            }
            values[index].value = value
        }
        guard faults.isEmpty else { throw StudyError(faults, text: text) }
        return values
    }
}
