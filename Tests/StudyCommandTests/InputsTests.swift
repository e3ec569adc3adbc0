// A study that takes another's artifact: when a run is taken again, when that study runs first, and what is said
// where neither can be.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `Taking another study's artifact` {
    /// Saves a folder and a file, made of its parameter, its seed and a file that it reads.
    static let base = """
        ---
        seed: 3
        params: {scale: 1}
        ---
        ```swift
        //| id: make
        import Foundation
        let run = Run.current
        let data = try String(contentsOfFile: run.input("data.txt").path, encoding: .utf8)
        try run.save("aligned") { folder in
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            try "\\(params.scale) \\(run.seed) \\(data)".write(
                toFile: folder + "/model.txt", atomically: true, encoding: .utf8)
        }
        try run.save("note.txt") { try "a note".write(toFile: $0, atomically: true, encoding: .utf8) }
        run.record("scale", params.scale)
        ```
        """
    static let consumer = """
        ---
        params: {scale: 2}
        inputs:
          aligned: {study: base.md, artifact: aligned, params: {scale: params.scale}}
          note: {study: base.md, artifact: note.txt, params: {scale: params.scale}}
        ---
        ```swift
        //| id: use
        import Foundation
        let run = Run.current
        print(try String(contentsOfFile: run.input("aligned").path + "/model.txt", encoding: .utf8))
        print(try String(contentsOfFile: run.input("note").path, encoding: .utf8))
        ```
        """
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder("inputs")
        try folder.write(Self.base, to: "base.md")
        try folder.write("some data", to: "data.txt")
        try folder.write(Self.consumer, to: "use.md")
    }

    func study(_ arguments: String...) throws -> StudyProcess {
        try StudyProcess(arguments, in: folder.path)
    }

    var ledger: Ledger { get throws { try Ledger.openForReading(folder.path) } }

    func runs(of study: String) throws -> [RunRecord] {
        try ledger.list().runs.filter { $0.study == study }.map { try ledger.run($0.id) }
    }

    /// Runs `use.md`, which must succeed, and gives what its cell printed.
    @discardableResult
    func use(_ arguments: String...) throws -> (record: RunRecord, printed: String, said: String) {
        let run = try StudyProcess(["run", "use.md", "--json"] + arguments, in: folder.path)
        #expect(run.status == 0, "\(run.errors)")
        let record = try ledger.run(try #require(run.json["run"] as? String))
        return (
            record, String(decoding: record.output(of: 0, .standardOutput), as: UTF8.self),
            run.errors
        )
    }

    @Test func `the other study runs first, once, and is taken from again`() throws {
        let first = try use()
        #expect(first.printed == "2 3 some data\na note\n")
        #expect(
            first.said.contains(
                "input aligned: base.md runs first, since no run of it has succeeded in this ledger"
            ))
        let bases = try runs(of: "base.md")
        #expect(bases.count == 1)
        #expect(bases[0].command == ["study", "run", "base.md", "-p", "scale=2"])
        #expect(first.record.upstreams.map(\.name) == ["aligned", "note"])
        #expect(first.record.upstreams.map(\.producer) == [bases[0].id, bases[0].id])
        #expect(first.record.upstreams.map(\.sha256) == bases[0].artifacts.map(\.sha256))
        #expect(first.record.inputs.map(\.tracking) == ["upstream", "upstream"])
        #expect(first.record.inputs[0].path == "upstream/\(bases[0].id)/aligned")
        #expect(try ledger.sealHolds(first.record.id) == true)

        // The consumer may change as it likes.
        try folder.write(
            Self.consumer.replacing("print", with: "Swift.print"), to: "use.md")
        let second = try use()
        #expect(second.said.contains("input aligned: run \(bases[0].id) of base.md made it"))
        #expect(second.record.upstreams == first.record.upstreams)
        #expect(try runs(of: "base.md").count == 1)
        #expect(try ledger.lineage(of: second.record.id).runs == [bases[0].id])
        #expect(try ledger.consumers(of: bases[0].id).count == 4)

        let shown = try study("show", second.record.id)
        #expect(
            shown.output.contains("  aligned  artifact aligned of run \(bases[0].id), base.md  sha")
        )
        #expect(
            try study("show", bases[0].id).output.contains(
                "  note.txt  by run \(second.record.id), use.md\n"))
    }

    @Test func `two that start at once let it be made once`() throws {
        // The other study waits until it is told to go on.
        try folder.write(
            Self.base.replacing(
                "let run = Run.current",
                with: """
                    let run = Run.current
                    FileManager.default.createFile(atPath: "begun", contents: nil)
                    while !FileManager.default.fileExists(atPath: "go") { usleep(1000) }
                    """), to: "base.md")
        try folder.write(
            Self.consumer.replacing("print(", with: "Swift.print("), to: "other.md")
        func start(_ file: String) throws -> Process {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: StudyProcess.products + "/study")
            process.arguments = ["run", file]
            process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
            let said = folder.path + "/said-" + file
            _ = FileManager.default.createFile(atPath: said, contents: nil)
            process.standardOutput = FileHandle(forWritingAtPath: said)
            process.standardError = FileHandle(forWritingAtPath: said)
            try process.run()
            return process
        }
        func said(_ file: String) -> String {
            (try? String(contentsOfFile: folder.path + "/said-" + file, encoding: .utf8)) ?? ""
        }
        let first = try start("use.md")
        #expect(
            waited {
                FileManager.default.fileExists(atPath: folder.path + "/begun") || !first.isRunning
            }, "\(said("use.md"))")
        let second = try start("other.md")
        #expect(
            waited {
                said("other.md").contains(
                    "another `study` is making it; waiting for that run's end")
                    || !second.isRunning
            }, "\(said("other.md"))")
        #expect(second.isRunning, "\(said("other.md"))")
        try folder.write("", to: "go")
        first.waitUntilExit()
        second.waitUntilExit()
        #expect(first.terminationStatus == 0, "\(said("use.md"))")
        #expect(second.terminationStatus == 0, "\(said("other.md"))")
        let bases = try runs(of: "base.md")
        #expect(bases.count == 1)
        #expect(said("other.md").contains("run \(bases[0].id) of base.md made it"))
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.path + "/.study")
        #expect(!left.contains { $0.hasSuffix(".lock") }, "\(left)")
    }

    @Test func `an input is not made where the parameter that stands for it is given`() throws {
        try folder.write(
            """
            ---
            params: {model: ""}
            inputs:
              aligned: {study: base.md, artifact: aligned, unless: model}
            ---
            ```swift
            let made = params.model.isEmpty ? try Run.current.input("aligned").path : ""
            print(made.isEmpty ? params.model : "taken")
            ```
            """, to: "use.md")
        #expect(try use("-p", "model=mine").printed == "mine\n")
        #expect(try runs(of: "base.md").isEmpty)
        #expect(try use().printed == "taken\n")
        #expect(try runs(of: "base.md").count == 1)
        try folder.write(
            "---\nparams: {model: \"\"}\ninputs:\n  a: {study: base.md, artifact: aligned, unless: modle}\n---\n",
            to: "wrong.md")
        #expect(
            try study("check", "wrong.md").errors.contains(
                "input a: unless names a text parameter, and 'modle' is none; did you mean 'model'?"
            ))
    }

    @Test(arguments: [
        ("text", "its text has changed since run "), ("data", "data.txt has changed since run "),
        ("parameter", " had scale=2, not 5"),
        ("object", "artifact note.txt of run "), ("spoiled", "artifact note.txt of run "),
    ]) func `whatever has changed above makes that study run again`(what: String, words: String)
        throws
    {
        let before = try use()
        let note = ObjectStore(folder.path + "/.study/objects").path(
            of: before.record.upstreams[1].sha256)
        var arguments: [String] = []
        switch what {
        case "text": try folder.write(Self.base + "\nMore prose.\n", to: "base.md")
        case "data": try folder.write("other data", to: "data.txt")
        case "parameter": arguments = ["-p", "scale=5"]
        case "object": try FileManager.default.removeItem(atPath: note)
        default:
            // In another file, as a disk's fault would not be seen in the times of the old one.
            try FileManager.default.removeItem(atPath: note)
            try "A note".write(toFile: note, atomically: true, encoding: .utf8)
        }
        let run = try StudyProcess(["run", "use.md", "--json"] + arguments, in: folder.path)
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.errors.contains("base.md runs first, since "))
        #expect(run.errors.contains(words), "\(run.errors)")
        #expect(try runs(of: "base.md").count == 2)
        let record = try ledger.run(try #require(run.json["run"] as? String))
        let printed = String(decoding: record.output(of: 0, .standardOutput), as: UTF8.self)
        #expect(printed.hasSuffix("a note\n"))
        #expect(
            printed.hasPrefix(what == "data" ? "2 3 other" : what == "parameter" ? "5 3" : "2 3"))
        let health = try ledger.health()
        #expect(health.isWhole)
    }

    @Test func `seed and parameters of the other study are its own unless asked for`() throws {
        try folder.write(
            Self.consumer.replacing("scale: params.scale}}", with: "scale: 7}, seed: run.seed}"),
            to: "use.md")
        #expect(try use("--seed", "11").printed == "7 11 some data\na note\n")
        try folder.write(
            Self.consumer.replacing(", params: {scale: params.scale}", with: ""), to: "use.md")
        #expect(try use("--seed", "11").printed == "1 3 some data\na note\n")
    }

    @Test func `a study that fails leaves the one below it alone, and says so`() throws {
        try folder.write(
            Self.base.replacing("let run", with: "struct Oh: Error {}\nthrow Oh()\nlet run"),
            to: "base.md")
        let run = try study("run", "use.md")
        #expect(run.status == 1)
        let id = try #require(try runs(of: "base.md").first?.id)
        #expect(
            run.errors
                == """
                use.md was not run: its input aligned comes from base.md, and run \(id) of that failed.
                  where: use.md:4
                  mend:  `study show \(id)` says where; mend base.md, then run use.md again

                """)
        #expect(try runs(of: "use.md").isEmpty)
        #expect(try runs(of: "base.md").map(\.status) == [.failed])
    }

    @Test func `nothing runs until the studies above compile too`() throws {
        try folder.write(Self.base.replacing("let run", with: "let rnu"), to: "base.md")
        let run = try study("run", "use.md")
        #expect(run.status == 1)
        #expect(
            run.errors.contains("base.md:9:39: error: cannot find 'run' in scope"), "\(run.errors)")
        #expect(try ledger.list().runs.isEmpty)
    }

    @Test(arguments: [
        (
            "study: base.md, artifact: aligned", "study: bsae.md, artifact: aligned",
            "use.md:4:3: error: input aligned: there is no study bsae.md; did you mean 'base.md'?"
        ),
        (
            "artifact: note.txt", "artifact: nose.txt",
            "use.md:5:3: error: input note: base.md saves no artifact 'nose.txt'; did you mean 'note.txt'?"
        ),
        (
            "artifact: aligned, params: {scale:", "artifact: aligned, params: {scal:",
            "use.md:4:3: error: input aligned: base.md: the study has no parameter 'scal'; did you mean 'scale'?"
        ),
        (
            "scale: params.scale}}\n  note", "scale: params.scal}}\n  note",
            "use.md:4:64: error: the params of input aligned: this study has no parameter 'scal'; did you mean 'scale'?"
        ),
        (
            "study: base.md, artifact: aligned", "study: base.md, artefact: aligned",
            "unknown key 'artefact' in an input; did you mean 'artifact'?"
        ),
        (
            "study: base.md, artifact: aligned", "study: use.md, artifact: aligned",
            "use.md:4:3: error: input aligned: studies go in a circle: use.md → use.md"
        ),
    ]) func `check and run say what is wrong with an input, and run nothing`(
        right: String, wrong: String, words: String
    ) throws {
        try folder.write(Self.consumer.replacing(right, with: wrong), to: "use.md")
        for verb in ["check", "run"] {
            let run = try study(verb, "use.md")
            #expect(run.status == 1)
            #expect(run.errors.contains(words), "\(run.errors)")
        }
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/.study/ledger.sqlite"))
    }

    @Test func `a circle is printed whole`() throws {
        func text(_ other: String) -> String {
            "---\ninputs: {x: {study: \(other), artifact: y}}\n---\n```swift\nlet a = 1\n```\n"
        }
        try folder.write(text("sub/b.md"), to: "a.md")
        try folder.write(text("../c.md"), to: "sub/b.md")
        try folder.write(text("sub/b.md"), to: "c.md")
        let run = try study("run", "a.md")
        #expect(run.status == 1)
        #expect(
            run.errors.contains("studies go in a circle: sub/b.md → c.md → sub/b.md"),
            "\(run.errors)")
    }

    @Test func `a name that a cell gets wrong is told with the near miss`() throws {
        try folder.write(Self.consumer.replacing("\"aligned\"", with: "\"algined\""), to: "use.md")
        let run = try study("run", "use.md")
        #expect(run.status == 1)
        #expect(
            run.output.contains(
                "algined names no input, dataset or file of this study; did you mean 'aligned'?"),
            "\(run.output) \(run.errors)")
    }

    @Test
    func `an artifact whose name is made up as the run goes is missed at the latest when it ends`()
        throws
    {
        try folder.write(
            Self.base.replacing("run.save(\"note.txt\")", with: "run.save(\"no\" + \"te.txt\")"),
            to: "base.md")
        #expect(try use().printed == "2 3 some data\na note\n")
        try folder.write(Self.consumer.replacing("note.txt", with: "note.text"), to: "use.md")
        let id = try #require(try runs(of: "base.md").first?.id)
        for verb in ["check", "run"] {
            let run = try study(verb, "use.md")
            #expect(run.status == 1)
            #expect(
                run.errors.contains(
                    "use.md:5:3: error: input note: run \(id) of base.md saved no artifact 'note.text'; did you mean 'note.txt'?"
                ), "\(run.errors)")
        }
    }

    @Test func `a chain of three: links, lineage and replay`() throws {
        try folder.write(
            """
            ---
            inputs: {made: {study: use.md, artifact: made}}
            ---
            ```swift
            import Foundation
            print(try String(contentsOfFile: Run.current.input("made").path, encoding: .utf8))
            ```
            """, to: "last.md")
        try folder.write(
            Self.consumer.replacing(
                "print(try String(contentsOfFile: run.input(\"note\")",
                with: """
                    try run.save("made") {
                        try FileManager.default.copyItem(
                            atPath: run.input("aligned").path + "/model.txt", toPath: $0)
                    }
                    print(try String(contentsOfFile: run.input("note")
                    """), to: "use.md")
        let run = try study("run", "last.md", "--json")
        #expect(run.status == 0, "\(run.errors)")
        let id = try #require(run.json["run"] as? String)
        let above = try ledger.lineage(of: id)
        #expect(try above.runs.map { try ledger.run($0).study } == ["base.md", "use.md"])
        #expect(above.missing.isEmpty)

        // The studies above may have changed since: a replay takes what the original took.
        try folder.write("gone", to: "base.md")
        #expect(try study("replay", id).status == 0)

        // Without the artifacts the producers are replayed first, and theirs before them.
        let store = ObjectStore(folder.path + "/.study/objects")
        for producer in above.runs {
            for artifact in try ledger.run(producer).artifacts {
                store.remove(artifact.sha256)
                for file in artifact.files { store.remove(file.sha256) }
            }
        }
        let replay = try study("replay", id, "--json")
        #expect(replay.status == 0, "\(replay.errors)")
        #expect(replay.errors.contains("is not in the store: that run is replayed first"))
        #expect(try runs(of: "base.md").map(\.replayOf) == [above.runs[0], nil])
        #expect(try ledger.health().isWhole)
    }

    @Test func `a run whose producer is elsewhere keeps what it needs`() throws {
        let record = try use().record
        let other = try TemporaryFolder("other ledger")
        let there = try Ledger.open(under: other.path)
        _ = try there.importRuns(from: folder.path, only: [record.id])
        #expect(try there.upstreams(of: record.id) == record.upstreams)
        #expect(try there.lineage(of: record.id).missing == record.upstreams)
        #expect(try there.sealHolds(record.id) == true)
        #expect(try there.garbage(olderThan: 0).objects.isEmpty)
        for link in record.upstreams {
            #expect(try there.brokenObjects(of: link.sha256, isFolder: link.isFolder).isEmpty)
        }
        let replay = try StudyProcess(
            ["replay", record.id, "--ledger", other.path], in: folder.path)
        #expect(replay.status == 0, "\(replay.errors)")

        there.objects.remove(record.upstreams[1].sha256)
        let refused = try StudyProcess(
            ["replay", record.id, "--ledger", other.path], in: folder.path)
        #expect(refused.status == 1)
        #expect(
            refused.errors.contains(
                "note: artifact note.txt of run \(record.upstreams[1].producer), base.md, is not in the store, and neither is that run in this ledger"
            ), "\(refused.errors)")
    }
}
