// From one element type to another.

internal import EngineKernels

extension Tensor {
    /// The same numbers in another element type: to the nearest, ties to even, where the new type is
    /// narrower. Between f32, bf16, f16 and f64; integers convert to floating point.
    public func converted(to wanted: DType) -> Tensor {
        if dtype == wanted { return self }
        if wanted == .f32 { return widened() }
        precondition(
            wanted.isFloating, "converted: \(dtype) to \(wanted) would drop fractions; round first")
        let source = dtype == .f32 ? self : widened()
        var result = Tensor(uninitialized: shape, dtype: wanted)
        source.withUnsafeFloats { from in
            result.withUnsafeMutableBytes { to in
                if wanted == .f64 {
                    let to = to.assumingMemoryBound(to: Double.self)
                    for i in from.indices { to[i] = Double(from[i]) }
                } else {
                    ek_narrow(from.count, ek_dtype(wanted), from.baseAddress, to.baseAddress)
                }
            }
        }
        return result
    }

    /// The elements as an array, in row-major order, in f32.
    public var values: [Float] { converted(to: .f32).withUnsafeFloats { Array($0) } }

    private func widened() -> Tensor {
        var result = Tensor(uninitialized: shape, dtype: .f32)
        withUnsafeBytes { from in
            result.withUnsafeMutableFloats { to in
                switch dtype {
                case .bf16, .f16:
                    ek_widen(to.count, ek_dtype(dtype), from.baseAddress, to.baseAddress)
                case .f64: Self.convert(from, as: Double.self, to) { Float($0) }
                case .f32:
                    to.baseAddress?.update(
                        from: from.assumingMemoryBound(to: Float.self).baseAddress!, count: to.count
                    )
                case .i64: Self.convert(from, as: Int64.self, to) { Float($0) }
                case .i32: Self.convert(from, as: Int32.self, to) { Float($0) }
                case .i16: Self.convert(from, as: Int16.self, to) { Float($0) }
                case .i8: Self.convert(from, as: Int8.self, to) { Float($0) }
                case .u8: Self.convert(from, as: UInt8.self, to) { Float($0) }
                case .bool: Self.convert(from, as: UInt8.self, to) { $0 == 0 ? 0 : 1 }
                }
            }
        }
        return result
    }

    private static func convert<Element>(
        _ from: UnsafeRawBufferPointer, as type: Element.Type,
        _ to: UnsafeMutableBufferPointer<Float>, _ value: (Element) -> Float
    ) {
        // A mapped file may hold the elements at any address.
        for i in to.indices {
            to[i] = value(
                from.loadUnaligned(fromByteOffset: i * MemoryLayout<Element>.stride, as: type))
        }
    }
}
