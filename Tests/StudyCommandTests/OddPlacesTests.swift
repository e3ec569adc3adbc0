// Studies and ledgers in places that nobody thinks of: names with quotes and newlines, a ledger far from the
// code, a narrow window.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `In odd places` {
    private static let text = """
        ---
        title: Odd
        ---
        ```swift
        //| id: read
        let run = Run.current
        run.record("length", try run.text("data/rows.txt").count)
        ```

        ```swift
        //| id: fail
        //| eval: false
        ```
        """

    @Test(arguments: [
        "it's \"quoted\"", "two\nlines", "back\\slash $HOME `id` 100 %", "ünï ∞ #1?&;*", "-rf --",
    ])
    func `a study runs, is listed, replays and leaves`(name: String) throws {
        let folder = try TemporaryFolder(name)
        try folder.write(Self.text, to: "\(name).md")
        try folder.write("1\n2\n", to: "data/rows.txt")
        let run = try StudyProcess(["run", "./\(name).md", "--json"], in: folder.path)
        #expect(run.status == 0, "\(run.errors)")
        let id = try #require(run.json["run"] as? String)
        let list = try StudyProcess(["list", "--json"], in: folder.path).json
        let runs = try #require(list["runs"] as? [[String: Any]])
        #expect(runs.map { $0["study"] as? String } == ["\(name).md"])
        #expect(try StudyProcess(["show", id, "--verify"], in: folder.path).status == 0)
        let replay = try StudyProcess(["replay", id, "--json"], in: folder.path)
        #expect(replay.status == 0, "\(replay.errors)")
        #expect(replay.json["verdict"] as? String == "same bits")
        let report = try StudyProcess(["report", id, "-o", "page.html"], in: folder.path)
        #expect(report.status == 0, "\(report.errors)")

        // A fault is placed in the file of that name.
        try folder.write("```swift\nlet a: Int = \"\"\n```\n", to: "\(name).md")
        let wrong = try StudyProcess(["check", "./\(name).md"], in: folder.path)
        #expect(wrong.status == 1)
        #expect(
            wrong.errors.hasPrefix("./\(name).md:2:14: error: cannot convert value"),
            "\(wrong.errors)")

        // So is a trap, whose place the debug information knows.
        try folder.write(
            "```swift\nlet list = [1]\nprint(list[Int.random(in: 4...4)])\n```\n", to: "\(name).md")
        let trap = try StudyProcess(["run", "./\(name).md", "--json"], in: folder.path)
        #expect(trap.status == 1)
        #expect(
            trap.errors.contains("./\(name).md:3:11: error: index out of range"), "\(trap.errors)")
    }

    private func git(_ arguments: String..., in folder: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"] + arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    @Test func `a run in a ledger far from its repository replays`() throws {
        let code = try TemporaryFolder("code")
        let far = try TemporaryFolder("far")
        try code.write(Self.text, to: "studies/odd.md")
        try code.write("1\n2\n", to: "studies/data/rows.txt")
        try git("init", "-q", in: code.path)
        try git("add", ".", in: code.path)
        try git("commit", "-qm", "one", in: code.path)
        // A dirty tree too: what ran is not in the commit.
        for rows in ["1\n2\n", "1\n2\n3\n"] {
            try code.write(rows, to: "studies/data/rows.txt")
            let run = try StudyProcess(
                ["run", "studies/odd.md", "--json", "--ledger", far.path], in: code.path)
            #expect(run.status == 0, "\(run.errors)")
            let id = try #require(run.json["run"] as? String)
            #expect(!FileManager.default.fileExists(atPath: code.path + "/.study"))
            // The file has changed since: the replay takes what is on record.
            try code.write("9\n", to: "studies/data/rows.txt")
            // From the repository, from the ledger's folder, from anywhere.
            for place in [code.path, far.path, "/"] {
                let replay = try StudyProcess(
                    ["replay", id, "--json", "--ledger", far.path],
                    in: place == "/" ? NSTemporaryDirectory() : place)
                #expect(replay.status == 0, "\(replay.errors)")
                #expect(replay.json["verdict"] as? String == "same bits")
            }
        }
    }

    @Test func `a run in a ledger far from its repository takes its data into the bundle`() throws {
        let code = try TemporaryFolder("code")
        let far = try TemporaryFolder("far")
        try code.write(Self.text, to: "studies/odd.md")
        try code.write("1\n2\n", to: "studies/data/rows.txt")
        try code.write("1\n2\n", to: "same.txt")
        try git("init", "-q", in: code.path)
        try git("add", ".", in: code.path)
        try git("commit", "-qm", "one", in: code.path)
        let run = try StudyProcess(
            ["run", "studies/odd.md", "--json", "--ledger", far.path], in: code.path)
        #expect(run.status == 0, "\(run.errors)")
        // The data as it lies there, changed since, and removed: the tree that ran has it.
        for now in ["1\n2\n", "9\n9\n", nil] {
            let data = code.path + "/studies/data/rows.txt"
            if let now { try code.write(now, to: "studies/data/rows.txt") } else { unlink(data) }
            let export = try StudyProcess(
                ["export", "@latest", "-o", far.path + "/x.tar", "--ledger", far.path],
                in: code.path)
            #expect(export.status == 0, "\(export.errors)")
            #expect(export.output.contains("withheld: nothing"), "\(export.output)")
            #expect(
                try StudyProcess(["verify", far.path + "/x.tar"], in: far.path).status == 0)
        }
        // No commit has it: its hash leaves, and another file with the same bytes is no secret for that.
        try code.write("7\n", to: "studies/data/rows.txt")
        try code.write("studies/data\n.out-*\n.err-*\n", to: ".gitignore")
        try git("rm", "-q", "--cached", "studies/data/rows.txt", in: code.path)
        try code.write("7\n", to: "same.txt")
        try git("add", ".", in: code.path)
        try git("commit", "-qm", "two", in: code.path)
        #expect(
            try StudyProcess(
                ["run", "studies/odd.md", "--ledger", far.path], in: code.path
            ).status == 0)
        unlink(code.path + "/studies/data/rows.txt")
        let export = try StudyProcess(
            ["export", "@latest", "-o", far.path + "/y.tar", "--ledger", far.path], in: code.path)
        #expect(export.output.contains("withheld: 1 file;"), "\(export.output)")
        #expect(!export.output.contains("the same bytes as"), "\(export.output)")
    }

    @Test func `check leaves a cache and no ledger, and Git sees nothing`() throws {
        let folder = try TemporaryFolder("check")
        try folder.write(Self.text, to: "odd.md")
        // What the tests' own processes write.
        try folder.write(".out-*\n.err-*\n", to: ".gitignore")
        try git("init", "-q", in: folder.path)
        try git("add", ".", in: folder.path)
        try git("commit", "-qm", "one", in: folder.path)
        let check = try StudyProcess(["check", "odd.md"], in: folder.path)
        #expect(check.status == 0, "\(check.errors)")
        #expect(
            try Set(FileManager.default.contentsOfDirectory(atPath: folder.path + "/.study"))
                == [".gitignore", "cache"])
        #expect(try StudyProcess(["list"], in: folder.path).status == 2)
        // What was compiled serves the run, and the tree is as it was.
        let run = try StudyProcess(["run", "odd.md", "--require-clean"], in: folder.path)
        #expect(!run.output.contains("compiled"), "\(run.output)")
        #expect(run.status == 1 && run.output.contains("data/rows.txt"), "\(run.output)")
    }

    @Test(arguments: [80, 132, 200] as [UInt16])
    func `a list fits its window`(columns: UInt16) throws {
        let folder = try TemporaryFolder("window")
        try folder.write(
            """
            ---
            headline: [refusal rate of the adapted model, another long name, third]
            ---
            ```swift
            let run = Run.current
            run.record("refusal rate of the adapted model", 0.123456789, arm: "after fine-tuning")
            run.record("another long name", 1234.5678)
            run.record("third", 3)
            ```
            """, to: "a-rather-long-name.md")
        #expect(
            try StudyProcess(["run", "a-rather-long-name.md"], in: folder.path).status == 0)
        let list = try TerminalProcess(["list"], in: folder.path, columns: columns)
        #expect(list.finish() == 0)
        let lines = list.screen.filter { !$0.isEmpty }
        #expect(lines.count == 2)
        #expect(lines.allSatisfy { $0.count <= Int(columns) }, "\(lines)")
        #expect(lines[0].hasPrefix("RUN") && lines[0].hasSuffix("METRICS"))
        #expect(
            lines[1].contains("a-rather-long-name.md") && lines[1].contains("refusal"), "\(lines)")
        #expect(lines[0].contains("COMMIT") == (columns > 80), "\(lines)")
        #expect(lines[1].hasSuffix("…") == (columns < 200), "\(lines)")
        // Elsewhere nothing is cut.
        let whole = try StudyProcess(["list"], in: folder.path).output
        #expect(whole.contains("another long name 1234.57  third 3\n"), "\(whole)")
    }
}
