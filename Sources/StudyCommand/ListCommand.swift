// `study list`: the runs of a ledger, filtered and sorted.

internal import ArgumentParser
internal import Events
internal import Foundation
internal import Provenance

struct ListCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "list", abstract: "List the runs, newest first.",
        discussion: """
            A run is named by its id, by its first or last digits as long as they are unique, or by @latest. \
            Conditions look at a metric's last value or at a parameter.
            """)

    @Option(
        help: ArgumentHelp("Only studies whose path or title has this in it.", valueName: "text"))
    var study: String?

    @Option(
        help: "Only this status: running, succeeded, failed, interrupted or lost. May be repeated.")
    var status: [String] = []

    @Option(
        help: ArgumentHelp(
            "Only runs for which this holds, as 'refusal.after < 0.1'. May be repeated.",
            valueName: "condition"))
    var `where`: [String] = []

    @Option(
        help: ArgumentHelp(
            "Only runs since a day, an hour, or a span ago: 2026-11-21, 2h, 3d.", valueName: "time")
    )
    var since: String?

    @Option(
        help: ArgumentHelp("Sort by began, duration, study, status, or a metric.", valueName: "key")
    )
    var sort = "began"

    @Flag(help: "The other way round.")
    var reverse = false

    @Option(help: "At most so many runs; 0 for all.")
    var limit = 50

    @Option(help: "table, csv or jsonl.")
    var format = "table"

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        guard ["table", "csv", "jsonl"].contains(format) else {
            throw ValidationError("--format is table, csv or jsonl, not '\(format)'.")
        }
    }

    func run() throws {
        try options.reporting {
            let filter = try filter()
            let (runs, total) = try options.openForReading().list(filter)
            switch format {
            case "csv": printAll(Self.csv(runs))
            case "jsonl": printAll(runs.map { $0.json + "\n" }.joined())
            default: if !options.json { printAll(table(runs, total)) }
            }
            if options.json {
                let list = runs.map(\.json).joined(separator: ",")
                printAll("{\"runs\":[\(list)],\"total\":\(total)}\n")
            }
        }
    }

    private func filter() throws -> RunFilter {
        var filter = RunFilter()
        filter.study = study
        filter.statuses = try Set(
            status.map { text in
                guard let status = RunStatus(rawValue: text) else {
                    throw ProvenanceError(
                        .badFilter, "There is no status '\(text)'.",
                        mend: "one of " + RunStatus.allCases.map(\.rawValue).joined(separator: ", ")
                    )
                }
                return status
            })
        filter.conditions = try `where`.map { try RunCondition($0) }
        filter.since = try since.map { try Self.moment($0, now: .now) }
        if let order = RunFilter.Order(rawValue: sort) {
            filter.order = order
        } else {
            filter.orderMetric = sort
        }
        filter.isReversed = reverse
        filter.limit = limit > 0 ? limit : nil
        return filter
    }

    /// A day ("2026-11-21"), a moment ("2026-11-21T08:00"), or a span back from now ("30m", "2h", "3d"),
    /// in UTC.
    static func moment(_ text: String, now: Timestamp) throws -> Timestamp {
        let spans: [Character: Double] = ["m": 60, "h": 3600, "d": 86400, "w": 604_800]
        if let unit = text.last.flatMap({ spans[$0] }), let count = Int64(text.dropLast()) {
            return moment(seconds: Double(now.nanoseconds) * 1e-9 - Double(count) * unit)
        }
        let format = DateFormatter()
        format.timeZone = TimeZone(identifier: "UTC")
        format.locale = Locale(identifier: "en_US_POSIX")
        for pattern in [
            "yyyy-MM-dd", "yyyy-MM-dd'T'HH:mm", "yyyy-MM-dd HH:mm", "yyyy-MM-dd'T'HH:mm:ss",
        ] {
            format.dateFormat = pattern
            if let date = format.date(from: text) {
                return moment(seconds: date.timeIntervalSince1970)
            }
        }
        throw ProvenanceError(
            .badFilter, "'\(text)' is no time.",
            mend: "write 2026-11-21, 2026-11-21T08:00, 30m, 2h, 3d or 1w")
    }

    /// Nanoseconds since 1970 reach from 1677 to 2262; what lies beyond is as good as the end.
    private static func moment(seconds: Double) -> Timestamp {
        let limit = 9_223_372_036.0
        return Timestamp(nanoseconds: Int64(min(max(seconds, -limit), limit) * 1e9))
    }

    private func table(_ runs: [RunSummary], _ total: Int) -> String {
        if runs.isEmpty {
            return total == 0 && study == nil && status.isEmpty && `where`.isEmpty
                ? "No run yet. `study run FILE.md` makes the first.\n" : "No run fits.\n"
        }
        let more =
            total > runs.count ? "… and \(total - runs.count) more (--limit 0 for all)\n" : ""
        return RunTable(runs, width: terminalWidth()).text + more
    }

    private static func csv(_ runs: [RunSummary]) -> String {
        CSV.line([
            "id", "began", "ended", "status", "study", "commit", "dirty", "seed", "replay_of",
            "metrics",
        ])
            + runs.map { run in
                CSV.line([
                    run.id, run.began.iso8601, run.ended?.iso8601 ?? "", run.status.rawValue,
                    run.study,
                    run.commit ?? "", "\(run.isDirty)", run.seed, run.replayOf ?? "", run.headline,
                ])
            }.joined()
    }
}

/// RFC 4180.
enum CSV {
    static func line(_ fields: [String]) -> String {
        fields.map { field in
            field.utf8.contains { [0x2C, 0x22, 0x0A, 0x0D].contains($0) }
                ? "\"" + field.replacing("\"", with: "\"\"") + "\"" : field
        }.joined(separator: ",") + "\r\n"
    }
}
