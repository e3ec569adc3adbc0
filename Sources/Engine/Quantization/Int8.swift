// Rows in 8 bits: Dettmers et al. 2022, arXiv:2208.07339, §2.1. The GEMM reads the same layout directly
// (Backends); here are making it and reading it whole. The product with outliers: LLMInt8.swift.

internal import EngineKernels

extension Int8Matrix {
    /// Quantizes a matrix `[output, input]` row by row: absmax, and codes `w · (127 · (1 / absmax))` rounded
    /// half to even. A zero row has scale 0 and codes 0.
    ///
    /// Source: §2.1 (vector-wise quantization); the codes are bitsandbytes' `int8_vectorwise_quant`.
    /// - Precondition: Two axes, f32, bf16 or f16, every element finite.
    public init(quantizing weight: Tensor) {
        precondition(
            weight.shape.count == 2, "int8 quantization is of a matrix, not \(weight.shape)")
        let dense = weight.converted(to: .f32)
        var codes = Tensor(uninitialized: weight.shape, dtype: .i8)
        let absmax = Tensor(uninitialized: [weight.shape[0]])
        let isFinite = codes.withUnsafeMutableBytes { bytes in
            ek_int8_quantize(
                dense.floats, dense.shape[0], dense.shape[1],
                bytes.baseAddress?.assumingMemoryBound(to: Int8.self), absmax.freshFloats)
        }
        precondition(isFinite, "a weight with an element that is not finite cannot be quantized")
        self.init(codes: codes, absmax: absmax)
    }

    /// The matrix as decoding gives it, `code · (absmax / 127)`, `[output, input]`, f32.
    public func dequantized() -> Tensor {
        let result = Tensor(uninitialized: codes.shape)
        codes.withUnsafeBytes { bytes in
            ek_int8_dequantize(
                bytes.baseAddress?.assumingMemoryBound(to: Int8.self), absmax.floats,
                codes.shape[0], codes.shape[1], result.freshFloats)
        }
        return result
    }
}
