// The other runs of a run's study: earlier and later attempts, failed ones too, and replays with their verdicts. A
// bundle names them, so that a reader sees out of how many the one was chosen; an import brings the names along.

package import Events

internal import Foundation
internal import GRDB

/// Another run of the same study, in the few facts that say how often it was tried.
package struct Companion: Sendable, Hashable {
    package var id: String
    package var status: RunStatus
    package var began: Timestamp
    package var ended: Timestamp?
    package var seed: String
    /// As "rank = 4, rate = 0.1", in the study's order.
    package var parameters: String
    package var replayOf: String?
    /// Of a replay: the rung that it reached, as ``Rung/text`` has it.
    package var rung: String?
    /// Of a run that did not succeed: what the recorder said.
    package var note: String

    func insert(_ db: Database, run: Int64) throws {
        try db.cachedStatement(
            sql: "INSERT OR REPLACE INTO companion VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
        ).execute(
            arguments: [
                run, id, status.rawValue, began.nanoseconds, ended?.nanoseconds, seed, parameters,
                replayOf, rung, note,
            ])
    }
}

extension Ledger {
    /// How the tree of a run from elsewhere differed from its commit, where its bundle said so.
    package func patch(of name: String) throws -> String? {
        let id = try resolve(name)
        return try read { db in
            try String.fetchOne(
                db,
                sql: "SELECT p.text FROM patch p JOIN run r ON r.number = p.run WHERE r.id = ?",
                arguments: [id])
        }
    }

    /// Every other run of the same study that this ledger knows, whether it happened here or was named by a bundle,
    /// oldest first. Runs that still go on are left out.
    package func companions(of name: String) throws -> [Companion] {
        let id = try resolve(name)
        return try read { db in
            guard
                let run = try Row.fetchOne(
                    db, sql: "SELECT number, study FROM run WHERE id = ?", arguments: [id])
            else { return [] }
            var found: [String: Companion] = [:]
            // What a bundle said first; this ledger's own rows know better.
            for row in try Row.fetchAll(
                db,
                sql: """
                    SELECT id, status, began, ended, seed, parameters, replay_of, rung, note
                    FROM companion WHERE run = ?
                    """, arguments: [run[0] as Int64])
            {
                found[row[0]] = Companion(
                    id: row[0], status: RunStatus(rawValue: row[1]) ?? .lost,
                    began: Timestamp(nanoseconds: row[2]),
                    ended: (row[3] as Int64?).map { Timestamp(nanoseconds: $0) }, seed: row[4],
                    parameters: row[5], replayOf: row[6], rung: row[7], note: row[8])
            }
            for row in try Row.fetchAll(
                db,
                sql: """
                    SELECT r.number, r.id, s.status, r.began, s.ended, r.seed, r.replay_of, v.rung,
                        (SELECT group_concat(name || ' = ' || value, ', ') FROM
                            (SELECT name, value FROM parameter WHERE run = r.number ORDER BY ordinal)),
                        (SELECT message FROM failure WHERE run = r.number ORDER BY ordinal LIMIT 1)
                    FROM run r LEFT JOIN seal s ON s.run = r.number
                    LEFT JOIN verdict v ON v.run = r.number
                    WHERE (r.study = ?1 OR r.replay_of = ?2) AND r.id <> ?2
                    """, arguments: [run[1] as String, id])
            {
                let sealed: String? = row[2]
                let status =
                    try sealed.flatMap(RunStatus.init) ?? Self.unsealedStatus(db, run: row[0])
                if status == .running { continue }
                found[row[1]] = Companion(
                    id: row[1], status: status, began: Timestamp(nanoseconds: row[3]),
                    ended: (row[4] as Int64?).map { Timestamp(nanoseconds: $0) }, seed: row[5],
                    parameters: row[8] ?? "", replayOf: row[6], rung: row[7],
                    note: (row[9] as String?)?.split(separator: "\n").first.map(String.init) ?? "")
            }
            return found.values.sorted {
                ($0.began.nanoseconds, $0.id) < ($1.began.nanoseconds, $1.id)
            }
        }
    }
}
