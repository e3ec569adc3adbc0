// Brings a commit's files into a folder of their own, for a replay. The user's worktree, index and
// branch are not touched.

internal import CGit2
internal import Foundation

package enum Checkout {
    /// Writes the files of `commit` below `folder`, submodules included.
    /// - Throws: ``ProvenanceError`` with reason `.git` where the commit is not there any more.
    package static func write(commit: String, of root: String, into folder: String) throws {
        do {
            guard let repository = try Repository(containing: root) else {
                throw ProvenanceError(
                    .git,
                    "There is no Git repository any more, and commit \(commit.prefix(12)) was in it.",
                    where: root, mend: "clone the repository again, or replay from a bundle")
            }
            guard repository.contains(commit: commit) else {
                throw ProvenanceError(
                    .git,
                    "Commit \(commit.prefix(12)), which this run used, is not in the repository.",
                    where: root, mend: "git fetch --all, or replay from a bundle")
            }
            try makeFolder(folder)
            let tree = try repository.tree(of: commit)
            defer { git_tree_free(tree) }
            try write(tree: tree, of: repository, into: folder)
        } catch let error as GitError {
            throw ProvenanceError(
                .git, "Commit \(commit.prefix(12)) cannot be written out: \(error.message).",
                where: folder, mend: "see what `git fsck` says in \(root)")
        }
    }

    private static func write(tree: OpaquePointer, of repository: Repository, into folder: String)
        throws
    {
        var options = git_checkout_options()
        git_checkout_options_init(&options, UInt32(GIT_CHECKOUT_OPTIONS_VERSION))
        options.checkout_strategy =
            GIT_CHECKOUT_FORCE.rawValue | GIT_CHECKOUT_RECREATE_MISSING.rawValue
            | GIT_CHECKOUT_DONT_UPDATE_INDEX.rawValue | GIT_CHECKOUT_NO_REFRESH.rawValue
            | GIT_CHECKOUT_DONT_WRITE_INDEX.rawValue
        try folder.withCString { target in
            options.target_directory = target
            _ = try git("git_checkout_tree", git_checkout_tree(repository.handle, tree, &options))
        }
        for (path, commit) in submodules(in: tree, of: repository) {
            let place = repository.root + "/" + path
            guard let inner = try Repository(containing: place), inner.contains(commit: commit)
            else {
                continue
            }
            let innerTree = try inner.tree(of: commit)
            defer { git_tree_free(innerTree) }
            try makeFolder(folder + "/" + path)
            try write(tree: innerTree, of: inner, into: folder + "/" + path)
        }
    }

    /// The submodules that a tree names, and their commits.
    private static func submodules(in tree: OpaquePointer, of repository: Repository)
        -> [(path: String, commit: String)]
    {
        var found: [(String, String)] = []
        withUnsafeMutablePointer(to: &found) { list in
            _ = git_tree_walk(
                tree, GIT_TREEWALK_PRE,
                { folder, entry, payload in
                    if git_tree_entry_filemode(entry) == GIT_FILEMODE_COMMIT,
                        let folder, let name = git_tree_entry_name(entry),
                        let id = git_tree_entry_id(entry)
                    {
                        let list = payload!.assumingMemoryBound(to: [(String, String)].self)
                        list.pointee.append(
                            (String(cString: folder) + String(cString: name), id.pointee.text))
                    }
                    return 0
                }, list)
        }
        return found
    }
}
