// Draws series of numbers as SVG, without gnuplot: lines over steps, small enough for any page. Each
// pixel column keeps its lowest and its highest value, in order, so that no spike is lost.

internal import Foundation

/// A line chart of one metric, a line for each arm.
struct SeriesChart {
    struct Line {
        var label: String
        var steps: [Int64]
        var values: [Double]
        /// A share of something: drawn from 0 to 1.
        var isRate = false
    }

    static let width = 720.0
    static let height = 280.0
    private static let margin = (left: 64.0, right: 12.0, top: 12.0, bottom: 38.0)
    /// How many stretches of steps are told apart: about one for each pixel of a page's column.
    static let columns = 600

    /// The same where a page has many lines: about 100,000 points in all, so that the page stays small.
    static func columns(lines: Int) -> Int { max(8, min(columns, 25_000 / max(lines, 1))) }

    /// Lines with a colour of their own; six colours, drawn and dashed.
    static let coloured = 12
    /// No picture of more lines says anything.
    static let limit = 60

    /// The classes of a line: colour, and dashes for the second six; grey for those after.
    static func style(_ index: Int) -> String {
        index < coloured ? "l\(index % 6)" + (index >= 6 ? " dash" : "") : "l6"
    }

    /// The lines' names, as a list below the chart.
    static func legend(_ lines: [Line]) -> String {
        var items = lines.prefix(coloured).enumerated().map {
            "<li class=\"\(style($0))\">\(HTMLText.escaped($1.label.isEmpty ? "run" : $1.label))</li>"
        }
        if lines.count > coloured {
            let grey = min(lines.count, limit) - coloured
            let hidden = lines.count - coloured - grey
            items.append(
                "<li class=\"l6\">\(grey) more\(hidden > 0 ? "; \(hidden) are not drawn" : "")</li>"
            )
        }
        return "<ul class=\"legend\">" + items.joined() + "</ul>"
    }

    /// Indices of the points that are drawn: in each of `columns` equal stretches of the steps, the
    /// first, lowest, highest and last value that is a number (min-max downsampling).
    static func kept(_ steps: [Int64], _ values: [Double], columns: Int = columns) -> [Int] {
        guard values.count > columns * 4, let low = steps.min(), let high = steps.max(), high > low
        else {
            return values.indices.filter { values[$0].isFinite }
        }
        var first = [Int](repeating: -1, count: columns)
        var last = first, least = first, most = first
        let scale = Double(columns) / (Double(high) - Double(low) + 1)
        for index in values.indices where values[index].isFinite {
            let column = min(columns - 1, Int((Double(steps[index]) - Double(low)) * scale))
            if first[column] < 0 {
                first[column] = index
                least[column] = index
                most[column] = index
            }
            if values[index] < values[least[column]] { least[column] = index }
            if values[index] > values[most[column]] { most[column] = index }
            last[column] = index
        }
        var out: [Int] = []
        for column in 0..<columns where first[column] >= 0 {
            for index in Set([first[column], least[column], most[column], last[column]]).sorted() {
                out.append(index)
            }
        }
        return out
    }

    /// The chart, or nil where no number can be drawn.
    static func svg(title: String, lines: [Line], columns: Int = columns) -> String? {
        let drawn = lines.prefix(limit).map { line in
            kept(line.steps, line.values, columns: columns).map {
                (x: Double(line.steps[$0]), y: line.values[$0])
            }
        }
        let all = drawn.flatMap(\.self)
        guard var low = all.map(\.y).min(), var high = all.map(\.y).max(),
            let left = all.map(\.x).min(), let right = all.map(\.x).max()
        else { return nil }
        let extent = (low, high)
        if lines.allSatisfy(\.isRate), low >= 0, high <= 1 {
            (low, high) = (0, 1)
        } else if low == high {
            low -= abs(low) * 0.1 + 0.5
            high += abs(high) * 0.1 + 0.5
        }
        let plotWidth = width - margin.left - margin.right
        let plotHeight = height - margin.top - margin.bottom
        func x(_ value: Double) -> Double {
            margin.left + (right > left ? (value - left) / (right - left) : 0.5) * plotWidth
        }
        func y(_ value: Double) -> Double {
            margin.top + (high - value) / (high - low) * plotHeight
        }
        func short(_ value: Double) -> String {
            let text = String(format: "%.1f", value)
            return text.hasSuffix(".0") ? String(text.dropLast(2)) : text
        }
        let count = lines.reduce(0) { $0 + $1.values.count }
        let words =
            "\(title), \(count) points from step \(Int64(left)) to \(Int64(right)), between \(Words.number(extent.0)) and \(Words.number(extent.1)). "
            + lines.prefix(8).map {
                "\($0.label.isEmpty ? "It" : $0.label) ends at \(Words.number($0.values.last ?? .nan))."
            }
            .joined(separator: " ")
        var out =
            "<svg class=\"chart\" viewBox=\"0 0 \(short(width)) \(short(height))\" role=\"img\" aria-label=\"\(HTMLText.escaped(words))\">"
        for tick in ticks(low, high) {
            out +=
                "<line class=\"grid\" x1=\"\(short(margin.left))\" x2=\"\(short(width - margin.right))\" y1=\"\(short(y(tick)))\" y2=\"\(short(y(tick)))\"/>"
            out +=
                "<text x=\"\(short(margin.left - 8))\" y=\"\(short(y(tick) + 4))\" text-anchor=\"end\">\(Words.number(tick))</text>"
        }
        for tick in ticks(left, right) where tick == tick.rounded() {
            out +=
                "<text x=\"\(short(x(tick)))\" y=\"\(short(height - 18))\" text-anchor=\"middle\">\(Words.number(tick))</text>"
        }
        out +=
            "<text x=\"\(short(width - margin.right))\" y=\"\(short(height - 2))\" text-anchor=\"end\">step</text>"
        // Those with a colour lie on top.
        for (index, points) in drawn.enumerated().reversed() where !points.isEmpty {
            let name = style(index)
            if points.count == 1 {
                out += dot(name, x(points[0].x), y(points[0].y))
                continue
            }
            out += "<path class=\"\(name)\" d=\"M"
            var previous = ""
            for point in points {
                let text = "\(short(x(point.x))) \(short(y(point.y)))"
                if text != previous { out += (previous.isEmpty ? "" : "L") + text }
                previous = text
            }
            out += "\"/>"
            // Few points are seen as points.
            if points.count <= 24, index < coloured {
                for point in points { out += dot(name, x(point.x), y(point.y)) }
            }
        }
        return out + "</svg>"
    }

    private static func dot(_ name: String, _ x: Double, _ y: Double) -> String {
        let (cx, cy) = (Words.fixed(x, 1), Words.fixed(y, 1))
        return "<circle class=\"\(name)\" cx=\"\(cx)\" cy=\"\(cy)\" r=\"2.8\"/>"
    }

    /// Round numbers between two bounds: 3 to 6 of them, steps of 1, 2 or 5.
    static func ticks(_ low: Double, _ high: Double) -> [Double] {
        guard high > low, (high - low).isFinite else { return [low] }
        let rough = (high - low) / 5
        let power = pow(10, floor(log10(rough)))
        let step = [1.0, 2, 5, 10].map { $0 * power }.first { $0 >= rough * 0.75 } ?? rough
        var ticks: [Double] = []
        var value = (low / step).rounded(.up) * step
        while value <= high * (1 + 1e-12) + step * 1e-9, ticks.count < 12 {
            // −0 and 0.30000000000000004 are no labels.
            ticks.append((value / step).rounded() * step + 0)
            value += step
        }
        return ticks
    }
}
