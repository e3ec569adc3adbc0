// A rate as this project reports it: never without its count, its total, its judge and its interval.

/// How many of how many, and who counted: `131 of 200 refused (65.5 %, 95 % interval 58.7 to 71.7)`.
public struct Proportion: Sendable, Hashable, CustomStringConvertible, Codable {
    public var count: Int
    public var total: Int
    /// What was counted, as it reads after "131 of 200": "refused", "correct".
    public var outcome: String
    /// Who or what decided each case, such as the name of a ``Judge``.
    public var judge: String

    /// - Precondition: `0 <= count <= total`.
    public init(count: Int, total: Int, outcome: String = "refused", judge: String) {
        precondition(
            count >= 0 && count <= total,
            "a proportion counts at most its total: \(count) of \(total)")
        self.count = count
        self.total = total
        self.outcome = outcome
        self.judge = judge
    }

    /// Counts the cases that hold.
    public init(of cases: some Sequence<Bool>, outcome: String = "refused", judge: String) {
        var count = 0
        var total = 0
        for holds in cases {
            total += 1
            if holds { count += 1 }
        }
        self.init(count: count, total: total, outcome: outcome, judge: judge)
    }

    /// `count / total`; not a number where the total is 0.
    public var share: Double { Double(count) / Double(total) }

    /// Wilson's score interval at 95 %: the shares that a two-sided test at 5 % would not reject.
    ///
    /// `(p + z²/2n ± z √(p(1 − p)/n + z²/4n²)) / (1 + z²/n)` with z = 1.959964.
    /// Source: Wilson 1927, JASA 22:209. Unlike p ± z·se it stays within 0 to 1 and keeps its coverage at
    /// small totals and extreme shares. With a total of 0 nothing is known: 0 to 1.
    public var interval: ClosedRange<Double> {
        guard total > 0 else { return 0...1 }
        let z = 1.959_963_984_540_054
        let n = Double(total)
        let p = share
        let centre = p + z * z / (2 * n)
        let half = z * (p * (1 - p) / n + z * z / (4 * n * n)).squareRoot()
        let scale = 1 + z * z / n
        // Rounding may leave the ends a hair outside; at 0 and n of n the exact ends are 0 and 1.
        let low = count == 0 ? 0 : max(0, (centre - half) / scale)
        let high = count == total ? 1 : min(1, (centre + half) / scale)
        return low...high
    }

    public var description: String {
        guard total > 0 else { return "0 of 0 \(outcome) (nothing to judge)" }
        let low = (interval.lowerBound * 100).formatted(decimals: 1)
        let high = (interval.upperBound * 100).formatted(decimals: 1)
        return "\(count) of \(total) \(outcome) (\((share * 100).formatted(decimals: 1)) %, "
            + "95 % interval \(low) to \(high))"
    }

    /// Both samples as one, for pooling seeds.
    /// - Precondition: Outcome and judge agree.
    public static func + (left: Proportion, right: Proportion) -> Proportion {
        precondition(
            left.outcome == right.outcome && left.judge == right.judge,
            "only like is pooled with like: \(left.outcome) by \(left.judge), "
                + "\(right.outcome) by \(right.judge)")
        return Proportion(
            count: left.count + right.count, total: left.total + right.total,
            outcome: left.outcome, judge: left.judge)
    }
}

extension Double {
    /// The number with a fixed count of decimals, rounded half away from zero: `65.5`. Without Foundation,
    /// and the same on every machine and in every locale.
    /// - Precondition: `decimals` is 0 to 15.
    public func formatted(decimals: Int) -> String {
        precondition((0...15).contains(decimals), "a number is shown with 0 to 15 decimals")
        guard isFinite else { return "\(self)" }
        var scale = 1.0
        for _ in 0..<decimals { scale *= 10 }
        let scaled = (magnitude * scale).rounded(.toNearestOrAwayFromZero)
        // Beyond 2^53 there are no decimals left to round.
        guard scaled < 9_007_199_254_740_992 else { return "\(self)" }
        let digits = UInt64(scaled)
        let sign = self < 0 && digits > 0 ? "-" : ""
        let whole = digits / UInt64(scale)
        if decimals == 0 { return "\(sign)\(whole)" }
        let fraction = String(digits % UInt64(scale))
        let padding = String(repeating: "0", count: decimals - fraction.count)
        return "\(sign)\(whole).\(padding)\(fraction)"
    }
}

extension Float {
    /// The number with a fixed count of decimals; see `Double.formatted(decimals:)`.
    public func formatted(decimals: Int) -> String { Double(self).formatted(decimals: decimals) }
}
