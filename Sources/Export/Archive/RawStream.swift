// The bytes of a tar as they come out of its compressor, hashed and kept for comparison on the way.
// What the tar holds, ArchiveReader.swift finds out.

internal import CArchive
internal import Foundation
internal import Provenance

/// A file opened to look at its ends.
final class ReadOnlyFile {
    private let descriptor: Int32
    let size: Int64

    init(_ path: String) throws {
        descriptor = open(path, O_RDONLY | O_CLOEXEC)
        var status = stat()
        guard descriptor >= 0, fstat(descriptor, &status) == 0 else {
            throw ExportError(
                .archive, "The archive cannot be opened: \(systemMessage()).", where: path,
                mend: "check the path")
        }
        guard status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw ExportError(
                .archive, "This is not a file.", where: path,
                mend: "name an archive, or a bag's folder")
        }
        size = Int64(status.st_size)
    }

    deinit { close(descriptor) }

    /// Up to `count` bytes from `offset` on; fewer at the end.
    func bytes(at offset: Int64, count: Int) -> [UInt8] {
        guard offset >= 0 else { return [] }
        return [UInt8](unsafeUninitializedCapacity: count) { buffer, found in
            found = read(
                at: offset,
                into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
        }
    }

    /// Asks the system to read on from `offset` while we do other things; waits for nothing.
    func readAhead(from offset: Int64, count: Int) {
        _ = posix_fadvise(descriptor, off_t(offset), off_t(count), POSIX_FADV_WILLNEED)
    }

    /// Fills `buffer` from `offset` on; returns how many bytes there were.
    func read(at offset: Int64, into buffer: UnsafeMutableRawBufferPointer) -> Int {
        Positioned.read(descriptor, into: buffer, at: offset)
    }
}

/// Raw bytes that were read and not yet compared.
final class WaitingBytes {
    private var leases: [Lease] = []
    private var offset = 0
    private(set) var count = 0

    func push(_ lease: Lease) {
        // libarchive may read far ahead for a long header; buffers on loan must not run out meanwhile.
        leases.append(leases.count < 8 ? lease : Lease(copying: lease.bytes))
        count += lease.count
    }

    /// Takes as many bytes as `expected` has; whether they are the same.
    func pop(_ expected: UnsafeRawBufferPointer) -> Bool {
        var rest = expected
        while rest.count > 0 {
            guard let first = leases.first else { return false }
            let length = min(rest.count, first.count - offset)
            // A file's contents come back from the writer as they were lent to it.
            let own = UnsafeRawPointer(first.base + offset)
            if own != rest.baseAddress!, memcmp(own, rest.baseAddress!, length) != 0 {
                return false
            }
            rest = UnsafeRawBufferPointer(rebasing: rest[length...])
            offset += length
            count -= length
            if offset == first.count {
                leases.removeFirst()
                offset = 0
            }
        }
        return true
    }

    /// Nothing is compared any more: lets go of all buffers.
    func keepOrDrop(_ keeps: Bool) {
        if keeps { return }
        leases = []
        offset = 0
        count = 0
    }
}

/// The bytes of a compressed file, in order; a zstd file's frames are followed on the way.
private final class PackedBytes {
    private let file: ReadOnlyFile
    private let end: Int64
    private let block = UnsafeMutableRawBufferPointer.allocate(
        byteCount: 256 << 10, alignment: 4096)
    private(set) var offset: Int64 = 0
    /// Up to where the system was asked to read.
    private var ahead: Int64 = 0
    private(set) var framing = ZstdFraming()

    init(_ file: ReadOnlyFile, framedUpTo end: Int64) {
        self.file = file
        self.end = end
    }

    deinit { block.deallocate() }

    /// Empty at the end; valid until the next call.
    func next() -> UnsafeRawBufferPointer {
        // A few megabytes ahead, so that the disk works while we hash; the system takes requests of this size whole.
        let step = 512 << 10
        while ahead < min(offset + (8 << 20), file.size) {
            file.readAhead(from: ahead, count: step)
            ahead += Int64(step)
        }
        let bytes = UnsafeRawBufferPointer(
            rebasing: block[..<file.read(at: offset, into: block)])
        let framed = min(Int64(bytes.count), end - offset)
        if framed > 0 { framing.update(UnsafeRawBufferPointer(rebasing: bytes[..<Int(framed)])) }
        offset += Int64(bytes.count)
        return bytes
    }
}

/// Decompresses by what the first bytes say, one filter only, and counts against the limits.
final class RawStream {
    private let archive: OpaquePointer
    private let limits: ArchiveLimits
    private let pool: BufferPool
    private let hash = HashLane(.sha256, "tar")
    private let checksum: CRC32Lane?
    private let packed: PackedBytes
    /// Bytes of the tar so far.
    private(set) var total: Int64 = 0
    private var isAtEnd = false
    let waiting = WaitingBytes()
    /// Whether somebody still compares; asked before bytes are kept.
    var isCompared: () -> Bool = { true }
    /// Why there are no more bytes, where that is not the archive's end.
    private(set) var problem: String?

    init(_ file: ReadOnlyFile, format: ArchiveFormat, limits: ArchiveLimits, pool: BufferPool)
        throws
    {
        self.limits = limits
        self.pool = pool
        packed = PackedBytes(
            file, framedUpTo: format == .tarZstd ? file.size - Int64(ZstdTrailer.byteCount) : 0)
        checksum = format == .tarGzip ? CRC32Lane() : nil
        archive = archive_read_new()
        switch format {
        case .tarZstd: archive_read_support_filter_zstd(archive)
        case .tarGzip: archive_read_support_filter_gzip(archive)
        default: break
        }
        archive_read_support_format_raw(archive)
        var entry: OpaquePointer?
        let opened = archive_read_open(
            archive, Unmanaged.passUnretained(packed).toOpaque(), nil,
            { _, context, buffer in
                let packed = Unmanaged<PackedBytes>.fromOpaque(context!).takeUnretainedValue()
                let bytes = packed.next()
                buffer!.pointee = bytes.baseAddress
                return bytes.count
            }, nil)
        if opened != ARCHIVE_OK
            || archive_read_next_header(archive, &entry) != ARCHIVE_OK
        {
            problem = "is damaged: \(message(of: archive))"
            isAtEnd = true
        }
    }

    deinit { archive_read_free(archive) }

    /// The next bytes, valid until the next call; nil at the end or when there is a problem.
    func next() -> UnsafeRawBufferPointer? {
        guard !isAtEnd else { return nil }
        let lease = pool.lease()
        let count = archive_read_data(archive, lease.base, pool.size)
        if count <= 0 {
            isAtEnd = true
            if count < 0 { problem = "is damaged or cut short: \(message(of: archive))" }
            return nil
        }
        lease.count = count
        total += Int64(count)
        let packed = max(archive_filter_bytes(archive, -1), 1)
        // Headers and padding come on top of the files, hence the spare tenth.
        if total > limits.totalBytes / 10 * 11 {
            return stop("unfolds to more than \(limits.totalBytes) bytes")
        }
        if total > limits.ratioFloor, total / packed > limits.ratio {
            return stop("unfolds to more than \(limits.ratio) times its size")
        }
        hash.update(lease)
        checksum?.update(lease)
        if isCompared() { waiting.push(lease) } else { waiting.keepOrDrop(false) }
        current = lease
        return lease.bytes
    }
    /// What `next` gave last.
    private(set) var current: Lease?

    private func stop(_ reason: String) -> UnsafeRawBufferPointer? {
        problem = reason
        isAtEnd = true
        return nil
    }

    /// Bytes of the file so far.
    var readBytes: Int64 { packed.offset }

    /// SHA-256 of everything so far.
    func finish() -> String { hash.finish() }

    /// Of a zstd file that was read to its end, the hash of its frames.
    var framingSHA256: String? { packed.framing.finish() }

    /// The eight bytes that must end a gzip file.
    var gzipTail: [UInt8] {
        let crc = checksum?.finish() ?? 0
        let size = UInt32(truncatingIfNeeded: total)
        return [crc, size].flatMap { value in
            (0..<4).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
    }
}

/// Writes the archive again from what was read of it, and compares.
final class CanonicalComparison {
    private var writer: ArchiveWriter?
    private let tail: ZipTail?
    private let state = State()
    private let format: ArchiveFormat
    private var time: Int64?

    private final class State {
        var position: Int64 = 0
        var difference: String?
        var entry = ""
    }

    /// - Parameter compare: Takes the bytes that come next; whether the archive has the same.
    init(_ format: ArchiveFormat, compare: @escaping (UnsafeRawBufferPointer) -> Bool) throws {
        self.format = format
        let state = state
        let sink: ArchiveWriter.Sink = { expected in
            defer { state.position += Int64(expected.count) }
            if state.difference == nil, !compare(expected) {
                state.difference =
                    "is not as `study export` writes it, near byte \(state.position) (\(state.entry)): it was packed anew or changed outside its files"
            }
        }
        let tail = format == .zip ? ZipTail(sink: sink) : nil
        self.tail = tail
        writer = try ArchiveWriter(format) { try tail?.write($0) ?? sink($0) }
    }

    var isOn: Bool { writer != nil && state.difference == nil }

    func turnOff(because reason: String? = nil) {
        writer = nil
        if state.difference == nil { state.difference = reason }
    }

    func begin(_ entry: ArchiveEntry) throws {
        guard isOn else { return }
        state.entry = entry.name
        if let time, time != entry.time {
            return turnOff(because: "has files of different times: it was packed anew or changed")
        }
        time = entry.time
        try writer?.begin(entry)
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        guard isOn else { return }
        // A file longer than its header says is reported by itself.
        do { try writer?.write(bytes) } catch { turnOff() }
    }

    /// The first difference, or nil.
    /// - Parameter comment: Of a zip.
    func finish(comment: [UInt8] = []) throws -> String? {
        if isOn {
            state.entry = "its end"
            do {
                try writer?.finish()
                try tail?.finish(comment)
            } catch { turnOff() }
        }
        return state.difference
    }
}
