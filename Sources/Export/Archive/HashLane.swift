// Several consumers of one stream of bytes, each on a thread of its own, and a fixed set of buffers
// between them: each file is read once, and memory stays flat however large it is.

internal import Crypto
internal import Dispatch
internal import Synchronization

/// A fixed number of equal buffers. `lease()` waits until one is free.
///
/// Unchecked: a leased buffer is written by the one thread that leased it, before it is handed on;
/// from then on it is only read.
final class BufferPool: @unchecked Sendable {
    let size: Int
    private let free: Mutex<[Address]>
    private let available: DispatchSemaphore
    private struct Address: @unchecked Sendable { let base: UnsafeMutableRawPointer }

    init(count: Int = 12, size: Int = 1 << 20) {
        self.size = size
        var buffers: [Address] = []
        for _ in 0..<count {
            buffers.append(Address(base: .allocate(byteCount: size, alignment: 4096)))
        }
        free = Mutex(buffers)
        available = DispatchSemaphore(value: count)
        capacity = count
    }
    private let capacity: Int

    func lease() -> Lease {
        available.wait()
        let base = free.withLock { $0.removeLast() }
        return Lease(pool: self, base: base.base)
    }

    fileprivate func giveBack(_ base: UnsafeMutableRawPointer) {
        let address = Address(base: base)
        free.withLock { $0.append(address) }
        available.signal()
    }

    deinit {
        // Every lease keeps the pool alive, so all buffers are home.
        free.withLock { for buffer in $0 { buffer.base.deallocate() } }
        _ = capacity
    }
}

/// A buffer on loan; goes home when its last reader lets go of it.
final class Lease: @unchecked Sendable {
    /// Nil for a buffer of its own, freed with the lease.
    private let pool: BufferPool?
    let base: UnsafeMutableRawPointer
    var count = 0
    init(pool: BufferPool, base: UnsafeMutableRawPointer) {
        self.pool = pool
        self.base = base
    }
    /// A copy outside any pool.
    init(copying bytes: UnsafeRawBufferPointer) {
        pool = nil
        base = .allocate(byteCount: max(bytes.count, 1), alignment: 16)
        count = bytes.count
        base.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
    var space: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: base, count: pool?.size ?? count)
    }
    deinit { if let pool { pool.giveBack(base) } else { base.deallocate() } }
}

/// Digests of one file or stream, on a thread of its own.
///
/// Unchecked: the hasher is touched on `queue` only.
final class HashLane<Function: HashFunction>: @unchecked Sendable {
    private let queue: DispatchQueue
    private var hasher = Function()

    init(_ label: String) { queue = DispatchQueue(label: label, qos: .userInitiated) }

    func update(_ lease: Lease) {
        queue.async { self.hasher.update(bufferPointer: lease.bytes) }
    }

    /// The digest of everything since the last call.
    func finish() -> String {
        queue.sync {
            let digest = self.hasher.finalize()
            self.hasher = Function()
            return hexadecimal(digest)
        }
    }
}

/// Lower-case hexadecimal digits.
func hexadecimal(_ bytes: some Sequence<UInt8>) -> String {
    let digits = Array("0123456789abcdef".utf8)
    var text: [UInt8] = []
    for byte in bytes {
        text.append(digits[Int(byte >> 4)])
        text.append(digits[Int(byte & 15)])
    }
    return String(decoding: text, as: UTF8.self)
}

/// What a manifest and a crate say of a file.
package struct PayloadDigest: Sendable, Hashable {
    package var size: Int64
    package var sha256: String
    package var sha512: String

    package init(size: Int64, sha256: String, sha512: String) {
        self.size = size
        self.sha256 = sha256
        self.sha512 = sha512
    }

    /// Of bytes in memory.
    package init(of bytes: [UInt8]) {
        size = Int64(bytes.count)
        sha256 = hexadecimal(SHA256.hash(data: bytes))
        sha512 = hexadecimal(SHA512.hash(data: bytes))
    }
}
