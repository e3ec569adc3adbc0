// SHA-256 of files and folders, one read pass. Whether a file needs reading again is DigestCache's
// business; where its bytes are kept is ObjectStore's.

internal import Crypto
internal import Foundation

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

    var hasher = SHA256()
    var total: Int64 = 0
    // 256 KiB stays in the second-level cache, so hashing reads what `read` has just written there.
    let capacity = 1 << 18
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 4096)
    defer { buffer.deallocate() }
    while true {
        let count = read(descriptor, buffer.baseAddress, capacity)
        if count < 0 {
            if errno == EINTR { continue }
            throw unreadable(path)
        }
        if count == 0 { break }
        let block = UnsafeRawBufferPointer(rebasing: buffer[0..<count])
        hasher.update(bufferPointer: block)
        try each?(block)
        total += Int64(count)
    }
    guard fstat(descriptor, &info) == 0 else { throw unreadable(path) }
    let after = FileIdentity(info)
    // Reading may change neither size nor times; a regular file that moved was written to meanwhile.
    if after.isFile, after != before || total != after.size {
        throw ProvenanceError(
            .changedFile, "\(path) was written to while it was read.", where: path,
            mend: "let the writer finish, then run again")
    }
    return (FileDigest(sha256: Digest(hasher.finalize()).hex, size: total), after)
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
