// Two or more runs side by side: what differed, metrics beside each other, courses drawn over each
// other. One page with the same style and policy as a single run's.

internal import Events
internal import Foundation
internal import Mustache
internal import Provenance

package struct ComparisonReport {
    let runs: [RunFacts]
    let version: String

    package init(_ runs: [RunFacts], version: String) {
        self.runs = runs
        self.version = version
    }

    package func html() throws -> [UInt8] {
        let page = HTMLReport(RunFacts(), version: version)
        let names = runs.map { "run \($0.shortID)" }
        let title = "Comparison of " + names.joined(separator: " and ")
        var contents = Contents()
        var body = ""
        func section(_ id: String, _ name: String, _ html: String) {
            guard !html.isEmpty else { return }
            contents.add(id, name)
            body += "<section><h2 id=\"\(id)\">\(name)</h2>" + html + "</section>"
        }
        section("what-differed", "What differed", table("What differed", facts, names, true))
        if runs.contains(where: { !$0.claims.isEmpty }) {
            section("claims", "Claims", table("Claims", claims, names))
        }
        let figures = overlays
        section(
            "figures", "Figures, laid over each other",
            figures.enumerated().map { page.figure($0, $1.figure, $1.picture) }.joined())
        let metrics = metrics
        if !metrics.isEmpty {
            section("single-numbers", "Single numbers", numbers(metrics, names))
        }
        let courses = runs.flatMap { run in
            run.series.filter { !HTMLReport.isNumber($0) }.map { series in
                (series, "\(run.shortID)" + (series.arm.isEmpty ? "" : ", \(series.arm)"))
            }
        }
        section("metrics", "Courses", page.charts(courses))
        section("source", "Source", source)
        return Array(
            try MustacheTemplate(string: ReportTemplate.page).render(
                [
                    "policy": HTMLReport.policy(ReportStyle.css), "css": ReportStyle.css,
                    "version": version, "title": title, "status": "\(runs.count) runs",
                    "statusClass": "good",
                    "summary": page.clean(
                        runs.map { "\($0.study), \(ROCrate.words($0.status))" }.joined(
                            separator: " · ")),
                    "contents": contents.entries, "body": body,
                    "run": runs.map(\.id).joined(separator: " and "),
                ] as [String: Any]
            ).utf8)
    }

    private var source: String {
        if Set(runs.map(\.text)).count == 1 {
            return "<p>All ran the same text of \(HTMLText.escaped(runs[0].study)).</p>"
        }
        guard runs.count == 2 else {
            return "<p>The texts differ; compare two at a time to see where.</p>"
        }
        return
            "<pre class=\"diff\" tabindex=\"0\" role=\"region\" aria-label=\"Lines that differ\">"
            + LineDifference.html(runs[0].text, runs[1].text) + "</pre>"
    }

    /// Figures of one title in two runs or more, drawn into one picture.
    private var overlays: [(figure: RunFacts.Figure, picture: [UInt8]?)] {
        var titles: [String] = []
        for figure in runs.flatMap(\.figures) where !titles.contains(figure.title) {
            titles.append(figure.title)
        }
        return titles.prefix(40).compactMap { title in
            let found = runs.compactMap { run in
                run.figures.first { $0.title == title }.map { (run.shortID, $0) }
            }
            guard found.count > 1, let overlay = FigureOverlay(title: title, found) else {
                return nil
            }
            let figure = RunFacts.Figure(
                cell: 0, title: title, alternativeText: overlay.words, script: overlay.script,
                data: "")
            return (
                figure, FigureDrawing.svg(overlay.script, title: title, height: overlay.height)
            )
        }
    }

    private typealias Row = (name: String, values: [String])

    private var facts: [Row] {
        var rows: [Row] = [
            ("study", runs.map(\.study)), ("status", runs.map(\.status.rawValue)),
            ("commit", runs.map { $0.code.commit ?? "none" }),
            ("worktree", runs.map { $0.changes.isEmpty ? "clean" : "\($0.changes.count) changed" }),
            ("seed", runs.map(\.seed)),
            ("arithmetic", runs.map { "\($0.tier), \($0.threads) threads" }),
        ]
        func add(_ prefix: String, _ pairs: [[(name: String, value: String)]]) {
            var names: [String] = []
            for pair in pairs.joined() where !names.contains(pair.name) { names.append(pair.name) }
            for name in names {
                rows.append(
                    (prefix + name, pairs.map { $0.first { $0.name == name }?.value ?? "–" }))
            }
        }
        add("parameter ", runs.map { $0.parameters.map { ($0.name, $0.value) } })
        add(
            "data ",
            runs.map {
                $0.inputs.flatMap { input in
                    input.files.map { (input.path + "/" + $0.path, String($0.sha256.prefix(16))) }
                }
            })
        add("environment ", runs.map { $0.environment })
        add(
            "artifact ",
            runs.map {
                $0.artifacts.flatMap { artifact in
                    artifact.files.map {
                        (artifact.name + "/" + $0.path, String($0.sha256.prefix(16)))
                    }
                }
            })
        return rows
    }

    private var claims: [Row] {
        var texts: [String] = []
        for claim in runs.flatMap(\.claims) where !texts.contains(claim.text) {
            texts.append(claim.text)
        }
        return texts.map { text in
            (
                text,
                runs.map { run in
                    run.claims.first { $0.text == text }.map {
                        ($0.holds ? "✓ holds" : "✗ fails")
                            + ($0.evidence.isEmpty ? "" : ": \($0.evidence)")
                    } ?? "–"
                }
            )
        }
    }

    private static func label(_ series: RunFacts.Series) -> String {
        series.arm.isEmpty ? series.name : "\(series.name), \(series.arm)"
    }

    /// The last value of each number in each run.
    private var metrics: [(name: String, values: [Double?])] {
        var names: [String] = []
        var seen: Set<String> = []
        let found = runs.map { run in
            var values: [String: Double] = [:]
            for series in run.series where HTMLReport.isNumber(series) {
                let label = Self.label(series)
                if seen.insert(label).inserted { names.append(label) }
                values[label] = series.values.last
            }
            return values
        }
        return names.map { name in (name, found.map { $0[name] }) }
    }

    /// Metrics side by side: those that differ first, the others folded.
    private func numbers(
        _ metrics: [(name: String, values: [Double?])], _ names: [String]
    ) -> String {
        func row(_ metric: (name: String, values: [Double?])) -> Row {
            var shown = metric.values.map { $0.map { Words.number($0) } ?? "–" }
            if runs.count == 2 {
                if let a = metric.values[0], let b = metric.values[1] {
                    shown.append(a == b ? "=" : (b > a ? "+" : "−") + Words.number(abs(b - a)))
                } else {
                    shown.append("")
                }
            }
            return (metric.name, shown)
        }
        let heads = names + (runs.count == 2 ? ["second less first"] : [])
        func isSame(_ values: [Double?]) -> Bool {
            values.allSatisfy { $0?.bitPattern == values[0]?.bitPattern }
        }
        let shared = metrics.filter { !$0.values.contains(nil) }
        let different = shared.filter { !isSame($0.values) }
        let same = shared.filter { isSame($0.values) }
        var out = ""
        if different.isEmpty, !same.isEmpty {
            out += "<p>All \(same.count) numbers are the same to the last bit.</p>"
        }
        func folded(_ name: String, _ metrics: [(name: String, values: [Double?])]) {
            guard !metrics.isEmpty else { return }
            out +=
                "<details class=\"more\"><summary>\(metrics.count) numbers \(name)</summary>"
                + table("Numbers \(name)", metrics.map(row), heads, numeric: true) + "</details>"
        }
        // As many as are taken in at a glance; the others are a click away.
        let open = 40
        if !different.isEmpty {
            out += table(
                "Numbers that differ", different.prefix(open).map(row), heads, numeric: true)
        }
        folded("more that differ", Array(different.dropFirst(open)))
        folded("that are the same", same)
        folded("that not all runs have", metrics.filter { $0.values.contains(nil) })
        return out
    }

    private func table(
        _ title: String, _ rows: [Row], _ names: [String], _ onlyDifferent: Bool = false,
        numeric: Bool = false
    ) -> String {
        let shown = onlyDifferent ? rows.filter { Set($0.values).count > 1 } : rows
        if shown.isEmpty { return "<p>Nothing on record differs.</p>" }
        let kind = numeric ? " class=\"num\"" : ""
        var out =
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"\(title)\"><table><thead><tr><td></td>"
            + names.map { "<th scope=\"col\"\(kind)>\(HTMLText.escaped($0))</th>" }.joined()
            + "</tr></thead><tbody>"
        let limit = 1000
        for row in shown.prefix(limit) {
            out +=
                "<tr><th scope=\"row\">\(HTMLText.escaped(row.name))</th>"
                + row.values.map { "<td\(kind)>\(HTMLText.escaped($0))</td>" }.joined() + "</tr>\n"
        }
        out += "</tbody></table></div>"
        if shown.count > limit { out += "<p class=\"note\">\(shown.count - limit) more rows.</p>" }
        return out
    }
}

/// Lines of two texts, those removed and added marked; unchanged stretches are left out.
enum LineDifference {
    static func html(_ before: String, _ after: String) -> String {
        let a = before.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let b = after.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var out = ""
        // In the order of the text: what went before what came in its place.
        let changes = b.difference(from: a).map { change in
            switch change {
            case .remove(let offset, let line, _): (offset, 0, "del", "− ", line)
            case .insert(let offset, let line, _): (offset, 1, "ins", "+ ", line)
            }
        }
        for (offset, _, name, mark, line) in changes.sorted(by: { ($0.0, $0.1) < ($1.0, $1.1) }) {
            out += span(name, "\(mark)\(offset + 1): \(line)")
        }
        return out
    }

    /// A unified diff, its lines marked.
    static func html(patch: String) -> String {
        var out = ""
        for line in patch.split(separator: "\n", omittingEmptySubsequences: false) {
            switch line.first {
            case "+": out += span("ins", line)
            case "-": out += span("del", line)
            case "@": out += span("c", line)
            default: out += HTMLText.escaped(line) + "\n"
            }
        }
        return out
    }

    private static func span(_ name: String, _ line: some StringProtocol) -> String {
        "<span class=\"\(name)\">\(HTMLText.escaped(line))</span>\n"
    }
}
