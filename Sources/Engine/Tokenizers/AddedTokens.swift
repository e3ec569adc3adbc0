// Tokens that are found in the text before any model sees it: special ones, and those that were added to a
// trained vocabulary. Source: tokenizers/src/tokenizer/added_vocabulary.rs.

/// One entry of `added_tokens`.
struct AddedToken: Sendable {
    var id: Int32
    var content: String
    /// Only where no letter, digit or underscore touches it.
    var isSingleWord = false
    /// Takes the white space before it as well.
    var stripsLeft = false
    /// Takes the white space after it as well.
    var stripsRight = false
    /// Looked for in the normalized text, in its normalized form.
    var isNormalized = false
    var isSpecial = false
}

/// Finds the longest of several byte strings at the leftmost place: a trie.
struct AddedTokenFinder: Sendable {
    private struct Node { var children: [(byte: UInt8, node: Int)] = []; var token = -1 }
    private var nodes = [Node()]
    private var begins = [Bool](repeating: false, count: 256)
    private let tokens: [AddedToken]

    /// - Parameter patterns: What to look for, for each token; an empty one is never found.
    init(_ tokens: [AddedToken], patterns: [[UInt8]]) {
        self.tokens = tokens
        for (index, pattern) in patterns.enumerated() where !pattern.isEmpty {
            begins[Int(pattern[0])] = true
            var node = 0
            for byte in pattern {
                if let next = nodes[node].children.first(where: { $0.byte == byte }) {
                    node = next.node
                } else {
                    nodes.append(Node())
                    nodes[node].children.append((byte, nodes.count - 1))
                    node = nodes.count - 1
                }
            }
            nodes[node].token = index
        }
    }

    var isEmpty: Bool { nodes.count == 1 }

    /// The stretches of a text in order: a token's id, or text between tokens.
    func split(_ text: UnsafeBufferPointer<UInt8>, _ body: (Int32?, Range<Int>) -> Void) {
        var done = 0
        var offset = 0
        while offset < text.count {
            guard begins[Int(text[offset])], let (index, end) = longest(text, from: offset) else {
                offset += 1
                continue
            }
            let token = tokens[index]
            var (start, stop) = (offset, end)
            offset = end
            if token.isSingleWord, touchesWord(text, start..<stop) { continue }
            if token.stripsLeft {
                while start > done {
                    let (value, count) = scalar(before: start, in: text)
                    guard UnicodeClasses.isSpace(Unicode.Scalar(value)!) else { break }
                    start = max(start - count, done)
                }
            }
            if token.stripsRight {
                while stop < text.count {
                    let (value, count) = scalar(text, at: stop)
                    guard UnicodeClasses.isSpace(Unicode.Scalar(value)!) else { break }
                    stop += count
                }
                offset = stop
            }
            if done < start { body(nil, done..<start) }
            body(token.id, start..<stop)
            done = stop
        }
        if done < text.count { body(nil, done..<text.count) }
    }

    private func longest(
        _ text: UnsafeBufferPointer<UInt8>, from start: Int
    ) -> (index: Int, end: Int)? {
        var node = 0
        var offset = start
        var best: (Int, Int)?
        while offset < text.count {
            let byte = text[offset]
            guard let next = nodes[node].children.first(where: { $0.byte == byte }) else { break }
            node = next.node
            offset += 1
            if nodes[node].token >= 0 { best = (nodes[node].token, offset) }
        }
        return best
    }

    private func touchesWord(_ text: UnsafeBufferPointer<UInt8>, _ range: Range<Int>) -> Bool {
        if range.lowerBound > 0 {
            let before = scalar(before: range.lowerBound, in: text).value
            if UnicodeClasses.isWord(Unicode.Scalar(before)!) { return true }
        }
        if range.upperBound < text.count {
            let after = scalar(text, at: range.upperBound).value
            if UnicodeClasses.isWord(Unicode.Scalar(after)!) { return true }
        }
        return false
    }
}
