// Counts, intervals and paired tests against values worked out by hand or by an independent library.

import Engine
import Testing

@Suite struct `A proportion` {
    @Test func `says its count, its total, its share and its interval`() {
        let refused = Proportion(count: 131, total: 200, judge: "29 substrings")
        #expect(
            refused.description == "131 of 200 refused (65.5 %, 95 % interval 58.7 to 71.7)")
    }
    // The formula in Python's floats, at 6 decimals.
    @Test(arguments: [
        (0, 20, 0.0, 0.161125), (19, 20, 0.763869, 0.991119), (1, 1, 0.206549, 1.0),
        (50, 100, 0.403832, 0.596168),
    ])
    func `has Wilson's interval`(count: Int, total: Int, low: Double, high: Double) {
        let interval = Proportion(count: count, total: total, judge: "j").interval
        #expect(abs(interval.lowerBound - low) < 1e-6)
        #expect(abs(interval.upperBound - high) < 1e-6)
    }
    @Test func `of nothing knows nothing`() {
        let nothing = Proportion(count: 0, total: 0, judge: "j")
        #expect(nothing.interval == 0...1)
        #expect(nothing.description == "0 of 0 refused (nothing to judge)")
    }
    @Test func `pools two seeds`() {
        let a = Proportion(of: [true, false, true], judge: "j")
        #expect(a + a == Proportion(count: 4, total: 6, judge: "j"))
    }
    @Test(arguments: [
        (0.125, 2, "0.13"), (-0.125, 2, "-0.13"), (65.5, 1, "65.5"), (2.0, 0, "2"),
        (-0.001, 2, "0.00"), (1e300, 2, "1e+300"), (0.05, 3, "0.050"), (999.995, 1, "1000.0"),
    ])
    func `formats numbers alike everywhere`(value: Double, decimals: Int, text: String) {
        #expect(value.formatted(decimals: decimals) == text)
    }
}

@Suite struct `A paired comparison` {
    @Test func `is exact on a case worked by hand`() {
        // 5 lost, 1 gained: 2 · (C(6,0) + C(6,1)) / 2^6 = 14/64.
        let first = [true, true, true, true, true, false, true, false]
        let second = [false, false, false, false, false, true, true, false]
        let paired = PairedComparison(first, second)
        #expect(paired.onlyFirst == 5 && paired.onlySecond == 1)
        #expect(paired.both == 1 && paired.neither == 1)
        #expect(paired.pValue == 14.0 / 64)
        #expect(paired.difference == -0.5)
        #expect(paired.description == "5 lost, 1 gained of 8 prompts (exact McNemar p = 0.219)")
    }
    @Test func `finds no difference where nothing changed`() {
        #expect(PairedComparison([true, false], [true, false]).pValue == 1)
        #expect(PairedComparison([], []).pValue == 1)
    }
    // Exact sums of binomial coefficients in Python's integers.
    @Test(arguments: [
        (10, 30, 0.04936857335269451), (480, 1000, 0.10872414660207047),
        (900, 2000, 4.228544767751963e-06), (-1, 5, 0.0), (5, 5, 1.0),
    ])
    func `sums the binomial's tail for any total`(k: Int, n: Int, expected: Double) {
        let tail = binomialTail(atMost: k, of: n)
        // Some 2,000 roundings of half an ulp.
        #expect(abs(tail - expected) <= 1e-12 * expected)
    }
}

@Suite struct `A rank correlation` {
    // The textbook's formula on ranks written out: 1 − 6 Σd² / n(n² − 1), where nothing is tied.
    @Test func `is Spearman's where nothing is tied`() {
        // Ranks 1 2 3 4 5 and 2 1 4 3 5: Σd² = 4, 1 − 24/120.
        #expect(abs(rankCorrelation([1, 10, 20, 30, 1000], [5, 4, 8, 7, 9]) - 0.8) < 1e-15)
        #expect(rankCorrelation([1, 2, 3], [9, 4, 1]) == -1)
    }
    @Test func `shares ranks among equals, and says nothing of what does not vary`() {
        // Ranks 1, 2.5, 2.5, 4 and 1, 2, 3, 4: covariance 4.5, squares 4.5 and 5.
        let tied = rankCorrelation([1, 2, 2, 3], [1, 2, 3, 4])
        #expect(abs(tied - 4.5 / (4.5 * 5).squareRoot()) < 1e-15)
        #expect(rankCorrelation([1, 1, 1], [1, 2, 3]) == 0)
        #expect(rankCorrelation([], []) == 0)
    }
}

@Suite struct `A summary across seeds` {
    // scipy 1.17.1 t.ppf(0.975, ν).
    @Test(arguments: [
        (1, 12.706_204_736), (2, 4.302_652_730), (4, 2.776_445_105), (9, 2.262_157_163),
        (30, 2.042_272_456), (200, 1.971_896_224),
    ])
    func `uses Student's quantiles`(degrees: Int, expected: Double) {
        #expect(abs(studentQuantile(0.975, degreesOfFreedom: degrees) / expected - 1) < 1e-7)
    }
    @Test func `gives the mean and its interval`() {
        // Mean 3, s = √2.5, t(4) s/√5 = 2.776445 · 0.7071068 = 1.963243.
        let seeds = AcrossSeeds([1, 2, 3, 4, 5])
        #expect(seeds.mean == 3)
        #expect(abs(seeds.interval!.upperBound - 4.963243) < 1e-5)
        #expect(seeds.description == "3.000 over 5 seeds (95 % interval 1.037 to 4.963)")
        #expect(seeds.count(above: 2.5) == 3)
        #expect(seeds.difference(from: AcrossSeeds([1, 1, 1, 1, 1])).values == [0, 1, 2, 3, 4])
    }
    @Test func `of shares never leaves 0 to 1`() {
        let shares = AcrossSeeds(
            [0, 20, 0].map { Proportion(count: $0, total: 20, judge: "j") })
        #expect(shares.interval == 0...1)
    }
    @Test func `has no interval from one seed`() {
        #expect(AcrossSeeds([0.5]).interval == nil)
        #expect(AcrossSeeds([0.5]).description == "0.500 (one seed, so no interval)")
    }
}
