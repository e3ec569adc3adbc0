// The record of all runs beside a repository: one SQLite file and a folder of objects. RunWriter.swift
// writes a run, RunRecord.swift reads one, RunList.swift many.

internal import Foundation
internal import Glibc
internal import GRDB
internal import GRDBSQLite

/// An open ledger. Many processes may hold the same one; each run has one writer.
///
/// What survives: each commit is a `write` to the WAL file, so nothing acknowledged is lost when this
/// process dies; the WAL is synced at least each 0.5 s while a run writes, so a power cut loses less
/// than a second (``RunWriter``).
package final class Ledger: Sendable {
    /// The folder that holds `ledger.sqlite` and `objects`: `.study` beside the repository.
    package let folder: String
    package let objects: ObjectStore
    let queue: DatabaseQueue

    package var path: String { folder + "/ledger.sqlite" }
    /// Where scratch worktrees and kernels' sockets may lie.
    package var scratchFolder: String { folder + "/scratch" }

    private init(folder: String, queue: DatabaseQueue) {
        self.folder = folder
        self.queue = queue
        objects = ObjectStore(folder + "/objects")
    }

    /// How long a transaction waits for another process's, in seconds. Transactions last milliseconds;
    /// who waits this long waits for a stopped process.
    private static let patience: Double = 60

    /// Opens the ledger in `root/.study`, making it where there is none.
    /// - Throws: ``ProvenanceError`` with reason `.cannotOpen`, `.readOnly`, `.diskFull`, `.corrupted`,
    ///   `.notALedger` or `.newerLedger`.
    package static func open(under root: String) throws -> Ledger {
        let folder = try makeOwnFolder(under: root)
        let path = folder + "/ledger.sqlite"
        // Two runs that start in a fresh repository at once would both make the tables.
        let lock = Glibc.open(folder + "/lock", O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        if lock < 0 { throw cannotWrite(folder + "/lock") }
        defer { close(lock) }
        flock(lock, LOCK_EX)
        if access(path, F_OK) == 0, access(path, W_OK) != 0 { throw cannotWrite(path) }
        var configuration = Configuration()
        configuration.busyMode = .timeout(patience)
        configuration.label = "ledger"
        configuration.prepareDatabase { db in
            try db.execute(sql: "PRAGMA journal_mode = WAL")
            // NORMAL: commits are written, not synced; RunWriter syncs on its own clock.
            try db.execute(sql: "PRAGMA synchronous = NORMAL")
            // 16 MiB between checkpoints: four times fewer than by default, at no cost to readers.
            try db.execute(sql: "PRAGMA wal_autocheckpoint = 4000")
            try db.execute(sql: "PRAGMA trusted_schema = OFF")
        }
        return try rethrowing(path) {
            let queue = try DatabaseQueue(path: path, configuration: configuration)
            let migrator = Migrations.migrator
            let (superseded, complete) = try queue.read { db in
                (try migrator.hasBeenSuperseded(db), try migrator.hasCompletedMigrations(db))
            }
            if superseded { throw newer(path) }
            if !complete { try migrator.migrate(queue) }
            return Ledger(folder: folder, queue: queue)
        }
    }

    /// Makes `root/.study`, and in it what keeps Git from looking.
    /// - Returns: Its path in full: cells are loaded from below it by a process that stands elsewhere.
    private static func makeOwnFolder(under root: String) throws -> String {
        try makeFolder((root == "/" ? "" : root) + "/.study")
        let folder = realPath((root == "/" ? "" : root) + "/.study")
        // So that no `git status` and no snapshot shows what lies here.
        let ignore = folder + "/.gitignore"
        if access(ignore, F_OK) != 0 {
            let file = Glibc.open(ignore, O_WRONLY | O_CREAT | O_CLOEXEC, 0o644)
            if file < 0 { throw cannotWrite(ignore) }
            defer { close(file) }
            if Glibc.write(file, "*\n", 2) != 2 { throw cannotWrite(ignore) }
        }
        return folder
    }

    /// The ledger in `root/.study`, or where there is none an empty one in memory: for whoever looks and records
    /// nothing. The folder is made all the same, for what is compiled.
    package static func openOrEmpty(_ root: String) throws -> Ledger {
        let path = (root == "/" ? "" : root) + "/.study/ledger.sqlite"
        if access(path, F_OK) == 0 { return try openForReading(root) }
        let folder = try makeOwnFolder(under: root)
        return try rethrowing(path) {
            let queue = try DatabaseQueue()
            try Migrations.migrator.migrate(queue)
            return Ledger(folder: folder, queue: queue)
        }
    }

    /// Opens a ledger for reading alone: in place, or where its folder cannot be written as SQLite's
    /// `immutable` file.
    package static func openForReading(_ root: String) throws -> Ledger {
        let folder = (root == "/" ? "" : root) + "/.study"
        let path = folder + "/ledger.sqlite"
        guard access(path, F_OK) == 0 else {
            throw ProvenanceError(
                .noLedger, "There is no ledger here yet.", where: path,
                mend: "`study run FILE.md` makes it, or name its place with `--ledger FOLDER`")
        }
        if access(path, W_OK) == 0, access(folder, W_OK) == 0 { return try open(under: root) }
        return try rethrowing(path) {
            var configuration = Configuration()
            configuration.readonly = true
            let escaped = path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path
            let queue = try DatabaseQueue(
                path: "file:\(escaped)?immutable=1", configuration: configuration)
            return Ledger(folder: folder, queue: queue)
        }
    }

    /// Where the ledger for a study or a folder belongs: beside the repository it lies in, else the
    /// nearest folder above that has one, else the folder itself.
    package static func root(for path: String) -> String {
        let full = realPath(path)
        let folder = FileIdentity(full)?.isFolder == true ? full : parent(of: full)
        if let repository = repositoryRoot(containing: folder) { return repository }
        var candidate = folder
        while true {
            if access(candidate + "/.study/ledger.sqlite", F_OK) == 0 { return candidate }
            if candidate == "/" || candidate == "." { return folder }
            candidate = parent(of: candidate)
        }
    }

    /// Whether a path is the ledger's, so that a cell has no business there; its scratch folders are for
    /// cells.
    package func owns(_ path: String) -> Bool {
        let (path, own) = (realPath(path), realPath(folder))
        return (path == own || path.hasPrefix(own + "/"))
            && !path.hasPrefix(realPath(scratchFolder) + "/")
    }

    /// Syncs what is committed to the disk. Only the database and its index are locked by SQLite, so
    /// opening the WAL file beside it is safe.
    func synchronize() throws {
        let descriptor = Glibc.open(path + "-wal", O_RDONLY | O_CLOEXEC)
        // Without a WAL everything is in the database, which the checkpoint has synced.
        guard descriptor >= 0 else { return }
        defer { close(descriptor) }
        if fdatasync(descriptor) != 0 { throw cannotWrite(path + "-wal") }
    }

    func read<T>(_ body: (Database) throws -> T) throws -> T {
        try rethrowing(path) { try queue.read(body) }
    }

    /// One short IMMEDIATE transaction: the lock is taken at its start, so nothing is done in vain.
    func write<T>(_ body: (Database) throws -> T) throws -> T {
        try rethrowing(path) {
            try queue.writeWithoutTransaction { db in
                var result: T?
                try db.inTransaction(.immediate) {
                    result = try body(db)
                    return .commit
                }
                return result!
            }
        }
    }
}

/// Turns SQLite's codes into sentences.
func rethrowing<T>(_ path: String, _ body: () throws -> T) throws -> T {
    do {
        return try body()
    } catch let error as DatabaseError {
        throw sentence(for: error, path)
    }
}

private func newer(_ path: String) -> ProvenanceError {
    ProvenanceError(
        .newerLedger, "This ledger was made by a newer `study`.", where: path,
        mend: "install that version, or `study import` this ledger's runs with it")
}

private func sentence(for error: DatabaseError, _ path: String) -> ProvenanceError {
    let message = error.message ?? "no reason given"
    switch error.resultCode {
    case .SQLITE_FULL:
        return ProvenanceError(
            .diskFull, "The disk is full: the ledger takes no more rows.", where: path,
            mend: "free some space (`study gc` lists what it could remove), then run again")
    case .SQLITE_READONLY, .SQLITE_PERM:
        return ProvenanceError(
            .readOnly, "The ledger cannot be written: \(message).", where: path,
            mend:
                "give this user the right to write it, or name another place with `--ledger FOLDER`"
        )
    case .SQLITE_CORRUPT:
        return ProvenanceError(
            .corrupted, "The ledger is damaged: \(message).", where: path,
            mend: "`study doctor --repair` saves every row that is whole")
    case .SQLITE_NOTADB:
        return ProvenanceError(
            .notALedger, "The file is no SQLite database.", where: path,
            mend: "move it aside, or `study doctor --repair`")
    case .SQLITE_CONSTRAINT where message.contains("sealed"):
        return ProvenanceError(
            .sealed, "A sealed run is read-only: \(message).", where: path,
            mend: "start a new run; the old one stays as it was")
    case .SQLITE_BUSY:
        return ProvenanceError(
            .cannotOpen, "Another process has held the ledger for a minute.", where: path,
            mend: "look for a stopped `study` (`ps`), and end it")
    case .SQLITE_CANTOPEN:
        return ProvenanceError(
            .cannotOpen, "The ledger cannot be opened: \(message).", where: path,
            mend: "check that its folder exists and can be written")
    case .SQLITE_IOERR:
        return ProvenanceError(
            .cannotOpen, "The disk refused to read or write the ledger: \(message).", where: path,
            mend: "check the disk and that the folder is still there; then `study doctor`")
    default:
        return ProvenanceError(
            .cannotOpen,
            "The ledger refused: \(message) (SQLite \(error.extendedResultCode.rawValue)).",
            where: path, mend: "`study doctor` says whether it is whole")
    }
}
