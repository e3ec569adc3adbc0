// The matrix product's operands, as the kernels take them: tensors and quantised weights by pointer.
// The product itself is in EngineKernels (gemm.c).

package import EngineKernels

extension ek_dtype {
    /// The kernels' name of a dense element type that a product can take.
    package init(_ dtype: DType) {
        switch dtype {
        case .f32: self = EK_F32
        case .bf16: self = EK_BF16
        case .f16: self = EK_F16
        default:
            preconditionFailure("a product takes f32, bf16 or f16, not \(dtype): convert it first")
        }
    }
}

/// An operand `[rows, columns]` of f32, its rows `stride` apart, or with `transposed` its transpose.
package func operand(
    _ data: UnsafePointer<Float>?, stride: Int, transposed: Bool = false
) -> ek_matrix {
    ek_matrix(data: data, dtype: EK_F32, transposed: transposed, stride: stride, scales: nil)
}

extension Tensor {
    /// Calls `body` with this matrix as an operand; the last axis is its row, the others are merged.
    package func withOperand<R>(transposed: Bool = false, _ body: (ek_matrix) -> R) -> R {
        withUnsafeBytes { bytes in
            body(
                ek_matrix(
                    data: bytes.baseAddress, dtype: ek_dtype(dtype), transposed: transposed,
                    stride: shape.last ?? 1, scales: nil))
        }
    }
}

extension Weight {
    /// Calls `body` with this weight `[output, input]` as an operand: transposed for `x · Wᵀ`, as it is
    /// for a gradient times W. Quantised weights are decoded inside the product.
    package func withOperand<R>(transposed: Bool, _ body: (ek_matrix) -> R) -> R {
        switch self {
        case .dense(let tensor):
            return tensor.withOperand(transposed: transposed, body)
        case .int8(let matrix):
            return matrix.codes.withUnsafeBytes { codes in
                matrix.absmax.withUnsafeFloats { absmax in
                    body(
                        ek_matrix(
                            data: codes.baseAddress, dtype: EK_I8, transposed: transposed,
                            stride: matrix.codes.shape[1], scales: absmax.baseAddress))
                }
            }
        case .nf4(let matrix):
            return matrix.packed.withUnsafeBytes { packed in
                matrix.absmax.withUnsafeFloats { absmax in
                    body(
                        ek_matrix(
                            data: packed.baseAddress, dtype: EK_NF4, transposed: transposed,
                            stride: matrix.shape[1], scales: absmax.baseAddress))
                }
            }
        }
    }
}
