// Writes a deterministic archive as a stream, through libarchive. Knows nothing of bundles; hashing
// and the order of entries belong to Bundle/. With ArchiveReader.swift the only importer of CArchive.

internal import CArchive
internal import Foundation

/// Names are UTF-8 whatever the locale of the shell: libarchive converts them by `LC_CTYPE`.
let archiveLocale: Void = {
    _ = setlocale(LC_CTYPE, "C.UTF-8")
}()

/// A file in an archive, as far as the archive's bytes depend on it.
package struct ArchiveEntry: Sendable, Equatable {
    package var name: String
    package var size: Int64
    package var isExecutable: Bool
    /// Seconds since 1970, the same for all entries of a bundle.
    package var time: Int64

    package init(name: String, size: Int64, isExecutable: Bool = false, time: Int64) {
        self.name = name
        self.size = size
        self.isExecutable = isExecutable
        self.time = time
    }
}

/// Writes one archive: owner 0, modes 0644 or 0755, one time for all (none in a zip), no host's or
/// user's name.
///
/// The bytes go to `sink` in order. Not thread-safe: one thread at a time.
/// The corresponding C functions are `archive_write_new` and those that follow.
final class ArchiveWriter {
    /// Where the archive's bytes go.
    typealias Sink = (UnsafeRawBufferPointer) throws -> Void

    private let archive: OpaquePointer
    private let entry: OpaquePointer
    private let outlet: Outlet
    private let format: ArchiveFormat
    private var isOpen = false

    /// Compressors are not for this class: `format` is `.tar` or `.zip`; `Compressor` does the rest.
    init(_ format: ArchiveFormat, sink: @escaping Sink) throws {
        _ = archiveLocale
        self.format = format
        outlet = Outlet(sink)
        archive = archive_write_new()
        entry = archive_entry_new()
        switch format {
        case .zip:
            try check(archive_write_set_format_zip(archive))
            try check(archive_write_set_options(archive, "zip:hdrcharset=UTF-8"))
        default:
            try check(archive_write_set_format_pax_restricted(archive))
            try check(archive_write_set_options(archive, "pax:hdrcharset=UTF-8"))
        }
        try check(archive_write_set_bytes_per_block(archive, 0))
        try check(open(archive, outlet))
        isOpen = true
    }

    deinit {
        outlet.sink = nil
        archive_entry_free(entry)
        archive_write_free(archive)
    }

    /// Begins a file; `entry.size` bytes must follow through `write`.
    func begin(_ file: ArchiveEntry) throws {
        if format == .zip {
            // Weights barely shrink: deflate would take minutes to save a percent.
            try check(
                file.size > 1 << 20
                    ? archive_write_zip_set_compression_store(archive)
                    : archive_write_zip_set_compression_deflate(archive))
        }
        archive_entry_clear(entry)
        archive_entry_set_pathname_utf8(entry, file.name)
        archive_entry_set_size(entry, file.size)
        archive_entry_set_filetype(entry, 0o100000)
        archive_entry_set_perm(entry, file.isExecutable ? 0o755 : 0o644)
        // ZIP's times are local ones, other bytes in every zone: without a time, the format's first day is
        // written everywhere.
        if format != .zip { archive_entry_set_mtime(entry, time_t(file.time), 0) }
        archive_entry_set_uid(entry, 0)
        archive_entry_set_gid(entry, 0)
        try check(archive_write_header(archive, entry))
    }

    /// Adds bytes to the file that was begun last.
    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while rest.count > 0 {
            let written = archive_write_data(archive, rest.baseAddress, rest.count)
            if written <= 0 { throw failure() }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }

    /// Writes what ends the archive.
    func finish() throws {
        guard isOpen else { return }
        isOpen = false
        try check(archive_write_close(archive))
        if let error = outlet.error { throw error }
    }

    private func check(_ code: Int32) throws {
        if code == ARCHIVE_OK || code == ARCHIVE_WARN { return }
        throw failure()
    }

    private func failure() -> any Error {
        outlet.error
            ?? ExportError(
                .archive, "The archive cannot be written: \(message(of: archive)).",
                where: "libarchive", mend: "give this message to the project; it is a fault of ours"
            )
    }
}

/// Compresses a stream with libarchive's raw format: zstd in two threads, or gzip without a name or
/// time. Two threads whatever the machine has, so that the bytes do not depend on it.
final class Compressor {
    private let archive: OpaquePointer
    private let outlet: Outlet

    init(_ format: ArchiveFormat, sink: @escaping ArchiveWriter.Sink) throws {
        archive = archive_write_new()
        outlet = Outlet(sink)
        archive_write_set_format_raw(archive)
        switch format {
        case .tarGzip:
            archive_write_add_filter_gzip(archive)
            archive_write_set_options(archive, "gzip:!timestamp,gzip:compression-level=6")
        default:
            archive_write_add_filter_zstd(archive)
            // Level 1: adapters barely shrink at any level, and text shrinks enough.
            archive_write_set_options(archive, "zstd:compression-level=1,zstd:threads=2")
        }
        archive_write_set_bytes_per_block(archive, 0)
        guard open(archive, outlet) == ARCHIVE_OK else { throw failure() }
        let entry = archive_entry_new()
        defer { archive_entry_free(entry) }
        archive_entry_set_filetype(entry, 0o100000)
        guard archive_write_header(archive, entry) == ARCHIVE_OK else { throw failure() }
    }

    deinit {
        outlet.sink = nil
        archive_write_free(archive)
    }

    func write(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while rest.count > 0 {
            let written = archive_write_data(archive, rest.baseAddress, rest.count)
            if written <= 0 { throw failure() }
            rest = UnsafeRawBufferPointer(rebasing: rest[written...])
        }
    }

    func finish() throws {
        if archive_write_close(archive) != ARCHIVE_OK { throw failure() }
        if let error = outlet.error { throw error }
    }

    private func failure() -> any Error {
        outlet.error
            ?? ExportError(
                .archive, "The archive cannot be compressed: \(message(of: archive)).",
                where: "libarchive", mend: "export as .tar, which needs no compressor")
    }
}

/// What libarchive calls with bytes; keeps the first error that the sink threw.
private final class Outlet {
    /// Nil once nobody listens: freeing an unfinished archive still writes its end.
    var sink: ArchiveWriter.Sink?
    var error: (any Error)?
    init(_ sink: @escaping ArchiveWriter.Sink) { self.sink = sink }
}

private func open(_ archive: OpaquePointer, _ outlet: Outlet) -> Int32 {
    archive_write_open(
        archive, Unmanaged.passUnretained(outlet).toOpaque(), nil,
        { _, context, bytes, count in
            let outlet = Unmanaged<Outlet>.fromOpaque(context!).takeUnretainedValue()
            do {
                try outlet.sink?(UnsafeRawBufferPointer(start: bytes, count: count))
                return count
            } catch {
                if outlet.error == nil { outlet.error = error }
                return -1
            }
        }, nil)
}

/// libarchive's last message, copied before the next call overwrites it.
func message(of archive: OpaquePointer?) -> String {
    guard let text = archive_error_string(archive) else { return "no reason was given" }
    return String(cString: text)
}
