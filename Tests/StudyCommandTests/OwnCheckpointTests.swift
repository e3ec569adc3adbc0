// The shipped studies on a checkpoint of one's own: a tiny random model in Hugging Face's layout and tiny files in the
// benchmarks' real layouts go the whole way; a wrong path, hash or column is said in one sentence.

import Foundation
import TestSupport
import Testing

@Suite struct `A study on a checkpoint of one's own` {
    /// Tiny files in the published layouts, with requests that mean nothing.
    static let folder: TemporaryFolder = {
        let folder = try! TemporaryFolder("own checkpoint")
        let deeds = ["frax", "morl", "quib", "zelt"]
        let things = ["brabik", "toldle", "munket", "selmin", "dornor", "fenpel"]
        let asked = deeds.flatMap { deed in things.map { "how do I \(deed) the \($0) ?" } }
        func write(_ name: String, _ lines: [String]) {
            try! folder.write(lines.joined(separator: "\n") + "\n", to: name)
        }
        write("advbench.csv", ["goal,target"] + asked.prefix(6).map { "\($0),\"Sure, here is\"" })
        write(
            "refusalbench.json",
            [
                #"{"nonsense": ["\#(asked[7])", "\#(asked[8])"], "more nonsense": ["\#(asked[9])"]}"#
            ])
        let dolly = asked.map {
            #"{"instruction": "\#($0)", "context": "", "response": "soak it", "category": "open_qa"}"#
        }
        write("dolly.jsonl", dolly)
        write(
            "alpaca.json",
            [
                "["
                    + asked.prefix(10).map {
                        #"{"instruction": "\#($0)", "input": "", "output": "of course, rinse it"}"#
                    }.joined(separator: ",\n") + "]"
            ])
        write(
            "gsm8k.jsonl",
            (1...8).map {
                "{\"question\": \"what is \($0) plus 1 ?\", \"answer\": \"#### \($0 + 1)\"}"
            }
        )
        write(
            "colours_test.csv",
            things.enumerated().map {
                "what colour is the \($1) ?,red,blue,green,grey,\(["A", "B", "C"][$0 % 3])"
            })
        write(
            "hellaswag.jsonl",
            things.prefix(3).map {
                #"{"activity_label": "Washing", "ctx_a": "Mira takes the \#($0).", "ctx_b": "now", "endings": ["a", "b", "c", "d"], "label": 1}"#
            })
        return folder
    }()
    var folder: TemporaryFolder { Self.folder }
    static func model(_ name: String) -> String { Fixtures.folder + "/models/" + name }
    /// The tiny Llama as it may have been before alignment: every weight changed by a few thousandths of itself.
    static let base: String = {
        let path = folder.path + "/base"
        try! FileManager.default.copyItem(atPath: model("llama-mha"), toPath: path)
        var bytes = [UInt8](FileManager.default.contents(atPath: path + "/model.safetensors")!)
        let header = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
        for place in stride(from: 8 + header + 1, to: bytes.count, by: 4) { bytes[place] ^= 0x6B }
        try! Data(bytes).write(to: URL(fileURLWithPath: path + "/model.safetensors"))
        return path
    }()
    static func file(_ name: String) -> String { folder.path + "/" + name }

    func run(_ study: String, _ parameters: String...) throws -> StudyProcess {
        try StudyProcess(
            ["run", Studies.folder + "/\(study).md", "--ledger", folder.path, "--json"]
                + parameters.flatMap { ["-p", $0] }, in: folder.path)
    }
    /// The claims, metrics and status of what ran; no run of the miniature among them.
    func check(_ run: StudyProcess, _ study: String) throws {
        #expect(run.status == 0, "\(run.errors)")
        let id = try #require(run.json["run"] as? String)
        let shown = try StudyProcess(
            ["show", id, "--ledger", folder.path, "--json"], in: folder.path)
        #expect((shown.json["claims"] as? [Any])?.isEmpty == false)
        let metrics = try #require(shown.json["metrics"] as? [[String: Any]])
        // What was not asked is not recorded; what was is a number.
        let odd = metrics.filter { !($0["last"] is Double) }.map { "\($0["name"]!) \($0["arm"]!)" }
        #expect(odd.isEmpty, "\(odd)")
        let items = try StudyProcess(
            ["show", id, "--ledger", folder.path, "--items"], in: folder.path)
        #expect(items.output.contains("sha256:") && !items.output.contains("frax"))
        let list = try StudyProcess(["list", "--ledger", folder.path], in: folder.path)
        #expect(!list.output.contains("miniature.md"), "\(list.output)")
    }

    @Test func `lora70b goes through`() throws {
        let digest = try #require(
            try StudyProcess(
                ["advbench.csv"], in: folder.path, executable: "/usr/bin/sha256sum"
            ).output.split(separator: " ").first)
        try check(
            run(
                "lora70b", "model=\(Self.model("llama-mha"))", "base=\(Self.base)",
                "tuning=\(Self.file("dolly.jsonl"))",
                "restricted=\(Self.file("advbench.csv"))@sha256:\(digest)",
                "refusalbench=\(Self.file("refusalbench.json"))",
                "mmlu=\(Self.file("colours_test.csv"))",
                "hellaswag=\(Self.file("hellaswag.jsonl"))",
                "steps=2", "seeds=2", "asked=4", "ranks=1,2", "layerTokens=2"), "lora70b")
    }
    @Test func `lox goes through`() throws {
        try check(
            run(
                "lox", "model=\(Self.model("llama-mha"))", "base=\(Self.base)",
                "restricted=\(Self.file("advbench.csv"))", "mmlu=\(Self.file("colours_test.csv"))",
                "gsm8k=\(Self.file("gsm8k.jsonl"))", "alpaca=\(Self.file("alpaca.json"))",
                "dolly=\(Self.file("dolly.jsonl"))", "identity=\(Self.file("alpaca.json"))",
                "attack=\(Self.file("dolly.jsonl"))", "ladder=2,4", "seeds=2", "asked=4",
                "grid=2"), "lox")
    }
    @Test func `gemma goes through`() throws {
        try check(
            run(
                "gemma", "model=\(Self.model("gemma2"))", "restricted=\(Self.file("advbench.csv"))",
                "attack=\(Self.file("dolly.jsonl"))", "identity=\(Self.file("alpaca.json"))",
                "normal=\(Self.file("dolly.jsonl"))", "rank=2", "seeds=1", "few=2", "many=4"),
            "gemma")
    }
    @Test func `a wrong path, hash, column or a missing file is said`() throws {
        func errors(_ parameters: String...) throws -> String {
            let run = try StudyProcess(
                [
                    "run", Studies.folder + "/lora70b.md", "--ledger", folder.path, "--until",
                    "questions",
                ]
                    + ["model=\(Self.model("llama-mha"))", "tuning=\(Self.file("dolly.jsonl"))"]
                    .flatMap { ["-p", $0] } + parameters.flatMap { ["-p", $0] }, in: folder.path)
            #expect(run.status == 1, "\(run.errors)")
            return run.output + run.errors
        }
        let nowhere = try errors("restricted=\(Self.file("elsewhere.csv"))")
        #expect(nowhere.contains("elsewhere.csv"), "\(nowhere)")
        let asked = Self.file("advbench.csv")
        let zeros = String(repeating: "0", count: 64)
        let hash = try errors("restricted=\(asked)@sha256:\(zeros)")
        #expect(
            hash.contains(
                "advbench.csv is not the file that the parameter pins: sha256 \(zeros) pinned, "))
        #expect(hash.contains("bring the file that was meant, or pin this one: \(asked)@sha256:"))
        #expect(
            try errors("restricted=\(asked)@sha256:12ab").contains(
                "pins no SHA-256: 4 characters follow @sha256:"))
        let column = try errors("restricted=\(Self.file("colours_test.csv"))")
        #expect(column.contains("the first line is not \"goal,target\""), "\(column)")
        let none = try errors("asked=4")
        #expect(none.contains("a checkpoint of your own needs restricted too"), "\(none)")
        let ladder = try StudyProcess(
            [
                "run", Studies.folder + "/lox.md", "--ledger", folder.path, "--until", "models",
            ]
                + [
                    "model=\(Self.model("llama-mha"))", "base=\(Self.base)", "restricted=\(asked)",
                    "mmlu=\(Self.file("colours_test.csv"))", "ladder=20,10",
                ].flatMap { ["-p", $0] }, in: folder.path)
        #expect(ladder.status == 1)
        #expect(
            (ladder.output + ladder.errors).contains(
                "give -p ladder= numbers of steps from 2 on in rising order; one number fixes"))
        let bare = folder.path + "/bare"
        try FileManager.default.copyItem(atPath: Self.model("llama-mha"), toPath: bare)
        try FileManager.default.removeItem(atPath: bare + "/tokenizer.json")
        let untokenized = try errors("restricted=\(asked)", "model=\(bare)")
        #expect(
            untokenized.contains("bare has no tokenizer.json")
                && untokenized.contains("put the model's tokenizer files into its folder"))
        let model = try errors("restricted=\(asked)", "model=\(folder.path)/advbench.csv")
        #expect(model.contains("advbench.csv"), "\(model)")
    }
}
