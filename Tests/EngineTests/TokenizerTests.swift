import Engine
import Testing

/// The expected values were made by Hugging Face's tokenizers (Fixtures/tokenizers, see its makers' notes).
@Suite struct `Tokenizers` {
    static let names = ["bpe-gpt2", "bpe-llama3", "sp-llama2", "sp-mistral", "sp-gemma"]

    static func load(_ name: String) throws -> (Tokenizer, JSONValue) {
        let folder = fixture("tokenizers/\(name)")
        return (try Tokenizer(folder), try FileSystem.readJSON(folder + "/expected.json"))
    }

    static func ids(_ value: JSONValue?) -> [Int32] {
        (value?.array ?? []).map { Int32($0.integer!) }
    }

    @Test(arguments: names) func `encode and decode as the reference does`(name: String) throws {
        let (tokenizer, expected) = try Self.load(name)
        let cases = try #require(expected["cases"]?.array)
        #expect(cases.count > 70)
        for item in cases {
            let text = try #require(item["text"]?.string)
            let ids = Self.ids(item["ids"])
            #expect(tokenizer.encode(text) == ids, "\(text.debugDescription)")
            let bare = tokenizer.encode(text, addSpecialTokens: false)
            #expect(bare == Self.ids(item["ids_no_special"]), "\(text.debugDescription)")
            #expect(
                bare.map { tokenizer.token($0) ?? "" }.joined(separator: "\u{1}").utf8
                    .elementsEqual(
                        item["tokens_no_special"]!.array!.map { $0.string! }
                            .joined(separator: "\u{1}").utf8))
            // JSONValue compares strings by bytes, Swift's == would not.
            #expect(.string(tokenizer.decode(ids)) == item["decoded"]!)
            #expect(
                .string(tokenizer.decode(ids, skipSpecialTokens: true))
                    == item["decoded_skip_special"]!)
        }
    }

    @Test(arguments: names) func `decode every prefix as the reference does`(name: String) throws {
        let (tokenizer, expected) = try Self.load(name)
        for item in try #require(expected["prefix_decodes"]?.array) {
            let ids = Self.ids(item["ids"])
            for (count, text) in item["decoded"]!.array!.enumerated() {
                #expect(.string(tokenizer.decode(Array(ids[..<count]))) == text)
            }
        }
    }

    @Test(arguments: names) func `encode pairs as the reference does`(name: String) throws {
        let (tokenizer, expected) = try Self.load(name)
        for item in try #require(expected["pairs"]?.array) {
            let pair = tokenizer.encode(item["a"]!.string!, and: item["b"]!.string!)
            #expect(pair.ids == Self.ids(item["ids"]))
            #expect(pair.typeIDs == Self.ids(item["type_ids"]))
        }
    }

    @Test(arguments: names)
    func `stream whole characters that join to the decoded text`(name: String) throws {
        let (tokenizer, expected) = try Self.load(name)
        for item in expected["cases"]!.array! {
            let ids = Self.ids(item["ids"])
            for skips in [true, false] {
                var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: skips)
                var pieces = ids.map { decoder.append($0) }
                pieces.append(decoder.finish())
                let whole = tokenizer.decode(ids, skipSpecialTokens: skips)
                #expect(JSONValue.string(pieces.joined()) == .string(whole))
                if !whole.unicodeScalars.contains("\u{FFFD}") {
                    #expect(!pieces.contains { $0.unicodeScalars.contains("\u{FFFD}") })
                }
            }
        }
    }

    /// Ids that no text has: halves of characters, bytes that are no UTF-8, special tokens among them.
    @Test(arguments: names) func `stream any ids as whole characters`(name: String) throws {
        let (tokenizer, _) = try Self.load(name)
        var random = RandomStream(seed: 21, name: name)
        // Byte tokens are few among the whole vocabulary: half of the ids are drawn from where they lie.
        let isByteLevel = name.hasPrefix("bpe")
        for _ in 0..<200 {
            let ids = (0..<1 + random.below(30)).map { _ in
                Int32(random.below(random.below(2) == 0 ? 260 : tokenizer.vocabularySize))
            }
            var decoder = StreamingDecoder(tokenizer, skipSpecialTokens: false)
            var pieces = ids.map { decoder.append($0) }
            pieces.append(decoder.finish())
            let whole = tokenizer.decode(ids)
            let hasRubbish = whole.unicodeScalars.contains("\u{FFFD}")
            if isByteLevel || !hasRubbish {
                #expect(JSONValue.string(pieces.joined()) == .string(whole), "\(ids)")
            }
            // No piece but the last ends within a character, so none begins within one.
            for piece in pieces.dropLast() {
                #expect(piece.unicodeScalars.last != "\u{FFFD}", "\(ids)")
            }
        }
    }

    @Test(arguments: names)
    func `know their special tokens by the configuration`(name: String) throws {
        let (tokenizer, expected) = try Self.load(name)
        #expect(tokenizer.vocabularySize == expected["vocab_size"]?.integer)
        #expect(tokenizer.beginToken == expected["bos"]?.string ?? tokenizer.beginToken)
        #expect(tokenizer.endID.map(tokenizer.isSpecial) == true)
        #expect(tokenizer.id(of: "no such token") == nil)
        #expect(tokenizer.token(-1) == nil && tokenizer.token(1 << 20) == nil)
    }

    @Test(arguments: names) func `are saved as they were read`(name: String) throws {
        let (tokenizer, expected) = try Self.load(name)
        try withTemporaryFolder { folder in
            try tokenizer.save(to: folder + "/copy")
            #expect(
                try fileBytes(folder + "/copy/tokenizer.json")
                    == fileBytes(fixture("tokenizers/\(name)/tokenizer.json")))
            let again = try Tokenizer(folder + "/copy")
            #expect(again.chatTemplate == tokenizer.chatTemplate)
            #expect(again.endID == tokenizer.endID)
            let item = expected["cases"]![12]!
            #expect(again.encode(item["text"]!.string!) == Self.ids(item["ids"]))
        }
    }

    @Test(arguments: names)
    func `give the same ids for long text, repeated words and several threads`(name: String) throws
    {
        let (tokenizer, expected) = try Self.load(name)
        let texts = expected["cases"]!.array!.map { $0["text"]!.string! }
        let fresh = texts.map { tokenizer.encode($0) }
        for _ in 0..<3 { #expect(texts.map { tokenizer.encode($0) } == fresh) }
        // A word longer than any that is remembered or merged by scanning.
        let long = String(repeating: "abracadabra", count: 300)
        let ids = tokenizer.encode(long, addSpecialTokens: false)
        #expect(
            tokenizer.decode(ids).hasSuffix("abracadabra") && ids.count < long.utf8.count)
    }

    // MARK: Words

    @Test func `made of words encode, decode, and are read again from their files`() throws {
        let tokenizer = Tokenizer(
            words: ["the", "tide", "rises", ".", "caf\u{e9}", "cafe\u{301}"],
            otherSpecialTokens: ["<turn>"])
        #expect(tokenizer.vocabularySize == 11)
        #expect(tokenizer.padID == 0 && tokenizer.beginID == 1 && tokenizer.endID == 2)
        let ids = tokenizer.encode("the  tide\nrises .<turn>whale caf\u{e9} cafe\u{301}<eos>")
        #expect(ids == [1, 5, 6, 7, 8, 4, 3, 9, 10, 2])
        #expect(
            tokenizer.decode(ids, skipSpecialTokens: true)
                == "the tide rises . caf\u{e9} cafe\u{301}")
        #expect(
            tokenizer.encode(tokenizer.decode([5, 6, 7]), addSpecialTokens: false) == [5, 6, 7])
        try withTemporaryFolder { folder in
            try tokenizer.save(to: folder)
            let again = try Tokenizer(folder)
            #expect(again.encode("the whale rises") == [1, 5, 3, 7])
            #expect(again.endToken == "<eos>")
        }
    }

    // MARK: Parts in small

    /// A tokenizer.json with the given model and other parts.
    static func make(_ parts: [String: JSONValue]) throws -> Tokenizer {
        var fields = JSONObject()
        for (key, value) in parts { fields[key] = value }
        return try Tokenizer(tokenizerJSON: .object(fields), configuration: [:])
    }

    static let letters: JSONValue = [
        "type": "BPE", "vocab": ["a": 0, "b": 1, "c": 2, "ab": 3, "bc": 4, "abc": 5, " ": 6],
        "merges": ["b c", "a b", "ab c"],
    ]

    @Test func `merge by rank first, then from the left`() throws {
        let tokenizer = try Self.make(["model": Self.letters])
        // "b c" comes before "a b"; "a bc" is no merge.
        #expect(tokenizer.encode("abc") == [0, 4])
        #expect(tokenizer.encode("abab") == [3, 3])
        #expect(tokenizer.encode(String(repeating: "abc", count: 40)).count == 80)
    }

    @Test func `added tokens honour single words, stripping and normalization`() throws {
        func added(_ changes: JSONValue) throws -> Tokenizer {
            var entry: JSONObject = JSONObject([("id", 9), ("content", "bc")])
            for (key, value) in changes.object!.entries { entry[key] = value }
            return try Self.make([
                "model": Self.letters, "added_tokens": [.object(entry)],
                "normalizer": ["type": "Lowercase"],
            ])
        }
        #expect(try added([:]).encode("abc bc") == [0, 9, 6, 9])
        #expect(try added(["single_word": true]).encode("abc bc") == [0, 4, 6, 9])
        #expect(try added(["lstrip": true]).encode("a  bc a") == [0, 9, 6, 0])
        #expect(try added(["rstrip": true]).encode("a bc  a") == [0, 6, 9, 0])
        #expect(try added([:]).encode("BC") == [4])
        #expect(try added(["normalized": true]).encode("BC") == [9])
    }

    @Test(arguments: [
        ("Removed", [0, 2, 2]), ("Isolated", [0, 1, 1, 2, 1, 2]), ("Contiguous", [0, 9, 2, 1, 2]),
        ("MergedWithPrevious", [8, 1, 7, 2]), ("MergedWithNext", [0, 1, 6, 6]),
    ])
    func `cut by each behavior`(behavior: String, expected: [Int32]) throws {
        let tokenizer = try Self.make([
            "model": [
                "type": "WordLevel", "unk_token": "?",
                "vocab": ["a": 0, "-": 1, "c": 2, "?": 3, "-c": 6, "c-": 7, "a-": 8, "--": 9],
            ],
            "pre_tokenizer": [
                "type": "Split", "pattern": ["String": "-"], "behavior": .string(behavior),
            ],
        ])
        #expect(tokenizer.encode("a--c-c") == expected)
    }

    @Test func `unknown characters fuse, or become bytes where all are there`() throws {
        var model = Self.letters.object!
        model["unk_token"] = "c"
        #expect(try Self.make(["model": .object(model)]).encode("azzb") == [0, 2, 2, 1])
        model["fuse_unk"] = true
        #expect(try Self.make(["model": .object(model)]).encode("azzb") == [0, 2, 1])
        model["byte_fallback"] = true
        var vocabulary = model["vocab"]!.object!
        vocabulary["<0x7A>"] = 7
        model["vocab"] = .object(vocabulary)
        let tokenizer = try Self.make([
            "model": .object(model), "decoder": ["type": "ByteFallback"],
        ])
        #expect(tokenizer.encode("azzéb") == [0, 7, 7, 2, 1])
        #expect(tokenizer.decode([0, 7]) == "az")
    }

    @Test func `an expression beyond the published ones is read by Regex`() throws {
        let tokenizer = try Self.make([
            "model": [
                "type": "WordLevel", "unk_token": "?", "vocab": ["?": 0, "ab": 1, "12": 2],
            ],
            "pre_tokenizer": [
                "type": "Split", "pattern": ["Regex": "[a-z]+|[0-9]+"], "behavior": "Isolated",
            ],
        ])
        #expect(tokenizer.encode("ab12ab") == [1, 2, 1])
    }

    // tokenizers applies these blocks; transformers switches them off before it encodes, unless asked.
    @Test func `keep truncation and padding, and do not apply them, as transformers does`() throws {
        let plain = try Self.make(["model": Self.letters])
        let blocks: [String: JSONValue] = [
            "model": Self.letters,
            "truncation": [
                "direction": "Right", "max_length": 2, "strategy": "LongestFirst", "stride": 0,
            ],
            "padding": [
                "strategy": ["Fixed": 9], "direction": "Right", "pad_to_multiple_of": nil,
                "pad_id": 6, "pad_type_id": 0, "pad_token": " ",
            ],
        ]
        let tokenizer = try Self.make(blocks)
        #expect(tokenizer.encode("abcabca") == plain.encode("abcabca"))
        try withTemporaryFolder { folder in
            try tokenizer.save(to: folder)
            let saved = try FileSystem.readJSON(folder + "/tokenizer.json")
            #expect(saved["truncation"] == blocks["truncation"])
            #expect(saved["padding"] == blocks["padding"])
        }
    }

    // MARK: Refusals

    static let refused: [(parts: [String: JSONValue], reason: TokenizerError.Reason)] = [
        (
            ["model": ["type": "Unigram", "vocab": [["a", 0.0]]]],
            .unsupportedPart(part: "model", kind: "Unigram")
        ),
        (
            ["model": letters, "normalizer": ["type": "BertNormalizer"]],
            .unsupportedPart(part: "normalizer", kind: "BertNormalizer")
        ),
        (
            ["model": letters, "pre_tokenizer": ["type": "UnicodeScripts"]],
            .unsupportedPart(part: "pre_tokenizer", kind: "UnicodeScripts")
        ),
        (
            ["model": letters, "decoder": ["type": "CTC"]],
            .unsupportedPart(part: "decoder", kind: "CTC")
        ),
        (
            ["model": letters, "post_processor": ["type": "BertProcessing"]],
            .unsupportedPart(part: "post_processor", kind: "BertProcessing")
        ),
        (
            ["model": ["type": "BPE", "vocab": ["a": 0], "merges": ["a b"]]],
            .malformedPart(part: "merges", message: "entry 0 names a token that vocab lacks")
        ),
        (
            ["model": ["type": "BPE", "vocab": ["a": 0], "merges": ["a"]]],
            .malformedPart(part: "merges", message: "entry 0 is not a pair of tokens")
        ),
        (
            ["model": ["type": "BPE", "vocab": ["a": -1], "merges": []]],
            .malformedPart(part: "vocab", message: "-1 is no id")
        ),
        (["model": ["type": "BPE"]], .malformedPart(part: "model", message: "it has no vocab")),
        (
            [
                "model": letters,
                "pre_tokenizer": [
                    "type": "Split", "pattern": ["Regex": "("], "behavior": "Isolated",
                ],
            ], .unsupportedPart(part: "pre_tokenizer", kind: "a pattern with the expression (")
        ),
        (
            ["model": ["type": "BPE", "vocab": ["a": 0], "merges": [], "dropout": 0.1]],
            .unsupportedPart(part: "model", kind: "a BPE with dropout 0.1")
        ),
    ]
    @Test(arguments: 0..<refused.count) func `refuse parts by name`(index: Int) {
        let error = #expect(throws: TokenizerError.self) {
            _ = try Self.make(Self.refused[index].parts)
        }
        #expect(error?.reason == Self.refused[index].reason)
    }

    @Test func `say what, where and how to mend it`() throws {
        let missing = #expect(throws: TokenizerError.self) { try Tokenizer("/no/such") }
        #expect(
            missing?.description == """
                The tokenizer cannot be read: No such file or directory.
                  where: /no/such
                  mend:  check the path and the permissions.
                """)
        try withTemporaryFolder { folder in
            try writeFile([1], folder + "/tokenizer.model")
            let error = #expect(throws: TokenizerError.self) { try Tokenizer(folder) }
            #expect(error?.reason == .sentencePieceOnly)
            try writeFile(Array(#"{"model":{"vocab":{"a":x}}}"#.utf8), folder + "/tokenizer.json")
            let broken = #expect(throws: TokenizerError.self) { try Tokenizer(folder) }
            #expect(
                broken?.reason
                    == .malformedJSON(offset: 23, message: "a number needs a digit here"))
        }
    }
}
