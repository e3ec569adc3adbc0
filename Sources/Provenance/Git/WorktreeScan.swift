// Finds what differs between the index and the files, faster than libgit2's own comparison: it looks at each tracked
// file once, by its folder, on all cores, and lists only folders whose names may have changed (FolderListings.swift).
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

    /// - Parameter root: The worktree's folder.
    init(of root: String, index: IndexFile, listings: FolderListings) {
        let base = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        defer { close(base) }
        var info = stat()
        fstat(base, &info)
        let device = FolderListings.trusts(root) ? info.st_dev : nil
        let fresh = FolderWalk(index: index, listings: listings, device: device)
        // What is large is looked through here, down to folders of which one thread can do many.
        var top = fresh
        top.share = 1024
        top.walk(fcntl(base, F_DUPFD_CLOEXEC, 0), prefix: 0, range: 0..<index.count)
        let tasks = top.deferred
        let parts = Mutex<[FolderWalk]>([top])
        DispatchQueue.concurrentPerform(iterations: tasks.count) { place in
            var walk = fresh
            walk.enter(tasks[place].prefix, from: base, range: tasks[place].range)
            let done = walk
            parts.withLock { $0.append(done) }
        }
        for part in parts.withLock({ $0 }) {
            suspects += part.suspects
            deleted += part.deleted
            untracked += part.untracked
            submodules += part.submodules
            listings.keep(part.records, isNew: part.hasNewRecords)
        }
    }

    /// Whether the files are the index's.
    var isClean: Bool {
        suspects.isEmpty && deleted.isEmpty && untracked.isEmpty && submodules.isEmpty
    }
}

/// The walk through one part of the tree, by one thread.
private struct FolderWalk: Sendable {
    let index: IndexFile
    let listings: FolderListings
    /// The file system on which a folder's times can be trusted; nil for none.
    let device: dev_t?
    /// Folders with no more entries than this are left in `deferred`, and files of one folder beyond it are divided.
    var share = 0

    var suspects: [String] = []
    var deleted: [String] = []
    var untracked: [String] = []
    var submodules: [String] = []
    var deferred: [(prefix: Int, range: Range<Int>)] = []
    var records: [FolderListings.Record] = []
    var hasNewRecords = false

    init(index: IndexFile, listings: FolderListings, device: dev_t?) {
        self.index = index
        self.listings = listings
        self.device = device
    }

    /// Opens the folder whose path below `base` is the first `prefix` bytes (the last a slash) of the entries in
    /// `range`, and walks it. A link in its place is none.
    mutating func enter(_ prefix: Int, after skipped: Int = 0, from base: Int32, range: Range<Int>)
    {
        let length = prefix - skipped - 1
        let folder = withUnsafeTemporaryAllocation(of: CChar.self, capacity: length + 1) { name in
            memcpy(name.baseAddress!, index[range.lowerBound].path + skipped, length)
            name[length] = 0
            return openat(
                base, name.baseAddress!, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
        }
        guard folder >= 0 else {
            for place in range { deleted.append(index[place].text) }
            return
        }
        walk(folder, prefix: prefix, range: range)
    }

    /// Compares an open folder with the entries in `range`, whose first `prefix` bytes are its path, and closes it.
    mutating func walk(_ folder: Int32, prefix: Int, range: Range<Int>) {
        // Taken before anything is looked at: what changes meanwhile changes the times that are asked for next time.
        var info = stat()
        let identity = fstat(folder, &info) == 0 && info.st_dev == device ? FileIdentity(info) : nil
        var files: [Int] = []
        var present = 0
        var place = range.lowerBound
        while place < range.upperBound {
            let entry = index[place]
            let name = entry.path + prefix
            if let slash = strchr(name, 0x2F) {
                let length = UnsafePointer(slash) - name + 1
                let end = groupEnd(prefix + length, place, range)
                if isFolder(name, length - 1, in: folder) { present += 1 }
                if end - place <= share {
                    deferred.append((prefix + length, place..<end))
                } else {
                    enter(prefix + length, after: prefix, from: folder, range: place..<end)
                }
                place = end
            } else {
                if share > 0 {
                    files.append(place)
                } else if check(entry, name: name, in: folder, &info) {
                    present += 1
                }
                place += 1
            }
        }
        present += checkTogether(files, prefix, in: folder)
        if let identity, listings.names(in: identity) == present {
            if let record = listings.record(identity, names: present) { records.append(record) }
            close(folder)
            return
        }
        guard let listing = fdopendir(folder) else {
            close(folder)
            return
        }
        defer { closedir(listing) }
        let names = findUntracked(listing, folder, prefix: prefix, range: range)
        if names == present, let identity, let record = listings.record(identity, names: names) {
            records.append(record)
            hasNewRecords = true
        }
    }

    /// The end of the entries from `place` on that share their first `prefix` bytes: in steps that double, then halve,
    /// since they are sorted.
    private func groupEnd(_ prefix: Int, _ place: Int, _ range: Range<Int>) -> Int {
        let path = index[place].path
        func shares(_ other: Int) -> Bool { strncmp(index[other].path, path, prefix) == 0 }
        var low = place
        var step = 1
        while low + step < range.upperBound, shares(low + step) {
            low += step
            step *= 2
        }
        var high = min(low + step, range.upperBound)
        while high - low > 1 {
            let middle = (low + high) / 2
            if shares(middle) { low = middle } else { high = middle }
        }
        return high
    }

    private func isFolder(_ name: UnsafePointer<CChar>, _ length: Int, in folder: Int32) -> Bool {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: length + 1) { copy in
            memcpy(copy.baseAddress!, name, length)
            copy[length] = 0
            var info = stat()
            return fstatat(folder, copy.baseAddress!, &info, AT_SYMLINK_NOFOLLOW) == 0
                && info.st_mode & S_IFMT == S_IFDIR
        }
    }

    /// Checks files of one folder, on all cores where they are many.
    /// - Returns: How many are there.
    private mutating func checkTogether(_ files: [Int], _ prefix: Int, in folder: Int32) -> Int {
        guard files.count > share else {
            var info = stat()
            return files.count(where: {
                check(index[$0], name: index[$0].path + prefix, in: folder, &info)
            })
        }
        let fresh = FolderWalk(index: index, listings: listings, device: device)
        let parts = Mutex<(present: Int, walks: [FolderWalk])>((0, []))
        let starts = Array(stride(from: 0, to: files.count, by: share))
        let share = share
        DispatchQueue.concurrentPerform(iterations: starts.count) { part in
            var walk = fresh
            var info = stat()
            var present = 0
            for place in files[starts[part]..<min(starts[part] + share, files.count)]
            where walk.check(
                fresh.index[place], name: fresh.index[place].path + prefix, in: folder, &info)
            { present += 1 }
            let (done, found) = (walk, present)
            parts.withLock {
                $0.present += found
                $0.walks.append(done)
            }
        }
        let (present, walks) = parts.withLock { $0 }
        for walk in walks {
            suspects += walk.suspects
            deleted += walk.deleted
            submodules += walk.submodules
        }
        return present
    }

    /// Is the file what the index says, as far as its size, times and mode tell?
    /// - Returns: Whether a file, or a submodule's folder, is there.
    private mutating func check(
        _ entry: IndexFile.Entry, name: UnsafePointer<CChar>, in folder: Int32, _ info: inout stat
    ) -> Bool {
        let isThere = fstatat(folder, name, &info, AT_SYMLINK_NOFOLLOW) == 0
        let kind = info.st_mode & S_IFMT
        if entry.isSubmodule {
            submodules.append(entry.text)
            return isThere && kind == S_IFDIR
        }
        guard isThere, kind != S_IFDIR else {
            deleted.append(entry.text)
            return false
        }
        let mode: UInt32 =
            kind == S_IFLNK ? 0o120000 : info.st_mode & 0o100 != 0 ? 0o100755 : 0o100644
        let (seconds, nanoseconds) = (entry.seconds, entry.nanoseconds)
        let same =
            entry.mode == mode
            && entry.size == UInt32(truncatingIfNeeded: info.st_size)
            && seconds == Int32(truncatingIfNeeded: info.st_mtim.tv_sec)
            // Git versions that know no nanoseconds write none.
            && (nanoseconds == 0 || nanoseconds == UInt32(info.st_mtim.tv_nsec))
            // Contents may change under the same size and times; this one nobody can put back.
            && entry.changedSeconds == Int32(truncatingIfNeeded: info.st_ctim.tv_sec)
            && (entry.changedNanoseconds == 0
                || entry.changedNanoseconds == UInt32(info.st_ctim.tv_nsec))
            && (entry.inode == 0 || entry.inode == UInt32(truncatingIfNeeded: info.st_ino))
        // A file as young as the index may have been written again after its times were taken down.
        let racy = (seconds, nanoseconds) >= (index.seconds, index.nanoseconds)
        if !same || racy { suspects.append(entry.text) }
        // What is neither file nor link is no part of a tree, yet its name is there.
        return true
    }

    /// The names in a folder that the index does not have.
    /// - Returns: How many names it holds, without Git's own and, unless it is tracked, the ledger's.
    private mutating func findUntracked(
        _ listing: OpaquePointer, _ descriptor: Int32, prefix: Int, range: Range<Int>
    ) -> Int {
        let path = UnsafeRawBufferPointer(
            start: range.isEmpty ? nil : UnsafeRawPointer(index[range.lowerBound].path),
            count: range.isEmpty ? 0 : prefix)
        var names = 0
        while let item = readdir(listing) {
            let type = item.pointee.d_type
            withUnsafePointer(to: &item.pointee.d_name) { tuple in
                tuple.withMemoryRebound(to: CChar.self, capacity: 256) { name in
                    let isDot = name[0] == 0x2E
                    if isDot {
                        if name[1] == 0 || (name[1] == 0x2E && name[2] == 0) { return }
                        if strcmp(name, ".git") == 0 { return }
                    }
                    let length = strlen(name)
                    if prefix == 0, strcmp(name, ".study") == 0 {
                        if isTracked(name, length, isFolder: true, prefix: 0, range: range) {
                            names += 1
                        }
                        return
                    }
                    names += 1
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
                    untracked.append(
                        String(decoding: path, as: UTF8.self) + String(cString: name)
                            + (isFolder ? "/" : ""))
                }
            }
        }
        return names
    }

    /// Binary search among the folder's entries, which are sorted by their bytes.
    private func isTracked(
        _ name: UnsafePointer<CChar>, _ length: Int, isFolder: Bool, prefix: Int, range: Range<Int>
    ) -> Bool {
        var low = range.lowerBound
        var high = range.upperBound
        while low < high {
            let middle = (low + high) / 2
            let other = index[middle].path + prefix
            var order = strncmp(other, name, length)
            if order == 0 {
                let next = other[length]
                if next == 0 {
                    // A submodule is a folder with an entry of its own name.
                    if !isFolder || index[middle].isSubmodule {
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
