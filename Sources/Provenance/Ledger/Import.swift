// Merges another ledger's runs into this one: rows as they are, seals checked, objects by content.
// Doing it twice changes nothing.

internal import Foundation
internal import GRDB

/// What an import did.
package struct ImportReport: Sendable, Hashable {
    package var imported: [String] = []
    /// Of a bundle: the runs upstream of its own, of which only rows came.
    package var upstream: [String] = []
    /// Runs that were here already.
    package var known: [String] = []
    /// Runs that were left out, and why.
    package var refused: [String: String] = [:]
    package var objects = 0
    /// Of a bundle's runs, how many objects it withheld.
    package var missing: [String: Int] = [:]

    package init() {}
}

extension Ledger {
    /// The tables whose rows belong to a run, in an order that foreign keys allow. `series` and what
    /// hangs on it are copied apart, since their numbers differ from ledger to ledger.
    static let runTables = [
        "parameter", "tolerance", "environment", "change", "omission", "cell", "output", "claim",
        "inline_value", "artifact", "artifact_file", "figure", "item", "input", "input_file",
        "stream",
        "digest", "failure", "content_key", "upstream", "cell_state", "verdict", "companion",
        "patch", "bundle",
    ]

    /// Copies every sealed run that is not here yet. A run without seal is still being written, or was
    /// cut off: it stays where it is.
    /// - Parameters:
    ///   - path: Another ledger: its `ledger.sqlite`, its `.study`, or the folder that holds that.
    ///   - runs: Only these ids; all where nil.
    ///   - name: What is written down as the runs' origin, where that is not the file.
    package func importRuns(
        from path: String, only runs: Set<String>? = nil, recordedAs name: String? = nil
    ) throws -> ImportReport {
        let candidates = [path + "/.study/ledger.sqlite", path + "/ledger.sqlite", path]
        guard let file = candidates.first(where: { FileIdentity($0)?.isFile == true }) else {
            throw ProvenanceError(
                .cannotOpen, "There is no ledger at \(path).", where: path,
                mend: "name a ledger.sqlite, or the folder whose .study holds one")
        }
        var report = ImportReport()
        try rethrowing(file) {
            // The other ledger may be of an older version, or another process's: work on a copy of its
            // pages, brought up to date.
            let copy = try DatabaseQueue()
            var configuration = Configuration()
            configuration.readonly = true
            try DatabaseQueue(path: file, configuration: configuration).backup(to: copy)
            if try copy.read({ try Migrations.migrator.hasBeenSuperseded($0) }) {
                throw ProvenanceError(
                    .newerLedger, "This ledger was made by a newer `study`.", where: file,
                    mend: "install that version and import with it")
            }
            try Migrations.migrator.migrate(copy)
            let sealed = try copy.read { db in
                try Row.fetchAll(
                    db,
                    sql: """
                        SELECT r.number, r.id, s.status, s.ended, s.sha256 FROM run r
                        LEFT JOIN seal s ON s.run = r.number ORDER BY r.began, r.number
                        """)
            }
            for row in sealed {
                let id: String = row[1]
                if let runs, !runs.contains(id) { continue }
                let here = try queue.read {
                    try Bool.fetchOne($0, sql: "SELECT 1 FROM run WHERE id = ?", arguments: [id])
                        ?? false
                }
                if here {
                    report.known.append(id)
                    continue
                }
                guard let sha256: String = row[4] else {
                    report.refused[id] = "it has no seal: it runs still, or was cut off"
                    continue
                }
                let found = try copy.read {
                    try Provenance.Seal.digest($0, run: row[0], status: row[2], ended: row[3])
                }
                guard found == sha256 else {
                    report.refused[id] = "its rows are not those that were sealed"
                    continue
                }
                try self.copy(run: row[0], from: copy, source: name ?? file)
                report.imported.append(id)
            }
        }
        report.objects = try importObjects(
            from: parent(of: file) + "/objects", runs: report.imported)
        return report
    }

    private func copy(run number: Int64, from other: DatabaseQueue, source: String) throws {
        func rows(_ sql: String, _ arguments: StatementArguments) throws -> [Row] {
            try other.read { try Row.fetchAll($0, sql: sql, arguments: arguments) }
        }
        guard let run = try rows("SELECT * FROM run WHERE number = ?", [number]).first else {
            return
        }
        let texts = try rows("SELECT * FROM source WHERE sha256 = ?", [run["source"] as String])
        let tables = try Self.runTables.map {
            ($0, try rows("SELECT * FROM \($0) WHERE run = ?", [number]))
        }
        let series = try rows("SELECT * FROM series WHERE run = ? ORDER BY id", [number])
        let seals = try rows("SELECT * FROM seal WHERE run = ?", [number])
        let files = try rows("SELECT * FROM source_file WHERE run = ?", [number])
        try write { db in
            var checked: Set<String> = []
            func insert(_ table: String, _ row: Row, replacing: [String: DatabaseValue] = [:])
                throws
            {
                let names = Array(row.columnNames)
                // They stand in the statement, and the file is a stranger's.
                if checked.insert(table).inserted,
                    !Set(try db.columns(in: table).map(\.name)).isSuperset(of: names)
                {
                    throw ProvenanceError(
                        .corrupted, "Its table \(table) has columns that no ledger has.",
                        where: source, mend: "get the ledger or bundle again from its author")
                }
                let values = names.map { replacing[$0] ?? row[$0] }
                let marks = Array(repeating: "?", count: names.count).joined(separator: ", ")
                try db.cachedStatement(
                    sql: """
                        INSERT INTO \(table) (\(names.joined(separator: ", "))) VALUES (\(marks))
                        ON CONFLICT DO NOTHING
                        """
                ).execute(arguments: StatementArguments(values))
            }
            for text in texts { try insert("source", text) }
            try insert(
                "run", run,
                replacing: ["number": .null, "imported": source.databaseValue])
            let new = db.lastInsertedRowID.databaseValue
            for (table, rows) in tables {
                for row in rows { try insert(table, row, replacing: ["run": new]) }
            }
            for row in series {
                try insert(
                    "series", row, replacing: ["run": new, "id": .null, "sealed": 0.databaseValue])
                let id = db.lastInsertedRowID.databaseValue
                for table in ["point", "proportion"] {
                    // Points may be millions: straight from one connection into the other.
                    try other.read { source in
                        let cursor = try Row.fetchCursor(
                            source, sql: "SELECT * FROM \(table) WHERE series = ?",
                            arguments: [row["id"] as Int64])
                        while let point = try cursor.next() {
                            try insert(table, point, replacing: ["series": id])
                        }
                    }
                }
                try db.execute(sql: "UPDATE series SET sealed = 1 WHERE id = ?", arguments: [id])
            }
            for seal in seals { try insert("seal", seal, replacing: ["run": new]) }
            for row in files { try insert("source_file", row, replacing: ["run": new]) }
        }
    }

    private func importObjects(from folder: String, runs: [String]) throws -> Int {
        let other = ObjectStore(folder)
        var count = 0
        for id in runs {
            for sha256 in try neededObjects(of: id, in: other)
            where !objects.contains(sha256) && other.contains(sha256) {
                let digest = try objects.store(file: other.path(of: sha256))
                if digest.sha256 != sha256 { objects.remove(digest.sha256) } else { count += 1 }
            }
        }
        return count
    }
}
