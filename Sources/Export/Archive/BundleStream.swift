// One pass over a bundle's files: each is read once, hashed twice and put into the archive, while
// the archive's tar form is hashed too. Which files, and in which order, Bundle/BundleWriter.swift says.

internal import Dispatch
internal import Foundation
internal import Provenance

/// Where a file's bytes come from.
package enum ByteSource: Sendable, Equatable {
    case bytes([UInt8])
    /// A file on disk and the size it must have.
    case file(String, size: Int64)

    package var size: Int64 {
        switch self {
        case .bytes(let bytes): Int64(bytes.count)
        case .file(_, let size): size
        }
    }

    /// Hands the bytes on in blocks of `count`, the last one shorter; a file is opened and read once.
    /// - Throws: ``ExportError`` where the file cannot be read or has another size.
    func eachBlock(of count: Int, _ body: (UnsafeRawBufferPointer) throws -> Void) throws {
        switch self {
        case .bytes(let bytes):
            try bytes.withUnsafeBytes { all in
                for start in stride(from: 0, to: all.count, by: count) {
                    try body(
                        UnsafeRawBufferPointer(
                            rebasing: all[start..<min(start + count, all.count)]))
                }
            }
        case .file(let path, let size):
            let space = UnsafeMutableRawBufferPointer.allocate(byteCount: count, alignment: 4096)
            defer { space.deallocate() }
            try Self.read(path, size: size) { wanted in
                UnsafeMutableRawBufferPointer(rebasing: space[..<min(count, wanted)])
            } filled: {
                try body($0)
            }
        }
    }

    /// All of the bytes.
    func contents() throws -> [UInt8] {
        if case .bytes(let bytes) = self { return bytes }
        var bytes: [UInt8] = []
        bytes.reserveCapacity(Int(size))
        try eachBlock(of: 1 << 18) { bytes.append(contentsOf: $0) }
        return bytes
    }

    func sha256() throws -> String {
        let hasher = StreamDigest(.sha256)
        try eachBlock(of: 1 << 18) { hasher.update($0) }
        return hasher.finish()
    }

    /// Reads a file of a known size.
    /// - Parameters:
    ///   - next: Gives the space for the next bytes, of those that are left.
    ///   - filled: Takes that space, filled.
    fileprivate static func read(
        _ path: String, size: Int64, next: (Int) -> UnsafeMutableRawBufferPointer,
        filled: (UnsafeRawBufferPointer) throws -> Void
    ) throws {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else {
            throw ExportError(
                .content, "A file of the bundle cannot be opened: \(systemMessage()).", where: path,
                mend: "restore it, or import the run again from a bundle that has it")
        }
        defer { close(file) }
        _ = posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
        var left = size
        while left > 0 {
            // Full blocks, however the system hands them out: how they are packed depends on where they end.
            let space = next(Int(min(left, Int64(Int.max))))
            var count = 0
            while count < space.count {
                let got = Foundation.read(file, space.baseAddress! + count, space.count - count)
                if got < 0, errno == EINTR { continue }
                if got <= 0 {
                    throw ExportError(
                        .content,
                        "A file of the bundle ends \(left - Int64(count)) bytes before its recorded size.",
                        where: path, mend: "restore it, or import the run again from a bundle")
                }
                count += got
            }
            left -= Int64(count)
            try filled(UnsafeRawBufferPointer(space))
        }
        var extra: UInt8 = 0
        if Foundation.read(file, &extra, 1) > 0 {
            throw ExportError(
                .content, "A file of the bundle is longer than its recorded size of \(size) bytes.",
                where: path, mend: "restore it, or import the run again from a bundle")
        }
    }
}

/// What an archive turned out to be.
package struct ArchiveIdentity: Sendable, Equatable {
    /// SHA-256 of the tar before compression: the identity of a bundle, whatever it is packed in.
    package var tarSHA256: String
    package var tarBytes: Int64
    package var archiveBytes: Int64
}

/// Writes an archive file by file. Threads: the caller reads, one hashes SHA-256, one SHA-512, one
/// writes the archive and hashes its tar form, and zstd has two of its own where there is something to
/// compress.
package final class BundleStream {
    private let pool = BufferPool()
    private let sha256 = HashLane(.sha256, "sha256")
    private let sha512 = HashLane(.sha512, "sha512")
    private let packer: Packer
    private let packing = DispatchQueue(label: "archive", qos: .userInitiated)
    private let time: Int64
    private let topFolder: String
    private var names = EntryNames()
    private var isPacking = true

    /// - Parameters:
    ///   - path: The archive's file; it appears there under this name when `finish` succeeds.
    ///   - time: The time of every entry, in seconds since 1970.
    package init(path: String, format: ArchiveFormat, topFolder: String, time: Int64) throws {
        self.time = time
        self.topFolder = topFolder
        packer = try Packer(path: path, format: format)
    }

    /// Reads a file once, from wherever it is, into the archive.
    /// - Parameter packs: False to hash it only.
    package func add(
        _ name: String, _ source: ByteSource, isExecutable: Bool = false, packs: Bool = true
    ) throws -> PayloadDigest {
        let fullName = topFolder + "/" + name
        if let problem = names.add(fullName, isFolder: false) {
            throw ExportError(
                .name, "A file of the bundle \(problem).", where: name,
                mend: "rename the file in the study; every reader must be able to open the bundle")
        }
        let entry = ArchiveEntry(
            name: fullName, size: source.size, isExecutable: isExecutable, time: time)
        let packer = packer
        isPacking = packs
        if packs { packing.async { packer.begin(entry) } }
        switch source {
        case .bytes(let bytes):
            bytes.withUnsafeBytes { all in
                var start = 0
                while start < all.count {
                    let lease = pool.lease()
                    lease.count = min(pool.size, all.count - start)
                    lease.space.copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: all[start..<start + lease.count]))
                    start += lease.count
                    distribute(lease)
                }
            }
        case .file(let path, let size):
            try read(path, size: size)
        }
        let digest = PayloadDigest(
            size: source.size, sha256: sha256.finish(), sha512: sha512.finish())
        try packer.check()
        return digest
    }

    private func read(_ path: String, size: Int64) throws {
        var lease: Lease?
        try ByteSource.read(path, size: size) { left in
            let next = pool.lease()
            next.count = min(pool.size, left)
            lease = next
            return UnsafeMutableRawBufferPointer(start: next.base, count: next.count)
        } filled: { _ in
            if let lease { distribute(lease) }
            lease = nil
        }
    }

    private func distribute(_ lease: Lease) {
        sha512.update(lease)
        sha256.update(lease)
        let packer = packer
        if isPacking { packing.async { packer.write(lease.bytes) } }
    }

    /// Ends the archive and gives it its name.
    package func finish() throws -> ArchiveIdentity {
        try packing.sync { try packer.finish() }
    }
}

/// What runs on the archive's own thread: tar, its hash, and the compressor or the file.
///
/// Unchecked: everything but `check` runs on one serial queue; `failure` is behind a lock.
private final class Packer: @unchecked Sendable {
    private let path: String
    private let partial: String
    private let file: ArchiveFile
    private var tar: ArchiveWriter!
    private var zip: ArchiveWriter?
    private var compressor: Compressor?
    private var zstd: ZstdPacking?
    private let hasher = StreamDigest(.sha256)
    private var tarBytes: Int64 = 0
    private let lock = NSLock()
    private var failure: (any Error)?

    init(path: String, format: ArchiveFormat) throws {
        self.path = path
        partial = path + ".partial"
        Leftovers.add(partial)
        file = try ArchiveFile(creating: partial, for: path)
        let out = file
        switch format {
        case .tar: break
        case .tarZstd: zstd = ZstdPacking { try out.write($0) }
        case .tarGzip: compressor = try Compressor(format) { try out.write([$0]) }
        case .zip: zip = try ArchiveWriter(.zip) { try out.write([$0]) }
        }
        let toFile = format == .tar
        tar = try ArchiveWriter(.tar) { [unowned self] bytes in
            self.hasher.update(bytes)
            self.tarBytes += Int64(bytes.count)
            if toFile { try out.write([bytes]) }
            try self.compressor?.write(bytes)
            try self.zstd?.write(bytes)
        }
    }

    deinit {
        unlink(partial)
        Leftovers.forget(partial)
    }

    func begin(_ entry: ArchiveEntry) {
        attempt {
            try tar.begin(entry)
            try zip?.begin(entry)
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        attempt {
            try tar.write(bytes)
            try zip?.write(bytes)
        }
    }

    func finish() throws -> ArchiveIdentity {
        try check()
        try tar.finish()
        try zip?.finish()
        try compressor?.finish()
        let digest = hasher.finish()
        if let zstd {
            let framing = try zstd.finish()
            try ZstdTrailer(tarSHA256: digest, framingSHA256: framing).bytes.withUnsafeBytes {
                try file.write([$0])
            }
        }
        try file.finish()
        guard rename(partial, path) == 0 else { throw file.failure(systemMessage()) }
        return ArchiveIdentity(tarSHA256: digest, tarBytes: tarBytes, archiveBytes: file.count)
    }

    func check() throws {
        lock.lock()
        defer { lock.unlock() }
        if let failure { throw failure }
    }

    private func attempt(_ body: () throws -> Void) {
        do {
            try check()
            try body()
        } catch {
            lock.lock()
            if failure == nil { failure = error }
            lock.unlock()
        }
    }
}

/// A small file being written.
final class FileHandleOwner {
    private let descriptor: Int32
    private let path: String
    private(set) var count: Int64 = 0

    init(creating path: String) throws {
        self.path = path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        if descriptor < 0 { throw failure(systemMessage()) }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while rest.count > 0 {
            let written = Foundation.write(descriptor, rest.baseAddress, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                throw failure(systemMessage())
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
        count += Int64(bytes.count)
    }

    func failure(_ message: String) -> ExportError {
        ExportError(
            .archive, "The archive cannot be written: \(message).", where: path,
            mend: "choose with -o a place that has room and that you may write to")
    }
}

/// What errno says, in words.
func systemMessage() -> String { String(cString: strerror(errno)) }
