// Tokens by their bytes and by their ids, and the hash of byte strings that the tables share. Keys are
// bytes, so canonically equivalent tokens stay different.

/// A hash of bytes: multiply and fold over 8-byte words (the construction of wyhash, Wang Yi).
@inline(__always)
func hashBytes(_ bytes: UnsafeBufferPointer<UInt8>) -> UInt64 {
    @inline(__always) func mix(_ a: UInt64, _ b: UInt64) -> UInt64 {
        let product = a.multipliedFullWidth(by: b)
        return product.high ^ product.low
    }
    guard let base = UnsafeRawPointer(bytes.baseAddress) else { return 0x9E37_79B9_7F4A_7C15 }
    let count = bytes.count
    var hash = 0x9E37_79B9_7F4A_7C15 ^ UInt64(truncatingIfNeeded: count)
    var offset = 0
    while offset + 8 <= count {
        hash = mix(
            hash ^ base.loadUnaligned(fromByteOffset: offset, as: UInt64.self),
            0xE703_7ED1_A0B4_28DB)
        offset += 8
    }
    var tail: UInt64 = 0
    if offset + 4 <= count {
        tail = UInt64(base.loadUnaligned(fromByteOffset: offset, as: UInt32.self))
        offset += 4
    }
    while offset < count {
        tail = tail << 8 | UInt64(base.load(fromByteOffset: offset, as: UInt8.self))
        offset += 1
    }
    return mix(hash ^ tail, 0x8EBC_6AF0_9C88_C6E3)
}

/// Tokens and their ids. Built by `insert`, then only read.
struct Vocabulary: Sendable {
    private var arena: [UInt8] = []
    /// Each token's bytes in the arena, in the order of insertion.
    private var spans: [(start: Int, count: Int)] = []
    private var ids: [Int32] = []
    /// Open addressing with linear probing: index + 1 into `spans`, 0 where free.
    private var slots: [UInt32]
    private var mask: Int
    /// Index + 1 into `spans` by id; the last inserted counts.
    private var byID: [UInt32] = []

    init(capacity: Int = 64) {
        var size = 64
        while size < capacity * 2 { size *= 2 }
        slots = Array(repeating: 0, count: size)
        mask = size - 1
    }

    /// The number of different tokens.
    var count: Int { spans.count }
    var isEmpty: Bool { spans.isEmpty }
    /// One more than the greatest id.
    var endID: Int { byID.count }

    /// Adds a token, or gives one that is there another id.
    mutating func insert(_ token: UnsafeBufferPointer<UInt8>, id: Int32) {
        if spans.count * 2 >= slots.count { grow() }
        var slot = Int(truncatingIfNeeded: hashBytes(token)) & mask
        var index = spans.count
        while slots[slot] != 0 {
            let candidate = Int(slots[slot]) - 1
            if equals(candidate, token) {
                index = candidate
                break
            }
            slot = (slot + 1) & mask
        }
        if index == spans.count {
            spans.append((arena.count, token.count))
            ids.append(id)
            arena.append(contentsOf: token)
            slots[slot] = UInt32(index + 1)
        }
        ids[index] = id
        while byID.count <= Int(id) { byID.append(0) }
        byID[Int(id)] = UInt32(index + 1)
    }

    mutating func insert(_ token: String, id: Int32) {
        var token = token
        token.withUTF8 { insert($0, id: id) }
    }

    private mutating func grow() {
        let size = slots.count * 2
        slots = Array(repeating: 0, count: size)
        mask = size - 1
        arena.withUnsafeBufferPointer { arena in
            for (index, span) in spans.enumerated() {
                let token = UnsafeBufferPointer(
                    rebasing: arena[span.start..<(span.start + span.count)])
                var slot = Int(truncatingIfNeeded: hashBytes(token)) & mask
                while slots[slot] != 0 { slot = (slot + 1) & mask }
                slots[slot] = UInt32(index + 1)
            }
        }
    }

    @inline(__always)
    private func equals(_ index: Int, _ token: UnsafeBufferPointer<UInt8>) -> Bool {
        let span = spans[index]
        if span.count != token.count { return false }
        return arena.withUnsafeBufferPointer { arena in
            for offset in 0..<span.count where arena[span.start + offset] != token[offset] {
                return false
            }
            return true
        }
    }

    /// The id of a token, or -1.
    func id(of token: UnsafeBufferPointer<UInt8>) -> Int32 {
        var slot = Int(truncatingIfNeeded: hashBytes(token)) & mask
        while slots[slot] != 0 {
            let candidate = Int(slots[slot]) - 1
            if equals(candidate, token) { return ids[candidate] }
            slot = (slot + 1) & mask
        }
        return -1
    }

    func id(of token: String) -> Int32? {
        var token = token
        let id = token.withUTF8 { (bytes) -> Int32 in self.id(of: bytes) }
        return id < 0 ? nil : id
    }

    /// Calls `body` with the bytes of a token; `nil` where no token has the id.
    func withToken<R>(_ id: Int32, _ body: (UnsafeBufferPointer<UInt8>) -> R) -> R? {
        guard id >= 0, Int(id) < byID.count, byID[Int(id)] != 0 else { return nil }
        let span = spans[Int(byID[Int(id)]) - 1]
        return arena.withUnsafeBufferPointer {
            body(UnsafeBufferPointer(rebasing: $0[span.start..<(span.start + span.count)]))
        }
    }

    func token(_ id: Int32) -> [UInt8]? { withToken(id) { Array($0) } }

    /// Calls `body` with every token and its id, in the order of insertion.
    func forEach(_ body: (UnsafeBufferPointer<UInt8>, Int32) -> Void) {
        arena.withUnsafeBufferPointer { arena in
            for (span, id) in zip(spans, ids) {
                body(
                    UnsafeBufferPointer(rebasing: arena[span.start..<(span.start + span.count)]), id
                )
            }
        }
    }
}
