// A Git bundle of one commit: what `git bundle verify` and `git clone` take. Written from the files that leave, not
// from the repository: no history, no names, nothing that is withheld, and the same bytes on every machine.

internal import Crypto
internal import Foundation
internal import Provenance

/// A repository of one commit, in the bundle format of Git (version 2) around a pack (version 2), written to a file:
/// memory holds one block, however large the tree.
///
/// Objects are deflated by storing them: how a library compresses differs from version to version, and the archive
/// around the bundle compresses anyway. Sources: Git's `gitformat-bundle`, `gitformat-pack`; RFC 1950 and 1951.
struct GitBundle {
    struct File {
        /// From the root of the tree, `/` between the parts.
        var path: String
        var source: ByteSource
        var isExecutable: Bool
    }

    /// The most that one stored block of deflate holds, and the bytes before each (RFC 1951, 3.2.4).
    static let blockSize = 65535
    static let blockHeader = 5

    /// The branch that a clone checks out.
    static let branch = "run"

    private enum Kind: UInt8 {
        case commit = 1
        case tree = 2
        case blob = 3
        var name: String {
            switch self {
            case .commit: "commit"
            case .tree: "tree"
            case .blob: "blob"
            }
        }
    }

    private let out: PackFile
    private let path: String
    /// Where each object's contents begin, by its id.
    private var known: [[UInt8]: Int64] = [:]
    /// By path, where the contents of files now lie too.
    private var places: [String: ByteSource] = [:]

    /// Writes the bundle of `files`, each read once.
    /// - Returns: Its size in bytes, the commit's id, and for each file that is not in memory its place within the
    ///   bundle, by path: whoever needs the bytes again finds them there.
    /// - Parameters:
    ///   - path: A new file.
    ///   - time: Of the commit, in seconds since 1970.
    /// - Throws: ``ExportError`` where a file cannot be read or the bundle not be written.
    static func write(_ files: [File], message: String, time: Int64, to path: String) throws -> (
        size: Int64, commit: String, places: [String: ByteSource]
    ) {
        var bundle = try GitBundle(out: PackFile(creating: path), path: path)
        // What comes first is known last: the commit's id and the number of objects.
        func head(_ id: String) -> [UInt8] {
            Array("# v2 git bundle\n\(id) HEAD\n\(id) refs/heads/\(branch)\n\n".utf8)
        }
        let start = Int64(head(String(repeating: "0", count: 40)).count)
        try bundle.out.append([UInt8](repeating: 0, count: Int(start) + 12))
        let root = try bundle.tree(files.map { (Array($0.path.split(separator: "/")), $0) })
        let who = "study <study@localhost> \(max(time, 0)) +0000"
        let text = "tree \(hexadecimal(root))\nauthor \(who)\ncommitter \(who)\n\n\(message)\n"
        let commit = hexadecimal(try bundle.add(.commit, Array(text.utf8)))
        let count = bigEndian(UInt32(bundle.known.count))
        let size = try bundle.out.finish(
            head: head(commit) + Array("PACK".utf8) + bigEndian(2) + count, hashedFrom: start)
        return (size, commit, bundle.places)
    }

    private init(out: PackFile, path: String) {
        self.out = out
        self.path = path
    }

    /// Adds a folder, its files and the folders in it; returns its id.
    private mutating func tree(_ files: [(path: [Substring], file: File)]) throws -> [UInt8] {
        var entries: [(name: [UInt8], mode: String, id: [UInt8])] = []
        // Dictionaries have no order; objects get that of their names.
        let byName = Dictionary(grouping: files, by: { $0.path[0] })
        for (name, inside) in byName.sorted(by: {
            Array($0.key.utf8).lexicographicallyPrecedes(Array($1.key.utf8))
        }) {
            if let file = inside.first(where: { $0.path.count == 1 })?.file {
                let mode = file.isExecutable ? "100755" : "100644"
                let id = try add(.blob, file.source)
                entries.append((Array(name.utf8), mode, id))
                if case .bytes = file.source { continue }
                places[file.path] = .packed(path, offset: known[id]!, size: file.source.size)
            } else {
                let below = inside.map { (Array($0.path.dropFirst()), $0.file) }
                entries.append((Array(name.utf8), "40000", try tree(below)))
            }
        }
        // Git sorts a folder as if its name ended with a slash.
        func key(_ entry: (name: [UInt8], mode: String, id: [UInt8])) -> [UInt8] {
            entry.name + (entry.mode == "40000" ? [0x2f] : [])
        }
        entries.sort { key($0).lexicographicallyPrecedes(key($1)) }
        return try add(.tree, entries.flatMap { Array("\($0.mode) ".utf8) + $0.name + [0] + $0.id })
    }

    private mutating func add(_ kind: Kind, _ bytes: [UInt8]) throws -> [UInt8] {
        try add(kind, .bytes(bytes))
    }

    /// Adds an object and returns its id. One that was there before is taken out again.
    private mutating func add(_ kind: Kind, _ source: ByteSource) throws -> [UInt8] {
        let start = out.count
        var hash = Insecure.SHA1()
        hash.update(data: Array("\(kind.name) \(source.size)\u{0}".utf8))
        // Size: four bits beside the kind, then seven a byte, the lowest first.
        var rest = source.size >> 4
        var byte = kind.rawValue << 4 | UInt8(source.size & 15)
        while rest > 0 {
            try out.append([byte | 0x80])
            byte = UInt8(rest & 0x7f)
            rest >>= 7
        }
        // A zlib stream that only stores.
        try out.append([byte, 0x78, 0x01])
        let contents = out.count
        var left = source.size
        var checksum = Adler32()
        if left == 0 { try out.append([1, 0, 0, 0xff, 0xff]) }
        let out = out
        try source.eachBlock(of: Self.blockSize) { block in
            left -= Int64(block.count)
            let low = UInt8(block.count & 0xff)
            let high = UInt8(block.count >> 8)
            try out.append([left == 0 ? 1 : 0, low, high, ~low, ~high])
            try out.append(block)
            hash.update(bufferPointer: block)
            checksum.update(block)
        }
        try out.append(Self.bigEndian(checksum.value))
        let id = Array(hash.finalize())
        if known[id] == nil {
            known[id] = contents
        } else {
            try out.cut(to: start)
        }
        return id
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
}

/// The checksum of RFC 1950.
private struct Adler32 {
    private var a: UInt32 = 1
    private var b: UInt32 = 0
    var value: UInt32 { b << 16 | a }

    mutating func update(_ bytes: UnsafeRawBufferPointer) {
        var place = 0
        while place < bytes.count {
            // Sums of 5552 bytes fit before the remainder is taken.
            let end = min(place + 5552, bytes.count)
            for index in place..<end {
                a += UInt32(bytes[index])
                b += a
            }
            a %= 65521
            b %= 65521
            place = end
        }
    }
}

/// A file that grows at its end, and whose head is written last.
private final class PackFile {
    private let descriptor: Int32
    private let path: String
    private var buffer: [UInt8] = []
    private var written: Int64 = 0
    var count: Int64 { written + Int64(buffer.count) }

    init(creating path: String) throws {
        self.path = path
        descriptor = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        if descriptor < 0 { throw failure() }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    func append(_ bytes: [UInt8]) throws { try bytes.withUnsafeBytes { try append($0) } }

    func append(_ bytes: UnsafeRawBufferPointer) throws {
        buffer.append(contentsOf: bytes)
        if buffer.count > 1 << 18 { try flush() }
    }

    func cut(to place: Int64) throws {
        try flush()
        guard ftruncate(descriptor, off_t(place)) == 0 else { throw failure() }
        written = place
    }

    /// Writes the head, then the SHA-1 of everything from `start` on; returns the size.
    func finish(head: [UInt8], hashedFrom start: Int64) throws -> Int64 {
        try flush()
        try put(head, at: 0)
        var hash = Insecure.SHA1()
        var place = start
        var block = [UInt8](repeating: 0, count: 1 << 18)
        while place < written {
            let got = block.withUnsafeMutableBytes {
                Positioned.read(descriptor, into: $0, at: place)
            }
            guard got > 0 else { throw failure() }
            hash.update(data: block[..<got])
            place += Int64(got)
        }
        try append(Array(hash.finalize()))
        try flush()
        return written
    }

    private func flush() throws {
        try put(buffer, at: written)
        written += Int64(buffer.count)
        buffer.removeAll(keepingCapacity: true)
    }

    private func put(_ bytes: [UInt8], at offset: Int64) throws {
        guard bytes.withUnsafeBytes({ Positioned.write(descriptor, $0, at: offset) }) else {
            throw failure()
        }
    }

    private func failure() -> ExportError {
        ExportError(
            .archive, "The source's Git bundle cannot be written: \(systemMessage()).", where: path,
            mend: "make room, or choose another folder for temporary files by TMPDIR")
    }
}
