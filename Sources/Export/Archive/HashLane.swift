// Several consumers of one stream of bytes, each on a thread of its own, and a fixed set of buffers
// between them: each file is read once, and memory stays flat however large it is.

internal import Dispatch
internal import Provenance
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
    private enum Owner {
        case pool(BufferPool)
        /// The bytes are a part of this one's.
        case lease(Lease)
        case nobody
    }
    private let owner: Owner
    let base: UnsafeMutableRawPointer
    var count = 0
    init(pool: BufferPool, base: UnsafeMutableRawPointer) {
        owner = .pool(pool)
        self.base = base
    }
    /// A copy outside any pool.
    init(copying bytes: UnsafeRawBufferPointer) {
        owner = .nobody
        base = .allocate(byteCount: max(bytes.count, 1), alignment: 16)
        count = bytes.count
        base.copyMemory(from: bytes.baseAddress!, byteCount: bytes.count)
    }
    /// Some of the bytes of another, which stays on loan meanwhile; nil where they are not of it.
    init?(_ bytes: UnsafeRawBufferPointer, of lease: Lease) {
        guard let start = bytes.baseAddress, start >= UnsafeRawPointer(lease.base),
            start + bytes.count <= UnsafeRawPointer(lease.base) + lease.count
        else { return nil }
        owner = .lease(lease)
        base = UnsafeMutableRawPointer(mutating: start)
        count = bytes.count
    }
    var bytes: UnsafeRawBufferPointer { UnsafeRawBufferPointer(start: base, count: count) }
    var space: UnsafeMutableRawBufferPointer {
        guard case .pool(let pool) = owner else {
            return UnsafeMutableRawBufferPointer(start: base, count: count)
        }
        return UnsafeMutableRawBufferPointer(start: base, count: pool.size)
    }
    deinit {
        switch owner {
        case .pool(let pool): pool.giveBack(base)
        case .lease: break
        case .nobody: base.deallocate()
        }
    }
}

/// Digests of one file or stream, on a thread of its own.
///
/// Unchecked: the hasher is touched on `queue` only.
final class HashLane: @unchecked Sendable {
    private let queue: DispatchQueue
    private let hasher: StreamDigest

    init(_ function: StreamDigest.Function, _ label: String) {
        queue = DispatchQueue(label: label, qos: .userInitiated)
        hasher = StreamDigest(function)
    }

    func update(_ lease: Lease) {
        queue.async { self.hasher.update(lease.bytes) }
    }

    /// The digest of everything since the last call.
    func finish() -> String { queue.sync { hasher.finish() } }
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
        func digest(_ function: StreamDigest.Function) -> String {
            let hasher = StreamDigest(function)
            hasher.update(bytes)
            return hasher.finish()
        }
        (size, sha256, sha512) = (Int64(bytes.count), digest(.sha256), digest(.sha512))
    }
}
