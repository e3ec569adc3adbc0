// The numbers of a run: single numbers as tables with their intervals drawn, courses as charts. One
// metric in many arms is one table, folded when there are many of them.

internal import Events
internal import Foundation
internal import Provenance

extension HTMLReport {
    /// A metric with all its arms.
    private struct Metric {
        var name: String
        var series: [RunFacts.Series]
    }

    /// Rows of a single table that stays open; more are folded away metric by metric.
    private static let openRows = 16

    var metrics: String {
        guard !run.series.isEmpty else { return "" }
        let numbers = Self.grouped(run.series.filter(Self.isNumber))
        let courses = run.series.filter { !Self.isNumber($0) }
        let points = run.series.reduce(0) { $0 + $1.values.count }
        var out = "<section><h2 id=\"metrics\">Metrics</h2>"
        out +=
            "<p class=\"meta\">\(points) \(points == 1 ? "value" : "values") in \(run.series.count) series; all of them, to the last digit, are in <code>\(BundleLayout.metrics)</code> of the bundle.</p>"
        let single = numbers.filter { $0.series.count == 1 }.flatMap(\.series)
        if !single.isEmpty { out += table(single, caption: "Single numbers", isNamed: true) }
        let many = numbers.filter { $0.series.count > 1 }
        let areOpen = many.reduce(0) { $0 + $1.series.count } <= Self.openRows
        for metric in many {
            out +=
                "<details class=\"metric\"\(areOpen ? " open" : "")><summary><span class=\"name\">\(escaped(metric.name))</span><span>\(escaped(Self.extent(metric.series)))</span></summary>"
                + table(metric.series, caption: metric.name, isNamed: false) + "</details>"
        }
        if !courses.isEmpty {
            out +=
                (numbers.isEmpty ? "" : "<h3 id=\"courses\">Over steps</h3>")
                + charts(courses.map { ($0, $0.arm) })
        }
        return out + "</section>"
    }

    /// A number without steps, or a course of a single step.
    static func isNumber(_ series: RunFacts.Series) -> Bool {
        series.isScalar || series.values.count == 1
    }

    private static func grouped(_ series: [RunFacts.Series]) -> [Metric] {
        var places: [String: Int] = [:]
        var metrics: [Metric] = []
        for one in series where !one.values.isEmpty {
            if let place = places[one.name] {
                metrics[place].series.append(one)
            } else {
                places[one.name] = metrics.count
                metrics.append(Metric(name: one.name, series: [one]))
            }
        }
        return metrics
    }

    private static func extent(_ series: [RunFacts.Series]) -> String {
        let values = series.compactMap(\.values.last).filter(\.isFinite)
        guard let low = values.min(), let high = values.max() else {
            return "\(series.count) arms"
        }
        let span =
            low == high
            ? "all \(Words.number(low))" : "\(Words.number(low)) to \(Words.number(high))"
        return "\(series.count) arms, \(span)"
    }

    private func table(_ series: [RunFacts.Series], caption: String, isNamed: Bool) -> String {
        let rates = series.map { $0.proportions[$0.values.count - 1] }
        let hasRates = rates.contains { $0 != nil }
        let judges = Set(rates.compactMap { $0?.judge })
        let hasArms = series.contains { !$0.arm.isEmpty }
        let scale = Scale(series, rates)
        var heads: [(name: String, isNumber: Bool)] = []
        if isNamed { heads.append(("metric", false)) }
        if hasArms { heads.append(("arm", false)) }
        heads.append(("value", true))
        if hasRates { heads += [("of", true), ("95 % interval", true)] }
        if hasRates, judges.count > 1 || isNamed { heads.append(("judged by", false)) }
        if let scale, !isNamed { heads.append((scale.words, false)) }
        let label = escaped(caption)
        var out =
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"\(label)\"><table>"
        if !isNamed, judges.count == 1, let judge = judges.first, !judge.isEmpty {
            out += "<caption>judged by \(escaped(judge))</caption>"
        }
        out += "<thead><tr>"
        for head in heads {
            out +=
                "<th scope=\"col\"\(head.isNumber ? " class=\"num\"" : "")>\(escaped(head.name))</th>"
        }
        out += "</tr></thead><tbody>"
        // A page is no database; the bundle has them all.
        let limit = 400
        for (one, rate) in zip(series, rates).prefix(limit) {
            var cells: [String] = []
            if isNamed { cells.append("<td>\(escaped(one.name))</td>") }
            if hasArms { cells.append("<td>\(escaped(one.arm))</td>") }
            let value = one.values.last.map { Words.number($0) } ?? ""
            let many = one.values.count > 1 ? " (last of \(one.values.count))" : ""
            cells.append("<td class=\"num\">\(escaped(value + many))</td>")
            if hasRates {
                cells.append(
                    "<td class=\"num\">\(rate.map { "\($0.count) of \($0.total)" } ?? "")</td>")
                cells.append("<td class=\"num\">\(rate.map { Self.interval($0) } ?? "")</td>")
                if judges.count > 1 || isNamed {
                    cells.append("<td>\(escaped(rate?.judge ?? ""))</td>")
                }
            }
            if let scale, !isNamed {
                let bounds = rate.flatMap { Self.bounds($0) }
                cells.append("<td class=\"plot\">\(scale.svg(one.values.last, bounds))</td>")
            }
            out += "<tr>" + cells.joined() + "</tr>\n"
        }
        out += "</tbody></table></div>"
        if series.count > limit {
            out +=
                "<p class=\"note\">\(series.count - limit) more are in \(BundleLayout.metrics) of the bundle.</p>"
        }
        return out
    }

    /// Where the values of a table's rows stand beside each other.
    private struct Scale {
        var low: Double
        var high: Double

        init?(_ series: [RunFacts.Series], _ rates: [ProportionRecord?]) {
            let values = series.compactMap(\.values.last).filter(\.isFinite)
            guard let least = values.min(), let most = values.max(), series.count > 1 else {
                return nil
            }
            if rates.contains(where: { $0 != nil }), least >= 0, most <= 1 {
                (low, high) = (0, 1)
            } else {
                (low, high) = (min(0, least), max(0, most))
            }
            guard high > low, (high - low).isFinite else { return nil }
        }

        var words: String { "\(Words.number(low)) to \(Words.number(high))" }

        /// Decoration: the numbers stand beside it.
        func svg(_ value: Double?, _ bounds: (low: Double, high: Double)?) -> String {
            guard let value, value.isFinite else { return "" }
            func x(_ value: Double) -> String {
                Words.fixed(4 + (min(max(value, low), high) - low) / (high - low) * 192, 1)
            }
            var out =
                "<svg class=\"interval\" viewBox=\"0 0 200 18\" aria-hidden=\"true\">"
            out += "<line class=\"grid\" x1=\"\(x(0))\" x2=\"\(x(0))\" y1=\"1\" y2=\"17\"/>"
            let from = bounds?.low ?? 0
            let to = bounds?.high ?? value
            out += "<line x1=\"\(x(from))\" x2=\"\(x(to))\" y1=\"9\" y2=\"9\"/>"
            return out + "<circle cx=\"\(x(value))\" cy=\"9\" r=\"3.5\"/></svg>"
        }
    }

    /// Charts of courses, those of one name together.
    func charts(_ courses: [(series: RunFacts.Series, label: String)]) -> String {
        var names: [String] = []
        var byName: [String: [SeriesChart.Line]] = [:]
        for course in courses {
            if byName[course.series.name] == nil { names.append(course.series.name) }
            byName[course.series.name, default: []].append(
                SeriesChart.Line(
                    label: course.label, steps: course.series.steps, values: course.series.values,
                    isRate: !course.series.proportions.isEmpty))
        }
        var out = ""
        let limit = 60
        let drawn = names.prefix(limit).reduce(0) { $0 + min(byName[$1]!.count, SeriesChart.limit) }
        let columns = SeriesChart.columns(lines: drawn)
        for name in names.prefix(limit) {
            let lines = byName[name]!
            guard let svg = SeriesChart.svg(title: name, lines: lines, columns: columns) else {
                out += "<p class=\"note\">\(escaped(name)): no value is a finite number.</p>"
                continue
            }
            out += "<figure><figcaption><b>\(escaped(name))</b>"
            let count = lines.reduce(0) { $0 + $1.values.count }
            let bad = lines.reduce(0) { $0 + $1.values.count { !$0.isFinite } }
            if lines.contains(where: { $0.values.count > columns * 4 }) {
                out +=
                    ": \(count) points; drawn are the first, lowest, highest and last of each of \(columns) equal stretches of steps (min-max downsampling)"
            }
            if bad > 0 {
                out += "; \(bad) of \(count) values are no finite number and are not drawn"
            }
            out += "</figcaption>" + svg
            if lines.count > 1 { out += SeriesChart.legend(lines) }
            out += "</figure>"
        }
        if names.count > limit {
            out +=
                "<p class=\"note\">\(names.count - limit) more metrics are in \(BundleLayout.metrics) of the bundle.</p>"
        }
        return out
    }

    func escaped(_ text: String) -> String { HTMLText.escaped(text) }

    /// Wilson's 95 % interval of a rate. Source: Wilson 1927, Eq. 3 with z = 1.96.
    static func bounds(_ rate: ProportionRecord) -> (low: Double, high: Double)? {
        guard rate.total > 0 else { return nil }
        let z = 1.959963984540054
        let n = Double(rate.total)
        let p = Double(rate.count) / n
        let centre = (p + z * z / (2 * n)) / (1 + z * z / n)
        let half = z / (1 + z * z / n) * (p * (1 - p) / n + z * z / (4 * n * n)).squareRoot()
        return (max(centre - half, 0), min(centre + half, 1))
    }

    /// The same in words, in per cent.
    static func interval(_ rate: ProportionRecord) -> String {
        guard let (low, high) = bounds(rate) else { return "no interval" }
        return "\(Words.fixed(low * 100, 1)) to \(Words.fixed(high * 100, 1)) %"
    }
}
