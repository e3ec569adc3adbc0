// The archives that bundles come in. What they hold, and in which order, is Bundle/'s business.

/// One of the four kinds of archive that are written and read.
package enum ArchiveFormat: String, Sendable, CaseIterable {
    case tar
    case tarZstd = "tar.zst"
    case tarGzip = "tar.gz"
    case zip

    /// The format that a file's name asks for, or nil.
    package init?(path: String) {
        let name = path.lowercased()
        if name.hasSuffix(".tar.zst") || name.hasSuffix(".tzst") {
            self = .tarZstd
        } else if name.hasSuffix(".tar.gz") || name.hasSuffix(".tgz") {
            self = .tarGzip
        } else if name.hasSuffix(".tar") {
            self = .tar
        } else if name.hasSuffix(".zip") {
            self = .zip
        } else {
            return nil
        }
    }

    /// The format that a file's first bytes show, or nil. A name proves nothing.
    package init?(magic bytes: some Collection<UInt8>) {
        let head = Array(bytes.prefix(512))
        if head.starts(with: [0x28, 0xb5, 0x2f, 0xfd]) {
            self = .tarZstd
        } else if head.starts(with: [0x1f, 0x8b]) {
            self = .tarGzip
        } else if head.starts(with: [0x50, 0x4b, 0x03, 0x04]) {
            self = .zip
        } else if head.count >= 262, Array(head[257..<262]) == Array("ustar".utf8) {
            self = .tar
        } else {
            return nil
        }
    }
}
