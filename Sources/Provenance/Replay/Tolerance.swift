// How far a number may move between a run and its replay, as the study itself says in its front matter.

/// The tolerance for one metric. Where several bounds are given, each of them suffices.
package struct Tolerance: Sendable, Hashable {
    /// The metric's name, or "*" for every metric without an entry of its own.
    package var metric: String
    package var absolute: Double?
    package var relative: Double?
    /// Distance in units in the last place, of Float64.
    package var ulps: UInt64?
    /// Statistically equal over this many seeds; 0 and nil where the study declares nothing.
    package var seeds: Int?

    package init(
        metric: String, absolute: Double? = nil, relative: Double? = nil, ulps: UInt64? = nil,
        seeds: Int? = nil
    ) {
        self.metric = metric
        self.absolute = absolute
        self.relative = relative
        self.ulps = ulps
        self.seeds = seeds
    }

    /// How much of the allowance is used, 0 (equal) to 1 (just within); above 1 is outside. Measured
    /// by the most generous of the bounds.
    package func use(expected: Double, found: Double) -> Double {
        if expected == found || (expected.isNaN && found.isNaN) { return 0 }
        guard expected.isFinite, found.isFinite else { return .infinity }
        let distance = abs(expected - found)
        var best = Double.infinity
        func consider(_ used: Double, _ allowed: Double) {
            best = min(best, allowed > 0 ? used / allowed : .infinity)
        }
        if let absolute { consider(distance, absolute) }
        if let relative { consider(distance, relative * max(abs(expected), abs(found))) }
        if let ulps { consider(Double(ulpDistance(expected, found)), Double(ulps)) }
        return best
    }
}

/// How many Float64 lie between two numbers, counted over zero: 0 for equal bits, 1 for neighbours.
/// NaN is farthest from everything else. `Float` values recorded as `Double` lie 2²⁹ apart at least.
package func ulpDistance(_ a: Double, _ b: Double) -> UInt64 {
    if a.isNaN || b.isNaN { return a.isNaN && b.isNaN ? 0 : .max }
    func place(_ x: Double) -> Int64 {
        let bits = Int64(bitPattern: x.bitPattern)
        return bits >= 0 ? bits : Int64.min &- bits
    }
    let (x, y) = (place(a), place(b))
    return x >= y ? UInt64(bitPattern: x &- y) : UInt64(bitPattern: y &- x)
}
