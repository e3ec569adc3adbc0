// config.json: what each family leaves out, what is refused, and what is written back.

import Engine
import Testing

@Suite struct `Model configurations` {
    /// The smallest file of a family.
    static func json(_ type: String, _ more: [(String, JSONValue)] = []) -> JSONValue {
        .object(
            JSONObject(
                [
                    ("model_type", .string(type)), ("vocab_size", 32), ("hidden_size", 16),
                    ("intermediate_size", 24), ("num_hidden_layers", 7),
                    ("num_attention_heads", 8),
                ] + more))
    }
    static func read(_ type: String, _ more: [(String, JSONValue)] = []) throws
        -> ModelConfiguration
    {
        try ModelConfiguration(json: json(type, more))
    }

    // transformers 5.23, configuration_*.py: the defaults of keys that a file does not have.
    @Test func `have each family's defaults`() throws {
        let llama = try Self.read("llama")
        #expect(llama.keyValueHeadCount == 8 && llama.headDimension == 2 && !llama.tiesEmbeddings)
        #expect(llama.ropeTheta == 10_000 && llama.normEpsilon == 1e-6 && llama.activation == .silu)
        let mistral = try Self.read("mistral")
        #expect(mistral.slidingWindow == 4096 && mistral.slidingLayers.allSatisfy { $0 })
        #expect(mistral.keyValueHeadCount == 8)
        #expect(try Self.read("mistral", [("sliding_window", .null)]).slidingWindow == nil)
        let gemma = try Self.read("gemma", [("hidden_act", "gelu")])
        #expect(gemma.tiesEmbeddings && gemma.headDimension == 256 && gemma.activation == .geluTanh)
        #expect(gemma.normAddsOne && gemma.scalesEmbeddings && !gemma.hasPostNorms)
        let gemma2 = try Self.read("gemma2")
        #expect(gemma2.attentionSoftCap == 50 && gemma2.finalSoftCap == 30)
        #expect(gemma2.queryScalar == 256 && gemma2.keyValueHeadCount == 4)
        #expect(gemma2.slidingLayers == [true, false, true, false, true, false, true])
        #expect(gemma2.hasPostNorms && !gemma2.hasQueryKeyNorms)
        let gemma3 = try Self.read("gemma3_text")
        #expect(gemma3.slidingLayers == [true, true, true, true, true, false, true])
        #expect(gemma3.ropeTheta == 1_000_000 && gemma3.localRopeTheta == 10_000)
        #expect(
            gemma3.attentionSoftCap == nil && gemma3.finalSoftCap == nil && gemma3.hasQueryKeyNorms)
    }

    // The reference never passes Gemma 3's attn_logit_softcapping on to attention.
    @Test func `ignore what the reference ignores`() throws {
        let gemma3 = try Self.read("gemma3_text", [("attn_logit_softcapping", 50)])
        #expect(gemma3.attentionSoftCap == nil)
    }

    @Test func `refuse by name what they do not compute`() throws {
        func message(_ type: String, _ more: [(String, JSONValue)] = []) -> String {
            #expect(throws: ModelError.self) { _ = try Self.read(type, more) }?.description ?? ""
        }
        #expect(
            message("gpt2").hasPrefix("The model type \"gpt2\" is not one that the engine knows."))
        #expect(
            message("llama", [("hidden_act", "relu")])
                .hasPrefix(
                    "The model wants activation \"relu\", which the engine does not compute."))
        let yarn: JSONValue = .object(JSONObject([("rope_type", "yarn"), ("factor", 4.0)]))
        #expect(
            message("llama", [("rope_scaling", yarn)])
                .hasPrefix("The model wants rope scaling \"yarn\""))
        #expect(
            message("gemma3_text", [("layer_types", .array(["full_attention"]))])
                == """
                The configuration's "layer_types" is not one entry for each of 7 layers.
                  where: config.json
                  mend:  Correct it in config.json.
                """)
        let empty = JSONValue.object(JSONObject([("model_type", "llama")]))
        let error = #expect(throws: ModelError.self) { _ = try ModelConfiguration(json: empty) }
        #expect(error?.reason == .missingKey("num_attention_heads"))
    }

    @Test func `round √hidden to the weights' type`() {
        #expect(Transformer.embeddingScale(2048, .bf16) == 45.25)
        #expect(Transformer.embeddingScale(3072, .bf16) == 55.5)
        #expect(Transformer.embeddingScale(2304, .bf16) == 48)
        #expect(Transformer.embeddingScale(2560, .bf16) == 50.5)
        #expect(Transformer.embeddingScale(2048, .f32) == Float(2048).squareRoot())
    }

    // Wavelengths 2π/f: f = 1 is short and stays; f = 1e-4 is long and is divided; f = 2π/4096 lies
    // between 8192/4 and 8192/1, where smooth = (8192/4096 − 1)/3 = 1/3: f · (2/3/8 + 1/3) = f · 5/12.
    @Test func `stretch rotary frequencies as llama3 does`() {
        let scaling = RopeScaling.llama3(
            factor: 8, lowFrequency: 1, highFrequency: 4, originalLength: 8192)
        let middle = 2 * Double.pi / 4096
        for (theta, index, expected) in [
            (1e8, 0, 1.0), (1e8, 1, 1e-4 / 8), (1 / (middle * middle), 1, middle * 5 / 12),
        ] {
            let rope = RotaryEmbedding(headDimension: 4, theta: theta, scaling: scaling)
            #expect(abs(Double(rope.frequencies[index]) / expected - 1) < 1e-6)
        }
        let linear = RotaryEmbedding(headDimension: 4, theta: 1e4, scaling: .linear(factor: 8))
        #expect(linear.frequencies == [0.125, Float(0.01) / 8])
    }

    @Test(arguments: ["language_model.", "model.language_"])
    func `find Gemma 3's language part in a multimodal checkpoint`(style: String) throws {
        let text = try LanguageModel(fixture("models/gemma3"))
        try withTemporaryFolder { folder in
            var tensors: [String: Tensor] = ["vision_tower.patch.weight": Tensor(zeros: [2, 2])]
            for name in text.weights.keys {
                let moved =
                    style == "language_model."
                    ? style + name : "model.language_model." + name.dropFirst("model.".count)
                tensors[moved] = text[name]
            }
            try Safetensors.write(tensors, to: folder + "/model.safetensors")
            let configuration = JSONValue.object(
                JSONObject([
                    ("model_type", "gemma3"),
                    ("text_config", try FileSystem.readJSON(fixture("models/gemma3/config.json"))),
                ]))
            try FileSystem.write(configuration.bytes(), to: folder + "/config.json")
            let tokens: [[Int32]] = [[2, 7, 11, 4]]
            #expect(sameBits(try LanguageModel(folder).logits(tokens), text.logits(tokens)))
        }
    }

    @Test func `say which weight is missing or misshapen`() throws {
        let model = tinyModel()
        try withTemporaryFolder { folder in
            try model.save(to: folder)
            let path = folder + "/model.safetensors"
            var tensors = model.weights.keys.reduce(into: [String: Tensor]()) { $0[$1] = model[$1] }
            tensors["model.norm.weight"] = Tensor(zeros: [23])
            try Safetensors.write(tensors, to: path)
            var error = #expect(throws: ModelError.self) { _ = try LanguageModel(folder) }
            #expect(
                error?.reason == .wrongShape("model.norm.weight", found: [23], expected: [24]))
            tensors["model.norm.weight"] = nil
            try Safetensors.write(tensors, to: path)
            error = #expect(throws: ModelError.self) { _ = try LanguageModel(folder) }
            #expect(error?.reason == .missingWeight("model.norm.weight"))
        }
    }

    @Test func `give biases where the file says so`() throws {
        var configuration = tinyModel().configuration
        configuration.hasAttentionBias = true
        configuration.hasMLPBias = true
        var random = RandomStream(seed: 1, name: "biases")
        var model = LanguageModel(configuration: configuration, using: &random)
        let before = model.logits([[1, 2, 3]])
        #expect(model["model.layers.0.mlp.down_proj.bias"].shape == [24])
        var bias = model["model.layers.0.mlp.down_proj.bias"]
        bias.withUnsafeMutableFloats { $0[0] = 1 }
        model["model.layers.0.mlp.down_proj.bias"] = bias
        #expect(!sameBits(model.logits([[1, 2, 3]]), before))
        try train(
            &model, on: tinyExamples(8), with: AdamW(learningRate: 1e-2), epochs: 1, using: &random)
        #expect(model["model.layers.1.self_attn.q_proj.bias"].withUnsafeFloats { $0[0] } != 0)
    }
}
