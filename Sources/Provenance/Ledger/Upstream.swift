// Which run made what another run took: the links between consumers and producers, the search for a run that can be
// taken from, and the artifact's way out of the object store.

internal import Foundation
internal import GRDB

/// One artifact that a run takes from another: `inputs` of the front matter, resolved.
package struct UpstreamLink: Sendable, Hashable {
    /// What the consumer's cells call it.
    package var name: String
    /// The producer's study, as the ledger calls it.
    package var study: String
    package var artifact: String
    /// The producer's run.
    package var producer: String
    /// The producer's content key (``ContentKey``).
    package var key: String
    /// Of the file, or of the folder's manifest, as in the producer's ``StoredArtifact``.
    package var sha256: String
    package var isFolder: Bool

    package init(
        name: String, study: String, artifact: String, producer: String, key: String,
        sha256: String, isFolder: Bool
    ) {
        self.name = name
        self.study = study
        self.artifact = artifact
        self.producer = producer
        self.key = key
        self.sha256 = sha256
        self.isFolder = isFolder
    }

    /// The first part of the path under which a cell's reading of such an artifact is on record, and the word for where
    /// a replay finds it.
    package static let folder = "upstream"

    func insert(_ db: Database, run: Int64, ordinal: Int) throws {
        try db.cachedStatement(sql: "INSERT INTO upstream VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)")
            .execute(
                arguments: [run, ordinal, name, study, artifact, producer, key, sha256, isFolder])
    }

    static func fetch(_ db: Database, run: Int64) throws -> [UpstreamLink] {
        try Row.fetchAll(
            db,
            sql: """
                SELECT name, study, artifact, producer, key, sha256, is_folder FROM upstream
                WHERE run = ? ORDER BY ordinal
                """, arguments: [run]
        ).map {
            UpstreamLink(
                name: $0[0], study: $0[1], artifact: $0[2], producer: $0[3], key: $0[4],
                sha256: $0[5], isFolder: $0[6])
        }
    }
}

/// Every run that a run rests on.
package struct Lineage: Sendable, Hashable {
    /// Ids of the runs that are in this ledger, each once, producers before their consumers.
    package var runs: [String] = []
    /// Links to runs that are not.
    package var missing: [UpstreamLink] = []
}

/// An object that an artifact needs and the store does not give.
package struct BrokenObject: Sendable, Hashable {
    package var sha256: String
    /// It is there, with other bytes than its name says.
    package var isSpoiled: Bool
}

extension Ledger {
    /// What a run took from other runs, in the order of its front matter.
    /// - Throws: ``ProvenanceError`` with reason `.noSuchRun` or `.ambiguousRun`.
    package func upstreams(of name: String) throws -> [UpstreamLink] {
        let id = try resolve(name)
        return try read { db in
            let number = try Int64.fetchOne(
                db, sql: "SELECT number FROM run WHERE id = ?", arguments: [id])!
            return try UpstreamLink.fetch(db, run: number)
        }
    }

    /// Every run that a run rests on, however many links away; the run itself is not among them.
    package func lineage(of name: String) throws -> Lineage {
        var lineage = Lineage()
        func visit(_ id: String) throws {
            for link in try upstreams(of: id) {
                if lineage.runs.contains(link.producer) { continue }
                let isHere = try read {
                    try Bool.fetchOne(
                        $0, sql: "SELECT 1 FROM run WHERE id = ?", arguments: [link.producer])
                        ?? false
                }
                guard isHere else {
                    lineage.missing.append(link)
                    continue
                }
                try visit(link.producer)
                if !lineage.runs.contains(link.producer) { lineage.runs.append(link.producer) }
            }
        }
        try visit(resolve(name))
        return lineage
    }

    /// The runs that took something from a run, oldest first.
    package func consumers(of id: String) throws -> [(run: String, study: String, artifact: String)]
    {
        try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT r.id, r.study, u.artifact FROM upstream u JOIN run r ON r.number = u.run
                    WHERE u.producer = ? ORDER BY r.began, u.ordinal
                    """, arguments: [id]
            ).map { ($0[0], $0[1], $0[2]) }
        }
    }

    /// Runs that succeeded with this content key, newest first. Replays are not among them: they stand for their
    /// originals.
    package func runs(withKey key: String) throws -> [String] {
        try read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT r.id FROM content_key k JOIN run r ON r.number = k.run
                    JOIN seal s ON s.run = r.number
                    WHERE k.key = ? AND s.status = 'succeeded' AND r.replay_of IS NULL
                    ORDER BY r.began DESC
                    """, arguments: [key])
        }
    }

    /// What the store lacks of an artifact; empty where it is whole. Files that are as they were when last hashed are
    /// not read again.
    /// - Parameters:
    ///   - sha256: Of the file, or of the folder's manifest.
    package func brokenObjects(of sha256: String, isFolder: Bool) throws -> [BrokenObject] {
        guard isFolder else { return try broken([sha256]) }
        let own = try broken([sha256])
        guard own.isEmpty else { return own }
        return try broken(manifest(sha256).entries.map(\.sha256))
    }

    private func broken(_ names: [String]) throws -> [BrokenObject] {
        let present = names.filter(objects.contains)
        let digests = try digests(of: present.map(objects.path))
        let good = Set(zip(present, digests).filter { $0 == $1.sha256 }.map(\.0))
        var seen: Set<String> = []
        return names.filter { !good.contains($0) && seen.insert($0).inserted }.map {
            BrokenObject(sha256: $0, isSpoiled: objects.contains($0))
        }
    }

    /// A folder's files, from the manifest that the store keeps under the folder's digest.
    func manifest(_ sha256: String) throws -> FolderManifest {
        let text = String(decoding: try objects.bytes(sha256), as: UTF8.self)
        guard let manifest = FolderManifest(text: text) else {
            throw ProvenanceError(
                .corrupted, "The object \(short(sha256)) is no list of a folder's files.",
                where: objects.path(of: sha256), mend: "`study doctor` says what else is damaged")
        }
        return manifest
    }

    /// Writes an artifact's file, or its folder, at `destination`, each byte checked on the way.
    /// - Throws: ``ProvenanceError`` with reason `.missingObject` or `.corrupted`.
    package func layOut(_ link: UpstreamLink, at destination: String) throws {
        guard link.isFolder else {
            try objects.copy(link.sha256, to: destination)
            return
        }
        try makeFolder(destination)
        for file in try manifest(link.sha256).entries {
            try objects.copy(file.sha256, to: destination + "/" + file.path)
        }
    }

    /// The first recorded file of a run that is not what it was: what a cell called it, as the file is now. Nil where a
    /// new run would read the same bytes.
    /// - Parameter find: Where a new run would look for what a cell calls so.
    package func changedInput(of run: RunRecord, find: (String) -> String) throws -> String? {
        let taken = Set(run.upstreams.map(\.name))
        for input in run.inputs where !taken.contains(input.written) {
            let path = find(input.written)
            guard let identity = FileIdentity(path) else { return "\(input.written) is gone" }
            guard identity.isFolder == input.isFolder else {
                return "\(input.written) has changed"
            }
            guard try digest(ofInput: path) == input.sha256 else {
                return "\(input.written) has changed"
            }
        }
        return nil
    }

    /// The digest of a file or folder as ``RunWriter/input(cell:path:written:kind:expected:from:)`` takes it.
    /// - Returns: Nil where nothing lies there.
    package func digest(ofInput path: String) throws -> String? {
        guard let identity = FileIdentity(path) else { return nil }
        guard identity.isFolder else { return try digests(of: [path])[0].sha256 }
        let names = try filesBelow(path)
        let digests = try digests(of: names.map { path + "/" + $0 })
        return FolderManifest(
            zip(names, digests).map { ManifestEntry(path: $0, sha256: $1.sha256, size: $1.size) }
        ).digest.hex
    }
}
