// What a run's snapshot has that its commit has not, as text: for people who read a report. The
// snapshot itself is kept by Snapshot.swift and brought back by Checkout.swift.

internal import CGit2
internal import Foundation

package enum WorktreeDifference {
    /// One file that differs.
    package struct File: Sendable, Hashable {
        package var path: String
        /// Hunks of a unified diff with three lines around; empty for binary files and those too large.
        package var patch: String
        package var added: Int
        package var removed: Int
        /// Why there is no patch; empty where there is one.
        package var note: String
    }

    /// The largest file of which lines are shown.
    static let sizeLimit: Int64 = 256 << 10

    /// What changed between two commits, in the order of paths.
    /// - Parameters:
    ///   - commit: The older one; nil compares with nothing.
    ///   - root: The repository's folder.
    /// - Throws: ``ProvenanceError`` with reason `.git` where a commit is not there any more.
    package static func files(from commit: String?, to snapshot: String, of root: String) throws
        -> [File]
    {
        do {
            guard let repository = try Repository(containing: root) else { return [] }
            let before = try commit.map { try repository.tree(of: $0) }
            defer { before.map { git_tree_free($0) } }
            let after = try repository.tree(of: snapshot)
            defer { git_tree_free(after) }
            var options = git_diff_options()
            git_diff_options_init(&options, UInt32(GIT_DIFF_OPTIONS_VERSION))
            // Larger ones count as binary.
            options.max_size = git_off_t(sizeLimit)
            var difference: OpaquePointer?
            try git(
                "git_diff_tree_to_tree",
                git_diff_tree_to_tree(&difference, repository.handle, before, after, &options))
            defer { git_diff_free(difference) }
            return try (0..<git_diff_num_deltas(difference)).compactMap {
                try file(difference, $0)
            }
        } catch let error as GitError {
            throw ProvenanceError(
                .git, "The changes of \(snapshot.prefix(12)) cannot be read: \(error.message).",
                where: root, mend: "see what `git fsck` says in \(root)")
        }
    }

    private static func file(_ difference: OpaquePointer?, _ place: Int) throws(GitError) -> File? {
        guard let delta = git_diff_get_delta(difference, place)?.pointee else { return nil }
        let isGone = delta.status == GIT_DELTA_DELETED
        let path = String(cString: isGone ? delta.old_file.path : delta.new_file.path)
        var file = File(path: path, patch: "", added: 0, removed: 0, note: "")
        var patch: OpaquePointer?
        try git("git_patch_from_diff", git_patch_from_diff(&patch, difference, place))
        defer { git_patch_free(patch) }
        let isLarge =
            max(delta.old_file.size, delta.new_file.size) > UInt64(sizeLimit)
        // libgit2 knows only now, having looked, whether the file is binary.
        let flags = git_patch_get_delta(patch)?.pointee.flags ?? delta.flags
        guard patch != nil, flags & GIT_DIFF_FLAG_BINARY.rawValue == 0 else {
            file.note = isLarge ? "too large to be shown here" : "not text"
            return file
        }
        var (context, added, removed) = (0, 0, 0)
        try git("git_patch_line_stats", git_patch_line_stats(&context, &added, &removed, patch))
        (file.added, file.removed) = (added, removed)
        var buffer = git_buf()
        defer { git_buf_dispose(&buffer) }
        try git("git_patch_to_buf", git_patch_to_buf(&buffer, patch))
        guard let bytes = buffer.ptr else { return file }
        let text = String(
            decoding: UnsafeRawBufferPointer(start: bytes, count: buffer.size), as: UTF8.self)
        // The names and ids above the first hunk say nothing that the reader does not see.
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        let start = lines.firstIndex { $0.hasPrefix("@@") } ?? lines.endIndex
        file.patch = lines[start...].joined(separator: "\n").trimmingCharacters(in: .newlines)
        return file
    }
}
