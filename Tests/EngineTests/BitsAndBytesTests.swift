// Checkpoints that bitsandbytes quantized (Fixtures/quant/checkpoint-*, made by make_checkpoints.py): loaded with
// its codes and scales, computed as it computes, refused by name where they say something else.

import Engine
import Testing

@Suite struct `Checkpoints of bitsandbytes` {
    static func folder(_ name: String) -> String { fixture("quant/checkpoint-\(name)") }
    static let layer = "model.layers.0.mlp.down_proj.weight"

    @Test(arguments: ["nf4", "nf4-plain", "int8"])
    func `are loaded with their codes and give the library's logits`(name: String) throws {
        let model = try LanguageModel(Self.folder(name))
        let expected = try SafetensorsFile(Self.folder(name) + "/expected.safetensors")
        let weight = try #require(model.weights[Self.layer])
        switch weight {
        case .nf4(let matrix): #expect((matrix.doubleQuantization != nil) == (name == "nf4"))
        case .int8(let matrix): #expect(matrix.decomposition?.threshold == 2)
        case .dense: Issue.record("\(Self.layer) is dense")
        }
        let decoded = try expected.tensor("down_proj")
        #expect(sameBits(weight.dequantized(), decoded))
        // Each text alone: in 8 bits the columns with outliers depend on the batch.
        let wanted = try expected.tensor("logits").values
        let largest = wanted.reduce(0) { max($0, Double(abs($1))) }
        let tokens = try integers(expected, "input_ids")
        let size = wanted.count / tokens.count
        let differences = tokens.enumerated().map { row, tokens in
            largestDifference(
                model.logits([tokens]).values, wanted[row * size..<(row + 1) * size]) / largest
        }
        print("bitsandbytes, \(name): logits differ by", differences)
        // In 8 bits a rounding of 1e-7 can carry an input over a half: one code of some ten thousand.
        #expect(differences.count { $0 < 2e-5 } >= (name == "int8" ? 6 : 8))
        #expect(differences.allSatisfy { $0 < 5e-3 })
        // Only the layers of the blocks are in few bits.
        #expect(model.weightBytes < 4 * model.parameterCount / 2)
        var random = RandomStream(seed: 1, name: "qlora")
        var adapted = model
        try adapted.attach(LoRA(rank: 2), using: &random)
        let summary = try train(
            &adapted,
            on: [TrainingExample(prompt: [3, 4], completion: [5, 6, 7])],
            with: AdamW(learningRate: 1e-2), TrainingOptions(epochs: 4), using: &random)
        #expect(summary.losses.last! < summary.losses[0])
    }

    @Test func `hold what the engine itself quantizes to`() throws {
        let model = try LanguageModel(Self.folder("nf4-plain"))
        guard case .nf4(let stored)? = model.weights[Self.layer] else {
            Issue.record("not NF4")
            return
        }
        // What a block decodes to quantizes to the same block: each has an element at ±absmax.
        let again = NF4Matrix(quantizing: stored.dequantized())
        #expect(sameBits(again.absmax, stored.absmax))
        #expect(sameBits(again.dequantized(), stored.dequantized()))
    }

    @Test func `are saved dense once they are decoded`() throws {
        let model = try LanguageModel(Self.folder("nf4"))
        try withTemporaryFolder { folder in
            let error = #expect(throws: ModelError.self) { try model.save(to: folder) }
            guard case .quantized? = error?.reason else {
                Issue.record("\(String(describing: error))")
                return
            }
            try model.dequantized().save(to: folder)
            let configuration = try FileSystem.readJSON(folder + "/config.json")
            #expect(configuration["quantization_config"] == nil)
            let tokens: [[Int32]] = [[3, 9, 21, 39]]
            #expect(sameBits(try LanguageModel(folder).logits(tokens), model.logits(tokens)))
        }
    }

    // MARK: Refusals

    /// The error of a checkpoint with some tensors changed and some fields of its configuration.
    static func refusal(
        _ name: String, fields: [String: JSONValue] = [:],
        _ change: (inout [String: Tensor]) -> Void = { _ in }
    ) throws -> String {
        try withTemporaryFolder { folder in
            let file = try SafetensorsFile(Self.folder(name) + "/model.safetensors")
            var tensors: [String: Tensor] = [:]
            for name in file.names { tensors[name] = try file.tensor(name) }
            change(&tensors)
            try Safetensors.write(tensors, to: folder + "/model.safetensors")
            var configuration = try FileSystem.readJSON(Self.folder(name) + "/config.json").object!
            var quantization = configuration["quantization_config"]!.object!
            for (key, value) in fields { quantization[key] = value }
            configuration["quantization_config"] = .object(quantization)
            try FileSystem.write(
                JSONValue.object(configuration).bytes(), to: folder + "/config.json")
            do {
                _ = try LanguageModel(folder)
                return "loaded"
            } catch { return "\(error)" }
        }
    }

    static func notes(_ text: String) -> Tensor {
        var tensor = Tensor(zeros: [text.utf8.count], dtype: .u8)
        tensor.withUnsafeMutableBytes { $0.copyBytes(from: Array(text.utf8)) }
        return tensor
    }

    @Test func `are refused by name where they say what is not computed here`() throws {
        let state = Self.layer + ".quant_state.bitsandbytes__nf4"
        #expect(
            try Self.refusal("nf4", fields: ["quant_method": "gptq"]).hasPrefix(
                "The model wants weights quantized by gptq, which the engine does not compute."))
        let plain = #"{"quant_type":"nf4","blocksize":64,"dtype":"float32","shape":[128,192]}"#
        func refused(_ from: String, _ to: String) throws -> String {
            try Self.refusal("nf4-plain") {
                let text = plain.split(separator: from, maxSplits: 1).joined(separator: to)
                $0[state] = Self.notes(text)
            }
        }
        #expect(try refused("128", "128") == "loaded")
        #expect(
            try refused("64", "128").hasPrefix(
                "The field blocksize is 128, which this engine does not honour."))
        #expect(
            try refused("\"nf4\"", "\"af4\"").hasPrefix(
                "The field quant_type is \"af4\", which this engine does not honour."))
        #expect(
            try refused("192", "96").hasPrefix(
                "\(Self.layer) is [128, 96], and config.json says [128, 192]."))
        #expect(
            try refused("]", "").hasPrefix(
                "The field \(state) is malformed: it is not JSON at byte 69:"))
        #expect(
            try Self.refusal("nf4-plain") {
                $0[state] = nil
                $0[Self.layer + ".quant_state.bitsandbytes__fp4"] = Self.notes("{}")
            }.hasPrefix(
                "The field bnb_4bit_quant_type is \"fp4\", which this engine does not honour."))
        #expect(
            try Self.refusal("nf4") { $0[Self.layer + ".nested_absmax"] = nil }.hasPrefix(
                "There is no tensor \"\(Self.layer).nested_absmax\"."))
        #expect(
            try Self.refusal("nf4") {
                $0[Self.layer + ".quant_map"] = Tensor(zeros: [16])
            }.hasPrefix(
                "The field \(Self.layer).quant_map is another code book, which this engine"))
        #expect(
            try Self.refusal("nf4-plain") {
                $0[Self.layer + ".absmax"] = Tensor(zeros: [383])
            }.hasPrefix(
                "The tensor \"\(Self.layer).absmax\" spans 1532 bytes, where its shape and type "
                    + "want 1536."))
        #expect(
            try Self.refusal("nf4-plain") {
                $0[Self.layer + ".absmax"] = Tensor(zeros: [3, 128], dtype: .bf16)
            }.hasPrefix(
                "The field \(Self.layer).absmax is malformed: it is BF16 [3, 128], not F32 [384]; "
                    + "the library leaves scales so in a model that ran on the CPU before it was saved."
            ))
        #expect(
            try Self.refusal("int8") {
                var format = Tensor(zeros: [1], dtype: .u8)
                format.withUnsafeMutableBytes { $0[0] = 2 }
                $0["model.layers.0.mlp.down_proj.weight_format"] = format
            }.hasPrefix("The field model.layers.0.mlp.down_proj.weight_format is [2], which"))
        #expect(
            try Self.refusal("int8") { $0["model.layers.0.mlp.down_proj.SCB"] = nil }.hasPrefix(
                "There is no tensor \"model.layers.0.mlp.down_proj.SCB\"."))
        let again = #expect(throws: ModelError.self) {
            _ = try LanguageModel(Self.folder("nf4"), quantization: .int8)
        }
        guard case .quantized? = again?.reason else {
            Issue.record("\(String(describing: again))")
            return
        }
    }
}
