// The decoders of tokenizer.json: from tokens back to text. Source: tokenizers/src/decoders.

/// One step of decoding: tokens, as bytes of text, become other tokens that are joined at the end.
indirect enum Decoder: Sendable {
    case sequence([Decoder])
    case replace(SplitPattern, with: [UInt8])
    case byteFallback
    case fuse
    case strip([UInt8], start: Int, stop: Int)
    case byteLevel
    case metaspace([UInt8], PrependScheme)
    case wordPiece(prefix: [UInt8], cleansUp: Bool)

    func apply(_ tokens: inout [[UInt8]]) {
        switch self {
        case .sequence(let steps): for step in steps { step.apply(&tokens) }
        case .replace(let pattern, let content):
            let step = Normalizer.replace(pattern, with: content)
            for index in tokens.indices { step.apply(&tokens[index]) }
        case .byteFallback: tokens = Self.resolvingBytes(tokens)
        case .fuse: tokens = [Array(tokens.joined())]
        case .strip(let content, let start, let stop):
            for index in tokens.indices {
                var token = tokens[index][...]
                for _ in 0..<start {
                    if !token.starts(with: content) { break }
                    token = token.dropFirst(content.count)
                }
                for _ in 0..<stop {
                    if !token.reversed().starts(with: content.reversed()) { break }
                    token = token.dropLast(content.count)
                }
                tokens[index] = Array(token)
            }
        case .byteLevel:
            var bytes: [UInt8] = []
            for token in tokens { bytes.append(contentsOf: ByteLevel.bytes(of: token) ?? token) }
            // Bytes that are no UTF-8 become U+FFFD.
            tokens = [Array(String(decoding: bytes, as: UTF8.self).utf8)]
        case .metaspace(let mark, let scheme):
            for index in tokens.indices {
                var token = tokens[index]
                if index == 0, scheme != .never, token.starts(with: mark) {
                    token.removeFirst(mark.count)
                }
                Normalizer.replace(.string(mark), with: [0x20]).apply(&token)
                tokens[index] = token
            }
        case .wordPiece(let prefix, let cleansUp):
            for index in tokens.indices {
                if index > 0 {
                    if tokens[index].starts(with: prefix) {
                        tokens[index].removeFirst(prefix.count)
                    } else {
                        tokens[index].insert(0x20, at: 0)
                    }
                }
                if cleansUp { Self.cleanUp(&tokens[index]) }
            }
        }
    }

    /// `<0xE2>` and the like become bytes; a run of them that is no UTF-8 becomes a U+FFFD a byte.
    private static func resolvingBytes(_ tokens: [[UInt8]]) -> [[UInt8]] {
        var result: [[UInt8]] = []
        var pending: [UInt8] = []
        func flush() {
            if pending.isEmpty { return }
            if String(validating: pending, as: UTF8.self) != nil {
                result.append(pending)
            } else {
                for _ in pending { result.append([0xEF, 0xBF, 0xBD]) }
            }
            pending = []
        }
        for token in tokens {
            if let byte = byte(of: token) {
                pending.append(byte)
            } else {
                flush()
                result.append(token)
            }
        }
        flush()
        return result
    }

    private static func byte(of token: [UInt8]) -> UInt8? {
        guard token.count == 6, token[0] == UInt8(ascii: "<"), token[1] == UInt8(ascii: "0"),
            token[2] == UInt8(ascii: "x"), token[5] == UInt8(ascii: ">")
        else { return nil }
        return UInt8(String(decoding: token[3...4], as: UTF8.self), radix: 16)
    }

    /// English spacing, as the WordPiece decoder mends it.
    private static func cleanUp(_ token: inout [UInt8]) {
        for (from, to) in [
            (" .", "."), (" ?", "?"), (" !", "!"), (" ,", ","), (" ' ", "'"), (" n't", "n't"),
            (" 'm", "'m"), (" do not", " don't"), (" 's", "'s"), (" 've", "'ve"), (" 're", "'re"),
        ] {
            Normalizer.replace(.string(Array(from.utf8)), with: Array(to.utf8)).apply(&token)
        }
    }
}

/// The printable characters that stand for bytes in byte-level vocabularies (GPT-2, `bytes_to_unicode`).
enum ByteLevel {
    /// The character of each byte.
    static let characters: [Unicode.Scalar] = {
        var result: [Unicode.Scalar] = []
        var shifted: UInt32 = 0
        for byte in 0..<256 as Range<UInt32> {
            switch byte {
            case 0x21...0x7E, 0xA1...0xAC, 0xAE...0xFF: result.append(Unicode.Scalar(byte)!)
            default:
                result.append(Unicode.Scalar(256 + shifted)!)
                shifted += 1
            }
        }
        return result
    }()

    /// The byte of each character below U+0144, -1 where it stands for none.
    private static let values: [Int16] = {
        var result = [Int16](repeating: -1, count: 0x144)
        for (byte, character) in characters.enumerated() {
            result[Int(character.value)] = Int16(byte)
        }
        return result
    }()

    /// The bytes that a token's characters stand for; `nil` where one stands for none.
    static func bytes(of token: some Collection<UInt8>) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(token.count)
        var iterator = token.makeIterator()
        while let first = iterator.next() {
            var value = UInt32(first)
            if first >= 0x80 {
                guard first < 0xE0, let second = iterator.next() else { return nil }
                value = UInt32(first & 0x1F) << 6 | UInt32(second & 0x3F)
            }
            guard value < 0x144, values[Int(value)] >= 0 else { return nil }
            result.append(UInt8(values[Int(value)]))
        }
        return result
    }
}
