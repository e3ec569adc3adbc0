// Rows in 8 bits, and the product of LLM.int8: Dettmers et al. 2022, arXiv:2208.07339. The GEMM reads the
// same layout directly (Backends); here are making it, reading it whole, and the mixed product.

internal import EngineKernels

extension Int8Matrix {
    /// Quantizes a matrix `[output, input]` row by row: absmax, and codes `w · (127 / absmax)` rounded
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

/// What ``Int8Matrix/mixedProduct(_:threshold:)`` found and computed.
public struct MixedProduct: Sendable {
    /// `[rows, output]`, f32.
    public var result: Tensor
    /// The input columns that were multiplied in high precision, ascending.
    public var outlierColumns: [Int]
}

extension Int8Matrix {
    /// `x Wᵀ` as LLM.int8 computes it: integers for most columns, high precision for outliers.
    ///
    /// The input is rounded to f16. Columns in which any magnitude reaches `threshold` are multiplied with
    /// the decoded weights in f32; the others are quantized by row, multiplied in integers, and scaled by
    /// `absmaxₓ · absmaxᵥ · 6.200124e-05`, the library's 1 / 127² (1.8e-5 above it). Outliers depend on the whole batch, so a row's result may depend on the
    /// rows beside it; that is the method, not an accident of this implementation.
    /// Source: §3.1, Eq. 8, with bitsandbytes' order of rounding (`backends/default/ops.py`, 0.50); its
    /// result is then rounded to f16, ours is not.
    /// - Parameters:
    ///   - x: `[rows, input]`, f32, bf16 or f16.
    ///   - threshold: The paper's α; 0 turns the outliers off.
    public func mixedProduct(_ x: Tensor, threshold: Float = 6) -> MixedProduct {
        let (rows, output, input) = (x.shape[0], codes.shape[0], codes.shape[1])
        precondition(
            x.shape.count == 2 && x.shape[1] == input,
            "mixedProduct: \(x.shape) · \(codes.shape)ᵀ: \(x.shape.last ?? 0) ≠ \(input)")
        var plain = x.converted(to: .f16).converted(to: .f32)
        var outliers: [Int] = []
        if threshold > 0 {
            var isOutlier = [Bool](repeating: false, count: input)
            plain.withUnsafeFloats { values in
                for row in 0..<rows {
                    for column in 0..<input
                    where values[row * input + column].magnitude >= threshold {
                        isOutlier[column] = true
                    }
                }
            }
            outliers = isOutlier.indices.filter { isOutlier[$0] }
        }
        // Outlying values do not count for a row's scale; other values of their columns do, as in the
        // library, though those columns then take no part in the integer product.
        var high = Tensor(zeros: [rows, outliers.count])
        high.withUnsafeMutableFloats { high in
            plain.withUnsafeMutableFloats { values in
                for row in 0..<rows {
                    for (place, column) in outliers.enumerated() {
                        let value = values[row * input + column]
                        high[row * outliers.count + place] = value
                        if value.magnitude >= threshold { values[row * input + column] = 0 }
                    }
                }
            }
        }
        var quantized = Int8Matrix(quantizing: plain)
        quantized.codes.withUnsafeMutableBytes { codes in
            for row in 0..<rows {
                for column in outliers { codes[row * input + column] = 0 }
            }
        }
        let sums = quantized.integerProducts(self)
        // The outliers' columns of the weight, decoded.
        var columns = Tensor(zeros: [output, outliers.count])
        columns.withUnsafeMutableFloats { target in
            codes.withUnsafeBytes { codes in
                let codes = codes.bindMemory(to: Int8.self)
                absmax.withUnsafeFloats { absmax in
                    for row in 0..<output {
                        let scale = absmax[row] / 127
                        for (place, column) in outliers.enumerated() {
                            target[row * outliers.count + place] =
                                Float(codes[row * input + column]) * scale
                        }
                    }
                }
            }
        }
        var result = matmulTransposed(high, columns)
        result.withUnsafeMutableFloats { result in
            quantized.absmax.withUnsafeFloats { left in
                absmax.withUnsafeFloats { right in
                    for row in 0..<rows {
                        for column in 0..<output {
                            let scale = left[row] * right[column] * 6.200124e-05
                            result[row * output + column] +=
                                Float(sums[row * output + column]) * scale
                        }
                    }
                }
            }
        }
        return MixedProduct(result: result, outlierColumns: outliers)
    }

    /// `Σ code · code` for every pair of rows, `[rows, other rows]`.
    private func integerProducts(_ other: Int8Matrix) -> [Int32] {
        let (rows, columns) = (codes.shape[0], other.codes.shape[0])
        return [Int32](unsafeUninitializedCapacity: rows * columns) { buffer, count in
            codes.withUnsafeBytes { left in
                other.codes.withUnsafeBytes { right in
                    ek_int8_products(
                        left.baseAddress?.assumingMemoryBound(to: Int8.self),
                        right.baseAddress?.assumingMemoryBound(to: Int8.self), rows, columns,
                        codes.shape[1], buffer.baseAddress)
                }
            }
            count = rows * columns
        }
    }
}
