// What was read before it may leave, and is not read again: small files in memory, the rest as copies among the
// temporary files.

internal import Foundation
internal import Provenance

/// Keeps what was read while a bundle is planned. Memory holds no more than a fixed sum, however much there is.
struct Spool {
    /// Bytes that may still be kept in memory.
    private(set) var room: Int64 = 16 << 20
    private let folder: String
    private var count = 0

    /// - Parameter folder: For copies; whoever made it removes it.
    init(_ folder: String) { self.folder = folder }

    /// Takes bytes that were read.
    mutating func keep(_ bytes: [UInt8]) throws -> ByteSource {
        if bytes.count <= room {
            room -= Int64(bytes.count)
            return .bytes(bytes)
        }
        return try copy(.bytes(bytes)).source
    }

    /// Reads a file of any size once, into a copy.
    mutating func copy(_ source: ByteSource) throws -> (source: ByteSource, sha256: String) {
        count += 1
        let path = folder + "/spool-\(count)"
        let file = try FileHandleOwner(
            creating: path,
            mend: "make room, or choose another folder for temporary files by TMPDIR")
        let hasher = StreamDigest(.sha256)
        try source.eachBlock {
            hasher.update($0)
            try file.write($0)
        }
        return (.file(path, size: source.size), hasher.finish())
    }
}
