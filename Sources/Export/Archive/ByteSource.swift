// Where the bytes of a bundle's files come from. Each file of the researcher's is opened and read once; what must
// be looked at before it may leave is kept by Spool.swift.

internal import Foundation
internal import Provenance

/// Where a file's bytes come from.
package enum ByteSource: Sendable, Equatable {
    case bytes([UInt8])
    /// A file on disk and the size it must have.
    case file(String, size: Int64)
    /// A file within a Git bundle that ``GitBundle`` wrote: the bundle, where the file's first stored block begins,
    /// and the file's size.
    case packed(String, offset: Int64, size: Int64)

    package var size: Int64 {
        switch self {
        case .bytes(let bytes): Int64(bytes.count)
        case .file(_, let size), .packed(_, _, let size): size
        }
    }

    /// Hands the bytes on in blocks of `count`, the last one shorter; a file is opened and read once.
    /// - Throws: ``ExportError`` where the file cannot be read or has another size.
    func eachBlock(of count: Int = 1 << 18, _ body: (UnsafeRawBufferPointer) throws -> Void) throws
    {
        if case .bytes(let bytes) = self {
            try bytes.withUnsafeBytes { all in
                for start in stride(from: 0, to: all.count, by: count) {
                    try body(
                        UnsafeRawBufferPointer(
                            rebasing: all[start..<min(start + count, all.count)]))
                }
            }
            return
        }
        let space = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
        defer { space.deallocate() }
        try read { wanted in
            UnsafeMutableRawBufferPointer(rebasing: space[..<min(count, wanted)])
        } filled: {
            try body($0)
        }
    }

    /// All of the bytes.
    func contents() throws -> [UInt8] {
        if case .bytes(let bytes) = self { return bytes }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(size))
        try eachBlock { bytes.append(contentsOf: $0) }
        return bytes
    }

    /// Reads a file of a known size; nothing of bytes in memory.
    /// - Parameters:
    ///   - next: Gives the space for the next bytes, of those that are left.
    ///   - filled: Takes that space, filled.
    func read(
        next: (Int) -> UnsafeMutableRawBufferPointer,
        filled: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        guard let path else { return }
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw ExportError(
                .content, "A file of the bundle cannot be opened: \(systemMessage()).", where: path,
                mend: "restore it, or import the run again from a bundle that has it")
        }
        defer { close(file) }
        _ = posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
        var done: Int64 = 0
        while done < size {
            // Full blocks, however the system hands them out: how they are packed depends on where they end.
            let space = next(Int(min(size - done, Int64(Int.max))))
            var count = 0
            while count < space.count {
                let (place, length) = stretch(from: done + Int64(count))
                let wanted = min(space.count - count, length)
                let got = Positioned.read(
                    file, into: .init(rebasing: space[count..<count + wanted]), at: place)
                if got == 0 {
                    throw ExportError(
                        .content,
                        "A file of the bundle ends \(size - done - Int64(count)) bytes before its recorded size.",
                        where: path, mend: "restore it, or import the run again from a bundle")
                }
                count += got
            }
            done += Int64(count)
            try filled(UnsafeRawBufferPointer(space))
        }
        guard case .file = self else { return }
        var extra: UInt8 = 0
        if pread(file, &extra, 1, off_t(size)) > 0 {
            throw ExportError(
                .content, "A file of the bundle is longer than its recorded size of \(size) bytes.",
                where: path, mend: "restore it, or import the run again from a bundle")
        }
    }

    func sha256() throws -> String {
        let hasher = StreamDigest(.sha256)
        try eachBlock { hasher.update($0) }
        return hasher.finish()
    }

    /// Whether it is a file in this folder, or further below.
    func lies(below folder: String) -> Bool { path?.hasPrefix(folder + "/") ?? false }

    private var path: String? {
        switch self {
        case .bytes: nil
        case .file(let path, _), .packed(let path, _, _): path
        }
    }

    /// Where on the disk the byte at `place` lies, and how many lie there in one piece.
    private func stretch(from place: Int64) -> (place: Int64, length: Int) {
        guard case .packed(_, let offset, _) = self else { return (place, Int.max) }
        let block = Int64(GitBundle.blockSize)
        let within = place % block
        let start = offset + place / block * (block + Int64(GitBundle.blockHeader))
        return (start + Int64(GitBundle.blockHeader) + within, Int(block - within))
    }
}
