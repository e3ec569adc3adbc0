// Cells marked `//| cache: true`: what they leave to later cells is stored, and `study replay --cell` uses it where nothing
// that decides it has changed. With and without, the bits are the same.

import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `Stored values of cells` {
    private static let text = """
        ---
        seed: 4
        params:
          rank: 2
        ---
        ```swift
        //| id: types
        struct Fit: Codable, Equatable {
            var slope: Double
            var name: String?
        }
        ```

        ```swift
        //| id: setup
        let run = Run.current
        var draws = run.random("draws")
        var count = 1
        let fixed = 7
        ```

        ```swift
        //| id: dear
        //| cache: true
        import Foundation
        let weights = Tensor((0..<6).map { _ in draws.normal() }, shape: [2, 3])
        let fits = ["a": Fit(slope: .nan, name: nil), "b": Fit(slope: -0.0, name: "x\\u{301}")]
        let seen: Set<Int32> = [5, 3, .max]
        let when = Date(timeIntervalSince1970: 1e9 + 0.1)
        let maybe: [Float?] = [nil, 0.1, -.infinity]
        count += 10 * params.rank
        run.record("dear", Double(count))
        print("dear runs")
        ```

        Dear is `{swift} count`.

        ```swift
        //| id: use
        run.record("next", draws.uniform())
        run.record("sum", weights.sum())
        run.record("count", count)
        print(fits["a"]!.slope, fits["b"]!.slope.sign, fits["b"]!.name!.utf8.count, seen.sorted(), fixed)
        print(when.timeIntervalSince1970, maybe, weights.shape)
        ```
        """
    private let folder: TemporaryFolder
    private let run: StudyProcess

    init() throws {
        folder = try TemporaryFolder("stored")
        try folder.write(Self.text, to: "stored.md")
        run = try StudyProcess(["run", "stored.md", "--json", "--ledger", "."], in: folder.path)
    }

    private var id: String {
        get throws { try #require(run.json["run"] as? String, "\(run.errors)") }
    }

    private func study(_ arguments: String...) throws -> StudyProcess {
        try StudyProcess(arguments + ["--json", "--ledger", "."], in: folder.path)
    }

    /// Replays the cell `use`; gives the run that it was, and what was said of `dear`.
    private func replay(_ run: String? = nil) throws -> (
        record: RunRecord, said: String, process: StudyProcess
    ) {
        let process = try study("replay", run ?? id, "--cell", "use")
        #expect(process.status == 0, "\(process.errors) \(process.output)")
        #expect(process.json["verdict"] as? String == "same bits")
        let ledger = try Ledger.openForReading(folder.path)
        let record = try ledger.run(
            try #require(process.json["replay"] as? String, "\(process.errors)"), points: true)
        let said = process.errors.split(separator: "\n").first { $0.contains("cell 'dear'") }
        // What is printed is on record, and in the verdict.
        let recorded = record.environment["run.cell.dear"] ?? ""
        #expect(said.map { $0.hasSuffix(recorded) && !recorded.isEmpty } == true, "\(recorded)")
        let remarks = process.json["remarks"] as? [String] ?? []
        #expect(remarks.contains("cell 'dear' \(recorded)"), "\(remarks)")
        return (record, String(said ?? ""), process)
    }

    private func ran(_ record: RunRecord) -> [String] {
        record.cells.filter { $0.began != nil }.map(\.id)
    }

    private func values(_ record: RunRecord) -> [String: UInt64] {
        Dictionary(
            record.series.map { ($0.name, $0.last.bitPattern) }, uniquingKeysWith: { $1 })
    }

    @Test func `the same bits with them and without them, and each reason`() throws {
        let original = try Ledger.openForReading(folder.path).run(id, points: true)
        let with = try replay()
        #expect(ran(with.record) == ["setup", "use"], "\(with.process.errors)")
        #expect(
            with.said.contains(
                "cell 'dear' is not run, its stored values are used: it ") == true, "\(with.said)")
        #expect(with.said.hasSuffix("and run \(try id) stored them under the same key"))
        #expect(
            with.process.errors.contains(
                "cell 'setup' runs: it defines `run`, which 'use' uses; it is not marked `cache: true`"
            )
                || with.process.errors.contains("it is not marked `cache: true`"),
            "\(with.process.errors)")
        // The cell itself has no output in the replay: it did not run.
        #expect(!with.record.series.contains { $0.name == "dear" })
        #expect(values(with.record)["next"] == values(original)["next"])
        let shown = try StudyProcess(["show", with.record.id, "--ledger", "."], in: folder.path)
        #expect(
            shown.output.contains("  pending  is not run, its stored values are used: it "),
            "\(shown.output)")

        // Nothing else removes them.
        #expect((try study("gc", "--delete").json["states"] as? [String])?.isEmpty == true)
        #expect(try ran(replay().record) == ["setup", "use"])
        let gone = try study("gc", "--states", "--delete")
        #expect((gone.json["states"] as? [String])?.count == 1, "\(gone.output)")
        let without = try replay()
        #expect(ran(without.record) == ["setup", "dear", "use"])
        #expect(
            without.said.hasSuffix(
                "; it is marked `cache: true`, but those of run \(try id) are no longer in the store"
            ),
            "\(without.said)")
        var expected = values(without.record)
        expected["dear"] = nil
        #expect(values(with.record) == expected)
        #expect(try Ledger.openForReading(folder.path).sealHolds(id) == true)
    }

    @Test func `stale or spoiled ones are never used, and what differs is said`() throws {
        let ledger = try Ledger.openForReading(folder.path)
        func state(_ run: String) throws -> CellState {
            try #require(
                ledger.cellStates(of: "stored.md", cell: "dear", first: run).first { $0.run == run }
            )
        }
        let other = try study("run", "stored.md", "-p", "rank=3")
        let third = try study("run", "stored.md", "--seed", "5")
        let edited = Self.text.replacingOccurrences(of: "[2, 3])", with: "[3, 2])")
        try folder.write(edited, to: "stored.md")
        let source = try study("run", "stored.md")
        try folder.write(Self.text, to: "stored.md")
        let path = ledger.objects.path(of: try state(id).sha256)
        // Of each pair one is spoiled: what the other is, is then the reason.
        let bytes = try #require(FileManager.default.contents(atPath: path))
        chmod(path, 0o644)
        try Data(bytes.reversed()).write(to: URL(fileURLWithPath: path))
        for (process, reason) in [
            (source, "the cell's source is another"), (third, "the seed was 5, not 4"),
            (other, "rank was 3, not 2"),
        ] {
            let run = try #require(process.json["run"] as? String, "\(process.errors)")
            let found = try replay()
            #expect(ran(found.record) == ["setup", "dear", "use"], "\(found.process.errors)")
            #expect(
                found.said.hasSuffix(
                    "those of run \(try id) are spoiled in the store; those of run \(run) have another key: \(reason)"
                ), "\(found.said)")
            // The newest other run tells; without it, the one before.
            try forget(run)
        }
        try FileManager.default.removeItem(atPath: path)
        try bytes.write(to: URL(fileURLWithPath: path))
        #expect(try ran(replay().record) == ["setup", "use"])
        // The same study, run again, stores the same bytes: nothing in them depends on the process.
        let again = try #require(study("run", "stored.md").json["run"] as? String)
        #expect(try state(again).sha256 == state(id).sha256 && state(again).key == state(id).key)
    }

    /// Takes a run's stored state out of the ledger, as if it had never been: rows under a seal are read-only, so behind
    /// the triggers' back.
    private func forget(_ run: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "sqlite3", folder.path + "/.study/ledger.sqlite",
            """
            DROP TRIGGER IF EXISTS cell_state_sealed_delete;
            DELETE FROM cell_state WHERE run = (SELECT number FROM run WHERE id = '\(run)');
            """,
        ]
        try process.run()
        process.waitUntilExit()
        #expect(process.terminationStatus == 0)
    }

    @Test func `a row that is changed breaks the seal`() throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        let error = Pipe()
        process.standardError = error
        process.arguments = [
            "sqlite3", folder.path + "/.study/ledger.sqlite", "UPDATE cell_state SET key = 'x'",
        ]
        try process.run()
        let said = String(
            decoding: error.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        #expect(said.contains("this run is sealed: its cell_state rows are read-only"), "\(said)")
        try forget(id)
        #expect(try Ledger.openForReading(folder.path).sealHolds(id) == false)
    }

    @Test func `they stay at home: a bundle has the row and not the values`() throws {
        let bundle = try study("export", id, "-o", "stored.tar.zst")
        #expect(bundle.status == 0, "\(bundle.errors)")
        let away = try TemporaryFolder("away")
        let imported = try StudyProcess(
            ["import", folder.path + "/stored.tar.zst", "--ledger", "."], in: away.path)
        #expect(imported.status == 0, "\(imported.errors)")
        let ledger = try Ledger.openForReading(away.path)
        #expect(try ledger.sealHolds(id) == true)
        let process = try StudyProcess(
            ["replay", id, "--cell", "use", "--json", "--ledger", "."], in: away.path)
        #expect(process.status == 0, "\(process.errors)")
        #expect(
            process.errors.contains("those of run \(try id) are no longer in the store"),
            "\(process.errors)")
    }
}

@Suite struct `What a marked cell cannot store` {
    private func check(_ cells: String..., verb: String = "check") throws -> StudyProcess {
        let folder = try TemporaryFolder("unstored")
        let text = cells.map { "```swift\n\($0)\n```\n" }.joined(separator: "\n")
        try folder.write(text, to: "s.md")
        return try StudyProcess([verb, "s.md"], in: folder.path)
    }

    @Test(arguments: [
        ("let f = { 1 }", "f", "(()) -> Int"), ("let f = { (n: Int) in n }", "f", "(Int) -> Int"),
        ("struct Fit { var a = 1 }\nlet f = [Fit()]", "f", "Array<Fit>"),
        ("final class Box: Codable { var a = 1 }\nlet f = Box()", "f", "Box"),
        ("let f: Any = 1", "f", "Any"),
    ]) func `is said before anything runs`(cell: String, name: String, type: String) throws {
        let process = try check("//| id: dear\n//| cache: true\n\(cell)", "print(f)")
        #expect(process.status == 1, "\(process.output)")
        let line = 4 + cell.split(separator: "\n").count - 1
        let start = "s.md:\(line): error: `\(name)` cannot be stored for cell 'dear': its type "
        #expect(process.errors.hasPrefix(start), "\(process.errors)")
        #expect(
            process.errors.contains(" is not Codable, or is a class"), "\(process.errors)")
        #expect(
            process.errors.contains(
                "mend:  declare a struct or an enum of yours `: Codable`, or take `cache: true` off cell 'dear'"
            ), "\(process.errors)")
    }

    @Test func `what nobody uses need not be storable`() throws {
        let process = try check("//| cache: true\nlet f = { 1 }\nlet g = f()", "print(g)")
        #expect(process.status == 0, "\(process.errors)")
    }

    @Test func `an earlier variable that it may change counts too`() throws {
        let process = try check(
            "var log: [Any] = []", "//| id: dear\n//| cache: true\nlog.append(1)\nlet a = 1",
            "print(a)")
        #expect(process.status == 1, "\(process.output)")
        #expect(
            process.errors.hasPrefix(
                "s.md:2: error: `log` cannot be stored for cell 'dear', which may change it: its type Array<Any> "
            ), "\(process.errors)")
    }

    @Test func `private and static variables`() throws {
        let hidden = try check(
            "//| id: dear\n//| cache: true\nprivate var n = 1\nfunc next() -> Int { n += 1; return n }",
            "print(next())")
        #expect(hidden.status == 1)
        #expect(
            hidden.errors.hasPrefix(
                "s.md:4: error: `n` is private, and later cells use code that may read it: it cannot be stored for cell 'dear'"
            ), "\(hidden.errors)")
        let fixed = try check(
            "enum Rate { static var now = 0.1 }",
            "//| id: dear\n//| cache: true\nRate.now *= 2\nlet a = 1", "print(a, Rate.now)")
        #expect(fixed.status == 1)
        #expect(
            fixed.errors.hasPrefix(
                "s.md:6: error: cell 'dear' may change the static variable `Rate.now`, which is not stored with the cell"
            ), "\(fixed.errors)")
    }

    @Test(arguments: [
        (
            "struct Lossy: Codable, Equatable { var a = 1; var b = 2; enum CodingKeys: CodingKey { case a } }\nvar f = Lossy()\nf.b = 3",
            "`f` cannot be stored for a later `study replay --cell`: what comes back of its type Lossy is another value",
            "let its `Codable` write all that it holds"
        ),
        (
            "final class Box: Codable { var a = 1 }\nstruct Holder: Codable { var box = [Box()] }\nlet f = Holder()",
            "`f` cannot be stored for a later `study replay --cell`: it holds at `box[0]` an object of the class Box",
            "make it a struct"
        ),
        (
            "let f = [Run.current.scratch + \"/weights\"]",
            "`f` cannot be stored for a later `study replay --cell`: it holds at `[0]` the path ",
            "take the path from `run.input` or `run.save` in the cell that uses it"
        ),
    ]) func `is said at the cell where only the value shows it`(
        cell: String, what: String, mend: String
    ) throws {
        let process = try check(
            "//| id: dear\n//| cache: true\n\(cell)", "print(f)", verb: "run")
        #expect(process.status == 1)
        #expect(process.output.contains(what), "\(process.output)")
        #expect(
            process.output.contains("mend:  \(mend), or take `cache: true` off this cell"),
            "\(process.output)")
        #expect(process.output.contains("in cell 'dear', lines 2 to "), "\(process.output)")
    }
}

@Suite struct `The engine's values in a marked cell` {
    private static let text = """
        ```swift
        //| id: setup
        let run = Run.current
        ```

        ```swift
        //| id: dear
        //| cache: true
        var random = run.random("model")
        var model = LanguageModel(
            configuration: ModelConfiguration(
                family: .gemma2, vocabularySize: 40, hiddenSize: 64, intermediateSize: 64, layerCount: 2, headCount: 2),
            standardDeviation: 0.2, using: &random)
        model.edits = [ActivationEdit(.add(Tensor([Float](repeating: 0.5, count: 64), shape: [64])), at: .mlp(layer: 1))]
        var small = model.converted(to: .bf16)
        let quantized = model.quantized(.nf4(doubleQuantization: true))
        let integers = model.quantized(.llmInt8())
        try model.attach(LoRA(rank: 2, alpha: 4), using: &random)
        let rate = Proportion(count: 3, total: 7, judge: "substrings")
        let name: MetricName = "rate"
        print("dear runs")
        ```

        ```swift
        //| id: use
        for (place, one) in [model, small, quantized, integers].enumerated() {
            let scores = one.logits([[1, 5, 9, 2]])
            scores.converted(to: .f32).withUnsafeFloats { values in
                for (step, value) in values.enumerated() { run.record("logit", value, step: step, arm: "\\(place)") }
            }
        }
        run.record(name, count: rate.count, total: rate.total, judge: rate.judge)
        run.record("next", random.normal())
        ```
        """

    @Test func `models, adapters, edits, quantized weights and streams come back to the bit`()
        throws
    {
        let folder = try TemporaryFolder("engine")
        try folder.write(Self.text, to: "engine.md")
        let run = try StudyProcess(["run", "engine.md", "--json"], in: folder.path)
        let id = try #require(run.json["run"] as? String, "\(run.errors)")
        #expect(run.status == 0, "\(run.errors)")
        let replay = try StudyProcess(
            ["replay", id, "--cell", "use", "--json"], in: folder.path)
        #expect(replay.status == 0, "\(replay.errors) \(replay.output)")
        #expect(replay.errors.contains("cell 'dear' is not run"), "\(replay.errors)")
        #expect(replay.json["verdict"] as? String == "same bits")
        let outputs = replay.json["outputs"] as? [[String: Any]] ?? []
        #expect(outputs.count { $0["kind"] as? String == "metric" } == 6, "\(outputs)")
    }
}
