// What lies at a path. Here because libarchive's headers bring `stat` along, and only this folder
// imports them.

internal import CArchive
internal import Foundation

/// The kind and size of what lies at a path.
struct FileStatus {
    enum Kind { case file, folder, other }
    var kind: Kind
    var size: Int64
    var bytesOnDisk: Int64

    /// Nil where there is nothing, or nothing that may be looked at.
    init?(_ path: String, followingLinks: Bool = true) {
        var status = stat()
        guard (followingLinks ? stat(path, &status) : lstat(path, &status)) == 0 else { return nil }
        switch status.st_mode & S_IFMT {
        case S_IFREG: kind = .file
        case S_IFDIR: kind = .folder
        default: kind = .other
        }
        size = Int64(status.st_size)
        bytesOnDisk = Int64(status.st_blocks) * 512
    }
}
