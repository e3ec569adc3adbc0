// AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101), in PyTorch's order of operations, and the
// learning rate over time.

internal import EngineKernels

/// The optimizer's constants; its moments live in the training state.
public struct AdamW: Sendable, Hashable, Codable {
    public var learningRate: Double
    /// Decay of the mean gradient, β₁.
    public var beta1: Double
    /// Decay of the mean squared gradient, β₂.
    public var beta2: Double
    public var epsilon: Double
    /// λ; applied to matrices, not to norms and biases, as Hugging Face's trainer does.
    public var weightDecay: Double

    public init(
        learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8,
        weightDecay: Double = 0
    ) {
        self.learningRate = learningRate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
    }

    /// One update of one tensor: `m = β₁m + (1−β₁)g`, `v = β₂v + (1−β₂)g²`,
    /// `p = p(1 − ηλ) − η/(1−β₁ᵗ) · m / (√v/√(1−β₂ᵗ) + ε)`.
    /// - Parameters:
    ///   - time: t, 1 at the first update.
    ///   - rate: η.
    ///   - gradientScale: what g is multiplied by first.
    ///   - digests: Room for three: the digests of parameter, mean and square as they are then.
    func update(
        _ parameter: UnsafeMutablePointer<Float>, gradient: Tensor, mean: inout Tensor,
        square: inout Tensor, time: Int, rate: Double, gradientScale: Float,
        digests: UnsafeMutablePointer<UInt64>? = nil
    ) {
        var a = ek_adamw_t()
        (a.count, a.p, a.g) = (gradient.count, parameter, gradient.floats)
        (a.gradientScale, a.beta1, a.beta2) = (gradientScale, Float(beta1), Float(beta2))
        a.decay = gradient.shape.count >= 2 ? Float(1 - rate * weightDecay) : 1
        a.stepSize = Float(rate / (1 - Self.power(beta1, time)))
        a.rootCorrection = Float((1 - Self.power(beta2, time)).squareRoot())
        a.epsilon = Float(epsilon)
        a.digests = digests
        mean.withUnsafeMutableFloats { m in
            square.withUnsafeMutableFloats { v in
                (a.m, a.v) = (m.baseAddress, v.baseAddress)
                ek_adamw(&a)
            }
        }
    }

    /// xⁿ by squaring: multiplications alone, so the same bits everywhere.
    static func power(_ x: Double, _ n: Int) -> Double {
        var (result, base, n) = (1.0, x, n)
        while n > 0 {
            if n & 1 == 1 { result *= base }
            base *= base
            n >>= 1
        }
        return result
    }
}

/// How the learning rate moves over a run, after a linear warm-up from zero.
public enum LearningRateSchedule: Sendable, Hashable, Codable {
    case constant
    /// Down to zero at the last step.
    case linear
    /// Down to zero along half a cosine.
    case cosine

    /// The factor of the learning rate at a step, 0 at the first; as transformers' schedules have it,
    /// where the first step of a warm-up has rate zero.
    public func factor(step: Int, of total: Int, warmup: Int) -> Double {
        if step < warmup { return Double(step) / Double(max(1, warmup)) }
        let span = Double(max(1, total - warmup))
        switch self {
        case .constant: return 1
        case .linear: return max(0, Double(total - step) / span)
        case .cosine:
            let progress = Double(step - warmup) / span
            return max(0, 0.5 * (1 + PortableMath.cosineAndSine(.pi * progress).0))
        }
    }
}
