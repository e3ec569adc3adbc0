// Keeps a worktree that differs from its commit: tracked changes, untracked files, modes, submodules.
// Writes objects only; which reference holds them is CodeIdentity's business.

internal import CGit2
internal import Foundation

enum Snapshot {
    /// Fills in what differs and, where something does, writes a commit that holds it.
    ///
    /// One difference between HEAD's tree and the files, taken through the index, so that Git's own
    /// cache of sizes and times spares the reading of unchanged files. The index is not written back.
    /// - Parameter budget: How many bytes may still be stored; lowered by what is.
    static func take(
        of repository: Repository, into identity: inout CodeIdentity, budget: inout Int64,
        message: String
    ) throws {
        let base: OpaquePointer? = try identity.commit.map { try repository.tree(of: $0) }
        defer { base.map { git_tree_free($0) } }

        var options = git_diff_options()
        git_diff_options_init(&options, UInt32(GIT_DIFF_OPTIONS_VERSION))
        options.flags =
            GIT_DIFF_INCLUDE_UNTRACKED.rawValue | GIT_DIFF_RECURSE_UNTRACKED_DIRS.rawValue
            | GIT_DIFF_INCLUDE_TYPECHANGE.rawValue
        var difference: OpaquePointer?
        try git(
            "git_diff_tree_to_workdir_with_index",
            git_diff_tree_to_workdir_with_index(&difference, repository.handle, base, &options))
        defer { git_diff_free(difference) }

        var updates = TreeUpdates()
        for index in 0..<git_diff_num_deltas(difference) {
            guard let delta = git_diff_get_delta(difference, index)?.pointee else { continue }
            try add(delta, of: repository, to: &updates, identity: &identity, budget: &budget)
        }
        guard !updates.isEmpty || identity.isDirty else { return }
        let tree = try updates.write(to: repository, base: base)
        identity.snapshot = try commit(
            tree, in: repository, parent: identity.commit, message: message)
    }

    private static func add(
        _ delta: git_diff_delta, of repository: Repository, to updates: inout TreeUpdates,
        identity: inout CodeIdentity, budget: inout Int64
    ) throws {
        let file = delta.status == GIT_DELTA_DELETED ? delta.old_file : delta.new_file
        var path = String(cString: file.path)
        let full = repository.root + "/" + path

        if delta.status == GIT_DELTA_DELETED {
            identity.changes.append(.init(path: path, kind: .deleted))
            updates.removals.append(path)
            return
        }
        if path.hasSuffix("/") {
            path.removeLast()
            identity.omissions.append(.init(path: path, size: 0, reason: "a repository of its own"))
            return
        }
        if UInt32(file.mode) == GIT_FILEMODE_COMMIT.rawValue {
            try addSubmodule(
                path, of: repository, to: &updates, identity: &identity, budget: &budget)
            return
        }
        let untracked = delta.status == GIT_DELTA_UNTRACKED
        let kind: CodeIdentity.Change.Kind =
            untracked ? .untracked : delta.status == GIT_DELTA_ADDED ? .added : .modified
        var info = stat()
        guard lstat(full, &info) == 0 else { return }
        identity.changes.append(.init(path: path, kind: kind))
        let size = Int64(info.st_size)
        if untracked, Secrets.isSecretFile(path) || holdsPrivateKey(full, size: size) {
            identity.omissions.append(.init(path: path, size: size, reason: "looks like a secret"))
            return
        }
        guard size <= budget else {
            identity.omissions.append(.init(path: path, size: size, reason: "over the size cap"))
            return
        }
        budget -= size
        var id = git_oid()
        try git(
            "git_blob_create_from_workdir",
            git_blob_create_from_workdir(&id, repository.handle, path))
        let mode: git_filemode_t =
            info.st_mode & S_IFMT == S_IFLNK
            ? GIT_FILEMODE_LINK
            : info.st_mode & 0o100 != 0 ? GIT_FILEMODE_BLOB_EXECUTABLE : GIT_FILEMODE_BLOB
        updates.entries.append((path, id, mode))
    }

    /// A submodule is a commit of its own repository: its head, or a snapshot there when it is dirty.
    private static func addSubmodule(
        _ path: String, of repository: Repository, to updates: inout TreeUpdates,
        identity: inout CodeIdentity, budget: inout Int64
    ) throws {
        guard let inner = try Repository(containing: repository.root + "/" + path),
            realPath(inner.root) == realPath(repository.root + "/" + path)
        else { return }
        var nested = CodeIdentity()
        nested.commit = try inner.head()
        try take(of: inner, into: &nested, budget: &budget, message: "A submodule's worktree")
        identity.changes.append(.init(path: path, kind: .submodule))
        identity.changes += nested.changes.map { .init(path: path + "/" + $0.path, kind: $0.kind) }
        identity.omissions += nested.omissions.map {
            .init(path: path + "/" + $0.path, size: $0.size, reason: $0.reason)
        }
        identity.nested += nested.nested.map {
            .init(path: path + "/" + $0.path, snapshot: $0.snapshot)
        }
        if let snapshot = nested.snapshot {
            identity.nested.append(.init(path: path, snapshot: snapshot))
        }
        guard let commit = nested.snapshot ?? nested.commit else { return }
        var id = git_oid()
        try git("git_oid_fromstr", git_oid_fromstr(&id, commit))
        updates.entries.append((path, id, GIT_FILEMODE_COMMIT))
    }

    private static func holdsPrivateKey(_ path: String, size: Int64) -> Bool {
        guard size < 1 << 16, let file = fopen(path, "r") else { return false }
        defer { fclose(file) }
        var head = [UInt8](repeating: 0, count: 64)
        let count = fread(&head, 1, head.count, file)
        let text = String(decoding: head[..<count], as: UTF8.self)
        return text.contains("-----BEGIN") && text.contains("PRIVATE KEY")
    }

    private static func commit(
        _ tree: git_oid, in repository: Repository, parent: String?, message: String
    ) throws -> String {
        var treeID = tree
        var treeObject: OpaquePointer?
        try git("git_tree_lookup", git_tree_lookup(&treeObject, repository.handle, &treeID))
        defer { git_tree_free(treeObject) }
        var signature: UnsafeMutablePointer<git_signature>?
        // No person: the name and address of whoever runs a study are nobody's business but theirs.
        try git("git_signature_now", git_signature_now(&signature, "study", "study@localhost"))
        defer { git_signature_free(signature) }
        var parents: [OpaquePointer?] = []
        defer { for parent in parents { git_commit_free(parent) } }
        if let parent {
            var id = git_oid()
            try git("git_oid_fromstr", git_oid_fromstr(&id, parent))
            var object: OpaquePointer?
            try git("git_commit_lookup", git_commit_lookup(&object, repository.handle, &id))
            parents.append(object)
        }
        var id = git_oid()
        try parents.withUnsafeMutableBufferPointer { list in
            _ = try git(
                "git_commit_create",
                git_commit_create(
                    &id, repository.handle, nil, signature, signature, nil, message, treeObject,
                    list.count, list.baseAddress))
        }
        return id.text
    }
}

/// What to change in a tree, and the two ways of doing it.
private struct TreeUpdates {
    var entries: [(path: String, id: git_oid, mode: git_filemode_t)] = []
    var removals: [String] = []

    var isEmpty: Bool { entries.isEmpty && removals.isEmpty }

    /// Writes the changed tree. The quick way touches only the folders that change; it refuses where a
    /// file became a folder or a folder a file, and then a whole index in memory does it.
    func write(to repository: Repository, base: OpaquePointer?) throws -> git_oid {
        var id = git_oid()
        if let base {
            let names = entries.map { strdup($0.path) } + removals.map { strdup($0) }
            defer { for name in names { free(name) } }
            var updates: [git_tree_update] = []
            for (index, entry) in entries.enumerated() {
                updates.append(
                    git_tree_update(
                        action: GIT_TREE_UPDATE_UPSERT, id: entry.id, filemode: entry.mode,
                        path: UnsafePointer(names[index])))
            }
            for index in removals.indices {
                updates.append(
                    git_tree_update(
                        action: GIT_TREE_UPDATE_REMOVE, id: git_oid(),
                        filemode: GIT_FILEMODE_UNREADABLE,
                        path: UnsafePointer(names[entries.count + index])))
            }
            if git_tree_create_updated(&id, repository.handle, base, updates.count, &updates) == 0 {
                return id
            }
        }
        var index: OpaquePointer?
        try git("git_index_new", git_index_new(&index))
        defer { git_index_free(index) }
        if let base { try git("git_index_read_tree", git_index_read_tree(index, base)) }
        for path in removals { try git("git_index_remove", git_index_remove(index, path, 0)) }
        for entry in entries {
            var line = git_index_entry()
            line.id = entry.id
            line.mode = entry.mode.rawValue
            try entry.path.withCString { path in
                line.path = path
                _ = try git("git_index_add", git_index_add(index, &line))
            }
        }
        try git("git_index_write_tree_to", git_index_write_tree_to(&id, index, repository.handle))
        return id
    }
}
