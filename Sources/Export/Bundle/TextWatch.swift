// Looks for texts that must not leave in files that are too large to be rewritten, as they stream by.

internal import Foundation

/// Finds names and home folders in a stream of bytes, wherever blocks end. Not thread-safe: one thread at a time.
package final class TextWatch {
    private let needles: [(text: String, bytes: [UInt8])]
    private let homes: Bool
    /// The end of what was seen, as long as what may be cut by the end of a block.
    private var tail: [UInt8] = []
    private let reach: Int
    private var hasZero = false
    private var needle: String?
    private var home: String?

    /// - Parameters:
    ///   - needles: Texts, found wherever they stand.
    ///   - homes: Whether to look for anybody's home folder too; only in files without a zero byte, as text has none.
    init(_ needles: [String], homes: Bool = true) {
        self.needles = needles.map { ($0, Array($0.utf8)) }
        self.homes = homes
        reach = max(64, needles.map(\.utf8.count).max() ?? 0)
    }

    func update(_ bytes: UnsafeRawBufferPointer) {
        guard needle == nil, bytes.count > 0 else { return }
        let joined = tail + bytes
        joined.withUnsafeBytes { look($0, isEnd: false) }
        tail = Array(joined.suffix(reach))
    }

    /// What was found since the beginning or the last call, or nil.
    func finish() -> String? {
        tail.withUnsafeBytes { look($0, isEnd: true) }
        defer { (needle, home, tail, hasZero) = (nil, nil, [], false) }
        return needle ?? (hasZero ? nil : home)
    }

    private func look(_ bytes: UnsafeRawBufferPointer, isEnd: Bool) {
        guard let start = bytes.baseAddress else { return }
        needle = needle ?? needles.first { Self.place(of: $0.bytes, in: bytes) != nil }?.text
        if !hasZero { hasZero = memchr(start, 0, bytes.count) != nil }
        guard homes, home == nil, !hasZero else { return }
        for prefix in ["/home/", "/Users/"] {
            var from = 0
            while let place = Self.place(of: Array(prefix.utf8), in: bytes, from: from) {
                from = place + prefix.utf8.count
                let name = bytes[from...].prefix(while: Self.isOfName)
                // One that is cut is seen whole in the next look.
                if name.isEmpty || (name.endIndex == bytes.count && !isEnd && name.count < 32) {
                    continue
                }
                let text = String(decoding: name, as: UTF8.self)
                if text != "anonymous" {
                    home = prefix + text
                    return
                }
            }
        }
    }

    private static func isOfName(_ byte: UInt8) -> Bool {
        let character = Character(UnicodeScalar(byte))
        return byte >= 0x80 || character.isLetter || character.isNumber || "._-".contains(character)
    }

    private static func place(
        of text: [UInt8], in bytes: UnsafeRawBufferPointer, from: Int = 0
    ) -> Int? {
        guard let start = bytes.baseAddress, let first = text.first else { return nil }
        var place = from
        while place + text.count <= bytes.count {
            let left = bytes.count - text.count + 1 - place
            guard let found = memchr(start + place, Int32(first), left) else { return nil }
            place = UnsafeRawPointer(found) - start
            if memcmp(start + place, text, text.count) == 0 { return place }
            place += 1
        }
        return nil
    }
}
