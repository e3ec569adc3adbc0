// The normalizers of tokenizer.json: what is done to text before it is cut into words.

@_spi(_Unicode) internal import Swift

/// One step of normalization, on valid UTF-8.
indirect enum Normalizer: Sendable {
    case sequence([Normalizer])
    /// Puts text before anything that is not empty.
    case prepend([UInt8])
    case replace(SplitPattern, with: [UInt8])
    case nfc, nfd, nfkc, nfkd
    case lowercase
    case strip(left: Bool, right: Bool)
    /// SentencePiece's table of replacements.
    case precompiled(PrecompiledCharsmap)

    func apply(_ text: inout [UInt8]) {
        switch self {
        case .sequence(let steps): for step in steps { step.apply(&text) }
        case .prepend(let prefix): if !text.isEmpty { text.insert(contentsOf: prefix, at: 0) }
        case .replace(let pattern, let content): replace(pattern, with: content, in: &text)
        case .nfc: text = Array(String(decoding: text, as: UTF8.self)._nfc.utf8Bytes)
        case .nfd: text = Array(String(decoding: text, as: UTF8.self)._nfd.utf8Bytes)
        case .nfkc: text = Array(Compatibility.decomposed(text)._nfc.utf8Bytes)
        case .nfkd: text = Array(Compatibility.decomposed(text)._nfd.utf8Bytes)
        case .precompiled(let table): text = table.applied(to: text)
        case .lowercase:
            // By scalar, as the reference: no context such as the final sigma.
            var result: [UInt8] = []
            for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
                result.append(contentsOf: scalar.properties.lowercaseMapping.utf8)
            }
            text = result
        case .strip(let left, let right):
            var scalars = String(decoding: text, as: UTF8.self).unicodeScalars[...]
            if left { scalars = scalars.drop(while: UnicodeClasses.isSpace) }
            if right {
                while let last = scalars.last, UnicodeClasses.isSpace(last) { scalars.removeLast() }
            }
            text = Array(String(scalars).utf8)
        }
    }

    private func replace(
        _ pattern: SplitPattern, with content: [UInt8], in text: inout [UInt8]
    ) {
        if case .string(let wanted) = pattern, wanted.count == 1 {
            let byte = wanted[0]
            guard text.contains(byte) else { return }
            var result: [UInt8] = []
            result.reserveCapacity(text.count + text.count / 2)
            for other in text {
                if other == byte {
                    result.append(contentsOf: content)
                } else {
                    result.append(other)
                }
            }
            text = result
            return
        }
        let source = text
        source.withUnsafeBufferPointer { bytes in
            var result: [UInt8] = []
            for (range, isMatch) in pattern.matches(bytes) {
                result.append(contentsOf: isMatch ? content[...] : source[range])
            }
            text = result
        }
    }
}

/// What NFKC and NFKD do before they do what NFC and NFD do.
private enum Compatibility {
    /// By scalar value; made when a tokenizer first asks.
    static let mappings: [UInt32: String.UnicodeScalarView] = {
        var result: [UInt32: String.UnicodeScalarView] = [:]
        func number(_ digits: Substring) -> UInt32 { UInt32(digits, radix: 16)! }
        for entry in CompatibilityMappings.text.split(whereSeparator: \.isWhitespace) {
            let sides = entry.split(separator: ">")
            let from = sides[0].split(separator: "+").map(number)
            let to = sides[1].split(separator: ",").map(number)
            for step in 0..<(from.count > 1 ? from[1] : 1) {
                var scalars = String.UnicodeScalarView()
                // Only runs of single scalars have more than one step.
                for value in to { scalars.append(Unicode.Scalar(value + step)!) }
                result[from[0] + step] = scalars
            }
        }
        return result
    }()

    /// Each scalar as its full compatibility decomposition where it has one.
    static func decomposed(_ text: [UInt8]) -> String {
        var result = String.UnicodeScalarView()
        for scalar in String(decoding: text, as: UTF8.self).unicodeScalars {
            // No ASCII has one.
            if !scalar.isASCII, let mapped = mappings[scalar.value] {
                result.append(contentsOf: mapped)
            } else {
                result.append(scalar)
            }
        }
        return String(result)
    }
}

extension Sequence where Element == Unicode.Scalar {
    fileprivate var utf8Bytes: [UInt8] {
        var result: [UInt8] = []
        for scalar in self { result.append(contentsOf: UTF8.encode(scalar)!) }
        return result
    }
}
