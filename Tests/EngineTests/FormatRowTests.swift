// One test a row of what the formats and families are made of: every part of tokenizer.json, every field of
// adapter_config.json, everything that tells the families apart, each against what the reference library makes of
// it alone. The rows' names are the fixtures'; their makers lie beside them.

import Engine
import Testing

@Suite struct `Rows of tokenizer json` {
    static let file = Result { try FileSystem.readJSON(fixture("tokenizers/parts.json")) }
    static var rows: [JSONValue] { (try? file.get()["rows"]?.array) ?? [] }

    @Test func `are all there`() {
        #expect(Self.rows.count == 72)
    }

    @Test(arguments: 0..<rows.count) func `encode and decode as the reference does`(index: Int)
        throws
    {
        let row = Self.rows[index]
        let name = row["name"]!.string!
        let tokenizer = try Tokenizer(tokenizerJSON: row["tokenizer"]!, configuration: [:])
        func ids(_ value: JSONValue?) -> [Int32] { value!.array!.map { Int32($0.integer!) } }
        for item in row["cases"]!.array! {
            let text = item["text"]!.string!
            let label = "\(name): \(text.debugDescription)"
            let encoded = tokenizer.encode(text)
            #expect(encoded == ids(item["ids"]), "\(label)")
            // Decoding stands for itself, whatever encoding gave. JSONValue compares strings by bytes.
            let wanted = ids(item["ids"])
            #expect(.string(tokenizer.decode(wanted)) == item["decoded"]!, "\(label)")
            #expect(
                .string(tokenizer.decode(wanted, skipSpecialTokens: true)) == item["skipped"]!,
                "\(label)")
        }
        let pair = tokenizer.encode("ab", and: "a")
        #expect(pair.ids == ids(row["pair"]?["ids"]), "\(name), a pair")
        #expect(pair.typeIDs == ids(row["pair"]?["type_ids"]), "\(name), a pair")
    }
}

@Suite struct `Rows of adapter_config json` {
    static let file = Result { try FileSystem.readJSON(fixture("lora/fields.json")) }
    static var rows: [JSONValue] { (try? file.get()["rows"]?.array) ?? [] }

    /// The models that the rows were made on: three layers.
    static func model(_ name: String) -> LanguageModel {
        var configuration = ModelConfiguration(
            family: name.contains("Gemma 2") ? .gemma2 : .llama, vocabularySize: 40, hiddenSize: 16,
            intermediateSize: 24, layerCount: 3, headCount: 2, keyValueHeadCount: 1,
            headDimension: 8)
        configuration.tiesEmbeddings = name.contains("Gemma 2")
        var random = RandomStream(seed: 1, name: "fields")
        return LanguageModel(configuration: configuration, using: &random)
    }

    @Test func `are all there`() {
        #expect(Self.rows.count == 32)
    }

    /// As it was asked for ("all-linear", expressions, nothing at all) and as PEFT filled it in.
    @Test(arguments: 0..<rows.count, ["asked", "config"])
    func `adapt the modules that PEFT adapts, by its ranks and scales`(index: Int, form: String)
        throws
    {
        let row = Self.rows[index]
        let name = row["name"]!.string!
        let lora = try withTemporaryFolder { folder in
            // The reader wants tensors: one that the row has.
            let path = row["modules"]!.object!.keys.first { !$0.hasSuffix("embed_tokens") }!
            let rank = row["modules"]![path]![0]!.integer!
            try FileSystem.write(row[form]!.bytes(), to: folder + "/adapter_config.json")
            try Safetensors.write(
                [
                    "base_model.model.\(path).lora_A.weight": Tensor(zeros: [rank, 6]),
                    "base_model.model.\(path).lora_B.weight": Tensor(zeros: [5, rank]),
                ], to: folder + "/adapter_model.safetensors")
            return try LoRAAdapter(peft: folder).configuration
        }
        var model = Self.model(name)
        var random = RandomStream(seed: 1, name: "fields")
        try model.attach(lora, using: &random)
        let modules = model.adapter!.modules
        let expected = row["modules"]!.object!
        #expect(modules.keys.sorted() == expected.keys.sorted(), "\(name)")
        for (path, value) in expected.entries {
            guard let module = modules[path] else { continue }
            #expect(module.a.shape[0] == value[0]!.integer!, "\(name), \(path)")
            #expect(module.scale == Float(value[1]!.double!), "\(name), \(path)")
        }
        let saved = row["saved"]!.array!.map { $0.string! }
        #expect(model.adapter!.savedModules.keys.sorted() == saved, "\(name)")
        #expect(
            lora.dropout == (row["asked"]!["lora_dropout"]?.double ?? 0), "\(name)")
    }
}

@Suite struct `Rows of the families` {
    static let file = Result { try FileSystem.readJSON(fixture("models/rows.json")) }
    static var rows: [JSONValue] { (try? file.get()["rows"]?.array) ?? [] }

    @Test func `are all there`() {
        #expect(Self.rows.count == 28)
    }

    @Test(arguments: 0..<rows.count) func `give transformers' logits`(index: Int) throws {
        let row = Self.rows[index]
        let name = row["name"]!.string!
        let all = try SafetensorsFile(fixture("models/rows.safetensors"))
        let prefix = "\(index)."
        try withTemporaryFolder { folder in
            var tensors: [String: Tensor] = [:]
            for key in all.names where key.hasPrefix(prefix) && !key.hasSuffix(".logits") {
                tensors[String(key.dropFirst(prefix.count))] = try all.tensor(key)
            }
            try Safetensors.write(tensors, to: folder + "/model.safetensors")
            try FileSystem.write(row["config"]!.bytes(), to: folder + "/config.json")
            let model = try LanguageModel(folder)
            let logits = model.logits(try integers(all, "input_ids"))
            let expected = try all.tensor(prefix + "logits")
            let difference = logits.withUnsafeFloats { a in
                expected.withUnsafeFloats { largestDifference(a, $0) }
            }
            // The rule for logits: 2e-5 of their deviation.
            #expect(difference / row["deviation"]!.double! < 2e-5, "\(name)")
            // Through the cache they are the same: the window's edge and positions are drawn again there.
            let tokens = try integers(all, "input_ids")[0]
            let greedy = model.generate([Array(tokens.prefix(5))], maximumNewTokens: 6)[0]
            let scores = model.scores(of: [(Array(tokens.prefix(5)), greedy)])
            #expect(scores[0].isGreedy, "\(name)")
        }
    }
}
