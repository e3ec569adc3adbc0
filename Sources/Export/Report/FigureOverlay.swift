// One figure of several runs as one picture: lines over each other, bars and grids of colours beside each
// other (GridOverlay.swift). Made from the figures' numbers, not from their scripts.

internal import Events
internal import Foundation

struct FigureOverlay {
    /// As gnuplot reads it.
    private(set) var script = ""
    /// The same in words.
    private(set) var words = ""
    private(set) var height = FigureDrawing.height

    /// - Parameter figures: The runs' short names with their figures.
    /// - Returns: Nil where there is nothing to lay over.
    init?(title: String, _ figures: [(run: String, figure: RunFacts.Figure)]) {
        let parsed = figures.compactMap { run, figure in
            JSON(parsing: Array(figure.data.utf8)).map { (run: run, data: $0, figure: figure) }
        }
        guard parsed.count == figures.count, !parsed.isEmpty else { return nil }
        // Axes as the first run's figure has them.
        let kept = ["set xlabel ", "set ylabel ", "set logscale ", "set yrange "]
        let axes = parsed[0].figure.script.split(separator: "\n").map(String.init).filter { line in
            kept.contains { line.hasPrefix($0) }
        }
        if parsed.contains(where: { $0.data[key: "grid"] != nil }) {
            guard let grids = GridOverlay(parsed.map { ($0.run, $0.data) }, axes: axes) else {
                return nil
            }
            (script, height) = (grids.script, grids.height)
            words = (parsed.map { "Run \($0.run): \($0.figure.alternativeText)" } + [grids.words])
                .joined(separator: " ")
            return
        }
        var lines = ["set title \(Self.quoted(title))"] + axes
        lines += [
            "set grid ytics lc rgb '#dddddd'", "set border 3", "set tics nomirror",
            "set key outside bottom center horizontal",
        ]
        var plots: [String] = []
        var said: [String] = []
        addBars(parsed.map { ($0.run, $0.data) }, &lines, &plots)
        var colour = 0
        for (index, one) in parsed.enumerated() {
            said.append("Run \(one.run): \(one.figure.alternativeText)")
            for series in one.data[key: "series"]?.array ?? [] {
                guard let x = series[key: "x"]?.array, let y = series[key: "y"]?.array,
                    x.count == y.count
                else { continue }
                let label = series[key: "label"]?.string ?? ""
                let name = "$line\(plots.count)"
                lines.append("\(name) << EOD")
                lines += zip(x, y).map { "\(Self.number($0)) \(Self.number($1))" }
                lines.append("EOD")
                // A dash of its own for each run, so that print without colours tells them apart.
                plots.append(
                    "\(name) using 1:2 with \(x.count > 40 ? "lines" : "linespoints") lw 1.5 dt \(index + 1) pt \(index + 6) ps 0.5 lc rgb '\(Self.colours[colour % 6])' title \(Self.quoted("\(label), \(one.run)"))"
                )
                colour += 1
            }
        }
        guard !plots.isEmpty else { return nil }
        lines.append("plot " + plots.joined(separator: ", \\\n     "))
        script = lines.joined(separator: "\n") + "\n"
        words = said.joined(separator: " ")
    }

    private func addBars(
        _ runs: [(run: String, data: JSON)], _ lines: inout [String], _ plots: inout [String]
    ) {
        struct Bar {
            var label: String
            var value: String
            var low: String
            var high: String
        }
        var labels: [String] = []
        var groups: [(name: String, bars: [Bar])] = []
        for (run, data) in runs {
            for bar in data[key: "bars"]?.array ?? [] {
                let label = bar[key: "label"]?.string ?? ""
                let group = bar[key: "group"]?.string ?? ""
                let name = group.isEmpty ? run : "\(group), \(run)"
                if !labels.contains(label) { labels.append(label) }
                let value = Self.number(bar[key: "value"] ?? .null)
                let low = bar[key: "low"].map { Self.number($0) } ?? value
                let high = bar[key: "high"].map { Self.number($0) } ?? value
                let entry = Bar(label: label, value: value, low: low, high: high)
                if let place = groups.firstIndex(where: { $0.name == name }) {
                    groups[place].bars.append(entry)
                } else {
                    groups.append((name, [entry]))
                }
            }
        }
        guard !groups.isEmpty else { return }
        let width = 0.8 / Double(groups.count)
        for (g, group) in groups.enumerated() {
            lines.append("$bars\(g) << EOD")
            for bar in group.bars {
                let place = Double(labels.firstIndex(of: bar.label)!)
                let x = place + (Double(g) - Double(groups.count - 1) / 2) * width
                lines.append("\(x) \(bar.value) \(bar.low) \(bar.high)")
            }
            lines.append("EOD")
            plots.append(
                "$bars\(g) using 1:2 with boxes fs solid 0.8 noborder lc rgb '\(Self.colours[g % 6])' title \(Self.quoted(group.name))"
            )
            plots.append(
                "$bars\(g) using 1:2:3:4 with yerrorbars lc rgb '#333333' pt 7 ps 0 notitle")
        }
        lines.append("set boxwidth \(width * 0.9)")
        lines.append("set xrange [-0.6:\(Double(labels.count) - 0.4)]")
        let tics = labels.enumerated().map { "\(Self.quoted($1)) \($0)" }.joined(separator: ", ")
        let rotation = labels.contains { $0.count > 12 } && labels.count > 3 ? " rotate by -25" : ""
        lines.append("set xtics\(rotation) (\(tics))")
    }

    /// Those of the runs' own figures.
    private static let colours = ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#8c6d31"]

    static func quoted(_ text: String) -> String {
        "'" + text.replacing("'", with: "''").replacing("\n", with: " ") + "'"
    }

    /// A number, or none.
    static func value(_ value: JSON) -> Double {
        switch value {
        case .integer(let whole): Double(whole)
        case .number(let number): number
        default: .nan
        }
    }

    /// A number for gnuplot; nothing else of a figure's data reaches the script bare.
    private static func number(_ value: JSON) -> String {
        switch value {
        case .integer(let whole): "\(whole)"
        case .number(let number) where number.isFinite: "\(number)"
        default: "NaN"
        }
    }
}
