import Engine
import Foundation
import Testing

@Suite struct `PEFT adapters` {
    static let names = ["llama-mha", "gemma2"]
    static func folder(_ name: String) -> String { fixture("lora/\(name)/adapter") }

    /// An adapter folder made of a configuration's changed fields and the given tensors.
    static func read(
        _ changes: [String: JSONValue], tensors: [String: Tensor]? = nil
    ) throws -> LoRAAdapter {
        try withTemporaryFolder { folder in
            var fields = try FileSystem.readJSON(
                Self.folder("llama-mha") + "/adapter_config.json"
            ).object!
            for (key, value) in changes { fields[key] = value }
            try FileSystem.write(
                JSONValue.object(fields).bytes(), to: folder + "/adapter_config.json")
            let weights = folder + "/adapter_model.safetensors"
            if let tensors {
                try Safetensors.write(tensors, to: weights)
            } else {
                try FileManager.default.copyItem(
                    atPath: Self.folder("llama-mha") + "/adapter_model.safetensors",
                    toPath: weights)
            }
            return try LoRAAdapter(peft: folder)
        }
    }

    static func update(_ path: String, rank: Int = 4) -> [String: Tensor] {
        [
            "base_model.model.\(path).lora_A.weight": Tensor(zeros: [rank, 6]),
            "base_model.model.\(path).lora_B.weight": Tensor(zeros: [5, rank]),
        ]
    }

    static func refusal(_ changes: [String: JSONValue], tensors: [String: Tensor]? = nil)
        -> CheckpointError.Reason?
    {
        let error = #expect(throws: CheckpointError.self) {
            _ = try Self.read(changes, tensors: tensors)
        }
        return error?.reason
    }

    @Test(arguments: names) func `are read by module path, with shapes and scale`(name: String)
        throws
    {
        let adapter = try LoRAAdapter(peft: Self.folder(name))
        #expect(adapter.configuration.rank == 4)
        #expect(adapter.configuration.alpha == 8)
        #expect(adapter.modules.count == (name == "llama-mha" ? 3 : 4) * 7)
        let module = try #require(adapter.modules["model.layers.1.mlp.down_proj"])
        #expect(module.scale == 2)
        #expect(module.a.shape[0] == 4 && module.b.shape[1] == 4)
        #expect(adapter.origin?.warnings == [])
    }

    @Test(arguments: names)
    func `are saved as PEFT saves them, byte for byte`(name: String) throws {
        let adapter = try LoRAAdapter(peft: Self.folder(name))
        try withTemporaryFolder { folder in
            try adapter.save(peft: folder + "/new/adapter")
            let saved = folder + "/new/adapter/"
            #expect(
                try fileBytes(saved + "adapter_model.safetensors")
                    == fileBytes(Self.folder(name) + "/adapter_model.safetensors"))
            // The fixture's configuration was laid out again with one space; PEFT itself uses two.
            let original = try FileSystem.readJSON(Self.folder(name) + "/adapter_config.json")
            #expect(
                try fileBytes(saved + "adapter_config.json")
                    == original.bytes(.sortedConfiguration))
        }
    }

    @Test func `made here have the configuration that PEFT would write`() throws {
        let module = LoRAModule(
            a: Tensor(zeros: [2, 3]), b: Tensor(zeros: [5, 2]), scale: 2.5)
        let adapter = LoRAAdapter(
            configuration: LoRA(
                rank: 2, alpha: 5, targets: .allLinear, dropout: 0.1,
                rankPattern: [.init("q_proj", 3)], modulesToSave: ["lm_head"]),
            modules: ["model.layers.0.self_attn.v_proj": module],
            savedModules: ["lm_head.weight": Tensor(zeros: [2, 2])])
        try withTemporaryFolder { folder in
            try adapter.save(peft: folder, baseModel: "models/base")
            let fields = try FileSystem.readJSON(folder + "/adapter_config.json")
            let reference = try FileSystem.readJSON(
                Self.folder("llama-mha") + "/adapter_config.json")
            #expect(
                fields.object!.keys == reference.object!.keys.filter { $0 != "peft_version" })
            #expect(fields["target_modules"] == ["v_proj"])
            #expect(fields["lora_alpha"]?.text() == "5")
            #expect(fields["lora_dropout"] == 0.1)
            #expect(fields["rank_pattern"] == ["q_proj": 3])
            #expect(fields["base_model_name_or_path"] == "models/base")
            let again = try LoRAAdapter(peft: folder)
            #expect(again.modules.keys.sorted() == ["model.layers.0.self_attn.v_proj"])
            #expect(again.savedModules.keys.sorted() == ["lm_head.weight"])
            #expect(again.configuration.dropout == 0.1)
        }
    }

    @Test func `scale by the square root of the rank where stabilised`() throws {
        let adapter = try Self.read(["use_rslora": true])
        #expect(adapter.modules["model.layers.0.self_attn.q_proj"]?.scale == 4)  // 8 / √4
    }

    @Test func `take ranks and alphas from the first pattern that matches`() throws {
        let path = "model.layers.0.self_attn.q_proj"
        let adapter = try Self.read(
            [
                "rank_pattern": ["layers\\.0\\.self_attn\\..*": 2, "q_proj": 16],
                "alpha_pattern": ["q_proj": 3, ".*": 100],
            ], tensors: Self.update(path, rank: 2))
        #expect(adapter.modules[path]?.scale == 1.5)
        let lora = adapter.configuration
        #expect(lora.rank(of: "model.layers.1.self_attn.q_proj") == 16)
        #expect(lora.rank(of: "model.layers.1.self_attn.v_proj") == 4)
        // The pattern must match from a segment's start to the path's end.
        #expect(lora.rank(of: "model.layers.1.xq_proj") == 4)
        #expect(lora.rank(of: "model.layers.1.q_proj.base") == 4)
    }

    @Test func `refuse tensors of another rank than the configuration's`() {
        let path = "model.layers.0.self_attn.q_proj"
        let reason = Self.refusal(["rank_pattern": ["q_proj": 3]], tensors: Self.update(path))
        #expect(
            reason
                == .malformedAdapter("\"\(path)\" has A [4, 6] and B [5, 4], where its rank is 3"))
    }

    @Test func `match targets as PEFT does`() throws {
        let q0 = "model.layers.0.self_attn.q_proj"
        #expect(LoRA(targets: .names(["q_proj"])).targets(q0))
        #expect(LoRA(targets: .names(["self_attn.q_proj"])).targets(q0))
        #expect(!LoRA(targets: .names(["proj"])).targets(q0))
        #expect(LoRA(targets: .pattern(".*\\.(q|v)_proj")).targets(q0))
        #expect(!LoRA(targets: .pattern("q_proj")).targets(q0))
        #expect(LoRA(targets: .allLinear).targets(q0))
        #expect(!LoRA(targets: .allLinear).targets("lm_head"))
        #expect(LoRA(targets: .names(["lm_head"])).targets("lm_head"))
        #expect(!LoRA(targets: .allLinear, excluded: .names(["q_proj"])).targets(q0))
        #expect(!LoRA(targets: .allLinear, layers: [1, 10]).targets(q0))
        #expect(LoRA(targets: .allLinear, layers: [1, 10]).targets("model.layers.10.mlp.up_proj"))
    }

    @Test func `leave out, with a warning, what the targets do not name`() throws {
        let adapter = try Self.read(["target_modules": "model\\.layers\\.[01]\\..*"])
        #expect(adapter.modules.count == 14)
        #expect(adapter.origin?.warnings.count == 7)
        #expect(
            adapter.origin?.warnings.first
                == "model.layers.2.mlp.down_proj is not among target_modules and is left out, "
                + "as PEFT does")
    }

    @Test(arguments: [
        "model.layers.3.mlp.up_proj", "model.language_model.layers.3.mlp.up_proj",
        "language_model.model.layers.3.mlp.up_proj",
    ])
    func `know Gemma 3's multimodal names, and save them as they came`(path: String) throws {
        let adapter = try Self.read([:], tensors: Self.update(path))
        #expect(adapter.modules.keys.sorted() == ["model.layers.3.mlp.up_proj"])
        try withTemporaryFolder { folder in
            try adapter.save(peft: folder)
            let file = try SafetensorsFile(folder + "/adapter_model.safetensors")
            #expect(
                file.names == [
                    "base_model.model.\(path).lora_A.weight",
                    "base_model.model.\(path).lora_B.weight",
                ])
        }
    }

    @Test func `read whole modules, adapter names and bf16`() throws {
        let a = Tensor(zeros: [4, 6], dtype: .bf16)
        let adapter = try Self.read(
            ["modules_to_save": ["lm_head"]],
            tensors: [
                "base_model.model.model.layers.0.mlp.up_proj.lora_A.default.weight": a,
                "base_model.model.model.layers.0.mlp.up_proj.lora_B.default.weight":
                    Tensor(zeros: [5, 4]),
                "base_model.model.lm_head.modules_to_save.default.weight": Tensor(zeros: [7, 6]),
            ])
        #expect(adapter.modules["model.layers.0.mlp.up_proj"]?.a.dtype == .f32)
        #expect(adapter.savedModules["lm_head.weight"]?.shape == [7, 6])
        #expect(adapter.configuration.savesWhole("lm_head"))
    }

    @Test func `keep unknown fields, with a warning`() throws {
        let adapter = try Self.read(["brand_new": [1, 2]])
        #expect(
            adapter.origin?.warnings
                == ["the field brand_new of adapter_config.json is not known here; it is kept"])
        try withTemporaryFolder { folder in
            try adapter.save(peft: folder)
            let fields = try FileSystem.readJSON(folder + "/adapter_config.json")
            #expect(fields["brand_new"] == [1, 2])
        }
    }

    static let refused: [(String, JSONValue)] = [
        ("peft_type", "IA3"), ("use_dora", true), ("layer_replication", [[0, 2]]),
        ("use_qalora", true), ("lora_bias", true), ("bias", "all"), ("bias", "lora_only"),
        ("fan_in_fan_out", true), ("target_parameters", ["w"]),
        ("trainable_token_indices", [1, 2]), ("alora_invocation_tokens", [1]),
        ("arrow_config", [:]), ("use_bdlora", true), ("velora_config", [:]),
        ("kasa_config", [:]), ("monteclora_config", [:]), ("ensure_weight_tying", true),
        ("megatron_config", [:]), ("task_type", "SEQ_CLS"), ("loftq_config", ["loftq_bits": 4]),
        ("corda_config", [:]), ("lora_ga_config", [:]), ("init_lora_weights", "pissa"),
        ("init_lora_weights", "olora"), ("layers_pattern", "blocks"),
    ]
    @Test(arguments: 0..<refused.count)
    func `refuse by name what this engine does not honour`(index: Int) {
        let (field, value) = Self.refused[index]
        #expect(
            Self.refusal([field: value])
                == .unsupportedField(field: field, value: value.text()))
    }

    @Test func `refuse malformed fields by name`() {
        #expect(
            Self.refusal(["r": 0])
                == .malformedField(field: "r", message: "0 is not a positive integer"))
        #expect(
            Self.refusal(["target_modules": "("])
                == .malformedField(
                    field: "target_modules", message: "\"(\" is not a regular expression"))
        #expect(
            Self.refusal(["rank_pattern": ["[": 3]])
                == .malformedField(
                    field: "rank_pattern", message: "\"[\" is not a regular expression"))
        #expect(
            Self.refusal(["lora_dropout": 2])
                == .malformedField(
                    field: "lora_dropout", message: "2.0 is not between 0 and 1"))
    }

    @Test func `refuse tensors they cannot place`() {
        let path = "base_model.model.model.layers.0.mlp.up_proj"
        #expect(
            Self.refusal([:], tensors: [path + ".lora_A.weight": Tensor(zeros: [4, 6])])
                == .malformedAdapter(
                    "\"model.layers.0.mlp.up_proj\" has only one of lora_A and lora_B"))
        #expect(
            Self.refusal([:], tensors: [path + ".lora_magnitude_vector": Tensor(zeros: [4])])
                == .malformedAdapter(
                    "\"\(path).lora_magnitude_vector\" is of a kind this engine does not know, "
                        + "lora_magnitude_vector"))
        #expect(
            Self.refusal(
                [:], tensors: ["base_model.model.e.lora_embedding_A": Tensor(zeros: [4, 6])])
                == .unsupportedField(field: "target_modules", value: "the embedding e"))
        #expect(
            Self.refusal([:], tensors: ["w": Tensor(zeros: [4])])
                == .malformedAdapter("\"w\" does not begin with base_model.model."))
    }

    @Test func `begin with PEFT's numbers, in f32 over any base`() throws {
        var model = tinyModel().converted(to: .bf16)
        var random = RandomStream(seed: 1, name: "init")
        try model.attach(LoRA(rank: 200), using: &random)
        for (path, shape) in model.linearLayers {
            let module = try #require(model.adapter?.modules[path])
            #expect(module.a.dtype == .f32 && module.b.dtype == .f32)
            #expect(module.b.values.allSatisfy { $0 == 0 })
            // kaiming_uniform(a: √5): uniform in ±1/√input, whose deviation is the bound over √3.
            let bound = 1 / Float(shape[1]).squareRoot()
            let values = module.a.values
            #expect(values.allSatisfy { abs($0) <= bound })
            #expect(values.max()! > 0.99 * bound && values.min()! < -0.99 * bound)
            let square = values.reduce(0) { $0 + $1 * $1 } / Float(values.count)
            #expect(abs(square.squareRoot() * Float(3).squareRoot() / bound - 1) < 0.03)
        }
        var other = tinyModel()
        try other.attach(LoRA(rank: 100, targets: .names(["embed_tokens"])), using: &random)
        let table = try #require(other.adapter?.modules["model.embed_tokens"])
        #expect(table.a.values.allSatisfy { $0 == 0 })
        let deviation = (table.b.values.reduce(0) { $0 + $1 * $1 } / 2400).squareRoot()
        #expect(abs(deviation - 1) < 0.05)
    }

    // PEFT on the CPU: B A in f32, rounded to the weight's type; the sum rounded again.
    @Test(arguments: [DType.bf16, .f16]) func `merge into half precision with two roundings`(
        dtype: DType
    ) throws {
        let base = tinyModel().converted(to: dtype)
        var model = try adapted(base)
        let path = "model.layers.0.mlp.up_proj"
        model.adapter!.modules[path]!.b = normal([40, 2], "b", scale: 0.3)
        let merged = try model.merged()
        let module = model.adapter!.modules[path]!
        let (a, b) = (module.a.values, module.b.values)
        func rounded(_ x: Float) -> Float {
            Tensor([x], shape: [1]).converted(to: dtype).values[0]
        }
        let old = base[path + ".weight"].values
        #expect(merged[path + ".weight"].dtype == dtype)
        var differsFromOne = false
        for (i, value) in merged[path + ".weight"].values.enumerated() {
            let (row, column) = (i / 24, i % 24)
            let product = (b[2 * row] * a[column]).addingProduct(b[2 * row + 1], a[24 + column])
            let delta = product * module.scale
            #expect(value == rounded(old[i] + rounded(delta)))
            if value != rounded(old[i] + delta) { differsFromOne = true }
        }
        #expect(differsFromOne)
    }

    @Test func `refuse pickles, and say how to mend it`() throws {
        try withTemporaryFolder { folder in
            try FileManager.default.copyItem(
                atPath: Self.folder("llama-mha") + "/adapter_config.json",
                toPath: folder + "/adapter_config.json")
            try writeFile([0x80], folder + "/adapter_model.bin")
            let error = #expect(throws: CheckpointError.self) { try LoRAAdapter(peft: folder) }
            #expect(
                error?.description == """
                    The weights are a Python pickle, adapter_model.bin, which runs code when it is read.
                      where: \(folder)
                      mend:  save them as safetensors with the library that wrote them \
                    (safe_serialization=True).
                    """)
        }
    }
}
