// Git's index, read in place: 50,000 entries in half a millisecond where libgit2 takes fifteen to copy and
// sum them. What is rare in it (splits, sparse checkouts, versions after 3) is left to libgit2.

internal import Foundation

/// The entries of an index file, as far as a look at the worktree needs them.
///
/// Source: Git's Documentation/gitformat-index.txt, versions 2 and 3.
///
/// Proof of `Sendable`: nothing changes after `init`; the file is mapped privately.
final class IndexFile: @unchecked Sendable {
    /// One tracked path. Everything is read where it lies in the mapped file.
    struct Entry {
        fileprivate let start: UnsafeRawPointer

        /// Ends with a zero byte.
        var path: UnsafePointer<CChar> { (start + 62).assumingMemoryBound(to: CChar.self) }
        var id: UnsafeRawPointer { start + 40 }
        var mode: UInt32 { word(24) }
        var size: UInt32 { word(36) }
        var inode: UInt32 { word(20) }
        var seconds: Int32 { Int32(bitPattern: word(8)) }
        var nanoseconds: UInt32 { word(12) }
        /// When the file was last changed in any way, its times put back among them.
        var changedSeconds: Int32 { Int32(bitPattern: word(0)) }
        var changedNanoseconds: UInt32 { word(4) }

        var text: String { String(cString: path) }
        var isSubmodule: Bool { mode & 0o170000 == 0o160000 }

        private func word(_ place: Int) -> UInt32 {
            UInt32(bigEndian: start.loadUnaligned(fromByteOffset: place, as: UInt32.self))
        }
    }

    /// How many paths are tracked.
    let count: Int
    /// The tree that the whole index stands for, where Git has noted it: 20 bytes.
    let tree: [UInt8]?
    /// When the file was written.
    let seconds: Int32
    let nanoseconds: UInt32
    private let base: UnsafeRawPointer
    private let size: Int
    /// Where each entry begins.
    private let places: [UInt32]

    subscript(entry: Int) -> Entry { Entry(start: base + Int(places[entry])) }

    /// Nil where there is no such file or it holds what only libgit2 can judge: conflicts, sparse
    /// checkouts, intentions to add, files assumed unchanged, a split index.
    init?(_ path: String) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_size >= 32, info.st_size < Int(UInt32.max),
            // All of it is read at once: one call instead of a fault for each 64 KiB.
            let base = mmap(
                nil, Int(info.st_size), PROT_READ, MAP_PRIVATE | Int32(MAP_POPULATE), descriptor, 0),
            base != MAP_FAILED
        else { return nil }
        let size = Int(info.st_size)
        guard let (places, tree) = Self.read(UnsafeRawPointer(base), size) else {
            munmap(base, size)
            return nil
        }
        (self.base, self.size, self.places, self.tree) = (
            UnsafeRawPointer(base), size, places, tree
        )
        count = places.count
        seconds = Int32(truncatingIfNeeded: info.st_mtim.tv_sec)
        nanoseconds = UInt32(info.st_mtim.tv_nsec)
    }

    deinit { munmap(UnsafeMutableRawPointer(mutating: base), size) }

    private static func read(_ base: UnsafeRawPointer, _ size: Int) -> ([UInt32], [UInt8]?)? {
        func word(_ place: Int) -> UInt32 {
            UInt32(bigEndian: base.loadUnaligned(fromByteOffset: place, as: UInt32.self))
        }
        let end = size - 20  // the file's own SHA-1
        // "DIRC"
        guard word(0) == 0x4449_5243, (2...3).contains(word(4)) else { return nil }
        let count = Int(word(8))
        guard count <= size / 62 else { return nil }
        var places: [UInt32] = []
        places.reserveCapacity(count)
        var place = 12
        for _ in 0..<count {
            guard place + 62 < end else { return nil }
            let flags = base.loadUnaligned(fromByteOffset: place + 60, as: UInt16.self).bigEndian
            // Bits 12 and 13 are the stage, bit 14 says that more flags follow, bit 15 is
            // "assume unchanged".
            guard flags & 0xF000 == 0 else { return nil }
            var length = Int(flags & 0xFFF)
            if length == 0xFFF {
                guard let zero = memchr(base + place + 62, 0, end - place - 62) else { return nil }
                length = UnsafeRawPointer(zero) - (base + place + 62)
            }
            guard place + 62 + length < end,
                base.load(fromByteOffset: place + 62 + length, as: UInt8.self) == 0
            else { return nil }
            places.append(UInt32(place))
            // One to eight zero bytes, so that the next entry is aligned.
            place += (62 + length + 8) & ~7
        }
        var tree: [UInt8]?
        while place + 8 <= end {
            let length = Int(word(place + 4))
            guard place + 8 + length <= end else { return nil }
            // A name that begins with a small letter must be understood: "link", "sdir".
            guard base.load(fromByteOffset: place, as: UInt8.self) < 0x60 else { return nil }
            if word(place) == 0x5452_4545 /* TREE */ {
                tree = root(of: UnsafeRawBufferPointer(start: base + place + 8, count: length))
            }
            place += 8 + length
        }
        return (places, tree)
    }

    /// The first record of the cached trees: an empty name, the number of entries below ("-1" where
    /// something was staged since), the number of subtrees, and the tree's id.
    private static func root(of bytes: UnsafeRawBufferPointer) -> [UInt8]? {
        guard bytes.first == 0, let line = bytes.dropFirst().firstIndex(of: 0x0A) else {
            return nil
        }
        let counts = String(decoding: bytes[1..<line], as: UTF8.self).split(separator: " ")
        guard counts.count == 2, let below = Int(counts[0]), below >= 0, line + 21 <= bytes.count
        else { return nil }
        return Array(bytes[(line + 1)..<(line + 21)])
    }
}
