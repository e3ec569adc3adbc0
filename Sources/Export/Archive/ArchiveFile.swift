// The archive's file, written past the page cache: copying gigabytes into it and having the system write them
// out again costs as much as hashing them. A thread of its own waits for the disk.

internal import Dispatch
internal import Foundation
internal import Synchronization

/// A new file, filled from its beginning to its end by one thread.
///
/// Unchecked: a block is filled by that thread, then written on `queue`; the rest is marked below.
final class ArchiveFile: @unchecked Sendable {
    /// Large enough for a disk's full speed; every offset but the last is a multiple of it.
    private static let blockSize = 4 << 20

    private let descriptor: Int32
    private let path: String
    private var block = Block()
    private(set) var count: Int64 = 0

    // Touched on `queue`, or when it has nothing to do.
    private let queue = DispatchQueue(label: "disk", qos: .userInitiated)
    private let free = DispatchSemaphore(value: 2)
    private var offset: Int64 = 0
    private var isDirect = false
    private let error = Mutex<Int32>(0)
    /// Blocks that are neither being filled nor on their way.
    private let spare = Mutex<[Block]>([Block(), Block()])

    private final class Block: @unchecked Sendable {
        let bytes = UnsafeMutableRawBufferPointer.allocate(
            byteCount: ArchiveFile.blockSize, alignment: 4096)
        var count = 0
        deinit { bytes.deallocate() }
    }

    /// - Parameter name: How messages call it, where it gets another name when it is whole.
    init(creating path: String, for name: String? = nil) throws {
        self.path = name ?? path
        descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        if descriptor < 0 { throw failure(systemMessage()) }
    }

    // A block on its way keeps the file: nothing is being written any more.
    deinit { if descriptor >= 0 { close(descriptor) } }

    func write(_ pieces: [UnsafeRawBufferPointer]) throws {
        for piece in pieces {
            var rest = piece
            while rest.count > 0 {
                let length = min(rest.count, Self.blockSize - block.count)
                UnsafeMutableRawBufferPointer(rebasing: block.bytes[block.count...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<length]))
                block.count += length
                rest = UnsafeRawBufferPointer(rebasing: rest[length...])
                if block.count == Self.blockSize { try flush() }
            }
            count += Int64(piece.count)
        }
    }

    /// Hands the block on; waits where two are on their way already.
    private func flush() throws {
        free.wait()
        let full = block
        block = spare.withLock { $0.removeLast() }
        block.count = 0
        queue.async {
            self.put(full)
            self.spare.withLock { $0.append(full) }
            self.free.signal()
        }
        try check()
    }

    private func put(_ block: Block) {
        guard error.withLock({ $0 }) == 0 else { return }
        if offset == 0, block.count == Self.blockSize {
            // File systems in memory, and some others, know no such thing.
            isDirect = fcntl(descriptor, F_SETFL, __O_DIRECT) == 0
        }
        var done = 0
        while done < block.count {
            let aligned = (block.count - done) & ~4095
            if isDirect, aligned == 0 { isDirect = fcntl(descriptor, F_SETFL, 0) != 0 }
            let written = pwrite(
                descriptor, block.bytes.baseAddress! + done,
                isDirect ? aligned : block.count - done, off_t(offset) + off_t(done))
            if written < 0 {
                if errno == EINTR { continue }
                if errno == EINVAL, isDirect, fcntl(descriptor, F_SETFL, 0) == 0 {
                    isDirect = false
                    continue
                }
                let code = errno
                error.withLock { $0 = code }
                return
            }
            done += written
            // A full disk may take a part that is no whole page.
            if isDirect, done & 4095 != 0 { isDirect = fcntl(descriptor, F_SETFL, 0) != 0 }
        }
        offset += Int64(done)
    }

    /// Writes what is left, and returns when all of it is on the disk.
    func finish() throws {
        try flush()
        queue.sync {}
        try check()
        if fsync(descriptor) != 0, errno != EINVAL, errno != EROFS {
            throw failure(systemMessage())
        }
    }

    /// - Throws: What the disk said of a block before.
    private func check() throws {
        let code = error.withLock { $0 }
        if code != 0 { throw failure(String(cString: strerror(code))) }
    }

    func failure(_ message: String) -> ExportError {
        ExportError(
            .archive, "The archive cannot be written: \(message).", where: path,
            mend: "choose with -o a place that has room and that you may write to")
    }
}
