// Which event becomes which row. The path of metrics is short: a dictionary look-up, an append, and
// later one bound statement a point.

internal import Crypto
internal import Events
internal import GRDB
internal import GRDBSQLite

struct SeriesKey: Hashable {
    var cell: Int
    var name: String
    var arm: String
}

/// A series as the writer knows it.
struct OpenSeries {
    var key: SeriesKey
    /// 0 until its row is written.
    var row: Int64 = 0
    var count: Int64 = 0
    var lastStep: Int64 = 0
    var lastValue = Double.nan
    var minimum = Double.nan
    var maximum = Double.nan
    var isTouched = false
    var hasher = PointHasher()
}

struct PendingPoint {
    var series: Int
    var ordinal: Int64
    var step: Int64
    var value: Double
    var time: Int64
    var proportion: ProportionRecord?
}

enum PendingEvent {
    case event(Event)
    case output(Int, RunWriter.OutputStream, [UInt8])
    case input(InputRecord)
    case artifact(StoredArtifact)
    case failure(RunFailure)
}

/// SHA-256 over a series' points: step, bits of the value, time, 8 bytes each, little-endian. The
/// writer's and the verifier's sums meet in the seal.
struct PointHasher {
    private var hasher = SHA256()
    private var buffer: [UInt64] = []

    mutating func add(step: Int64, value: Double, time: Int64) {
        buffer.append(UInt64(bitPattern: step).littleEndian)
        buffer.append((value.isNaN ? Double.nan.bitPattern : value.bitPattern).littleEndian)
        buffer.append(UInt64(bitPattern: time).littleEndian)
        if buffer.count >= 1536 { flush() }
    }

    private mutating func flush() {
        buffer.withUnsafeBytes { hasher.update(bufferPointer: $0) }
        buffer.removeAll(keepingCapacity: true)
    }

    mutating func digest() -> String {
        flush()
        return Digest(hasher.finalize()).hex
    }
}

extension RunWriter.State {
    mutating func add(_ point: MetricPoint) {
        let key = SeriesKey(cell: point.cell, name: point.name, arm: point.arm)
        let index: Int
        if let known = series[key] {
            index = known
        } else {
            index = open.count
            open.append(OpenSeries(key: key))
            series[key] = index
        }
        points.append(
            PendingPoint(
                series: index, ordinal: open[index].count, step: point.step, value: point.value,
                time: point.time.nanoseconds, proportion: point.proportion))
        open[index].count += 1
    }

    /// Writes the gathered points: raw SQLite calls on one prepared statement, since GRDB's list of
    /// arguments costs as much as the insertion.
    mutating func writePoints(_ db: Database, run: Int64) throws {
        for index in open.indices where open[index].row == 0 {
            let key = open[index].key
            try db.cachedStatement(
                sql: "INSERT INTO series (run, cell, name, arm) VALUES (?, ?, ?, ?)"
            )
            .execute(arguments: [run, key.cell, key.name, key.arm])
            open[index].row = db.lastInsertedRowID
        }
        let insert = try db.cachedStatement(sql: "INSERT INTO point VALUES (?, ?, ?, ?, ?)")
            .sqliteStatement
        for point in points {
            let index = point.series
            sqlite3_bind_int64(insert, 1, open[index].row)
            sqlite3_bind_int64(insert, 2, point.ordinal)
            sqlite3_bind_int64(insert, 3, point.step)
            sqlite3_bind_double(insert, 4, point.value)
            sqlite3_bind_int64(insert, 5, point.time)
            let code = sqlite3_step(insert)
            sqlite3_reset(insert)
            guard code == SQLITE_DONE else {
                throw DatabaseError(
                    resultCode: ResultCode(rawValue: code),
                    message: String(cString: sqlite3_errmsg(db.sqliteConnection)))
            }
            open[index].take(point)
            if let proportion = point.proportion {
                try db.cachedStatement(sql: "INSERT INTO proportion VALUES (?, ?, ?, ?, ?)")
                    .execute(
                        arguments: [
                            open[index].row, point.ordinal, proportion.count, proportion.total,
                            proportion.judge,
                        ])
            }
        }
        for index in open.indices where open[index].isTouched {
            let series = open[index]
            try db.cachedStatement(
                sql: """
                    UPDATE series SET count = ?, last_step = ?, last_value = ?, minimum = ?,
                        maximum = ? WHERE id = ?
                    """
            ).execute(
                arguments: [
                    series.count, series.lastStep, series.lastValue, series.minimum, series.maximum,
                    series.row,
                ])
            open[index].isTouched = false
        }
    }

    mutating func writeRow(_ pending: PendingEvent, _ db: Database, run: Int64) throws {
        func insert(_ sql: String, _ arguments: StatementArguments) throws {
            try db.cachedStatement(sql: sql).execute(arguments: arguments)
        }
        switch pending {
        case .output(let cell, let stream, let bytes):
            try insert(
                "INSERT INTO output VALUES (?, ?, ?, ?, ?)",
                [run, next("output"), cell, stream.rawValue, bytes.data])
        case .input(let input):
            try input.insert(db, run: run, ordinal: next("input"))
        case .failure(let failure):
            try insert(
                "INSERT INTO failure VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    run, next("failure"), failure.cell, failure.reason,
                    Secrets.scrubbed(failure.message), failure.line, failure.column,
                ])
            // What Ctrl-C cut short did not fail.
            try insert(
                "UPDATE cell SET state = ? WHERE run = ? AND cell = ?",
                [failure.reason == "interrupted" ? "interrupted" : "failed", run, failure.cell])
        case .artifact(let artifact):
            try artifact.insert(db, run: run, ordinal: next("artifact"))
        case .event(let event):
            switch event {
            case .cellBegan(let cell, let time):
                try insert(
                    "UPDATE cell SET began = ?, state = 'running' WHERE run = ? AND cell = ?",
                    [time.nanoseconds, run, cell])
            case .cellEnded(let cell, let time):
                try insert(
                    """
                    UPDATE cell SET ended = ?, state = CASE state WHEN 'failed' THEN 'failed'
                        ELSE 'succeeded' END WHERE run = ? AND cell = ?
                    """,
                    [time.nanoseconds, run, cell])
            case .failure(let failure):
                // The row of `failure` comes with the recorder's words for it, lines and all: see `seal`.
                try insert(
                    "UPDATE cell SET state = 'failed' WHERE run = ? AND cell = ?",
                    [run, failure.cell])
            case .inlineValue(let index, let text):
                try insert(
                    "INSERT INTO inline_value VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET text = excluded.text",
                    [run, index, text])
            case .claim(let claim):
                try insert(
                    "INSERT INTO claim VALUES (?, ?, ?, ?, ?, ?)",
                    [run, next("claim"), claim.cell, claim.text, claim.holds, claim.evidence])
            case .figure(let figure):
                try insert(
                    "INSERT INTO figure VALUES (?, ?, ?, ?, ?, ?, ?)",
                    [
                        run, next("figure"), figure.cell, figure.title, figure.alternativeText,
                        figure.script, figure.data,
                    ])
            case .items(let items):
                for item in items {
                    try insert(
                        "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                        [
                            run, next("item"), item.cell, item.evaluation, item.arm, item.index,
                            // As it is, restricted or not: whoever shows or exports it hides it.
                            item.prompt, item.answer, item.judge, item.label, item.restricted,
                        ])
                }
            case .stream(let name, let draws):
                try insert(
                    "INSERT INTO stream VALUES (?, ?, ?) ON CONFLICT DO UPDATE SET draws = excluded.draws",
                    [run, name, "\(draws)"])
            case .fact(let name, let value):
                // Counted by what is there: the opening wrote the first facts.
                try insert(
                    """
                    INSERT INTO environment VALUES (?1,
                        coalesce(
                            (SELECT ordinal FROM environment WHERE run = ?1 AND name = ?2),
                            (SELECT coalesce(max(ordinal), -1) + 1 FROM environment WHERE run = ?1)),
                        ?2, ?3)
                    ON CONFLICT DO UPDATE SET value = excluded.value
                    """,
                    [run, name, Secrets.scrubbed(value)])
            case .digest(let record):
                let link = chain.link(
                    cell: record.cell, series: record.series, step: record.step,
                    state: record.digest)
                try insert(
                    "INSERT INTO digest VALUES (?, ?, ?, ?, ?, ?)",
                    [
                        run, next("digest"), record.cell, record.series, record.step,
                        "\(record.digest) \(link)",
                    ])
            case .metric, .artifact, .state, .input, .progress, .flush:
                break  // taken care of before they get here
            }
        }
    }
}

extension OpenSeries {
    /// Brings the summary and the sum up to date with a point that is being written.
    fileprivate mutating func take(_ point: PendingPoint) {
        lastStep = point.step
        lastValue = point.value
        minimum = Double.minimum(minimum, point.value)
        maximum = Double.maximum(maximum, point.value)
        isTouched = true
        hasher.add(step: point.step, value: point.value, time: point.time)
    }
}
