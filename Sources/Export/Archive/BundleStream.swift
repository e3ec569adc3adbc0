// One pass over a bundle's files: each is read once, hashed twice and put into the archive, while
// the archive's tar form is hashed too. Which files, and in which order, Bundle/BundleWriter.swift says.

internal import Dispatch
internal import Foundation
internal import Provenance

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
        packer = try Packer(path: path, format: format, time: time)
    }

    /// Reads a file once, from wherever it is, into the archive.
    /// - Parameters:
    ///   - packs: False to hash it only.
    ///   - watch: Sees all of the bytes too.
    package func add(
        _ name: String, _ source: ByteSource, isExecutable: Bool = false, packs: Bool = true,
        watch: TextWatch? = nil
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
        case .file, .packed:
            try read(source, watch)
        }
        let digest = PayloadDigest(
            size: source.size, sha256: sha256.finish(), sha512: sha512.finish())
        try packer.check()
        return digest
    }

    private func read(_ source: ByteSource, _ watch: TextWatch?) throws {
        var lease: Lease?
        try source.read { left in
            let next = pool.lease()
            next.count = min(pool.size, left)
            lease = next
            return UnsafeMutableRawBufferPointer(start: next.base, count: next.count)
        } filled: { bytes in
            watch?.update(bytes)
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
    private let time: Int64
    private var tar: ArchiveWriter!
    private var zip: (archive: ArchiveWriter, tail: ZipTail)?
    private var compressor: Compressor?
    private var zstd: ZstdPacking?
    private let hasher = StreamDigest(.sha256)
    private var tarBytes: Int64 = 0
    private let lock = NSLock()
    private var failure: (any Error)?

    init(path: String, format: ArchiveFormat, time: Int64) throws {
        self.path = path
        self.time = time
        partial = path + ".partial"
        Leftovers.add(partial)
        file = try ArchiveFile(creating: partial, for: path)
        let out = file
        switch format {
        case .tar: break
        case .tarZstd: zstd = ZstdPacking { try out.write($0) }
        case .tarGzip: compressor = try Compressor(format) { try out.write([$0]) }
        case .zip:
            let tail = ZipTail { try out.write([$0]) }
            zip = (try ArchiveWriter(.zip) { try tail.write($0) }, tail)
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
            try zip?.archive.begin(entry)
        }
    }

    func write(_ bytes: UnsafeRawBufferPointer) {
        attempt {
            try tar.write(bytes)
            try zip?.archive.write(bytes)
        }
    }

    func finish() throws -> ArchiveIdentity {
        try check()
        try tar.finish()
        try zip?.archive.finish()
        try compressor?.finish()
        let digest = hasher.finish()
        try zip?.tail.finish(ZipMark(tarSHA256: digest, time: time).bytes)
        if compressor != nil { try mark(GzipMark(tarSHA256: digest).bytes) }
        if let zstd {
            let framing = try zstd.finish()
            try mark(ZstdTrailer(tarSHA256: digest, framingSHA256: framing).bytes)
        }
        try file.finish()
        guard rename(partial, path) == 0 else { throw file.failure(systemMessage()) }
        return ArchiveIdentity(tarSHA256: digest, tarBytes: tarBytes, archiveBytes: file.count)
    }

    private func mark(_ bytes: [UInt8]) throws {
        try bytes.withUnsafeBytes { try file.write([$0]) }
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
    private let mend: String
    private(set) var count: Int64 = 0

    init(
        creating path: String,
        mend: String = "choose with -o a place that has room and that you may write to"
    ) throws {
        self.path = path
        self.mend = mend
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
            .archive, "The archive cannot be written: \(message).", where: path, mend: mend)
    }
}

/// What errno says, in words.
func systemMessage() -> String { String(cString: strerror(errno)) }
