// What the ledger's folder holds that no run needs. References are counted by a query over the rows,
// so no counter can be wrong.

internal import Events
internal import Foundation
internal import GRDB

/// What could be removed, and how much that would free.
package struct Garbage: Sendable, Hashable {
    /// Objects that no run names.
    package var objects: [String] = []
    /// Values of marked cells, which `replay --cell` would use: the cells give them again.
    package var states: [String] = []
    /// Scratch folders of runs that are over.
    package var scratch: [String] = []
    /// References `refs/study/runs/ID` of runs that are not in the ledger.
    package var references: [String] = []
    package var bytes: Int64 = 0

    package var isEmpty: Bool {
        objects.isEmpty && states.isEmpty && scratch.isEmpty && references.isEmpty
    }
}

extension Ledger {
    private static let references = """
        SELECT sha256 FROM artifact UNION SELECT sha256 FROM artifact_file
        UNION SELECT sha256 FROM input UNION SELECT sha256 FROM input_file
        UNION SELECT sha256 FROM upstream
        UNION SELECT sha256 FROM source_file
        """
    private static let upstreamFolders = "SELECT DISTINCT sha256 FROM upstream WHERE is_folder"

    /// The objects that a run's artifacts, inputs and imported source name, and those that it was given by other runs.
    /// - Parameter store: Where the files of given folders are looked up; this ledger's own where nil.
    package func neededObjects(of id: String, in store: ObjectStore? = nil) throws -> Set<String> {
        let (named, folders) = try read { db in
            let number = try Int64.fetchOne(
                db, sql: "SELECT number FROM run WHERE id = ?", arguments: [id])
            return (
                try String.fetchAll(
                    db,
                    sql: """
                        SELECT sha256 FROM artifact WHERE run = :n UNION SELECT sha256 FROM artifact_file
                        WHERE run = :n UNION SELECT sha256 FROM input WHERE run = :n
                        UNION SELECT sha256 FROM input_file WHERE run = :n
                        UNION SELECT sha256 FROM upstream WHERE run = :n
                        UNION SELECT sha256 FROM source_file WHERE run = :n
                        """,
                    arguments: ["n": number]),
                try String.fetchAll(
                    db, sql: Self.upstreamFolders + " AND run = ?", arguments: [number])
            )
        }
        return Set(named).union(files(of: folders, in: store ?? objects))
    }

    /// The files of folders whose manifests `store` has. A run may rest on a folder that none of its cells has asked
    /// for, and whose producer is in another ledger.
    private func files(of folders: [String], in store: ObjectStore) -> [String] {
        folders.flatMap { sha256 in
            (try? store.bytes(sha256)).flatMap {
                FolderManifest(text: String(decoding: $0, as: UTF8.self))
            }?.entries.map(\.sha256) ?? []
        }
    }

    /// Finds what no run needs; removes nothing.
    ///
    /// A file younger than an hour is left alone: its run may be about to write the row that names it.
    /// - Parameter states: Whether the values of marked cells count as what no run needs. They are at no other place,
    ///   so these go however young they are, but for those of a run that still goes on.
    package func garbage(olderThan age: Double = 3600, states: Bool = false) throws -> Garbage {
        var garbage = Garbage()
        let (named, cached, folders, runs) = try read { db in
            (
                try Set(String.fetchAll(db, sql: Self.references)),
                try Set(
                    String.fetchAll(
                        db,
                        sql: """
                            SELECT sha256 FROM cell_state WHERE ? = 0
                            OR run NOT IN (SELECT run FROM seal)
                            """, arguments: [states])),
                try String.fetchAll(db, sql: Self.upstreamFolders),
                try Set(String.fetchAll(db, sql: "SELECT id FROM run"))
            )
        }
        let needed = named.union(files(of: folders, in: objects)).union(cached)
        let all = try Set(read { try String.fetchAll($0, sql: "SELECT sha256 FROM cell_state") })
        let limit = Timestamp.now.nanoseconds - Int64(age * 1e9)
        for (sha256, size) in try objects.all() where !needed.contains(sha256) {
            if all.contains(sha256) {
                garbage.states.append(sha256)
                garbage.bytes += size
                continue
            }
            // A copy keeps no old time: what counts is when it came into the store.
            guard let identity = FileIdentity(objects.path(of: sha256)), identity.changed <= limit
            else {
                continue
            }
            garbage.objects.append(sha256)
            garbage.bytes += size
        }
        let active = try list().runs.filter { $0.status == .running }.map(\.id)
        let scratches = (try? FileManager.default.contentsOfDirectory(atPath: scratchFolder)) ?? []
        for name in scratches.sorted() where !active.contains(where: { name.hasSuffix($0) }) {
            let path = scratchFolder + "/" + name
            guard let identity = FileIdentity(path), identity.changed <= limit else { continue }
            garbage.scratch.append(name)
            garbage.bytes += try filesBelow(path).reduce(0) {
                $0 + (FileIdentity(path + "/" + $1)?.size ?? 0)
            }
        }
        if let repository = try? Repository(containing: parent(of: folder)),
            // A ledger elsewhere (`--ledger`) knows nothing of this repository's other runs.
            realPath(repository.root) == realPath(parent(of: folder))
        {
            let names = (try? repository.references(matching: "refs/study/runs/*")) ?? []
            garbage.references = names.filter { !runs.contains(String($0.dropFirst(16))) }
        }
        return garbage
    }

    /// Removes what ``garbage(olderThan:)`` found.
    package func remove(_ garbage: Garbage) throws {
        for sha256 in garbage.objects + garbage.states { objects.remove(sha256) }
        for name in garbage.scratch {
            try? FileManager.default.removeItem(atPath: scratchFolder + "/" + name)
        }
        if let repository = try? Repository(containing: parent(of: folder)) {
            for name in garbage.references { try? repository.removeReference(name) }
        }
    }
}
