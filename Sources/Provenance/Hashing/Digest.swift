// SHA-256 of bytes in memory, written as 64 hexadecimal digits. FileDigest.swift reads files.

internal import Crypto

/// A SHA-256 digest.
package struct Digest: Sendable, Hashable, CustomStringConvertible {
    /// 64 lower-case hexadecimal digits.
    package let hex: String

    package init(hex: String) { self.hex = hex }

    /// The digest of `bytes`.
    package init(of bytes: some Sequence<UInt8>) {
        var hasher = SHA256()
        if bytes.withContiguousStorageIfAvailable({ hasher.update(bufferPointer: .init($0)) })
            == nil
        {
            hasher.update(data: Array(bytes))
        }
        self.init(hasher.finalize())
    }

    /// The digest of the text's UTF-8 bytes.
    package init(of text: String) { self.init(of: text.utf8) }

    init(_ digest: SHA256.Digest) {
        hex = hexadecimal(digest)
    }

    package var description: String { hex }
}

/// `bytes` as lower-case hexadecimal digits.
package func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// Feeds values to SHA-256 so that no two different sequences give the same bytes: each is preceded
/// by its kind, texts by their length. The seal of a run is made of this.
struct CanonicalHasher {
    private var hasher = SHA256()
    private var buffer: [UInt8] = []

    mutating func add(_ text: String) {
        add(tag: UInt8(ascii: "T"), UInt64(text.utf8.count))
        buffer.append(contentsOf: text.utf8)
        spill()
    }
    mutating func add(_ value: Int64) {
        add(tag: UInt8(ascii: "I"), UInt64(bitPattern: value))
        spill()
    }
    /// Every NaN counts as the same one: SQLite keeps no payload.
    mutating func add(_ value: Double) {
        add(tag: UInt8(ascii: "R"), value.isNaN ? Double.nan.bitPattern : value.bitPattern)
        spill()
    }
    mutating func add(_ bytes: [UInt8]) {
        add(tag: UInt8(ascii: "B"), UInt64(bytes.count))
        buffer.append(contentsOf: bytes)
        spill()
    }
    mutating func addNothing() {
        buffer.append(UInt8(ascii: "N"))
        spill()
    }

    private mutating func add(tag: UInt8, _ bits: UInt64) {
        buffer.append(tag)
        withUnsafeBytes(of: bits.littleEndian) { buffer.append(contentsOf: $0) }
    }

    private mutating func spill() {
        guard buffer.count > 4096 else { return }
        flush()
    }
    private mutating func flush() {
        buffer.withUnsafeBytes { hasher.update(bufferPointer: $0) }
        buffer.removeAll(keepingCapacity: true)
    }

    /// The digest of everything added so far; more may be added afterwards.
    mutating func digest() -> Digest {
        flush()
        return Digest(hasher.finalize())
    }
}
