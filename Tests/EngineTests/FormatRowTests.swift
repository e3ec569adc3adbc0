// One test a row of what the formats and families are made of: every part of tokenizer.json, every field of
// adapter_config.json, everything that tells the families apart, each against what the reference library makes of
// it alone. The rows' names are the fixtures'; their makers lie beside them.

import Engine
import Foundation
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

/// SentencePiece's compiled tables (Fixtures/tokenizers/precompiled.json, made by make_precompiled.py), seen through a
/// model whose tokens are bytes: what it encodes is the normalized text.
@Suite struct `Precompiled charsmaps` {
    static let file = Result { try FileSystem.readJSON(fixture("tokenizers/precompiled.json")) }

    static func tokenizer(_ charsmap: JSONValue) throws -> Tokenizer {
        let table = (0..<256).map { byte -> (key: String, value: JSONValue) in
            let digits = String(byte, radix: 16, uppercase: true)
            return ("<0x\(byte < 16 ? "0" : "")\(digits)>", .integer(byte))
        }
        let model: JSONValue = [
            "type": "BPE", "byte_fallback": true, "merges": [],
            "vocab": .object(JSONObject(table)),
        ]
        let normalizer: JSONValue = ["type": "Precompiled", "precompiled_charsmap": charsmap]
        return try Tokenizer(
            tokenizerJSON: ["model": model, "normalizer": normalizer], configuration: [:])
    }

    static func tokenizer(named name: String) throws -> Tokenizer {
        if name == "own" { return try tokenizer(file.get()["own"]!) }
        let bytes = try Data(contentsOf: URL(filePath: fixture("tokenizers/\(name).charsmap")))
        return try tokenizer(.string(bytes.base64EncodedString()))
    }

    @Test func `replace what the reference replaces, oddities included`() throws {
        let cases = try Self.file.get()["cases"]!.array!
        #expect(cases.count == 80)
        let tables = [
            "own": try Self.tokenizer(named: "own"),
            "nmt_nfkc": try Self.tokenizer(named: "nmt_nfkc"),
        ]
        for item in cases {
            let (name, text) = (item["table"]!.string!, item["text"]!.string!)
            let bytes = tables[name]!.encode(text).map { UInt8($0) }
            #expect(
                bytes == Array(item["normal"]!.string!.utf8), "\(name): \(text.debugDescription)")
        }
    }

    /// Every scalar of the blocks that have any, 256 to a line with letters between.
    @Test func `of sentencepiece's defaults agree over all of Unicode`() throws {
        let file = try Self.file.get()
        let scalars = file["blocks"]!.array!.flatMap { block in
            Array(block[0]!.integer!..<block[1]!.integer!)
        }
        let hashes = file["sweep"]!.array!.map { $0.string! }
        let tokenizer = try Self.tokenizer(named: "nmt_nfkc")
        #expect(hashes.count == (scalars.count + 255) / 256)
        for (line, hash) in hashes.enumerated() {
            var text = String.UnicodeScalarView()
            for value in scalars[line * 256..<min(scalars.count, line * 256 + 256)] {
                text.append(Unicode.Scalar(UInt32(value))!)
                text.append("x")
            }
            var state: UInt64 = 0xcbf2_9ce4_8422_2325
            for byte in tokenizer.encode(String(text)) {
                state = (state ^ UInt64(byte)) &* 0x100_0000_01b3
            }
            let digits = String(state, radix: 16)
            #expect(
                String(repeating: "0", count: 16 - digits.count) + digits == hash,
                "scalars from \(String(scalars[line * 256], radix: 16))")
        }
    }

    @Test func `are refused by name where they are damaged`() throws {
        func refusal(_ charsmap: JSONValue) -> TokenizerError.Reason? {
            do { _ = try Self.tokenizer(charsmap) } catch {
                return (error as? TokenizerError)?.reason
            }
            return nil
        }
        func malformed(_ message: String) -> TokenizerError.Reason {
            .malformedPart(part: "normalizer", message: message)
        }
        #expect(refusal(nil) == malformed("precompiled_charsmap must be a string"))
        for text in ["AAA", "A=AA", "AA-A", "AAAA===="] {
            #expect(refusal(.string(text)) == malformed("precompiled_charsmap is no base64"))
        }
        #expect(refusal("") == malformed("precompiled_charsmap ends before its trie"))
        let whole = Data(base64Encoded: try Self.file.get()["own"]!.string!)!
        func damaged(_ change: (inout Data) -> Void) -> TokenizerError.Reason? {
            var bytes = whole
            change(&bytes)
            return refusal(.string(bytes.base64EncodedString()))
        }
        #expect(damaged { _ in } == nil)
        let size = (0..<4).reduce(0) { $0 | Int(whole[$1]) << (8 * $1) }
        #expect(
            damaged { $0 = $0[..<40] }
                == malformed(
                    "precompiled_charsmap says that its trie has \(size) bytes, and has 36"))
        let noText = damaged { $0 = $0[..<($0.count - 12)] }
        guard case .malformedPart("normalizer", let message)? = noText else {
            Issue.record("\(String(describing: noText))")
            return
        }
        #expect(message.hasPrefix("precompiled_charsmap has no replacement at "))
        // Any byte may be wrong: refused or not, nothing traps and text stays text.
        var random = RandomStream(seed: 9, name: "damage")
        for _ in 0..<300 {
            var bytes = whole
            bytes[Int(random.nextUInt32()) % bytes.count] = UInt8(random.nextUInt32() & 255)
            guard let tokenizer = try? Self.tokenizer(.string(bytes.base64EncodedString())) else {
                continue
            }
            for text in ["ABBA fi abc", "e\u{301}\u{2026}\u{AD}", "\u{1F600}\u{AC00}"] {
                let encoded = tokenizer.encode(text).map { UInt8($0) }
                #expect(String(validating: encoded, as: UTF8.self) != nil)
            }
        }
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
