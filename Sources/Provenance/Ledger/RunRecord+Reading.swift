// Fetches runs: by name, whole or in part, with the status that the moment allows.

internal import Events
internal import Foundation
internal import GRDB

extension Ledger {
    /// The id that a name means: an id, a unique prefix of one or of its last eight digits, `@latest`,
    /// or `@latest~N` for the N-th before it.
    /// - Throws: ``ProvenanceError`` with reason `.noSuchRun` or `.ambiguousRun`.
    package func resolve(_ name: String) throws -> String {
        try read { db in
            if name.hasPrefix("@latest") {
                let back = name.dropFirst(7)
                guard back.isEmpty || back.hasPrefix("~"), let skip = Int("0" + back.dropFirst())
                else {
                    throw noSuchRun(name)
                }
                guard
                    let id = try String.fetchOne(
                        db,
                        sql:
                            "SELECT id FROM run ORDER BY imported IS NULL DESC, number DESC LIMIT 1 OFFSET ?",
                        arguments: [skip])
                else {
                    throw try Bool.fetchOne(db, sql: "SELECT EXISTS (SELECT 1 FROM run)") == true
                        ? noSuchRun(name) : noRunYet()
                }
                return id
            }
            guard !name.isEmpty, name.allSatisfy({ $0.isHexDigit || $0 == "-" }) else {
                throw noSuchRun(name)
            }
            let ids = try String.fetchAll(
                db,
                sql: """
                    SELECT id FROM run WHERE id = ?1 OR id LIKE ?1 || '%' OR id LIKE '%-' || ?2 || '%'
                    ORDER BY began DESC LIMIT 6
                    """,
                // Only the last part may be named alone: a date in the middle names no run.
                arguments: [name, name.contains("-") ? "#" : name])
            let exact = ids.filter { $0 == name }
            let matches = ids.filter { id in
                id.hasPrefix(name) || (id.split(separator: "-").last?.hasPrefix(name) ?? false)
            }
            if let id = exact.first ?? (matches.count == 1 ? matches.first : nil) { return id }
            if matches.isEmpty { throw noSuchRun(name) }
            throw ProvenanceError(
                .ambiguousRun,
                "More than one run is called \(name): \(matches.prefix(5).joined(separator: ", "))"
                    + (matches.count > 5 ? ", …" : "") + ".",
                where: path, mend: "type more of its id")
        }
    }

    private func noRunYet() -> ProvenanceError {
        ProvenanceError(
            .noSuchRun, "There are no runs yet in this ledger.", where: path,
            mend: "`study run FILE.md` makes the first")
    }

    private func noSuchRun(_ name: String) -> ProvenanceError {
        ProvenanceError(
            .noSuchRun, "There is no run \(name) in this ledger.", where: path,
            mend:
                "`study list` shows the runs; an id, its first or last digits, and @latest will do")
    }

    /// A run with everything but the points of its series.
    /// - Parameter points: Whether to read those too; a long run has millions.
    package func run(_ name: String, points: Bool = false) throws -> RunRecord {
        let id = try resolve(name)
        return try read { db in
            guard var record = try RunRecord.summary(db, id: id) else { throw noSuchRun(name) }
            try record.readRows(db)
            if points {
                for index in record.series.indices {
                    record.series[index].points = try Ledger.points(db, record.series[index].row)
                }
            }
            return record
        }
    }

    /// The points of a series, in the order in which they were recorded.
    package func points(of series: RunRecord.Series) throws -> [RunRecord.Point] {
        try read { db in try Ledger.points(db, series.row) }
    }

    static func points(_ db: Database, _ row: Int64) throws -> [RunRecord.Point] {
        var points: [RunRecord.Point] = []
        try Provenance.Seal.eachPoint(db, series: row) { step, value, time in
            points.append(
                RunRecord.Point(step: step, value: value, time: Timestamp(nanoseconds: time)))
        }
        return points
    }

    /// Is the run as it was sealed? Reads every row and compares the hash; nil without a seal.
    package func sealHolds(_ name: String) throws -> Bool? {
        let id = try resolve(name)
        return try read { db in
            guard
                let row = try Row.fetchOne(
                    db,
                    sql: """
                        SELECT r.number, s.status, s.ended, s.sha256 FROM run r
                        JOIN seal s ON s.run = r.number WHERE r.id = ?
                        """, arguments: [id])
            else { return nil }
            return try Provenance.Seal.digest(db, run: row[0], status: row[1], ended: row[2])
                == (row[3] as String)
        }
    }
}

/// What a run's status is now: its seal's, else by the life of its process.
///
/// Where the process cannot be asked (another boot, another machine or container), the heartbeat
/// decides: writers renew it each 2 s, and a clock may be off by a minute.
func derivedStatus(sealed: String?, process: ProcessIdentity?, heartbeat: Int64?) -> RunStatus {
    if let sealed { return RunStatus(rawValue: sealed) ?? .lost }
    guard let process else { return .lost }
    if let alive = process.isAlive { return alive ? .running : .lost }
    // After a reboot of this machine nothing survives; a different boot id alone does not tell
    // that from another machine, so wait for the heartbeat to be old.
    guard let heartbeat else { return .lost }
    return abs(Timestamp.now.nanoseconds - heartbeat) < 60_000_000_000 ? .running : .lost
}

extension RunRecord {
    static func summary(_ db: Database, id: String) throws -> RunRecord? {
        guard
            let row = try Row.fetchOne(
                db,
                sql: """
                    SELECT r.*, t.text AS text, s.status AS status, s.ended AS ended, s.sha256 AS seal,
                        p.pid, p.start_ticks, p.boot_id, p.namespace, p.heartbeat
                    FROM run r JOIN source t ON t.sha256 = r.source
                    LEFT JOIN seal s ON s.run = r.number LEFT JOIN process p ON p.run = r.number
                    WHERE r.id = ?
                    """, arguments: [id])
        else { return nil }
        let process: ProcessIdentity? = (row["pid"] as Int32?).map {
            ProcessIdentity(
                processID: $0, startTicks: row["start_ticks"], bootID: row["boot_id"],
                namespace: row["namespace"])
        }
        var code = CodeIdentity()
        code.commit = row["commit_id"]
        code.branch = row["branch"]
        code.remote = row["remote"]
        code.snapshot = row["snapshot"]
        let command =
            (try? JSONDecoder().decode([String].self, from: Data((row["command"] as String).utf8)))
            ?? []
        return RunRecord(
            number: row["number"], id: row["id"], study: row["study"], title: row["title"],
            text: row["text"], sourceSHA256: row["source"],
            seed: UInt64(row["seed"] as String) ?? 0,
            tier: row["tier"], threads: row["threads"], command: command, release: row["release"],
            began: Timestamp(nanoseconds: row["began"]), code: code, replayOf: row["replay_of"],
            imported: row["imported"],
            status: derivedStatus(
                sealed: row["status"], process: process, heartbeat: row["heartbeat"]),
            seal: (row["seal"] as String?).map {
                Seal(sha256: $0, ended: Timestamp(nanoseconds: row["ended"]))
            },
            process: process)
    }

    mutating func readRows(_ db: Database) throws {
        func rows<T>(_ columns: String, _ table: String, _ order: String, _ make: (Row) -> T) throws
            -> [T]
        {
            try Row.fetchAll(
                db, sql: "SELECT \(columns) FROM \(table) WHERE run = ? ORDER BY \(order)",
                arguments: [number]
            ).map(make)
        }
        parameters = try rows("name, type, value", "parameter", "ordinal") {
            RunOpening.Parameter(name: $0[0], type: $0[1], value: $0[2])
        }
        tolerances = try rows("metric, absolute, relative, ulps, seeds", "tolerance", "ordinal") {
            Tolerance(
                metric: $0[0], absolute: $0[1], relative: $0[2],
                ulps: ($0[3] as Int64?).map { UInt64($0) }, seeds: $0[4])
        }
        environment = EnvironmentSnapshot(
            facts: try rows("name, value", "environment", "ordinal") {
                EnvironmentSnapshot.Fact($0[0], $0[1])
            })
        code.changes = try rows("path, kind", "change", "ordinal") {
            CodeIdentity.Change(path: $0[0], kind: .init(rawValue: $0[1]) ?? .modified)
        }
        code.omissions = try rows("path, size, reason", "omission", "ordinal") {
            CodeIdentity.Omission(path: $0[0], size: $0[1], reason: $0[2])
        }
        cells = try rows(
            "cell, id, first_line, last_line, sha256, began, ended, state", "cell", "cell"
        ) {
            Cell(
                index: $0[0], id: $0[1], firstLine: $0[2], lastLine: $0[3], sha256: $0[4],
                began: ($0[5] as Int64?).map { Timestamp(nanoseconds: $0) },
                ended: ($0[6] as Int64?).map { Timestamp(nanoseconds: $0) }, state: $0[7])
        }
        outputs = try rows("cell, stream, bytes", "output", "ordinal") {
            Output(
                cell: $0[0], stream: .init(rawValue: $0[1]) ?? .standardOutput,
                bytes: [UInt8]($0[2] as Data))
        }
        series = try rows(
            "id, cell, name, arm, count, last_step, last_value, minimum, maximum", "series", "id"
        ) {
            Series(
                row: $0[0], cell: $0[1], name: $0[2], arm: $0[3], count: $0[4],
                lastStep: ($0[5] as Int64?) ?? -1, last: ($0[6] as Double?) ?? .nan,
                minimum: ($0[7] as Double?) ?? .nan, maximum: ($0[8] as Double?) ?? .nan)
        }
        let places = Dictionary(uniqueKeysWithValues: series.enumerated().map { ($1.row, $0) })
        for row in try Row.fetchAll(
            db,
            sql: """
                SELECT p.series, p.ordinal, p.count, p.total, p.judge FROM proportion p
                JOIN series s ON s.id = p.series WHERE s.run = ?
                """, arguments: [number])
        {
            guard let place = places[row[0]] else { continue }
            series[place].proportions[row[1]] = ProportionRecord(
                count: row[2], total: row[3], judge: row[4])
        }
        claims = try rows("cell, text, holds, evidence", "claim", "ordinal") {
            ClaimRecord(cell: $0[0], text: $0[1], holds: $0[2], evidence: $0[3])
        }
        inlineValues = Dictionary(
            uniqueKeysWithValues: try rows("position, text", "inline_value", "position") {
                ($0[0] as Int, $0[1] as String)
            })
        figures = try rows("cell, title, alternative_text, script, data", "figure", "ordinal") {
            FigureRecord(
                cell: $0[0], title: $0[1], alternativeText: $0[2], script: $0[3], data: $0[4])
        }
        items = try rows(
            "cell, evaluation, arm, position, prompt, answer, judge, label, restricted", "item",
            "ordinal"
        ) {
            ItemRecord(
                cell: $0[0], evaluation: $0[1], arm: $0[2], index: $0[3], prompt: $0[4],
                answer: $0[5],
                judge: $0[6], label: $0[7], restricted: $0[8])
        }
        streams = Dictionary(
            uniqueKeysWithValues: try rows("name, draws", "stream", "name") {
                ($0[0] as String, UInt64($0[1] as String) ?? 0)
            })
        digests = try rows("cell, series, step, digest", "digest", "ordinal") {
            DigestRecord(cell: $0[0], series: $0[1], step: $0[2], digest: $0[3])
        }
        failures = try rows("cell, reason, message, line, column_number", "failure", "ordinal") {
            RunFailure(cell: $0[0], reason: $0[1], message: $0[2], line: $0[3], column: $0[4])
        }
        contentKey = try String.fetchOne(
            db, sql: "SELECT key FROM content_key WHERE run = ?", arguments: [number])
        upstreams = try UpstreamLink.fetch(db, run: number)
        artifacts = try rows(
            "cell, name, media_type, kind, sha256, size, is_folder", "artifact", "ordinal"
        ) {
            StoredArtifact(
                cell: $0[0], name: $0[1], mediaType: $0[2], kind: $0[3], sha256: $0[4], size: $0[5],
                isFolder: $0[6])
        }
        for (artifact, file) in try rows(
            "artifact, path, sha256, size, is_executable", "artifact_file", "artifact, path",
            {
                (
                    $0[0] as Int,
                    ManifestEntry(path: $0[1], sha256: $0[2], size: $0[3], isExecutable: $0[4])
                )
            })
        { artifacts[artifact].files.append(file) }
        inputs = try rows(
            "cell, written, path, kind, sha256, size, is_folder, tracking, is_stored, changed",
            "input",
            "ordinal"
        ) {
            InputRecord(
                cell: $0[0], written: $0[1], path: $0[2], kind: $0[3], sha256: $0[4], size: $0[5],
                isFolder: $0[6], tracking: $0[7], isStored: $0[8], changed: $0[9])
        }
        for (input, file) in try rows(
            "input, path, sha256, size", "input_file", "input, path",
            { ($0[0] as Int, ManifestEntry(path: $0[1], sha256: $0[2], size: $0[3])) })
        { inputs[input].files.append(file) }
    }
}
