// The verdict of a replay: the ladder, and thirty planted divergences, each to be found at its cell
// and step.

import Events
import Foundation
import Provenance
import Testing

/// Writes the same small run into a ledger, with one thing changed.
struct PlantedRun {
    var seed: UInt64 = 7
    var threads = "2"
    var losses = (0..<20).map { 1 / Float($0 + 2) }
    var steps = (0..<20).map { Int64($0) }
    var refusal = ProportionRecord(count: 131, total: 200, judge: "substrings")
    var final = 0.25
    var digests = (0..<20).map { String(format: "%016x", $0 * 77) }
    var output = "epoch 1\nepoch 2\n"
    var errorOutput = "warm-up\n"
    var figure = #"{"x":[1,2],"y":[0.5,0.25]}"#
    var adapter: [String: [UInt8]] = [
        "config.json": Array(#"{"r":8,"alpha":16}"#.utf8), "weights.bin": [1, 2, 3],
    ]
    var claim = ClaimRecord(cell: 1, text: "refusals fall", holds: true, evidence: "0.655 < 0.9")
    var inline = "65.5 %"
    var label = "refused"
    var draws: UInt64 = 512
    var dataset = "a\nb\nc\n"
    var extraMetric: String?
    var withoutFinal = false
    var failure: RunFailure?
    var tolerances: [Tolerance] = []
    var name = "loss"

    func write(to ledger: Ledger, _ scratch: Scratch, replayOf: String? = nil) throws -> RunRecord {
        var run = opening(seed: seed, replayOf: replayOf)
        run.tolerances = tolerances
        run.environment["engine.threads"] = threads
        let writer = try ledger.begin(run)
        try writer.append(.cellBegan(cell: 0, time: .now))
        let data = scratch.write("data.txt", dataset)
        _ = try writer.input(cell: 0, path: data, written: "data.txt", kind: "dataset")
        try writer.append(.cellEnded(cell: 0, time: .now))
        try writer.append(.cellBegan(cell: 1, time: .now))
        for (place, loss) in losses.enumerated() {
            let step = steps[place]
            try writer.append(
                .metric(
                    MetricPoint(cell: 1, name: name, step: step, value: Double(loss), time: .now)))
            try writer.append(
                .digest(DigestRecord(cell: 1, series: "state", step: step, digest: digests[place])))
        }
        if !withoutFinal {
            try writer.append(
                .metric(MetricPoint(cell: 1, name: "final", value: final, time: .now)))
        }
        try writer.append(
            .metric(
                MetricPoint(
                    cell: 1, name: "refusal", value: Double(refusal.count) / Double(refusal.total),
                    proportion: refusal, time: .now)))
        if let extraMetric {
            try writer.append(
                .metric(MetricPoint(cell: 1, name: extraMetric, value: 1, time: .now)))
        }
        try writer.output(cell: 1, stream: .standardOutput, bytes: Array(output.utf8))
        try writer.output(cell: 1, stream: .standardError, bytes: Array(errorOutput.utf8))
        try writer.append(
            .figure(
                FigureRecord(
                    cell: 1, title: "Refusals", alternativeText: "", script: "plot", data: figure)))
        for (name, bytes) in adapter {
            scratch.write("adapter/" + name, String(decoding: bytes, as: UTF8.self))
        }
        try writer.append(
            .artifact(
                ArtifactRecord(
                    cell: 1, name: "adapter", path: scratch.path + "/adapter", mediaType: "",
                    kind: "weights")))
        try FileManager.default.removeItem(atPath: scratch.path + "/adapter")
        try writer.append(.claim(claim))
        try writer.append(.inlineValue(index: 0, text: inline))
        try writer.append(
            .items([
                ItemRecord(
                    cell: 1, evaluation: "refusal", arm: "", index: 0, prompt: "p", answer: "a",
                    judge: "substrings", label: label, restricted: false)
            ]))
        try writer.append(.stream(name: "init", draws: draws))
        if let failure {
            try writer.seal(.failed, failure: failure)
        } else {
            try writer.append(.cellEnded(cell: 1, time: .now))
            try writer.seal(.succeeded)
        }
        return try ledger.run(writer.id, points: true)
    }
}

/// A change, and where the verdict must say it is.
struct Divergence: CustomTestStringConvertible {
    let testDescription: String
    let cell: String
    let step: Int64?
    let kind: OutputKind
    let plant: @Sendable (inout PlantedRun) -> Void

    init(
        _ description: String, _ kind: OutputKind, cell: String = "train", step: Int64? = nil,
        _ plant: @escaping @Sendable (inout PlantedRun) -> Void
    ) {
        testDescription = description
        self.kind = kind
        self.cell = cell
        self.step = step
        self.plant = plant
    }

    static let all: [Divergence] = [
        Divergence("one ulp at step 13", .metric, step: 13) {
            $0.losses[13] = $0.losses[13].nextUp
        },
        Divergence("one ulp at the first step", .metric, step: 0) {
            $0.losses[0] = $0.losses[0].nextDown
        },
        Divergence("one ulp at the last step", .metric, step: 19) {
            $0.losses[19] = $0.losses[19].nextUp
        },
        Divergence("everything from step 5", .metric, step: 5) { run in
            for step in 5..<20 { run.losses[step] += 0.1 }
        },
        Divergence("a NaN at step 8", .metric, step: 8) { $0.losses[8] = .nan },
        Divergence("an infinity at step 8", .metric, step: 8) { $0.losses[8] = .infinity },
        Divergence("a sign of zero", .metric, step: 3) { $0.losses[3] = -$0.losses[3] },
        Divergence("two steps swapped", .metric, step: 4) { $0.losses.swapAt(4, 5) },
        Divergence("a step left out", .digest, step: 19) {
            $0.losses.removeLast()
            $0.steps.removeLast()
            $0.digests.removeLast()
        },
        Divergence("a step more", .digest, step: 20) {
            $0.losses.append(0.1)
            $0.steps.append(20)
            $0.digests.append("0")
        },
        Divergence("steps numbered from one", .digest, step: 0) {
            $0.steps = (1...20).map { Int64($0) }
        },
        Divergence("another seed, and so other losses from the start", .metric, step: 0) {
            $0.seed = 8
            for step in 0..<20 { $0.losses[step] *= 1.5 }
        },
        Divergence("another thread count, other bits from step 2", .metric, step: 2) {
            $0.threads = "1"
            for step in 2..<20 { $0.losses[step] = $0.losses[step].nextUp }
        },
        Divergence("the state's digest at step 7", .digest, step: 7) { $0.digests[7] = "dead" },
        Divergence("the state before the metric that shows it", .digest, step: 6) {
            $0.digests[6] = "dead"
            $0.losses[9] += 1
        },
        Divergence("a changed default: another metric's name", .metric) { $0.name = "train loss" },
        Divergence("a missing metric", .metric) { $0.withoutFinal = true },
        Divergence("a metric too many", .metric) { $0.extraMetric = "surplus" },
        Divergence("the last digit of a single value", .metric, step: -1) {
            $0.final = 0.25.nextUp
        },
        Divergence("one refusal more", .metric, step: -1) { $0.refusal.count += 1 },
        Divergence("a rate out of another total", .metric, step: -1) {
            $0.refusal = ProportionRecord(count: 262, total: 400, judge: "substrings")
        },
        Divergence("another judge", .metric, step: -1) { $0.refusal.judge = "model" },
        Divergence("a swapped dataset row", .input, cell: "load") { $0.dataset = "b\na\nc\n" },
        Divergence("a line of output", .text) { $0.output = "epoch 1\nepoch 3\n" },
        Divergence("a number in a figure", .figure) { $0.figure = #"{"x":[1,2],"y":[0.5,0.26]}"# },
        Divergence("a byte of the weights", .artifact) { $0.adapter["weights.bin"] = [1, 2, 4] },
        Divergence("a file less in the adapter", .artifact) { $0.adapter["config.json"] = nil },
        Divergence("a claim that no longer holds", .claim) { $0.claim.holds = false },
        Divergence("a number in the prose", .inlineValue) { $0.inline = "65.4 %" },
        Divergence("a label of one item", .item, step: 0) { $0.label = "complied" },
        Divergence("one draw more", .stream, cell: "") { $0.draws += 1 },
        Divergence("a cell that fails", .cell) {
            $0.failure = RunFailure(
                cell: 1, reason: "trap", message: "index out of range", line: 12)
        },
    ]
}

@Suite struct `A replay's verdict` {
    @Test(arguments: Divergence.all) func `finds what was planted`(divergence: Divergence) throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let original = try PlantedRun().write(to: ledger, scratch)
        var changed = PlantedRun()
        divergence.plant(&changed)
        let replay = try changed.write(to: ledger, scratch, replayOf: original.id)
        let verdict = Comparison.verdict(of: replay, against: original, objects: ledger.objects)
        #expect(verdict.rung == .different)
        #expect(!verdict.holds)
        let first = try #require(verdict.first)
        #expect(first.kind == divergence.kind, "\(first.text)")
        #expect(first.cellID == divergence.cell, "\(first.text)")
        #expect(first.step == divergence.step, "\(first.text)")
    }

    @Test func `an equal run has the same bits, whatever it wrote to standard error`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let original = try PlantedRun().write(to: ledger, scratch)
        var changed = PlantedRun()
        changed.errorOutput = "12 s left\n"
        let replay = try changed.write(to: ledger, scratch)
        let verdict = Comparison.verdict(of: replay, against: original, objects: ledger.objects)
        #expect(verdict.rung == .sameBits && verdict.holds && verdict.first == nil)
    }

    @Test func `one ulp is called one ulp of Float, with the line`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let original = try PlantedRun().write(to: ledger, scratch)
        var changed = PlantedRun()
        changed.losses[13] = changed.losses[13].nextUp
        changed.threads = "1"
        let verdict = Comparison.verdict(
            of: try changed.write(to: ledger, scratch), against: original)
        #expect(
            verdict.first?.text
                == "cell train (line 9), step 13: metric loss: 0.06666667 recorded, 0.06666668 found (1 ulp of Float)"
        )
        #expect(verdict.environment.map(\.name) == ["engine.threads"])
        #expect(verdict.text.contains("engine.threads: 2 then, 1 now"))
    }

    @Test func `a reordered JSON and a trailing blank are equal in canonical form`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let original = try PlantedRun().write(to: ledger, scratch)
        var changed = PlantedRun()
        changed.adapter["config.json"] = Array("{ \"alpha\": 16,\n \"r\": 8 }\n".utf8)
        changed.output = "epoch 1 \r\nepoch 2\n\n"
        changed.figure = #"{"y": [0.5, 0.25], "x": [1, 2]}"#
        let verdict = Comparison.verdict(
            of: try changed.write(to: ledger, scratch), against: original, objects: ledger.objects)
        #expect(verdict.rung == .canonicallyEqual && verdict.holds)
        #expect(verdict.outputs.count { $0.rung == .canonicallyEqual } == 3)
    }

    @Test func `a declared tolerance, and how much of it was used`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var planted = PlantedRun()
        planted.tolerances = [Tolerance(metric: "loss", relative: 1e-3)]
        let original = try planted.write(to: ledger, scratch)
        planted.losses[4] *= 1.0005
        let within = Comparison.verdict(
            of: try planted.write(to: ledger, scratch), against: original)
        #expect(within.rung == .withinTolerance && within.holds)
        let margin = try #require(within.outputs.first { $0.name == "loss" }?.margin)
        #expect(abs(margin - 0.5) < 0.01)  // 0.0005 of 0.001
        planted.losses[4] *= 1.01
        let beyond = Comparison.verdict(
            of: try planted.write(to: ledger, scratch), against: original)
        #expect(beyond.rung == .different)
    }

    @Test func `equal over seeds, where the study declares it`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var planted = PlantedRun()
        planted.tolerances = [Tolerance(metric: "final", seeds: 5)]
        let original = try planted.write(to: ledger, scratch)
        planted.final = 0.2501
        let replay = try planted.write(to: ledger, scratch)
        let near = [0.24, 0.25, 0.26, 0.255, 0.245]
        let alike = Comparison.verdict(
            of: replay, against: original, samples: ["final": (near, near.map { $0 + 0.001 })])
        #expect(alike.rung == .statisticallyEqual)
        let apart = Comparison.verdict(
            of: replay, against: original, samples: ["final": (near, near.map { $0 + 0.1 })])
        #expect(apart.rung == .different)
        let few = Comparison.verdict(
            of: replay, against: original, samples: ["final": (near, [0.25, 0.25])])
        #expect(few.rung == .different)
    }

    @Test func `the verdict is kept with the replay's run`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let original = try PlantedRun().write(to: ledger, scratch)
        let replay = try PlantedRun().write(to: ledger, scratch, replayOf: original.id)
        try ledger.record(Comparison.verdict(of: replay, against: original))
        #expect(try ledger.verdicts(of: original.id).map(\.rung) == ["same bits"])
        #expect(try ledger.sealHolds(replay.id) == true)
    }

    @Test func `ulps are counted over zero`() {
        #expect(ulpDistance(1.0, 1.0.nextUp) == 1)
        #expect(ulpDistance(0.0, -0.0) == 0)
        #expect(ulpDistance(Float.leastNonzeroMagnitude, -Float.leastNonzeroMagnitude) == 2)
        #expect(ulpDistance(Double.nan, 1) == .max)
    }
}

@Suite struct `Restoring a run` {
    @Test func `source, inputs that Git ignores, and a refusal that names every fault`() throws {
        let scratch = Scratch("repo")
        scratch.git("init", "-q")
        scratch.write(".gitignore", "data/\n")
        scratch.write("studies/x.md", "# A study\n")
        scratch.git("add", ".")
        scratch.git("commit", "-qm", "one")
        scratch.write("data/words.txt", "a b c")
        scratch.write("data/folder/one.txt", "1")
        let ledger = try Ledger.open(under: scratch.path)
        var run = opening()
        run.code = try CodeIdentity.capture(at: scratch.path)
        let writer = try ledger.begin(run)
        for name in ["data/words.txt", "data/folder"] {
            let input = try writer.input(
                cell: 0, path: scratch.path + "/" + name, written: name, kind: "dataset")
            #expect(input.tracking == "ignored")
        }
        try writer.seal(.succeeded)
        scratch.write("studies/x.md", "# Changed since\n")

        let record = try ledger.run(writer.id)
        let place = scratch.path + "/.study/scratch/r"
        let restored = try Restoration.lay(out: record, of: ledger, root: scratch.path, into: place)
        #expect(scratch.read(".study/scratch/r/studies/x.md") == "# A study\n")
        #expect(scratch.read(".study/scratch/r/data/words.txt") == "a b c")
        #expect(scratch.read(".study/scratch/r/data/folder/one.txt") == "1")
        #expect(restored.study == place + "/studies/x.md")
        #expect(scratch.read("studies/x.md") == "# Changed since\n")

        scratch.write("data/words.txt", "a b d")
        shell(["rm", "-r", "data/folder"], at: scratch.path)
        let error = #expect(throws: ProvenanceError.self) {
            try Restoration.lay(out: record, of: ledger, root: scratch.path, into: place + "2")
        }
        #expect(error?.what.hasPrefix("2 inputs of this run cannot be had as recorded:") == true)
        #expect(error?.what.contains("data/folder: sha256") == true)
        #expect(error?.what.contains("nothing found") == true)
    }

    @Test func `without Git everything comes from the object store`() throws {
        let scratch = Scratch("plain")
        scratch.write("words.txt", "a b c")
        let ledger = try Ledger.open(under: scratch.path)
        var run = opening()
        run.study = "x.md"
        let writer = try ledger.begin(run)
        let input = try writer.input(
            cell: 0, path: scratch.path + "/words.txt", written: "words.txt", kind: "dataset")
        #expect(input.isStored && input.path == "words.txt")
        try writer.seal(.succeeded)
        shell(["rm", "words.txt"], at: scratch.path)
        _ = try Restoration.lay(
            out: try ledger.run(writer.id), of: ledger, root: scratch.path,
            into: scratch.path + "/.study/scratch/r")
        #expect(scratch.read(".study/scratch/r/words.txt") == "a b c")
        #expect(scratch.read(".study/scratch/r/x.md") == "# A study\n")
    }
}
