// Keeps a worktree that differs from its commit: tracked changes, untracked files, modes, submodules.
// Writes objects only; which reference holds them is CodeIdentity's business.

internal import CGit2
internal import Foundation

enum Snapshot {
    /// Fills in what differs and, where something does, writes a commit that holds it. The index is
    /// read and not written back.
    /// - Parameters:
    ///   - listings: What is known of the folders from earlier runs.
    ///   - budget: How many bytes may still be stored; lowered by what is.
    static func take(
        of repository: Repository, into identity: inout CodeIdentity, listings: FolderListings,
        budget: inout Int64, message: String
    ) throws {
        let base: OpaquePointer? = try identity.commit.map { try repository.tree(of: $0) }
        defer { base.map { git_tree_free($0) } }
        var updates = TreeUpdates()
        let start: OpaquePointer?
        if let staged = try scan(
            repository, base: base, listings, to: &updates, &identity, &budget)
        {
            start = staged
        } else {
            updates = TreeUpdates()
            identity.changes = []
            identity.omissions = []
            identity.nested = []
            try compare(repository, base: base, listings, to: &updates, &identity, &budget)
            start = base
        }
        defer { if start != base { git_tree_free(start) } }
        guard identity.isDirty || !identity.omissions.isEmpty else { return }
        let tree = try updates.write(to: repository, base: start)
        // A change that was staged and then undone in the file is none.
        if let base, git_tree_id(base).pointee.text == tree.text, identity.omissions.isEmpty {
            identity.changes = []
            return
        }
        identity.snapshot = try commit(
            tree, in: repository, parent: identity.commit, message: message)
    }

    /// The quick way: ``WorktreeScan`` against the index, and the index's tree against HEAD's.
    /// - Returns: The index's tree, which the updates belong to; nil where only libgit2 can judge.
    private static func scan(
        _ repository: Repository, base: OpaquePointer?, _ listings: FolderListings,
        to updates: inout TreeUpdates, _ identity: inout CodeIdentity, _ budget: inout Int64
    ) throws -> OpaquePointer? {
        guard let path = repository.indexPath, let file = IndexFile(path) else { return nil }
        let scan = WorktreeScan(of: repository.root, index: file, listings: listings)
        if scan.isClean, let base, file.tree == git_tree_id(base).pointee.bytes {
            var same: OpaquePointer?
            try git("git_tree_dup", git_tree_dup(&same, base))
            return same
        }
        var index: OpaquePointer?
        try git("git_repository_index", git_repository_index(&index, repository.handle))
        defer { git_index_free(index) }
        guard let index else { return nil }
        var id = git_oid()
        // Git keeps the tree's id in the index, so this writes nothing unless something is staged.
        guard git_index_write_tree(&id, index) == 0 else { return nil }
        var tree: OpaquePointer?
        try git("git_tree_lookup", git_tree_lookup(&tree, repository.handle, &id))
        do {
            var kinds = try staged(repository, base: base, tree: tree)
            for path in scan.deleted {
                // Staged as new and then deleted: as if it had never been.
                kinds[path] = kinds[path] == .added ? nil : .deleted
                updates.removals.append(path)
            }
            for (path, kind) in kinds.sorted(by: { $0.key < $1.key }) {
                identity.changes.append(.init(path: path, kind: kind))
            }
            for path in scan.suspects.sorted() where try differs(path, index, repository) {
                try addFile(
                    path, kind: kinds[path] == nil ? .modified : nil, of: repository, to: &updates,
                    &identity,
                    &budget)
            }
            for path in scan.submodules.sorted() {
                let entry = git_index_get_bypath(index, path, 0)
                try addSubmodule(
                    path, recorded: entry?.pointee.id.text, of: repository, listings, to: &updates,
                    &identity, &budget)
            }
            for path in scan.untracked.sorted() {
                try addUntracked(path, of: repository, to: &updates, &identity, &budget)
            }
        } catch {
            git_tree_free(tree)
            throw error
        }
        return tree
    }

    /// What is staged: the index's tree against HEAD's. Equal folders are not looked into.
    private static func staged(
        _ repository: Repository, base: OpaquePointer?, tree: OpaquePointer?
    ) throws -> [String: CodeIdentity.Change.Kind] {
        if let base, git_oid_equal(git_tree_id(base), git_tree_id(tree)) == 1 { return [:] }
        var difference: OpaquePointer?
        try git(
            "git_diff_tree_to_tree",
            git_diff_tree_to_tree(&difference, repository.handle, base, tree, nil))
        defer { git_diff_free(difference) }
        var kinds: [String: CodeIdentity.Change.Kind] = [:]
        for place in 0..<git_diff_num_deltas(difference) {
            guard let delta = git_diff_get_delta(difference, place)?.pointee else { continue }
            switch delta.status {
            case GIT_DELTA_ADDED: kinds[String(cString: delta.new_file.path)] = .added
            case GIT_DELTA_DELETED: kinds[String(cString: delta.old_file.path)] = .deleted
            default: kinds[String(cString: delta.new_file.path)] = .modified
            }
        }
        return kinds
    }

    /// Is the file's content, as Git would store it, another than the index's?
    private static func differs(
        _ path: String, _ index: OpaquePointer, _ repository: Repository
    ) throws -> Bool {
        guard let entry = git_index_get_bypath(index, path, 0) else { return true }
        let full = repository.root + "/" + path
        var info = stat()
        guard lstat(full, &info) == 0, info.st_mode & S_IFMT == S_IFREG,
            entry.pointee.mode & 0o100 == UInt32(info.st_mode) & 0o100,
            entry.pointee.mode != GIT_FILEMODE_LINK.rawValue
        else {
            if info.st_mode & S_IFMT == S_IFLNK, entry.pointee.mode == GIT_FILEMODE_LINK.rawValue,
                let target = try? FileManager.default.destinationOfSymbolicLink(atPath: full)
            {
                var id = git_oid()
                git_odb_hash(&id, target, target.utf8.count, GIT_OBJECT_BLOB)
                return id.text != entry.pointee.id.text
            }
            return true
        }
        var id = git_oid()
        guard
            git_repository_hashfile(&id, repository.handle, full, GIT_OBJECT_BLOB, path) == 0
        else { return true }
        return id.text != entry.pointee.id.text
    }

    /// The general way: HEAD's tree against the files through the index, all by libgit2.
    private static func compare(
        _ repository: Repository, base: OpaquePointer?, _ listings: FolderListings,
        to updates: inout TreeUpdates, _ identity: inout CodeIdentity, _ budget: inout Int64
    ) throws {
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
        var index: OpaquePointer?
        try git("git_repository_index", git_repository_index(&index, repository.handle))
        defer { git_index_free(index) }
        for place in 0..<git_diff_num_deltas(difference) {
            guard let delta = git_diff_get_delta(difference, place)?.pointee else { continue }
            let file = delta.status == GIT_DELTA_DELETED ? delta.old_file : delta.new_file
            let path = String(cString: file.path)
            if delta.status == GIT_DELTA_DELETED {
                // Left out by a sparse checkout, which libgit2 takes for deleted.
                let entry = git_index_get_bypath(index, path, 0)?.pointee
                let skips = UInt16(GIT_INDEX_ENTRY_SKIP_WORKTREE.rawValue)
                if let entry, entry.flags_extended & skips != 0 { continue }
                identity.changes.append(.init(path: path, kind: .deleted))
                updates.removals.append(path)
            } else if UInt32(file.mode) == GIT_FILEMODE_COMMIT.rawValue {
                try addSubmodule(
                    path, recorded: nil, of: repository, listings, to: &updates, &identity, &budget)
            } else if delta.status == GIT_DELTA_UNTRACKED {
                try addUntracked(path, of: repository, to: &updates, &identity, &budget)
            } else {
                try addFile(
                    path, kind: delta.status == GIT_DELTA_ADDED ? .added : .modified,
                    of: repository,
                    to: &updates, &identity, &budget)
            }
        }
    }

    /// A path that is not tracked, and what lies below it, unless it is ignored.
    private static func addUntracked(
        _ path: String, of repository: Repository, to updates: inout TreeUpdates,
        _ identity: inout CodeIdentity, _ budget: inout Int64
    ) throws {
        if repository.isIgnored(path) { return }
        guard path.hasSuffix("/") else {
            try addFile(path, kind: .untracked, of: repository, to: &updates, &identity, &budget)
            return
        }
        let folder = repository.root + "/" + path
        if access(folder + ".git", F_OK) == 0 {
            identity.omissions.append(
                .init(path: String(path.dropLast()), size: 0, reason: "a repository of its own"))
            return
        }
        guard let listing = opendir(folder) else { return }
        var names: [String] = []
        while let item = readdir(listing) {
            let name = withUnsafePointer(to: &item.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            var info = stat()
            guard lstat(folder + name, &info) == 0 else { continue }
            let kind = info.st_mode & S_IFMT
            if kind == S_IFDIR { names.append(name + "/") }
            if kind == S_IFREG || kind == S_IFLNK { names.append(name) }
        }
        closedir(listing)
        for name in names.sorted() {
            try addUntracked(path + name, of: repository, to: &updates, &identity, &budget)
        }
    }

    /// - Parameter kind: Nil where the change is listed already.
    private static func addFile(
        _ path: String, kind: CodeIdentity.Change.Kind?, of repository: Repository,
        to updates: inout TreeUpdates, _ identity: inout CodeIdentity, _ budget: inout Int64
    ) throws {
        let full = repository.root + "/" + path
        var info = stat()
        guard lstat(full, &info) == 0 else { return }
        if let kind { identity.changes.append(.init(path: path, kind: kind)) }
        let size = Int64(info.st_size)
        if kind == .untracked, Secrets.isSecretFile(path) || holdsPrivateKey(full, size: size) {
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
        _ path: String, recorded: String?, of repository: Repository, _ listings: FolderListings,
        to updates: inout TreeUpdates, _ identity: inout CodeIdentity, _ budget: inout Int64
    ) throws {
        let place = repository.root + "/" + path
        // Not checked out: as recorded.
        guard let inner = try Repository(containing: place), realPath(inner.root) == realPath(place)
        else { return }
        var nested = CodeIdentity()
        nested.commit = try inner.head()
        try take(
            of: inner, into: &nested, listings: listings, budget: &budget,
            message: "A submodule's worktree")
        guard let commit = nested.snapshot ?? nested.commit, commit != recorded else { return }
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
