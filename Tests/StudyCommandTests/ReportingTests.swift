// `study report`, `export` and `show` as a user meets them: what they write, and what each of a dozen
// wrong uses is told.

import Foundation
import TestSupport
import Testing

@Suite struct `Reporting a run` {
    static let text = """
        ---
        title: Small
        params: {rank: 8}
        ---
        ```swift
        //| id: only
        let run = Run.current
        for step in 0..<100 { run.record("loss", 1 / Double(step + 1), step: step, arm: "a") }
        run.record("accuracy", 0.5)
        run.claim("it runs", holds: params.rank == 8, evidence: "rank \\(params.rank)")
        ```
        """
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write(Self.text, to: "small.md")
    }

    func study(_ arguments: [String]) throws -> StudyProcess {
        try StudyProcess(arguments, in: folder.path)
    }

    func git(_ arguments: String...) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["git", "-c", "user.name=A", "-c", "user.email=a@example.org"] + arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    func page(_ name: String) throws -> String {
        try String(contentsOfFile: folder.path + "/" + name, encoding: .utf8)
    }

    @Test func `the page knows replays, other runs and what was not committed`() throws {
        try git("init", "-q")
        try git("add", "small.md")
        try git("commit", "-q", "-m", "one")
        try folder.write(Self.text + "\n\nNot yet committed <here>.\n", to: "small.md")
        let run = try study(["run", "small.md", "--json"])
        #expect(run.status == 0, "\(run.errors)")
        let id = try #require(run.json["run"] as? String)
        #expect(try study(["replay", id]).status == 0)
        _ = try study(["run", "small.md", "-p", "rank=9"])
        let report = try study(["report", id, "-o", "pages/one.html"])
        #expect(report.status == 0, "\(report.errors)")
        #expect(report.output.hasPrefix("wrote pages/one.html, "))
        let html = try page("pages/one.html")
        #expect(html.contains("<strong>same bits</strong>"))
        #expect(html.contains("1 other run of this study is on the same ledger"))
        #expect(html.contains("<span class=\"ins\">+Not yet committed &lt;here&gt;.</span>"))
        #expect(try study(["report", id, "-o", "two.html"]).status == 0)
        #expect(try page("two.html") == html)

        #expect(try study(["report", id, "@latest", "-o", "both.html"]).status == 0)
        let both = try page("both.html")
        #expect(both.contains("parameter rank") && both.contains("<td>8</td><td>9</td>"))
        #expect(both.contains("✗ fails: rank 9"))
    }

    @Test func `a run leaves as a notebook and into MLflow's store`() throws {
        _ = try study(["run", "small.md"])
        let notebook = try study(["export", "@latest", "--format", "ipynb", "-o", "small.ipynb"])
        #expect(notebook.status == 0, "\(notebook.errors)")
        #expect(notebook.output.contains("release: open: "))
        #expect(try page("small.ipynb").contains("\"nbformat\": 4"))
        let dry = try study(["export", "@latest", "--format", "ipynb", "--dry-run"])
        #expect(dry.status == 0 && !dry.output.contains("wrote"))
        let mlflow = try study(["export", "@latest", "--format", "mlflow", "-o", "store", "--json"])
        #expect(mlflow.status == 0, "\(mlflow.errors)")
        #expect(mlflow.json["mlflow_run"] is String)
        let again = try study(["export", "@latest", "--format", "mlflow", "-o", "store"])
        #expect(again.status == 2)
        #expect(again.errors.contains("is in this MLflow store already."))
    }

    @Test func `a terminal figure joins its points and fits in 80 columns`() throws {
        try folder.write(
            Self.text.replacingOccurrences(of: "0..<100", with: "[0, 50, 99]")
                .replacingOccurrences(
                    of: "run.record(\"accuracy\", 0.5)",
                    with: """
                        run.record("accuracy", 0.5, arm: "one")
                        run.record("accuracy", 0.25, arm: "another with quite a long name for an arm")
                        """), to: "small.md")
        _ = try study(["run", "small.md"])
        let shown = try study(["show", "--metric", "loss"])
        #expect(shown.status == 0)
        let lines = shown.output.split(separator: "\n")
        #expect(lines.count == 15)
        #expect(lines.allSatisfy { $0.count <= 80 })
        #expect(lines[0] == "loss[a]  3 values, last 0.01")
        #expect(lines[1].contains("1 ┤⠑"))
        // Three points, and yet dots in each of the 64 columns between them.
        let columns = Set(
            lines[1...12].flatMap { line in
                line.drop { $0 != "│" && $0 != "┤" }.enumerated().compactMap {
                    $0.offset > 0 && $0.element != "\u{2800}" ? $0.offset : nil
                }
            })
        #expect(columns.count == 64)

        let table = try study(["show", "--metric", "accuracy"])
        let full = String(repeating: "█", count: 24)
        let expected = [
            "accuracy  2 arms",
            "  one" + String(repeating: " ", count: 32) + "0.5  " + full,
            "  another with quite a long name …  0.25  " + String(full.prefix(12)), "",
        ].joined(separator: "\n")
        #expect(table.output == expected)
    }

    /// What is typed, and what the sentence says: what is wrong, and what would be right.
    static let wrongUses: [(arguments: [String], words: String)] = [
        (["report", "abcdef00"], "There is no run abcdef00 in this ledger."),
        (["report"], "Missing expected argument '<run> ...'"),
        (["report", "@latest", "-o", "x.pdf"], "-o x.pdf: a report's name must end in .html."),
        (
            ["report", "@latest", "@latest", "-o", "x.html"],
            "was named twice (the second time as @latest)."
        ),
        (
            ["report", "1", "2", "3", "4", "5", "6", "7", "8", "9"],
            "study report takes one run, or up to eight to compare; 9 were named."
        ),
        (["report", "@latest", "-o", "folder.html"], "folder.html is a folder."),
        (["report", "@latest", "-o", "/proc/x.html"], "/proc/x.html cannot be written: "),
        (
            ["export", "@latest", "-o", "x.rar"],
            "-o x.rar: the name must end in .tar.zst, .tar, .tar.gz or .zip."
        ),
        (
            ["export", "@latest", "-o", "x.ipynb"],
            "-o x.ipynb: a notebook is written with --format ipynb."
        ),
        (
            ["export", "@latest", "--format", "ipynb", "-o", "x.zip"],
            "-o x.zip: a notebook's name must end in .ipynb."
        ),
        (
            ["export", "@latest", "--format", "mlflow", "-o", "x.tar"],
            "-o x.tar: MLflow's store is a folder, such as mlruns; only a bundle is an archive."
        ),
        (
            ["export", "@latest", "--format", "pdf"],
            "The value 'pdf' is invalid for '--format <format>'"
        ),
        (
            ["export", "@latest", "--format", "ipynb", "--thin"],
            "--thin is for bundles; --format ipynb does not take it."
        ),
        (["show", "--metric", "los"], "has no metric 'los'; did you mean 'loss'?"),
        (["show", "--metric", "zzzzzz"], "it has loss, accuracy; an arm is chosen as 'name[arm]'"),
        (["show", "--format", "xml"], "--format is table, csv or jsonl, not 'xml'."),
        (["show", "--format", "csv"], "--format csv goes with --metric or --items."),
        (
            ["show", "--metric", "loss", "--items"],
            "--metric and --items do not go together; choose one."
        ),
    ]

    @Test func `each of many wrong uses is told with status 2, and writes nothing`() throws {
        _ = try study(["run", "small.md"])
        try FileManager.default.createDirectory(
            atPath: folder.path + "/folder.html", withIntermediateDirectories: true)
        func files() throws -> Set<String> {
            Set(try FileManager.default.contentsOfDirectory(atPath: folder.path))
        }
        let before = try files()
        for (arguments, words) in Self.wrongUses {
            let result = try study(arguments)
            #expect(result.status == 2, "\(arguments): \(result.errors)")
            #expect(result.errors.contains(words), "\(arguments): \(result.errors)")
        }
        #expect(try files() == before)
    }
}
