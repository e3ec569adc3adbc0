// What a worktree held beside its commit, as the text that `git apply` takes.

internal import CGit2
internal import Foundation

extension Checkout {
    /// The difference of two commits' trees as a patch; binary files are named without their bytes.
    ///
    /// The same text whatever the user's Git is set to. Corresponds to `git_diff_tree_to_tree` and
    /// `git_diff_to_buf`.
    /// - Returns: Nil where the repository, or one of the commits, is not there any more.
    package static func patch(from old: String, to new: String, of root: String) throws -> String? {
        do {
            guard let repository = try Repository(containing: root),
                repository.contains(commit: old), repository.contains(commit: new)
            else { return nil }
            let (before, after) = (try repository.tree(of: old), try repository.tree(of: new))
            defer {
                git_tree_free(before)
                git_tree_free(after)
            }
            var options = git_diff_options()
            git_diff_options_init(&options, UInt32(GIT_DIFF_OPTIONS_VERSION))
            options.id_abbrev = 40
            return try "a".withCString { a in
                try "b".withCString { b in
                    options.old_prefix = a
                    options.new_prefix = b
                    var diff: OpaquePointer?
                    try git(
                        "git_diff_tree_to_tree",
                        git_diff_tree_to_tree(&diff, repository.handle, before, after, &options))
                    defer { git_diff_free(diff) }
                    var buffer = git_buf()
                    try git(
                        "git_diff_to_buf", git_diff_to_buf(&buffer, diff, GIT_DIFF_FORMAT_PATCH))
                    defer { git_buf_dispose(&buffer) }
                    let bytes = UnsafeRawBufferPointer(start: buffer.ptr, count: buffer.size)
                    return String(decoding: bytes, as: UTF8.self)
                }
            }
        } catch let error as GitError {
            throw ProvenanceError(
                .git, "The difference of two commits cannot be read: \(error.message).",
                where: root, mend: "see what `git fsck` says there")
        }
    }
}
