// gzip's checksum, which libarchive reads over without looking.

internal import Dispatch

/// CRC-32 (IEEE 802.3, reflected) of a stream, eight bytes at a time, on a thread of its own.
///
/// Unchecked: the state is touched on `queue` only.
final class CRC32Lane: @unchecked Sendable {
    private let queue = DispatchQueue(label: "crc32")
    private var state: UInt32 = 0xffff_ffff

    func update(_ lease: Lease) {
        queue.async { self.state = Self.update(self.state, lease.bytes) }
    }

    func finish() -> UInt32 { queue.sync { self.state ^ 0xffff_ffff } }

    /// Of bytes in memory.
    static func checksum(_ bytes: [UInt8]) -> UInt32 {
        bytes.withUnsafeBytes { update(0xffff_ffff, $0) } ^ 0xffff_ffff
    }

    /// `tables[k][b]`: the effect of byte b followed by k zero bytes.
    private static let tables: [UInt32] = {
        var tables = [UInt32](repeating: 0, count: 8 * 256)
        for byte in 0..<256 {
            var value = UInt32(byte)
            for _ in 0..<8 { value = value & 1 == 1 ? value >> 1 ^ 0xedb8_8320 : value >> 1 }
            tables[byte] = value
        }
        for table in 1..<8 {
            for byte in 0..<256 {
                let before = tables[(table - 1) * 256 + byte]
                tables[table * 256 + byte] = before >> 8 ^ tables[Int(before & 255)]
            }
        }
        return tables
    }()

    private static func update(_ initial: UInt32, _ bytes: UnsafeRawBufferPointer) -> UInt32 {
        var state = initial
        tables.withUnsafeBufferPointer { tables in
            var index = 0
            while index + 8 <= bytes.count {
                let word =
                    UInt64(
                        littleEndian: bytes.loadUnaligned(fromByteOffset: index, as: UInt64.self))
                    ^ UInt64(state)
                state = 0
                for lane in 0..<8 {
                    state ^= tables[(7 - lane) * 256 + Int(word >> (8 * UInt64(lane)) & 255)]
                }
                index += 8
            }
            while index < bytes.count {
                state = state >> 8 ^ tables[Int((state ^ UInt32(bytes[index])) & 255)]
                index += 1
            }
        }
        return state
    }
}
