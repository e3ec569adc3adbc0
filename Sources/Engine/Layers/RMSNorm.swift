// Root-mean-square normalization (Zhang and Sennrich 2019, arXiv:1910.07467), forward by backward.

internal import EngineKernels

/// `y = x / √(mean x² + ε) · w`, or `· (1 + w)` in the Gemma families.
package struct RMSNorm {
    /// The parameter's name.
    package var name: String
    /// `[dim]`, f32.
    package var weight: Tensor
    package var epsilon: Float
    package var addsOne: Bool

    package init(name: String, weight: Tensor, epsilon: Float, addsOne: Bool) {
        self.name = name
        self.weight = weight.asFloats
        self.epsilon = epsilon
        self.addsOne = addsOne
    }

    /// - Parameter x: `[rows, dim]`.
    /// - Returns: `[rows, dim]`.
    package func callAsFunction(_ x: Variable, on tape: Tape) -> Variable {
        let (rows, dim) = (x.value.shape[0], weight.count)
        precondition(
            x.value.shape[1] == dim, "RMSNorm \(name): \(x.value.shape) rows for \(dim) weights")
        let y = Tensor(uninitialized: [rows, dim]), inverse = Tensor(uninitialized: [rows])
        normalize(x.value, to: y, inverse: inverse)
        let (input, source) = (x.value, x.withoutValue)
        var result = tape.record(
            y, needsGradient: x.needsGradient || tape.parameters.contains(name),
            keeping: [input, inverse]
        ) { dy, tape in
            var a = ek_rmsnorm_backward_t()
            (a.rows, a.groups, a.dim) = (rows, 1, dim)
            (a.x, a.xStride, a.w) = (input.floats, dim, weight.floats)
            (a.dy, a.dyStride, a.inverse, a.plusOne) = (dy.floats, dim, inverse.floats, addsOne)
            tape.parameters.add(to: name) { dw in
                var weightOnly = a
                weightOnly.dw = dw
                ek_rmsnorm_backward(&weightOnly)
            }
            tape.accumulate(into: source, shape: [rows, dim]) { dx, accumulates in
                (a.dx, a.dxStride, a.accumulates) = (dx, dim, accumulates)
                ek_rmsnorm_backward(&a)
            }
        }
        // A linear layer that follows needs y on the way back: x is kept anyway, and a norm is cheap.
        if result.needsGradient {
            result.recompute = {
                let again = Tensor(uninitialized: [rows, dim])
                normalize(input, to: again, inverse: nil)
                return again
            }
        }
        return result
    }

    private func normalize(_ x: Tensor, to y: Tensor, inverse: Tensor?) {
        var a = ek_rmsnorm_t()
        (a.rows, a.groups, a.dim) = (x.shape[0], 1, weight.count)
        (a.x, a.xStride, a.w) = (x.floats, a.dim, weight.floats)
        (a.y, a.yStride, a.inverse) = (y.freshFloats, a.dim, inverse?.freshFloats)
        (a.epsilon, a.plusOne) = (epsilon, addsOne)
        ek_rmsnorm(&a)
    }
}
