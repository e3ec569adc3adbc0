// Files as bytes: mapped for weights, read whole for small ones, replaced in one step when written.

internal import Glibc

/// A file mapped read-only for as long as anything refers to it.
///
/// `@unchecked Sendable`: the bytes are never written through this mapping. Whoever truncates the file
/// meanwhile makes a later read fail with SIGBUS; checkpoints are replaced by renaming, never in place.
package final class MappedFile: @unchecked Sendable {
    package let bytes: UnsafeRawBufferPointer

    /// Maps a whole file.
    /// - Throws: ``CheckpointError`` with reason `.unreadable`.
    package init(_ path: String) throws(CheckpointError) {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        if file < 0 { throw CheckpointError(.unreadable(systemMessage(errno)), path: path) }
        defer { close(file) }
        var status = stat()
        if fstat(file, &status) != 0 {
            throw CheckpointError(.unreadable(systemMessage(errno)), path: path)
        }
        if status.st_mode & S_IFMT != S_IFREG {
            throw CheckpointError(.unreadable("not a regular file"), path: path)
        }
        let size = Int(status.st_size)
        if size == 0 {
            bytes = UnsafeRawBufferPointer(start: nil, count: 0)
            return
        }
        guard let base = mmap(nil, size, PROT_READ, MAP_PRIVATE, file, 0), base != MAP_FAILED else {
            throw CheckpointError(.unreadable(systemMessage(errno)), path: path)
        }
        bytes = UnsafeRawBufferPointer(start: base, count: size)
    }

    deinit {
        if let base = bytes.baseAddress {
            munmap(UnsafeMutableRawPointer(mutating: base), bytes.count)
        }
    }
}

/// A file under a temporary name that takes its place when it is complete.
/// The corresponding C functions are `open`, `pwrite` and `rename`.
package struct ReplacementFile: ~Copyable {
    private let descriptor: Int32
    private let temporary: String
    private let path: String

    package init(_ path: String) throws(CheckpointError) {
        self.path = path
        temporary = "\(path).partial-\(getpid())"
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        if descriptor < 0 { throw CheckpointError(.unwritable(systemMessage(errno)), path: path) }
    }

    /// Writes bytes at an offset.
    package func write(_ bytes: UnsafeRawBufferPointer, at offset: Int) throws(CheckpointError) {
        var done = 0
        while done < bytes.count {
            let count = pwrite(
                descriptor, bytes.baseAddress! + done, min(bytes.count - done, 1 << 30),
                off_t(offset + done))
            if count < 0 {
                if errno == EINTR { continue }
                throw CheckpointError(.unwritable(systemMessage(errno)), path: path)
            }
            done += count
        }
    }

    package func write(_ bytes: [UInt8], at offset: Int) throws(CheckpointError) {
        try bytes.withUnsafeBufferPointer { (buffer) throws(CheckpointError) in
            try write(UnsafeRawBufferPointer(buffer), at: offset)
        }
    }

    /// Puts the file in its place.
    package consuming func finish() throws(CheckpointError) {
        if rename(temporary, path) != 0 {
            throw CheckpointError(.unwritable(systemMessage(errno)), path: path)
        }
    }

    deinit {
        close(descriptor)
        unlink(temporary)  // gone already where it was renamed
    }
}

/// Small files and paths, for the readers of this module.
package enum FileSystem {
    package static func read(_ path: String) throws(CheckpointError) -> [UInt8] {
        let file = try MappedFile(path)
        defer { withExtendedLifetime(file) {} }
        return Array(file.bytes)
    }

    package static func write(_ bytes: [UInt8], to path: String) throws(CheckpointError) {
        let file = try ReplacementFile(path)
        try file.write(bytes, at: 0)
        try file.finish()
    }

    package static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    package static func isFolder(_ path: String) -> Bool {
        var status = stat()
        return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }

    /// Makes a folder and those above it; a folder that exists is left as it is.
    package static func makeFolder(_ path: String) throws(CheckpointError) {
        if isFolder(path) { return }
        if let slash = path.lastIndex(of: "/"), slash > path.startIndex {
            try makeFolder(String(path[..<slash]))
        }
        if mkdir(path, 0o755) != 0, errno != EEXIST {
            throw CheckpointError(.unwritable(systemMessage(errno)), path: path)
        }
    }

    /// A JSON file as a value.
    package static func readJSON(
        _ path: String, duplicateKeys: JSONReader.DuplicateKeys = .lastWins
    ) throws(CheckpointError) -> JSONValue {
        let file = try MappedFile(path)
        defer { withExtendedLifetime(file) {} }  // the mapping must outlive the parsing
        do {
            return try JSONValue(
                parsing: file.bytes.bindMemory(to: UInt8.self), duplicateKeys: duplicateKeys)
        } catch {
            throw CheckpointError(
                .malformedJSON(offset: error.offset, message: error.message), path: path)
        }
    }
}

/// The system's words for an error number.
package func systemMessage(_ code: Int32) -> String { String(cString: strerror(code)) }
