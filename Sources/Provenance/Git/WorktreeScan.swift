// Finds what differs between the index and the files, faster than libgit2's own comparison: 50,000
// files in 20 ms where that takes 150. It stats what is tracked, lists folders once, on all cores.
// Where IndexFile.swift cannot judge the index, Snapshot.swift asks libgit2 instead.

internal import Dispatch
internal import Foundation
internal import Synchronization

/// What a look at the worktree found.
struct WorktreeScan {
    /// Tracked paths whose file may differ: its size, times or mode are not the index's.
    var suspects: [String] = []
    var deleted: [String] = []
    /// Neither tracked nor checked against `.gitignore`; folders end with a slash and hold nothing
    /// tracked.
    var untracked: [String] = []
    var submodules: [String] = []

    init(of repository: Repository, index: IndexFile) {
        let root = repository.root
        // The folders near the root are listed here, those below on as many threads as there are cores.
        var top = FolderWalk(index: index, depth: 2)
        top.walk(root + "/", prefix: 0, range: 0..<index.entries.count)
        self.init(top)
        let tasks = top.deferred
        let fresh = FolderWalk(index: index, depth: .max)
        let parts = Mutex<[FolderWalk]>([])
        DispatchQueue.concurrentPerform(iterations: tasks.count) { place in
            var walk = fresh
            let task = tasks[place]
            walk.walk(root + "/" + task.path, prefix: task.path.utf8.count, range: task.range)
            let done = walk
            parts.withLock { $0.append(done) }
        }
        for part in parts.withLock({ $0 }) { add(part) }
    }

    /// Whether the files are the index's.
    var isClean: Bool {
        suspects.isEmpty && deleted.isEmpty && untracked.isEmpty && submodules.isEmpty
    }

    private init(_ walk: FolderWalk) { add(walk) }

    private mutating func add(_ walk: FolderWalk) {
        suspects += walk.suspects
        deleted += walk.deleted
        untracked += walk.untracked
        submodules += walk.submodules
    }
}

/// The walk through one part of the tree, by one thread.
///
/// Proof of `Sendable`: the entries lie in the mapped index, which nobody changes.
private struct FolderWalk: @unchecked Sendable {
    let index: IndexFile
    let entries: [IndexFile.Entry]
    /// How many levels down the walk goes itself before it leaves folders in `deferred`.
    var depth: Int

    var suspects: [String] = []
    var deleted: [String] = []
    var untracked: [String] = []
    var submodules: [String] = []
    var deferred: [(path: String, range: Range<Int>)] = []

    init(index: IndexFile, depth: Int) {
        self.index = index
        entries = index.entries
        self.depth = depth
    }

    /// Compares the folder at `path` with the entries in `range`, which share its name as their
    /// first `prefix` bytes, the slash included.
    mutating func walk(_ path: String, prefix: Int, range: Range<Int>) {
        let descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            for place in range { deleted.append(entries[place].text) }
            return
        }
        guard let listing = fdopendir(descriptor) else {
            close(descriptor)
            return
        }
        defer { closedir(listing) }
        let folder = String(decoding: path.utf8.suffix(prefix), as: UTF8.self)
        findUntracked(listing, descriptor, folder: folder, prefix: prefix, range: range)

        var place = range.lowerBound
        var folders: [(path: String, range: Range<Int>)] = []
        while place < range.upperBound {
            let entry = entries[place]
            let name = entry.path + prefix
            if let slash = strchr(name, 0x2F) {
                let length = slash - UnsafeMutablePointer(mutating: name) + 1
                var end = place + 1
                while end < range.upperBound,
                    memcmp(entries[end].path + prefix, name, length) == 0
                { end += 1 }
                let bytes = UnsafeBufferPointer(start: entry.path, count: prefix + length)
                let folder = bytes.withMemoryRebound(to: UInt8.self) {
                    String(decoding: $0, as: UTF8.self)
                }
                folders.append((folder, place..<end))
                place = end
            } else {
                check(entry, name: name, in: descriptor)
                place += 1
            }
        }
        if depth <= 1 {
            deferred += folders
            return
        }
        let own = path.utf8.count - prefix
        for folder in folders {
            depth -= depth == .max ? 0 : 1
            let root = String(decoding: path.utf8.prefix(own), as: UTF8.self)
            walk(root + folder.path, prefix: folder.path.utf8.count, range: folder.range)
            depth += depth == .max ? 0 : 1
        }
    }

    /// Is the file what the index says, as far as its size, times and mode tell?
    private mutating func check(
        _ entry: IndexFile.Entry, name: UnsafePointer<CChar>, in folder: Int32
    ) {
        if entry.isSubmodule {
            submodules.append(entry.text)
            return
        }
        var info = stat()
        guard fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0 else {
            deleted.append(entry.text)
            return
        }
        let kind = info.st_mode & S_IFMT
        if kind == S_IFDIR {
            deleted.append(entry.text)
            return
        }
        let mode: UInt32 =
            kind == S_IFLNK ? 0o120000 : info.st_mode & 0o100 != 0 ? 0o100755 : 0o100644
        let same =
            entry.mode == mode
            && entry.size == UInt32(truncatingIfNeeded: info.st_size)
            && entry.seconds == Int32(truncatingIfNeeded: info.st_mtim.tv_sec)
            // Git versions that know no nanoseconds write none.
            && (entry.nanoseconds == 0 || entry.nanoseconds == UInt32(info.st_mtim.tv_nsec))
            && (entry.inode == 0 || entry.inode == UInt32(truncatingIfNeeded: info.st_ino))
        // A file as young as the index may have been written again after its times were taken down.
        let racy = (entry.seconds, entry.nanoseconds) >= (index.seconds, index.nanoseconds)
        if !same || racy { suspects.append(entry.text) }
    }

    /// The names in a folder that the index does not have.
    private mutating func findUntracked(
        _ listing: OpaquePointer, _ descriptor: Int32, folder: String, prefix: Int,
        range: Range<Int>
    ) {
        while let item = readdir(listing) {
            let type = item.pointee.d_type
            withUnsafePointer(to: &item.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                    let isDot = name[0] == 0x2E
                    if isDot {
                        if name[1] == 0 || (name[1] == 0x2E && name[2] == 0) { return }
                        if strcmp(name, ".git") == 0 || (prefix == 0 && strcmp(name, ".study") == 0)
                        {
                            return
                        }
                    }
                    let length = strlen(name)
                    var isFolder = type == UInt8(DT_DIR)
                    if type == UInt8(DT_UNKNOWN) {
                        var info = stat()
                        isFolder =
                            fstatat(descriptor, name, &info, AT_SYMLINK_NOFOLLOW) == 0
                            && info.st_mode & S_IFMT == S_IFDIR
                    } else if !isFolder, type != UInt8(DT_REG), type != UInt8(DT_LNK) {
                        return  // sockets and pipes are no part of a tree
                    }
                    if isTracked(name, length, isFolder: isFolder, prefix: prefix, range: range) {
                        return
                    }
                    untracked.append(folder + String(cString: name) + (isFolder ? "/" : ""))
                }
            }
        }
    }

    /// Binary search among the folder's entries, which are sorted by their bytes.
    private func isTracked(
        _ name: UnsafePointer<CChar>, _ length: Int, isFolder: Bool, prefix: Int, range: Range<Int>
    ) -> Bool {
        var low = range.lowerBound
        var high = range.upperBound
        while low < high {
            let middle = (low + high) / 2
            let other = entries[middle].path + prefix
            var order = strncmp(other, name, length)
            if order == 0 {
                let next = other[length]
                if next == 0 {
                    // A submodule is a folder with an entry of its own name.
                    if !isFolder || entries[middle].isSubmodule {
                        return true
                    }
                    order = -1
                } else if isFolder {
                    if next == 0x2F { return true }
                    order = next < 0x2F ? -1 : 1
                } else {
                    order = 1
                }
            }
            if order < 0 { low = middle + 1 } else { high = middle }
        }
        return false
    }
}
