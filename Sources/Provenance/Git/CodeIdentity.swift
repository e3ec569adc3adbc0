// Which code ran: the commit, and what the worktree held beside it. Snapshot.swift does the keeping.

internal import CGit2
internal import Foundation

/// The commit that was checked out and, where the tree differed from it, a commit that holds the tree
/// as it was.
package struct CodeIdentity: Sendable, Hashable {
    /// A path in which the worktree differs from the commit.
    package struct Change: Sendable, Hashable {
        package enum Kind: String, Sendable { case added, modified, deleted, untracked, submodule }
        package var path: String
        package var kind: Kind
        package init(path: String, kind: Kind) {
            self.path = path
            self.kind = kind
        }
    }

    /// A file that the snapshot leaves out, and why.
    package struct Omission: Sendable, Hashable {
        package var path: String
        package var size: Int64
        package var reason: String
        package init(path: String, size: Int64, reason: String) {
            self.path = path
            self.size = size
            self.reason = reason
        }
    }

    /// A snapshot in a submodule, which needs a reference of its own to stay.
    package struct Nested: Sendable, Hashable {
        package var path: String
        package var snapshot: String
    }

    /// Where the repository lies on this machine; nil without Git. Never recorded.
    package var root: String?
    package var commit: String?
    package var branch: String?
    package var remote: String?
    package var changes: [Change] = []
    package var omissions: [Omission] = []
    /// The commit that holds the tree as it was; nil where `commit` says it all.
    package var snapshot: String?
    package var nested: [Nested] = []

    package init() {}

    package var isDirty: Bool { !changes.isEmpty }

    /// How much a snapshot may hold beside what is committed, in bytes: what fits a repository that is
    /// cloned often. Data belong into `datasets`.
    package static let sizeCap: Int64 = 64 << 20

    /// The code at `path`: a file or folder, in a repository or not.
    ///
    /// Where the tree differs from the commit this writes blobs, trees and one commit into the object
    /// database. Index, branch, stash and reflog stay as they are; ``Ledger/begin(_:)`` makes the
    /// reference `refs/study/runs/ID`. Where the repository has a `.study`, it keeps there which folders need no
    /// listing next time (``FolderListings``).
    /// - Throws: ``ProvenanceError`` with reason `.git`.
    package static func capture(
        at path: String, sizeCap: Int64 = CodeIdentity.sizeCap,
        message: String = "A study's worktree"
    ) throws -> CodeIdentity {
        do {
            let folder = FileIdentity(path)?.isFolder == true ? path : parent(of: path)
            guard let repository = try Repository(containing: folder) else { return CodeIdentity() }
            var identity = CodeIdentity()
            identity.root = realPath(repository.root)
            identity.commit = try repository.head()
            identity.branch = repository.branch()
            identity.remote = repository.remote()
            var budget = sizeCap
            let own = repository.root + "/.study"
            let listings = FolderListings(
                access(own, W_OK) == 0 ? own + "/cache/folders" : nil)
            try Snapshot.take(
                of: repository, into: &identity, listings: listings, budget: &budget,
                message: message)
            listings.save()
            return identity
        } catch let error as GitError {
            throw ProvenanceError(
                .git, "Git's repository cannot be read: \(error.message).", where: path,
                mend: error.code == GIT_EOWNER.rawValue
                    ? "it belongs to another user: git config --global --add safe.directory '*'"
                    : "see what `git status` and `git fsck` say there")
        }
    }

    /// Throws where the tree is dirty; what `--require-clean` asks for.
    package func requireClean() throws {
        guard isDirty else { return }
        let named = changes.prefix(5).map { "\($0.path) (\($0.kind.rawValue))" }
            .joined(separator: ", ")
        let more = changes.count > 5 ? ", and \(changes.count - 5) more" : ""
        throw ProvenanceError(
            .dirtyTree,
            "The worktree differs from commit \(commit?.prefix(12) ?? "(none)"): \(named)\(more).",
            where: root ?? "",
            mend: "commit or stash, or leave out --require-clean: the run then keeps a snapshot")
    }

    /// Makes the references that keep a dirty run's snapshot from Git's garbage collection.
    func keep(as run: String) throws {
        guard let root else { return }
        do {
            if let snapshot, let repository = try Repository(containing: root) {
                try repository.setReference(Self.reference(run), to: snapshot)
            }
            for nested in nested {
                guard let repository = try Repository(containing: root + "/" + nested.path) else {
                    continue
                }
                try repository.setReference(Self.reference(run), to: nested.snapshot)
            }
        } catch {
            throw ProvenanceError(
                .git, "The snapshot of the worktree cannot be kept: \(error.message).", where: root,
                mend: "check that \(root)/.git can be written, or commit and use --require-clean")
        }
    }

    static func reference(_ run: String) -> String { "refs/study/runs/\(run)" }
}

/// The folder of the repository that `path` lies in; nil where there is none.
package func repositoryRoot(containing path: String) -> String? {
    guard let repository = try? Repository(containing: path) else { return nil }
    return realPath(repository.root)
}
