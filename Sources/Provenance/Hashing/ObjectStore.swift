// Files by their content: `.study/objects/ab/cdef…`. Which run needs which object is the ledger's
// business; this stores, finds and removes.

internal import Foundation

/// A folder of files named by their SHA-256. Writing the same bytes twice writes them once; a file
/// appears whole or not at all.
package struct ObjectStore: Sendable {
    package let folder: String

    package init(_ folder: String) { self.folder = folder }

    /// Where the object with this digest lies, or would lie.
    package func path(of sha256: String) -> String {
        "\(folder)/\(sha256.prefix(2))/\(sha256.dropFirst(2))"
    }

    package func contains(_ sha256: String) -> Bool {
        access(path(of: sha256), F_OK) == 0
    }

    /// Stores `bytes`.
    @discardableResult
    package func store(_ bytes: [UInt8]) throws -> String {
        let sha256 = Digest(of: bytes).hex
        if contains(sha256) { return sha256 }
        try place(sha256: sha256) { descriptor in
            try bytes.withUnsafeBytes { try writeAll($0, to: descriptor) }
        }
        return sha256
    }

    /// Stores a copy of the file at `path`, made while hashing it, in one reading. It is no hard link:
    /// the cell may write to its file again.
    @discardableResult
    package func store(file path: String) throws -> FileDigest {
        let temporary = try temporaryPath()
        let descriptor = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw cannotWrite(temporary) }
        var keep = false
        defer {
            close(descriptor)
            if !keep { unlink(temporary) }
        }
        let digest = try hashFile(path) { try writeAll($0, to: descriptor) }.digest
        let final = self.path(of: digest.sha256)
        if access(final, F_OK) == 0 { return digest }
        try install(temporary, descriptor, as: final)
        keep = true
        return digest
    }

    /// Stores every file of a folder, and its manifest under the folder's own digest.
    @discardableResult
    package func store(folder path: String) throws -> FolderManifest {
        let manifest = FolderManifest(
            try filesBelow(path).map { name in
                let file = path + "/" + name
                let digest = try store(file: file)
                return ManifestEntry(
                    path: name, sha256: digest.sha256, size: digest.size,
                    isExecutable: FileIdentity(file)?.isExecutable ?? false)
            })
        try store(Array(manifest.text.utf8))
        return manifest
    }

    /// The bytes of an object, checked against its name.
    /// - Throws: ``ProvenanceError`` with reason `.missingObject` or `.corrupted`.
    package func bytes(_ sha256: String) throws -> [UInt8] {
        guard let data = FileManager.default.contents(atPath: path(of: sha256)) else {
            throw missing(sha256)
        }
        let bytes = [UInt8](data)
        guard Digest(of: bytes).hex == sha256 else { throw spoiled(sha256) }
        return bytes
    }

    /// Copies an object to `destination`, checking it on the way.
    package func copy(_ sha256: String, to destination: String) throws {
        guard contains(sha256) else { throw missing(sha256) }
        try makeFolder(parent(of: destination))
        let descriptor = open(destination, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw cannotWrite(destination) }
        defer { close(descriptor) }
        let digest = try hashFile(path(of: sha256)) { try writeAll($0, to: descriptor) }.digest
        guard digest.sha256 == sha256 else { throw spoiled(sha256) }
    }

    /// Every object, with its size in bytes.
    package func all() throws -> [(sha256: String, size: Int64)] {
        guard FileIdentity(folder) != nil else { return [] }
        return try filesBelow(folder).compactMap { name in
            let sha256 = name.replacing("/", with: "")
            guard sha256.utf8.count == 64, let size = FileIdentity(folder + "/" + name)?.size else {
                return nil
            }
            return (sha256, size)
        }
    }

    package func remove(_ sha256: String) { unlink(path(of: sha256)) }

    // MARK: - Writing

    private func temporaryPath() throws -> String {
        try makeFolder(folder)
        return "\(folder)/.new-\(getpid())-\(UInt64.random(in: 0...UInt64.max))"
    }

    private func place(sha256: String, write: (Int32) throws -> Void) throws {
        let temporary = try temporaryPath()
        let descriptor = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw cannotWrite(temporary) }
        defer { close(descriptor) }
        do {
            try write(descriptor)
            try install(temporary, descriptor, as: path(of: sha256))
        } catch {
            unlink(temporary)
            throw error
        }
    }

    /// The bytes reach the disk before the name does; the row that names the object comes later still.
    private func install(_ temporary: String, _ descriptor: Int32, as final: String) throws {
        fchmod(descriptor, 0o444)
        try makeFolder(parent(of: final))
        guard fdatasync(descriptor) == 0, rename(temporary, final) == 0 else {
            throw cannotWrite(final)
        }
    }

    private func missing(_ sha256: String) -> ProvenanceError {
        ProvenanceError(
            .missingObject, "The object \(sha256.prefix(12))… is not in the store.",
            where: path(of: sha256),
            mend: "`study import` a ledger or bundle that has it, or run the study again")
    }

    private func spoiled(_ sha256: String) -> ProvenanceError {
        ProvenanceError(
            .corrupted, "The object \(sha256.prefix(12))… no longer has the bytes it is named for.",
            where: path(of: sha256),
            mend: "`study doctor --repair` sets it aside; then import it again from a bundle")
    }
}

func parent(of path: String) -> String {
    guard let slash = path.lastIndex(of: "/") else { return "." }
    return slash == path.startIndex ? "/" : String(path[..<slash])
}

/// Makes `path` and the folders above it.
func makeFolder(_ path: String) throws {
    if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
    if errno == ENOENT {
        try makeFolder(parent(of: path))
        if mkdir(path, 0o755) == 0 || errno == EEXIST { return }
    }
    throw cannotWrite(path)
}

func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: Int32) throws {
    var done = 0
    while done < bytes.count {
        let count = write(descriptor, bytes.baseAddress! + done, bytes.count - done)
        if count < 0 {
            if errno == EINTR { continue }
            throw cannotWrite("the object store")
        }
        done += count
    }
}

func cannotWrite(_ path: String) -> ProvenanceError {
    let code = errno
    let text = String(cString: strerror(code))
    switch code {
    case ENOSPC, EDQUOT:
        return ProvenanceError(
            .diskFull, "The disk is full: \(path) cannot be written.", where: path,
            mend: "free some space (`study gc` lists what it could remove), then run again")
    case EROFS, EACCES, EPERM:
        return ProvenanceError(
            .readOnly, "\(path) cannot be written: \(text).", where: path,
            mend:
                "give this user the right to write there, or name another place with `--ledger FOLDER`"
        )
    default:
        return ProvenanceError(
            .cannotOpen, "\(path) cannot be written: \(text).", where: path, mend: "check the disk")
    }
}
