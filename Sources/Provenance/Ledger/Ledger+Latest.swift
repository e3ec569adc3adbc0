// What a new run asks of earlier ones: the last that went through, and how long its cells took.

internal import GRDB

extension Ledger {
    /// The id of the newest run of `study` that succeeded here, replays aside: they may be of some cells only.
    /// - Parameter study: As ``RunOpening`` has it: relative to the ledger's root where it lies below.
    package func latestSuccess(of study: String) throws -> String? {
        try read { db in
            try String.fetchOne(
                db,
                sql: """
                    SELECT run.id FROM run JOIN seal ON seal.run = run.number
                    WHERE run.study = ? AND seal.status = 'succeeded' AND run.replay_of IS NULL
                    ORDER BY run.began DESC LIMIT 1
                    """,
                arguments: [study])
        }
    }

    /// Seconds by cell id, of the cells of `run` that ended.
    package func durations(of run: String) throws -> [String: Double] {
        try read { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT cell.id, cell.ended - cell.began FROM cell JOIN run ON run.number = cell.run
                    WHERE run.id = ? AND cell.ended IS NOT NULL AND cell.began IS NOT NULL
                    """,
                arguments: [run])
            return Dictionary(
                rows.map { ($0[0] as String, Double($0[1] as Int64) * 1e-9) },
                uniquingKeysWith: { first, _ in first })
        }
    }
}
