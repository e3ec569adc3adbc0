// Matrix products of tensors.

internal import EngineKernels

extension Tensor {
    /// The matrix with rows and columns exchanged, for the last two axes.
    public func transposed() -> Tensor {
        precondition(shape.count >= 2, "transposed: a matrix has two axes, \(shape) does not")
        precondition(dtype == .f32, "transposed: f32 is wanted, these elements are \(dtype)")
        let rows = shape[shape.count - 2], columns = shape[shape.count - 1]
        let matrices = rows * columns == 0 ? 0 : count / (rows * columns)
        var result = Tensor(
            uninitialized: Array(shape.dropLast(2)) + [columns, rows])
        withUnsafeFloats { source in
            result.withUnsafeMutableFloats { target in
                for matrix in 0..<matrices {
                    let offset = matrix * rows * columns
                    ek_transpose(
                        rows, columns, source.baseAddress! + offset, columns,
                        target.baseAddress! + offset, rows)
                }
            }
        }
        return result
    }
}

/// The matrix product: `[m, k] · [k, n] = [m, n]`; leading axes of `a` count as rows, and where both
/// have the same leading axes there is one product for each.
///
/// Every element is one chain of fused multiply-adds, k ascending, in f32. `a` and `b` may be f32,
/// bf16 or f16; the result is f32.
public func matmul(_ a: Tensor, _ b: Tensor) -> Tensor { product(a, b, transposed: false) }

/// `a · bᵀ`: `[m, k] · [n, k]ᵀ = [m, n]`, as a linear layer applies its weight `[output, input]`.
public func matmulTransposed(_ a: Tensor, _ b: Tensor) -> Tensor { product(a, b, transposed: true) }

/// A linear layer: `x Wᵀ`, with `x` `[…, input]` and the weight `[output, input]` in whatever form it
/// is stored.
public func linear(_ x: Tensor, _ weight: Weight) -> Tensor {
    let input = x.shape.last ?? 0
    precondition(
        weight.shape.count == 2 && x.shape.count >= 1 && weight.shape[1] == input,
        "linear: \(x.shape) · \(weight.shape)ᵀ: \(input) ≠ \(weight.shape.last ?? 0)")
    let output = weight.shape[0], rows = x.shape.dropLast().reduce(1, *)
    if case .int8(let matrix) = weight, let decomposition = matrix.decomposition {
        return matrix.mixedProduct(x.reshaped([rows, input]), decomposition).result
            .reshaped(x.shape.dropLast() + [output])
    }
    var result = Tensor(uninitialized: x.shape.dropLast() + [output])
    result.withUnsafeMutableFloats { c in
        x.withOperand { x in
            weight.withOperand(transposed: true) { w in
                ek_gemm(rows, output, input, x, w, c.baseAddress, output, false)
            }
        }
    }
    return result
}

private func product(_ a: Tensor, _ b: Tensor, transposed: Bool) -> Tensor {
    precondition(
        a.shape.count >= 2 && b.shape.count >= 2,
        "matmul: \(a.shape) · \(b.shape): both need two axes; reshape the vector to a matrix")
    let k = a.shape[a.shape.count - 1]
    let inner = b.shape[b.shape.count - (transposed ? 1 : 2)]
    let n = b.shape[b.shape.count - (transposed ? 2 : 1)]
    precondition(
        k == inner,
        "matmul: \(a.shape) · \(b.shape)\(transposed ? "ᵀ" : ""): \(k) ≠ \(inner); "
            + (k == n ? "transpose the right side?" : "the inner extents must agree"))
    let isBatched = b.shape.count > 2
    precondition(
        !isBatched || a.shape.dropLast(2) == b.shape.dropLast(2),
        "matmul: \(a.shape) · \(b.shape): the leading axes differ")
    let products = isBatched ? a.shape.dropLast(2).reduce(1, *) : 1
    let m = isBatched ? a.shape[a.shape.count - 2] : a.shape.dropLast().reduce(1, *)
    var result = Tensor(uninitialized: a.shape.dropLast() + [n])
    result.withUnsafeMutableFloats { c in
        a.withOperand { x in
            b.withOperand(transposed: transposed) { y in
                let calls = (0..<products).map { i in
                    var x = x, y = y
                    x.data = x.data.map { $0 + i * m * k * a.dtype.byteCount }
                    y.data = y.data.map { $0 + i * k * n * b.dtype.byteCount }
                    return ek_gemm_call(
                        m: m, n: n, k: k, a: x, b: y, c: c.baseAddress.map { $0 + i * m * n },
                        ldc: n, accumulate: false)
                }
                ek_gemm_batch(calls.count, calls)
            }
        }
    }
    return result
}
