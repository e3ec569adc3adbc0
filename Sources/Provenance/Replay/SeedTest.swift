// Whether two sets of runs over seeds could come from the same study: the test of MLPerf's RCP checker
// (mlcommons/logging, mlperf_logging/rcp_checker), made for both directions.

internal import Foundation

/// Drops the best and the worst run of either side for the means, keeps all for the deviation, and
/// asks Student's t with pooled deviation, one-sided at 5 %, whether one mean lies beyond the other.
struct SeedTest {
    let isEqual: Bool
    /// Whether there were seeds enough to tell.
    let isSettled: Bool
    let text: String

    /// - Parameter required: How many seeds the study declares; fewer on either side settle nothing.
    init(reference: [Double], replayed: [Double], required: Int) {
        let fewest = max(required, 3)
        guard reference.count >= fewest, replayed.count >= fewest else {
            isEqual = false
            isSettled = false
            text =
                "\(reference.count) recorded and \(replayed.count) replayed seeds; the study asks for \(fewest)"
            return
        }
        let (a, b) = (Self.trimmedMean(reference), Self.trimmedMean(replayed))
        let (n, m) = (Double(reference.count), Double(replayed.count))
        let squares: Double = (n - 1) * Self.variance(reference) + (m - 1) * Self.variance(replayed)
        let pooled = squares / (n + m - 2)
        let p: Double
        if pooled == 0 {
            p = a == b ? 1 : 0
        } else {
            p = Self.upperTail(
                abs(a - b) / (pooled * (1 / n + 1 / m)).squareRoot(), degrees: n + m - 2)
        }
        isEqual = p >= 0.05
        isSettled = true
        text =
            "\(reference.count) and \(replayed.count) seeds, means \(shortNumber(a)) and \(shortNumber(b)), "
            + "one-sided p = \(shortNumber((p * 1000).rounded() / 1000))"
    }

    private static func trimmedMean(_ values: [Double]) -> Double {
        let kept = values.sorted().dropFirst().dropLast()
        return kept.reduce(0, +) / Double(kept.count)
    }

    private static func variance(_ values: [Double]) -> Double {
        let mean = values.reduce(0, +) / Double(values.count)
        return values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(values.count - 1)
    }

    /// P(T > t) of Student's t: half the regularized incomplete beta function
    /// I_{ν/(ν+t²)}(ν/2, 1/2) (Abramowitz & Stegun 26.7.1).
    static func upperTail(_ t: Double, degrees: Double) -> Double {
        0.5 * incompleteBeta(degrees / (degrees + t * t), degrees / 2, 0.5)
    }

    /// I_x(a, b) by its continued fraction (A&S 26.5.8), Lentz's evaluation.
    private static func incompleteBeta(_ x: Double, _ a: Double, _ b: Double) -> Double {
        if x <= 0 { return 0 }
        if x >= 1 { return 1 }
        // The fraction converges fast only on this side of the mean.
        if x > (a + 1) / (a + b + 2) { return 1 - incompleteBeta(1 - x, b, a) }
        let gammas: Double = lgamma(a + b) - lgamma(a) - lgamma(b)
        let front: Double = exp(gammas + a * log(x) + b * log(1 - x)) / a
        var c = 1.0
        var d = 1 / (1 - (a + b) * x / (a + 1))
        var result = d
        for step in 1..<200 {
            let m = Double(step)
            let place: Double = a + 2 * m
            let even: Double = m * (b - m) * x / ((place - 1) * place)
            d = 1 / (1 + even * d)
            c = 1 + even / c
            result *= c * d
            let odd: Double = -(a + m) * (a + b + m) * x / (place * (place + 1))
            d = 1 / (1 + odd * d)
            c = 1 + odd / c
            let change = c * d
            result *= change
            if abs(change - 1) < 1e-15 { break }
        }
        return front * result
    }
}
