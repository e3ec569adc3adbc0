// How a list of runs looks: a table that fits the window it is shown in, and JSON. Ten thousand runs are
// written in some hundredths of a second, so both go straight into text.

internal import Events
internal import Export
internal import Foundation
internal import Provenance

/// The table of `study list`.
struct RunTable {
    /// What is left out, one after the other, until the metrics have room.
    private enum Layout: CaseIterable { case full, shortTime, shortName, noCommit }

    private let runs: [RunSummary]
    private let width: Int?
    /// Columns that the metrics get before anything else is left out for their sake.
    private static let metricsRoom = 30

    /// - Parameter width: The window's columns; nil where there is no window, and nothing is cut.
    init(_ runs: [RunSummary], width: Int?) {
        self.runs = runs
        self.width = width
    }

    var text: String {
        guard let width else { return table(.full).text }
        let wanted = runs.map { TextTable.width($0.headline) }.max() ?? 0
        var table = TextTable(head: [])
        for layout in Layout.allCases {
            table = self.table(layout)
            let room = width - table.widths.dropLast().reduce(0) { $0 + $1 + 2 }
            if room >= min(max(wanted, 7), Self.metricsRoom) || layout == .noCommit {
                table.cutLastColumn(to: max(room, 7))
                break
            }
        }
        return table.text
    }

    private func table(_ layout: Layout) -> TextTable {
        var table = TextTable(head: ["RUN", "BEGAN (UTC)", "STATUS", "TOOK", "STUDY"])
        if layout != .noCommit { table.head.append("COMMIT") }
        table.head.append("METRICS")
        let hasShortTime = layout != .full
        let hasShortName = layout == .shortName || layout == .noCommit
        for run in runs {
            // Month to minute; the year is in the id, in --json and in --format csv.
            let began = run.began.text
            let study = hasShortName ? run.study.split(separator: "/").last.map(String.init) : nil
            var row = [
                run.shortID, hasShortTime ? String(began.dropFirst(5).dropLast(3)) : began,
                run.status.rawValue + (run.replayOf == nil ? "" : ", replay"),
                span(run.began, run.ended), study ?? run.study,
            ]
            if layout != .noCommit {
                let commit =
                    run.commit.map { String($0.prefix(8)) } ?? (run.isDirty ? "none" : "no git")
                row.append(commit + (run.isDirty ? "+" : ""))
            }
            row.append(run.headline)
            table.rows.append(row)
        }
        return table
    }
}

/// Rows under a head, columns as wide as their widest text.
struct TextTable {
    var head: [String]
    var rows: [[String]] = []

    /// Characters; quick where a text is plain ASCII.
    static func width(_ text: String) -> Int {
        let bytes = text.utf8
        // A carriage return and a newline are one character.
        return bytes.allSatisfy { $0 < 0x80 && $0 != 0x0D } ? bytes.count : text.count
    }

    var widths: [Int] {
        var widths = head.map(Self.width)
        for row in rows {
            for (place, text) in row.enumerated() {
                widths[place] = max(widths[place], Self.width(text))
            }
        }
        return widths
    }

    mutating func cutLastColumn(to width: Int) {
        guard let last = head.indices.last else { return }
        for place in rows.indices where Self.width(rows[place][last]) > width {
            rows[place][last] = rows[place][last].prefix(width - 1) + "…"
        }
    }

    var text: String {
        let widths = widths
        let blanks = String(repeating: " ", count: (widths.max() ?? 0) + 2)
        var result = ""
        result.reserveCapacity((rows.count + 1) * widths.reduce(0) { $0 + $1 + 2 })
        for row in [head] + rows {
            for (place, text) in row.enumerated() {
                result += text
                // The last column needs no blanks after it.
                if place + 1 < row.count {
                    let missing = widths[place] - Self.width(text) + 2
                    result.append(contentsOf: Substring(blanks.utf8.prefix(missing)))
                }
            }
            result += "\n"
        }
        return result
    }
}

/// The columns of the window that standard output goes to; nil where it goes elsewhere.
func terminalWidth() -> Int? {
    guard isatty(1) == 1 else { return nil }
    var size = winsize()
    return ioctl(1, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 0 ? Int(size.ws_col) : 80
}

extension RunSummary {
    /// One JSON object, keys in order.
    var json: String {
        var text = "{"
        func add(_ name: String, _ value: String) {
            text += text.utf8.count == 1 ? "\"" : ",\""
            text += name
            text += "\":"
            text += value
        }
        add("began", JSON.quoted(began.iso8601))
        if let commit { add("commit", JSON.quoted(commit)) }
        add("dirty", isDirty ? "true" : "false")
        if let ended { add("ended", JSON.quoted(ended.iso8601)) }
        add("id", JSON.quoted(id))
        add("metrics", JSON.quoted(headline))
        if let replayOf { add("replay_of", JSON.quoted(replayOf)) }
        add("seed", JSON.quoted(seed))
        add("status", JSON.quoted(status.rawValue))
        add("study", JSON.quoted(study))
        add("title", JSON.quoted(title))
        text += "}"
        return text
    }
}
