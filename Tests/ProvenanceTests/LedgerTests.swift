// The ledger: what is written comes back, in bits; sealed is sealed; names find runs.

import Events
import Foundation
import Provenance
import Testing

@Suite struct `The ledger` {
    @Test func `a run comes back as it was written`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let writer = try ledger.begin(opening())
        let file = scratch.write("out/adapter.bin", "weights")
        try writer.append(.cellBegan(cell: 0, time: Timestamp(nanoseconds: 5)))
        for step in 0..<3 {
            try writer.append(
                .metric(
                    MetricPoint(
                        cell: 0, name: "loss", step: Int64(step), value: 1 / Double(step + 1),
                        time: Timestamp(nanoseconds: Int64(step)))))
        }
        try writer.append(
            .metric(
                MetricPoint(
                    cell: 0, name: "refusal", arm: "aligned + LoX", value: 0.655,
                    proportion: ProportionRecord(count: 131, total: 200, judge: "substrings"),
                    time: .now)))
        try writer.output(cell: 0, stream: .standardOutput, bytes: [104, 0, 255])
        try writer.output(cell: 0, stream: .standardOutput, bytes: [10])
        try writer.append(
            .artifact(
                ArtifactRecord(
                    cell: 0, name: "adapter", path: file, mediaType: "application/octet-stream",
                    kind: "weights")))
        try writer.append(
            .claim(ClaimRecord(cell: 0, text: "it learns", holds: true, evidence: "loss")))
        try writer.append(.inlineValue(index: 0, text: "65.5 %"))
        try writer.append(.stream(name: "init", draws: .max))
        try writer.append(.digest(DigestRecord(cell: 0, series: "state", step: 1, digest: "00ff")))
        try writer.append(.cellEnded(cell: 0, time: Timestamp(nanoseconds: 9)))
        let sealed = try writer.seal(.succeeded)
        #expect(sealed.status == .succeeded)

        let run = try ledger.run("@latest", points: true)
        #expect(run.id == writer.id)
        #expect(run.status == .succeeded)
        #expect(run.seal?.sha256 == sealed.sha256)
        #expect(run.cells.map(\.state) == ["succeeded", "pending"])
        #expect(run.series.map(\.label) == ["loss", "refusal[aligned + LoX]"])
        #expect(run.series[0].points.map(\.value) == [1, 0.5, 1.0 / 3])
        #expect(run.series[1].proportions[0]?.total == 200)
        #expect(run.output(of: 0, .standardOutput) == [104, 0, 255, 10])
        #expect(run.artifacts[0].sha256 == Digest(of: "weights").hex)
        #expect(try ledger.objects.bytes(run.artifacts[0].sha256) == Array("weights".utf8))
        #expect(run.streams["init"] == .max)
        #expect(run.inlineValues == [0: "65.5 %"])
        #expect(run.parameters.first?.value == "8")
        #expect(run.tolerances == [Tolerance(metric: "loss", relative: 1e-6)])
        #expect(run.environment["cpu.cores"] != nil)
        #expect(try ledger.sealHolds(run.id) == true)
    }

    @Test func `values keep their bits, the sign of zero and infinities among them`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let writer = try ledger.begin(opening())
        let values: [Double] = [
            -0.0, 0, 3, .infinity, -.infinity, .leastNonzeroMagnitude, 0.1, Double(Float(0.1)),
            1e300,
            9007199254740993, -1,
        ]
        for value in values {
            try writer.append(.metric(MetricPoint(cell: 0, name: "v", value: value, time: .now)))
        }
        try writer.append(.metric(MetricPoint(cell: 0, name: "n", value: .nan, time: .now)))
        try writer.seal(.succeeded)
        let run = try ledger.run(writer.id, points: true)
        #expect(run.series[0].points.map(\.value.bitPattern) == values.map(\.bitPattern))
        #expect(run.series[1].points[0].value.isNaN)
        #expect(try ledger.sealHolds(writer.id) == true)
    }

    @Test func `the writer takes nothing after the seal`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let writer = try ledger.begin(opening())
        try writer.seal(.interrupted)
        let error = #expect(throws: ProvenanceError.self) {
            try writer.append(.metric(MetricPoint(cell: 0, name: "loss", value: 1, time: .now)))
        }
        #expect(error?.reason == .writerClosed)
    }

    @Test func `SQLite itself refuses to change a sealed run`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let writer = try ledger.begin(opening())
        try writer.append(.metric(MetricPoint(cell: 0, name: "loss", value: 1, time: .now)))
        try writer.output(cell: 0, stream: .standardOutput, bytes: [1])
        try writer.seal(.succeeded)
        for statement in [
            "UPDATE point SET value = 0", "DELETE FROM point",
            "INSERT INTO point VALUES (1, 9, 9, 9, 9)",
            "UPDATE run SET seed = '8'", "UPDATE output SET bytes = x'00'", "DELETE FROM seal",
            "UPDATE parameter SET value = '9'", "DELETE FROM cell",
            "UPDATE series SET last_value = 0",
        ] {
            let answer = shell(["sqlite3", ledger.path, statement], at: scratch.path)
            #expect(answer.contains("sealed"), "\(statement): \(answer)")
        }
        #expect(try ledger.sealHolds(writer.id) == true)
    }

    @Test func `a changed row behind the triggers' back breaks the seal`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let writer = try ledger.begin(opening())
        try writer.append(.metric(MetricPoint(cell: 0, name: "loss", value: 1, time: .now)))
        try writer.seal(.succeeded)
        shell(
            [
                "sqlite3", ledger.path,
                "DROP TRIGGER point_sealed_update; UPDATE point SET value = 1.0000000000000002",
            ],
            at: scratch.path)
        #expect(try ledger.sealHolds(writer.id) == false)
    }

    @Test func `names: prefixes, last digits, latest`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let first = try ledger.begin(opening()).id
        let second = try ledger.begin(opening()).id
        #expect(try ledger.resolve("@latest") == second)
        #expect(try ledger.resolve("@latest~1") == first)
        #expect(try ledger.resolve(first) == first)
        #expect(try ledger.resolve(String(first.suffix(8))) == first)
        let none = #expect(throws: ProvenanceError.self) { try ledger.resolve("zzzz") }
        #expect(
            none?.description == """
                There is no run zzzz in this ledger.
                  where: \(ledger.path)
                  mend:  `study list` shows the runs; an id, its first or last digits, and @latest will do
                """)
        let both = #expect(throws: ProvenanceError.self) {
            try ledger.resolve(String(first.prefix(3)))
        }
        #expect(both?.reason == .ambiguousRun)
    }

    @Test(arguments: ["it's \"quoted\"", "two\nlines", "percent %41 & ?q=1#x", "ünï"])
    func `the ledger opens on odd paths`(name: String) throws {
        let scratch = Scratch(name)
        let ledger = try Ledger.open(under: scratch.path)
        let writer = try ledger.begin(opening())
        try writer.seal(.succeeded)
        #expect(try Ledger.openForReading(scratch.path).run("@latest").status == .succeeded)
        #expect(FileManager.default.fileExists(atPath: scratch.path + "/.study/ledger.sqlite"))
    }

    @Test func `a run whose process is gone is lost, never running`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var alive = opening()
        #expect(try ledger.run(ledger.begin(alive).id).status == .running)
        // Process 1 lives, but did not start when this record says.
        alive.process = ProcessIdentity(
            processID: 1, startTicks: -1, bootID: ProcessIdentity.current.bootID,
            namespace: ProcessIdentity.current.namespace)
        #expect(try ledger.run(ledger.begin(alive).id).status == .lost)
    }
}
