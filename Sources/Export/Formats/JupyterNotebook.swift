// The executed study as a Jupyter notebook (nbformat 4.5). Cells are shown with their outputs; no
// Jupyter kernel runs them, so the notebook says where they ran.

internal import Events
internal import Foundation
internal import Notebook

package enum JupyterNotebook {
    /// The notebook's bytes.
    package static func document(_ run: RunFacts, pictures: [Int: [UInt8]] = [:]) -> [UInt8] {
        let study = try? StudyFile(parsing: run.text, path: run.study)
        let byID = Dictionary(run.cells.enumerated().map { ($1.id, $0) }) { first, _ in first }
        var cells: [JSON] = []
        var count: Int64 = 0
        func add(_ id: String, _ members: [(String, JSON)]) {
            // nbformat: 1 to 64 letters, digits, dashes and underscores, each once.
            let name = String(HTMLText.anchor(id).prefix(50)) + "-\(cells.count + 1)"
            cells.append(.object([("id", .string(name))] + members))
        }
        for block in study?.blocks ?? [] {
            switch block {
            case .prose(let markdown, _, let inline):
                var text = markdown
                for index in inline {
                    let value = study!.inlineValues[index]
                    let literal = String(decoding: Array(run.text.utf8)[value.bytes], as: UTF8.self)
                    if let range = text.range(of: literal), let shown = run.inlineValues[index] {
                        text.replaceSubrange(range, with: "**" + shown + "**")
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

    private static func outputs(_ run: RunFacts, _ cell: Int, _ pictures: [Int: [UInt8]]) -> [JSON]
    {
        var out: [JSON] = []
        for stream in ["stdout", "stderr"] {
            let bytes = run.outputs.filter { $0.cell == cell && $0.stream == stream }.flatMap(
                \.bytes)
            if bytes.isEmpty { continue }
            out.append(
                .object([
                    ("name", .string(stream)), ("output_type", .string("stream")),
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
