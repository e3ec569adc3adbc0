// `study run` and `study check` as a user meets them: what is printed, recorded and returned.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `Running a study` {
    static let text = """
        ---
        title: Small
        seed: 7
        params: {rank: {default: 8, help: rank of the update}, names: [a, b]}
        ---
        At rank `{swift} params.rank`:

        ```swift
        //| id: first
        let run = Run.current
        var total = 0
        func add(_ n: Int) { total += n }
        for step in 0..<10 { add(step); run.record("sum", Double(total), step: step) }
        print("first", params.names, run.seed)
        ```

        The sum is `{swift} total`.

        ```swift
        //| id: shown
        //| eval: false
        this is not compiled
        ```

        ```swift
        //| id: second
        run.claim("the sum is 45", holds: total == 45, evidence: "\\(total)")
        run.claim("the rank is 8", holds: params.rank == 8, evidence: "\\(params.rank)")
        print("second")
        ```

        ```swift
        //| id: third
        await Task.yield()
        print("third")
        ```
        """
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder()
        try folder.write(Self.text, to: "studies/small.md")
    }

    func study(_ arguments: String..., environment: [String: String] = [:]) throws -> StudyProcess {
        try StudyProcess(arguments, in: folder.path, environment: environment)
    }

    func record(_ run: StudyProcess) throws -> RunRecord {
        let id = try #require(run.json["run"] as? String)
        let root = Ledger.root(for: folder.path + "/studies/small.md")
        return try Ledger.openForReading(root).run(id)
    }

    @Test func `everything ends up on record, and nothing is compiled twice`() throws {
        let run = try study("run", "studies/small.md", "--json")
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.errors.contains("compiled 5 modules"))
        let record = try record(run)
        #expect(record.status == .succeeded)
        #expect(record.seed == 7)
        #expect(record.parameters.map(\.value) == ["8", "a,b"])
        #expect(record.inlineValues == [0: "8", 1: "45"])
        #expect(record.series.map(\.count) == [10])
        #expect(record.claims.map(\.holds) == [true, true])
        #expect(record.output(of: 0, .standardOutput) == Array("first [\"a\", \"b\"] 7\n".utf8))
        #expect(record.output(of: 3, .standardOutput) == Array("third\n".utf8))
        #expect(record.cells.map(\.state) == ["succeeded", "pending", "succeeded", "succeeded"])
        #expect(record.environment["swift.version"]?.contains("Swift version") == true)
        #expect(record.environment["engine.tier"] == "portable")
        #expect(["avx512", "avx2", "scalar"].contains(record.environment["engine.kernels"]))
        #expect(record.environment["openblas.core"] == "not loaded")

        let again = try study("run", "studies/small.md", "--json", "-p", "rank=9", "--seed", "3")
        #expect(!again.errors.contains("compiled"))
        #expect(try self.record(again).seed == 3)
        #expect(try self.record(again).claims.map(\.holds) == [true, false])
    }

    @Test func `the BLAS core is on record once something has loaded OpenBLAS`() throws {
        let text = """
            ```swift
            //| id: first
            print("products alone")
            ```

            ```swift
            //| id: second
            _ = try LAPACK.singularValueDecomposition([1, 2, 3, 4], rows: 2, columns: 2)
            ```
            """
        try folder.write(text, to: "studies/small.md")
        func facts(_ arguments: String...) throws -> [String?] {
            let run = try StudyProcess(
                ["run", "studies/small.md", "--json"] + arguments, in: folder.path)
            #expect(run.status == 0, "\(run.errors)")
            let environment = try record(run).environment
            return ["engine.tier", "openblas.core", "openblas.threads"].map { environment[$0] }
        }
        #expect(try facts("--until", "first") == ["portable", "not loaded", "not loaded"])
        let loaded = try facts()
        #expect(loaded[0] == "portable" && loaded[2] == "1")
        let core = try #require(loaded[1])
        #expect(["SkylakeX", "Haswell", "Nehalem"].contains(core))
        #expect(try facts("--tier", "blas", "--until", "first") == ["blas", core, "1"])
        let doctor = try study("doctor", "--json")
        let findings = try #require(doctor.json["findings"] as? [[String: String]])
        func found(_ what: String) -> String? { findings.first { $0["what"] == what }?["found"] }
        #expect(found("OpenBLAS")?.hasPrefix("core \(core), 1 thread of its own, tested") == true)
        #expect(found("portable tier")?.contains(" threads, tested against f64") == true)
        #expect(found("default tier")?.hasPrefix("portable") == true)
    }

    @Test func `a training's activations are on record, and recomputed blocks take less`() throws {
        let text = """
            ```swift
            let run = Run.current
            func trained(_ arm: String, _ recomputes: Bool) throws -> [Double] {
                var random = RandomStream(seed: 1, name: "model")
                var model = LanguageModel(
                    configuration: ModelConfiguration(
                        vocabularySize: 40, hiddenSize: 24, intermediateSize: 40, layerCount: 6,
                        headCount: 2),
                    standardDeviation: 0.2, using: &random)
                let rows = (0..<4).map { row in
                    TrainingExample(tokens: (0..<20).map { Int32(($0 * 7 + row) % 40) })
                }
                return try run.train(
                    &model, on: rows, with: AdamW(learningRate: 0.01),
                    TrainingOptions(batchSize: 2, gradientCheckpointing: recomputes), arm: arm,
                    using: &random).losses
            }
            let same = try trained("kept", false) == trained("again", true)
            run.claim("the losses are the same", holds: same, evidence: "")
            ```
            """
        try folder.write(text, to: "studies/small.md")
        let run = try study("run", "studies/small.md", "--json", "--strict")
        #expect(run.status == 0, "\(run.errors)")
        let facts = try record(run).environment.facts.compactMap {
            ActivationFact(name: $0.name, value: $0.value)
        }
        func fact(_ arm: String?) throws -> ActivationFact {
            try #require(facts.first { $0.arm == arm }, "\(facts)")
        }
        let (kept, again) = (try fact("kept"), try fact("again"))
        #expect(!kept.isRecomputed && again.isRecomputed)
        #expect(again.bytes > 0 && 2 * again.bytes < kept.bytes, "\(again.bytes) \(kept.bytes)")
        #expect(try fact(nil).bytes == kept.bytes)
        let home = folder.path + "/studies"
        let shown = try StudyProcess(["show", "@latest"], in: home).output
        let lines = shown.split(separator: "\n").filter { $0.hasPrefix("  activations ") }
        try #require(lines.count == 3, "\(shown)")
        #expect(lines[0].contains("a training step: at most ") && lines[0].hasSuffix(" kept"))
        #expect(lines[1].contains("again: at most "))
        #expect(lines[1].hasSuffix(" kept, blocks computed again"))
        #expect(lines[2].contains("kept: at most "))
        let report = folder.path + "/report.html"
        #expect(try StudyProcess(["report", "@latest", "-o", report], in: home).status == 0)
        let page = try String(contentsOfFile: report, encoding: .utf8)
        #expect(page.contains("<dt>activations</dt><dd>again: at most "))
        // Memory is no result: a replay is not held to it.
        let replay = try StudyProcess(["replay", "@latest"], in: home)
        #expect(replay.status == 0, "\(replay.errors)")
    }

    @Test
    func `kernels that cannot be had end the run before its first cell, and doctor names them`()
        throws
    {
        let variables = ["STUDY_KERNELS": "avx1024"]
        let run = try study("run", "studies/small.md", "--json", environment: variables)
        #expect(run.status == 1)
        #expect(run.errors.contains("STUDY_KERNELS is \"avx1024\", which names no kernels."))
        #expect(run.errors.contains("mend:  set it to "), "\(run.errors)")
        #expect(!run.output.contains("first [a, b]"))
        #expect(try record(run).status == .failed)
        let doctor = try study("doctor", "--json", environment: variables)
        let findings = try #require(doctor.json["findings"] as? [[String: String]])
        let tier = try #require(findings.first { $0["what"] == "portable tier" })
        #expect(tier["found"] == "STUDY_KERNELS is \"avx1024\", which names no kernels.")
        #expect(tier["mend"]?.hasPrefix("set it to ") == true)
        for (value, status) in [("some", Int32(1)), ("0", 1), ("3", 0)] {
            let threads = try study(
                "run", "studies/small.md", "--json", environment: ["STUDY_THREADS": value])
            #expect(threads.status == status, "\(value): \(threads.errors)")
            #expect(threads.errors.contains("STUDY_THREADS is \"\(value)\"") == (status != 0))
            if status == 0 {
                #expect(try self.record(threads).environment["engine.threads"] == value)
            }
        }
    }

    @Test func `a failed claim is an exit status of its own under --strict`() throws {
        #expect(try study("run", "studies/small.md", "-p", "rank=9").status == 0)
        let strict = try study("run", "studies/small.md", "-p", "rank=9", "--strict")
        #expect(strict.status == 3)
        #expect(strict.output.contains("✗ the rank is 8 (9)"))
        #expect(strict.output.contains("1 of 2 claims hold"))
    }

    @Test func `--until stops after a cell`() throws {
        let run = try study("run", "studies/small.md", "--until", "second", "--json")
        #expect(run.status == 0)
        #expect(
            try record(run).cells.map(\.state) == ["succeeded", "pending", "succeeded", "pending"])
        let wrong = try study("run", "studies/small.md", "--until", "secnd")
        #expect(wrong.status == 2)
        #expect(
            wrong.errors.hasPrefix(
                "studies/small.md: error: the study has no cell 'secnd'; did you mean 'second'?"))
    }

    @Test func `check compiles and runs nothing`() throws {
        let check = try study("check", "studies/small.md")
        #expect(check.status == 0)
        #expect(check.output.hasSuffix("studies/small.md: 3 cells compile\n"))
        #expect(!check.output.contains("first ["))
    }

    @Test func `help after a file lists that study's parameters`() throws {
        let help = try study("run", "studies/small.md", "--help")
        #expect(help.status == 0)
        #expect(help.output.contains("-p rank=Int"))
        #expect(help.output.contains("rank of the update (default: 8)"))
    }

    @Test(arguments: [
        (["run", "studies/none.md"], "studies/none.md: error: the study does not exist"),
        (
            ["run", "studies/small.md", "-p", "rnk=1"],
            "studies/small.md: error: the study has no parameter 'rnk'; did you mean 'rank'?"
        ),
        (["run", "studies/small.md", "--tier", "fast"], "--tier is portable or blas"),
        (["run", "studies/small.md", "--memory", "lots"], "--memory is a size such as 512M or 8G"),
        (["rnu", "studies/small.md"], "rnu"),
    ]) func `wrong usage is told with status 2`(arguments: [String], words: String) throws {
        let run = try StudyProcess(arguments, in: folder.path)
        #expect(run.status == 2)
        #expect(run.errors.contains(words), "\(run.errors)")
    }

    @Test func `without a compiler one sentence says what to install`() throws {
        let run = try study("run", "studies/small.md", environment: ["PATH": "/nowhere"])
        #expect(run.status == 1)
        #expect(
            run.errors.hasPrefix(
                "There is no `swiftc` on the PATH, and a study's cells are compiled by it."))
    }

    @Test func `Swift's runtime knows the cells' types: casts, encoders, generics`() throws {
        let folder = try TemporaryFolder("types")
        try folder.write(
            """
            ```swift
            import Foundation
            protocol Named { var name: String { get } }
            struct Fit: Codable, Equatable, Named { var slope: Double; var name: String }
            let fit: Any = Fit(slope: 0.5, name: "line")
            ```

            ```swift
            print((fit as? any Named)?.name ?? "none", fit is any Equatable)
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            print(String(decoding: try encoder.encode(fit as! Fit), as: UTF8.self))
            ```
            """, to: "types.md")
        let run = try StudyProcess(["run", "types.md"], in: folder.path)
        #expect(run.status == 0, "\(run.errors) \(run.output)")
        #expect(
            run.output.contains("line true\n{\"name\":\"line\",\"slope\":0.5}\n"), "\(run.output)")
    }

    @Test func `output is kept byte for byte`() throws {
        try folder.write(
            """
            ```swift
            import Glibc
            var noise = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 37) }
            noise.withUnsafeBytes { _ = fwrite($0.baseAddress, 1, $0.count, stdout) }
            fputs("to the other stream, no newline", stderr)
            ```
            """, to: "studies/small.md")
        let run = try study("run", "studies/small.md", "--json")
        let record = try record(run)
        let noise = (0..<100_000).map { UInt8(truncatingIfNeeded: $0 &* 37) }
        #expect(record.output(of: 0, .standardOutput) == noise)
        #expect(
            record.output(of: 0, .standardError) == Array("to the other stream, no newline".utf8))
    }

    @Test func `a flood is cut, counted, and costs no memory`() throws {
        try folder.write(
            """
            ```swift
            let line = String(repeating: "x", count: 999)
            for _ in 0..<40_000 { print(line) }
            ```
            """, to: "studies/small.md")
        let run = try study("run", "studies/small.md", "--json")
        #expect(run.status == 0)
        let record = try record(run)
        let kept = record.output(of: 0, .standardOutput)
        let note = "\nstudy: \(40_000_000 - (16 << 20)) more bytes on standard output were not kept"
        #expect(kept.count > 16 << 20 && kept.count < (16 << 20) + 200)
        #expect(String(decoding: kept.suffix(200), as: UTF8.self).contains(note))
    }

    @Test func `Ctrl-C once asks the cell to stop, and the run is sealed as interrupted`() throws {
        try folder.write(
            """
            ```swift
            import Glibc
            let run = Run.current
            print("begun")
            close(creat("\(folder.path)/begun", 0o644))
            while !run.isCancelled { usleep(1000) }
            print("stopped by itself")
            ```

            ```swift
            print("never")
            ```
            """, to: "studies/small.md")
        _ = try study("check", "studies/small.md")
        let run = try StudyProcess(
            ["run", "studies/small.md", "--json"], in: folder.path,
            signals: [(folder.path + "/begun", SIGINT)])
        #expect(run.status == 1)
        let record = try record(run)
        #expect(record.status == .interrupted)
        #expect(
            record.output(of: 0, .standardOutput) == Array("begun\nstopped by itself\n".utf8))
        #expect(record.cells.map(\.state) == ["interrupted", "pending"])
    }

    @Test func `Ctrl-C twice ends a cell that does not listen`() throws {
        try folder.write(
            """
            ```swift
            import Glibc
            let run = Run.current
            print("begun")
            close(creat("\(folder.path)/begun", 0o644))
            while true {
                usleep(1000)
                if run.isCancelled { close(creat("\(folder.path)/asked", 0o644)) }
            }
            ```
            """, to: "studies/small.md")
        _ = try study("check", "studies/small.md")
        let run = try StudyProcess(
            ["run", "studies/small.md", "--json"], in: folder.path,
            signals: [(folder.path + "/begun", SIGINT), (folder.path + "/asked", SIGINT)])
        #expect(run.status == 1)
        let record = try record(run)
        #expect(record.status == .interrupted)
        #expect(record.output(of: 0, .standardOutput) == Array("begun\n".utf8))
        #expect(record.cells.map(\.state) == ["interrupted"])
    }

    @Test func `standard output and standard error keep their order`() throws {
        try folder.write(
            """
            ```swift
            import Glibc
            for i in 0..<300 {
                print("o\\(i)")
                if i % 3 == 0 { Run.current.note("n\\(i)") } else { fputs("e\\(i)\\n", stderr) }
                if i % 50 == 0 { print("part", terminator: "") }
            }
            ```
            """, to: "studies/small.md")
        let run = try study("run", "studies/small.md", "--json")
        #expect(run.status == 0, "\(run.errors)")
        let found = try record(run).outputs.flatMap(\.bytes)
        let expected = (0..<300).map {
            "o\($0)\n\($0 % 3 == 0 ? "n" : "e")\($0)\n" + ($0 % 50 == 0 ? "part" : "")
        }.joined()
        #expect(String(decoding: found, as: UTF8.self) == expected)
    }

    @Test func `a kernel killed from outside leaves a failed run`() throws {
        try folder.write(
            """
            ```swift
            import Glibc
            let run = Run.current
            for step in 0..<1000 { run.record("n", Double(step), step: step) }
            run.flush()
            kill(getpid(), SIGKILL)
            ```
            """, to: "studies/small.md")
        let run = try study("run", "studies/small.md", "--json")
        #expect(run.status == 1)
        let record = try record(run)
        #expect(record.status == .failed)
        #expect(record.series.map(\.count) == [1000])
    }

    @Test func `a metric recorded just before a trap is not lost`() throws {
        try folder.write(
            """
            ```swift
            let run = Run.current
            for step in 0..<12_345 { run.record("n", Double(step), step: step) }
            fatalError("now")
            ```
            """, to: "studies/small.md")
        let run = try study("run", "studies/small.md", "--json")
        #expect(try record(run).series.map(\.count) == [12_345])
    }

    @Test func `an edited function body recompiles its own cell alone`() throws {
        _ = try study("check", "studies/small.md")
        try folder.write(
            Self.text.replacingOccurrences(of: "total += n", with: "total += 1 * n"),
            to: "studies/small.md")
        #expect(try study("run", "studies/small.md").output.contains("compiled 1 module in"))
    }

    @Test func `the help lists only what works`() throws {
        let help = try study("--help").output
        #expect(help.contains("run") && help.contains("check"))
        #expect(try study("--version").output.hasPrefix("0."))
    }
}
