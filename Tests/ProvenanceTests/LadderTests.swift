// The parts of the ladder below equal bits, and the chain of states, each by itself.

import Events
import Foundation
import Provenance
import Testing

@Suite struct `The chain of states` {
    @Test func `each link is what sha256sum says, and any change breaks it`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let writer = try ledger.begin(opening())
        for step in 1...5 {
            try writer.append(
                .digest(
                    DigestRecord(
                        cell: 1, series: "training state[a]", step: Int64(step),
                        digest: "00000000000000a\(step)")))
        }
        try writer.append(
            .digest(DigestRecord(cell: 1, series: "other", step: 1, digest: "00000000000000ff")))
        try writer.seal(.succeeded)
        let digests = try ledger.run(writer.id).digests
        #expect(digests.map(\.state).prefix(2) == ["00000000000000a1", "00000000000000a2"])
        let sum = shell(
            [
                "sh", "-c",
                "printf '%s' '0000000000000000 training state[a] 1 00000000000000a1' | sha256sum",
            ], at: scratch.path)
        #expect(digests[0].link == String(sum.prefix(16)))
        let next = shell(
            [
                "sh", "-c",
                "printf '%s' '\(digests[0].link!) training state[a] 2 00000000000000a2' | sha256sum",
            ], at: scratch.path)
        #expect(digests[1].link == String(next.prefix(16)))
        #expect(DigestChain.firstBreak(in: digests) == nil)

        var changed = digests
        changed[2].digest = "00000000000000bb \(digests[2].link!)"
        #expect(DigestChain.firstBreak(in: changed)?.step == 3)
        var dropped = digests
        dropped.remove(at: 1)
        #expect(DigestChain.firstBreak(in: dropped)?.step == 3)
        var swapped = digests
        swapped.swapAt(3, 4)
        #expect(DigestChain.firstBreak(in: swapped)?.step == 5)
        // A record of before there were chains has nothing to check.
        #expect(
            DigestChain.firstBreak(in: [
                DigestRecord(cell: 0, series: "s", step: 1, digest: "00000000000000a1")
            ]) == nil)
    }
}

@Suite struct `What a spot check proves` {
    @Test func `the chance of passing is that of drawing only true segments`() {
        let chance = SpotChance(segments: 10, computed: 3)
        #expect(chance.passing(wrong: 0) == 1)
        #expect(abs(chance.passing(wrong: 1) - 0.7) < 1e-12)
        // C(8, 3) / C(10, 3) = 56 / 120.
        #expect(abs(chance.passing(wrong: 2) - 56.0 / 120) < 1e-12)
        #expect(chance.passing(wrong: 8) == 0)
        #expect(SpotChance(segments: 4, computed: 4).passing(wrong: 1) == 0)
        #expect(
            SpotChance(segments: 40, computed: 10).lines == [
                "10 of 40 segments computed again, drawn at random; a record with one false segment passes with a chance of 75 %, with 4 false ones of 30 %"
            ])
    }

    @Test func `checkpoints carry their arm in their name`() {
        for arm in ["", "a", "int8, seed 1", "a/b%2Fc%"] {
            let name = "\(TrainingSegment.folder(of: arm))/120.safetensors"
            let found = TrainingSegment.checkpoint(named: name)
            #expect(found?.arm == arm && found?.steps == 120, "\(name)")
        }
        #expect(TrainingSegment.checkpoint(named: "adapter/1.safetensors") == nil)
        #expect(TrainingSegment.checkpoint(named: "checkpoints/a/b/1.safetensors") == nil)
        #expect(TrainingSegment.checkpoint(named: "checkpoints/x.safetensors") == nil)
    }
}

@Suite struct `Tolerances beyond metrics` {
    private func verdict(
        _ tolerances: [Tolerance], _ plant: (inout PlantedRun) -> Void
    ) throws -> ReplayVerdict {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var planted = PlantedRun()
        planted.tolerances = tolerances
        let original = try planted.write(to: ledger, scratch)
        plant(&planted)
        return Comparison.verdict(
            of: try planted.write(to: ledger, scratch), against: original,
            objects: ledger.objects)
    }

    private func safetensors(_ values: [Float]) -> [UInt8] {
        let header = Array(
            #"{"w":{"dtype":"F32","shape":[\#(values.count)],"data_offsets":[0,\#(values.count * 4)]}}"#
                .utf8)
        var bytes = withUnsafeBytes(of: UInt64(header.count).littleEndian) { Array($0) } + header
        for value in values {
            withUnsafeBytes(of: value.bitPattern.littleEndian) { bytes += Array($0) }
        }
        return bytes
    }

    @Test func `a figure's numbers, by its title`() throws {
        let near = try verdict([Tolerance(metric: "Refusals", absolute: 0.02)]) {
            $0.figure = #"{"x":[1,2],"y":[0.5,0.26]}"#
        }
        let figure = try #require(near.outputs.first { $0.kind == .figure })
        #expect(figure.rung == .withinTolerance && abs(figure.margin! - 0.5) < 1e-9)
        let shape = try verdict([Tolerance(metric: "Refusals", absolute: 0.02)]) {
            $0.figure = #"{"x":[1,2],"z":[0.5,0.25]}"#
        }
        #expect(shape.rung == .different)
        let other = try verdict([Tolerance(metric: "loss", absolute: 0.02)]) {
            $0.figure = #"{"x":[1,2],"y":[0.5,0.26]}"#
        }
        #expect(other.rung == .different)
    }

    @Test func `the numbers of a text, under the star`() throws {
        let near = try verdict([Tolerance(metric: "*", relative: 1e-3)]) {
            $0.inline = "65.51 %"
        }
        #expect(near.rung == .withinTolerance && near.holds)
        let words = try verdict([Tolerance(metric: "*", relative: 1e-3)]) {
            $0.inline = "65.5 per cent"
        }
        #expect(words.rung == .different)
    }

    @Test func `weights element by element, by the artifact's name`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var planted = PlantedRun()
        planted.tolerances = [Tolerance(metric: "adapter", absolute: 0.01)]
        planted.adapter = ["a.safetensors": []]
        // Bytes that are no text: written past PlantedRun's strings.
        func record(_ values: [Float]) throws -> RunRecord {
            var run = opening()
            run.tolerances = planted.tolerances
            let writer = try ledger.begin(run)
            let path = scratch.path + "/a.safetensors"
            try Data(safetensors(values)).write(to: URL(fileURLWithPath: path))
            try writer.append(
                .artifact(
                    ArtifactRecord(cell: 1, name: "adapter.safetensors", path: path, mediaType: ""))
            )
            try writer.seal(.succeeded)
            return try ledger.run(writer.id, points: true)
        }
        planted.tolerances = [Tolerance(metric: "adapter.safetensors", absolute: 0.01)]
        let original = try record([1, 2, 3])
        let near = Comparison.verdict(
            of: try record([1, 2.005, 3]), against: original, objects: ledger.objects)
        let output = try #require(near.outputs.first { $0.kind == .artifact })
        #expect(output.rung == .withinTolerance && abs(output.margin! - 0.5) < 1e-3)
        let far = Comparison.verdict(
            of: try record([1, 2.5, 3]), against: original, objects: ledger.objects)
        #expect(far.rung == .different)
        #expect(far.first?.text.contains("first in w, element 1") == true)
        let longer = Comparison.verdict(
            of: try record([1, 2, 3, 4]), against: original, objects: ledger.objects)
        #expect(longer.rung == .different)
    }

    @Test func `over seeds for everything: what is made of the numbers follows them`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var planted = PlantedRun()
        planted.tolerances = [Tolerance(metric: "*", seeds: 5)]
        let original = try planted.write(to: ledger, scratch)
        planted.final = 0.2501
        planted.inline = "another number"
        planted.figure = #"{"x":[1,2],"y":[0.5,0.26]}"#
        let replay = try planted.write(to: ledger, scratch)
        let near = [0.24, 0.25, 0.26, 0.255, 0.245]
        let alike = Comparison.verdict(
            of: replay, against: original, objects: ledger.objects,
            samples: ["final": (near, near.map { $0 + 0.001 })])
        #expect(alike.rung == .statisticallyEqual && alike.holds)
        let apart = Comparison.verdict(
            of: replay, against: original, objects: ledger.objects,
            samples: ["final": (near, near.map { $0 + 0.1 })])
        #expect(apart.rung == .different)
        #expect(apart.outputs.first { $0.kind == .figure }?.rung == .different)
    }
}

@Suite struct `The headline of a run` {
    private func headline(_ names: [String]) throws -> String {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var run = opening()
        run.headline = names
        let writer = try ledger.begin(run)
        func record(
            _ name: String, _ value: Double, _ step: Int64 = -1, arm: String = "",
            rate: Bool = false
        ) throws {
            try writer.append(
                .metric(
                    MetricPoint(
                        cell: 0, name: name, arm: arm, step: step, value: value,
                        proportion: rate
                            ? ProportionRecord(count: 1, total: 4, judge: "substrings") : nil,
                        time: .now)))
        }
        try record("refused", 0.25, arm: "before", rate: true)
        for step in 0..<3 {
            try record("loss", 1 / Double(step + 1), Int64(step), arm: "seed \(step)")
            try record("gradient norm", 1, Int64(step), arm: "seed \(step)")
        }
        try record("refused", 0.75, arm: "after", rate: true)
        try record("single", 3)
        try writer.seal(.succeeded)
        return try ledger.list().runs[0].headline
    }

    @Test func `rates, then single numbers, then series; each name once`() throws {
        #expect(try headline([]) == "refused[after] 0.75  single 3  loss[seed 2] 0.333333")
    }

    @Test func `what the study names, in its order`() throws {
        #expect(
            try headline(["loss", "refused.before"])
                == "loss[seed 2] 0.333333  refused[before] 0.25")
        #expect(try headline(["nothing of that name"]).hasPrefix("refused[after]"))
    }
}

@Suite struct `What a replay can expect` {
    private func differs(_ names: String...) -> [EnvironmentDifference] {
        names.map { EnvironmentDifference(name: $0, first: "a", second: "b", weight: 50) }
    }

    @Test func `follows from the tier and from what is another here`() {
        func expected(_ tier: String, _ differences: [EnvironmentDifference])
            -> Provenance.Expectation
        {
            Provenance.Expectation(tier: tier, differences: differences)
        }
        let portable = "same bits (portable tier, whatever the CPU and the threads)"
        for names in [
            differs(), differs("cpu.model", "engine.kernels"), differs("engine.threads", "locale"),
        ] {
            #expect(
                expected("portable", names)
                    == Provenance.Expectation(rung: .sameBits, text: portable))
        }
        #expect(
            expected("portable", differs("swift.version", "cpu.model", "engine.build"))
                == Provenance.Expectation(
                    rung: .different,
                    text: "perhaps other bits: engine.build, swift.version changed since"))
        #expect(
            expected("blas", differs("locale"))
                == Provenance.Expectation(
                    rung: .sameBits, text: "same bits (blas tier, same CPU, BLAS core and threads)")
        )
        #expect(
            expected("blas", differs("engine.threads", "cpu.model"))
                == Provenance.Expectation(
                    rung: .different,
                    text: "perhaps other bits: the blas tier depends on cpu.model, engine.threads"))
    }
}
