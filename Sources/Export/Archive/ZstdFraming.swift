// Follows the frames of a zstd file (RFC 8878) beside its decompressing, to hash what the hash of its
// contents says nothing of. Decompresses nothing; memory is a few bytes.

internal import Provenance

/// The hash that ``ZstdPacking`` makes, from the file's bytes as they are read.
struct ZstdFraming {
    private enum Part {
        case magic, descriptor
        case header(isStored: Bool, hasChecksum: Bool)
        case block(isStored: Bool, hasChecksum: Bool)
        case checksum
    }
    private var part = Part.magic
    /// The bytes of the part that is being read, and how many it has.
    private var found: [UInt8] = []
    private var wanted = 4
    /// Contents still to come, and whether they belong to the hash.
    private var left = 0
    private var isHashed = true
    private var isBroken = false
    private let hasher = StreamDigest(.sha256)

    /// - Parameter bytes: The next of the file, up to the trailer.
    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var index = 0
        while index < bytes.count, !isBroken {
            let take = min(left > 0 ? left : wanted - found.count, bytes.count - index)
            let piece = UnsafeRawBufferPointer(rebasing: bytes[index..<index + take])
            index += take
            if left > 0 {
                if isHashed { hasher.update(piece) }
                left -= take
            } else {
                found += piece
                if found.count == wanted {
                    hasher.update(found)
                    advance()
                }
            }
        }
    }

    /// Nil where the bytes are no whole frames.
    func finish() -> String? {
        guard !isBroken, left == 0, found.isEmpty, case .magic = part else { return nil }
        return hasher.finish()
    }

    private mutating func advance() {
        let bytes = found
        found = []
        switch part {
        case .magic:
            // Skippable frames have another magic number: there is none but the trailer.
            isBroken = bytes != Array(ZstdPacking.storedHeader.prefix(4))
            part = .descriptor
            wanted = 1
        case .descriptor:
            let flags = bytes[0]
            let isSingle = flags & 0x20 != 0
            let sizes = [isSingle ? 1 : 0, 2, 4, 8]
            wanted = (isSingle ? 0 : 1) + [0, 1, 2, 4][Int(flags & 3)] + sizes[Int(flags >> 6)]
            part = .header(
                isStored: flags == ZstdPacking.storedHeader[4], hasChecksum: flags & 4 != 0)
        case .header(let isStored, let hasChecksum):
            part = .block(
                isStored: isStored && bytes == [ZstdPacking.storedHeader[5]],
                hasChecksum: hasChecksum)
            wanted = 3
        case .block(let isStored, let hasChecksum):
            let word = Int(bytes[0]) | Int(bytes[1]) << 8 | Int(bytes[2]) << 16
            let type = word >> 1 & 3
            isBroken = type == 3
            // Of a run of one byte only that byte is there.
            left = type == 1 ? 1 : word >> 3
            isHashed = !(isStored && type == 0)
            if word & 1 != 0 {
                part = hasChecksum ? .checksum : .magic
                wanted = 4
            }
        case .checksum:
            part = .magic
        }
    }
}
