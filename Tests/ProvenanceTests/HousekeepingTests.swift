// Secrets kept out, runs moved between ledgers, what nobody needs removed, many runs listed.

import Events
import Foundation
import Provenance
import Testing

@Suite struct `Secrets in the record` {
    /// Twenty, in the places where people leave them. Invented; none was ever valid.
    static let planted: [[String]] = [
        ["study", "run", "x.md", "--token", "s3cr3t-value"],
        ["study", "run", "x.md", "--token=s3cr3t-value"],
        ["study", "run", "x.md", "-p", "api_key=s3cr3t-value"],
        ["study", "--password", "s3cr3t-value"],
        ["study", "-p", "hf=hf_s3cr3tvalues3cr3tvaluexx"],
        ["study", "-p", "k=ghp_s3cr3tvalues3cr3tvalues3cr3tvalue"],
        ["study", "-p", "k=sk-s3cr3tvalues3cr3tvalue"], ["study", "-p", "k=AKIAS3CR3TVALUES3CR3"],
        ["study", "https://me:s3cr3t-value@example.org/x.git"],
        ["study", "https://s3cr3t-value@example.org/x"],
        ["study", "https://example.org/x?access_token=s3cr3t-value&y=1"],
        ["study", "-H", "Authorization: Bearer s3cr3t-value"],
        ["study", "{\"password\": \"s3cr3t-value\"}"],
        ["study", "--secret-file-key", "s3cr3t-value"],
        ["study", "-p", "k=xoxb-s3cr3t-value-s3cr3t"],
        ["study", "-p", "k=glpat-s3cr3tvalues3cr3t"],
        ["study", "AWS_SECRET_ACCESS_KEY=s3cr3t-value"],
        ["study", "-p", "k=eyJs3cr3tvalues3cr3tvalues3cr3tvalue.x.y"],
        ["study", "-----BEGIN RSA PRIVATE KEY----- s3cr3t-value"],
        ["study", "-p", "k=npm_s3cr3tvalues3cr3tvalue"],
    ]

    @Test func `twenty planted secrets, and none in the ledger's files`() throws {
        let scratch = Scratch("repo")
        scratch.git("init", "-q")
        scratch.write(".env", "TOKEN=s3cr3t-value")
        scratch.git("remote", "add", "origin", "https://me:s3cr3t-value@example.org/x.git")
        setenv("STUDY_TEST_TOKEN", "s3cr3t-value", 1)
        let ledger = try Ledger.open(under: scratch.path)
        for command in Self.planted {
            var run = opening()
            run.command = command
            run.parameters = [.init(name: "api_token", type: "String", value: "s3cr3t-value")]
            run.environment = .collect()
            run.code = try CodeIdentity.capture(at: scratch.path)
            try ledger.begin(run).seal(
                .failed,
                failure: RunFailure(
                    cell: 0, reason: "thrown", message: "401 for token=s3cr3t-value"))
        }
        for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
            let bytes = FileManager.default.contents(atPath: ledger.folder + "/" + name) ?? Data()
            let text = String(decoding: bytes, as: UTF8.self).lowercased()
            #expect(!text.contains("s3cr3t"), "\(name)")
        }
        #expect(
            scratch.git(
                "grep", "-i", "s3cr3t",
                scratch.git("for-each-ref", "--format=%(refname)", "--count=1", "refs/study")
            ).isEmpty)
    }

    @Test(arguments: [
        "studies/lora70b.md", "--threads", "-p", "rank=16", "learningRate=0.0002", "path=a:b",
        "author: Ann",
    ])
    func `what is no secret stays`(text: String) {
        #expect(Secrets.scrubbed(text) == text)
    }
}

@Suite struct `Housekeeping` {
    private func filled(_ scratch: Scratch, runs: Int) throws -> Ledger {
        let ledger = try Ledger.open(under: scratch.path)
        for number in 0..<runs {
            let writer = try ledger.begin(opening(seed: UInt64(number)))
            for step in 0..<10 {
                try writer.append(
                    .metric(
                        MetricPoint(
                            cell: 0, name: "loss", step: Int64(step), value: Double(number),
                            time: .now)))
            }
            try writer.append(
                .metric(
                    MetricPoint(
                        cell: 0, name: "refusal", arm: "after", value: Double(number) / 10,
                        proportion: ProportionRecord(count: number, total: 10, judge: "j"),
                        time: .now)))
            let file = scratch.write("a.bin", "artifact \(number)")
            try writer.append(
                .artifact(ArtifactRecord(cell: 0, name: "a", path: file, mediaType: "", kind: "")))
            try writer.seal(number % 3 == 0 ? .failed : .succeeded)
        }
        return ledger
    }

    @Test func `import merges another ledger's runs, twice as once`() throws {
        let (here, there) = (Scratch("here"), Scratch("there"))
        let other = try filled(there, runs: 4)
        let cutOff = try other.begin(opening())
        let ledger = try filled(here, runs: 2)
        let report = try ledger.importRuns(from: there.path)
        // Two of the four objects are here already.
        #expect(report.imported.count == 4 && report.objects == 2)
        #expect(report.refused[cutOff.id] == "it has no seal: it runs still, or was cut off")
        for id in report.imported {
            #expect(try ledger.sealHolds(id) == true)
            var (mine, theirs) = (try ledger.run(id, points: true), try other.run(id, points: true))
            #expect(mine.imported != nil)
            mine.imported = nil
            mine.number = theirs.number
            for index in mine.series.indices { mine.series[index].row = theirs.series[index].row }
            theirs.process = nil
            #expect(mine == theirs)
        }
        let again = try ledger.importRuns(from: there.path + "/.study/ledger.sqlite")
        #expect(again.imported.isEmpty && again.known.count == 4 && again.objects == 0)
        #expect(try ledger.list().total == 6)
        #expect(
            try ledger.resolve("@latest") == ledger.list().runs.filter { !$0.isImported }.first?.id)
    }

    @Test func `a run that was tampered with is not imported`() throws {
        let (here, there) = (Scratch("here"), Scratch("there"))
        let other = try filled(there, runs: 1)
        shell(
            [
                "sqlite3", other.path,
                "DROP TRIGGER point_sealed_update; UPDATE point SET value = 5",
            ], at: there.path)
        let report = try Ledger.open(under: here.path).importRuns(from: there.path)
        #expect(report.imported.isEmpty)
        #expect(report.refused.values.first == "its rows are not those that were sealed")
    }

    @Test func `gc shows what nobody needs, and keeps what a run names`() throws {
        let scratch = Scratch()
        let ledger = try filled(scratch, runs: 2)
        let stray = try ledger.objects.store(Array("nobody's".utf8))
        #expect(try ledger.garbage().isEmpty)  // younger than an hour
        let garbage = try ledger.garbage(olderThan: -1)
        #expect(garbage.objects == [stray] && garbage.bytes == 8)
        try ledger.remove(garbage)
        #expect(!ledger.objects.contains(stray))
        #expect(try ledger.health().isWhole)
    }

    @Test func `list filters by value, status, study and time, and sorts`() throws {
        let scratch = Scratch()
        let ledger = try filled(scratch, runs: 8)
        func names(_ change: (inout RunFilter) throws -> Void) throws -> [String] {
            var filter = RunFilter()
            try change(&filter)
            return try ledger.list(filter).runs.map(\.seed)
        }
        #expect(try names { _ in } == ["7", "6", "5", "4", "3", "2", "1", "0"])
        #expect(
            try names { $0.conditions = [try RunCondition("refusal.after < 0.25")] } == [
                "2", "1", "0",
            ])
        #expect(
            try names {
                $0.conditions = [try RunCondition("loss >= 6"), try RunCondition("rank = 8")]
            } == ["7", "6"])
        #expect(try names { $0.conditions = [try RunCondition("rank != 8")] }.isEmpty)
        #expect(try names { $0.statuses = [.failed] } == ["6", "3", "0"])
        #expect(try names { $0.study = "elsewhere" }.isEmpty)
        #expect(try names { $0.since = Timestamp(nanoseconds: .max) }.isEmpty)
        #expect(try names { $0.orderMetric = "loss" }.first == "0")
        #expect(try names { $0.limit = 2 } == ["7", "6"])
        // A metric that is called by its name alone, by its arm with a dot or in brackets.
        for name in ["refusal.after", "refusal[after]", "refusal"] {
            #expect(
                try names { $0.conditions = [try RunCondition("\(name) < 0.25")] } == [
                    "2", "1", "0",
                ], "\(name)")
            #expect(try names { $0.orderMetric = name }.first == "0", "\(name)")
        }
        for name in ["refusal.before", "refusal[", "after", ".after", "refusal."] {
            #expect(try names { $0.conditions = [try RunCondition("\(name) < 9")] }.isEmpty)
        }
        #expect(
            try names {
                $0.conditions = [try RunCondition("loss >= 6")]
                $0.orderMetric = "loss"
                $0.limit = 1
            } == ["6"])
        var both = RunFilter()
        both.conditions = [try RunCondition("loss >= 6")]
        both.limit = 1
        #expect(try ledger.list(both).total == 2)
        var some = RunFilter()
        some.limit = 2
        #expect(try ledger.list(some).total == 8)
        let writer = try ledger.begin(opening(seed: 99))
        #expect(try names { $0.statuses = [.running] } == ["99"])
        try writer.seal(.interrupted)
        let error = #expect(throws: ProvenanceError.self) { try RunCondition("loss") }
        #expect(error?.reason == .badFilter)
    }

    @Test func `the digest of an unchanged file is remembered, a changed one read again`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let file = scratch.write("data.txt", "a")
        // Old enough that its times can be trusted.
        shell(["touch", "-d", "2020-01-01", file], at: scratch.path)
        Thread.sleep(forTimeInterval: 2.1)
        for text in ["a", "b"] {
            if text == "b" { scratch.write("data.txt", "b") }
            let writer = try ledger.begin(opening())
            let input = try writer.input(cell: 0, path: file, written: "data.txt", kind: "dataset")
            #expect(input.sha256 == Digest(of: text).hex)
            try writer.seal(.succeeded)
        }
        let cached = shell(
            ["sqlite3", ledger.path, "SELECT count(*) FROM file_digest"], at: scratch.path)
        #expect(cached == "1")
    }

    @Test func `causes are ranked: source before data before machine`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        var first = opening("# A\n")
        first.environment = EnvironmentSnapshot(facts: [
            .init("cpu.model", "A"), .init("os.kernel", "1"),
        ])
        var second = opening("# B\n", seed: 8)
        second.environment = EnvironmentSnapshot(facts: [
            .init("cpu.model", "B"), .init("os.kernel", "2"),
        ])
        second.parameters[0].value = "16"
        second.cells[0].sha256 = Digest(of: "other").hex
        let a = try ledger.run(ledger.begin(first).id)
        let b = try ledger.run(ledger.begin(second).id)
        let causes = RunDifference.causes(a, b)
        #expect(
            causes.map(\.what) == [
                "source of studies/x.md", "parameter rank", "seed", "cpu.model", "os.kernel",
            ])
        #expect(causes[0].detail == ["cell load (line 3) was changed", "-1: # A", "+1: # B"])
        #expect(RunDifference.causes(a, a).isEmpty)
    }
}
