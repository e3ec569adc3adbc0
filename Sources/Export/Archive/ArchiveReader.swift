// Reads a stranger's archive, through libarchive, believing nothing: names, kinds, sizes and order
// are judged before any byte is handed on. Writes nothing; Unpacker.swift does.

internal import CArchive
internal import Foundation

/// Sees the files of an archive that are fit to be seen, in their order.
protocol ArchiveVisitor: AnyObject {
    func begin(_ entry: ArchiveEntry) throws
    func bytes(_ lease: Lease) throws
    func end() throws
}

/// What a whole archive turned out to be.
struct ArchiveFindings: Sendable {
    var faults: [Fault] = []
    var format: ArchiveFormat?
    var topFolder: String?
    /// SHA-256 of the tar within; of a zip, of the tar of the same files, where its mark says their time.
    var tarSHA256: String?
    var entries = 0
    var totalBytes: Int64 = 0
    var effort = ArchiveEffort()
}

/// How much was done for an archive, which is what bounds time: a hostile one gets no more than its limits.
package struct ArchiveEffort: Sendable, Hashable {
    /// Headers looked at.
    package var entries = 0
    /// Bytes of the file that were read.
    package var readBytes: Int64 = 0
    /// Bytes that came out of the decompressor.
    package var unpackedBytes: Int64 = 0
}

/// One pass over an archive. Beside what libarchive checks, the archive must be, byte for byte, what
/// `ArchiveWriter` makes of its files: bits outside the files' contents have nowhere to hide.
final class ArchiveReader {
    private let path: String
    private let limits: ArchiveLimits
    private let pool = BufferPool(count: 24, size: 256 << 10)
    private var findings = ArchiveFindings()
    private var names = EntryNames()
    private var isStopped = false
    private var twin: TarTwin?

    init(_ path: String, limits: ArchiveLimits = ArchiveLimits()) {
        _ = archiveLocale
        self.path = path
        self.limits = limits
    }

    /// Reads everything. Errors of the visitor come through; whatever is wrong with the archive is
    /// in the findings.
    func read(_ visitor: any ArchiveVisitor) throws -> ArchiveFindings {
        let file = try ReadOnlyFile(path)
        guard let format = ArchiveFormat(magic: file.bytes(at: 0, count: 512)) else {
            findings.faults.append(
                Fault(
                    "archive",
                    "is none of tar, tar.zst, tar.gz and zip, or its beginning is damaged"))
            return findings
        }
        findings.format = format
        if format == .zip {
            try readZip(file, visitor)
        } else {
            try readTar(file, format, visitor)
        }
        findings.topFolder = names.topFolder
        findings.effort.entries = findings.entries
        if findings.entries == 0, findings.faults.isEmpty { fault("archive", "holds no files") }
        return findings
    }

    private func fault(_ file: String, _ problem: String) {
        findings.faults.append(Fault(file, problem))
    }

    // MARK: Tar, bare or compressed

    private func readTar(
        _ file: ReadOnlyFile, _ format: ArchiveFormat, _ visitor: any ArchiveVisitor
    )
        throws
    {
        let raw = try RawStream(file, format: format, limits: limits, pool: pool)
        defer {
            findings.effort.readBytes = raw.readBytes
            findings.effort.unpackedBytes = raw.total
        }
        let waiting = raw.waiting
        let canonical = try CanonicalComparison(.tar) { waiting.pop($0) }
        raw.isCompared = { [unowned canonical] in canonical.isOn }
        let archive = archive_read_new()!
        defer { archive_read_free(archive) }
        archive_read_support_format_tar(archive)
        let opened = archive_read_open(
            archive, Unmanaged.passUnretained(raw).toOpaque(), nil,
            { _, context, buffer in
                let raw = Unmanaged<RawStream>.fromOpaque(context!).takeUnretainedValue()
                guard let block = raw.next() else { return raw.problem == nil ? 0 : -1 }
                buffer!.pointee = block.baseAddress
                return block.count
            }, nil)
        if opened == ARCHIVE_OK {
            try walk(archive, canonical, visitor, raw)
        } else {
            fault("archive", raw.problem ?? "is damaged: \(message(of: archive))")
            isStopped = true
        }
        if !isStopped {
            let end = raw.total
            while raw.total - end <= Self.longestPadding, raw.next() != nil {
                raw.waiting.keepOrDrop(canonical.isOn)
            }
            if raw.total - end > Self.longestPadding {
                fault("archive", "has more than \(Self.longestPadding) bytes after its end")
                return
            }
            if let problem = raw.problem {
                fault("archive", problem)
            } else if let difference = try canonical.finish() {
                fault("archive", difference)
            } else if canonical.isOn, raw.waiting.count > 0 {
                fault("archive", "has \(raw.waiting.count) bytes after its end")
            }
            findings.tarSHA256 = raw.finish()
            findings.faults += wrapperFaults(file, format, raw)
        }
    }

    /// Programs fill a tape's last block, 10 KiB as a rule; nobody looks at more than this.
    private static let longestPadding: Int64 = 1 << 20

    /// What is wrong with the compressed file around the tar.
    private func wrapperFaults(_ file: ReadOnlyFile, _ format: ArchiveFormat, _ raw: RawStream)
        -> [Fault]
    {
        switch format {
        case .tarZstd:
            let expected = ZstdTrailer(
                tarSHA256: findings.tarSHA256 ?? "", framingSHA256: raw.framingSHA256 ?? "")
            let found = file.bytes(
                at: file.size - Int64(ZstdTrailer.byteCount), count: ZstdTrailer.byteCount)
            if found == expected.bytes { return [] }
            return [found.starts(with: expected.bytes.prefix(8)) ? Self.wrongMark : Self.noMark]
        case .tarGzip:
            let head = file.bytes(at: 0, count: 10)
            var faults: [Fault] = []
            if head.count == 10,
                head[2] != 8 || head[3..<9].contains(where: { $0 != 0 }) || head[9] != 3
            {
                faults.append(
                    Fault(
                        "archive",
                        "has a gzip header that `study export` does not write: it was packed anew or changed"
                    ))
            }
            let expected = GzipMark(tarSHA256: findings.tarSHA256 ?? "").bytes
            let place = file.size - Int64(GzipMark.byteCount)
            let mark = file.bytes(at: place, count: GzipMark.byteCount)
            if mark != expected {
                let isOurs = mark.starts(with: expected.prefix(4))
                faults.append(isOurs ? Self.wrongMark : Self.noMark)
            } else if file.bytes(at: place - 8, count: 8) != raw.gzipTail {
                faults.append(
                    Fault(
                        "archive",
                        "does not end with gzip's checksum of its contents: it was cut short, added to or changed"
                    ))
            }
            return faults
        default:
            return []
        }
    }

    private static let noMark = Fault(
        "archive",
        "does not end with the mark of `study export`: it was cut short, added to or packed anew")
    private static let wrongMark = Fault(
        "archive",
        "does not match the hashes that it carries at its end: the archive or the mark was changed")

    // MARK: Zip

    private func readZip(_ file: ReadOnlyFile, _ visitor: any ArchiveVisitor) throws {
        let end = ZipEnd(file)
        guard let end, let count = end.entries(in: file, upTo: limits.entries) else {
            fault(
                "archive",
                "is damaged at its end, or no zip as `study export` writes it: it was cut short, added to or packed anew"
            )
            return
        }
        guard count <= limits.entries else {
            findings.entries = count
            fault("archive", "has more than \(limits.entries) entries")
            return
        }
        let archive = archive_read_new()!
        defer { archive_read_free(archive) }
        archive_read_support_format_zip_seekable(archive)
        archive_read_set_options(archive, "zip:hdrcharset=UTF-8")
        guard archive_read_open_filename(archive, path, 256 << 10) == ARCHIVE_OK else {
            fault("archive", "is damaged: \(message(of: archive))")
            return
        }
        let mark = ZipMark(end.comment)
        twin = try mark.map { try TarTwin(time: $0.time) }
        var position: Int64 = 0
        let canonical = try CanonicalComparison(.zip) { expected in
            let found = file.bytes(at: position, count: expected.count)
            position += Int64(expected.count)
            return found.elementsEqual(expected)
        }
        defer {
            findings.effort.readBytes = archive_filter_bytes(archive, -1)
            findings.effort.unpackedBytes = findings.totalBytes
        }
        try walk(archive, canonical, visitor, nil)
        if isStopped { return }
        findings.tarSHA256 = twin?.finish()
        if let difference = try canonical.finish(comment: end.comment) {
            fault("archive", difference)
        } else if canonical.isOn, position != file.size {
            fault("archive", "has \(file.size - position) bytes after its end")
        }
        guard let mark else {
            findings.faults.append(Self.noMark)
            return
        }
        let expected = ZipMark(tarSHA256: findings.tarSHA256 ?? "", time: mark.time).bytes
        if end.comment != expected { findings.faults.append(Self.wrongMark) }
    }

    // MARK: Entries

    private func walk(
        _ archive: OpaquePointer, _ canonical: CanonicalComparison, _ visitor: any ArchiveVisitor,
        _ raw: RawStream?
    ) throws {
        let entry = archive_entry_new()!
        defer { archive_entry_free(entry) }
        while true {
            let code = archive_read_next_header2(archive, entry)
            if code == ARCHIVE_EOF { return }
            if code == ARCHIVE_FATAL || code == ARCHIVE_FAILED {
                fault("archive", raw?.problem ?? "is damaged or cut short: \(message(of: archive))")
                isStopped = true
                return
            }
            findings.entries += 1
            if findings.entries > limits.entries {
                fault("archive", "has more than \(limits.entries) entries")
                isStopped = true
                return
            }
            let name = archive_entry_pathname_utf8(entry).map { String(cString: $0) } ?? "\u{fffd}"
            if code != ARCHIVE_OK {
                fault(name, "has a damaged header: \(message(of: archive))")
                canonical.turnOff()
            }
            let kind = archive_entry_filetype(entry) & 0o170000
            let problems = [
                names.add(name, isFolder: kind == 0o040000),
                Self.problem(entry, kind: UInt32(kind)),
            ].compactMap(\.self)
            for problem in problems { fault(name, problem) }
            if kind == 0o040000 {
                // `study export` writes no folders, but they do no harm.
                canonical.turnOff(because: "holds folders of its own (\(name)): it was packed anew")
                continue
            }
            if !problems.isEmpty {
                canonical.turnOff()
                _ = archive_read_data_skip(archive)
                continue
            }
            let size = archive_entry_size_is_set(entry) != 0 ? archive_entry_size(entry) : 0
            if findings.totalBytes + max(0, size) > limits.totalBytes {
                fault(name, "would bring the archive to more than \(limits.totalBytes) bytes")
                isStopped = true
                return
            }
            let file = ArchiveEntry(
                name: name, size: size, isExecutable: archive_entry_perm(entry) & 0o100 != 0,
                time: Int64(archive_entry_mtime(entry)))
            try canonical.begin(file)
            twin?.begin(file)
            try visitor.begin(file)
            guard try copy(archive, file, canonical, visitor, raw) else { return }
            try visitor.end()
        }
    }

    /// What is wrong with an entry's kind, or nil.
    private static func problem(_ entry: OpaquePointer, kind: UInt32) -> String? {
        if archive_entry_hardlink(entry) != nil { return "is a hard link" }
        switch kind {
        case 0o100000: break
        case 0o040000: return nil
        case 0o120000: return "is a symbolic link"
        case 0o020000, 0o060000: return "is a device"
        case 0o010000: return "is a named pipe"
        case 0o140000: return "is a socket"
        default: return "is neither a file nor a folder"
        }
        if archive_entry_perm(entry) & 0o7000 != 0 {
            return "has set-user, set-group or sticky bits"
        }
        if archive_entry_sparse_count(entry) > 0 { return "is a sparse file" }
        if archive_entry_size(entry) < 0 { return "has a negative size" }
        return nil
    }

    /// Hands a file's contents on. Those of a tar stay where they were decompressed to: nothing is copied.
    private func copy(
        _ archive: OpaquePointer, _ file: ArchiveEntry, _ canonical: CanonicalComparison,
        _ visitor: any ArchiveVisitor, _ raw: RawStream?
    ) throws -> Bool {
        var total: Int64 = 0
        func stop(_ problem: String) -> Bool {
            fault(file.name, problem)
            isStopped = true
            return false
        }
        while true {
            var start: UnsafeRawPointer?
            var count = 0
            var offset: Int64 = 0
            let code = archive_read_data_block(archive, &start, &count, &offset)
            if code == ARCHIVE_EOF { break }
            if code != ARCHIVE_OK {
                return stop(raw?.problem ?? "is damaged or cut short: \(message(of: archive))")
            }
            if offset != total { return stop("is a sparse file") }
            total += Int64(count)
            findings.totalBytes += Int64(count)
            if findings.totalBytes > limits.totalBytes {
                return stop("brings the archive to more than \(limits.totalBytes) bytes")
            }
            if raw == nil, findings.totalBytes > limits.ratioFloor,
                findings.totalBytes / max(archive_filter_bytes(archive, -1), 1) > limits.ratio
            {
                return stop("unfolds to more than \(limits.ratio) times its size in the archive")
            }
            let block = UnsafeRawBufferPointer(start: start, count: count)
            if let lease = raw?.current.flatMap({ Lease(block, of: $0) }) {
                try canonical.write(block)
                try visitor.bytes(lease)
                continue
            }
            for start in stride(from: 0, to: count, by: pool.size) {
                let lease = pool.lease()
                lease.count = min(pool.size, count - start)
                lease.space.copyMemory(
                    from: UnsafeRawBufferPointer(rebasing: block[start..<start + lease.count]))
                try canonical.write(lease.bytes)
                twin?.write(lease)
                try visitor.bytes(lease)
            }
        }
        if total != file.size {
            fault(file.name, "has \(total) bytes where its header says \(file.size)")
            canonical.turnOff()
        }
        return true
    }
}
