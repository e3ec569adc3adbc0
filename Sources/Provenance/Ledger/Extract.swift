// One run as a ledger of its own: what a bundle carries, and what `importRuns` takes. The same bytes
// wherever it is made, so nothing of the ledger it came from stays in it.

internal import Foundation
internal import GRDB

extension Ledger {
    /// Writes a run's rows into a new SQLite file.
    /// - Parameters:
    ///   - hashing: Applied to prompts and answers of restricted items; nil leaves them as they are.
    ///   - patch: How the tree differed from its commit, where that is to come along.
    ///   - scrubbing: Applied to every text and every text-like output; nil leaves them as they are.
    /// - Returns: Whether any row was changed by these; the file is then sealed anew, and the seal of
    ///   the run's own rows is not that of the file.
    package func extract(
        _ name: String, to path: String, hashing: ((String) -> String)? = nil,
        scrubbing: ((String) -> String)? = nil, patch: String? = nil
    ) throws -> Bool {
        let id = try resolve(name)
        let number = try read { db in
            try Int64.fetchOne(db, sql: "SELECT number FROM run WHERE id = ?", arguments: [id])!
        }
        let others = try companions(of: id)
        return try rethrowing(path) {
            var configuration = Configuration()
            configuration.prepareDatabase { db in
                try db.execute(sql: "PRAGMA journal_mode = DELETE")
            }
            let out = try DatabaseQueue(path: path, configuration: configuration)
            try Migrations.migrator.migrate(out, upTo: Migrations.lastOfBundles)
            var changed = false
            try out.inDatabase { db in
                try db.execute(sql: "ATTACH DATABASE ? AS other", arguments: [attachedPath])
                try db.inTransaction {
                    try Self.copyRows(db, number)
                    for other in others { try other.insert(db, run: 1) }
                    if let patch {
                        try db.execute(sql: "INSERT INTO patch VALUES (1, ?)", arguments: [patch])
                    }
                    if let hashing { changed = try Self.hashRestricted(db, hashing) || changed }
                    if let scrubbing {
                        try Self.scrub(db, scrubbing)
                        changed = true
                    }
                    try Self.copySeal(db, number, isChanged: changed)
                    return .commit
                }
                try db.execute(sql: "DETACH DATABASE other")
                try db.execute(sql: "VACUUM")
            }
            try out.close()
            try Self.forgetVersion(path)
            return changed
        }
    }

    /// This ledger as another connection attaches it: one that may not be written as one that nobody writes, since
    /// SQLite would otherwise want to make files beside it.
    private var attachedPath: String {
        if access(path, W_OK) == 0, access(parent(of: path), W_OK) == 0 { return path }
        let escaped = path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path
        return "file:\(escaped)?immutable=1"
    }

    /// The tables whose rows belong to a run. Verdicts stay: they are of later runs.
    private static let extractedTables = [
        "parameter", "tolerance", "environment", "change", "omission", "cell", "output", "claim",
        "inline_value", "artifact", "artifact_file", "figure", "item", "input", "input_file",
        "stream",
        "digest", "failure", "content_key", "upstream", "cell_state",
    ]

    private static func copyRows(_ db: Database, _ number: Int64) throws {
        func columns(_ table: String, without left: String) throws -> String {
            try db.columns(in: table).map(\.name).filter { $0 != left }.joined(separator: ", ")
        }
        try db.execute(
            sql:
                "INSERT INTO source SELECT t.* FROM other.source t JOIN other.run r ON r.source = t.sha256 WHERE r.number = ?",
            arguments: [number])
        let run = try db.columns(in: "run").map(\.name).filter {
            $0 != "number" && $0 != "imported"
        }
        .joined(separator: ", ")
        try db.execute(
            sql:
                "INSERT INTO run (number, imported, \(run)) SELECT 1, NULL, \(run) FROM other.run WHERE number = ?",
            arguments: [number])
        for table in extractedTables {
            let names = try columns(table, without: "run")
            try db.execute(
                sql:
                    "INSERT INTO \(table) (run, \(names)) SELECT 1, \(names) FROM other.\(table) WHERE run = ?",
                arguments: [number])
        }
        // Series are numbered anew, in their order.
        let names = try columns("series", without: "run").split(separator: ", ").filter {
            $0 != "id" && $0 != "sealed"
        }.joined(separator: ", ")
        let rows = try Int64.fetchAll(
            db, sql: "SELECT id FROM other.series WHERE run = ? ORDER BY id", arguments: [number])
        for (index, row) in rows.enumerated() {
            try db.execute(
                sql:
                    "INSERT INTO series (id, run, sealed, \(names)) SELECT ?, 1, 0, \(names) FROM other.series WHERE id = ?",
                arguments: [index + 1, row])
            for table in ["point", "proportion"] {
                let names = try columns(table, without: "series")
                try db.execute(
                    sql:
                        "INSERT INTO \(table) (series, \(names)) SELECT ?, \(names) FROM other.\(table) WHERE series = ?",
                    arguments: [index + 1, row])
            }
        }
    }

    private static func hashRestricted(_ db: Database, _ hashing: (String) -> String) throws -> Bool
    {
        let rows = try Row.fetchAll(
            db, sql: "SELECT ordinal, prompt, answer FROM item WHERE restricted")
        for row in rows {
            try db.execute(
                sql: "UPDATE item SET prompt = ?, answer = ? WHERE run = 1 AND ordinal = ?",
                arguments: [hashing(row[1]), hashing(row[2]), row[0] as Int64])
        }
        return !rows.isEmpty
    }

    /// Every text, and every output that is text.
    private static func scrub(_ db: Database, _ scrubbing: (String) -> String) throws {
        for table in ["source", "run", "companion", "patch"] + extractedTables {
            for column in try db.columns(in: table)
            where column.type == "TEXT" && column.name != "id" && column.name != "sha256" {
                for text in try String.fetchAll(
                    db,
                    sql:
                        "SELECT DISTINCT \(column.name) FROM \(table) WHERE \(column.name) IS NOT NULL"
                ) {
                    let clean = scrubbing(text)
                    guard clean != text else { continue }
                    try db.execute(
                        sql: "UPDATE \(table) SET \(column.name) = ? WHERE \(column.name) = ?",
                        arguments: [clean, text])
                }
            }
        }
        try db.execute(
            sql: "UPDATE run SET remote = NULL, branch = NULL, commit_id = NULL, snapshot = NULL")
        for row in try Row.fetchAll(db, sql: "SELECT ordinal, bytes FROM output") {
            guard let text = String(validating: row[1] as Data, as: UTF8.self) else { continue }
            let clean = scrubbing(text)
            if clean != text {
                try db.execute(
                    sql: "UPDATE output SET bytes = ? WHERE run = 1 AND ordinal = ?",
                    arguments: [Data(clean.utf8), row[0] as Int64])
            }
        }
    }

    private static func copySeal(_ db: Database, _ number: Int64, isChanged: Bool) throws {
        guard
            let seal = try Row.fetchOne(
                db, sql: "SELECT status, ended, sha256, headline FROM other.seal WHERE run = ?",
                arguments: [number])
        else { return }
        let own =
            try isChanged
            ? Provenance.Seal.digest(db, run: 1, status: seal[0], ended: seal[1])
            : seal[2] as String
        try db.execute(sql: "UPDATE series SET sealed = 1")
        try db.execute(
            sql: "INSERT INTO seal VALUES (1, ?, ?, ?, ?)",
            arguments: [seal[0] as String, seal[1] as Int64, own, seal[3] as String])
    }

    /// The header says how often the file was changed and by which SQLite; neither is of the run.
    /// Source: SQLite's file format, 1.3: offsets 24 (change counter), 92 and 96.
    private static func forgetVersion(_ path: String) throws {
        guard let file = FileHandle(forUpdatingAtPath: path) else { return }
        defer { try? file.close() }
        for (offset, bytes) in [(24, [0, 0, 0, 1]), (92, [0, 0, 0, 1, 0, 0, 0, 0])]
            as [(UInt64, [UInt8])]
        {
            try file.seek(toOffset: offset)
            try file.write(contentsOf: bytes)
        }
    }
}
