// A metric in the terminal, in 80 columns and without any program: courses in braille dots (2 × 4 to a
// character), single numbers as a table with bars.

internal import Events
internal import Foundation
internal import Provenance

enum SeriesDrawing {
    /// A course: neighbouring points are joined, and a gap stays where a value is no finite number.
    /// - Parameters:
    ///   - width: Characters of the plot itself; labels take up to 13 more.
    ///   - height: Lines of the plot itself.
    static func text(
        _ series: RunRecord.Series, _ points: [RunRecord.Point], width: Int = 64, height: Int = 12
    ) -> String {
        let count = series.count == 1 ? "1 value" : "\(series.count) values"
        let head = "\(series.label)  \(count), last \(shortNumber(series.last))\n"
        let finite = points.filter(\.value.isFinite)
        guard finite.count > 1, let low = finite.map(\.value).min(),
            let high = finite.map(\.value).max()
        else { return head }
        let hasSteps = finite[0].step >= 0
        let first = hasSteps ? finite.map(\.step).min()! : 0
        let last = hasSteps ? finite.map(\.step).max()! : Int64(points.count - 1)
        var canvas = Canvas(width: width, height: height)
        var previous: (x: Int, y: Int)?
        for (place, point) in points.enumerated() {
            guard point.value.isFinite else {
                previous = nil
                continue
            }
            let step = hasSteps ? point.step : Int64(place)
            let span = Double(last) - Double(first)
            let across = span > 0 ? (Double(step) - Double(first)) / span : 0
            // Halves: the difference of the largest doubles is no finite number.
            let up = high == low ? 0.5 : (point.value / 2 - low / 2) / (high / 2 - low / 2)
            let dot = (
                x: Int((across * Double(width * 2 - 1)).rounded()),
                y: Int(((1 - up) * Double(height * 4 - 1)).rounded())
            )
            canvas.line(from: previous ?? dot, to: dot)
            previous = dot
        }
        let labels = [
            0: shortNumber(high), height - 1: shortNumber(low),
            height / 2: height > 8 && high > low ? shortNumber(low / 2 + high / 2) : "",
        ]
        let margin = labels.values.map(\.count).max()!
        var text = head
        for (row, line) in canvas.lines.enumerated() {
            let label = labels[row] ?? ""
            text += String(repeating: " ", count: margin - label.count) + label
            text += (label.isEmpty ? " │" : " ┤") + line + "\n"
        }
        text +=
            String(repeating: " ", count: margin + 1) + "└"
            + String(repeating: "─", count: width) + "\n"
        let (left, right) = ("\(first)", "\(last)")
        let name = hasSteps ? "step" : "value"
        let gap = max(1, width - left.count - right.count)
        return text + String(repeating: " ", count: margin + 2) + left
            + String(repeating: " ", count: gap) + right + "  " + name + "\n"
    }

    /// Numbers of one metric, an arm a line, with a bar from nought to the largest.
    static func table(_ series: [RunRecord.Series]) -> String {
        let arms = series.map { $0.arm.isEmpty ? "(no arm)" : $0.arm }
        let values = series.map { shortNumber($0.last) }
        let rates = series.map { $0.proportions[$0.count - 1] }
        let counts = rates.map { $0.map { "\($0.count) of \($0.total)" } ?? "" }
        let judges = Set(rates.compactMap { $0?.judge }).sorted()
        let finite = series.map(\.last).filter(\.isFinite)
        let isRate = !judges.isEmpty && finite.allSatisfy { (0...1).contains($0) }
        let most = isRate ? 1 : finite.max() ?? 0
        // A bar means something where nothing is below nought.
        let hasBars = most > 0 && finite.allSatisfy { $0 >= 0 }
        let armWidth = min(arms.map(\.count).max() ?? 0, 32)
        let valueWidth = values.map(\.count).max() ?? 0
        let countWidth = counts.map(\.count).max() ?? 0
        let barWidth = max(8, min(24, 78 - armWidth - valueWidth - countWidth - 6))
        var text = "\(series[0].name)  \(series.count) arms"
        if judges.count == 1, !judges[0].isEmpty { text += ", judged by \(judges[0])" }
        text += "\n"
        for (place, one) in series.enumerated() {
            let arm =
                arms[place].count > armWidth
                ? arms[place].prefix(armWidth - 1) + "…" : arms[place][...]
            var line = arm + String(repeating: " ", count: armWidth - arm.count + 2)
            line +=
                String(repeating: " ", count: valueWidth - values[place].count) + values[place]
            if countWidth > 0 {
                line +=
                    String(repeating: " ", count: countWidth - counts[place].count + 2)
                    + counts[place]
            }
            if hasBars, one.last.isFinite {
                line += "  " + bar(one.last / most, barWidth)
            }
            text += "  " + line + "\n"
        }
        return text
    }

    /// In eighths of a character.
    private static func bar(_ share: Double, _ width: Int) -> String {
        let eighths = Int((min(max(share, 0), 1) * Double(width * 8)).rounded())
        let rest = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8]
        return String(repeating: "█", count: eighths / 8) + rest
    }

    /// Dots in characters of two by four.
    private struct Canvas {
        private let width: Int
        private var dots: [[UInt8]]
        /// Bits of U+2800 for the dot in column x, row y of a character.
        private static let bits: [[UInt8]] = [[0x01, 0x02, 0x04, 0x40], [0x08, 0x10, 0x20, 0x80]]

        init(width: Int, height: Int) {
            self.width = width
            dots = [[UInt8]](repeating: [UInt8](repeating: 0, count: width), count: height)
        }

        mutating func line(from a: (x: Int, y: Int), to b: (x: Int, y: Int)) {
            let steps = max(abs(b.x - a.x), abs(b.y - a.y), 1)
            for step in 0...steps {
                let share = Double(step) / Double(steps)
                let x = a.x + Int((Double(b.x - a.x) * share).rounded())
                let y = a.y + Int((Double(b.y - a.y) * share).rounded())
                dots[y / 4][x / 2] |= Self.bits[x % 2][y % 4]
            }
        }

        /// Without blanks at their ends.
        var lines: [String] {
            dots.map { row in
                let end = row.lastIndex { $0 != 0 }.map { $0 + 1 } ?? 0
                return String(
                    String.UnicodeScalarView(
                        row[..<end].map { Unicode.Scalar(0x2800 + UInt32($0))! }))
            }
        }
    }
}
