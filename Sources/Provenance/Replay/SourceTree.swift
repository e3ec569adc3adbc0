// The files that a run ran on: from the commit where a repository has it, else as a bundle brought them.

internal import Foundation
internal import GRDB

/// A file of the tree that a run ran on, as a bundle brings it.
package struct SourceFile: Sendable, Hashable {
    /// Relative to the repository's root.
    package var path: String
    /// Where its bytes lie now.
    package var file: String
    package var isExecutable: Bool
    package init(path: String, file: String, isExecutable: Bool) {
        self.path = path
        self.file = file
        self.isExecutable = isExecutable
    }

    /// Whether the path stays below the folder it is meant for; a bundle is a stranger's.
    var staysInside: Bool {
        !path.isEmpty && !path.hasPrefix("/")
            && !path.split(separator: "/", omittingEmptySubsequences: false).contains {
                $0.isEmpty || $0 == "." || $0 == ".."
            }
    }
}

extension Ledger {
    /// Keeps the files of a run whose commit is not at hand, once.
    /// - Throws: ``ProvenanceError`` with reason `.incomplete` where a path leads outside.
    package func keep(_ files: [SourceFile], asSourceOf id: String) throws {
        if let file = files.first(where: { !$0.staysInside }) {
            throw ProvenanceError(
                .incomplete, "The source holds a path that leads out of its folder: \(file.path).",
                where: "run \(id)", mend: "do not trust this bundle")
        }
        let known = try read { db in
            try Bool.fetchOne(
                db,
                sql: """
                    SELECT EXISTS (SELECT 1 FROM source_file JOIN run ON run.number = source_file.run
                        WHERE run.id = ?)
                    """, arguments: [id]) ?? false
        }
        if known { return }
        let digests = try files.map { try objects.store(file: $0.file) }
        try write { db in
            let number = try Int64.fetchOne(
                db, sql: "SELECT number FROM run WHERE id = ?", arguments: [id])
            for (file, digest) in zip(files, digests) {
                try db.execute(
                    sql: "INSERT INTO source_file VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                    arguments: [number, file.path, digest.sha256, digest.size, file.isExecutable])
            }
        }
    }

    /// The folder that stands for a run's root: where the ledger lies beside the code, that; where it was named by
    /// `--ledger`, the repository that the study lay in, or the one around the working directory, whichever has what
    /// ran.
    /// - Parameter root: The folder that holds the ledger.
    package static func sourceRoot(of run: RunRecord, ledgerRoot root: String) -> String {
        guard let commit = run.code.snapshot ?? run.code.commit else { return root }
        var candidates = [root]
        if run.study.hasPrefix("/") { candidates.append(parent(of: run.study)) }
        candidates.append(FileManager.default.currentDirectoryPath)
        for candidate in candidates {
            if let repository = try? Repository(containing: candidate),
                repository.contains(commit: commit)
            {
                return candidate == root ? root : realPath(repository.root)
            }
        }
        return root
    }

    /// Writes the tree that a run ran on below `folder`.
    /// - Parameter root: The folder that holds the ledger.
    /// - Returns: False where the run had none: the study is all there is.
    /// - Throws: ``ProvenanceError`` with reason `.git` where its commit is nowhere.
    package func layOutSource(of run: RunRecord, root: String, into folder: String) throws -> Bool {
        guard let commit = run.code.snapshot ?? run.code.commit else { return false }
        let files = try read { db in
            try Row.fetchAll(
                db,
                sql:
                    "SELECT path, sha256, is_executable FROM source_file WHERE run = ? ORDER BY path",
                arguments: [run.number]
            ).map { ($0[0] as String, $0[1] as String, $0[2] as Bool) }
        }
        if files.isEmpty {
            let root = Self.sourceRoot(of: run, ledgerRoot: root)
            try Checkout.write(commit: commit, of: root, into: folder)
            return true
        }
        for (path, sha256, isExecutable) in files {
            let place = folder + "/" + path
            try objects.copy(sha256, to: place)
            if isExecutable { chmod(place, 0o755) }
        }
        return true
    }

    /// What a run of a bundle still lacks here: objects that its rows name and the store has not.
    package func missingObjects(of id: String) throws -> Set<String> {
        try neededObjects(of: id).filter { !objects.contains($0) }
    }
}
