// The documents that a bundle brings for people and for machines, each held against the record: nothing
// left out, nothing that the record does not say.

import Events
import Foundation
import Testing

import Export
import Provenance

@Suite struct `A bundle's documents` {
    /// The sample run's bundle, unpacked.
    struct Unpacked {
        let scratch = Scratch()
        let bag: String
        let written: WrittenBundle

        init(_ run: RunFacts = Sample.run()) throws {
            written = try Sample.bundle(scratch, "x.tar", run)
            bag = try BundleUnpacker.unpack(written.path, into: scratch.path + "/out").bag
        }

        func text(_ path: String) throws -> String {
            String(
                decoding: try #require(
                    FileManager.default.contents(atPath: bag + "/data/" + path), "\(path)"),
                as: UTF8.self)
        }

        func json(_ path: String) throws -> [String: Any] {
            try #require(
                try JSONSerialization.jsonObject(with: Data(text(path).utf8)) as? [String: Any])
        }

        func digest(_ path: String) throws -> String {
            PayloadDigest(
                of: Array(
                    try #require(FileManager.default.contents(atPath: bag + "/data/" + path)))
            ).sha256
        }
    }

    @Test func `metrics are every number, to the last bit`() throws {
        let run = Sample.run()
        let lines = try Unpacked(run).text("results/metrics.jsonl").split(separator: "\n").map {
            try #require(
                try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
        #expect(lines.count == run.series.reduce(0) { $0 + $1.values.count })
        let loss = lines.filter { $0["name"] as? String == "loss" }
        // Read from the text: Foundation's own reading of JSON is off by a bit at times.
        let values = try Unpacked(run).text("results/metrics.jsonl").matches(
            of: #/"name":"loss".*"value":([^,]+),/#
        ).map { Double($0.1) }
        #expect(values == run.series[0].values)
        #expect(loss.compactMap { $0["step"] as? Int } == Array(0..<50))
        let rate = try #require(lines.last)
        #expect(rate["count"] as? Int == 131 && rate["total"] as? Int == 200)
        #expect(rate["judge"] as? String == "substrings" && rate["step"] == nil)
    }

    @Test func `the in-toto statement names results and inputs by their hashes`() throws {
        let bundle = try Unpacked()
        let statement = try bundle.json("provenance.intoto.json")
        #expect(statement["_type"] as? String == "https://in-toto.io/Statement/v1")
        #expect(statement["predicateType"] as? String == "https://slsa.dev/provenance/v1")
        let subjects = try #require(statement["subject"] as? [[String: Any]])
        #expect(subjects.contains { $0["name"] as? String == "results/metrics.jsonl" })
        #expect(
            subjects.contains {
                $0["name"] as? String == "adapters/adapter/adapter_model.safetensors"
            })
        for subject in subjects {
            let name = try #require(subject["name"] as? String)
            let digest = subject["digest"] as? [String: String]
            #expect(try digest?["sha256"] == bundle.digest(name), "\(name)")
        }
        let predicate = try #require(statement["predicate"] as? [String: [String: Any]])
        let inputs = predicate["buildDefinition"]?["resolvedDependencies"] as? [[String: Any]]
        #expect(
            inputs?.last?["digest"] as? [String: String]
                == ["sha256": Sample.run().inputs[0].files[0].sha256])
        let metadata = predicate["runDetails"]?["metadata"] as? [String: Any]
        #expect(metadata?["startedOn"] as? String == "2026-11-21T08:13:39.123Z")
        #expect(metadata?["finishedOn"] as? String == "2026-11-21T08:14:40.623Z")

        // No end that nobody knows; the hash of a weight that stays, in its place.
        var run = `The release policy`.lowering()
        run.ended = nil
        let other = try Unpacked(run)
        let withheld = try other.json("provenance.intoto.json")
        let details = (withheld["predicate"] as? [String: [String: Any]])?["runDetails"]
        #expect((details?["metadata"] as? [String: Any])?["finishedOn"] == nil)
        #expect(
            (withheld["subject"] as? [[String: Any]])?.contains {
                $0["digest"] as? [String: String]
                    == ["sha256": PayloadDigest(of: Sample.weights).sha256]
            } == true)
    }

    @Test func `the model card says what the adapter is, on which base, and with which numbers`()
        throws
    {
        let card = try Unpacked().text("adapters/adapter/README.md")
        for line in [
            "library_name: peft", "base_model: \"models/tiny\"", "license: \"apache-2.0\"",
            "      name: \"accuracy, aligned + LoX\"", "      value: 0.655",
            "made by run `20261121-081339-7f0c5f0e` of the study `studies/mini.md`, on top of `models/tiny`",
        ] { #expect(card.contains(line), "\(line)") }
        let withheld = try Unpacked(`The release policy`.lowering()).text(
            "adapters/adapter/README.md")
        #expect(withheld.contains("The weights are withheld: "))
    }

    @Test func `checklists are filled from the record, and what it does not know is left open`()
        throws
    {
        let open = "**for the authors to answer**"
        var text = try Unpacked().text("checklists.md")
        #expect(text.contains("Apache-2.0") && text.contains("1 of 2 claims"))
        #expect(text.contains("seed 7, named random streams, arithmetic tier portable"))
        for name in ["Limitations", "Reusable", "Theory, assumptions and proofs"] {
            #expect(text.contains(try Regex("\(name)[^\\n]*\\*\\*for the authors")), "\(name)")
        }
        var run = Sample.run()
        run.licence = nil
        run.claims = []
        run.ended = nil
        text = try Unpacked(run).text("checklists.md")
        #expect(text.components(separatedBy: open).count > 5)
        #expect(text.contains("took an unrecorded time"))
    }

    @Test func `each dataset has its Croissant description, also two of one name`() throws {
        var run = Sample.run()
        var other = run.inputs[0]
        other.path = "studies/other/words.jsonl"
        other.files[0].sha256 = String(repeating: "d", count: 64)
        // Read by two cells: described once.
        run.inputs = [run.inputs[0], run.inputs[0], other]
        let bundle = try Unpacked(run)
        let names = try FileManager.default.contentsOfDirectory(
            atPath: bundle.bag + "/data/croissant")
        #expect(names.count == 2, "\(names)")
        let first = try bundle.json("croissant/1-words.jsonl.json")
        #expect(first["license"] as? String == "CC0-1.0")
        let file = (first["distribution"] as? [[String: Any]])?.first
        #expect(file?["sha256"] as? String == Sample.run().inputs[0].files[0].sha256)
        // Where it is said to be, it is.
        let url = try #require(file?["contentUrl"] as? String)
        #expect(
            FileManager.default.fileExists(atPath: bundle.bag + "/data/croissant/" + url), "\(url)")
    }

    @Test func `the reviewer's page has costs, commands, results and what is missing`() throws {
        let bundle = try Unpacked()
        let text = try bundle.text("README.md")
        for line in [
            "sha512sum -c manifest-sha512.txt", "study verify BUNDLE", "study replay BUNDLE",
            "| time | 61.5 s |", "| memory | not recorded |", "| network | none |",
            "| accuracy, aligned + LoX | 0.655 (131 of 200, judged by substrings) |",
            "- ✗ fails: It is below 0.01. (0.02)", "Nothing was withheld.",
        ] { #expect(text.contains(line), "\(line)") }
        #expect(
            spawn("sh", ["-c", "cd '\(bundle.bag)' && sha512sum --quiet -c manifest-sha512.txt"])
                == 0)
        #expect(
            text.contains(
                #/\| disk \| \d+ KB for the bundle's files, about twice that to replay \|/#))
        var measured = Sample.run()
        measured.environment.append(("run.peak_memory", "46000000"))
        #expect(try Unpacked(measured).text("README.md").contains("| memory | 46 MB |"))
        let citation = try bundle.text("CITATION.cff")
        #expect(citation.contains("  - name: \"Ada Example\"") && citation.contains("commit: 0123"))
        var run = Sample.run(.failed)
        run.ended = nil
        let failed = try Unpacked(run).text("README.md")
        #expect(failed.contains("| time | not recorded: the run has no end |"))
        #expect(failed.contains("The run ended in cell `train`, line 25: index out of range"))
    }
}
