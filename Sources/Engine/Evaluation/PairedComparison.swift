// Two arms on the same prompts: what changed prompt by prompt, and whether chance explains it.

/// Yes-or-no outcomes of two arms on the same prompts, with McNemar's exact test.
public struct PairedComparison: Sendable, Hashable, CustomStringConvertible, Codable {
    /// Prompts on which both arms say yes.
    public var both: Int
    /// Prompts on which only the first arm says yes.
    public var onlyFirst: Int
    /// Prompts on which only the second arm says yes.
    public var onlySecond: Int
    /// Prompts on which neither says yes.
    public var neither: Int

    /// - Precondition: Both arms judge the same prompts in the same order.
    public init(_ first: [Bool], _ second: [Bool]) {
        precondition(
            first.count == second.count,
            "a paired comparison needs the same prompts: \(first.count) and \(second.count)")
        both = 0
        onlyFirst = 0
        onlySecond = 0
        neither = 0
        for (a, b) in zip(first, second) {
            switch (a, b) {
            case (true, true): both += 1
            case (true, false): onlyFirst += 1
            case (false, true): onlySecond += 1
            case (false, false): neither += 1
            }
        }
    }

    public var total: Int { both + onlyFirst + onlySecond + neither }

    /// The second arm's share minus the first's.
    public var difference: Double { Double(onlySecond - onlyFirst) / Double(total) }

    /// The two-sided exact p-value: how likely a split of the discordant prompts at least this uneven
    /// would be if each fell to either arm with probability 1/2.
    ///
    /// `min(1, 2 · P(X ≤ min(b, c)))`, X ~ Binomial(b + c, 1/2). Source: McNemar 1947, Psychometrika 12:153,
    /// in its exact form. No discordant prompt: 1.
    public var pValue: Double {
        min(1, 2 * binomialTail(atMost: min(onlyFirst, onlySecond), of: onlyFirst + onlySecond))
    }

    public var description: String {
        let p = pValue < 0.001 ? "p < 0.001" : "p = \(pValue.formatted(decimals: 3))"
        return "\(onlyFirst) lost, \(onlySecond) gained of \(total) prompts (exact McNemar \(p))"
    }
}

/// P(X ≤ k) for X ~ Binomial(n, 1/2), without logarithms, so with the same bits everywhere.
package func binomialTail(atMost k: Int, of n: Int) -> Double {
    precondition(n >= 0, "a binomial counts at least 0 trials")
    if k < 0 { return 0 }
    if k >= n { return 1 }
    // C(n, k) / 2^n, the halvings interleaved so that nothing overflows.
    var term = 1.0
    var halvings = n
    if k > 0 {
        for i in 1...k {
            term *= Double(n - k + i) / Double(i)
            while term > 1, halvings > 0 {
                term *= 0.5
                halvings -= 1
            }
        }
    }
    while halvings > 0 {
        term *= 0.5
        halvings -= 1
    }
    var sum = 0.0
    for i in stride(from: k, through: 0, by: -1) {
        sum += term
        term *= Double(i) / Double(n - i + 1)
    }
    return min(1, sum)
}
