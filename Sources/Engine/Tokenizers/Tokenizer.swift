// Text to token ids and back, by a Hugging Face tokenizer.json. The steps are in their own files; chat
// templates are in ChatTemplate.swift.

internal import Synchronization

/// A tokenizer as Hugging Face's tokenizer.json describes it: BPE (byte-level, or on characters with byte
/// fallback) or whole words.
///
/// The same ids and the same text as the `tokenizers` library gives, for any valid input. `truncation` and
/// `padding` blocks are kept and not applied, as in transformers, where each call decides.
public struct Tokenizer: Sendable {
    /// The Jinja text that turns messages into a prompt, where there is one.
    public var chatTemplate: String?
    /// The tokens that the configuration names, as "<s>"; `nil` where it names none.
    public private(set) var beginToken: String?
    public private(set) var endToken: String?
    public private(set) var unknownToken: String?
    public private(set) var padToken: String?
    /// `tokenizer_config.json` as it was read.
    public private(set) var configurationJSON: JSONValue
    private let core: TokenizerCore

    /// Reads a folder with tokenizer.json (and tokenizer_config.json, special_tokens_map.json and
    /// chat_template.jinja where they exist), or a tokenizer.json itself.
    /// - Throws: ``TokenizerError`` naming the part that cannot be used.
    public init(_ folderOrFile: String) throws(TokenizerError) {
        var folder = folderOrFile
        var path = folderOrFile + "/tokenizer.json"
        if !FileSystem.isFolder(folderOrFile) {
            path = folderOrFile
            let slash = path.lastIndex(of: "/")
            folder = slash.map { String(path[..<$0]) } ?? "."
        } else if !FileSystem.exists(path), FileSystem.exists(folder + "/tokenizer.model") {
            throw TokenizerError(.sentencePieceOnly, place: folder)
        }
        let file = try Self.reading(path) { () throws(CheckpointError) in try MappedFile(path) }
        core = try TokenizerCore(.file(file), path: path)
        var configuration: JSONValue = [:]
        for name in ["/special_tokens_map.json", "/tokenizer_config.json"] {
            let other = folder + name
            guard FileSystem.exists(other) else { continue }
            let read = try Self.reading(other) { () throws(CheckpointError) in
                try FileSystem.readJSON(other)
            }
            // What tokenizer_config.json says counts; the older file fills what it leaves out.
            var fields = configuration.object ?? JSONObject()
            for (key, value) in read.object?.entries ?? [] { fields[key] = value }
            configuration = .object(fields)
        }
        configurationJSON = configuration
        chatTemplate = Self.template(configuration["chat_template"] ?? nil)
        let templatePath = folder + "/chat_template.jinja"
        if FileSystem.exists(templatePath) {
            let bytes = try Self.reading(templatePath) { () throws(CheckpointError) in
                try FileSystem.read(templatePath)
            }
            chatTemplate = String(decoding: bytes, as: UTF8.self)
        }
        nameTokens()
    }

    /// Makes a tokenizer from the two JSON texts that its files would hold.
    package init(
        tokenizerJSON: JSONValue, configuration: JSONValue, chatTemplate: String? = nil
    ) throws(TokenizerError) {
        core = try TokenizerCore(.bytes(tokenizerJSON.bytes(.indented)), path: "tokenizer.json")
        configurationJSON = configuration
        self.chatTemplate = chatTemplate ?? Self.template(configuration["chat_template"] ?? nil)
        nameTokens()
    }

    private static func reading<R>(
        _ path: String, _ body: () throws(CheckpointError) -> R
    ) throws(TokenizerError) -> R {
        do { return try body() } catch {
            switch error.reason {
            case .malformedJSON(let offset, let message):
                throw TokenizerError(.malformedJSON(offset: offset, message: message), place: path)
            case .unreadable(let message):
                throw TokenizerError(.unreadable(message), place: path)
            default: throw TokenizerError(.unreadable(error.description), place: path)
            }
        }
    }

    /// The template of a configuration: a text, or the one called "default" of several.
    private static func template(_ value: JSONValue) -> String? {
        if let text = value.string { return text }
        let all = value.array ?? []
        return (all.first { $0["name"]?.string == "default" } ?? all.first)?["template"]?.string
    }

    private mutating func nameTokens() {
        func token(_ key: String) -> String? {
            configurationJSON[key]?.string ?? configurationJSON[key]?["content"]?.string
        }
        beginToken = token("bos_token")
        endToken = token("eos_token")
        unknownToken = token("unk_token")
        padToken = token("pad_token")
    }

    // MARK: Ids

    /// One more than the greatest id.
    public var vocabularySize: Int { core.endID }
    public var beginID: Int32? { beginToken.flatMap(id(of:)) }
    public var endID: Int32? { endToken.flatMap(id(of:)) }
    public var unknownID: Int32? { unknownToken.flatMap(id(of:)) }
    public var padID: Int32? { padToken.flatMap(id(of:)) }

    /// The id of a token as the vocabulary writes it, such as "▁the" or "<s>".
    public func id(of token: String) -> Int32? { core.id(of: token) }
    /// A token as the vocabulary writes it; `nil` where no token has the id.
    public func token(_ id: Int32) -> String? {
        core.token(id).map { String(decoding: $0, as: UTF8.self) }
    }
    /// Whether a token is special: a mark that is left out of text for people.
    public func isSpecial(_ id: Int32) -> Bool { core.isSpecial(id) }

    // MARK: Encoding and decoding

    /// The ids of a text.
    /// - Parameter addSpecialTokens: Whether the marks that the tokenizer puts around a text, such as
    ///   "<s>", are added. Text from a chat template has them already.
    public func encode(_ text: String, addSpecialTokens: Bool = true) -> [Int32] {
        let ids = core.encode(text)
        guard addSpecialTokens else { return ids }
        return core.postProcessor.apply(core.postProcessor.single, ids, []).ids
    }

    /// The ids of two texts together, and for each the text it belongs to (its type id).
    public func encode(
        _ text: String, and second: String, addSpecialTokens: Bool = true
    ) -> (ids: [Int32], typeIDs: [Int32]) {
        let processor = addSpecialTokens ? core.postProcessor : PostProcessor()
        let both = processor.apply(processor.pair, core.encode(text), core.encode(second))
        return (both.ids, both.types)
    }

    /// The text of ids. Ids that no token has are left out; bytes that are no UTF-8 become U+FFFD.
    public func decode(_ ids: [Int32], skipSpecialTokens: Bool = false) -> String {
        core.decode(ids, skipSpecialTokens: skipSpecialTokens)
    }

    /// Writes tokenizer.json as it was read, tokenizer_config.json, and chat_template.jinja where there is
    /// a template.
    /// - Throws: ``TokenizerError`` with reason `.unwritable`.
    public func save(to folder: String) throws(TokenizerError) {
        var configuration = configurationJSON.object ?? JSONObject()
        configuration["chat_template"] = nil
        do {
            try FileSystem.makeFolder(folder)
            try FileSystem.write(core.sourceBytes, to: folder + "/tokenizer.json")
            try FileSystem.write(
                JSONValue.object(configuration).bytes(.indented),
                to: folder + "/tokenizer_config.json")
            if let chatTemplate {
                try FileSystem.write(
                    Array(chatTemplate.utf8), to: folder + "/chat_template.jinja")
            }
        } catch {
            if case .unwritable(let message) = error.reason {
                throw TokenizerError(.unwritable(message), place: error.path)
            }
            throw TokenizerError(.unwritable(error.description), place: error.path)
        }
    }
}

/// As the bytes of tokenizer.json and what was read beside it.
extension Tokenizer: Codable {
    private enum CodingKeys: String, CodingKey { case source, configuration, chatTemplate }

    /// - Throws: ``TokenizerError`` where the bytes are no tokenizer.json that can be used.
    public init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        core = try TokenizerCore(
            .bytes(container.decode([UInt8].self, forKey: .source)), path: "tokenizer.json")
        configurationJSON = try container.decode(JSONValue.self, forKey: .configuration)
        chatTemplate = try container.decodeIfPresent(String.self, forKey: .chatTemplate)
        nameTokens()
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(core.sourceBytes, forKey: .source)
        try container.encode(configurationJSON, forKey: .configuration)
        try container.encodeIfPresent(chatTemplate, forKey: .chatTemplate)
    }
}

/// What a tokenizer does, shared by its copies.
final class TokenizerCore: Sendable {
    enum Source: Sendable { case file(MappedFile), bytes([UInt8]) }

    private let source: Source
    private let model: Model
    private let normalizer: Normalizer?
    private let preTokenizer: PreTokenizer?
    let postProcessor: PostProcessor
    private let decoder: Decoder?
    /// Added tokens by content and id; they come before the model's in both directions.
    private let added: Vocabulary
    private let special: Set<Int32>
    private let plainFinder: AddedTokenFinder
    private let normalizedFinder: AddedTokenFinder
    /// The pattern whose matches are the words as they stand, where there is no more to do.
    private let scanner: SplitPattern?
    /// The words seen; taken out while in use, so that two threads never share it.
    private let memory = Mutex<WordMemory?>(WordMemory())

    private enum Model: Sendable {
        /// `tokens` are the tokens as the file writes them; the model's own may be bytes.
        case bpe(BPE, tokens: Vocabulary)
        case wordLevel(Vocabulary, unknown: Int32)
        var tokens: Vocabulary {
            switch self {
            case .bpe(_, let tokens): tokens
            case .wordLevel(let tokens, _): tokens
            }
        }
    }

    init(_ source: Source, path: String) throws(TokenizerError) {
        self.source = source
        let file: TokenizerFile
        do throws(TokenizerFile.Fault) {
            switch source {
            case .file(let mapped):
                file = try TokenizerFile(mapped.bytes.bindMemory(to: UInt8.self))
            case .bytes(let bytes):
                file = try bytes.withUnsafeBufferPointer { (buffer) throws(TokenizerFile.Fault) in
                    try TokenizerFile(buffer)
                }
            }
        } catch {
            throw TokenizerError(error.reason, place: path)
        }
        switch file.model {
        case .bpe(let bpe): model = .bpe(bpe, tokens: file.tokens)
        case .wordLevel(let tokens, let unknown): model = .wordLevel(tokens, unknown: unknown)
        }
        normalizer = file.normalizer
        preTokenizer = file.preTokenizer
        postProcessor = file.postProcessor
        decoder = file.decoder
        var added = Vocabulary(capacity: file.addedTokens.count)
        for token in file.addedTokens { added.insert(token.content, id: token.id) }
        self.added = added
        special = Set(file.addedTokens.filter(\.isSpecial).map(\.id))
        let plain = file.addedTokens.filter { !$0.isNormalized }
        plainFinder = AddedTokenFinder(plain, patterns: plain.map { Array($0.content.utf8) })
        let normalized = file.addedTokens.filter(\.isNormalized)
        normalizedFinder = AddedTokenFinder(
            normalized,
            patterns: normalized.map {
                var content = Array($0.content.utf8)
                file.normalizer?.apply(&content)
                return content
            })
        scanner = normalizer == nil ? Self.scanner(of: file.preTokenizer) : nil
    }

    private static func scanner(of step: PreTokenizer?) -> SplitPattern? {
        switch step {
        case .byteLevel(addsPrefixSpace: false, usesPattern: true): return .gpt2
        case .sequence(let steps):
            guard steps.count == 2, case .split(let pattern, .isolated, false) = steps[0],
                case .byteLevel(addsPrefixSpace: false, usesPattern: false) = steps[1],
                pattern.coversEverything
            else { return nil }
            return pattern
        default: return nil
        }
    }

    var sourceBytes: [UInt8] {
        switch source {
        case .file(let file): withExtendedLifetime(file) { Array(file.bytes) }
        case .bytes(let bytes): bytes
        }
    }

    var endID: Int { max(added.endID, model.tokens.endID) }
    func id(of token: String) -> Int32? { added.id(of: token) ?? model.tokens.id(of: token) }
    func token(_ id: Int32) -> [UInt8]? { added.token(id) ?? model.tokens.token(id) }
    func isSpecial(_ id: Int32) -> Bool { special.contains(id) }

    // MARK: Encoding

    func encode(_ text: String) -> [Int32] {
        var memory = memory.withLock { $0.take() } ?? WordMemory()
        defer { self.memory.withLock { [memory] in $0 = memory } }
        var result: [Int32] = []
        result.reserveCapacity(text.utf8.count / 3)
        var text = text
        text.withUTF8 { bytes in
            plainFinder.split(bytes) { id, range in
                if let id {
                    result.append(id)
                } else {
                    encodeStretch(
                        UnsafeBufferPointer(rebasing: bytes[range]),
                        isAtStart: range.lowerBound == 0, into: &result, &memory)
                }
            }
        }
        return result
    }

    /// Text between plain added tokens: normalized, cut at the others, then words.
    private func encodeStretch(
        _ text: UnsafeBufferPointer<UInt8>, isAtStart: Bool, into result: inout [Int32],
        _ memory: inout WordMemory
    ) {
        if normalizer == nil, normalizedFinder.isEmpty {
            encodeWords(text, isAtStart: isAtStart, into: &result, &memory)
            return
        }
        var bytes = Array(text)
        normalizer?.apply(&bytes)
        bytes.withUnsafeBufferPointer { bytes in
            normalizedFinder.split(bytes) { id, range in
                if let id {
                    result.append(id)
                } else {
                    encodeWords(
                        UnsafeBufferPointer(rebasing: bytes[range]),
                        isAtStart: isAtStart && range.lowerBound == 0, into: &result, &memory)
                }
            }
        }
    }

    private func encodeWords(
        _ text: UnsafeBufferPointer<UInt8>, isAtStart: Bool, into result: inout [Int32],
        _ memory: inout WordMemory
    ) {
        switch model {
        case .bpe(let bpe, _):
            if let scanner {
                var start = 0
                while start < text.count {
                    let end = scanner.wordEnd(text, from: start)
                    bpe.encode(
                        UnsafeBufferPointer(rebasing: text[start..<end]), into: &result, &memory)
                    start = end
                }
            } else {
                forEachWord(text, isAtStart: isAtStart) { bpe.encode($0, into: &result, &memory) }
            }
        case .wordLevel(let tokens, let unknown):
            forEachWord(text, isAtStart: isAtStart) { word in
                let id = tokens.id(of: word)
                result.append(id >= 0 ? id : unknown)
            }
        }
    }

    private func forEachWord(
        _ text: UnsafeBufferPointer<UInt8>, isAtStart: Bool,
        _ body: (UnsafeBufferPointer<UInt8>) -> Void
    ) {
        guard let preTokenizer else {
            if !text.isEmpty { body(text) }
            return
        }
        var words = Words(Array(text), isAtStart: isAtStart)
        preTokenizer.apply(&words)
        words.bytes.withUnsafeBufferPointer { bytes in
            for range in words.ranges { body(UnsafeBufferPointer(rebasing: bytes[range])) }
        }
    }

    // MARK: Decoding

    func decode(_ ids: [Int32], skipSpecialTokens: Bool) -> String {
        if case .byteLevel? = decoder, case .bpe(let bpe, let tokens) = model,
            bpe.byteLevelTokens != nil
        {
            return decodeBytes(ids, bpe.vocabulary, tokens, skipSpecialTokens: skipSpecialTokens)
        }
        var tokens: [[UInt8]] = []
        tokens.reserveCapacity(ids.count)
        for id in ids {
            if skipSpecialTokens, special.contains(id) { continue }
            if let token = token(id) { tokens.append(token) }
        }
        if let decoder {
            decoder.apply(&tokens)
            return String(decoding: Array(tokens.joined()), as: UTF8.self)
        }
        return String(decoding: Array(tokens.joined(separator: [0x20])), as: UTF8.self)
    }

    /// The same for byte-level models, whose table holds each token's bytes already.
    private func decodeBytes(
        _ ids: [Int32], _ byBytes: Vocabulary, _ tokens: Vocabulary, skipSpecialTokens: Bool
    ) -> String {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(ids.count * 4)
        for id in ids {
            if skipSpecialTokens, special.contains(id) { continue }
            if !added.isEmpty, let token = added.token(id) {
                bytes.append(contentsOf: ByteLevel.bytes(of: token) ?? token)
            } else if byBytes.withToken(id, { bytes.append(contentsOf: $0) }) == nil,
                let token = tokens.token(id)
            {
                bytes.append(contentsOf: token)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
