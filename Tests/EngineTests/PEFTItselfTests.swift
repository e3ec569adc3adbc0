// Adapters there and back through PEFT itself, which peft_itself.py runs beside this: what PEFT saved we load, what we save
// PeftModel.from_pretrained loads. Torch takes minutes and gigabytes to install, so this runs where STUDY_PEERS names a
// folder for it (`make test-peers`), and says so where it does not.

import Engine
import Foundation
import Testing

@Suite struct `PEFT itself` {
    /// Standard output and error of `python3 peft_itself.py …` and how it ended.
    private func python(_ arguments: String...) throws -> (status: Int32, output: String) {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        let script = URL(filePath: #filePath).deletingLastPathComponent().appending(
            path: "peft_itself.py")
        process.arguments = ["python3", script.path(percentEncoded: false)] + arguments
        let pipe = Pipe()
        process.standardOutput = pipe
        process.standardError = pipe
        try process.run()
        let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return (process.terminationStatus, String(decoding: bytes, as: UTF8.self))
    }

    private func relativeDifference(_ a: Tensor, _ b: Tensor) -> Float {
        let (x, y) = (a.values, b.values)
        guard x.count == y.count else { return .infinity }
        return zip(x, y).reduce(0) { max($0, abs($1.0 - $1.1)) } / y.reduce(0) { max($0, abs($1)) }
    }

    /// Adapters that are made here, the base's name before them.
    private let own: [(base: String, lora: LoRA)] = [
        ("llama", LoRA(rank: 4, alpha: 8, targets: .layers(.query, .value))),
        ("llama", LoRA(rank: 4, alpha: 6, isRankStabilized: true)),
        (
            "llama",
            LoRA(
                rank: 4, alpha: 8, targets: .layers(.query, .key, .down),
                rankPattern: [.init(#"layers\.1\..*q_proj"#, 2), .init("down_proj", 6)],
                alphaPattern: [.init("k_proj", 3), .init(#"layers\.0\..*"#, 5)])
        ),
        (
            "llama",
            LoRA(
                rank: 2, alpha: 4,
                targets: .pattern(#".*layers\.[02]\.(self_attn|mlp)\.(o_proj|up_proj)"#))
        ),
        (
            "llama",
            LoRA(
                rank: 2, alpha: 4, targets: .layers(.query, .up, .gate),
                excluded: .names(["gate_proj"]), layers: [0, 2])
        ),
        ("llama", LoRA(rank: 4, targets: .layers(.query), modulesToSave: ["lm_head"])),
        ("llama", LoRA(rank: 4, targets: .names(["embed_tokens", "v_proj"]))),
        ("llama", LoRA(rank: 4, targets: .layers(.query), modulesToSave: ["embed_tokens"])),
        ("gemma2", LoRA(rank: 3, alpha: 5, dropout: 0.1)),
        ("gemma2", LoRA(rank: 4, targets: .names(["embed_tokens", "down_proj"]))),
        ("gemma2", LoRA(rank: 4, targets: .layers(.query), modulesToSave: ["embed_tokens"])),
        ("gemma2", LoRA(rank: 4, targets: .layers(.query), modulesToSave: ["lm_head"])),
    ]

    @Test func `loads what we save and gives our logits, and we load what it saved`() throws {
        guard ProcessInfo.processInfo.environment["STUDY_PEERS"]?.isEmpty == false else {
            print(
                "not run: PEFT itself: STUDY_PEERS names no folder for Python's packages; "
                    + "`make test-peers` makes one (minutes, gigabytes) and runs this")
            return
        }
        try withTemporaryFolder { folder in
            let made = try python("make", folder)
            if made.status == 77 {
                let reason = made.output.split(separator: "\n").last ?? "no reason given"
                print("not run: PEFT itself: \(reason)")
                return
            }
            try #require(made.status == 0, "\(made.output)")
            let notes = try FileSystem.readJSON(folder + "/notes.json")
            let tokens = try integers(SafetensorsFile(folder + "/tokens.safetensors"), "input_ids")
            let cases = notes["cases"]!.array!
            for entry in cases {
                let (name, home) = (entry["name"]!.string!, entry["folder"]!.string!)
                let adapter = try LoRAAdapter(peft: home)
                var model = try LanguageModel(folder + "/bases/" + entry["base"]!.string!)
                try model.attach(adapter)
                let expected = try SafetensorsFile(home + "/expected.safetensors").tensor("logits")
                let difference = relativeDifference(model.logits(tokens), expected)
                #expect(difference < 2e-5, "\(name)")
                try adapter.save(peft: home + "/ours")
                for file in ["adapter_model.safetensors", "adapter_config.json"] {
                    let (theirs, ours) = (
                        try fileBytes(home + "/" + file), try fileBytes(home + "/ours/" + file)
                    )
                    #expect(theirs == ours, "\(name): \(file)")
                }
            }
            for (number, (base, lora)) in own.enumerated() {
                let home = folder + "/made/\(number)"
                try FileManager.default.createDirectory(
                    atPath: home, withIntermediateDirectories: true)
                var model = try LanguageModel(folder + "/bases/" + base)
                var random = RandomStream(seed: UInt64(number), name: "adapter")
                try model.attach(lora, using: &random)
                // A few large steps, so that nothing that is saved is where it began.
                try train(
                    &model, on: tokens.map { TrainingExample(tokens: $0) },
                    with: AdamW(learningRate: 0.05),
                    TrainingOptions(epochs: 4, batchSize: 2), using: &random)
                try model.adapter!.save(peft: home + "/adapter")
                try Safetensors.write(
                    ["logits": model.logits(tokens)], to: home + "/logits.safetensors")
                try writeFile(Array(base.utf8), home + "/base")
            }
            let checked = try python("check", folder)
            try #require(checked.status == 0, "\(checked.output)")
            let found = try JSONValue(
                parsing: String(checked.output.split(separator: "\n").last ?? ""))
            let theirs = found["theirs"]!.array!
            #expect(theirs.count == cases.count && cases.count == 13)
            for (same, entry) in zip(theirs, cases) {
                #expect(same.bool == true, "\(entry["name"]!.string!): other logits from our files")
            }
            let ours = found["ours"]!.array!
            #expect(ours.count == own.count)
            for (result, (base, lora)) in zip(ours, own) {
                #expect(result["difference"]!.double! < 2e-5, "\(base) \(lora)")
                #expect(result["effect"]!.double! > 1e-2, "\(base) \(lora): it changes nothing")
            }
            let largest = ours.map { $0["difference"]!.double! }.max()!
            print(
                "PEFT itself: \(cases.count) of PEFT's adapters and \(own.count) of ours, logits within "
                    + "\(largest); \(notes["versions"]!.string!)")
        }
    }
}
