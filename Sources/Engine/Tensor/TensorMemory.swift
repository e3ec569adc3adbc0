// Where the bytes of tensors come from: freed blocks are kept for the next tensor of their size, since
// a training step asks for the same ones again and fresh pages cost a fault each.

internal import EngineKernels
internal import Synchronization

/// Bytes of tensors in memory of our own (a mapped checkpoint's are not counted).
public struct TensorMemory: Sendable, Hashable {
    /// Bytes that tensors hold now.
    public var liveBytes: Int
    /// The most they have held since the start or the last ``resetPeak()``.
    public var peakBytes: Int
    /// Bytes kept for the next tensors.
    public var cachedBytes: Int
    /// Bytes of the elements that tensors hold now: ``liveBytes`` without what blocks are rounded up by.
    package var elementBytes = 0

    public static var current: TensorMemory { allocator.withLock { $0.memory } }

    /// Starts the count of the peak anew, from what is live.
    public static func resetPeak() {
        allocator.withLock { $0.memory.peakBytes = $0.memory.liveBytes }
    }

    /// Gives the kept blocks back to the system.
    public static func releaseCache() { allocator.withLock { $0.releaseCache() } }
}

/// The tensors' allocator. One for the process, guarded; it changes no result.
private let allocator = Mutex(TensorAllocator())

package func allocateTensorBytes(_ byteCount: Int) -> UnsafeMutableRawPointer {
    // The pointer's ownership passes to the caller; the address crosses the lock as a number.
    let address = allocator.withLock { UInt(bitPattern: $0.allocate(byteCount)) }
    return UnsafeMutableRawPointer(bitPattern: address)!
}

package func releaseTensorBytes(_ base: UnsafeMutableRawPointer, _ byteCount: Int) {
    let address = UInt(bitPattern: base)
    allocator.withLock { $0.release(UnsafeMutableRawPointer(bitPattern: address)!, byteCount) }
}

private struct TensorAllocator {
    /// Blocks below this size are malloc's affair: it keeps them mapped anyway.
    static let smallestKept = 64 << 10
    /// The most that is kept; beyond it a freed block goes back to the system.
    static let mostKept = 1 << 30

    var memory = TensorMemory(liveBytes: 0, peakBytes: 0, cachedBytes: 0)
    /// Addresses of free blocks, by size.
    var free: [Int: [UInt]] = [:]

    /// Sizes are rounded up to an eighth of their power of two, so that nearly equal shapes share.
    static func rounded(_ byteCount: Int) -> Int {
        if byteCount < smallestKept { return Swift.max((byteCount + 63) & ~63, 64) }
        let step = 1 << (Int.bitWidth - 1 - byteCount.leadingZeroBitCount - 3)
        return (byteCount + step - 1) / step * step
    }

    mutating func allocate(_ byteCount: Int) -> UnsafeMutableRawPointer {
        let size = Self.rounded(byteCount)
        memory.liveBytes += size
        memory.elementBytes += byteCount
        memory.peakBytes = Swift.max(memory.peakBytes, memory.liveBytes)
        if let address = free[size]?.popLast() {
            memory.cachedBytes -= size
            return UnsafeMutableRawPointer(bitPattern: address)!
        }
        if let pointer = ek_allocate(size) { return pointer }
        releaseCache()
        guard let pointer = ek_allocate(size) else {
            preconditionFailure("out of memory: a tensor of \(byteCount) bytes was refused")
        }
        return pointer
    }

    mutating func release(_ base: UnsafeMutableRawPointer, _ byteCount: Int) {
        let size = Self.rounded(byteCount)
        memory.liveBytes -= size
        memory.elementBytes -= byteCount
        if size < Self.smallestKept || memory.cachedBytes + size > Self.mostKept {
            ek_release(base, size)
            return
        }
        memory.cachedBytes += size
        free[size, default: []].append(UInt(bitPattern: base))
    }

    mutating func releaseCache() {
        for (size, addresses) in free {
            for address in addresses {
                ek_release(UnsafeMutableRawPointer(bitPattern: address), size)
            }
        }
        free = [:]
        memory.cachedBytes = 0
    }
}
