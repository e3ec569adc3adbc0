// One number a seed: what five runs of the same study say together.

/// A quantity measured once for each seed: its mean, its spread, and Student's interval of the mean.
public struct AcrossSeeds: Sendable, Hashable, CustomStringConvertible, Codable {
    public var values: [Double]
    /// Where a mean must lie: 0 to 1 for shares, anywhere else.
    private var bounds = -Double.infinity...Double.infinity

    /// - Precondition: At least one value.
    public init(_ values: [Double]) {
        precondition(!values.isEmpty, "a summary across seeds needs at least one seed")
        self.values = values
    }

    /// The shares of a rate, one for each seed; the mean's interval is cut at 0 and 1.
    public init(_ proportions: [Proportion]) {
        self.init(proportions.map(\.share))
        bounds = 0...1
    }

    public var mean: Double { values.reduce(0, +) / Double(values.count) }

    /// The sample's standard deviation (n − 1); 0 with one seed.
    public var standardDeviation: Double {
        guard values.count > 1 else { return 0 }
        let mean = mean
        let sum = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        return (sum / Double(values.count - 1)).squareRoot()
    }

    /// The 95 % interval of the mean, `mean ± t · s / √n` with n − 1 degrees of freedom; `nil` with one
    /// seed, which says nothing of the spread. Seeds are few and shares are bounded, so it is a rough guide.
    public var interval: ClosedRange<Double>? {
        guard values.count > 1 else { return nil }
        let half =
            studentQuantile(0.975, degreesOfFreedom: values.count - 1) * standardDeviation
            / Double(values.count).squareRoot()
        return max(bounds.lowerBound, mean - half)...min(bounds.upperBound, mean + half)
    }

    /// This arm minus another on the same seeds.
    /// - Precondition: As many seeds, in the same order.
    public func difference(from other: AcrossSeeds) -> AcrossSeeds {
        precondition(
            values.count == other.values.count,
            "paired seeds: \(values.count) here, \(other.values.count) there")
        return AcrossSeeds(zip(values, other.values).map { $0 - $1 })
    }

    /// In how many seeds the value exceeds a threshold.
    public func count(above threshold: Double) -> Int { values.count { $0 > threshold } }

    public var description: String {
        let mean = mean.formatted(decimals: 3)
        guard let interval else { return "\(mean) (one seed, so no interval)" }
        return "\(mean) over \(values.count) seeds (95 % interval "
            + "\(interval.lowerBound.formatted(decimals: 3)) to "
            + "\(interval.upperBound.formatted(decimals: 3)))"
    }
}

/// The quantile of Student's t for whole degrees of freedom, to about 1e-9.
///
/// The density is proportional to `(1 + x²/ν)^(−(ν+1)/2)`. With x = √ν tan θ it becomes cos^(ν−1) θ on 0 to π/2,
/// smooth for every ν: Simpson's rule cumulates it, Newton's steps invert it between two points. Only the four
/// operations and one square root, so the bits are the same on every machine.
/// - Precondition: `probability` is in 0.5 to 1 (exclusive), `degreesOfFreedom` at least 1.
package func studentQuantile(_ probability: Double, degreesOfFreedom: Int) -> Double {
    precondition(degreesOfFreedom >= 1, "Student's t has at least one degree of freedom")
    precondition(probability >= 0.5 && probability < 1, "the quantile is sought in the upper half")
    // Each point is the one before rotated by a fixed small angle, whose sine and cosine come from their series.
    let steps = 4096
    let halfPi = 1.570_796_326_794_896_6
    let h = halfPi / Double(steps)
    let h2 = h * h
    let sine = h * (1 - h2 / 6 * (1 - h2 / 20 * (1 - h2 / 42)))
    let cosine = 1 - h2 / 2 * (1 - h2 / 12 * (1 - h2 / 30))
    var sines = [0.0]
    var cosines = [1.0]
    for i in 0..<steps {
        sines.append(sines[i] * cosine + cosines[i] * sine)
        cosines.append(max(0, cosines[i] * cosine - sines[i] * sine))
    }
    let density = cosines.map { c in
        (0..<(degreesOfFreedom - 1)).reduce(1.0) { product, _ in product * c }
    }
    // Cumulated over pairs of steps by Simpson's rule.
    var cumulated = [0.0]
    for i in stride(from: 0, to: steps, by: 2) {
        cumulated.append(
            cumulated[i / 2] + h / 3 * (density[i] + 4 * density[i + 1] + density[i + 2]))
    }
    let wanted = (probability - 0.5) * 2 * cumulated[steps / 2]
    guard let after = cumulated.firstIndex(where: { $0 > wanted }), after > 0 else { return 0 }
    // Within the pair of steps the integral is inverted by Newton's steps on its quadratic model.
    let i = 2 * (after - 1)
    let rest = wanted - cumulated[after - 1]
    var offset = rest / density[i]
    for _ in 0..<30 {
        let t = offset / h
        // The parabola through the three densities, and its integral from 0 to offset.
        let a = (density[i] - 2 * density[i + 1] + density[i + 2]) / 2
        let b = (-3 * density[i] + 4 * density[i + 1] - density[i + 2]) / 2
        let integral = h * (a * t * t * t / 3 + b * t * t / 2 + density[i] * t)
        let slope = a * t * t + b * t + density[i]
        offset -= (integral - rest) / slope
    }
    let o2 = offset * offset
    let so = offset * (1 - o2 / 6 * (1 - o2 / 20))
    let co = 1 - o2 / 2 * (1 - o2 / 12)
    let s = sines[i] * co + cosines[i] * so
    let c = cosines[i] * co - sines[i] * so
    return Double(degreesOfFreedom).squareRoot() * s / c  // x = √ν tan θ
}
