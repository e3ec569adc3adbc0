// The executed study as a Jupyter notebook (nbformat 4.5). Cells are shown with their outputs; no
// Jupyter kernel runs them, so the notebook says where they ran.

internal import Events
internal import Foundation
internal import Notebook
internal import Provenance

package enum JupyterNotebook {
    /// The notebook's bytes. Answers to prompts are no part of it, nor are files that the run made.
    /// - Parameters:
    ///   - pictures: SVG by the figure's position.
    ///   - policy: Where given, the notebook says what was decided about the run's release.
    package static func document(
        _ run: RunFacts, pictures: [Int: [UInt8]] = [:], policy: ReleasePolicy? = nil
    ) -> [UInt8] {
        let study = try? StudyFile(parsing: run.text, path: run.study)
        let byID = Dictionary(run.cells.enumerated().map { ($1.id, $0) }) { first, _ in first }
        var cells: [JSON] = []
        var count: Int64 = 0
        func add(_ id: String, _ members: [(String, JSON)]) {
            // nbformat: 1 to 64 letters, digits, dashes and underscores, each once.
            let name = String(HTMLText.anchor(id).prefix(50)) + "-\(cells.count + 1)"
            cells.append(.object([("id", .string(name))] + members))
        }
        add(
            "run",
            [
                ("cell_type", .string("markdown")), ("metadata", .object([])),
                ("source", lines(head(run, study, policy))),
            ])
        for block in study?.blocks ?? [] {
            switch block {
            case .prose(let markdown, _, let inline):
                var text = markdown
                for index in inline {
                    let value = study!.inlineValues[index]
                    let literal = String(decoding: Array(run.text.utf8)[value.bytes], as: UTF8.self)
                    if let range = text.range(of: literal) {
                        let shown = run.inlineValues[index].map(plain) ?? "*not computed*"
                        text.replaceSubrange(range, with: shown)
                    }
                }
                add(
                    "text",
                    [
                        ("cell_type", .string("markdown")), ("metadata", .object([])),
                        ("source", lines(text)),
                    ])
            case .code(let language, let source, _):
                add(
                    "text",
                    [
                        ("cell_type", .string("markdown")), ("metadata", .object([])),
                        ("source", lines("```\(language)\n\(source)\n```")),
                    ])
            case .cell(let index):
                let cell = study!.cells[index]
                var number = JSON.null
                var outputs: [JSON] = []
                if let place = byID[cell.id], run.cells[place].began != nil {
                    count += 1
                    number = .integer(count)
                    outputs = self.outputs(run, place, pictures)
                }
                add(
                    cell.id,
                    [
                        ("cell_type", .string("code")), ("execution_count", number),
                        ("metadata", .object([])),
                        ("outputs", .array(outputs)), ("source", lines(cell.source)),
                    ])
            }
        }
        return JSON.object([
            ("cells", .array(cells)),
            (
                "metadata",
                .object([
                    (
                        "kernelspec",
                        .object([
                            ("display_name", .string("Swift")), ("language", .string("swift")),
                            ("name", .string("swift")),
                        ])
                    ),
                    (
                        "language_info",
                        .object([("name", .string("swift")), ("file_extension", .string(".swift"))])
                    ),
                    (
                        "study",
                        .object([
                            ("run", .string(run.id)), ("study", .string(run.study)),
                            ("seed", .string(run.seed)), ("status", .string(run.status.rawValue)),
                        ])
                    ),
                ])
            ), ("nbformat", .integer(4)), ("nbformat_minor", .integer(5)),
        ]).file()
    }

    /// What ran, and how it ended; nothing else in a notebook says it.
    private static func head(_ run: RunFacts, _ study: StudyFile?, _ policy: ReleasePolicy?)
        -> String
    {
        var text = ""
        let title = run.title.isEmpty ? run.study : run.title
        if study?.blocks.first.map({ block in
            if case .prose(let markdown, _, _) = block { return markdown.hasPrefix("# ") }
            return false
        }) != true {
            text += "# \(plain(title))\n\n"
        }
        if !run.authors.isEmpty {
            text += plain(run.authors.map(\.name).joined(separator: ", ")) + "\n\n"
        }
        if let abstract = study?.frontMatter.abstract, !abstract.isEmpty {
            text += "> " + plain(abstract.replacing("\n", with: " ")) + "\n\n"
        }
        var facts = ["run `\(run.id)` of `\(run.study)` \(ROCrate.words(run.status))"]
        facts.append("seed \(run.seed)")
        facts += run.parameters.map { "\(plain($0.name)) = \(plain($0.value))" }
        if let commit = run.code.commit { facts.append("commit `\(commit.prefix(12))`") }
        if !run.claims.isEmpty {
            facts.append("\(run.claims.filter(\.holds).count) of \(run.claims.count) claims hold")
        }
        if let policy { facts.append("release \(policy.mode.rawValue)") }
        text += facts.joined(separator: " · ")
        return text + "\n\nThe cells were run by `study`; Jupyter shows what came of it."
    }

    /// Text that Markdown shows as it is.
    private static func plain(_ text: String) -> String {
        var out = ""
        for character in text {
            if "\\`*_{}[]<>#|$~&!".contains(character) { out.append("\\") }
            out.append(character)
        }
        return out
    }

    private static func outputs(_ run: RunFacts, _ cell: Int, _ pictures: [Int: [UInt8]]) -> [JSON]
    {
        var out: [JSON] = []
        for stream in [RunWriter.OutputStream.standardOutput, .standardError] {
            let bytes = run.outputs.filter { $0.cell == cell && $0.stream == stream }.flatMap(
                \.bytes)
            if bytes.isEmpty { continue }
            out.append(
                .object([
                    ("name", .string(stream.rawValue)), ("output_type", .string("stream")),
                    ("text", lines(String(decoding: bytes, as: UTF8.self))),
                ]))
        }
        for (index, figure) in run.figures.enumerated() where figure.cell == cell {
            var data = [("text/plain", lines(figure.title + ". " + figure.alternativeText))]
            if let picture = pictures[index] {
                data.append(("image/svg+xml", lines(String(decoding: picture, as: UTF8.self))))
            }
            out.append(
                .object([
                    ("data", .object(data)), ("metadata", .object([])),
                    ("output_type", .string("display_data")),
                ]))
        }
        for claim in run.claims where claim.cell == cell {
            let text = "\(claim.holds ? "✓ holds" : "✗ fails"): \(claim.text)"
            out.append(
                .object([
                    ("data", .object([("text/plain", lines(text))])), ("metadata", .object([])),
                    ("output_type", .string("display_data")),
                ]))
        }
        if let failure = run.failure, failure.cell == cell {
            out.append(
                .object([
                    ("ename", .string(failure.reason)), ("evalue", .string(failure.message)),
                    ("output_type", .string("error")),
                    ("traceback", .array([.string(failure.message)])),
                ]))
        }
        return out
    }

    /// A text as the list of its lines, as Jupyter writes it.
    private static func lines(_ text: String) -> JSON {
        let parts = text.split(separator: "\n", omittingEmptySubsequences: false)
        return .array(
            parts.enumerated().filter { $0.offset + 1 < parts.count || !$0.element.isEmpty }.map {
                .string($0.element + ($0.offset + 1 < parts.count ? "\n" : ""))
            })
    }
}
