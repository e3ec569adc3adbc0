// Code identity, held against Git itself: what the snapshot holds, and what it leaves untouched.

import Foundation
import Provenance
import Testing

@Suite struct `Code identity` {
    /// A repository with one commit: three files, one of them executable.
    private func repository() -> Scratch {
        let scratch = Scratch("repo")
        scratch.git("init", "-q")
        scratch.write("studies/x.md", "# X\n")
        scratch.write("tool.sh", "#!/bin/sh\n")
        scratch.write("gone.txt", "1\n")
        scratch.write(".gitignore", "ignored/\n")
        shell(["chmod", "755", "tool.sh"], at: scratch.path)
        scratch.git("add", ".")
        scratch.git("commit", "-qm", "one")
        return scratch
    }

    /// Everything of Git's that a snapshot must leave as it is.
    private func untouchables(_ scratch: Scratch) -> [String] {
        [
            scratch.git("rev-parse", "HEAD"), scratch.git("symbolic-ref", "-q", "HEAD"),
            scratch.git("stash", "list"), scratch.git("reflog", "--all"),
            scratch.git("ls-files", "-s"), scratch.git("status", "--porcelain=v2"),
            shell(["sha256sum", ".git/index"], at: scratch.path), scratch.git("branch", "-a"),
        ]
    }

    @Test func `a clean tree is its commit`() throws {
        let scratch = repository()
        scratch.git("remote", "add", "origin", "https://me:hunter2@example.org/x.git")
        let code = try CodeIdentity.capture(at: scratch.path + "/studies/x.md")
        #expect(code.commit == scratch.git("rev-parse", "HEAD"))
        #expect(code.branch == "main")
        #expect(code.remote == "https://example.org/x.git")
        #expect(code.snapshot == nil && !code.isDirty)
    }

    @Test func `a dirty tree is kept whole, and Git notices nothing`() throws {
        let scratch = repository()
        scratch.write("studies/x.md", "# X, changed\n")
        scratch.write("new folder/ü.txt", "new")
        scratch.write("staged.txt", "staged")
        scratch.git("add", "staged.txt")
        scratch.write("ignored/big.bin", "no")
        shell(["rm", "gone.txt"], at: scratch.path)
        shell(["chmod", "644", "tool.sh"], at: scratch.path)
        shell(["ln", "-s", "tool.sh", "link"], at: scratch.path)
        let before = untouchables(scratch)

        let ledger = try Ledger.open(under: scratch.path)
        var run = opening()
        run.code = try CodeIdentity.capture(at: scratch.path)
        let id = try ledger.begin(run).id

        #expect(untouchables(scratch) == before)
        let reference = "refs/study/runs/\(id)"
        #expect(scratch.git("rev-parse", reference) == run.code.snapshot)
        #expect(scratch.git("rev-parse", reference + "^") == run.code.commit)
        let files = scratch.git("-c", "core.quotepath=off", "ls-tree", "-r", reference).split(
            separator: "\n"
        )
        .map { line in "\(line.prefix(6)) \(line.split(separator: "\t").last ?? "")" }
        #expect(
            files == [
                "100644 .gitignore", "120000 link", "100644 new folder/ü.txt", "100644 staged.txt",
                "100644 studies/x.md", "100644 tool.sh",
            ])
        #expect(scratch.git("show", "\(reference):studies/x.md") == "# X, changed")
        #expect(
            Set(run.code.changes.map { "\($0.path) \($0.kind)" }) == [
                "studies/x.md modified", "new folder/ü.txt untracked", "staged.txt added",
                "gone.txt deleted", "tool.sh modified", "link untracked",
            ])
        #expect(try ledger.run(id).code.changes.count == 6)
        let error = #expect(throws: ProvenanceError.self) { try run.code.requireClean() }
        #expect(error?.reason == .dirtyTree)

        // And it comes back, without touching the worktree.
        try Checkout.write(
            commit: #require(run.code.snapshot), of: scratch.path,
            into: scratch.path + "/.study/scratch/a")
        #expect(untouchables(scratch) == before)
        #expect(scratch.read(".study/scratch/a/new folder/ü.txt") == "new")
        #expect(scratch.read(".study/scratch/a/studies/x.md") == "# X, changed\n")
        #expect(scratch.read(".study/scratch/a/gone.txt") == nil)
        #expect(scratch.read(".study/scratch/a/.gitignore") == "ignored/\n")
    }

    @Test func `a file in place of a folder, and a folder in place of a file`() throws {
        let scratch = repository()
        shell(
            [
                "sh", "-c",
                "rm -r studies gone.txt; echo f > studies; mkdir gone.txt; echo g > gone.txt/g",
            ], at: scratch.path)
        let code = try CodeIdentity.capture(at: scratch.path)
        let files = scratch.git("ls-tree", "-r", "--name-only", code.snapshot ?? "none")
        #expect(files == ".gitignore\ngone.txt/g\nstudies\ntool.sh")
    }

    @Test func `a repository without a commit`() throws {
        let scratch = Scratch("repo")
        scratch.git("init", "-q")
        scratch.write("x.md", "# X\n")
        let code = try CodeIdentity.capture(at: scratch.path)
        #expect(code.commit == nil && code.branch == "main")
        #expect(scratch.git("ls-tree", "-r", "--name-only", code.snapshot ?? "none") == "x.md")
    }

    @Test func `no repository at all`() throws {
        let scratch = Scratch("plain")
        #expect(try CodeIdentity.capture(at: scratch.path) == CodeIdentity())
    }

    @Test func `a detached head and a linked worktree`() throws {
        let scratch = repository()
        scratch.git("checkout", "-q", "--detach")
        #expect(try CodeIdentity.capture(at: scratch.path).branch == nil)
        scratch.git("worktree", "add", "-q", "../linked", "-b", "side")
        let linked = (scratch.path as NSString).deletingLastPathComponent + "/linked"
        try Data("w".utf8).write(to: URL(fileURLWithPath: linked + "/w.txt"))
        let code = try CodeIdentity.capture(at: linked)
        #expect(code.branch == "side")
        #expect(code.changes.map(\.path) == ["w.txt"])
        #expect(code.root == realPath(linked))
    }

    @Test func `a dirty submodule is kept in its own repository`() throws {
        let scratch = repository()
        let library = Scratch("library")
        library.git("init", "-q")
        library.write("l.swift", "1\n")
        library.git("add", ".")
        library.git("commit", "-qm", "one")
        scratch.git("submodule", "add", "-q", library.path, "lib")
        scratch.git("commit", "-qm", "two")
        #expect(try CodeIdentity.capture(at: scratch.path).snapshot == nil)

        scratch.write("lib/l.swift", "2\n")
        scratch.write("lib/extra.swift", "3\n")
        let ledger = try Ledger.open(under: scratch.path)
        var run = opening()
        run.code = try CodeIdentity.capture(at: scratch.path)
        let id = try ledger.begin(run).id
        let inner = scratch.path + "/lib"
        #expect(run.code.changes.contains(.init(path: "lib/extra.swift", kind: .untracked)))
        #expect(
            scratch.git("rev-parse", "refs/study/runs/\(id)", at: inner)
                == scratch.git("rev-parse", "refs/study/runs/\(id):lib"))
        #expect(scratch.git("status", "--porcelain", at: inner) == "M l.swift\n?? extra.swift")
        try Checkout.write(
            commit: #require(run.code.snapshot), of: scratch.path,
            into: scratch.path + "/.study/scratch/a")
        #expect(scratch.read(".study/scratch/a/lib/l.swift") == "2\n")
        #expect(scratch.read(".study/scratch/a/lib/extra.swift") == "3\n")
    }

    @Test func `the size cap and secrets: left out, and named`() throws {
        let scratch = repository()
        scratch.write("large.bin", String(repeating: "x", count: 2000))
        scratch.write(".env", "TOKEN=1")
        scratch.write("notes.txt", "-----BEGIN OPENSSH PRIVATE KEY-----\n")
        scratch.write("small.txt", "s")
        let code = try CodeIdentity.capture(at: scratch.path, sizeCap: 1000)
        #expect(
            Set(code.omissions.map { "\($0.path): \($0.reason)" }) == [
                "large.bin: over the size cap", ".env: looks like a secret",
                "notes.txt: looks like a secret",
            ])
        let files = scratch.git("ls-tree", "-r", "--name-only", code.snapshot ?? "none")
        #expect(files.contains("small.txt") && !files.contains("large.bin"))
    }
}
