// Hashes what a cell reads and keeps what it makes. Files are hashed outside the writer's lock: a
// gigabyte of weights must not hold up another cell's metrics.

package import Events

internal import Dispatch
internal import Foundation
internal import GRDB
internal import Synchronization

/// A file or folder that a cell read.
package struct InputRecord: Sendable, Hashable {
    package var cell: Int
    /// As the cell wrote it.
    package var written: String
    /// Relative to the repository (or the study's folder) where it lies below it.
    package var path: String
    package var kind: String
    package var sha256: String
    package var size: Int64
    package var isFolder: Bool
    /// "snapshot", "ignored", "outside", "no git" or "upstream": where a replay finds it again.
    package var tracking: String
    /// Whether the object store has it.
    package var isStored: Bool
    /// The digest found at the end of the run, where it was another.
    package var changed: String?
    /// For a folder, its files.
    package var files: [ManifestEntry] = []

    /// Where it lay, and what it looked like; for the check at the end, not recorded.
    var fullPath = ""
    var identities: [String: FileIdentity] = [:]

    func insert(_ db: Database, run: Int64, ordinal: Int64) throws {
        try db.cachedStatement(sql: "INSERT INTO input VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .execute(
                arguments: [
                    run, ordinal, cell, written, path, kind, sha256, size, isFolder, tracking,
                    isStored,
                    changed,
                ])
        for file in files {
            try db.cachedStatement(sql: "INSERT INTO input_file VALUES (?, ?, ?, ?, ?)").execute(
                arguments: [run, ordinal, file.path, file.sha256, file.size])
        }
    }
}

/// An artifact whose bytes the object store has.
package struct StoredArtifact: Sendable, Hashable {
    package var cell: Int
    package var name: String
    package var mediaType: String
    package var kind: String
    /// Of the file, or of the folder's manifest.
    package var sha256: String
    package var size: Int64
    package var isFolder: Bool
    package var files: [ManifestEntry] = []

    func insert(_ db: Database, run: Int64, ordinal: Int64) throws {
        try db.cachedStatement(sql: "INSERT INTO artifact VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .execute(
                arguments: [run, ordinal, cell, name, mediaType, kind, sha256, size, isFolder])
        for file in files {
            try db.cachedStatement(sql: "INSERT INTO artifact_file VALUES (?, ?, ?, ?, ?, ?)")
                .execute(
                    arguments: [run, ordinal, file.path, file.sha256, file.size, file.isExecutable])
        }
    }
}

extension RunWriter {
    /// Hashes a file or folder before a cell reads it, and takes it down.
    ///
    /// A file that the ledger has hashed before, and that has the same device, inode, size and times,
    /// is not read again.
    /// - Parameters:
    ///   - path: Where it lies, relative to the working directory or absolute.
    ///   - written: As the cell wrote it.
    ///   - expected: The digest that the front matter demands.
    ///   - link: Where it comes from, for an artifact of another run: the path on record is then that of the artifact,
    ///     since the copy that the cell reads goes with the run's scratch folder.
    /// - Throws: ``ProvenanceError`` with reason `.missingFile`, `.unreadableFile` or `.changedFile`.
    package func input(
        cell: Int, path: String, written: String, kind: String, expected: String? = nil,
        from link: UpstreamLink? = nil
    ) throws -> InputRecord {
        let full = realPath(path)
        guard let identity = FileIdentity(full) else { throw unreadable(path) }
        guard identity.isFile || identity.isFolder else {
            throw ProvenanceError(
                .unreadableFile, "\(written) is neither a file nor a folder.", where: full,
                mend: "write it to a file first, so that it can be hashed")
        }
        var record = InputRecord(
            cell: cell, written: written, path: "", kind: kind, sha256: "", size: 0,
            isFolder: identity.isFolder, tracking: "", isStored: keepsInputs || link != nil)
        record.fullPath = full
        (record.path, record.tracking) =
            link.map {
                ("\(UpstreamLink.folder)/\($0.producer)/\($0.artifact)", UpstreamLink.folder)
            }
            ?? place(of: full)
        // The producer's artifact is in the store already.
        let isToStore = keepsInputs && link == nil

        if identity.isFolder {
            let names = try filesBelow(full)
            let digests = try ledger.digests(of: names.map { full + "/" + $0 })
            record.files = zip(names, digests).map { name, digest in
                ManifestEntry(path: name, sha256: digest.sha256, size: digest.size)
            }
            let manifest = FolderManifest(record.files)
            record.files = manifest.entries
            record.sha256 = manifest.digest.hex
            record.size = manifest.size
            for (name, digest) in zip(names, digests) { record.identities[name] = digest.identity }
            if isToStore { try ledger.objects.store(folder: full) }
        } else {
            let digest = try ledger.digests(of: [full])[0]
            record.sha256 = digest.sha256
            record.size = digest.size
            record.identities[""] = digest.identity
            if isToStore { try ledger.objects.store(file: full) }
        }
        if let expected, expected != record.sha256 {
            throw ProvenanceError(
                .changedFile,
                "\(written) is not the file that the study names: sha256 \(short(expected)) declared, "
                    + "\(short(record.sha256)) found.",
                where: full,
                mend: "fetch the declared file again, or correct its sha256 in `datasets`")
        }
        try state.withLock { state in
            try check(state)
            state.inputs.append(record)
            state.events.append(.input(record))
            try write(&state)
        }
        return record
    }

    /// Hashes and stores a file or folder that a cell has made.
    @discardableResult
    package func keep(_ record: ArtifactRecord) throws -> StoredArtifact {
        guard let identity = FileIdentity(record.path) else { throw unreadable(record.path) }
        var artifact = StoredArtifact(
            cell: record.cell, name: record.name, mediaType: record.mediaType, kind: record.kind,
            sha256: "", size: 0, isFolder: identity.isFolder)
        if identity.isFolder {
            let manifest = try ledger.objects.store(folder: record.path)
            artifact.files = manifest.entries
            artifact.sha256 = manifest.digest.hex
            artifact.size = manifest.size
        } else {
            let digest = try ledger.objects.store(file: record.path)
            artifact.sha256 = digest.sha256
            artifact.size = digest.size
        }
        try state.withLock { state in
            try check(state)
            state.events.append(.artifact(artifact))
            try write(&state)
        }
        return artifact
    }

    /// The inputs whose bytes are no longer those that were hashed on the way in.
    func changedInputs(_ inputs: [InputRecord]) -> [InputRecord] {
        inputs.compactMap { input in
            var changed = input
            if !input.isFolder {
                if FileIdentity(input.fullPath) == input.identities[""] { return nil }
                let now = try? hashFile(input.fullPath).digest.sha256
                if now == input.sha256 { return nil }
                changed.changed = now ?? "gone"
                return changed
            }
            let names = (try? filesBelow(input.fullPath)) ?? []
            if names.count == input.files.count,
                names.allSatisfy({
                    FileIdentity(input.fullPath + "/" + $0) == input.identities[$0]
                        && input.identities[$0] != nil
                })
            {
                return nil
            }
            let manifest = try? FolderManifest(
                names.map {
                    let digest = try hashFile(input.fullPath + "/" + $0).digest
                    return ManifestEntry(path: $0, sha256: digest.sha256, size: digest.size)
                })
            if manifest?.digest.hex == input.sha256 { return nil }
            changed.changed = manifest?.digest.hex ?? "gone"
            return changed
        }
    }

    /// The path to write down, and where a replay will find the file.
    private func place(of full: String) -> (path: String, tracking: String) {
        guard let root, let relative = relativePath(full, to: root) else {
            // A home folder's name is its owner's; the rest says enough.
            let home = getenv("HOME").map { String(cString: $0) } ?? ""
            let below = home.isEmpty ? nil : relativePath(full, to: home)
            return (below.map { "~/" + $0 } ?? full, "outside")
        }
        if keepsInputs { return (relative, "no git") }
        let ignored = (try? Repository(containing: root))?.isIgnored(relative) ?? false
        return (relative, ignored ? "ignored" : "snapshot")
    }
}

/// The first and last digits of a digest, as people compare them.
func short(_ sha256: String) -> String {
    sha256.count > 12 ? "\(sha256.prefix(4))…\(sha256.suffix(4))" : sha256
}

extension Ledger {
    struct CachedDigest: Sendable {
        var sha256: String
        var size: Int64
        var identity: FileIdentity
    }

    /// The digests of files, from the ledger's cache where a file is as it was, several at a time
    /// where not.
    func digests(of paths: [String]) throws -> [CachedDigest] {
        let identities = try paths.map { path in
            guard let identity = FileIdentity(path) else { throw unreadable(path) }
            return identity
        }
        var result = try read { db in
            let statement = try db.cachedStatement(
                sql: """
                    SELECT sha256 FROM file_digest WHERE device = ? AND inode = ? AND size = ?
                    AND modified = ? AND changed = ?
                    """)
            return try identities.map { identity -> CachedDigest? in
                try String.fetchOne(
                    statement,
                    arguments: [
                        identity.device, identity.inode, identity.size, identity.modified,
                        identity.changed,
                    ]
                ).map { CachedDigest(sha256: $0, size: identity.size, identity: identity) }
            }
        }
        let missing = result.indices.filter { result[$0] == nil }
        guard !missing.isEmpty else { return result.map { $0! } }
        let found = Mutex<[Int: Result<CachedDigest, any Error>]>([:])
        DispatchQueue.concurrentPerform(iterations: missing.count) { position in
            let index = missing[position]
            let outcome = Result { () throws -> CachedDigest in
                let (digest, identity) = try hashFile(paths[index])
                return CachedDigest(sha256: digest.sha256, size: digest.size, identity: identity)
            }
            found.withLock { $0[index] = outcome }
        }
        for (index, outcome) in found.withLock({ $0 }) { result[index] = try outcome.get() }
        let fresh = missing.compactMap { result[$0] }
        let now = Timestamp.now.nanoseconds
        try write { db in
            for digest in fresh {
                // A file written in the last two seconds may change again without its times showing it.
                guard now - max(digest.identity.modified, digest.identity.changed) > 2_000_000_000
                else { continue }
                try db.cachedStatement(
                    sql: "INSERT OR REPLACE INTO file_digest VALUES (?, ?, ?, ?, ?, ?)"
                )
                .execute(
                    arguments: [
                        digest.identity.device, digest.identity.inode, digest.identity.size,
                        digest.identity.modified, digest.identity.changed, digest.sha256,
                    ])
            }
        }
        return result.map { $0! }
    }
}

extension [UInt8] {
    var data: Data { Data(self) }
}
