// A tokenizer made in code for a miniature language: one token a word, words between spaces.

extension Tokenizer {
    /// A word-level tokenizer: each word is a token, whatever is not a word is `unknown`.
    ///
    /// Text is cut at white space, so punctuation is part of a word or stands by itself; decoding puts one
    /// space between words. `save(to:)` writes it as tokenizer.json, which `tokenizers` reads too.
    /// - Parameters:
    ///   - words: Different, without white space, and none of the special tokens. They get the ids after
    ///     the special tokens', in order.
    ///   - begin: Put before every text that is encoded with special tokens; `nil` for none.
    ///   - chatTemplate: Jinja text, or `nil`.
    public init(
        words: [String], pad: String = "<pad>", begin: String? = "<bos>", end: String = "<eos>",
        unknown: String = "<unk>", otherSpecialTokens: [String] = [], chatTemplate: String? = nil
    ) {
        let special = [pad] + (begin.map { [$0] } ?? []) + [end, unknown] + otherSpecialTokens
        var vocabulary = JSONObject()
        var entries: [(key: String, value: JSONValue)] = []
        var seen: Set<UTF8Key> = []
        for (id, word) in (special + words).enumerated() {
            precondition(
                !word.isEmpty && !word.unicodeScalars.contains(where: UnicodeClasses.isSpace),
                "a word is not empty and has no white space: \"\(word)\"")
            precondition(seen.insert(UTF8Key(word)).inserted, "the word \"\(word)\" is repeated")
            entries.append((word, .integer(id)))
        }
        vocabulary = JSONObject(entries)
        let addedTokens: [JSONValue] = special.enumerated().map { id, content in
            [
                "id": .integer(id), "content": .string(content), "single_word": false,
                "lstrip": false, "rstrip": false, "normalized": false, "special": true,
            ]
        }
        var template: JSONValue = nil
        if let begin {
            let mark: JSONValue = ["SpecialToken": ["id": .string(begin), "type_id": 0]]
            let first: JSONValue = ["Sequence": ["id": "A", "type_id": 0]]
            let second: JSONValue = ["Sequence": ["id": "B", "type_id": 1]]
            template = [
                "type": "TemplateProcessing", "single": [mark, first],
                "pair": [mark, first, second],
                "special_tokens": .object(
                    JSONObject([
                        (
                            begin,
                            [
                                "id": .string(begin),
                                "ids": [vocabulary[begin]!], "tokens": [.string(begin)],
                            ] as JSONValue
                        )
                    ])),
            ]
        }
        let json: JSONValue = [
            "version": "1.0", "truncation": nil, "padding": nil,
            "added_tokens": .array(addedTokens), "normalizer": nil,
            "pre_tokenizer": ["type": "WhitespaceSplit"], "post_processor": template,
            "decoder": nil,
            "model": [
                "type": "WordLevel", "vocab": .object(vocabulary), "unk_token": .string(unknown),
            ],
        ]
        let configuration: JSONValue = [
            "bos_token": begin.map { .string($0) } ?? nil, "eos_token": .string(end),
            "pad_token": .string(pad), "unk_token": .string(unknown),
            "clean_up_tokenization_spaces": false, "tokenizer_class": "PreTrainedTokenizerFast",
        ]
        do {
            try self.init(
                tokenizerJSON: json, configuration: configuration, chatTemplate: chatTemplate)
        } catch {
            preconditionFailure("a tokenizer made of words must be readable: \(error)")
        }
    }
}
