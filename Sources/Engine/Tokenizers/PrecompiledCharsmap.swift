// SentencePiece's compiled table of replacements (`precompiled_charsmap`), which tokenizer.json carries in base64: a
// double-array trie of what is replaced, then what replaces it. Layout: sentencepiece/src/normalizer.cc and darts-clone;
// how it is applied to graphemes: the tokenizers crate, with which the results agree, oddities included.

/// Replacements of short stretches of text.
struct PrecompiledCharsmap: Sendable {
    /// The trie: each unit has a label, an offset to its children and whether it ends a key.
    private let units: [UInt32]
    /// Replacements in UTF-8, each ended by a zero.
    private let replacements: [UInt8]

    /// Why a table is no table.
    struct Fault: Error { let message: String }

    /// - Parameter base64: the table as tokenizer.json has it.
    init(base64: String) throws(Fault) {
        guard let bytes = Self.decode(base64) else {
            throw Fault(message: "precompiled_charsmap is no base64")
        }
        guard bytes.count >= 4 else {
            throw Fault(message: "precompiled_charsmap ends before its trie")
        }
        func word(_ offset: Int) -> UInt32 {
            (0..<4).reduce(0) { $0 | UInt32(bytes[offset + $1]) << (8 * UInt32($1)) }
        }
        let size = Int(word(0))
        guard size >= 4, size % 4 == 0, size <= bytes.count - 4 else {
            throw Fault(
                message:
                    "precompiled_charsmap says that its trie has \(size) bytes, and has \(bytes.count - 4)"
            )
        }
        units = (0..<size / 4).map { word(4 + 4 * $0) }
        replacements = Array(bytes[(4 + size)...])
        // Whatever the trie names must be there, whole, and text.
        // (Bit 31 is a leaf's, bit 8 says that a key ends at the node.)
        for (place, unit) in units.enumerated() where unit >> 31 == 0 && unit >> 8 & 1 == 1 {
            let leaf = place ^ Self.offset(unit)
            guard leaf < units.count, units[leaf] >> 31 == 1 else {
                throw Fault(message: "precompiled_charsmap has a key without a replacement")
            }
            let start = Int(units[leaf] & 0x7fff_ffff)
            guard start < replacements.count,
                let end = replacements[start...].firstIndex(of: 0),
                String(validating: replacements[start..<end], as: UTF8.self) != nil
            else { throw Fault(message: "precompiled_charsmap has no replacement at \(start)") }
        }
    }

    /// `text`, which is valid UTF-8, with its replacements made.
    func applied(to text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        result.reserveCapacity(text.count)
        // A grapheme of less than six bytes is replaced whole by what its shortest known beginning maps to, as in
        // the reference; any other is looked up scalar by scalar.
        for grapheme in String(decoding: text, as: UTF8.self) {
            let bytes = Array(grapheme.utf8)
            if bytes.count < 6, let replacement = replacement(of: bytes[...]) {
                result.append(contentsOf: replacement)
                continue
            }
            var start = 0
            for scalar in grapheme.unicodeScalars {
                let end = start + UTF8.width(scalar)
                result.append(contentsOf: replacement(of: bytes[start..<end]) ?? bytes[start..<end])
                start = end
            }
        }
        return result
    }

    /// What the shortest key that begins `key` is replaced by; nil where none does.
    private func replacement(of key: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        var node = Self.offset(units[0])
        for byte in key {
            guard byte != 0 else { return nil }
            node ^= Int(byte)
            guard node < units.count else { return nil }
            let unit = units[node]
            // The sign bit is set in leaves, which have no label.
            guard unit & 0x8000_00ff == UInt32(byte) else { return nil }
            node ^= Self.offset(unit)
            guard unit >> 8 & 1 == 1 else { continue }
            guard node < units.count else { return nil }
            let start = Int(units[node] & 0x7fff_ffff)
            guard start < replacements.count,
                let end = replacements[start...].firstIndex(of: 0)
            else { return nil }
            return replacements[start..<end]
        }
        return nil
    }

    /// The distance, by exclusive or, from a unit to its children.
    private static func offset(_ unit: UInt32) -> Int {
        Int((unit >> 10) << ((unit & 1 << 9) >> 6))
    }

    /// RFC 4648, padded, nothing else in between.
    private static func decode(_ text: String) -> [UInt8]? {
        var result: [UInt8] = []
        result.reserveCapacity(text.utf8.count / 4 * 3)
        var (bits, count, padding) = (UInt32(0), 0, 0)
        for character in text.utf8 {
            let value: UInt8
            switch character {
            case UInt8(ascii: "A")...UInt8(ascii: "Z"): value = character - UInt8(ascii: "A")
            case UInt8(ascii: "a")...UInt8(ascii: "z"): value = character - UInt8(ascii: "a") + 26
            case UInt8(ascii: "0")...UInt8(ascii: "9"): value = character - UInt8(ascii: "0") + 52
            case UInt8(ascii: "+"): value = 62
            case UInt8(ascii: "/"): value = 63
            case UInt8(ascii: "="):
                padding += 1
                count += 1
                continue
            default: return nil
            }
            guard padding == 0 else { return nil }
            bits = bits << 6 | UInt32(value)
            count += 1
            if count % 4 == 0 {
                result.append(UInt8(truncatingIfNeeded: bits >> 16))
                result.append(UInt8(truncatingIfNeeded: bits >> 8))
                result.append(UInt8(truncatingIfNeeded: bits))
            }
        }
        guard count % 4 == 0, padding <= 2 else { return nil }
        if padding == 1 {
            result.append(UInt8(truncatingIfNeeded: bits >> 10))
            result.append(UInt8(truncatingIfNeeded: bits >> 2))
        } else if padding == 2 {
            result.append(UInt8(truncatingIfNeeded: bits >> 4))
        }
        return result
    }
}
