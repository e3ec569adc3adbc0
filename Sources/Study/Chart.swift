// A figure as a study builds it: numbers, words for those who cannot see it, and the script that gnuplot draws it by.
// Drawing is the recorder's business, in StudyCommand.

public import Engine

/// A figure with bars, lines, points or a grid of colours. Show it with `run.show(_:)`.
public struct Chart: Sendable {
    public var title: String
    public var xLabel: String
    public var yLabel: String
    public var isXLogarithmic = false
    public var isYLogarithmic = false
    /// The vertical range; rates take 0 to 1 of themselves.
    public var yRange: ClosedRange<Double>?
    private var bars: [Bar] = []
    private var series: [Series] = []
    private var grid: Grid?

    private struct Bar: Sendable {
        var label: String
        var group: String
        var value: Double
        var interval: ClosedRange<Double>?
        var words: String
    }
    private struct Series: Sendable {
        var label: String
        var points: [(x: Double, y: Double)]
        var isLine: Bool
    }
    private struct Grid: Sendable {
        var x: [Double]
        var y: [Double]
        var values: [[Double]]
        var label: String
    }

    public init(_ title: String, x: String = "", y: String = "") {
        self.title = title
        xLabel = x
        yLabel = y
    }

    /// A rate with its interval.
    /// - Parameter group: Bars of one group share a colour; bars of one label stand together.
    public mutating func addBar(_ rate: Proportion, label: String, group: String = "") {
        bars.append(
            Bar(
                label: label, group: group, value: rate.share, interval: rate.interval,
                words: "\(rate)"))
        if yRange == nil { yRange = 0...1 }
    }

    /// A mean over seeds with its interval.
    public mutating func addBar(_ seeds: AcrossSeeds, label: String, group: String = "") {
        bars.append(
            Bar(
                label: label, group: group, value: seeds.mean, interval: seeds.interval,
                words: "\(seeds)"))
    }

    /// A plain value.
    public mutating func addBar(_ value: Double, label: String, group: String = "") {
        bars.append(
            Bar(
                label: label, group: group, value: value, interval: nil,
                words: value.formatted(decimals: 3)))
    }

    /// A line through values at 1, 2, 3 …, such as a loss at each step.
    public mutating func addLine(_ values: [Double], label: String) {
        addLine(zip(1..., values).map { (Double($0), $1) }, label: label)
    }

    /// A line through points, in the order given.
    public mutating func addLine(_ points: [(x: Double, y: Double)], label: String) {
        series.append(Series(label: label, points: points, isLine: true))
    }

    /// Points that no line joins.
    public mutating func addPoints(_ points: [(x: Double, y: Double)], label: String) {
        series.append(Series(label: label, points: points, isLine: false))
    }

    /// A colour for each pair of an x and a y, such as a landscape.
    /// - Parameter values: `values[j][i]` belongs to `x[i]` and `y[j]`.
    public mutating func setGrid(
        x: [Double], y: [Double], values: [[Double]], label: String
    ) {
        precondition(
            values.count == y.count && values.allSatisfy { $0.count == x.count },
            "a grid has a row for each y and a column for each x")
        grid = Grid(x: x, y: y, values: values, label: label)
    }
}

extension Chart {
    private var groups: [String] {
        bars.reduce(into: []) { if !$0.contains($1.group) { $0.append($1.group) } }
    }
    private var labels: [String] {
        bars.reduce(into: []) { if !$0.contains($1.label) { $0.append($1.label) } }
    }

    /// The chart as gnuplot reads it, without terminal and output, which are the drawer's.
    package var script: String {
        var lines: [String] = []
        var plots: [String] = []
        lines.append("set title \(Self.quoted(title))")
        if !xLabel.isEmpty { lines.append("set xlabel \(Self.quoted(xLabel))") }
        if !yLabel.isEmpty { lines.append("set ylabel \(Self.quoted(yLabel))") }
        if isXLogarithmic { lines.append("set logscale x") }
        if isYLogarithmic { lines.append("set logscale y") }
        if let yRange {
            // A hair more than the range, so that a bar's cap at 1 is seen.
            let slack = (yRange.upperBound - yRange.lowerBound) * 0.02
            lines.append("set yrange [\(yRange.lowerBound):\(yRange.upperBound + slack)]")
        }
        lines += ["set grid ytics lc rgb '#dddddd'", "set border 3", "set tics nomirror"]
        if !bars.isEmpty { addBarScript(&lines, &plots) }
        for (i, one) in series.enumerated() {
            lines.append("$series\(i) << EOD")
            lines += one.points.map { "\(Self.number($0.x)) \(Self.number($0.y))" }
            lines.append("EOD")
            let style =
                one.isLine
                ? (one.points.count > 40 ? "lines lw 1.5" : "linespoints lw 1.5 pt 7 ps 0.5")
                : "points pt 7 ps 0.8"
            plots.append(
                "$series\(i) using 1:2 with \(style) lc rgb '\(Self.colour(i))' title "
                    + Self.quoted(one.label))
        }
        if let grid {
            lines.append("$grid << EOD")
            for (y, row) in zip(grid.y, grid.values) {
                lines += zip(grid.x, row).map { "\($0) \(y) \(Self.number($1))" }
                lines.append("")
            }
            lines += [
                "EOD", "set cblabel \(Self.quoted(grid.label))", "unset grid",
                "set autoscale noextend",
            ]
            lines.append("set palette defined (0 '#b2182b', 0.5 '#f7f7f7', 1 '#2166ac')")
            plots.append("$grid using 1:2:3 with image notitle")
        }
        if plots.isEmpty { return "" }
        if series.count + groups.filter({ !$0.isEmpty }).count > 1 {
            lines.append("set key outside bottom center horizontal")
        } else {
            lines.append("set key off")
        }
        lines.append("plot " + plots.joined(separator: ", \\\n     "))
        return lines.joined(separator: "\n") + "\n"
    }

    private func addBarScript(_ lines: inout [String], _ plots: inout [String]) {
        let width = 0.8 / Double(groups.count)
        for (g, group) in groups.enumerated() {
            lines.append("$bars\(g) << EOD")
            for bar in bars where bar.group == group {
                let place = Double(labels.firstIndex(of: bar.label)!)
                let x = place + (Double(g) - Double(groups.count - 1) / 2) * width
                let low = bar.interval?.lowerBound ?? bar.value
                let high = bar.interval?.upperBound ?? bar.value
                lines.append(
                    "\(x) \(Self.number(bar.value)) \(Self.number(low)) \(Self.number(high))")
            }
            lines.append("EOD")
            plots.append(
                "$bars\(g) using 1:2 with boxes fs solid 0.8 noborder lc rgb '\(Self.colour(g))' "
                    + (group.isEmpty ? "notitle" : "title \(Self.quoted(group))"))
            plots.append(
                "$bars\(g) using 1:2:3:4 with yerrorbars lc rgb '#333333' pt 7 ps 0 notitle")
        }
        lines.append("set boxwidth \(width * 0.9)")
        lines.append("set xrange [-0.6:\(Double(labels.count) - 0.4)]")
        let tics = labels.enumerated().map { "\(Self.quoted($1)) \($0)" }.joined(separator: ", ")
        let rotation = labels.contains { $0.count > 12 } && labels.count > 3 ? " rotate by -25" : ""
        lines.append("set xtics\(rotation) (\(tics))")
    }

    /// The plotted numbers as JSON, which a replay compares.
    package var data: String {
        var object = JSONObject([("title", .string(title))])
        if !bars.isEmpty {
            object["bars"] = .array(
                bars.map { bar in
                    var entry = JSONObject([
                        ("label", .string(bar.label)), ("value", Self.json(bar.value)),
                    ])
                    if !bar.group.isEmpty { entry["group"] = .string(bar.group) }
                    if let interval = bar.interval {
                        entry["low"] = Self.json(interval.lowerBound)
                        entry["high"] = Self.json(interval.upperBound)
                    }
                    return .object(entry)
                })
        }
        if !series.isEmpty {
            object["series"] = .array(
                series.map { one in
                    [
                        "label": .string(one.label),
                        "x": .array(one.points.map { Self.json($0.x) }),
                        "y": .array(one.points.map { Self.json($0.y) }),
                    ]
                })
        }
        if let grid {
            object["grid"] = [
                "label": .string(grid.label), "x": .array(grid.x.map(Self.json)),
                "y": .array(grid.y.map(Self.json)),
                "values": .array(grid.values.map { .array($0.map(Self.json)) }),
            ]
        }
        return JSONValue.object(object).text()
    }

    /// The figure in words: every bar, and where each line begins and ends.
    package var alternativeText: String {
        var parts = ["\(title)."]
        for bar in bars {
            let name = bar.group.isEmpty ? bar.label : "\(bar.label), \(bar.group)"
            parts.append("\(name): \(bar.words).")
        }
        for one in series {
            guard let first = one.points.first, let last = one.points.last else { continue }
            let low = one.points.map(\.y).min()!
            let high = one.points.map(\.y).max()!
            parts.append(
                "\(one.label): \(one.points.count) points, from \(first.y.formatted(decimals: 3)) at "
                    + "\(first.x.formatted(decimals: 2)) to \(last.y.formatted(decimals: 3)) at "
                    + "\(last.x.formatted(decimals: 2)), between \(low.formatted(decimals: 3)) and "
                    + "\(high.formatted(decimals: 3)).")
        }
        if let grid {
            let all = grid.values.joined()
            parts.append(
                "\(grid.label) on a grid of \(grid.x.count) by \(grid.y.count), between "
                    + "\((all.min() ?? .nan).formatted(decimals: 3)) and "
                    + "\((all.max() ?? .nan).formatted(decimals: 3)).")
        }
        return parts.joined(separator: " ")
    }

    /// Blue, orange, green, red, violet, brown: told apart by people who do not see red and green alike.
    private static func colour(_ i: Int) -> String {
        ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#8c6d31"][i % 6]
    }

    /// gnuplot's single quotes take everything but themselves. Its terminals are opened `noenhanced`.
    private static func quoted(_ text: String) -> String {
        let plain = text.flatMap { character -> [Character] in
            character == "'" ? ["'", "'"] : character.isNewline ? [" "] : [character]
        }
        return "'\(String(plain))'"
    }

    private static func number(_ value: Double) -> String { value.isFinite ? "\(value)" : "NaN" }
    private static func json(_ value: Double) -> JSONValue {
        value.isFinite ? .number(value) : .null
    }
}
