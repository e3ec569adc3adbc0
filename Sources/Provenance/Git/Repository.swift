// An open Git repository, as far as a run needs it: where it is, what is checked out, from where it
// came. Snapshot.swift keeps what is not committed; Checkout.swift brings it back.

internal import CGit2
internal import Foundation

/// One open repository, closed when the last reference goes. The corresponding C functions are
/// `git_repository_open_ext` and `git_repository_free`.
final class Repository {
    let handle: OpaquePointer

    /// libgit2 wants to be told once a process; it stays initialized until the process ends.
    private static let initialized: Int32 = git_libgit2_init()

    /// The repository that `path` lies in, or nil where there is none.
    /// - Throws: ``GitError`` where there is one that cannot be opened.
    init?(containing path: String) throws(GitError) {
        _ = Self.initialized
        var opened: OpaquePointer?
        let code = git_repository_open_ext(&opened, path, 0, nil)
        if code == GIT_ENOTFOUND.rawValue { return nil }
        try git("git_repository_open_ext", code)
        handle = opened!
        // A bare repository has no files beside which a study could lie.
        if git_repository_is_bare(handle) == 1 {
            git_repository_free(handle)
            return nil
        }
    }

    deinit { git_repository_free(handle) }

    /// The working directory, without the slash at its end.
    var root: String {
        var path = String(cString: git_repository_workdir(handle))
        if path.count > 1, path.hasSuffix("/") { path.removeLast() }
        return path
    }

    /// The index file of this worktree, which in a linked one lies in a folder of its own.
    var indexPath: String? {
        var buffer = git_buf()
        guard git_repository_item_path(&buffer, handle, GIT_REPOSITORY_ITEM_INDEX) == 0 else {
            return nil
        }
        defer { git_buf_dispose(&buffer) }
        return buffer.ptr.map { String(cString: $0) }
    }

    /// The commit that is checked out; nil in a repository that has none yet.
    func head() throws(GitError) -> String? {
        var id = git_oid()
        let code = git_reference_name_to_id(&id, handle, "HEAD")
        if code == GIT_ENOTFOUND.rawValue || code == GIT_EUNBORNBRANCH.rawValue { return nil }
        try git("git_reference_name_to_id", code)
        return id.text
    }

    /// The short name of the branch; nil with a detached head.
    func branch() -> String? {
        var reference: OpaquePointer?
        guard git_reference_lookup(&reference, handle, "HEAD") == 0 else { return nil }
        defer { git_reference_free(reference) }
        guard let target = git_reference_symbolic_target(reference) else { return nil }
        let name = String(cString: target)
        return name.hasPrefix("refs/heads/") ? String(name.dropFirst(11)) : name
    }

    /// The address of `origin`, or of the only remote, without credentials.
    func remote() -> String? {
        var names = git_strarray()
        guard git_remote_list(&names, handle) == 0 else { return nil }
        defer { git_strarray_dispose(&names) }
        let all = (0..<names.count).compactMap { names.strings[$0].map { String(cString: $0) } }
        guard let name = all.contains("origin") ? "origin" : all.first else { return nil }
        var remote: OpaquePointer?
        guard git_remote_lookup(&remote, handle, name) == 0 else { return nil }
        defer { git_remote_free(remote) }
        return git_remote_url(remote).map { Secrets.scrubbed(String(cString: $0)) }
    }

    /// Is the path (relative to the root) ignored by `.gitignore` and its like?
    func isIgnored(_ path: String) -> Bool {
        var ignored: Int32 = 0
        return git_ignore_path_is_ignored(&ignored, handle, path) == 0 && ignored == 1
    }

    /// Makes or moves a reference; no reflog is written for one outside `refs/heads`.
    func setReference(_ name: String, to commit: String) throws(GitError) {
        var id = git_oid()
        try git("git_oid_fromstr", git_oid_fromstr(&id, commit))
        var reference: OpaquePointer?
        try git("git_reference_create", git_reference_create(&reference, handle, name, &id, 1, nil))
        git_reference_free(reference)
    }

    func removeReference(_ name: String) throws(GitError) {
        try git("git_reference_remove", git_reference_remove(handle, name))
    }

    /// The names of all references that match the glob.
    func references(matching glob: String) throws(GitError) -> [String] {
        var iterator: OpaquePointer?
        try git(
            "git_reference_iterator_glob_new",
            git_reference_iterator_glob_new(&iterator, handle, glob))
        defer { git_reference_iterator_free(iterator) }
        var names: [String] = []
        var name: UnsafePointer<CChar>?
        while git_reference_next_name(&name, iterator) == 0 {
            if let name { names.append(String(cString: name)) }
        }
        return names
    }

    /// The tree of a commit. The caller frees it with `git_tree_free`.
    func tree(of commit: String) throws(GitError) -> OpaquePointer {
        var id = git_oid()
        try git("git_oid_fromstr", git_oid_fromstr(&id, commit))
        var object: OpaquePointer?
        try git("git_commit_lookup", git_commit_lookup(&object, handle, &id))
        defer { git_commit_free(object) }
        var tree: OpaquePointer?
        try git("git_commit_tree", git_commit_tree(&tree, object))
        return tree!
    }

    func contains(commit: String) -> Bool {
        var id = git_oid()
        guard git_oid_fromstr(&id, commit) == 0 else { return false }
        var object: OpaquePointer?
        guard git_commit_lookup(&object, handle, &id) == 0 else { return false }
        git_commit_free(object)
        return true
    }
}

extension git_oid {
    /// 40 hexadecimal digits.
    var text: String { withUnsafeBytes(of: self) { hexadecimal($0.prefix(20)) } }
    var bytes: [UInt8] { withUnsafeBytes(of: self) { Array($0.prefix(20)) } }
}

/// `path` with `.` and `..` resolved and links followed; as it is where it does not exist.
package func realPath(_ path: String) -> String {
    guard let resolved = realpath(path, nil) else { return path }
    defer { free(resolved) }
    return String(cString: resolved)
}

/// `path` relative to `root`, or nil where it lies outside. Both are real paths.
package func relativePath(_ path: String, to root: String) -> String? {
    if path == root { return "" }
    let prefix = root == "/" ? "/" : root + "/"
    return path.hasPrefix(prefix) ? String(path.dropFirst(prefix.count)) : nil
}
