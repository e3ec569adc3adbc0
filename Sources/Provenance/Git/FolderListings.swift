// Remembers how many names a folder held when it was last listed, so that one which nobody has touched since need not
// be listed again to know that nothing untracked lies in it. It knows neither Git nor paths.

internal import CGit2
internal import Foundation
internal import Synchronization

/// What the last looks at folders found, from one run to the next.
///
/// A folder's times change with each name that comes or goes. If they are as they were when it held `n` names, it
/// holds the same `n` now; and if `n` tracked names are all there, nothing else is. Only a count is kept, so a file that
/// lies or is lost can at worst have a folder listed in vain.
final class FolderListings: Sendable {
    /// A folder as it was listed: its identity and times, and how many names it held.
    struct Record: Sendable, BitwiseCopyable, Equatable {
        var inode: Int64
        var device: Int64
        var modified: Int64
        var changed: Int64
        var names: Int64
    }

    private struct Found {
        var records: [Record] = []
        var isNew = false
    }

    /// Sorted by inode and device.
    private let known: [Record]
    private let found = Mutex(Found())
    private let file: String?
    private let now: Int64

    /// "STFOLD" and the version of the form.
    private static let magic: UInt64 = 0x5354_464F_4C44_0001
    /// How old a folder's last change must be when it is listed, in nanoseconds: the coarsest clock of the file
    /// systems below (ext3's second), twice.
    private static let settled: Int64 = 2_000_000_000

    /// - Parameter file: Where it is kept; nil keeps nothing.
    init(_ file: String?) {
        self.file = file
        known = file.map(Self.read) ?? []
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        now = Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
    }

    /// How many names the folder holds; nil where that is not known, or it was changed since.
    func names(in folder: FileIdentity) -> Int? {
        var low = 0
        var high = known.count
        while low < high {
            let middle = (low + high) / 2
            let record = known[middle]
            if (record.inode, record.device) < (folder.inode, folder.device) {
                low = middle + 1
            } else {
                high = middle
            }
        }
        guard low < known.count else { return nil }
        let record = known[low]
        guard record == Self.record(folder, Int(record.names)) else { return nil }
        return Int(record.names)
    }

    /// A record of `folder`, for ``keep(_:isNew:)``; nil where the folder was changed so lately that a further change
    /// might leave its times as they are.
    func record(_ folder: FileIdentity, names: Int) -> Record? {
        folder.changed < now - Self.settled && folder.modified < now - Self.settled
            ? Self.record(folder, names) : nil
    }

    private static func record(_ folder: FileIdentity, _ names: Int) -> Record {
        Record(
            inode: folder.inode, device: folder.device, modified: folder.modified,
            changed: folder.changed, names: Int64(names))
    }

    /// Takes what one part of a walk found.
    /// - Parameter isNew: Some of it was not known before.
    func keep(_ records: [Record], isNew: Bool) {
        guard file != nil else { return }
        found.withLock {
            $0.records += records
            $0.isNew = $0.isNew || isNew
        }
    }

    /// Writes what was found, where some of it is new. Nothing depends on its success.
    func save() {
        let found = found.withLock { $0 }
        guard let file, found.isNew else { return }
        let sorted = found.records.sorted { ($0.inode, $0.device) < ($1.inode, $1.device) }
        mkdir(parent(of: file), 0o755)
        let draft = "\(file).\(getpid())"
        let descriptor = open(draft, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { return }
        let head = [Self.magic, Self.sum(sorted)]
        let isWritten = head.withUnsafeBytes { head in
            sorted.withUnsafeBytes { body in
                write(descriptor, head.baseAddress, head.count) == head.count
                    && write(descriptor, body.baseAddress, body.count) == body.count
            }
        }
        close(descriptor)
        if !isWritten || rename(draft, file) != 0 { unlink(draft) }
    }

    private static func read(_ file: String) -> [Record] {
        let descriptor = open(file, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return [] }
        defer { close(descriptor) }
        let stride = MemoryLayout<Record>.stride
        var info = stat()
        guard fstat(descriptor, &info) == 0, info.st_size >= 16,
            (Int(info.st_size) - 16) % stride == 0
        else { return [] }
        var head: [UInt64] = [0, 0]
        let size = Int(info.st_size) - 16
        let records = [Record](unsafeUninitializedCapacity: size / stride) { buffer, count in
            guard pread(descriptor, &head, 16, 0) == 16,
                pread(descriptor, buffer.baseAddress, size, 16) == size
            else { return }
            count = size / stride
        }
        guard head[0] == magic, head[1] == sum(records) else { return [] }
        return records
    }

    /// FNV-1a over the words, against a file that was cut or lost a page.
    private static func sum(_ records: [Record]) -> UInt64 {
        records.withUnsafeBytes { bytes in
            bytes.bindMemory(to: UInt64.self).reduce(0xCBF2_9CE4_8422_2325) {
                ($0 ^ $1) &* 0x100_0000_01B3
            }
        }
    }

    /// Whether the file system under `path` changes a folder's times with its names, and says so at once: Linux's own
    /// on local disks. Of others (NFS, a virtual machine's shared folders) nobody knows.
    static func trusts(_ path: String) -> Bool {
        var info = statfs()
        guard statfs(path, &info) == 0 else { return false }
        // ext2 to ext4, XFS, Btrfs, tmpfs, F2FS, ZFS, bcachefs, overlayfs (linux/magic.h).
        let local: Set<UInt32> = [
            0xEF53, 0x5846_5342, 0x9123_683E, 0x0102_1994, 0xF2F5_2010, 0x2FC1_2FC1, 0xCA45_1A4E,
            0x794C_7630,
        ]
        return local.contains(UInt32(truncatingIfNeeded: info.f_type))
    }
}
