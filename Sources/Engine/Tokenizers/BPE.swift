// Byte-pair encoding of one word: which pairs merge, in which order, and a cache of words seen. How text
// becomes words is in PreTokenizers.swift.

/// Pairs of tokens that merge: the rank of each merge and the token it makes.
/// Open addressing with linear probing over 64-bit keys.
struct MergeTable: Sendable {
    private var keys: [UInt64]
    private var values: [UInt64]
    private var mask: Int
    private var count = 0
    private static let free = UInt64.max

    init(capacity: Int) {
        var size = 64
        while size < capacity * 2 { size *= 2 }
        keys = Array(repeating: Self.free, count: size)
        values = Array(repeating: 0, count: size)
        mask = size - 1
    }

    @inline(__always) private static func key(_ left: Int32, _ right: Int32) -> UInt64 {
        UInt64(UInt32(bitPattern: left)) << 32 | UInt64(UInt32(bitPattern: right))
    }
    @inline(__always) private func slot(_ key: UInt64) -> Int {
        let mixed = key &* 0x9E37_79B9_7F4A_7C15
        return Int(truncatingIfNeeded: mixed ^ (mixed >> 32)) & mask
    }

    /// Adds a merge; a later one of the same pair takes the place of an earlier.
    mutating func insert(_ left: Int32, _ right: Int32, rank: Int, result: Int32) {
        precondition(count * 2 < keys.count, "the table was made for fewer merges")
        let key = Self.key(left, right)
        var slot = slot(key)
        while keys[slot] != Self.free, keys[slot] != key { slot = (slot + 1) & mask }
        if keys[slot] == Self.free { count += 1 }
        keys[slot] = key
        values[slot] = UInt64(rank) << 32 | UInt64(UInt32(bitPattern: result))
    }

    /// The rank in the high half and the resulting token in the low; `UInt64.max` where the pair does
    /// not merge.
    @inline(__always) func merge(_ left: Int32, _ right: Int32) -> UInt64 {
        let key = Self.key(left, right)
        var slot = slot(key)
        return keys.withUnsafeBufferPointer { keys in
            while true {
                let found = keys[slot]
                if found == key { return values[slot] }
                if found == Self.free { return UInt64.max }
                slot = (slot + 1) & mask
            }
        }
    }
}

/// A BPE model: vocabulary, merges, and what to do with characters that the vocabulary lacks.
///
/// Source: `tokenizers/src/models/bpe` of Hugging Face; merges apply lowest rank first, leftmost first
/// among equals.
struct BPE: Sendable {
    var vocabulary: Vocabulary
    var merges: MergeTable
    var unknownID: Int32?
    /// Whether neighbouring unknown characters become one unknown token.
    var fusesUnknown = false
    /// Whether a word that is a token is taken whole, whatever the merges say.
    var ignoresMerges = false
    /// The tokens `<0x00>` to `<0xFF>` for characters that the vocabulary lacks; -1 where missing.
    /// `nil` without byte fallback.
    var byteTokens: [Int32]?
    /// For byte-level models: the token of each byte, -1 where missing. Words are then bytes as they are,
    /// and `vocabulary` holds the tokens' bytes and not their printable forms.
    var byteLevelTokens: [Int32]?
    /// Whether no token reaches over the border between another character and U+2581 after it, so that
    /// text can be cut there: merges then never cross it, and each part can be looked up by itself.
    var cutsAtMetaspace = false
    /// The token of each ASCII character, -1 where missing.
    var asciiTokens: [Int32] = []

    /// Words of at most this many bytes are remembered.
    static let longestRemembered = 96

    /// Appends the tokens of a text that is one word to the pre-tokenizer.
    func encode(
        _ word: UnsafeBufferPointer<UInt8>, into result: inout [Int32], _ memory: inout WordMemory
    ) {
        guard cutsAtMetaspace else {
            encodeRemembered(word, into: &result, &memory)
            return
        }
        // U+2581 is E2 96 81; E2 cannot be inside another character.
        var start = 0
        var index = 0
        let count = word.count
        var previousIsMetaspace = true
        while index < count {
            if word[index] == 0xE2, word[index + 1] == 0x96, word[index + 2] == 0x81 {
                if !previousIsMetaspace {
                    encodeRemembered(
                        UnsafeBufferPointer(rebasing: word[start..<index]), into: &result, &memory)
                    start = index
                }
                previousIsMetaspace = true
                index += 3
            } else {
                previousIsMetaspace = false
                index += 1
            }
        }
        encodeRemembered(UnsafeBufferPointer(rebasing: word[start...]), into: &result, &memory)
    }

    private func encodeRemembered(
        _ word: UnsafeBufferPointer<UInt8>, into result: inout [Int32], _ memory: inout WordMemory
    ) {
        if word.isEmpty { return }
        guard word.count <= Self.longestRemembered else {
            encodeAnew(word, into: &result, &memory)
            return
        }
        let hash = hashBytes(word)
        if memory.append(word, hash, to: &result) { return }
        let start = result.count
        encodeAnew(word, into: &result, &memory)
        memory.remember(word, hash, result[start...])
    }

    private func encodeAnew(
        _ word: UnsafeBufferPointer<UInt8>, into result: inout [Int32], _ memory: inout WordMemory
    ) {
        if ignoresMerges {
            let id = vocabulary.id(of: word)
            if id >= 0 {
                result.append(id)
                return
            }
        }
        memory.symbols.removeAll(keepingCapacity: true)
        if let byteLevelTokens {
            for byte in word {
                let id = byteLevelTokens[Int(byte)]
                if id >= 0 {
                    memory.symbols.append(id)
                } else if let unknownID {
                    memory.symbols.append(unknownID)
                }
            }
        } else {
            appendCharacters(word, to: &memory.symbols)
        }
        if memory.symbols.count <= 48 {
            mergeByScanning(&memory)
        } else {
            mergeByQueue(&memory)
        }
        result.append(contentsOf: memory.symbols)
    }

    /// The tokens of single characters, before any merge.
    private func appendCharacters(
        _ word: UnsafeBufferPointer<UInt8>, to symbols: inout [Int32]
    ) {
        var isUnknownPending = false
        var offset = 0
        while offset < word.count {
            let first = word[offset]
            let length = scalarLength(first)
            let character = UnsafeBufferPointer(rebasing: word[offset..<(offset + length)])
            offset += length
            let id = first < 0x80 ? asciiTokens[Int(first)] : vocabulary.id(of: character)
            if id >= 0 {
                if isUnknownPending { symbols.append(unknownID!) }
                isUnknownPending = false
                symbols.append(id)
                continue
            }
            if let byteTokens, character.allSatisfy({ byteTokens[Int($0)] >= 0 }) {
                // The reference adds these before an unknown that is still pending.
                for byte in character { symbols.append(byteTokens[Int(byte)]) }
                continue
            }
            guard let unknownID else { continue }
            if isUnknownPending, !fusesUnknown { symbols.append(unknownID) }
            isUnknownPending = true
        }
        if isUnknownPending { symbols.append(unknownID!) }
    }

    /// Merges in a short word: the best pair is looked for again after each merge.
    private func mergeByScanning(_ memory: inout WordMemory) {
        var count = memory.symbols.count
        if count < 2 { return }
        memory.pairs.removeAll(keepingCapacity: true)
        for index in 0..<(count - 1) {
            memory.pairs.append(merges.merge(memory.symbols[index], memory.symbols[index + 1]))
        }
        memory.symbols.withUnsafeMutableBufferPointer { symbols in
            memory.pairs.withUnsafeMutableBufferPointer { pairs in
                while true {
                    var best = UInt64.max
                    var place = -1
                    for index in 0..<(count - 1) where pairs[index] < best {
                        best = pairs[index]
                        place = index
                    }
                    if place < 0 { return }
                    symbols[place] = Int32(bitPattern: UInt32(truncatingIfNeeded: best))
                    for index in (place + 1)..<max(place + 1, count - 1) {
                        symbols[index] = symbols[index + 1]
                    }
                    for index in place..<max(place, count - 2) { pairs[index] = pairs[index + 1] }
                    count -= 1
                    if place > 0 {
                        pairs[place - 1] = merges.merge(symbols[place - 1], symbols[place])
                    }
                    if place < count - 1 {
                        pairs[place] = merges.merge(symbols[place], symbols[place + 1])
                    }
                }
            }
        }
        memory.symbols.removeLast(memory.symbols.count - count)
    }

    /// Merges in a long word: pairs wait in a queue ordered by rank, then place, so that the time grows
    /// as n log n.
    private func mergeByQueue(_ memory: inout WordMemory) {
        let count = memory.symbols.count
        var symbols = memory.symbols
        var next = (0..<count).map { $0 + 1 < count ? $0 + 1 : -1 }
        var previous = (0..<count).map { $0 - 1 }
        var queue = MergeQueue()
        func push(_ place: Int) {
            guard place >= 0, next[place] >= 0 else { return }
            let merge = merges.merge(symbols[place], symbols[next[place]])
            if merge != UInt64.max { queue.push(.init(merge: merge, place: place)) }
        }
        for place in 0..<(count - 1) { push(place) }
        while let best = queue.pop() {
            let place = best.place
            guard symbols[place] >= 0, next[place] >= 0 else { continue }
            let right = next[place]
            // A merge that waited while its symbols grew is not this one any more.
            guard merges.merge(symbols[place], symbols[right]) == best.merge else { continue }
            symbols[place] = Int32(bitPattern: UInt32(truncatingIfNeeded: best.merge))
            symbols[right] = -1
            next[place] = next[right]
            if next[right] >= 0 { previous[next[right]] = place }
            push(previous[place])
            push(place)
        }
        memory.symbols = symbols.filter { $0 >= 0 }
    }
}

/// Waiting merges, the lowest rank first and the leftmost first among equals: a binary heap.
private struct MergeQueue {
    struct Entry {
        /// Rank in the high half, so that comparing compares ranks.
        var merge: UInt64
        var place: Int
        func precedes(_ other: Entry) -> Bool {
            let (rank, otherRank) = (merge >> 32, other.merge >> 32)
            return rank != otherRank ? rank < otherRank : place < other.place
        }
    }
    private var entries: [Entry] = []

    mutating func push(_ entry: Entry) {
        entries.append(entry)
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            if !entries[child].precedes(entries[parent]) { break }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func pop() -> Entry? {
        guard let first = entries.first else { return nil }
        let last = entries.removeLast()
        if entries.isEmpty { return first }
        entries[0] = last
        var parent = 0
        while true {
            var least = parent
            for child in [2 * parent + 1, 2 * parent + 2]
            where child < entries.count && entries[child].precedes(entries[least]) {
                least = child
            }
            if least == parent { return first }
            entries.swapAt(parent, least)
            parent = least
        }
    }
}

/// Words already encoded, and room to work in. Forgetting changes time alone, never a token.
struct WordMemory: Sendable {
    var symbols: [Int32] = []
    var pairs: [UInt64] = []

    private struct Slot {
        var hash: UInt64
        var keyStart: UInt32
        var tokenStart: UInt32
        var keyCount: UInt16
        /// 0 where the slot is free; words without a token are not remembered.
        var tokenCount: UInt16
    }
    private static let slotCount = 1 << 16
    private var slots: [Slot] = []
    private var keys: [UInt8] = []
    private var tokens: [Int32] = []
    private var count = 0

    /// Appends what is remembered of a word; `false` where nothing is.
    @inline(__always)
    func append(
        _ word: UnsafeBufferPointer<UInt8>, _ hash: UInt64, to result: inout [Int32]
    ) -> Bool {
        if slots.isEmpty { return false }
        return slots.withUnsafeBufferPointer { slots in
            var index = Int(truncatingIfNeeded: hash) & (Self.slotCount - 1)
            while slots[index].tokenCount != 0 {
                let slot = slots[index]
                if slot.hash == hash, Int(slot.keyCount) == word.count, matches(slot, word) {
                    if slot.tokenCount == 1 {
                        result.append(tokens[Int(slot.tokenStart)])
                    } else {
                        let start = Int(slot.tokenStart)
                        result.append(contentsOf: tokens[start..<(start + Int(slot.tokenCount))])
                    }
                    return true
                }
                index = (index + 1) & (Self.slotCount - 1)
            }
            return false
        }
    }

    @inline(__always)
    private func matches(_ slot: Slot, _ word: UnsafeBufferPointer<UInt8>) -> Bool {
        keys.withUnsafeBufferPointer { keys in
            let start = Int(slot.keyStart)
            for offset in 0..<word.count where keys[start + offset] != word[offset] {
                return false
            }
            return true
        }
    }

    mutating func remember(
        _ word: UnsafeBufferPointer<UInt8>, _ hash: UInt64, _ found: ArraySlice<Int32>
    ) {
        if found.isEmpty { return }
        if slots.isEmpty || count * 4 > Self.slotCount * 3 {
            let free = Slot(hash: 0, keyStart: 0, tokenStart: 0, keyCount: 0, tokenCount: 0)
            slots = Array(repeating: free, count: Self.slotCount)
            keys.removeAll(keepingCapacity: true)
            tokens.removeAll(keepingCapacity: true)
            count = 0
        }
        var index = Int(truncatingIfNeeded: hash) & (Self.slotCount - 1)
        while slots[index].tokenCount != 0 { index = (index + 1) & (Self.slotCount - 1) }
        slots[index] = Slot(
            hash: hash, keyStart: UInt32(keys.count), tokenStart: UInt32(tokens.count),
            keyCount: UInt16(word.count), tokenCount: UInt16(found.count))
        keys.append(contentsOf: word)
        tokens.append(contentsOf: found)
        count += 1
    }
}
