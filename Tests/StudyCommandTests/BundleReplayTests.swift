// `study replay BUNDLE` as a reviewer meets it: elsewhere, without repository or ledger, in a sandbox.
// What a hostile bundle gets is in HostileBundleTests.swift.

import Export
import Foundation
import TestSupport
import Testing

/// Says on the console why sandboxed tests are left out, where they are.
let sandboxIsThere: Bool = {
    guard let problem = Sandbox.problem else { return true }
    print("sandbox tests are skipped: \(problem)")
    return false
}()

/// A small study in a folder of its own, run and exported.
struct ExportedStudy {
    let author = try! TemporaryFolder("author")
    /// Where the reviewer stands, and where temporary files go.
    let reviewer = try! TemporaryFolder("reviewer")
    let scratch = try! TemporaryFolder("scratch")

    static let text = """
        ---
        title: Reads and counts
        params: {scale: 3}
        datasets:
          - {name: words, path: data/words.txt, licence: CC0-1.0, source: "https://example.org/words.txt"}
        ---
        ```swift
        //| id: count
        import Foundation
        let run = Run.current
        let words = try String(contentsOfFile: try run.input("words").path, encoding: .utf8)
        run.record("letters", Double(words.count * params.scale))
        try run.save("made.txt") {
            try words.uppercased().write(toFile: $0, atomically: true, encoding: .utf8)
        }
        run.claim("there are letters", holds: !words.isEmpty, evidence: "\\(words.count)")
        ```

        ```swift
        //| id: where
        let isLockedUp = FileManager.default.fileExists(atPath: "/replay/work")
        run.record("different", isLockedUp && params.scale == 5 ? 1 : 0)
        ```
        """

    init(_ text: String = Self.text) throws {
        try author.write(text, to: "studies/count.md")
        try author.write("alpha beta\n", to: "studies/data/words.txt")
    }

    func run(_ arguments: String...) throws {
        let run = try StudyProcess(
            ["run", "studies/count.md", "--ledger", author.path] + arguments, in: author.path)
        try #require(run.status == 0, "\(run.errors)")
    }

    /// - Returns: The bundle's path.
    func export(_ name: String = "b.tar.zst", _ arguments: String...) throws -> String {
        let path = reviewer.path + "/" + name
        let export = try StudyProcess(
            ["export", "@latest", "-o", path] + arguments, in: author.path)
        try #require(export.status == 0, "\(export.errors)")
        return path
    }

    func replay(_ arguments: String..., environment: [String: String] = [:]) throws -> StudyProcess
    {
        try StudyProcess(
            ["replay"] + arguments, in: reviewer.path,
            environment: ["TMPDIR": scratch.path].merging(environment) { $1 })
    }

    /// What a replay left in the folder for temporary files.
    var left: [String] {
        // Foundation forgets the folder of an atomic write at times; it is empty.
        ((try? FileManager.default.contentsOfDirectory(atPath: scratch.path)) ?? []).filter {
            !$0.hasPrefix("TemporaryDirectory.")
        }
    }
}

@Suite(.serialized) struct `Replaying a bundle` {
    @Test(.enabled(if: sandboxIsThere)) func `needs no repository and leaves nothing behind`()
        throws
    {
        let study = try ExportedStudy()
        try study.run()
        let bundle = try study.export()
        let replay = try study.replay(bundle)
        #expect(replay.status == 0, "\(replay.errors)")
        #expect(replay.output.contains("sandbox: no network"))
        #expect(replay.output.contains("✓ same bits"))
        #expect(study.left == [])
        #expect(!FileManager.default.fileExists(atPath: study.reviewer.path + "/.study"))

        // An unpacked bag whose files nobody may write, and JSON.
        let tar = Process()
        tar.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        tar.arguments = ["tar", "-C", study.reviewer.path, "-xf", bundle]
        try tar.run()
        tar.waitUntilExit()
        let bag = try #require(
            FileManager.default.contentsOfDirectory(atPath: study.reviewer.path).first {
                $0.hasPrefix("study-count")
            })
        chmod(study.reviewer.path + "/" + bag, 0o555)
        let json = try study.replay(bag, "--json", "--threads", "1")
        #expect(json.status == 0, "\(json.errors)")
        #expect(json.json["verdict"] as? String == "same bits")
        #expect(json.json["sandbox"] as? Bool == true)
        #expect(json.json["bundle"] as? String == bag)
        chmod(study.reviewer.path + "/" + bag, 0o755)
    }

    @Test(.enabled(if: sandboxIsThere)) func `that comes out differently ends with status 4`()
        throws
    {
        let study = try ExportedStudy()
        try study.run("-p", "scale=5")
        let replay = try study.replay(try study.export())
        #expect(replay.status == 4, "\(replay.errors)")
        #expect(replay.output.contains("✗ different"))
        #expect(replay.output.contains("metric different: 0.0 recorded, 1.0 found"))
        #expect(study.left == [])
    }

    @Test func `without a sandbox says what that gives up, and only when asked`() throws {
        let study = try ExportedStudy()
        try study.run()
        let bundle = try study.export()
        // A PATH that has the compiler and no bubblewrap.
        let tools = try TemporaryFolder("tools")
        let swift = try #require(
            ProcessInfo.processInfo.environment["PATH"]?.split(separator: ":").map {
                String($0) + "/swiftc"
            }.first { access($0, X_OK) == 0 })
        try FileManager.default.createSymbolicLink(
            atPath: tools.path + "/swiftc", withDestinationPath: swift)
        let refused = try study.replay(bundle, environment: ["PATH": tools.path])
        #expect(refused.status == 2)
        #expect(refused.errors.contains("bwrap is not installed (apt-get install bubblewrap)"))
        #expect(refused.errors.contains("--no-sandbox runs it as you"))
        #expect(!refused.output.contains("count"))

        let open = try study.replay(
            bundle, "--no-sandbox", environment: ["PATH": tools.path + ":/usr/bin:/bin"])
        #expect(open.status == 0, "\(open.errors)")
        #expect(open.output.contains("without sandbox: the bundle's code runs as you"))
        #expect(open.output.contains("✓ same bits"))
        #expect(study.left == [])
    }

    @Test(.enabled(if: sandboxIsThere))
    func
        `that is thin says which inputs are missing and where they are, and takes them from a folder`()
        throws
    {
        let study = try ExportedStudy()
        try study.run()
        let thin = try study.export("thin.tar.zst", "--thin")
        let refused = try study.replay(thin)
        #expect(refused.status == 1)
        #expect(refused.errors.contains("An input of this run is not in the bundle"))
        #expect(refused.errors.contains("inputs/studies/data-/words.txt, 11 bytes, sha256 "))
        #expect(refused.errors.contains("get it from https://example.org/words.txt"))
        #expect(refused.errors.contains("--inputs FOLDER"))

        // Another name, beside a file of the same size with other bytes.
        try study.reviewer.write("alpha gamma", to: "got/a.txt")
        let wrong = try study.replay(thin, "--inputs", "got")
        #expect(wrong.status == 1)
        #expect(wrong.errors.contains("is not in the bundle and not in got"))
        try study.reviewer.write("alpha beta\n", to: "got/b.txt")
        let right = try study.replay(thin, "--inputs", "got")
        #expect(right.status == 0, "\(right.errors)")
        #expect(right.output.contains("✓ same bits"))
    }

    @Test(.enabled(if: sandboxIsThere))
    func `without the weights, and of a run that failed, is judged all the same`()
        throws
    {
        let study = try ExportedStudy(
            """
            ---
            title: Withholds its weights
            release: metrics-only
            params: {fails: false}
            datasets: [{name: words, path: data/words.txt, licence: CC0-1.0}]
            ---
            ```swift
            //| id: make
            import Foundation
            let run = Run.current
            _ = try run.input("words")
            try run.save("model.safetensors", kind: "weights") {
                try Data(count: 4096).write(to: URL(fileURLWithPath: $0))
            }
            ```

            ```swift
            //| id: fail
            let none: [Int] = []
            if params.fails { print(none[run.seed == 0 ? 3 : 4]) }
            ```
            """)
        try study.run()
        let bundle = try study.export()
        let look = try StudyProcess(["inspect", bundle], in: study.reviewer.path)
        #expect(look.output.contains("withheld  1 file"))
        let replay = try study.replay(bundle)
        #expect(replay.status == 0, "\(replay.errors)")
        #expect(replay.output.contains("artifacts      1 same bits"))

        let failed = try StudyProcess(
            ["run", "studies/count.md", "--ledger", study.author.path, "-p", "fails=true"],
            in: study.author.path)
        try #require(failed.status == 1)
        let again = try study.replay(try study.export("failed.tar"))
        #expect(again.status == 0, "\(again.output)\n\(again.errors)")
        #expect(again.output.contains("✓ same bits"))
    }

    @Test func `refuses what is no bundle, a changed one, and options that fit none`() throws {
        let study = try ExportedStudy()
        try study.run()
        let bundle = try study.export()
        let nothing = try study.replay("nothing.tar.zst")
        #expect(nothing.status == 2)
        #expect(nothing.errors.contains("nothing.tar.zst"))
        try study.reviewer.write("hello", to: "words.md")
        let noBundle = try study.replay("words.md")
        #expect(noBundle.status == 5)
        #expect(noBundle.errors.contains("is none of tar, tar.zst, tar.gz and zip"))
        var bytes = try Data(contentsOf: URL(fileURLWithPath: bundle))
        bytes[bytes.count / 2] ^= 4
        try bytes.write(to: URL(fileURLWithPath: study.reviewer.path + "/bad.tar.zst"))
        let changed = try study.replay("bad.tar.zst", "--json")
        #expect(changed.status == 5)
        #expect(changed.json["status"] as? Int == 5)
        #expect(changed.errors.contains("is not what was exported"))
        let options = try study.replay("@latest", "--inputs", "x")
        #expect(options.status == 2)
        #expect(options.errors.contains("--inputs is for bundles, and @latest is no file"))
        let time = try study.replay(bundle, "--max-time", "soon")
        #expect(time.status == 2)
        #expect(time.errors.contains("--max-time is a time such as 90m or 2h, not 'soon'"))
        #expect(study.left == [])
    }
}
