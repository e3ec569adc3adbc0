// The sections below a report's text: claims, metrics, provenance, citation.

internal import Events
internal import Foundation
internal import Mustache
internal import Notebook

extension HTMLReport {
    static func render(_ template: String, _ context: [String: Any]) -> String {
        (try? MustacheTemplate(string: template).render(context)) ?? ""
    }

    var claims: String {
        run.claims.isEmpty
            ? "" : Self.render(ReportTemplate.claims, ["claims": run.claims.map(claim)])
    }

    var cite: String {
        Self.render(
            ReportTemplate.cite,
            ["bibtex": clean(Citation.bibTeX(run)), "cff": clean(Citation.cff(run))])
    }

    /// Single numbers as a table, courses as charts: a chart a metric, a line an arm.
    var metrics: String {
        guard !run.series.isEmpty else { return "" }
        var out = "<section><h2 id=\"metrics\">Metrics</h2>"
        let scalars = run.series.filter { $0.isScalar }
        if !scalars.isEmpty {
            out +=
                "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Single numbers\"><table><thead><tr><th scope=\"col\">metric</th><th scope=\"col\">arm</th><th scope=\"col\" class=\"num\">value</th><th scope=\"col\">of how many, judged by</th></tr></thead><tbody>"
            for series in scalars.prefix(400) {
                let value = series.values.last.map { Words.number($0) } ?? ""
                let rate = series.proportions[series.values.count - 1].map {
                    "\($0.count) of \($0.total), \($0.judge), 95 % \(Self.interval($0))"
                }
                out +=
                    "<tr><td>\(escaped(series.name))</td><td>\(escaped(series.arm))</td><td class=\"num\">\(escaped(value))</td><td>\(escaped(rate ?? ""))</td></tr>\n"
            }
            out += "</tbody></table></div>"
            if scalars.count > 400 {
                out +=
                    "<p class=\"note\">\(scalars.count - 400) more are in the bundle's metrics.jsonl.</p>"
            }
        }
        out += charts(run.series.filter { !$0.isScalar }.map { ($0, $0.arm) })
        return out + "</section>"
    }

    /// Charts of courses, those of one name together.
    func charts(_ courses: [(series: RunFacts.Series, label: String)]) -> String {
        var names: [String] = []
        for course in courses where !names.contains(course.series.name) {
            names.append(course.series.name)
        }
        var out = ""
        for name in names.prefix(60) {
            let lines = courses.filter { $0.series.name == name }.map {
                SeriesChart.Line(label: $0.label, steps: $0.series.steps, values: $0.series.values)
            }
            guard let svg = SeriesChart.svg(title: name, lines: Array(lines.prefix(12))) else {
                continue
            }
            let count = lines.reduce(0) { $0 + $1.values.count }
            out += "<p class=\"charttitle\">\(escaped(name))</p>" + svg
            if lines.count > 1 {
                out +=
                    "<ul class=\"legend\">"
                    + lines.prefix(12).enumerated().map {
                        "<li class=\"l\($0 % 6)\">\(escaped($1.label.isEmpty ? "run" : $1.label))</li>"
                    }.joined() + "</ul>"
            }
            if count > SeriesChart.columns * 4 {
                out +=
                    "<p class=\"meta\">\(count) points; drawn are the first, lowest, highest and last of each of \(SeriesChart.columns) equal stretches of steps. All are in metrics.jsonl of the bundle.</p>"
            }
        }
        return out
    }

    func escaped(_ text: String) -> String { HTMLText.escaped(text) }

    /// Wilson's 95 % interval of a rate, in words. Source: Wilson 1927, Eq. 3 with z = 1.96.
    static func interval(_ rate: ProportionRecord) -> String {
        guard rate.total > 0 else { return "no interval" }
        let z = 1.959963984540054
        let n = Double(rate.total)
        let p = Double(rate.count) / n
        let centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        let half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)).squareRoot()
        return
            "\(Words.fixed((centre - half) * 100, 1)) to \(Words.fixed((centre + half) * 100, 1)) %"
    }

    func provenance(_ study: StudyFile?) -> String {
        var facts: [[String: String]] = []
        func fact(_ name: String, _ value: String?) {
            if let value, !value.isEmpty { facts.append(["name": name, "value": clean(value)]) }
        }
        fact("run", run.id)
        fact("study", run.study)
        fact("command", run.command.joined(separator: " "))
        fact("commit", run.commit ?? "none: the study is in no repository")
        fact("branch", run.branch)
        fact("repository", run.remote)
        if run.commit != nil {
            fact(
                "worktree",
                run.changes.isEmpty
                    ? "clean"
                    : "\(run.changes.count) changed: "
                        + run.changes.prefix(8).map { "\($0.path) (\($0.kind))" }.joined(
                            separator: ", ")
                        + (run.changes.count > 8 ? ", …" : ""))
        }
        fact("snapshot", run.snapshot)
        fact("seed", run.seed)
        fact(
            "random streams",
            run.streams.map { "\($0.name): \($0.draws) words" }.joined(separator: ", "))
        fact(
            "parameters", run.parameters.map { "\($0.name) = \($0.value)" }.joined(separator: ", "))
        fact("arithmetic", "\(run.tier), \(run.threads) threads")
        fact("processor", run.fact("cpu.model"))
        fact("Swift", run.fact("swift.version") ?? run.fact("swift"))
        fact("engine", run.fact("engine.build"))
        fact("seal", run.seal.map { "sha256 " + $0 })
        fact("licence", run.licence ?? "not stated")
        if let policy { fact("release", "\(policy.mode.rawValue): \(policy.reason)") }
        let inputs = run.inputs.flatMap { input in
            input.files.prefix(20).map { file -> [String: String] in
                [
                    "path": clean(
                        (input.shownPath ?? input.path) + (file.path.isEmpty ? "" : "/" + file.path)
                    ),
                    "kind": input.kind, "licence": clean(input.licence ?? "not stated"),
                    "hash": String(file.sha256.prefix(16)) + "…",
                ]
            }
        }
        let artifacts = run.artifacts.flatMap { artifact in
            artifact.files.prefix(20).map { file -> [String: String] in
                [
                    "path": clean(artifact.name + (file.path.isEmpty ? "" : "/" + file.path)),
                    "size": Words.bytes(file.size), "hash": String(file.sha256.prefix(16)) + "…",
                ]
            }
        }
        var context: [String: Any] = [
            "facts": facts, "hasInputs": !inputs.isEmpty, "inputs": inputs,
            "hasArtifacts": !artifacts.isEmpty,
            "artifacts": artifacts, "flow": DataFlow.svg(run), "run": run.shortID,
            "hasVerdicts": !run.verdicts.isEmpty, "count": run.environment.count,
            "verdicts": run.verdicts.map {
                ["replay": clean($0.replay), "rung": clean($0.rung), "detail": clean($0.detail)]
            },
            "environment": run.environment.map {
                ["name": clean($0.name), "value": clean($0.value)]
            },
            "hasAttempts": !run.attempts.isEmpty,
        ]
        if !run.attempts.isEmpty {
            let failed = run.attempts.filter { $0.status != .succeeded }.count
            context["attempts"] =
                "\(run.attempts.count) other runs of this study are on record, \(failed) of which did not succeed."
        }
        return Self.render(ReportTemplate.provenance, context)
    }
}

/// Which cell takes what from which: files by their record, top-level names by where they stand.
enum DataFlow {
    struct Edge: Hashable {
        var from: Int
        var to: Int
        var names: [String]
    }

    /// Names that a cell declares at its top level and a later one uses. Read from the text, so a name
    /// inside a string counts too; the compiler's own view is the cell's imports.
    static func edges(_ run: RunFacts) -> [Edge] {
        var owner: [Substring: Int] = [:]
        var found: [[Int]: [String]] = [:]
        for (index, cell) in run.cells.enumerated() {
            let words = cell.source.split { !($0.isLetter || $0.isNumber || $0 == "_") }
            for word in Set(words) {
                if let from = owner[word], from != index {
                    found[[from, index], default: []].append(String(word))
                }
            }
            for line in cell.source.split(separator: "\n") where line.first?.isWhitespace == false {
                let parts = line.split { !($0.isLetter || $0.isNumber || $0 == "_") }
                if let place = parts.firstIndex(where: {
                    ["let", "var", "func", "struct", "enum", "class", "actor"].contains($0)
                }),
                    place < 3, place + 1 < parts.count
                {
                    owner[parts[place + 1]] = index
                }
            }
        }
        return found.map { Edge(from: $0.key[0], to: $0.key[1], names: $0.value.sorted()) }
            .sorted { ($0.from, $0.to) < ($1.from, $1.to) }
    }

    static func svg(_ run: RunFacts) -> String {
        let edges = edges(run)
        guard !edges.isEmpty, run.cells.count <= 40 else { return "" }
        let step = 34
        let width = 520
        let height = run.cells.count * step + 10
        let words = edges.map {
            "\(run.cells[$0.to].id) takes \($0.names.joined(separator: ", ")) from \(run.cells[$0.from].id)"
        }.joined(separator: "; ")
        var out =
            "<h3>What each cell takes from the others</h3><svg class=\"flow\" viewBox=\"0 0 \(width) \(height)\" width=\"\(width)\" height=\"\(height)\" role=\"img\" aria-label=\"\(HTMLText.escaped(words))\">"
        for edge in edges {
            let (top, bottom) = (edge.from * step + 18, edge.to * step + 18)
            // Arcs to the right, wider the farther apart.
            let reach = 190 + min(300, (edge.to - edge.from) * 26)
            out +=
                "<path d=\"M180 \(top)C\(reach) \(top) \(reach) \(bottom) 184 \(bottom)m6 -4l-6 4l6 4\"><title>\(HTMLText.escaped(edge.names.joined(separator: ", ")))</title></path>"
        }
        for (index, cell) in run.cells.enumerated() {
            let name = cell.id.count > 22 ? cell.id.prefix(21) + "…" : cell.id[...]
            out +=
                "<rect x=\"4\" y=\"\(index * step + 5)\" width=\"174\" height=\"26\" rx=\"5\"/><text x=\"12\" y=\"\(index * step + 22)\">\(HTMLText.escaped(name))</text>"
        }
        return out + "</svg>"
    }
}
