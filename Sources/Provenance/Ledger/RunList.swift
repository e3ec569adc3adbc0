// Many runs at a glance: filtered, sorted, without reading a single point.

package import Events

internal import Foundation
internal import GRDB

/// One line of `study list`.
package struct RunSummary: Sendable, Hashable {
    package var id: String
    package var study: String
    package var title: String
    package var status: RunStatus
    package var began: Timestamp
    package var ended: Timestamp?
    package var commit: String?
    package var isDirty: Bool
    package var seed: String
    package var replayOf: String?
    package var isImported: Bool
    /// Up to three last values.
    package var headline: String

    /// The last eight digits of the id, which alone name the run.
    package var shortID: String { id.split(separator: "-").last.map(String.init) ?? id }
}

/// A condition on a run's last values or parameters, as `refusal.after < 0.1`.
package struct RunCondition: Sendable, Hashable {
    package enum Comparison: String, Sendable, CaseIterable {
        case lessOrEqual = "<=", greaterOrEqual = ">=", notEqual = "!=", equal = "=", less = "<",
            greater = ">"
    }

    /// A metric, a metric and its arm ("refusal.after", "refusal[after]"), or a parameter.
    package var name: String
    package var comparison: Comparison
    package var value: String

    /// - Throws: ``ProvenanceError`` with reason `.badFilter`.
    package init(_ text: String) throws {
        for comparison in Comparison.allCases {
            guard let place = text.range(of: comparison.rawValue) else { continue }
            name = text[..<place.lowerBound].trimmingCharacters(in: .whitespaces)
            var rest = text[place.upperBound...]
            if comparison == .equal, rest.hasPrefix("=") { rest = rest.dropFirst() }
            value = rest.trimmingCharacters(in: .whitespaces)
            self.comparison = comparison
            if !name.isEmpty, !value.isEmpty { return }
            break
        }
        throw ProvenanceError(
            .badFilter, "'\(text)' is no condition.",
            mend: "write a name, one of < <= > >= = !=, and a value, "
                + "as in --where 'refusal.after < 0.1'")
    }

    /// SQL over `r` (the run), with its arguments.
    var sql: (String, StatementArguments) {
        let op = comparison == .notEqual ? "<>" : comparison.rawValue
        let parameter = """
            EXISTS (SELECT 1 FROM parameter p WHERE p.run = r.number AND p.name = ?
                AND \(Double(value) == nil ? "p.value" : "CAST(p.value AS REAL)") \(op) ?)
            """
        guard let number = Double(value) else { return (parameter, [name, value]) }
        let series = SeriesName(name)
        // From the index by name to the runs: a look at each run's series costs four times as much.
        let metric =
            "r.number IN (SELECT run FROM series WHERE \(series.sql) AND last_value \(op) ?)"
        return (
            "(\(metric) OR \(parameter))", series.arguments + [number] + [name, number]
        )
    }
}

/// What people may mean by a metric's name: the metric, or the metric and its arm as "refusal.after" or
/// "refusal[after]".
private struct SeriesName {
    /// SQL over `series`.
    var sql = "(name = ?"
    var arguments: StatementArguments

    init(_ text: String) {
        arguments = [text]
        var pairs: [(Substring, Substring)] = []
        for dot in text.indices where text[dot] == "." {
            pairs.append((text[..<dot], text[text.index(after: dot)...]))
        }
        if text.hasSuffix("]") {
            for bracket in text.indices where text[bracket] == "[" {
                pairs.append((text[..<bracket], text[text.index(after: bracket)...].dropLast()))
            }
        }
        for (name, arm) in pairs {
            sql += " OR name = ? AND arm = ?"
            arguments += [String(name), String(arm)]
        }
        sql += ")"
    }
}

/// Which runs, in which order.
package struct RunFilter: Sendable {
    package enum Order: String, Sendable, CaseIterable { case began, duration, study, status }

    /// A part of the study's path or title.
    package var study: String?
    package var statuses: Set<RunStatus> = []
    package var conditions: [RunCondition] = []
    package var since: Timestamp?
    package var order = Order.began
    /// A metric by whose last value to sort, instead.
    package var orderMetric: String?
    package var isReversed = false
    package var limit: Int?

    package init() {}
}

extension Ledger {
    /// The runs that pass, newest first unless the filter says otherwise, and how many there are in all.
    package func list(_ filter: RunFilter = RunFilter()) throws -> (runs: [RunSummary], total: Int)
    {
        var conditions: [String] = []
        var arguments = StatementArguments()
        if let study = filter.study {
            conditions.append("(instr(r.study, ?) > 0 OR instr(r.title, ?) > 0)")
            arguments += [study, study]
        }
        if let since = filter.since {
            conditions.append("r.began >= ?")
            arguments += [since.nanoseconds]
        }
        for condition in filter.conditions {
            let (sql, values) = condition.sql
            conditions.append(sql)
            arguments += values
        }
        // A run without seal may be running or lost: SQL cannot tell, so those two are told apart below.
        let unsealed = filter.statuses.contains(.running) || filter.statuses.contains(.lost)
        if !filter.statuses.isEmpty {
            let names = filter.statuses.map { "'\($0.rawValue)'" }.joined(separator: ", ")
            conditions.append("(s.status IN (\(names))\(unsealed ? " OR s.status IS NULL" : ""))")
        }
        // The runs that pass are found once, for their number and for the list.
        let tables = "FROM run r LEFT JOIN seal s ON s.run = r.number"
        var common: [String] = []
        if !conditions.isEmpty {
            common.append(
                "hit(number) AS MATERIALIZED (SELECT r.number \(tables) WHERE \(conditions.joined(separator: " AND ")))"
            )
        }
        let direction = filter.isReversed ? ("ASC", "DESC") : ("DESC", "ASC")
        var order: String
        switch filter.order {
        case .began: order = "r.began \(direction.0), r.number \(direction.0)"
        case .duration: order = "s.ended - r.began \(direction.0), r.number DESC"
        case .study: order = "r.study \(direction.1), r.number DESC"
        case .status: order = "s.status \(direction.1), r.number DESC"
        }
        var measured = ""
        if let metric = filter.orderMetric.map({ SeriesName($0) }) {
            // Of each run the series that came last: SQLite takes the other columns from the row with the maximum.
            common.append(
                "measured(run, value, newest) AS MATERIALIZED (SELECT run, last_value, max(id) FROM series WHERE \(metric.sql) GROUP BY run)"
            )
            arguments += metric.arguments
            measured = "LEFT JOIN measured m ON m.run = r.number"
            order = "m.value \(direction.1) NULLS LAST, r.number DESC"
        }
        let with = common.isEmpty ? "" : "WITH " + common.joined(separator: ", ")
        let source =
            conditions.isEmpty
            ? tables
            : "FROM hit JOIN run r ON r.number = hit.number LEFT JOIN seal s ON s.run = r.number"
        let counted = "(SELECT count(*) FROM \(conditions.isEmpty ? "run" : "hit"))"
        // What SQL cannot judge must not be cut off by its LIMIT.
        let limit =
            unsealed && !(filter.statuses.contains(.running) && filter.statuses.contains(.lost))
            ? nil : filter.limit
        return try read { db in
            let cursor = try Row.fetchCursor(
                db,
                sql: """
                    \(with) SELECT r.number, r.id, r.study, r.title, s.status, r.began, s.ended, r.commit_id,
                        r.snapshot IS NOT NULL, r.seed, r.replay_of, r.imported IS NOT NULL, s.headline,
                        \(counted)
                    \(source) \(measured) ORDER BY \(order) LIMIT \(limit ?? -1)
                    """, arguments: arguments)
            var runs: [RunSummary] = []
            var hidden = 0
            // Without a row there is nothing to count: no list is asked for with a limit of nought.
            var total = 0
            while let row = try cursor.next() {
                total = row[13]
                let sealed: String? = row[4]
                let status =
                    try sealed.flatMap(RunStatus.init) ?? Self.unsealedStatus(db, run: row[0])
                if !filter.statuses.isEmpty, !filter.statuses.contains(status) {
                    hidden += 1
                    continue
                }
                if let limit = filter.limit, runs.count >= limit { continue }
                runs.append(
                    RunSummary(
                        id: row[1], study: row[2], title: row[3], status: status,
                        began: Timestamp(nanoseconds: row[5]),
                        ended: (row[6] as Int64?).map { Timestamp(nanoseconds: $0) },
                        commit: row[7],
                        isDirty: row[8], seed: row[9], replayOf: row[10], isImported: row[11],
                        headline: try row[12] ?? Provenance.Seal.headline(db, run: row[0])))
            }
            return (runs, total - hidden)
        }
    }

    /// The status of a run that has no seal.
    static func unsealedStatus(_ db: Database, run: Int64) throws -> RunStatus {
        guard
            let row = try Row.fetchOne(
                db,
                sql:
                    "SELECT pid, start_ticks, boot_id, namespace, heartbeat FROM process WHERE run = ?",
                arguments: [run])
        else { return .lost }
        return derivedStatus(
            sealed: nil,
            process: ProcessIdentity(
                processID: row[0], startTicks: row[1], bootID: row[2], namespace: row[3]),
            heartbeat: row[4])
    }
}
