// The bytes behind a tensor: owned memory, or a window on something that another object keeps alive
// (a mapped checkpoint). What the bytes mean is Tensor's affair.

/// A block of bytes, 64-byte aligned where we allocated it.
///
/// `@unchecked Sendable`: the bytes are written only through a `Tensor` that holds the sole reference
/// (copy-on-write), so no two threads see a write.
public final class TensorStorage: @unchecked Sendable {
    package let base: UnsafeMutableRawPointer
    package let byteCount: Int
    /// Whatever must outlive the bytes; `nil` where the memory is our own.
    private let owner: AnyObject?
    /// Mapped bytes are never written: a mutation copies them first.
    package var isWritable: Bool { owner == nil }

    /// Memory of our own, uninitialized.
    package init(byteCount: Int) {
        self.byteCount = byteCount
        base = allocateTensorBytes(byteCount)
        owner = nil
    }

    /// A window on bytes that `owner` keeps alive and nobody writes.
    package init(borrowing base: UnsafeRawPointer, byteCount: Int, owner: AnyObject) {
        self.base = UnsafeMutableRawPointer(mutating: base)
        self.byteCount = byteCount
        self.owner = owner
    }

    deinit {
        if owner == nil { releaseTensorBytes(base, byteCount) }
    }
}
