// The pre-tokenizers of tokenizer.json: how normalized text is cut into the words that the model sees.

/// What a `Split` does with what it finds.
enum SplitBehavior: String, Sendable {
    case removed = "Removed"
    case isolated = "Isolated"
    case mergedWithPrevious = "MergedWithPrevious"
    case mergedWithNext = "MergedWithNext"
    case contiguous = "Contiguous"
}

/// When a Metaspace pre-tokenizer puts its mark before a text.
enum PrependScheme: String, Sendable { case always, first, never }

/// One step of cutting text into words.
indirect enum PreTokenizer: Sendable {
    case sequence([PreTokenizer])
    case split(SplitPattern, SplitBehavior, isInverted: Bool)
    /// `usesPattern`: cut by GPT-2's expression first. The model takes the bytes themselves.
    case byteLevel(addsPrefixSpace: Bool, usesPattern: Bool)
    case metaspace([UInt8], PrependScheme, splits: Bool)
    case digits(individual: Bool)
    /// Words are what lies between white space.
    case whitespaceSplit
    /// `\w+|[^\w\s]+`.
    case whitespace
    case punctuation(SplitBehavior)

    func apply(_ words: inout Words) {
        switch self {
        case .sequence(let steps): for step in steps { step.apply(&words) }
        case .split(let pattern, let behavior, let isInverted):
            words.split(behavior) { bytes in
                var matches = pattern.matches(bytes)
                if isInverted {
                    for index in matches.indices { matches[index].isMatch.toggle() }
                }
                return matches
            }
        case .byteLevel(let addsPrefixSpace, let usesPattern):
            if addsPrefixSpace {
                words.rewrite { word, _ in if word.first != 0x20 { word.insert(0x20, at: 0) } }
            }
            if usesPattern { words.split(.isolated) { SplitPattern.gpt2.matches($0) } }
        case .metaspace(let mark, let scheme, let splits):
            words.rewrite { word, isFirst in
                Normalizer.replace(.string([0x20]), with: mark).apply(&word)
                let wanted = scheme == .always || (scheme == .first && isFirst)
                if wanted, !word.starts(with: mark) { word.insert(contentsOf: mark, at: 0) }
            }
            if splits {
                words.split(.mergedWithNext) { SplitPattern.string(mark).matches($0) }
            }
        case .digits(let individual):
            words.split(individual ? .isolated : .contiguous) {
                Words.characters($0) { UnicodeClasses.of($0.value) == .number }
            }
        case .whitespaceSplit:
            words.split(.removed) { Words.characters($0, matching: UnicodeClasses.isSpace) }
        case .whitespace:
            words.split(.removed) { Words.characters($0, matching: UnicodeClasses.isSpace) }
            words.split(.contiguous) { Words.characters($0, matching: UnicodeClasses.isWord) }
        case .punctuation(let behavior):
            words.split(behavior) { Words.characters($0, matching: Self.isPunctuation) }
        }
    }

    private static func isPunctuation(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
            .initialPunctuation, .finalPunctuation, .otherPunctuation:
            return true
        default:
            // ASCII symbols count as punctuation, as in the reference.
            return scalar.isASCII && "$+<=>^`|~".unicodeScalars.contains(scalar)
        }
    }
}

/// A stretch of text between added tokens, cut into words.
struct Words {
    private(set) var bytes: [UInt8]
    private(set) var ranges: [Range<Int>]
    /// Whether the stretch begins where the whole text does.
    let isAtStart: Bool

    init(_ bytes: [UInt8], isAtStart: Bool) {
        self.bytes = bytes
        self.isAtStart = isAtStart
        ranges = bytes.isEmpty ? [] : [0..<bytes.count]
    }

    /// Changes each word; `body` learns whether the word is the very first of the text.
    mutating func rewrite(_ body: (inout [UInt8], Bool) -> Void) {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count + bytes.count / 4)
        for index in ranges.indices {
            var word = Array(bytes[ranges[index]])
            body(&word, isAtStart && ranges[index].lowerBound == 0)
            ranges[index] = result.count..<(result.count + word.count)
            result.append(contentsOf: word)
        }
        bytes = result
    }

    /// Cuts each word at the matches that `find` gives for it.
    mutating func split(
        _ behavior: SplitBehavior,
        _ find: (UnsafeBufferPointer<UInt8>) -> [(range: Range<Int>, isMatch: Bool)]
    ) {
        var result: [Range<Int>] = []
        bytes.withUnsafeBufferPointer { bytes in
            for word in ranges {
                let matches = find(UnsafeBufferPointer(rebasing: bytes[word]))
                for range in Self.pieces(matches, behavior) where !range.isEmpty {
                    result.append(
                        (range.lowerBound + word.lowerBound)..<(range.upperBound + word.lowerBound))
                }
            }
        }
        ranges = result
    }

    /// The pieces that matches cut a word into (`tokenizers/src/tokenizer/normalizer.rs`, split).
    static func pieces(
        _ matches: [(range: Range<Int>, isMatch: Bool)], _ behavior: SplitBehavior
    ) -> [Range<Int>] {
        var result: [Range<Int>] = []
        func extend(to end: Int) { result[result.count - 1] = result.last!.lowerBound..<end }
        var previous: Bool?
        switch behavior {
        case .removed: return matches.filter { !$0.isMatch }.map(\.range)
        case .isolated: return matches.map(\.range)
        case .contiguous:
            for (range, isMatch) in matches {
                if isMatch == previous {
                    extend(to: range.upperBound)
                } else {
                    result.append(range)
                }
                previous = isMatch
            }
        case .mergedWithPrevious:
            for (range, isMatch) in matches {
                if isMatch, previous == false {
                    extend(to: range.upperBound)
                } else {
                    result.append(range)
                }
                previous = isMatch
            }
        case .mergedWithNext:
            for (range, isMatch) in matches.reversed() {
                if isMatch, previous == false {
                    result[result.count - 1] = range.lowerBound..<result.last!.upperBound
                } else {
                    result.append(range)
                }
                previous = isMatch
            }
            result.reverse()
        }
        return result
    }

    /// Each character by itself, marked where the condition holds.
    static func characters(
        _ bytes: UnsafeBufferPointer<UInt8>, matching condition: (Unicode.Scalar) -> Bool
    ) -> [(range: Range<Int>, isMatch: Bool)] {
        var result: [(range: Range<Int>, isMatch: Bool)] = []
        var offset = 0
        while offset < bytes.count {
            let (value, count) = scalar(bytes, at: offset)
            let isMatch = condition(Unicode.Scalar(value)!)
            if !isMatch, let last = result.last, !last.isMatch {
                result[result.count - 1].range = last.range.lowerBound..<(offset + count)
            } else {
                result.append((offset..<(offset + count), isMatch))
            }
            offset += count
        }
        return result
    }
}
