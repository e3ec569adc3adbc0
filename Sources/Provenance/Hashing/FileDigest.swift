// SHA-256 of files and folders, one read pass. Whether a file needs reading again is DigestCache's
// business; where its bytes are kept is ObjectStore's.

internal import Foundation
internal import Synchronization

/// What says, without reading it, whether a file is the one hashed before.
package struct FileIdentity: Sendable, Hashable {
    package var device: Int64
    package var inode: Int64
    package var size: Int64
    /// Nanoseconds since 1970, as the file system keeps them.
    package var modified: Int64
    package var changed: Int64
    var mode: UInt32

    /// The identity of the file that `path` leads to, symbolic links followed; nil where there is none.
    /// Corresponds to `stat`.
    package init?(_ path: String) {
        var info = stat()
        guard stat(path, &info) == 0 else { return nil }
        self.init(info)
    }

    init(_ info: stat) {
        device = Int64(bitPattern: UInt64(info.st_dev))
        inode = Int64(bitPattern: UInt64(info.st_ino))
        size = Int64(info.st_size)
        modified = Int64(info.st_mtim.tv_sec) * 1_000_000_000 + Int64(info.st_mtim.tv_nsec)
        changed = Int64(info.st_ctim.tv_sec) * 1_000_000_000 + Int64(info.st_ctim.tv_nsec)
        mode = UInt32(info.st_mode)
    }

    package var isFolder: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFDIR) }
    package var isFile: Bool { mode & UInt32(S_IFMT) == UInt32(S_IFREG) }
    package var isExecutable: Bool { mode & 0o100 != 0 }
}

/// A file as it was read: its digest, and what it looked like from outside at that moment.
package struct FileDigest: Sendable, Hashable {
    package var sha256: String
    package var size: Int64
}

/// One line of a folder's manifest.
package struct ManifestEntry: Sendable, Hashable {
    /// Relative to the folder, `/` between the parts.
    package var path: String
    package var sha256: String
    package var size: Int64
    package var isExecutable: Bool

    package init(path: String, sha256: String, size: Int64, isExecutable: Bool = false) {
        self.path = path
        self.sha256 = sha256
        self.size = size
        self.isExecutable = isExecutable
    }
}

/// A folder as the list of its files, sorted by the bytes of their paths. Its digest is the SHA-256 of
/// `text`, which `sha256sum -c` understands when the paths hold neither newline nor backslash.
package struct FolderManifest: Sendable, Hashable {
    package var entries: [ManifestEntry]

    package init(_ entries: [ManifestEntry]) {
        self.entries = entries.sorted {
            Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8))
        }
    }

    /// A line a file: digest, two spaces, path (as coreutils writes it, with a leading backslash where
    /// newlines and backslashes had to be escaped).
    package var text: String {
        entries.map { entry in
            let odd = entry.path.utf8.contains { $0 == 0x5C || $0 == 0x0A || $0 == 0x0D }
            guard odd else { return "\(entry.sha256)  \(entry.path)\n" }
            let escaped = entry.path.replacing("\\", with: "\\\\").replacing("\n", with: "\\n")
                .replacing("\r", with: "\\r")
            return "\\\(entry.sha256)  \(escaped)\n"
        }.joined()
    }

    /// Reads `text` back; sizes are unknown then (-1). Nil where a line is not one of ours.
    package init?(text: String) {
        var entries: [ManifestEntry] = []
        for line in text.split(separator: "\n") {
            let odd = line.first == "\\"
            let body = odd ? line.dropFirst() : line
            guard body.utf8.count > 66 else { return nil }
            let digest = String(body.prefix(64))
            var path = String(body.dropFirst(66))
            if odd {
                var plain = ""
                var escape = false
                for character in path {
                    if escape {
                        plain.append(character == "n" ? "\n" : character == "r" ? "\r" : character)
                        escape = false
                    } else if character == "\\" {
                        escape = true
                    } else {
                        plain.append(character)
                    }
                }
                path = plain
            }
            entries.append(ManifestEntry(path: path, sha256: digest, size: -1))
        }
        self.init(entries)
    }

    package var digest: Digest { Digest(of: text) }
    package var size: Int64 { entries.reduce(0) { $0 + $1.size } }
}

/// The paths of all files below `folder`, relative to it, symbolic links followed, folders that hold
/// nothing left out.
/// - Throws: ``ProvenanceError`` with reason `.unreadableFile`.
package func filesBelow(_ folder: String) throws -> [String] {
    var found: [String] = []
    var visited: Set<[Int64]> = []
    func walk(_ relative: String) throws {
        let path = relative.isEmpty ? folder : folder + "/" + relative
        guard let identity = FileIdentity(path),
            // A link that leads back up would never end.
            visited.insert([identity.device, identity.inode]).inserted
        else { return }
        guard let handle = opendir(path) else { throw unreadable(path) }
        defer { closedir(handle) }
        while let entry = readdir(handle) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            let child = relative.isEmpty ? name : relative + "/" + name
            guard let kind = FileIdentity(folder + "/" + child) else { continue }
            if kind.isFolder { try walk(child) } else if kind.isFile { found.append(child) }
        }
    }
    try walk("")
    return found.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }
}

/// Hashes one file, and hands each block to `each` while it is at hand, so that a copy needs no second
/// reading.
/// - Throws: ``ProvenanceError`` with reason `.missingFile`, `.unreadableFile`, or `.changedFile` where
///   the file was written to while it was read.
package func hashFile(
    _ path: String, each: ((UnsafeRawBufferPointer) throws -> Void)? = nil
) throws -> (digest: FileDigest, identity: FileIdentity) {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { throw unreadable(path) }
    defer { close(descriptor) }
    var info = stat()
    guard fstat(descriptor, &info) == 0 else { throw unreadable(path) }
    let before = FileIdentity(info)
    guard !before.isFolder else {
        throw ProvenanceError(
            .unreadableFile, "\(path) is a folder where a file was expected.", where: path,
            mend: "name a file in it, or ask for the folder as a model or an adapter")
    }
    posix_fadvise(descriptor, 0, 0, POSIX_FADV_SEQUENTIAL)

    let hasher = StreamDigest(.sha256)
    var total: Int64 = 0
    try eachBlock(of: descriptor, size: before.size, path: path) { block in
        hasher.update(block)
        try each?(block)
        total += Int64(block.count)
    }
    guard fstat(descriptor, &info) == 0 else { throw unreadable(path) }
    let after = FileIdentity(info)
    // Reading may change neither size nor times; a regular file that moved was written to meanwhile.
    if after.isFile, after != before || total != after.size {
        throw ProvenanceError(
            .changedFile, "\(path) was written to while it was read.", where: path,
            mend: "let the writer finish, then run again")
    }
    return (FileDigest(sha256: hasher.finish(), size: total), after)
}

func unreadable(_ path: String) -> ProvenanceError {
    let code = errno
    if code == ENOENT || code == ENOTDIR {
        return ProvenanceError(
            .missingFile, "There is no file \(path).", where: path,
            mend: "check the name; paths are relative to the study's folder")
    }
    return ProvenanceError(
        .unreadableFile, "\(path) cannot be read: \(String(cString: strerror(code))).", where: path,
        mend: code == EACCES ? "give this user the right to read it" : "check the disk")
}

/// Reads a file to its end. For a large one a second thread reads ahead, so that the copy out of the
/// page cache (a tenth of SHA-256's time) does not add to the hashing.
private func eachBlock(
    of descriptor: Int32, size: Int64, path: String, _ body: (UnsafeRawBufferPointer) throws -> Void
) throws {
    // 256 KiB stays in the second-level cache.
    let capacity = 1 << 18
    func fill(_ buffer: UnsafeMutableRawPointer) -> Int {
        while true {
            let count = read(descriptor, buffer, capacity)
            if count >= 0 || errno != EINTR { return count }
        }
    }
    guard size > 16 << 20 else {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 4096)
        defer { buffer.deallocate() }
        while true {
            let count = fill(buffer.baseAddress!)
            if count < 0 { throw unreadable(path) }
            if count == 0 { return }
            try body(UnsafeRawBufferPointer(rebasing: buffer[0..<count]))
        }
    }
    let ring = ReadAhead(descriptor: descriptor, capacity: capacity)
    ring.start()
    // The buffers belong to the reader until it has ended, so wait for that on every way out.
    defer { ring.stop() }
    while true {
        let block = ring.next()
        if block.count < 0 {
            errno = block.code
            throw unreadable(path)
        }
        if block.count == 0 { return }
        try body(UnsafeRawBufferPointer(start: block.bytes, count: block.count))
        ring.release()
    }
}

/// Four buffers that one thread fills and another empties, in turn.
///
/// Proof of `Sendable`: a slot is written by the reader only between `free.wait()` and
/// `full.signal()`, and read by the consumer only between `full.wait()` and `free.signal()`.
private final class ReadAhead: @unchecked Sendable {
    private let descriptor: Int32
    private let capacity: Int
    private let buffers: UnsafeMutableRawPointer
    // Bare memory: an array's own bookkeeping would be shared between the threads.
    private let counts: UnsafeMutablePointer<(count: Int, code: Int32)>
    private var place = 0
    private let free = DispatchSemaphore(value: 4)
    private let full = DispatchSemaphore(value: 0)
    private let ended = DispatchSemaphore(value: 0)
    private let cancelled = Atomic(false)

    init(descriptor: Int32, capacity: Int) {
        self.descriptor = descriptor
        self.capacity = capacity
        buffers = .allocate(byteCount: 4 * capacity, alignment: 4096)
        counts = .allocate(capacity: 4)
        counts.initialize(repeating: (0, 0), count: 4)
    }

    deinit {
        buffers.deallocate()
        counts.deallocate()
    }

    func start() {
        // A thread of its own: on a queue it could wait for the very hashers that wait for it.
        Thread.detachNewThread { [self] in
            var slot = 0
            while true {
                free.wait()
                if cancelled.load(ordering: .relaxed) { break }
                var count = read(descriptor, buffers + slot * capacity, capacity)
                while count < 0, errno == EINTR {
                    count = read(descriptor, buffers + slot * capacity, capacity)
                }
                counts[slot] = (count, errno)
                full.signal()
                if count <= 0 { break }
                slot = (slot + 1) % 4
            }
            ended.signal()
        }
    }

    func next() -> (bytes: UnsafeRawPointer, count: Int, code: Int32) {
        full.wait()
        return (
            UnsafeRawPointer(buffers + place * capacity), counts[place].count, counts[place].code
        )
    }

    func release() {
        place = (place + 1) % 4
        free.signal()
    }

    func stop() {
        cancelled.store(true, ordering: .relaxed)
        free.signal()
        ended.wait()
    }
}
