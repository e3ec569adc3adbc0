// Whether a ledger is whole, and saving what is whole of one that is not.

internal import Events
internal import Foundation
internal import GRDB
internal import GRDBSQLite

/// What a look at the whole ledger found.
package struct LedgerHealth: Sendable, Hashable {
    /// SQLite's own findings (`PRAGMA integrity_check`); empty where the file is whole.
    package var damage: [String] = []
    /// Sealed runs whose rows are not those that were sealed.
    package var brokenSeals: [String] = []
    /// Objects that a sealed run's artifacts name and the store lacks.
    package var missingObjects: [String] = []

    package var isWhole: Bool { damage.isEmpty && brokenSeals.isEmpty && missingObjects.isEmpty }
}

/// What a repair saved.
package struct RepairReport: Sendable, Hashable {
    /// Where the damaged file lies now.
    package var setAside: String
    /// Rows that were copied, by table.
    package var rows: [String: Int]
    /// Sealed runs that are no longer whole.
    package var brokenSeals: [String]
    package var runs: Int
}

extension Ledger {
    /// Reads everything: pages, seals, names of objects.
    package func health() throws -> LedgerHealth {
        var health = LedgerHealth()
        do {
            health.damage = try read { db in
                try String.fetchAll(db, sql: "PRAGMA integrity_check(20)").filter { $0 != "ok" }
            }
            for run in try list().runs where run.status != .running {
                if try sealHolds(run.id) == false { health.brokenSeals.append(run.id) }
            }
            let named = try read { db in
                try String.fetchAll(
                    db,
                    sql:
                        "SELECT sha256 FROM artifact WHERE NOT is_folder UNION SELECT sha256 FROM artifact_file"
                )
            }
            health.missingObjects = named.filter { !objects.contains($0) }.sorted()
        } catch let error as ProvenanceError {
            if health.damage.isEmpty { health.damage = [error.what] }
        }
        return health
    }

    /// Copies every row that can be read into a fresh ledger, table by table, and sets the damaged file
    /// aside. Where a page is gone the rows on either side of it are still reached.
    /// - Throws: ``ProvenanceError`` where not even the file's header is left, or a run is going on.
    package static func repair(under root: String) throws -> RepairReport {
        let folder = (root == "/" ? "" : root) + "/.study"
        let path = folder + "/ledger.sqlite"
        guard FileIdentity(path) != nil else {
            throw ProvenanceError(
                .cannotOpen, "There is no ledger to repair.", where: path,
                mend: "`study run` makes a new one")
        }
        if let ledger = try? open(under: root),
            let running = try? ledger.list().runs.first(where: { $0.status == .running })
        {
            throw ProvenanceError(
                .cannotOpen, "Run \(running.id) is going on.", where: path,
                mend: "end it first, then repair")
        }
        let aside =
            path + ".damaged-"
            + Timestamp.now.text.replacing(" ", with: "-").replacing(":", with: "")
        for suffix in ["", "-wal", "-shm"] where FileIdentity(path + suffix) != nil {
            guard rename(path + suffix, aside + suffix) == 0 else { throw cannotWrite(aside) }
        }
        let fresh = try open(under: root)
        var rows: [String: Int] = [:]
        try rethrowing(path) {
            var configuration = Configuration()
            // Writing is needed to read the WAL of a file that was not closed.
            configuration.prepareDatabase { try $0.execute(sql: "PRAGMA writable_schema = RESET") }
            guard let damaged = try? DatabaseQueue(path: aside, configuration: configuration) else {
                return
            }
            let tables =
                ["source", "run", "process"] + runTables.filter { $0 != "verdict" } + [
                    "series", "point", "proportion", "verdict", "seal", "file_digest",
                ]
            // Rows may come without their run, and sealed series before their points.
            try fresh.queue.writeWithoutTransaction { db in
                try db.execute(sql: "PRAGMA foreign_keys = OFF")
                for table in tables {
                    rows[table] = try salvage(table, from: damaged, into: db)
                    if table == "proportion" {
                        // Before the seals, which let nobody touch their series. No run is going on.
                        try db.execute(sql: "UPDATE series SET sealed = 1")
                        try db.execute(
                            sql: "DELETE FROM point WHERE series NOT IN (SELECT id FROM series)")
                        try db.execute(
                            sql:
                                "DELETE FROM proportion WHERE series NOT IN (SELECT id FROM series)"
                        )
                        for table in runTables + ["series", "process"] {
                            try db.execute(
                                sql:
                                    "DELETE FROM \(table) WHERE run NOT IN (SELECT number FROM run)"
                            )
                        }
                    }
                }
                try db.execute(sql: "PRAGMA foreign_keys = ON")
            }
        }
        let health = try fresh.health()
        return RepairReport(
            setAside: aside, rows: rows, brokenSeals: health.brokenSeals,
            runs: try fresh.list().total)
    }

    /// Copies a table's rows in both directions from its ends, so that one bad page costs only its own.
    private static func salvage(_ table: String, from damaged: DatabaseQueue, into db: Database)
        throws -> Int
    {
        let columns = try db.columns(in: table).map(\.name)
        let keys = try db.primaryKey(table).columns
        let marks = Array(repeating: "?", count: columns.count).joined(separator: ", ")
        let insert = try db.makeStatement(
            sql:
                "INSERT OR IGNORE INTO \(table) (\(columns.joined(separator: ", "))) VALUES (\(marks))"
        )
        var count = 0
        try db.inTransaction {
            for direction in ["ASC", "DESC"] {
                let order = keys.map { "\($0) \(direction)" }.joined(separator: ", ")
                var isWhole = false
                try? damaged.read { source in
                    let cursor = try Row.fetchCursor(
                        source,
                        sql:
                            "SELECT \(columns.joined(separator: ", ")) FROM \(table) ORDER BY \(order)"
                    )
                    while let row = try cursor.next() {
                        var values = (0..<row.count).map { row[$0] as DatabaseValue }
                        if table == "series", let place = columns.firstIndex(of: "sealed") {
                            values[place] = 0.databaseValue
                        }
                        try insert.execute(arguments: StatementArguments(values))
                        count += db.changesCount
                    }
                    isWhole = true
                }
                if isWhole { break }
            }
            return .commit
        }
        return count
    }
}
