// Runs, bundles and scratch folders for the tests of this target. Everything in them is made up here.

import Events
import Foundation
import Testing

import Export
import Provenance

/// A folder that goes away with the last reference.
final class Scratch: Sendable {
    let path: String
    init() {
        path = NSTemporaryDirectory() + "/study-export-tests-\(UUID().uuidString)"
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ bytes: [UInt8]) -> String {
        let file = path + "/" + name
        try! FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        _ = FileManager.default.createFile(atPath: file, contents: Data(bytes))
        return file
    }
}

/// Bytes that look random and are the same each time (SplitMix64).
func noise(_ count: Int, seed: UInt64) -> [UInt8] {
    var state = seed
    return (0..<count).map { _ in
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return UInt8(truncatingIfNeeded: z ^ z >> 31)
    }
}

enum Sample {
    static let weights = noise(70_000, seed: 7)
    static let adapterConfiguration =
        #"{"peft_type": "LORA", "r": 4, "base_model_name_or_path": "models/tiny"}"# + "\n"
    static let text = """
        ---
        title: A miniature study & its <bundle>
        authors:
          - {name: Ada Example, affiliation: Example Lab, orcid: 0000-0002-1825-0097}
        licence: Apache-2.0
        params: {rank: 4}
        datasets:
          - {path: data/words.jsonl, licence: CC0-1.0}
        ---

        # First words

        The loss ends at `{swift} last`, which is less than $e^{-1}$.

        ```swift
        //| id: prepare
        let last = 0.25
        ```

        More words, with **weight**.

        ```swift
        //| id: train
        print("done", last)
        ```
        """

    /// A run of two cells that reads a file, makes an adapter and records two series.
    static func run(_ status: RunFacts.Status = .succeeded) -> RunFacts {
        var run = RunFacts()
        run.id = "20261121-081339-7f0c5f0e"
        run.study = "studies/mini.md"
        run.title = "A miniature study & its <bundle>"
        run.text = text
        run.authors = [
            .init(
                name: "Ada Example", affiliation: "Example Lab",
                orcid: "https://orcid.org/0000-0002-1825-0097")
        ]
        run.licence = "Apache-2.0"
        run.seed = "7"
        run.tier = "portable"
        run.threads = 2
        run.command = ["study", "run", "studies/mini.md", "-p", "rank=4"]
        run.parameters = [.init(name: "rank", type: "Int", value: "4")]
        let start: Int64 = 1_795_248_819_123_000_000
        run.began = Timestamp(nanoseconds: start)
        run.status = status
        run.ended = Timestamp(nanoseconds: start + 61_500_000_000)
        run.environment = [
            ("cpu.model", "Example CPU 9000"), ("swift.version", "6.3.1"),
            ("engine.build", "abc123"),
        ]
        run.code.commit = "0123456789abcdef0123456789abcdef01234567"
        run.code.remote = "https://example.org/lab/mini.git"
        run.changes = [.init(path: "studies/mini.md", kind: "modified")]
        let done = status == .succeeded
        func cell(
            _ index: Int, _ id: String, _ lines: ClosedRange<Int>, _ source: String,
            _ state: String,
            began: Int64? = nil, ended: Int64? = nil
        ) -> RunFacts.Cell {
            func time(_ offset: Int64?) -> Timestamp? {
                offset.map { Timestamp(nanoseconds: start + $0) }
            }
            let record = RunRecord.Cell(
                index: index, id: id, firstLine: lines.lowerBound, lastLine: lines.upperBound,
                sha256: String(repeating: ["a", "b", "c"][index], count: 64), began: time(began),
                ended: time(ended), state: state)
            return RunFacts.Cell(record, source: source)
        }
        run.cells = [
            cell(
                0, "prepare", 17...18, "//| id: prepare\nlet last = 0.25", "succeeded",
                began: 1_000_000, ended: 5_000_000),
            cell(
                1, "train", 24...25, "//| id: train\nprint(\"done\", last)",
                done ? "succeeded" : "failed", began: 6_000_000, ended: done ? 61_000_000_000 : nil),
        ]
        if !done {
            run.failure = .init(
                cell: 1, reason: status == .failed ? "trap" : "interrupted",
                message: "index out of range", line: 25)
            run.cells.append(cell(2, "never", 27...28, "print(1)", "pending"))
        }
        var loss = RunFacts.Series(cell: 1, name: "loss", arm: "")
        for step in 0..<50 {
            loss.steps.append(Int64(step))
            loss.values.append(1 / Double(step + 1))
            loss.times.append(start + Int64(step))
        }
        var rate = RunFacts.Series(cell: 1, name: "accuracy", arm: "aligned + LoX")
        rate.steps = [-1]
        rate.values = [0.655]
        rate.times = [start + 99]
        rate.proportions[0] = ProportionRecord(count: 131, total: 200, judge: "substrings")
        run.series = [loss, rate]
        run.claims = [
            ClaimRecord(cell: 1, text: "The loss falls.", holds: true, evidence: "1 to 0.02"),
            ClaimRecord(cell: 1, text: "It is below 0.01.", holds: false, evidence: "0.02"),
        ]
        run.inlineValues = [0: "0.25"]
        run.outputs = [.init(cell: 1, stream: .standardOutput, bytes: Array("done 0.25\n".utf8))]
        run.items = [
            ItemRecord(
                cell: 1, evaluation: "refusals", arm: "", index: 0, prompt: "a restricted prompt",
                answer: "a restricted answer", judge: "substrings", label: "refused",
                restricted: true)
        ]
        run.streams = [("init", "128")]
        let words = Array("{\"text\": \"hello\"}\n".utf8)
        run.inputs = [
            .init(
                cell: 0, path: "studies/data/words.jsonl", kind: "dataset",
                files: [
                    .init(
                        path: "", sha256: PayloadDigest(of: words).sha256, size: Int64(words.count))
                ],
                licence: "CC0-1.0")
        ]
        let configuration = Array(adapterConfiguration.utf8)
        run.artifacts = [
            .init(
                cell: 1, name: "adapter", mediaType: "", kind: "weights",
                files: [
                    .init(
                        path: "adapter_config.json",
                        sha256: PayloadDigest(of: configuration).sha256,
                        size: Int64(configuration.count)),
                    .init(
                        path: "adapter_model.safetensors",
                        sha256: PayloadDigest(of: weights).sha256,
                        size: Int64(weights.count)),
                ])
        ]
        return run
    }

    /// The bytes that the sample run read and made, as an object store and a worktree.
    static func store(_ scratch: Scratch) throws -> RunStore {
        let objects = ObjectStore(scratch.path + "/objects")
        _ = try objects.store(weights)
        _ = try objects.store(Array(adapterConfiguration.utf8))
        _ = scratch.write("root/studies/data/words.jsonl", Array("{\"text\": \"hello\"}\n".utf8))
        return RunStore(objects: objects, root: scratch.path + "/root")
    }

    static func plan(
        _ scratch: Scratch, _ run: RunFacts = run(), options: BundleOptions = BundleOptions()
    ) throws -> BundlePlan {
        let store = try store(scratch)
        let source = scratch.write("tree/studies/mini.md", Array(text.utf8))
        return try BundlePlan(
            run, store: store, sourceFiles: [("studies/mini.md", source)],
            options: options, scratch: scratch.path)
    }

    /// Writes the sample's bundle and returns its path.
    @discardableResult
    static func bundle(
        _ scratch: Scratch, _ name: String = "x.tar.zst", _ run: RunFacts = run(),
        options: BundleOptions = BundleOptions(), sign: (([UInt8]) throws -> [UInt8])? = nil
    ) throws -> WrittenBundle {
        let plan = try plan(scratch, run, options: options)
        let writer = BundleWriter(
            run: plan.run, files: plan.files, withheld: plan.withheld, softwareVersion: "0.1.0",
            isThin: options.isThin, sign: sign)
        return try writer.write(to: scratch.path + "/" + name, format: ArchiveFormat(path: name)!)
    }
}
