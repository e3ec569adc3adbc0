// Between f32, bf16 and f16.

internal import EngineKernels

extension Tensor {
    /// The elements in another floating-point type: exact when widening, to nearest with ties to even
    /// when narrowing. Copies nothing where the type is the same.
    /// - Precondition: both types are f32, bf16 or f16.
    public func converted(to dtype: DType) -> Tensor {
        if dtype == self.dtype { return self }
        if self.dtype != .f32 {
            let wide = Tensor(uninitialized: shape)
            wide.storage.base.withMemoryRebound(to: Float.self, capacity: count) {
                ek_widen(count, Self.half(self.dtype), storage.base + byteOffset, $0)
            }
            return wide.converted(to: dtype)
        }
        let narrow = Tensor(uninitialized: shape, dtype: dtype)
        withUnsafeFloats {
            ek_narrow(count, Self.half(dtype), $0.baseAddress, narrow.storage.base)
        }
        return narrow
    }

    private static func half(_ dtype: DType) -> ek_dtype {
        switch dtype {
        case .bf16: EK_BF16
        case .f16: EK_F16
        default: preconditionFailure("\(dtype) does not convert: f32, bf16 and f16 do")
        }
    }
}
