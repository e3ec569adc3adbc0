// The end of a run: its status, and a hash over all its rows, after which the triggers of
// Migrations.swift let nobody change them.

internal import Events
internal import Foundation
internal import GRDB
internal import GRDBSQLite
internal import Synchronization

/// How a run stands. Only `running` is ever derived from a live process; the others are written down,
/// except `lost`, which is what a run without seal is when its process is gone.
package enum RunStatus: String, Sendable, Hashable, CaseIterable {
    case running, succeeded, failed, interrupted, lost
}

/// Why a run did not succeed, as the recorder knows it.
package struct RunFailure: Sendable, Hashable {
    package var cell: Int
    /// "thrown", "trap", "signal", "timeout", "memory", "exit", "input", …
    package var reason: String
    package var message: String
    package var line: Int
    package var column: Int
    package init(cell: Int, reason: String, message: String, line: Int = 0, column: Int = 0) {
        self.cell = cell
        self.reason = reason
        self.message = message
        self.line = line
        self.column = column
    }
}

extension RunFailure {
    /// What the kernel said, without a line: those the recorder finds out.
    init(_ record: FailureRecord) {
        self.init(cell: record.cell, reason: record.reason.rawValue, message: record.message)
    }
}

/// How a run was sealed.
package struct SealedRun: Sendable, Hashable {
    package var status: RunStatus
    package var sha256: String
    /// What was found wrong while sealing, as an input that had changed.
    package var failure: RunFailure?
}

extension RunWriter {
    /// Ends the run: writes what is left, checks that no input changed, hashes all rows, syncs.
    ///
    /// A run that succeeded while one of its inputs changed is sealed as failed: it did not read what
    /// it has on record. Sealing twice does nothing.
    @discardableResult
    package func seal(_ status: RunStatus, failure: RunFailure? = nil) throws -> SealedRun {
        stopClock()
        let (inputs, alreadySealed) = state.withLock { ($0.inputs, $0.sealed) }
        if alreadySealed { return SealedRun(status: status, sha256: "", failure: nil) }
        let changed = changedInputs(inputs)
        return try state.withLock { state in
            var failure = failure ?? state.kernelFailure.map { RunFailure($0) }
            var status = status
            if let first = changed.first, status == .succeeded {
                status = .failed
                failure = RunFailure(
                    cell: first.cell, reason: "input",
                    message: "\(first.written) changed while the run went on: sha256 "
                        + "\(short(first.sha256)) read, \(short(first.changed ?? "")) at the end")
            }
            if state.broken == nil {
                if let failure {
                    state.events.append(.failure(failure))
                }
                try write(&state)
            }
            let known: [Int64: String]? =
                state.broken == nil
                ? Dictionary(
                    uniqueKeysWithValues: state.open.indices.map {
                        (state.open[$0].row, state.open[$0].hasher.digest())
                    }) : nil
            let time = self.time()
            let sha256 = try ledger.write { db in
                for input in changed {
                    try db.execute(
                        sql:
                            "UPDATE input SET changed = ? WHERE run = ? AND written = ? AND sha256 = ?",
                        arguments: [input.changed, number, input.written, input.sha256])
                }
                if state.broken != nil, let failure {
                    let ordinal = try Int64.fetchOne(
                        db, sql: "SELECT count(*) FROM failure WHERE run = ?", arguments: [number])
                    try db.execute(
                        sql: "INSERT INTO failure VALUES (?, ?, ?, ?, ?, ?, ?)",
                        arguments: [
                            number, ordinal, failure.cell, failure.reason, failure.message,
                            failure.line,
                            failure.column,
                        ])
                }
                return try Seal.write(
                    db, run: number, status: status, ended: time, knownSeries: known,
                    headline: headline)
            }
            state.sealed = true
            try ledger.synchronize()
            return SealedRun(status: status, sha256: sha256, failure: failure)
        }
    }
}

enum Seal {
    /// Writes the seal; the run's rows are read-only from here on.
    static func write(
        _ db: Database, run: Int64, status: RunStatus, ended: Int64,
        knownSeries: [Int64: String]? = nil, headline names: [String] = []
    ) throws -> String {
        // What was pending or running stays so: the record says how far it came.
        let headline = try headline(db, run: run, names: names)
        let sha256 = try digest(
            db, run: run, status: status.rawValue, ended: ended, knownSeries: knownSeries)
        try db.execute(sql: "UPDATE series SET sealed = 1 WHERE run = ?", arguments: [run])
        try db.execute(
            sql: "INSERT INTO seal VALUES (?, ?, ?, ?, ?)",
            arguments: [run, status.rawValue, ended, sha256, headline])
        return sha256
    }

    /// The last values that `study list` shows, at most three: those that the study names, else rates
    /// before single numbers before series, of each name the last.
    static func headline(_ db: Database, run: Int64, names: [String] = []) throws -> String {
        struct Candidate {
            var name: String
            var arm: String
            var value: Double
            var rank: Int
            var label: String { arm.isEmpty ? name : "\(name)[\(arm)]" }
        }
        // Newest first.
        let all = try Row.fetchAll(
            db,
            sql: """
                SELECT name, arm, last_value, CASE
                    WHEN EXISTS (SELECT 1 FROM proportion p WHERE p.series = s.id) THEN 0
                    WHEN last_step < 0 THEN 1 WHEN name <> 'gradient norm' THEN 2 ELSE 3 END
                FROM series s WHERE run = ? ORDER BY id DESC
                """, arguments: [run]
        ).map { Candidate(name: $0[0], arm: $0[1], value: $0[2] ?? .nan, rank: $0[3]) }
        var chosen: [Candidate] = []
        for name in names {
            if let found = all.first(where: {
                [$0.name, $0.label, "\($0.name).\($0.arm)"].contains(name)
            }) {
                chosen.append(found)
            }
        }
        if chosen.isEmpty {
            for rank in 0...3 {
                for candidate in all
                where candidate.rank == rank && chosen.count < 3
                    && !chosen.contains(where: { $0.name == candidate.name })
                {
                    chosen.append(candidate)
                }
            }
        }
        return chosen.prefix(3).map { candidate in
            let label = candidate.label
            return
                "\(label.count > 32 ? label.prefix(31) + "…" : label) \(shortNumber(candidate.value))"
        }.joined(separator: "  ")
    }

    /// The tables under the seal, and their columns without the numbers that differ from ledger to
    /// ledger. New tables go to `laterTables`.
    private static let tables: [(name: String, sql: String)] = [
        (
            "run",
            """
            SELECT id, study, title, source, seed, tier, threads, command, release, began, commit_id,
                branch, remote, snapshot, replay_of FROM run WHERE number = ?
            """
        ),
        (
            "parameter",
            "SELECT ordinal, name, type, value FROM parameter WHERE run = ? ORDER BY ordinal"
        ),
        (
            "tolerance",
            """
            SELECT ordinal, metric, absolute, relative, ulps, seeds FROM tolerance WHERE run = ?
            ORDER BY ordinal
            """
        ),
        (
            "environment",
            "SELECT ordinal, name, value FROM environment WHERE run = ? ORDER BY ordinal"
        ),
        ("change", "SELECT ordinal, path, kind FROM change WHERE run = ? ORDER BY ordinal"),
        (
            "omission",
            "SELECT ordinal, path, size, reason FROM omission WHERE run = ? ORDER BY ordinal"
        ),
        (
            "cell",
            """
            SELECT cell, id, first_line, last_line, sha256, began, ended, state FROM cell
            WHERE run = ? ORDER BY cell
            """
        ),
        (
            "output",
            "SELECT ordinal, cell, stream, bytes FROM output WHERE run = ? ORDER BY ordinal"
        ),
        (
            "proportion",
            """
            SELECT s.cell, s.name, s.arm, p.ordinal, p.count, p.total, p.judge
            FROM proportion p JOIN series s ON s.id = p.series WHERE s.run = ?
            ORDER BY s.cell, s.name, s.arm, p.ordinal
            """
        ),
        (
            "claim",
            "SELECT ordinal, cell, text, holds, evidence FROM claim WHERE run = ? ORDER BY ordinal"
        ),
        ("inline_value", "SELECT position, text FROM inline_value WHERE run = ? ORDER BY position"),
        (
            "artifact",
            """
            SELECT ordinal, cell, name, media_type, kind, sha256, size, is_folder FROM artifact
            WHERE run = ? ORDER BY ordinal
            """
        ),
        (
            "artifact_file",
            """
            SELECT artifact, path, sha256, size, is_executable FROM artifact_file WHERE run = ?
            ORDER BY artifact, path
            """
        ),
        (
            "figure",
            """
            SELECT ordinal, cell, title, alternative_text, script, data FROM figure WHERE run = ?
            ORDER BY ordinal
            """
        ),
        (
            "item",
            """
            SELECT ordinal, cell, evaluation, arm, position, prompt, answer, judge, label, restricted
            FROM item WHERE run = ? ORDER BY ordinal
            """
        ),
        (
            "input",
            """
            SELECT ordinal, cell, written, path, kind, sha256, size, is_folder, tracking, is_stored,
                changed FROM input WHERE run = ? ORDER BY ordinal
            """
        ),
        (
            "input_file",
            "SELECT input, path, sha256, size FROM input_file WHERE run = ? ORDER BY input, path"
        ),
        ("stream", "SELECT name, draws FROM stream WHERE run = ? ORDER BY name"),
        (
            "digest",
            "SELECT ordinal, cell, series, step, digest FROM digest WHERE run = ? ORDER BY ordinal"
        ),
        (
            "failure",
            """
            SELECT ordinal, cell, reason, message, line, column_number FROM failure WHERE run = ?
            ORDER BY ordinal
            """
        ),
    ]

    /// Tables of later versions: hashed where they hold a row, so that the seals of runs from before stay what they are.
    private static let laterTables: [(name: String, sql: String)] = [
        ("content_key", "SELECT key FROM content_key WHERE run = ?"),
        (
            "upstream",
            """
            SELECT ordinal, name, study, artifact, producer, key, sha256, is_folder FROM upstream
            WHERE run = ? ORDER BY ordinal
            """
        ),
        (
            "cell_state",
            "SELECT cell, key, sha256, size FROM cell_state WHERE run = ? ORDER BY cell"
        ),
    ]

    /// The hash over all rows of a run, in a fixed order, each value with its kind and length.
    /// - Parameter knownSeries: The digests of the series' points by row, where the writer has kept
    ///   them; otherwise the points are read.
    static func digest(
        _ db: Database, run: Int64, status: String, ended: Int64,
        knownSeries: [Int64: String]? = nil
    ) throws -> String {
        var hasher = CanonicalHasher()
        hasher.add("study seal 1")
        hasher.add(status)
        hasher.add(ended)
        for table in tables {
            hasher.add(table.name)
            let rows = try Row.fetchCursor(db, sql: table.sql, arguments: [run])
            while let row = try rows.next() {
                for index in 0..<row.count { hasher.add(row[index] as DatabaseValue) }
            }
        }
        for table in laterTables {
            let rows = try Row.fetchAll(db, sql: table.sql, arguments: [run])
            if !rows.isEmpty { hasher.add(table.name) }
            for row in rows {
                for index in 0..<row.count { hasher.add(row[index] as DatabaseValue) }
            }
        }
        hasher.add("series")
        let series = try Row.fetchAll(
            db,
            sql:
                "SELECT id, cell, name, arm, count FROM series WHERE run = ? ORDER BY cell, name, arm",
            arguments: [run])
        for row in series {
            let id: Int64 = row[0]
            for index in 1...4 { hasher.add(row[index] as DatabaseValue) }
            hasher.add(try knownSeries?[id] ?? pointDigest(db, series: id))
        }
        return hasher.digest().hex
    }

    /// The digest of a series' points as they are in the ledger.
    static func pointDigest(_ db: Database, series: Int64) throws -> String {
        var hasher = PointHasher()
        try eachPoint(db, series: series) { step, value, time in
            hasher.add(step: step, value: value, time: time)
        }
        return hasher.digest()
    }

    /// Reads a series' points in order: raw SQLite calls, 3 million points a second.
    static func eachPoint(
        _ db: Database, series: Int64, _ body: (Int64, Double, Int64) throws -> Void
    ) throws {
        let statement = try db.cachedStatement(
            sql: "SELECT step, value, time FROM point WHERE series = ? ORDER BY ordinal"
        ).sqliteStatement
        defer { sqlite3_reset(statement) }
        sqlite3_bind_int64(statement, 1, series)
        while true {
            let code = sqlite3_step(statement)
            if code == SQLITE_DONE { return }
            guard code == SQLITE_ROW else {
                throw DatabaseError(
                    resultCode: ResultCode(rawValue: code),
                    message: String(cString: sqlite3_errmsg(db.sqliteConnection)))
            }
            let value =
                sqlite3_column_type(statement, 1) == SQLITE_NULL
                ? Double.nan : sqlite3_column_double(statement, 1)
            try body(sqlite3_column_int64(statement, 0), value, sqlite3_column_int64(statement, 2))
        }
    }
}

extension CanonicalHasher {
    mutating func add(_ value: DatabaseValue) {
        switch value.storage {
        case .null: addNothing()
        case .int64(let number): add(number)
        case .double(let number): add(number)
        case .string(let text): add(text)
        case .blob(let data): add([UInt8](data))
        }
    }
}

/// A number for a table in the terminal: six significant digits.
package func shortNumber(_ value: Double) -> String {
    if value.isNaN { return "nan" }
    if value.isInfinite { return value < 0 ? "-inf" : "inf" }
    if value == value.rounded(), abs(value) < 1e9 { return "\(Int64(value))" }
    return String(format: "%.6g", value)
}
