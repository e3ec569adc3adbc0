// A Git bundle of one commit: what `git bundle verify` and `git clone` take. Written from the files that leave, not
// from the repository: no history, no names, nothing that is withheld, and the same bytes on every machine.

internal import Crypto
internal import Foundation

/// A repository of one commit, in the bundle format of Git (version 2) around a pack (version 2).
///
/// Objects are deflated by storing them: how a library compresses differs from version to version, and the archive
/// around the bundle compresses anyway. Sources: Git's `gitformat-bundle`, `gitformat-pack`; RFC 1950 and 1951.
struct GitBundle {
    struct File {
        /// From the root of the tree, `/` between the parts.
        var path: String
        var bytes: [UInt8]
        var isExecutable: Bool
    }

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

    private var objects: [(kind: Kind, bytes: [UInt8])] = []
    private var known: Set<[UInt8]> = []

    /// The bundle's bytes and the commit's id.
    /// - Parameter time: Of the commit, in seconds since 1970.
    static func make(_ files: [File], message: String, time: Int64) -> (
        bytes: [UInt8], commit: String
    ) {
        var bundle = GitBundle()
        let root = bundle.tree(files.map { (Array($0.path.split(separator: "/")), $0) })
        let who = "study <study@localhost> \(max(time, 0)) +0000"
        let text = "tree \(hexadecimal(root))\nauthor \(who)\ncommitter \(who)\n\n\(message)\n"
        let commit = bundle.add(.commit, Array(text.utf8))
        let id = hexadecimal(commit)
        var bytes = Array("# v2 git bundle\n\(id) HEAD\n\(id) refs/heads/\(branch)\n\n".utf8)
        bytes += bundle.pack()
        return (bytes, id)
    }

    /// Adds a folder, its files and the folders in it; returns its id.
    private mutating func tree(_ files: [(path: [Substring], file: File)]) -> [UInt8] {
        var entries: [(name: [UInt8], mode: String, id: [UInt8])] = []
        for (name, inside) in Dictionary(grouping: files, by: { $0.path[0] }) {
            if let file = inside.first(where: { $0.path.count == 1 })?.file {
                let mode = file.isExecutable ? "100755" : "100644"
                entries.append((Array(name.utf8), mode, add(.blob, file.bytes)))
            } else {
                let below = inside.map { (Array($0.path.dropFirst()), $0.file) }
                entries.append((Array(name.utf8), "40000", tree(below)))
            }
        }
        // Git sorts a folder as if its name ended with a slash.
        func key(_ entry: (name: [UInt8], mode: String, id: [UInt8])) -> [UInt8] {
            entry.name + (entry.mode == "40000" ? [0x2f] : [])
        }
        entries.sort { key($0).lexicographicallyPrecedes(key($1)) }
        return add(.tree, entries.flatMap { Array("\($0.mode) ".utf8) + $0.name + [0] + $0.id })
    }

    private mutating func add(_ kind: Kind, _ bytes: [UInt8]) -> [UInt8] {
        var hash = Insecure.SHA1()
        hash.update(data: Array("\(kind.name) \(bytes.count)\u{0}".utf8))
        hash.update(data: bytes)
        let id = Array(hash.finalize())
        if known.insert(id).inserted { objects.append((kind, bytes)) }
        return id
    }

    private func pack() -> [UInt8] {
        var out = Array("PACK".utf8) + Self.bigEndian(2) + Self.bigEndian(UInt32(objects.count))
        // Dictionaries have no order; objects get one by what they hold.
        let sorted = objects.map { ($0.kind, $0.bytes, Array(SHA256.hash(data: $0.bytes))) }.sorted
        {
            $0.0.rawValue == $1.0.rawValue
                ? $0.2.lexicographicallyPrecedes($1.2) : $0.0.rawValue < $1.0.rawValue
        }
        for (kind, bytes, _) in sorted {
            // Size: four bits beside the kind, then seven a byte, the lowest first.
            var rest = bytes.count >> 4
            var byte = kind.rawValue << 4 | UInt8(bytes.count & 15)
            while rest > 0 {
                out.append(byte | 0x80)
                byte = UInt8(rest & 0x7f)
                rest >>= 7
            }
            out.append(byte)
            Self.store(bytes, into: &out)
        }
        return out + Array(Insecure.SHA1.hash(data: out))
    }

    /// A zlib stream that only stores.
    private static func store(_ bytes: [UInt8], into out: inout [UInt8]) {
        out += [0x78, 0x01]
        var start = 0
        repeat {
            let count = min(65535, bytes.count - start)
            let low = UInt8(count & 0xff)
            let high = UInt8(count >> 8)
            out += [start + count == bytes.count ? 1 : 0, low, high, ~low, ~high]
            out += bytes[start..<start + count]
            start += count
        } while start < bytes.count
        // Adler-32; sums of 5552 bytes fit before the remainder is taken.
        var a: UInt32 = 1
        var b: UInt32 = 0
        var place = 0
        while place < bytes.count {
            let end = min(place + 5552, bytes.count)
            for byte in bytes[place..<end] {
                a += UInt32(byte)
                b += a
            }
            a %= 65521
            b %= 65521
            place = end
        }
        out += bigEndian(b << 16 | a)
    }

    private static func bigEndian(_ value: UInt32) -> [UInt8] {
        withUnsafeBytes(of: value.bigEndian) { Array($0) }
    }
}
