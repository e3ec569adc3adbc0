// Rotary position embedding (Su et al. 2021, arXiv:2104.09864): the tables of cosines and sines, with the
// scalings that published models use. Applying them is in Attention.swift.

/// How the rotation's frequencies are stretched for long contexts.
public enum RopeScaling: Sendable, Hashable, Codable {
    case none
    /// Every frequency divided by `factor`.
    case linear(factor: Double)
    /// Llama 3.1: long wavelengths divided by `factor`, short ones kept, a blend between.
    case llama3(factor: Double, lowFrequency: Double, highFrequency: Double, originalLength: Double)
}

/// Frequencies of one rotary embedding and its tables.
package struct RotaryEmbedding {
    /// `[headDimension / 2]`, as f32: `theta^(-2 i / headDimension)`, scaled.
    package let frequencies: [Float]
    /// `[positions, headDimension / 2]`.
    package private(set) var cosine: Tensor
    package private(set) var sine: Tensor

    package init(headDimension: Int, theta: Double, scaling: RopeScaling) {
        let logarithm = PortableMath.log(theta)
        frequencies = (0..<headDimension / 2).map { i in
            let power = PortableMath.exp(-2 * Double(i) / Double(headDimension) * logarithm)
            return Self.scaled(Float(power), scaling)
        }
        cosine = Tensor(zeros: [0, headDimension / 2])
        sine = cosine
    }

    private static func scaled(_ frequency: Float, _ scaling: RopeScaling) -> Float {
        switch scaling {
        case .none: return frequency
        case .linear(let factor): return frequency / Float(factor)
        case .llama3(let factor, let low, let high, let length):
            let wavelength = 2 * Double.pi / Double(frequency)
            if wavelength > length / low { return frequency / Float(factor) }
            if wavelength < length / high { return frequency }
            let smooth = Float((length / wavelength - low) / (high - low))
            return (1 - smooth) * frequency / Float(factor) + smooth * frequency
        }
    }

    /// Tables for positions 0 ..< count. The angle is rounded to f32 first, as the reference
    /// implementations do; its cosine and sine are then right to the last bit but for rare ties.
    package mutating func extend(to count: Int) {
        let half = frequencies.count
        guard count > cosine.shape[0] else { return }
        let length = max(count, 2 * cosine.shape[0], 64)
        let (c, s) = (
            Tensor(uninitialized: [length, half]), Tensor(uninitialized: [length, half])
        )
        let (cosines, sines) = (c.freshFloats, s.freshFloats)
        for position in 0..<length {
            for i in 0..<half {
                let angle = Double(Float(position) * frequencies[i])
                let (cosine, sine) = PortableMath.cosineAndSine(angle)
                cosines[position * half + i] = Float(cosine)
                sines[position * half + i] = Float(sine)
            }
        }
        (cosine, sine) = (c, s)
    }
}

/// f64 functions from correctly rounded operations alone, for tables: the same bits on every machine.
package enum PortableMath {
    private static let ln2 = 0.693_147_180_559_945_3

    /// eˣ within 2 ulp or so for |x| < 700: Taylor's series of the remainder of x by ln 2.
    package static func exp(_ x: Double) -> Double {
        let n = (x / ln2).rounded()
        // ln 2 in two parts, the first with zeros at the end, so that n · high is exact.
        let r = (x - n * 0x1.62e42fee00000p-1) - n * 0x1.a39ef35793c76p-33
        var sum = 1.0
        for k in stride(from: 18, through: 1, by: -1) { sum = 1 + r / Double(k) * sum }
        return Double(sign: .plus, exponent: Int(n), significand: 1) * sum
    }

    /// ln x for finite x > 0: artanh's series of (m − 1) / (m + 1).
    package static func log(_ x: Double) -> Double {
        var (mantissa, exponent) = (x.significand, Double(x.exponent))
        if mantissa > 1.414_213_562_373_095 { (mantissa, exponent) = (mantissa / 2, exponent + 1) }
        let z = (mantissa - 1) / (mantissa + 1)
        let square = z * z
        var sum = 0.0
        for k in stride(from: 41, through: 1, by: -2) { sum = sum * square + 1 / Double(k) }
        return exponent * ln2 + 2 * z * sum
    }

    /// cos x and sin x for |x| up to 10⁶ or so: Taylor's series after taking out quarter turns.
    package static func cosineAndSine(_ x: Double) -> (Double, Double) {
        let n = (x * 0.636_619_772_367_581_4).rounded()
        let r =
            ((x - n * 0x1.921fb54400000p+0) - n * 0x1.0b4611a600000p-34) - n * 0x1.3198a2e037073p-69
        let square = r * r
        var (c, s) = (1.0, 1.0)
        for k in stride(from: 20, through: 2, by: -2) {
            c = 1 - square / Double(k * (k - 1)) * c
            s = 1 - square / Double(k * (k + 1)) * s
        }
        s *= r
        switch Int(n) & 3 {
        case 0: return (c, s)
        case 1: return (-s, c)
        case 2: return (-c, -s)
        default: return (s, -c)
        }
    }
}
