// The zstd file around a bundle's tar (RFC 8878): frames that libarchive compresses, and between them
// frames of stored blocks for bytes that would not shrink, so that weights cost no compressing and no
// decompressing. ZstdFraming.swift reads the frames again.

internal import Foundation
internal import Provenance

/// Packs a tar's bytes, each stretch in a frame of the kind that suits it. What goes where depends on the
/// bytes alone, so the same tar gives the same file on every machine.
package final class ZstdPacking {
    /// A stored frame: no checksum, no size, no dictionary; a window of 128 KiB, which is the largest block.
    /// libzstd chooses this window for nothing that libarchive streams through it.
    static let storedHeader: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]
    static let blockSize = 128 << 10

    private enum Frame {
        case none, stored
        case packed(Compressor)
    }
    private var frame = Frame.none
    private let sink: ([UnsafeRawBufferPointer]) throws -> Void
    /// Of all bytes but the contents of stored blocks, which the hash of the tar covers.
    private let framing = StreamDigest(.sha256)

    init(sink: @escaping ([UnsafeRawBufferPointer]) throws -> Void) { self.sink = sink }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard bytes.count > 0 else { return }
        switch frame {
        case .none: try begin(stores: Self.isIncompressible(bytes))
        // Headers and padding go along with what surrounds them: a new frame has its price.
        case .packed where bytes.count >= 64 << 10 && Self.isIncompressible(bytes):
            try begin(stores: true)
        case .stored where bytes.count >= 1 << 10 && !Self.isIncompressible(bytes):
            try begin(stores: false)
        default: break
        }
        if case .packed(let compressor) = frame {
            try compressor.write(bytes)
        } else {
            try store(bytes)
        }
    }

    /// Ends the last frame.
    /// - Returns: SHA-256 of everything but what stored blocks hold.
    func finish() throws -> String {
        try end()
        return framing.finish()
    }

    private func begin(stores: Bool) throws {
        try end()
        if stores {
            try put(Self.storedHeader)
            frame = .stored
        } else {
            let (sink, framing) = (sink, framing)
            frame = .packed(
                try Compressor(.tarZstd) { bytes in
                    framing.update(bytes)
                    try sink([bytes])
                })
        }
    }

    private func end() throws {
        switch frame {
        case .none: break
        // An empty block that says that it is the last.
        case .stored: try put([1, 0, 0])
        case .packed(let compressor): try compressor.finish()
        }
        frame = .none
    }

    private func put(_ bytes: [UInt8]) throws {
        framing.update(bytes)
        try bytes.withUnsafeBytes { try sink([$0]) }
    }

    private func store(_ bytes: UnsafeRawBufferPointer) throws {
        var headers: [UInt8] = []
        for start in stride(from: 0, to: bytes.count, by: Self.blockSize) {
            // 21 bits of size, two of type (0: raw), one for the last.
            let word = UInt32(min(Self.blockSize, bytes.count - start)) << 3
            headers += [
                UInt8(truncatingIfNeeded: word), UInt8(truncatingIfNeeded: word >> 8),
                UInt8(truncatingIfNeeded: word >> 16),
            ]
        }
        framing.update(headers)
        try headers.withUnsafeBytes { headers in
            var pieces: [UnsafeRawBufferPointer] = []
            for (index, start) in stride(from: 0, to: bytes.count, by: Self.blockSize).enumerated()
            {
                let end = min(start + Self.blockSize, bytes.count)
                pieces.append(UnsafeRawBufferPointer(rebasing: headers[index * 3..<index * 3 + 3]))
                pieces.append(UnsafeRawBufferPointer(rebasing: bytes[start..<end]))
            }
            try sink(pieces)
        }
    }

    /// Whether coding these bytes by their frequencies would save less than a tenth: their entropy is above
    /// 7.2 bits a byte. Noise has 8, Gaussian Float32 7.4 (its exponents alone are uneven), Float16 and bfloat16
    /// 6.5, English 4.5.
    ///
    /// Up to sixteen stretches of 4 KiB are counted. In whole numbers, so that every machine decides alike.
    package static func isIncompressible(_ bytes: UnsafeRawBufferPointer) -> Bool {
        let stretch = 4 << 10
        let step = max(stretch, bytes.count / 16)
        var counts = [UInt64](repeating: 0, count: 256)
        var total: UInt64 = 0
        counts.withUnsafeMutableBufferPointer { counts in
            for start in stride(from: 0, to: bytes.count, by: step) {
                let end = min(start + stretch, bytes.count)
                for index in start..<end { counts[Int(bytes[index])] += 1 }
                total += UInt64(end - start)
            }
        }
        // n H = n log n − Σ c log c, in units of 2⁻¹⁶ bits.
        let spent = counts.reduce(0) { $0 + $1 * logarithm($1) }
        return (total * logarithm(total) - spent) * 10 > (72 * total) << 16
    }

    /// log₂ in units of 2⁻¹⁶, rounded down; 0 of 0. The digits of the fraction come one by one, by squaring.
    package static func logarithm(_ value: UInt64) -> UInt64 {
        guard value > 1 else { return 0 }
        let whole = UInt64(63 - value.leadingZeroBitCount)
        // Between 1 and 2, with 31 binary places.
        var rest = whole > 31 ? value >> (whole - 31) : value << (31 - whole)
        var result = whole
        for _ in 0..<16 {
            rest = (rest * rest) >> 31
            let digit = rest >> 32
            result = result << 1 | digit
            rest >>= digit
        }
        return result
    }
}
