// Two or more runs side by side: what differed, metrics beside each other, courses drawn over each
// other. One page with the same style and policy as a single run's.

internal import Events
internal import Foundation
internal import Mustache

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
        var body = table("What differed", facts, names, onlyDifferent: true)
        let scalars = metrics
        if !scalars.isEmpty {
            body += table("Single numbers", scalars, names, onlyDifferent: false, numeric: true)
        }
        let courses = runs.flatMap { run in
            run.series.filter { !$0.isScalar }.map { series in
                (series, "\(run.shortID)" + (series.arm.isEmpty ? "" : ", \(series.arm)"))
            }
        }
        if !courses.isEmpty { body += "<h2 id=\"metrics\">Courses</h2>" + page.charts(courses) }
        let sources = Set(runs.map(\.text))
        body += "<h2 id=\"source\">Source</h2>"
        if sources.count == 1 {
            body += "<p>All ran the same text of \(HTMLText.escaped(runs[0].study)).</p>"
        } else if runs.count == 2 {
            body += "<pre>" + LineDifference.html(runs[0].text, runs[1].text) + "</pre>"
        } else {
            body += "<p>The texts differ; compare two at a time to see where.</p>"
        }
        return Array(
            try MustacheTemplate(string: ReportTemplate.page).render(
                [
                    "policy": HTMLReport.policy(ReportStyle.css), "css": ReportStyle.css,
                    "version": version,
                    "title": title, "status": "\(runs.count) runs", "statusClass": "good",
                    "summary": runs.map { "\($0.study), \(ROCrate.words($0.status))" }.joined(
                        separator: " · "),
                    "parts": [
                        ["id": "what-differed", "name": "What differed"],
                        ["id": "source", "name": "Source"],
                    ], "body": body, "run": names.joined(separator: " and "),
                ] as [String: Any]
            ).utf8)
    }

    private typealias Row = (name: String, values: [String])

    private var facts: [Row] {
        var rows: [Row] = [
            ("study", runs.map(\.study)), ("status", runs.map(\.status.rawValue)),
            ("commit", runs.map { $0.commit ?? "none" }),
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
        add("claim ", runs.map { $0.claims.map { ($0.text, $0.holds ? "✓ holds" : "✗ fails") } })
        return rows
    }

    private var metrics: [Row] {
        var names: [String] = []
        func label(_ series: RunFacts.Series) -> String {
            series.arm.isEmpty ? series.name : "\(series.name), \(series.arm)"
        }
        for series in runs.flatMap(\.series) where series.isScalar && !names.contains(label(series))
        { names.append(label(series)) }
        return names.map { name in
            (
                name,
                runs.map { run in
                    run.series.first { $0.isScalar && label($0) == name }?.values.last.map {
                        Words.number($0)
                    } ?? "–"
                }
            )
        }
    }

    private func table(
        _ title: String, _ rows: [Row], _ names: [String], onlyDifferent: Bool,
        numeric: Bool = false
    ) -> String {
        let shown = onlyDifferent ? rows.filter { Set($0.values).count > 1 } : rows
        var out = "<h2 id=\"\(HTMLText.anchor(title))\">\(title)</h2>"
        if shown.isEmpty { return out + "<p>Nothing on record differs.</p>" }
        let kind = numeric ? " class=\"num\"" : ""
        out +=
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"\(title)\"><table><thead><tr><th scope=\"col\"></th>"
            + names.map { "<th scope=\"col\"\(kind)>\(HTMLText.escaped($0))</th>" }.joined()
            + "</tr></thead><tbody>"
        for row in shown {
            out +=
                "<tr><th scope=\"row\">\(HTMLText.escaped(row.name))</th>"
                + row.values.map { "<td\(kind)>\(HTMLText.escaped($0))</td>" }.joined() + "</tr>\n"
        }
        return out + "</tbody></table></div>"
    }
}

/// Lines of two texts, those removed and added marked; unchanged stretches are left out.
enum LineDifference {
    static func html(_ before: String, _ after: String) -> String {
        let a = before.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let b = after.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let difference = b.difference(from: a)
        var out = ""
        for change in difference {
            switch change {
            case .remove(let offset, let line, _):
                out += "<span class=\"bad\">− \(offset + 1): \(HTMLText.escaped(line))</span>\n"
            case .insert(let offset, let line, _):
                out += "<span class=\"good\">+ \(offset + 1): \(HTMLText.escaped(line))</span>\n"
            }
        }
        return out
    }
}
