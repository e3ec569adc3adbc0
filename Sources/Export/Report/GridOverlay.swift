// One grid of colours of several runs as one picture: beside each other on one scale, since colours cannot
// lie over each other; of two runs, the difference as well.

internal import Foundation

struct GridOverlay {
    /// As gnuplot reads it, without a title.
    let script: String
    /// What the difference shows, in words; empty where there is none.
    let words: String
    /// What the picture needs at the usual width.
    let height: Int

    private struct Grid {
        var run: String
        var label: String
        var x: [Double]
        var y: [Double]
        var values: [[Double]]

        init?(_ run: String, _ data: JSON) {
            guard let grid = data[key: "grid"], let x = grid[key: "x"]?.array,
                let y = grid[key: "y"]?.array, let rows = grid[key: "values"]?.array,
                rows.count == y.count, !x.isEmpty,
                rows.allSatisfy({ $0.array?.count == x.count })
            else { return nil }
            self.run = run
            label = grid[key: "label"]?.string ?? ""
            self.x = x.map(FigureOverlay.value)
            self.y = y.map(FigureOverlay.value)
            values = rows.map { ($0.array ?? []).map(FigureOverlay.value) }
        }

        var range: (low: Double, high: Double)? {
            let all = values.joined().filter(\.isFinite)
            guard let low = all.min(), let high = all.max() else { return nil }
            return (low, high)
        }
    }

    /// - Parameter axes: Statements that every panel takes over.
    /// - Returns: Nil where one of the figures has no grid, or has no number in it.
    init?(_ figures: [(run: String, data: JSON)], axes: [String]) {
        let grids = figures.compactMap { Grid($0.run, $0.data) }
        let ranges = grids.compactMap(\.range)
        guard grids.count == figures.count, ranges.count == grids.count, grids.count < 7 else {
            return nil
        }
        let low = ranges.map(\.low).min()!
        let high = ranges.map(\.high).max()!
        var lines = axes
        lines += ["set border 3", "set tics nomirror", "set key off", "set autoscale noextend"]
        for (index, grid) in grids.enumerated() { lines += Self.block("$grid\(index)", grid) }
        var difference: Grid?
        if grids.count == 2, grids[0].x == grids[1].x, grids[0].y == grids[1].y {
            difference = grids[1]
            difference!.values = zip(grids[0].values, grids[1].values).map { a, b in
                zip(a, b).map { $1 - $0 }
            }
            lines += Self.block("$difference", difference!)
        }
        let panels = grids.count + (difference == nil ? 0 : 1)
        let rows = (panels + 1) / 2
        height = 40 + 220 * rows
        lines.append("set multiplot layout \(rows),2")
        lines.append("set palette defined (0 '#b2182b', 0.5 '#f7f7f7', 1 '#2166ac')")
        lines.append("set cbrange [\(low):\(high > low ? high : low + 1)]")
        lines.append("set cblabel \(FigureOverlay.quoted(grids[0].label))")
        for (index, grid) in grids.enumerated() {
            lines.append("set title \(FigureOverlay.quoted("run " + grid.run))")
            lines.append("plot $grid\(index) using 1:2:3 with image notitle")
        }
        if let difference, let range = difference.range {
            let most = max(abs(range.low), abs(range.high))
            lines.append("set palette defined (0 '#762a83', 0.5 '#f7f7f7', 1 '#1b7837')")
            lines.append("set cbrange [\(-(most > 0 ? most : 1)):\(most > 0 ? most : 1)]")
            lines.append("set cblabel 'difference'")
            lines.append(
                "set title \(FigureOverlay.quoted("\(grids[1].run) less \(grids[0].run)"))")
            lines.append("plot $difference using 1:2:3 with image notitle")
            words =
                "\(grids[1].run) less \(grids[0].run): between \(Words.number(range.low)) and \(Words.number(range.high))."
        } else {
            words = ""
        }
        lines.append("unset multiplot")
        script = lines.joined(separator: "\n") + "\n"
    }

    private static func block(_ name: String, _ grid: Grid) -> [String] {
        var lines = ["\(name) << EOD"]
        for (y, row) in zip(grid.y, grid.values) {
            lines += zip(grid.x, row).map { "\($0) \(y) \($1.isFinite ? "\($1)" : "NaN")" }
            lines.append("")
        }
        return lines + ["EOD"]
    }
}
