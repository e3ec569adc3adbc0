// What `study export` writes at an archive's end where its format has a place for it: the hash of the tar within. A
// bare tar has none; its own SHA-256 is that hash.

internal import Foundation

/// A skippable frame after the last one, which every zstd reader passes over: the hash of the tar within,
/// and that of the frames around it, in which zstd has bits that it never looks at.
struct ZstdTrailer: Equatable {
    /// 8 bytes of frame header, then the text.
    static let byteCount = 8 + 184
    var tarSHA256: String
    var framingSHA256: String

    var bytes: [UInt8] {
        var text = "study-bundle 2 tar-sha256=\(tarSHA256) frames-sha256=\(framingSHA256)\n"
        text = text.padding(toLength: Self.byteCount - 8, withPad: " ", startingAt: 0)
        return [0x50, 0x2a, 0x4d, 0x18, UInt8(Self.byteCount - 8), 0, 0, 0] + Array(text.utf8)
    }
}

/// A second, empty member after the first, which every gzip reader adds to the contents as nothing (RFC 1952, 2.2);
/// the hash is its comment.
struct GzipMark {
    /// The header, the comment with its zero, an empty block of deflate, and the checksum and size of nothing.
    static let byteCount = 10 + 91 + 2 + 8
    var tarSHA256: String

    var bytes: [UInt8] {
        [0x1f, 0x8b, 8, 0x10, 0, 0, 0, 0, 0, 3]
            + Array("study-bundle 2 tar-sha256=\(tarSHA256)\u{0}".utf8) + [3, 0]
            + [UInt8](repeating: 0, count: 8)
    }
}

/// The comment of a zip (APPNOTE 6.3.10, 4.3.16). A zip is not made from a tar: the hash is that of the tar of the
/// same files in the same order, whose entries have the time that stands beside it.
struct ZipMark {
    static let byteCount = 120
    private static let beginning = "study-bundle 2 tar-sha256="
    var tarSHA256: String
    /// Of every entry of the tar, in seconds since 1970.
    var time: Int64

    init(tarSHA256: String, time: Int64) {
        self.tarSHA256 = tarSHA256
        self.time = time
    }

    /// Nil where the bytes are none.
    init?(_ bytes: [UInt8]) {
        let text = String(decoding: bytes, as: UTF8.self)
        let parts = text.dropFirst(Self.beginning.count).split(whereSeparator: \.isWhitespace)
        guard bytes.count == Self.byteCount, text.hasPrefix(Self.beginning), parts.count == 2,
            parts[1].hasPrefix("time="), let time = Int64(parts[1].dropFirst(5))
        else { return nil }
        self.init(tarSHA256: String(parts[0]), time: time)
    }

    var bytes: [UInt8] {
        let text = Self.beginning + "\(tarSHA256) time=\(time)"
        return Array(
            (text.padding(toLength: Self.byteCount - 1, withPad: " ", startingAt: 0) + "\n").utf8)
    }
}

/// Takes a zip as libarchive writes it, which knows no comments, and puts one at its end.
final class ZipTail {
    private let sink: ArchiveWriter.Sink
    /// The last two bytes so far: at the end, those that say how long the comment is.
    private var held: [UInt8] = []

    init(sink: @escaping ArchiveWriter.Sink) { self.sink = sink }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        if bytes.count < 2 {
            let joined = held + bytes
            held = joined.suffix(2)
            return try put(Array(joined.dropLast(2)))
        }
        try put(held)
        held = bytes.suffix(2)
        if bytes.count > 2 { try sink(UnsafeRawBufferPointer(rebasing: bytes.dropLast(2))) }
    }

    func finish(_ comment: [UInt8]) throws {
        try put([UInt8(comment.count & 255), UInt8(comment.count >> 8)] + comment)
    }

    private func put(_ bytes: [UInt8]) throws {
        if !bytes.isEmpty { try bytes.withUnsafeBytes { try sink($0) } }
    }
}
