// A value: shape, element type and copy-on-write bytes. Arithmetic is in its extensions.

/// A dense row-major array of numbers; copying it copies nothing until one copy is written.
public struct Tensor: Sendable {
    /// The extent of each axis; `[]` is a scalar.
    public private(set) var shape: [Int]
    public let dtype: DType
    package private(set) var storage: TensorStorage
    /// Where the first element lies in `storage`, in bytes.
    package let byteOffset: Int

    /// The number of elements.
    public var count: Int { shape.reduce(1, *) }
    /// The number of bytes the elements take.
    public var byteCount: Int { count * dtype.byteCount }

    /// Elements not yet written; for kernels that write every one.
    package init(uninitialized shape: [Int], dtype: DType = .f32) {
        precondition(shape.allSatisfy { $0 >= 0 }, "a shape has no negative extent: \(shape)")
        self.shape = shape
        self.dtype = dtype
        storage = TensorStorage(byteCount: shape.reduce(1, *) * dtype.byteCount)
        byteOffset = 0
    }

    /// A view on bytes that already exist, as those of a mapped checkpoint.
    package init(storage: TensorStorage, byteOffset: Int, shape: [Int], dtype: DType) {
        precondition(
            byteOffset >= 0
                && byteOffset + shape.reduce(1, *) * dtype.byteCount <= storage.byteCount,
            "a tensor \(shape) of \(dtype) does not fit its storage")
        self.storage = storage
        self.byteOffset = byteOffset
        self.shape = shape
        self.dtype = dtype
    }

    /// All elements zero.
    public init(zeros shape: [Int], dtype: DType = .f32) {
        self.init(uninitialized: shape, dtype: dtype)
        storage.base.initializeMemory(as: UInt8.self, repeating: 0, count: byteCount)
    }

    /// f32 elements in row-major order.
    /// - Precondition: `values.count` is the product of `shape`.
    public init(_ values: [Float], shape: [Int]) {
        precondition(
            values.count == shape.reduce(1, *),
            "\(values.count) values cannot fill the shape \(shape)")
        self.init(uninitialized: shape, dtype: .f32)
        values.withUnsafeBytes { bytes in
            if let start = bytes.baseAddress {
                storage.base.copyMemory(from: start, byteCount: bytes.count)
            }
        }
    }

    /// The same elements under another shape of equal count; copies nothing.
    public func reshaped(_ shape: [Int]) -> Tensor {
        precondition(
            shape.reduce(1, *) == count, "cannot view \(self.shape) as \(shape): counts differ")
        var result = self
        result.shape = shape
        return result
    }

    /// The elements' bytes, little-endian.
    public func withUnsafeBytes<R, E: Error>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: storage.base + byteOffset, count: byteCount))
    }

    /// The elements' bytes for writing; copies them first where another tensor shares them.
    public mutating func withUnsafeMutableBytes<R, E: Error>(
        _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        makeUnique()
        return try body(
            UnsafeMutableRawBufferPointer(start: storage.base + byteOffset, count: byteCount))
    }

    /// The elements of an f32 tensor.
    /// - Precondition: `dtype == .f32`.
    public func withUnsafeFloats<R, E: Error>(
        _ body: (UnsafeBufferPointer<Float>) throws(E) -> R
    ) throws(E) -> R {
        precondition(dtype == .f32, "these elements are \(dtype), not f32: convert them first")
        let start = (storage.base + byteOffset).assumingMemoryBound(to: Float.self)
        return try body(UnsafeBufferPointer(start: start, count: count))
    }

    /// The elements of an f32 tensor for writing.
    /// - Precondition: `dtype == .f32`.
    public mutating func withUnsafeMutableFloats<R, E: Error>(
        _ body: (UnsafeMutableBufferPointer<Float>) throws(E) -> R
    ) throws(E) -> R {
        precondition(dtype == .f32, "these elements are \(dtype), not f32: convert them first")
        makeUnique()
        let start = (storage.base + byteOffset).assumingMemoryBound(to: Float.self)
        return try body(UnsafeMutableBufferPointer(start: start, count: count))
    }

    private mutating func makeUnique() {
        if isKnownUniquelyReferenced(&storage), storage.isWritable { return }
        let bytes = byteCount
        let fresh = TensorStorage(byteCount: bytes)
        fresh.base.copyMemory(from: storage.base + byteOffset, byteCount: bytes)
        self = Tensor(storage: fresh, byteOffset: 0, shape: shape, dtype: dtype)
    }
}
