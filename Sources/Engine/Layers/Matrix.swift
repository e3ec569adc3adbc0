// Tensors and weights as operands of the portable GEMM: the one place in Layers/ that knows its C form.

internal import EngineKernels

extension Weight {
    /// The weight `[output, input]` as the GEMM takes it, or its transpose.
    ///
    /// The pointer is valid while `self` lives: callers keep the weight for the length of the call.
    func operand(transposed: Bool) -> ek_matrix {
        switch self {
        case .dense(let tensor):
            let dtype: ek_dtype =
                switch tensor.dtype {
                case .f32: EK_F32
                case .bf16: EK_BF16
                case .f16: EK_F16
                default:
                    preconditionFailure(
                        "a linear layer's weight is f32, bf16 or f16, not \(tensor.dtype)")
                }
            return ek_matrix(
                data: UnsafeRawPointer(tensor.storage.base + tensor.byteOffset), dtype: dtype,
                transposed: transposed, stride: tensor.shape[1], scales: nil)
        case .int8(let matrix):
            return ek_matrix(
                data: UnsafeRawPointer(matrix.codes.storage.base + matrix.codes.byteOffset),
                dtype: EK_I8, transposed: transposed, stride: matrix.codes.shape[1],
                scales: matrix.absmax.floats)
        case .nf4(let matrix):
            return ek_matrix(
                data: UnsafeRawPointer(matrix.packed.storage.base + matrix.packed.byteOffset),
                dtype: EK_NF4, transposed: transposed, stride: matrix.shape[1],
                scales: matrix.absmax.floats)
        }
    }
}

/// Products of one left operand, as ``ek_gemm_group`` makes them.
/// - Parameter following: the weights that are read next.
func multiply(_ calls: [ek_gemm_call], then following: [Weight]) {
    guard let first = calls.first else { return }
    let next = following.map { weight in
        ek_gemm_call(
            m: first.m, n: weight.shape[0], k: weight.shape[1], a: first.a,
            b: weight.operand(transposed: true), c: nil, ldc: 0, accumulate: false)
    }
    ek_gemm_group(calls.count, calls, next.count, next)
}

extension Tensor {
    /// The elements of an f32 tensor for reading, valid while the tensor lives.
    var floats: UnsafePointer<Float> {
        precondition(dtype == .f32, "these elements are \(dtype), not f32: convert them first")
        return UnsafePointer((storage.base + byteOffset).assumingMemoryBound(to: Float.self))
    }

    /// The elements for writing in place, without the copy-on-write check: only for a tensor that an
    /// operator has just made, before anything else can read it.
    var freshFloats: UnsafeMutablePointer<Float> { UnsafeMutablePointer(mutating: floats) }

    /// The operand that a window of f32 columns is.
    func columns(from column: Int, transposed: Bool = false) -> ek_matrix {
        ek_matrix(
            data: UnsafeRawPointer(floats + column), dtype: EK_F32, transposed: transposed,
            stride: shape[1], scales: nil)
    }

    /// This vector or matrix as f32; itself where it is f32 already.
    var asFloats: Tensor {
        if dtype == .f32 { return self }
        // The embedding kernel widens rows, and one row will do.
        precondition(dtype == .bf16 || dtype == .f16, "\(dtype) is not a weight's type")
        let result = Tensor(uninitialized: shape)
        var row: Int32 = 0
        if count > 0 {
            ek_embed(
                result.freshFloats, storage.base + byteOffset, dtype == .bf16 ? 1 : 2, &row, 1,
                count,
                1)
        }
        return result
    }
}

extension Tensor {
    /// Whether every element is a finite number.
    package var isFinite: Bool {
        let wide = asFloats
        return ek_first_non_finite(wide.floats, wide.count) < 0
    }
}
