// A bag's files as they pass by, from an archive or from a folder: digested all, and the few that say what the bag is
// kept in memory. What is wrong with them, BagIt.swift and BundleVerifier.swift say.

internal import Foundation
internal import Provenance

/// The bytes of tag files and of the crate's description, within limits: a stranger chooses their sizes.
private struct HeldBytes {
    private let limits: ArchiveLimits
    private var total: Int64 = 0
    private var bytes: [UInt8]?
    private var isTooLarge = false

    init(_ limits: ArchiveLimits) { self.limits = limits }

    mutating func begin(_ path: String) {
        bytes = BundleVerifier.holds(path) ? [] : nil
        isTooLarge = false
    }

    mutating func append(_ block: UnsafeRawBufferPointer) {
        guard let count = bytes?.count else { return }
        let isRoom =
            Int64(count + block.count) <= limits.heldBytes
            && total + Int64(block.count) <= limits.heldTotalBytes
        guard isRoom else {
            total -= Int64(count)
            bytes = nil
            isTooLarge = true
            return
        }
        total += Int64(block.count)
        bytes?.append(contentsOf: block)
    }

    mutating func end(_ path: String, _ contents: inout BagContents) {
        if let bytes { contents.held[path] = bytes }
        bytes = nil
        if isTooLarge {
            contents.extra.append(
                Fault(
                    path,
                    "is too large to be looked into: files of its kind may have \(limits.heldBytes) bytes, and \(limits.heldTotalBytes) together"
                ))
        }
    }
}

/// Digests every file of an archive in passing.
final class Digester: ArchiveVisitor {
    private let sha256 = HashLane(.sha256, "sha256")
    private let sha512 = HashLane(.sha512, "sha512")
    private(set) var contents = BagContents()
    private var path = ""
    private var size: Int64 = 0
    private var held: HeldBytes
    /// A second visitor that sees the same files, such as an unpacker.
    var next: (any ArchiveVisitor)?

    init(limits: ArchiveLimits) { held = HeldBytes(limits) }

    func begin(_ entry: ArchiveEntry) throws {
        // From the bag's root: without the top folder.
        path = entry.name.split(separator: "/").dropFirst().joined(separator: "/")
        size = entry.size
        held.begin(path)
        try next?.begin(entry)
    }

    func bytes(_ lease: Lease) throws {
        sha512.update(lease)
        sha256.update(lease)
        held.append(lease.bytes)
        try next?.bytes(lease)
    }

    func end() throws {
        contents.digests[path] = PayloadDigest(
            size: size, sha256: sha256.finish(), sha512: sha512.finish())
        held.end(path, &contents)
        try next?.end()
    }
}

/// A bag that lies unpacked in a folder.
enum BagFolder {
    static func read(_ folder: String, _ limits: ArchiveLimits) throws -> BagContents {
        var contents = BagContents()
        let base = URL(fileURLWithPath: folder, isDirectory: true)
        guard
            let walker = FileManager.default.enumerator(
                at: base, includingPropertiesForKeys: [.isRegularFileKey, .isSymbolicLinkKey])
        else {
            throw ExportError(
                .archive, "The folder cannot be read.", where: folder, mend: "check its permissions"
            )
        }
        let pool = BufferPool(count: 8)
        let sha256 = HashLane(.sha256, "sha256")
        let sha512 = HashLane(.sha512, "sha512")
        var held = HeldBytes(limits)
        let prefix = base.resolvingSymlinksInPath().path + "/"
        for case let url as URL in walker {
            let path = url.path
            let name =
                path.hasPrefix(prefix)
                ? String(path.dropFirst(prefix.count)) : String(path.dropFirst(base.path.count + 1))
            guard let status = FileStatus(path, followingLinks: false) else { continue }
            if status.kind == .folder { continue }
            guard status.kind == .file else {
                contents.extra.append(Fault(name, "is neither a file nor a folder"))
                continue
            }
            let file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW)
            guard file >= 0 else {
                contents.extra.append(Fault(name, "cannot be read: \(systemMessage())"))
                continue
            }
            defer { close(file) }
            _ = posix_fadvise(file, 0, 0, POSIX_FADV_SEQUENTIAL)
            held.begin(name)
            var size: Int64 = 0
            while true {
                let lease = pool.lease()
                let count = Foundation.read(file, lease.base, pool.size)
                if count < 0, errno == EINTR { continue }
                if count < 0 {
                    contents.extra.append(Fault(name, "cannot be read: \(systemMessage())"))
                }
                if count <= 0 { break }
                lease.count = count
                size += Int64(count)
                sha512.update(lease)
                sha256.update(lease)
                held.append(lease.bytes)
            }
            contents.digests[name] = PayloadDigest(
                size: size, sha256: sha256.finish(), sha512: sha512.finish())
            held.end(name, &contents)
        }
        return contents
    }
}
