// Divergences planted in real re-runs of a small study (Fixtures/replay/planted.md), each to be found at
// its cell and step: through the environment, through files on disk, through source, seed and threads.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

/// Something to go wrong in a replay, and where the verdict must say that it did.
struct PlantedReplay: CustomTestStringConvertible, Sendable {
    let plant: String
    let kind: String
    let cell: String
    var step: Int?
    /// What the first difference must have in its words.
    var words = ""
    var testDescription: String { plant }

    init(_ plant: String, _ kind: String, _ cell: String, _ step: Int? = nil, _ words: String = "")
    {
        self.plant = plant
        self.kind = kind
        self.cell = cell
        self.step = step
        self.words = words
    }

    static let all: [PlantedReplay] = [
        PlantedReplay("double ulp@13", "metric", "walk", 13, "1 ulp of Double"),
        PlantedReplay("double ulp@0", "metric", "walk", 0, "1 ulp"),
        PlantedReplay("ulp down@199", "metric", "walk", 199, "1 ulp of Double"),
        PlantedReplay("float ulp@77", "metric", "walk", 77, "1 ulp of Float"),
        PlantedReplay("nan@8", "metric", "walk", 8, "nan found"),
        PlantedReplay("infinity@150", "metric", "walk", 150, "inf found"),
        PlantedReplay("sign@3", "metric", "walk", 3),
        PlantedReplay("zero's sign@40", "metric", "walk", 40, "-0.0 found"),
        PlantedReplay("from here@0", "metric", "walk", 120),
        PlantedReplay("left out@60", "metric", "walk", 60, "at step 61"),
        PlantedReplay("one more@0", "metric", "walk", 200, "no value recorded"),
        PlantedReplay("from one@0", "metric", "walk", 0, "at step 1"),
        PlantedReplay(
            "renamed@0", "metric", "walk", nil, "level: 200 values recorded, nothing found"),
        PlantedReplay("surplus@0", "metric", "walk", nil, "surplus: nothing recorded"),
        PlantedReplay("missing@0", "metric", "walk", nil, "last level: 1 values recorded"),
        PlantedReplay("last digit@0", "metric", "walk", -1, "1 ulp of Double"),
        // The first update is off by a millionth of the rate; its loss was computed before.
        PlantedReplay("rate", "digest", "train", 1, "training state[adapter]"),
        PlantedReplay("throw@9", "digest", "train", 10, "none found"),
        PlantedReplay("trap@4", "digest", "train", 5, "none found"),
        PlantedReplay("one refusal more@0", "metric", "evaluate", -1, "131 of 200"),
        PlantedReplay("another total@0", "metric", "evaluate", -1, "131 of 400"),
        PlantedReplay("another judge@0", "metric", "evaluate", -1, "model"),
        PlantedReplay("label@2", "item", "evaluate", 2, "complied"),
        PlantedReplay("claim@0", "claim", "evaluate", nil, "fails"),
        PlantedReplay("stream@0", "stream", "", nil, "another stream"),
        PlantedReplay("line@0", "text", "report", nil, "its line 2"),
        PlantedReplay("figure@0", "figure", "report", nil, "Levels"),
        PlantedReplay("byte@0", "artifact", "report", nil, "first at byte 2"),
        PlantedReplay("file less@0", "artifact", "report", nil, "no such file found"),
        PlantedReplay("prose@0", "inline value", "report", nil, "65.4 % found"),
    ]
}

/// One recorded run of the study for all tests of this file.
private struct Planted {
    let folder: TemporaryFolder
    let run: String

    static let shared: Planted = try! Planted()

    private init() throws {
        folder = try TemporaryFolder("planted")
        let source = Fixtures.folder + "/replay/"
        for name in ["planted.md", "data/rows.txt"] {
            try folder.write(String(contentsOfFile: source + name, encoding: .utf8), to: name)
        }
        try folder.write(
            String(contentsOfFile: source + "data/rows.txt", encoding: .utf8), to: "hidden.txt")
        let first = try StudyProcess(
            ["run", "planted.md", "--json"], in: folder.path,
            environment: ["HIDDEN": folder.path + "/hidden.txt"])
        guard first.status == 0, let id = first.json["run"] as? String else {
            fatalError("\(first.output)\n\(first.errors)")
        }
        run = id
    }

    func study(_ arguments: String..., environment: [String: String] = [:]) throws -> StudyProcess {
        try StudyProcess(
            arguments, in: folder.path,
            environment: ["HIDDEN": folder.path + "/hidden.txt"].merging(environment) { $1 })
    }
}

@Suite(.serialized) struct `A real replay that goes astray` {
    private let planted = Planted.shared

    @Test func `without anything planted has the same bits`() throws {
        let replay = try planted.study("replay", planted.run, "--json", "--threads", "1")
        #expect(replay.status == 0, "\(replay.errors)")
        #expect(replay.json["verdict"] as? String == "same bits")
        let outputs = replay.json["outputs"] as? [[String: Any]] ?? []
        #expect(outputs.contains { $0["kind"] as? String == "digest" })
    }

    @Test(arguments: ["scalar", "avx2"])
    func `on what stands for another machine, what was expected holds`(kernels: String) throws {
        let environment = ["STUDY_KERNELS": kernels]
        let replay = try planted.study(
            "replay", planted.run, "--json", "--threads", "3", environment: environment)
        #expect(replay.status == 0, "\(replay.errors)")
        let facts = (replay.json["environment"] as? [[String: Any]] ?? []).compactMap {
            $0["name"] as? String
        }
        #expect(facts.contains("engine.kernels") && facts.contains("engine.threads"), "\(facts)")
        let text = try planted.study(
            "replay", planted.run, "--threads", "3", environment: environment
        ).output
        let words = "expected: same bits (portable tier, whatever the CPU and the threads)\n"
        #expect(text.hasPrefix(words), "\(text)")
        #expect(text.hasSuffix("\(words)that held\n"), "\(text)")
    }

    @Test(arguments: PlantedReplay.all) func `is found where it left`(case planted: PlantedReplay)
        throws
    {
        let replay = try self.planted.study(
            "replay", self.planted.run, "--json", environment: ["PLANT": planted.plant])
        #expect(replay.status == 4, "\(replay.errors)")
        let found = firstDifference(replay)
        #expect(found.kind == planted.kind, "\(found.text)")
        #expect(found.cell == planted.cell, "\(found.text)")
        #expect(found.step == planted.step, "\(found.text)")
        #expect(planted.words.isEmpty || found.text.contains(planted.words), "\(found.text)")
    }

    @Test func `is told on one screen: where, the facts that differ, and that the promise broke`()
        throws
    {
        let text = try planted.study(
            "replay", planted.run, "--threads", "1",
            environment: ["PLANT": "float ulp@77", "STUDY_KERNELS": "scalar"]
        ).output
        let lines = text.split(separator: "\n")
        #expect(lines.count < 40, "\(text)")
        let place = try #require(lines.firstIndex(of: "first difference"))
        #expect(
            lines[place + 1].wholeMatch(
                of:
                    #/  cell walk \(line \d+\), step 77: metric single\[float\]: [0-9.]+ recorded, [0-9.]+ found \(1 ulp of Float\)/#
            ) != nil, "\(text)")
        #expect(text.contains("environment differs, likeliest cause first\n"), "\(text)")
        #expect(text.contains("  engine.kernels: "), "\(text)")
        #expect(lines.suffix(2).last == "that did not hold", "\(text)")
    }

    @Test func `keys and blanks of a JSON file are equal in canonical form`() throws {
        let replay = try planted.study(
            "replay", planted.run, "--json", environment: ["PLANT": "keys@0"])
        #expect(replay.status == 0)
        #expect(replay.json["verdict"] as? String == "equal in canonical form")
    }

    @Test(arguments: [0, 13, 39]) func `a swapped row of a file nobody declared`(row: Int) throws {
        let path = planted.folder.path + "/hidden.txt"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        defer { try? text.write(toFile: path, atomically: true, encoding: .utf8) }
        var rows = text.split(separator: "\n").map(String.init)
        rows[row] = String(rows[row].reversed().split(separator: " ").joined(separator: " "))
        rows[row] = "1 1 2 3 5 8 13 21"
        try (rows.joined(separator: "\n") + "\n").write(
            toFile: path, atomically: true, encoding: .utf8)
        let replay = try planted.study("replay", planted.run, "--json")
        #expect(replay.status == 4)
        let found = firstDifference(replay)
        // Two rows a step, in the file's order. The state says it before the loss does.
        #expect(found.cell == "train" && found.step == row / 2 + 1, "\(found.text)")
        #expect(found.kind == "digest", "\(found.text)")
    }

    @Test func `a swapped row of a file that was read through the run is refused by name`() throws {
        let path = planted.folder.path + "/data/rows.txt"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        // The object that holds what was read goes too, or the replay takes that.
        let objects = planted.folder.path + "/.study/objects"
        let kept = planted.folder.path + "/.study/kept"
        try FileManager.default.moveItem(atPath: objects, toPath: kept)
        try ("9" + text).write(toFile: path, atomically: true, encoding: .utf8)
        defer {
            try? text.write(toFile: path, atomically: true, encoding: .utf8)
            try? FileManager.default.removeItem(atPath: objects)
            try? FileManager.default.moveItem(atPath: kept, toPath: objects)
        }
        let replay = try planted.study("replay", planted.run)
        #expect(replay.status == 1)
        #expect(
            replay.errors.contains(
                "An input of this run cannot be had as recorded:\n  data/rows.txt: sha256 "),
            "\(replay.errors)")
    }

    @Test func `a changed default, another seed: diff names the cause and the place`() throws {
        let file = planted.folder.path + "/planted.md"
        let text = try String(contentsOfFile: file, encoding: .utf8)
        defer { try? text.write(toFile: file, atomically: true, encoding: .utf8) }
        try text.replacingOccurrences(of: "tilt: 0.5", with: "tilt: 0.75").write(
            toFile: file, atomically: true, encoding: .utf8)
        let changed = try planted.study("run", "planted.md", "--json")
        let diff = try planted.study(
            "diff", planted.run, try #require(changed.json["run"] as? String), "--json")
        let causes = (diff.json["causes"] as? [[String: Any]] ?? []).compactMap {
            $0["what"] as? String
        }
        #expect(causes.prefix(2) == ["parameter tilt", "source of planted.md"], "\(causes)")
        #expect(
            firstDifference(diff).cell == "walk" && firstDifference(diff).step == 0,
            "\(firstDifference(diff).text)")

        try text.write(toFile: file, atomically: true, encoding: .utf8)
        let seeded = try planted.study("run", "planted.md", "--json", "--seed", "4")
        let id = try #require(seeded.json["run"] as? String)
        let other = try planted.study("diff", planted.run, id, "--json")
        #expect(
            (other.json["causes"] as? [[String: Any]])?.first?["what"] as? String == "seed")
        #expect(
            firstDifference(other).cell == "walk" && firstDifference(other).step == 0,
            "\(firstDifference(other).text)")
        let shown = try planted.study("diff", planted.run, id).output
        #expect(shown.contains("first difference\n  cell walk (line "), "\(shown)")
    }

    @Test func `another thread count in the blas tier`() throws {
        let folder = try TemporaryFolder("blas")
        try folder.write(
            """
            ```swift
            //| id: product
            import Glibc
            let run = Run.current
            var chance = run.random("matrices")
            func matrix(_ rows: Int, _ columns: Int) -> Tensor {
                Tensor((0..<rows * columns).map { _ in chance.normal() }, shape: [rows, columns])
            }
            // m, n and k at which OpenBLAS, cut among two threads, was seen to give other bits on one core or other.
            for (step, (m, n, k)) in [(64, 64, 64), (128, 96, 333), (33, 512, 700), (300, 300, 300)].enumerated() {
                let c = matmul(matrix(m, k), matrix(k, n))
                let isAstray = getenv("ASTRAY") != nil && step == 2
                run.record("sum of products", isAstray ? c.sum().nextUp : c.sum(), step: step)
            }
            ```
            """, to: "blas.md")
        let run = try StudyProcess(
            ["run", "blas.md", "--tier", "blas", "--threads", "2", "--json"], in: folder.path)
        guard run.status == 0, let id = run.json["run"] as? String else {
            // No OpenBLAS here: the tier says so itself.
            #expect(run.errors.contains("OpenBLAS"), "\(run.errors)")
            return
        }
        let same = try StudyProcess(["replay", id, "--json"], in: folder.path)
        #expect(same.status == 0, "\(same.output)")
        let replay = try StudyProcess(["replay", id, "--json", "--threads", "1"], in: folder.path)
        let environment = (replay.json["environment"] as? [[String: Any]] ?? []).compactMap {
            $0["name"] as? String
        }
        #expect(environment.contains("engine.threads"), "\(environment)")
        #expect(
            (replay.json["expected"] as? String)?.contains(
                "the blas tier depends on engine.threads")
                == true)
        // Whether the bits differ is OpenBLAS's affair (its build, its core); where they do, the place is named.
        if replay.status != 0 {
            #expect(replay.status == 4)
            #expect(
                firstDifference(replay).kind == "metric"
                    && firstDifference(replay).cell == "product")
            #expect(firstDifference(replay).step != nil, "\(firstDifference(replay).text)")
        }
        // A core whose bits do not depend on the threads is stood in for: the thread count is then the likeliest cause.
        let astray = try StudyProcess(
            ["replay", id, "--json", "--threads", "1"], in: folder.path,
            environment: ["ASTRAY": "1"])
        #expect(astray.status == 4)
        #expect(firstDifference(astray).cell == "product" && firstDifference(astray).step ?? 9 <= 2)
        let likeliest = (astray.json["environment"] as? [[String: Any]])?.first
        #expect(
            ["engine.threads", "openblas.threads"].contains(likeliest?["name"] as? String ?? ""),
            "\(likeliest ?? [:])")
    }

    @Test func `--bisect stops there and computes the step again from the last checkpoint`() throws
    {
        let path = planted.folder.path + "/hidden.txt"
        let text = try String(contentsOfFile: path, encoding: .utf8)
        defer { try? text.write(toFile: path, atomically: true, encoding: .utf8) }
        var rows = text.split(separator: "\n").map(String.init)
        rows[14] = "1 1 2 3 5 8 13 21"
        try rows.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
        let replay = try planted.study("replay", planted.run, "--json", "--bisect")
        #expect(replay.status == 4, "\(replay.errors)")
        let remarks = replay.json["remarks"] as? [String] ?? []
        #expect(
            remarks.first?.hasPrefix(
                "stopped at the first difference: cell train, step 8: training state[adapter] ")
                == true, "\(remarks)")
        #expect(
            remarks.last
                == "from the recorded state after step 5, step 8 differs again: this machine or this code computes it otherwise"
        )
        let whole = try planted.study("replay", planted.run, "--bisect")
        #expect(whole.status == 4)

        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let good = try planted.study("replay", planted.run, "--json", "--bisect")
        #expect(good.status == 0 && good.json["verdict"] as? String == "same bits")
    }

    @Test func `--spot computes what it says, and finds a training that was never done so`() throws
    {
        let half = try planted.study("replay", planted.run, "--json", "--spot", "2")
        #expect(half.status == 0, "\(half.output) \(half.errors)")
        #expect(half.json["verdict"] as? String == "same bits")
        #expect(
            half.json["remarks"] as? [String] == [
                "2 of 4 segments computed again, drawn at random; a record with one false segment passes with a chance of 50 %"
            ])

        // A record whose seventh and eighth steps saw other data than it says.
        let path = planted.folder.path + "/false.txt"
        var rows = try String(
            contentsOfFile: planted.folder.path + "/hidden.txt", encoding: .utf8
        ).split(separator: "\n").map(String.init)
        rows[13] = "1 1 2 3 5 8 13 21"
        try rows.joined(separator: "\n").write(toFile: path, atomically: true, encoding: .utf8)
        let made = try planted.study("run", "planted.md", "--json", environment: ["HIDDEN": path])
        let id = try #require(made.json["run"] as? String)
        let all = try planted.study("replay", id, "--json", "--spot", "9")
        #expect(all.status == 4)
        #expect(
            firstDifference(all).cell == "train" && firstDifference(all).step == 7,
            "\(firstDifference(all).text)")
        #expect(
            (all.json["remarks"] as? [String])?.first?.hasPrefix("4 of 4 segments computed again")
                == true)
    }

    @Test func `wrong usage and runs without checkpoints`() throws {
        #expect(try planted.study("replay", planted.run, "--spot", "0").status == 2)
        #expect(try planted.study("replay", planted.run, "--spot", "1", "--bisect").status == 2)
        #expect(try planted.study("replay", planted.run, "--threads", "0").status == 2)
        let seeds = try planted.study("replay", planted.run, "--over-seeds")
        #expect(seeds.status == 2)
        #expect(seeds.errors.hasPrefix("The study declares no tolerance over seeds."))
        try planted.folder.write("```swift\nprint(1)\n```\n", to: "plain.md")
        let plain = try planted.study("run", "plain.md", "--json")
        let spot = try planted.study(
            "replay", try #require(plain.json["run"] as? String), "--spot", "1")
        #expect(spot.status == 1)
        #expect(spot.errors.contains("has stored no training checkpoints.\n"))
        #expect(spot.errors.contains("mend:  train with `run.train(…, checkpointEvery: 100)`"))
    }
}
