// The gated activation between a block's gate and up projections and its down projection, forward by
// backward (Shazeer 2020, arXiv:2002.05202).

internal import EngineKernels

/// `act(gate) · up`.
public enum GatedActivation: Sendable, Hashable, Codable {
    /// SwiGLU: `act(x) = x · sigmoid(x)`.
    case silu
    /// GeGLU by the tanh form: `½ x (1 + tanh(√(2/π) (x + 0.044715 x³)))`.
    case geluTanh

    /// - Parameter gateUp: `[rows, 2 · dim]`: gates, then ups.
    /// - Returns: `[rows, dim]`.
    package func callAsFunction(_ gateUp: Variable, on tape: Tape) -> Variable {
        let (rows, dim) = (gateUp.value.shape[0], gateUp.value.shape[1] / 2)
        let (value, source) = (gateUp.value, gateUp.withoutValue)
        @Sendable func compute(_ gateUp: Tensor) -> Tensor {
            let y = Tensor(uninitialized: [rows, dim])
            var a = arguments(gateUp)
            a.y = y.freshFloats
            ek_glu(&a)
            return y
        }
        var result = tape.record(
            compute(value), needsGradient: gateUp.needsGradient, keeping: [value]
        ) { [self] dy, tape in
            let gradient = Tensor(uninitialized: value.shape)
            var a = arguments(value)
            (a.dy, a.dgu) = (dy.floats, gradient.freshFloats)
            ek_glu_backward(&a)
            tape.add(gradient, to: source)
        }
        // The down projection's input again, on the way back: cheaper than keeping it.
        if result.needsGradient { result.recompute = { compute(value) } }
        return result
    }

    private func arguments(_ gateUp: Tensor) -> ek_glu_t {
        var a = ek_glu_t()
        (a.rows, a.dim, a.gu) = (gateUp.shape[0], gateUp.shape[1] / 2, gateUp.floats)
        a.activation = self == .silu ? 0 : 1
        return a
    }
}

/// `a + b` of equal shapes, the residual connection. `b` is fresh: its memory becomes the sum's.
package func residual(_ a: Variable, _ b: Variable, on tape: Tape) -> Variable {
    precondition(a.value.shape == b.value.shape, "residual: \(a.value.shape) + \(b.value.shape)")
    ek_nn_add(b.value.freshFloats, a.value.floats, b.value.floats, a.value.count)
    let (first, second) = (a.withoutValue, b.withoutValue)
    return tape.record(
        b.value, needsGradient: a.needsGradient || b.needsGradient, keeping: []
    ) { gradient, tape in
        tape.add(gradient, to: second)
        tape.add(gradient, to: first)
    }
}
