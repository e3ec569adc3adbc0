// The look at the worktree, held against `git status`: whatever changes, whatever an earlier look has remembered of the
// folders, and whatever form the index has.

import Foundation
import Provenance
import Testing

@Suite struct `The worktree` {
    /// A repository with files at three depths, whose folders are old enough to be remembered.
    private func repository(_ files: Int = 90) throws -> Scratch {
        let scratch = Scratch("tree")
        scratch.git("init", "-q")
        for place in 0..<files {
            let folder = ["", "a/", "a/b/", "a/b-c/", "d.e/f/"][place % 5]
            scratch.write("\(folder)f\(place).txt", "\(place)\n")
        }
        scratch.write(".gitignore", "*.log\n")
        _ = try Ledger.open(under: scratch.path)
        scratch.git("add", ".")
        scratch.git("commit", "-qm", "one")
        Thread.sleep(forTimeInterval: 2.1)
        // Git notes the times anew, so that no entry is as young as the index.
        scratch.git("status")
        return scratch
    }

    /// What Git says differs, as "kind path", sorted.
    private func expected(_ scratch: Scratch) -> [String] {
        // A mark before the first line, which may begin with a blank that counts.
        let text = shell(
            [
                "sh", "-c",
                "printf '#\\0'; git -c core.quotepath=off status --porcelain=v1 -z -uall --no-renames",
            ], at: scratch.path)
        return text.split(separator: "\0").dropFirst().map { line in
            let (code, path) = (line.prefix(2), line.dropFirst(3))
            let kind =
                code == "??"
                ? "untracked"
                : code.contains("D") ? "deleted" : code.contains("A") ? "added" : "modified"
            return "\(kind) \(path)"
        }.sorted()
    }

    private func found(_ scratch: Scratch) throws -> [String] {
        try CodeIdentity.capture(at: scratch.path).changes.map { "\($0.kind) \($0.path)" }.sorted()
    }

    private func remembered(_ scratch: Scratch) -> String { scratch.path + "/.study/cache/folders" }

    @Test func `a folder that was listed is not listed again, and a new name in it is seen`()
        throws
    {
        let scratch = try repository()
        #expect(try found(scratch) == [])
        let size = try #require(FileManager.default.contents(atPath: remembered(scratch))?.count)
        // The root, a, a/b, a/b-c, d.e, d.e/f: five words each, after two. The root holds nothing but tracked names.
        #expect(size == 16 + 6 * 40)
        // The folder's time is put back: the kernel's own still tells.
        shell(["touch", "-r", "a/b", "d.e/keep.log"], at: scratch.path)
        scratch.write("a/b/new.txt", "n")
        shell(["touch", "-r", "d.e/keep.log", "a/b"], at: scratch.path)
        #expect(try found(scratch) == ["untracked a/b/new.txt"])
        // One name less and one more: the count is the same, the times are not.
        shell(["rm", "a/f1.txt"], at: scratch.path)
        scratch.write("a/other.txt", "o")
        #expect(try found(scratch) == expected(scratch))
        #expect(expected(scratch).count == 3)
    }

    @Test func `what is remembered of folders may be lost, cut or spoiled`() throws {
        let scratch = try repository()
        #expect(try found(scratch) == [])
        let whole = try #require(FileManager.default.contents(atPath: remembered(scratch)))
        scratch.write("a/b/new.txt", "n")
        scratch.write("d.e/new/x.txt", "n")
        for bytes in [
            Data(), whole.prefix(15), whole.prefix(whole.count - 40), whole.prefix(whole.count - 7),
            Data(whole.map { $0 ^ 0x10 }), Data(repeating: 0, count: whole.count), nil,
        ] {
            try? FileManager.default.removeItem(atPath: remembered(scratch))
            if let bytes { try bytes.write(to: URL(fileURLWithPath: remembered(scratch))) }
            #expect(try found(scratch) == ["untracked a/b/new.txt", "untracked d.e/new/x.txt"])
        }
    }

    @Test func `a folder that is remembered says nothing once its tracked files are others`() throws
    {
        let scratch = try repository()
        #expect(try found(scratch) == [])
        // Nothing moves on disk; Git forgets a file, and with it the folder holds one name too many.
        scratch.git("rm", "-q", "--cached", "a/b/f2.txt")
        scratch.git("commit", "-qm", "two")
        #expect(try found(scratch) == ["untracked a/b/f2.txt"])
    }

    @Test func `a tracked file below .study hides no new one beside it`() throws {
        let scratch = try repository()
        scratch.git("add", "-f", ".study/.gitignore")
        scratch.git("commit", "-qm", "two")
        Thread.sleep(forTimeInterval: 2.1)
        scratch.git("status")
        #expect(try found(scratch) == [])
        scratch.write("new.txt", "n")
        #expect(try found(scratch) == ["untracked new.txt"])
        Thread.sleep(forTimeInterval: 2.1)
        #expect(try found(scratch) == ["untracked new.txt"])
        #expect(try found(scratch) == ["untracked new.txt"])
    }

    @Test func `a link in place of a tracked folder is a link, and its files are gone`() throws {
        let scratch = try repository()
        shell(["sh", "-c", "cp -a a/b copy && rm -r a/b && ln -s ../copy a/b"], at: scratch.path)
        #expect(try found(scratch) == expected(scratch))
        let code = try CodeIdentity.capture(at: scratch.path)
        let kept = scratch.git("ls-tree", "-r", code.snapshot ?? "none")
        #expect(kept.contains("120000 blob") && !kept.contains("a/b/"))
    }

    @Test func `contents that changed under the same size and time are seen`() throws {
        let scratch = try repository()
        shell(
            [
                "sh", "-c",
                "touch -r a/f1.txt keep.log; printf '8\n' > a/f1.txt; touch -r keep.log a/f1.txt",
            ], at: scratch.path)
        #expect(try found(scratch) == ["modified a/f1.txt"])
        // A file as young as the index: its times are those that Git took down, its contents are not.
        scratch.git("checkout", "-q", "a/f1.txt")
        scratch.write("young.txt", "1\n")
        scratch.git("add", "young.txt")
        scratch.git("commit", "-qm", "young")
        scratch.write("young.txt", "2\n")
        #expect(try found(scratch) == ["modified young.txt"])
    }

    @Test func `many files in one folder are looked at together`() throws {
        let scratch = Scratch("flat")
        scratch.git("init", "-q")
        for place in 0..<2600 { scratch.write("data/\(place)", "\(place)") }
        scratch.write("data/sub/one", "1")
        scratch.git("add", ".")
        scratch.git("commit", "-qm", "one")
        #expect(try found(scratch) == [])
        scratch.write("data/17", "changed")
        scratch.write("data/2599", "changed too")
        scratch.write("data/sub/new", "n")
        scratch.write("data/new", "n")
        shell(["rm", "data/1300"], at: scratch.path)
        #expect(try found(scratch) == expected(scratch))
        #expect(expected(scratch).count == 5)
    }

    /// Forms of the index and of the checkout that Git has.
    static let forms: [(name: String, commands: [[String]])] = [
        ("version 4", [["update-index", "--index-version", "4"]]),
        ("an intention to add", [["add", "-N", "later.txt"]]),
        ("a file assumed unchanged", [["update-index", "--assume-unchanged", "a/f1.txt"]]),
        ("an untracked cache", [["update-index", "--force-untracked-cache"], ["status"]]),
        ("a sparse checkout", [["sparse-checkout", "set", "--no-cone", "/a/", "/*.txt"]]),
    ]

    @Test(arguments: forms.map(\.name))
    func `whatever form the index has, Git and we see the same`(form: String) throws {
        let scratch = try repository()
        scratch.write("later.txt", "later")
        for command in try #require(Self.forms.first { $0.name == form }).commands {
            shell(
                ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"] + command,
                at: scratch.path)
        }
        scratch.write("a/b/new.txt", "n")
        scratch.write("a/f6.txt", "changed")
        #expect(try found(scratch) == expected(scratch))
        #expect(try found(scratch).contains("modified a/f6.txt"))
        let code = try CodeIdentity.capture(at: scratch.path)
        #expect(tree(try #require(code.snapshot), of: scratch) == gitsTree(scratch))
    }

    @Test func `two hundred random changes, one after the other`() throws {
        let scratch = try repository()
        var random = SystemRandomNumberGenerator()
        let folders = ["", "a/", "a/b/", "a/b-c/", "d.e/f/", "g/", "g/h/"]
        var log: [String] = []
        for round in 0..<200 {
            let folder = folders.randomElement(using: &random)!
            let file = "\(folder)f\(Int.random(in: 0..<90, using: &random)).txt"
            let script =
                [
                    "mkdir -p ./\(folder) && echo \(round) > ./\(file)", "rm -f ./\(file)",
                    "chmod +x ./\(file)", "git add -A ./\(folder)", "git add ./\(file)",
                    "git commit -qm x", "git checkout -q ./\(file)", "rm -rf ./\(folder)x",
                    "mkdir -p ./\(folder)x && echo 1 > ./\(folder)x/y",
                    "rm -f ./\(file) && ln -s f0.txt ./\(file)", "git rm -q --cached ./\(file)",
                    "touch ./\(file)", "echo l > ./\(folder)x.log", "git reset -q",
                    "mv ./\(file) ./\(folder)moved", "sleep 0.3",
                ].randomElement(using: &random)!
            log.append(script)
            shell(
                [
                    "sh", "-c",
                    "export GIT_AUTHOR_NAME=T GIT_AUTHOR_EMAIL=t@e GIT_COMMITTER_NAME=T GIT_COMMITTER_EMAIL=t@e; \(script)",
                ], at: scratch.path)
            let code = try CodeIdentity.capture(at: scratch.path)
            let ours = tree(try code.snapshot ?? #require(code.commit), of: scratch)
            let gits = gitsTree(scratch)
            #expect(ours == gits, "after \(log.suffix(12)): \(code.changes)")
            guard ours == gits else { return }
        }
    }

    private func tree(_ commit: String, of scratch: Scratch) -> String {
        scratch.git("rev-parse", commit + "^{tree}")
    }

    /// The tree that Git itself would make of the files, in an index of its own.
    private func gitsTree(_ scratch: Scratch) -> String {
        shell(
            [
                "sh", "-c",
                "cp .git/index .git/other && export GIT_INDEX_FILE=.git/other && git add -A 2>/dev/null; git write-tree",
            ], at: scratch.path)
    }
}
