// Reads tokenizer.json: the vocabulary and the merges straight from the bytes, everything else as values.
// A part that is not implemented is refused by its name.

/// What tokenizer.json says.
struct TokenizerFile {
    enum Model { case bpe(BPE), wordLevel(Vocabulary, unknown: Int32) }

    var model: Model
    /// Tokens as the file writes them.
    var tokens: Vocabulary
    var addedTokens: [AddedToken] = []
    var normalizer: Normalizer?
    var preTokenizer: PreTokenizer?
    var postProcessor = PostProcessor()
    var decoder: Decoder?

    struct Fault: Error { let reason: TokenizerError.Reason }

    init(_ bytes: UnsafeBufferPointer<UInt8>) throws(Fault) {
        var parts: [String: JSONValue] = [:]
        var model = ModelReader()
        do {
            var reader = JSONReader(bytes)
            try reader.readObject { (reader, key) throws(JSONError) in
                if key == "model", case .object = try reader.peekKind() {
                    try model.read(&reader)
                } else {
                    parts[key] = try reader.readValue()
                }
            }
            try reader.finish()
        } catch {
            throw Fault(reason: .malformedJSON(offset: error.offset, message: error.message))
        }
        addedTokens = try Self.readAddedTokens(parts["added_tokens"] ?? nil)
        normalizer = try Self.normalizer(parts["normalizer"] ?? nil)
        preTokenizer = try Self.preTokenizer(parts["pre_tokenizer"] ?? nil)
        decoder = try Self.decoder(parts["decoder"] ?? nil)
        try Self.postProcessor(parts["post_processor"] ?? nil, into: &postProcessor)
        tokens = model.vocabulary
        self.model = try model.finish(isByteLevel: Self.endsInBytes(preTokenizer))
    }

    // MARK: Words for parts

    static func unsupported(_ part: String, _ kind: String) -> Fault {
        Fault(reason: .unsupportedPart(part: part, kind: kind))
    }
    static func malformed(_ part: String, _ message: String) -> Fault {
        Fault(reason: .malformedPart(part: part, message: message))
    }
    private static func type(_ value: JSONValue, _ part: String) throws(Fault) -> String {
        guard let type = value["type"]?.string else { throw malformed(part, "it has no type") }
        return type
    }
    private static func text(_ value: JSONValue, _ key: String, _ part: String) throws(Fault)
        -> [UInt8]
    {
        guard let text = value[key]?.string else {
            throw malformed(part, "\(key) must be a string")
        }
        return Array(text.utf8)
    }
    private static func parts(
        _ value: JSONValue, _ key: String, _ part: String
    ) throws(Fault) -> [JSONValue] {
        guard let parts = value[key]?.array else {
            throw malformed(part, "\(key) must be an array")
        }
        return parts
    }
    private static func pattern(_ value: JSONValue, _ part: String) throws(Fault) -> SplitPattern {
        if let text = value["pattern"]?["String"]?.string { return .string(Array(text.utf8)) }
        guard let expression = value["pattern"]?["Regex"]?.string else {
            throw malformed(part, "its pattern is neither a String nor a Regex")
        }
        guard let pattern = SplitPattern(expression: expression) else {
            throw unsupported(part, "a pattern with the expression \(expression)")
        }
        return pattern
    }

    // MARK: Parts

    private static func readAddedTokens(_ value: JSONValue) throws(Fault) -> [AddedToken] {
        if value.isNull { return [] }
        guard let array = value.array else { throw malformed("added_tokens", "it is no array") }
        var result: [AddedToken] = []
        for entry in array {
            guard let id = entry["id"]?.integer, id >= 0, id <= Int32.max,
                let content = entry["content"]?.string
            else { throw malformed("added_tokens", "an entry has no id or no content") }
            result.append(
                AddedToken(
                    id: Int32(id), content: content,
                    isSingleWord: entry["single_word"]?.bool ?? false,
                    stripsLeft: entry["lstrip"]?.bool ?? false,
                    stripsRight: entry["rstrip"]?.bool ?? false,
                    isNormalized: entry["normalized"]?.bool ?? false,
                    isSpecial: entry["special"]?.bool ?? false))
        }
        return result
    }

    private static func normalizer(_ value: JSONValue) throws(Fault) -> Normalizer? {
        if value.isNull { return nil }
        let part = "normalizer"
        switch try type(value, part) {
        case "Sequence":
            var steps: [Normalizer] = []
            for step in try parts(value, "normalizers", part) {
                if let step = try normalizer(step) { steps.append(step) }
            }
            return .sequence(steps)
        case "Prepend": return .prepend(try text(value, "prepend", part))
        case "Replace":
            return .replace(try pattern(value, part), with: try text(value, "content", part))
        case "NFC": return .nfc
        case "NFD": return .nfd
        case "NFKC": return .nfkc
        case "NFKD": return .nfkd
        case "Lowercase": return .lowercase
        case "Strip":
            return .strip(
                left: value["strip_left"]?.bool ?? true, right: value["strip_right"]?.bool ?? true)
        case "Precompiled":
            guard let table = value["precompiled_charsmap"]?.string else {
                throw malformed(part, "precompiled_charsmap must be a string")
            }
            do { return .precompiled(try PrecompiledCharsmap(base64: table)) } catch {
                throw malformed(part, error.message)
            }
        case let kind: throw unsupported(part, kind)
        }
    }

    private static func preTokenizer(_ value: JSONValue) throws(Fault) -> PreTokenizer? {
        if value.isNull { return nil }
        let part = "pre_tokenizer"
        switch try type(value, part) {
        case "Sequence":
            var steps: [PreTokenizer] = []
            for step in try parts(value, "pretokenizers", part) {
                if let last = steps.last, endsInBytes(last) {
                    throw unsupported(part, "a sequence that goes on after ByteLevel")
                }
                if let step = try preTokenizer(step) { steps.append(step) }
            }
            return .sequence(steps)
        case "Split":
            let name = value["behavior"]?.string ?? ""
            guard let behavior = SplitBehavior(rawValue: name) else {
                throw malformed(part, "\"\(name)\" is no behavior")
            }
            return .split(
                try pattern(value, part), behavior, isInverted: value["invert"]?.bool ?? false)
        case "ByteLevel":
            return .byteLevel(
                addsPrefixSpace: value["add_prefix_space"]?.bool ?? true,
                usesPattern: value["use_regex"]?.bool ?? true)
        case "Metaspace":
            return .metaspace(
                try text(value, "replacement", part), try scheme(value, part),
                splits: value["split"]?.bool ?? true)
        case "Digits": return .digits(individual: value["individual_digits"]?.bool ?? false)
        case "WhitespaceSplit": return .whitespaceSplit
        case "Whitespace": return .whitespace
        case "Punctuation":
            let name = value["behavior"]?.string ?? "Isolated"
            guard let behavior = SplitBehavior(rawValue: name) else {
                throw malformed(part, "\"\(name)\" is no behavior")
            }
            return .punctuation(behavior)
        case let kind: throw unsupported(part, kind)
        }
    }

    /// `prepend_scheme`, or what older files said by `add_prefix_space`.
    private static func scheme(_ value: JSONValue, _ part: String) throws(Fault) -> PrependScheme {
        if let name = value["prepend_scheme"]?.string {
            guard let scheme = PrependScheme(rawValue: name) else {
                throw malformed(part, "\"\(name)\" is no prepend_scheme")
            }
            return scheme
        }
        return value["add_prefix_space"]?.bool ?? true ? .always : .never
    }

    /// Whether the words go to the model as bytes.
    private static func endsInBytes(_ step: PreTokenizer?) -> Bool {
        switch step {
        case .byteLevel: true
        case .sequence(let steps): endsInBytes(steps.last)
        default: false
        }
    }

    private static func decoder(_ value: JSONValue) throws(Fault) -> Decoder? {
        if value.isNull { return nil }
        let part = "decoder"
        switch try type(value, part) {
        case "Sequence":
            var steps: [Decoder] = []
            for step in try parts(value, "decoders", part) {
                if let step = try decoder(step) { steps.append(step) }
            }
            return .sequence(steps)
        case "Replace":
            return .replace(try pattern(value, part), with: try text(value, "content", part))
        case "ByteFallback": return .byteFallback
        case "Fuse": return .fuse
        case "Strip":
            return .strip(
                try text(value, "content", part), start: value["start"]?.integer ?? 0,
                stop: value["stop"]?.integer ?? 0)
        case "ByteLevel": return .byteLevel
        case "Metaspace":
            return .metaspace(try text(value, "replacement", part), try scheme(value, part))
        case "WordPiece":
            return .wordPiece(
                prefix: try text(value, "prefix", part), cleansUp: value["cleanup"]?.bool ?? true)
        case let kind: throw unsupported(part, kind)
        }
    }

    private static func postProcessor(
        _ value: JSONValue, into result: inout PostProcessor
    ) throws(Fault) {
        if value.isNull { return }
        let part = "post_processor"
        switch try type(value, part) {
        case "ByteLevel": return  // moves offsets alone
        case "Sequence":
            let steps = try parts(value, "processors", part).filter {
                $0["type"]?.string != "ByteLevel"
            }
            if steps.count > 1 { throw unsupported(part, "a sequence of several templates") }
            for step in steps { try postProcessor(step, into: &result) }
        case "TemplateProcessing":
            let special = value["special_tokens"] ?? [:]
            result.single = try pieces(value["single"] ?? nil, special, part)
            result.pair = try pieces(value["pair"] ?? nil, special, part)
        case let kind: throw unsupported(part, kind)
        }
    }

    private static func pieces(
        _ value: JSONValue, _ special: JSONValue, _ part: String
    ) throws(Fault) -> [PostProcessor.Piece] {
        guard let array = value.array else { throw malformed(part, "a template is no array") }
        var result: [PostProcessor.Piece] = []
        for piece in array {
            if let token = piece["SpecialToken"], let name = token["id"]?.string {
                let ids = special[name]?["ids"]?.array?.compactMap { $0.integer.map(Int32.init) }
                guard let ids, !ids.isEmpty else {
                    throw malformed(part, "its special token \"\(name)\" has no ids")
                }
                result.append(.tokens(ids, typeID: Int32(token["type_id"]?.integer ?? 0)))
            } else if let sequence = piece["Sequence"] {
                let type = Int32(sequence["type_id"]?.integer ?? 0)
                result.append(
                    sequence["id"]?.string == "B" ? .second(typeID: type) : .first(typeID: type))
            } else {
                throw malformed(part, "a template's piece is neither SpecialToken nor Sequence")
            }
        }
        return result
    }
}

/// Gathers a `model` object, whatever the order of its keys.
private struct ModelReader {
    private var fields: [String: JSONValue] = [:]
    private(set) var vocabulary = Vocabulary(capacity: 1 << 16)
    private var hasVocabulary = false
    private var badID: Int?
    /// Both halves of each merge, one after the other, and where each half ends.
    private var mergeBytes: [UInt8] = []
    private var mergeEnds: [Int] = []
    private var badMerge: Int?

    mutating func read(_ reader: inout JSONReader) throws(JSONError) {
        try reader.readObject { (reader, key) throws(JSONError) in
            switch (key, try reader.peekKind()) {
            case ("vocab", .object): try readVocabulary(&reader)
            case ("vocab", _):
                try reader.skipValue()  // a Unigram model's; refused by its type
                hasVocabulary = true
            case ("merges", .array): try readMerges(&reader)
            default: fields[key] = try reader.readValue()
            }
        }
    }

    private mutating func readVocabulary(_ reader: inout JSONReader) throws(JSONError) {
        hasVocabulary = true
        try reader.readObjectBytes { (reader, token) throws(JSONError) in
            let id = try reader.readInteger()
            if id < 0 || id > 1 << 28 {
                badID = id
            } else {
                vocabulary.insert(token, id: Int32(id))
            }
        }
    }

    private mutating func readMerges(_ reader: inout JSONReader) throws(JSONError) {
        try reader.readArray { (reader) throws(JSONError) in
            let start = mergeEnds.count
            if try reader.peekKind() == .string {
                // The older form, "left right": the first space is between them.
                let begin = mergeBytes.count
                try reader.appendString(to: &mergeBytes)
                if let space = mergeBytes[begin...].firstIndex(of: 0x20) {
                    mergeBytes.remove(at: space)
                    mergeEnds.append(space)
                    mergeEnds.append(mergeBytes.count)
                }
            } else {
                try reader.readArray { (reader) throws(JSONError) in
                    try reader.appendString(to: &mergeBytes)
                    mergeEnds.append(mergeBytes.count)
                }
            }
            if mergeEnds.count != start + 2 { badMerge = badMerge ?? start / 2 }
        }
    }

    func finish(isByteLevel: Bool) throws(TokenizerFile.Fault) -> TokenizerFile.Model {
        let kind = fields["type"]?.string ?? (mergeEnds.isEmpty ? "of no type" : "BPE")
        guard kind == "BPE" || kind == "WordLevel" else {
            throw TokenizerFile.unsupported("model", kind)
        }
        if !hasVocabulary { throw TokenizerFile.malformed("model", "it has no vocab") }
        if let badID { throw TokenizerFile.malformed("vocab", "\(badID) is no id") }
        if let badMerge {
            throw TokenizerFile.malformed("merges", "entry \(badMerge) is not a pair of tokens")
        }
        let unknown = (fields["unk_token"] ?? nil).string
        if kind == "WordLevel" {
            guard let unknown, let id = vocabulary.id(of: unknown) else {
                throw TokenizerFile.malformed("model", "its unk_token is not in the vocabulary")
            }
            return .wordLevel(vocabulary, unknown: id)
        }
        return .bpe(try bpe(unknown: unknown, isByteLevel: isByteLevel))
    }

    private func bpe(unknown: String?, isByteLevel: Bool) throws(TokenizerFile.Fault) -> BPE {
        for field in ["continuing_subword_prefix", "end_of_word_suffix"] {
            if let value = fields[field]?.string, !value.isEmpty {
                throw TokenizerFile.unsupported("model", "a BPE with \(field) \"\(value)\"")
            }
        }
        if let dropout = fields["dropout"]?.double, dropout > 0 {
            throw TokenizerFile.unsupported("model", "a BPE with dropout \(dropout)")
        }
        var model = BPE(
            vocabulary: vocabulary, merges: MergeTable(capacity: mergeEnds.count / 2 + 1))
        if let unknown {
            guard let id = vocabulary.id(of: unknown) else {
                throw TokenizerFile.malformed("model", "its unk_token is not in the vocabulary")
            }
            model.unknownID = id
        }
        model.fusesUnknown = fields["fuse_unk"]?.bool ?? false
        model.ignoresMerges = fields["ignore_merges"]?.bool ?? false
        try addMerges(to: &model)
        model.asciiTokens = (0..<0x80).map { byte in
            withUnsafePointer(to: UInt8(byte)) {
                vocabulary.id(of: UnsafeBufferPointer(start: $0, count: 1))
            }
        }
        if isByteLevel {
            // Words stay bytes as they are; the table of tokens is turned to bytes instead.
            var byBytes = Vocabulary(capacity: vocabulary.count)
            vocabulary.forEach { token, id in
                if let bytes = ByteLevel.bytes(of: token) {
                    bytes.withUnsafeBufferPointer { byBytes.insert($0, id: id) }
                }
            }
            model.vocabulary = byBytes
            model.byteLevelTokens = (0..<256).map { byte in
                withUnsafePointer(to: UInt8(byte)) {
                    byBytes.id(of: UnsafeBufferPointer(start: $0, count: 1))
                }
            }
            if fields["byte_fallback"]?.bool == true, model.byteLevelTokens!.contains(-1) {
                throw TokenizerFile.unsupported("model", "byte-level and has byte_fallback")
            }
        } else if fields["byte_fallback"]?.bool == true {
            model.byteTokens = (0..<256).map { byte in
                let digits = String(byte, radix: 16, uppercase: true)
                return vocabulary.id(of: "<0x\(byte < 16 ? "0" : "")\(digits)>") ?? -1
            }
        }
        return model
    }

    private func addMerges(to model: inout BPE) throws(TokenizerFile.Fault) {
        let metaspace: [UInt8] = [0xE2, 0x96, 0x81]
        var crosses = false
        var bad: Int?
        mergeBytes.withUnsafeBufferPointer { bytes in
            var start = 0
            for rank in 0..<(mergeEnds.count / 2) {
                let (middle, end) = (mergeEnds[2 * rank], mergeEnds[2 * rank + 1])
                let whole = UnsafeBufferPointer(rebasing: bytes[start..<end])
                let left = vocabulary.id(of: UnsafeBufferPointer(rebasing: bytes[start..<middle]))
                let right = vocabulary.id(of: UnsafeBufferPointer(rebasing: bytes[middle..<end]))
                let result = vocabulary.id(of: whole)
                if left < 0 || right < 0 || result < 0 { bad = bad ?? rank }
                model.merges.insert(left, right, rank: rank, result: result)
                // A mark after anything but a mark, inside one token?
                if !crosses, middle - start >= 3, end - middle >= 3,
                    bytes[middle..<(middle + 3)].elementsEqual(metaspace),
                    !bytes[(middle - 3)..<middle].elementsEqual(metaspace)
                {
                    crosses = true
                } else if !crosses, middle - start < 3,
                    bytes[middle..<end].starts(with: metaspace)
                {
                    crosses = true
                }
                start = end
            }
        }
        if let bad {
            throw TokenizerFile.malformed("merges", "entry \(bad) names a token that vocab lacks")
        }
        let hasMark = vocabulary.id(of: "\u{2581}") != nil
        model.cutsAtMetaspace = hasMark && !crosses
    }
}
