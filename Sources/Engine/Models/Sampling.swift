// Drawing a token from logits. Only as much of the vocabulary is put in order as the draw needs.

internal import EngineKernels

/// Draws tokens by temperature, top-k and top-p.
package struct TokenSampler {
    /// Above 0.
    package var temperature: Float
    package var topK: Int?
    package var topP: Float?

    package init(temperature: Float, topK: Int? = nil, topP: Float? = nil) {
        self.temperature = temperature
        self.topK = topK
        self.topP = topP
    }

    /// One token of a row of logits; draws one word.
    ///
    /// Tokens stand in the order of their logits, of equals the lower first, and the draw is a point on
    /// their cumulated weights `exp((logit − largest) / temperature)`, in f64.
    package func callAsFunction(
        _ logits: UnsafeBufferPointer<Float>, _ random: inout RandomStream
    ) -> Int32 {
        var ranking = Ranking(logits)
        let largest = Double(logits[ranking[0]])
        var count = min(topK ?? logits.count, logits.count)
        // Where every token can be drawn, all weights at once, vectorized; the bits are those of one by one.
        let weights =
            count < logits.count ? [] : Self.weights(logits, largest, Double(temperature))
        func weight(_ token: Int) -> Double {
            weights.isEmpty
                ? PortableMath.exp(
                    max(-700, (Double(logits[token]) - largest) / Double(temperature)))
                : weights[token]
        }
        var total = 0.0
        if count < logits.count {
            for rank in 0..<count { total += weight(ranking[rank]) }
        } else {
            for weight in weights { total += weight }
        }
        if let topP {
            let wanted = Double(topP) * total
            var (sum, kept) = (0.0, 0)
            while kept < count, sum < wanted {
                sum += weight(ranking[kept])
                kept += 1
            }
            if kept == 0 { (sum, kept) = (weight(ranking[0]), 1) }
            (count, total) = (kept, sum)
        }
        let target = Double(random.uniform()) * total
        var sum = 0.0
        for rank in 0..<count {
            sum += weight(ranking[rank])
            if target < sum { return Int32(ranking[rank]) }
        }
        return Int32(ranking[count - 1])
    }

    /// `exp(max(−700, (logit − largest) / temperature))` of every token.
    package static func weights(
        _ logits: UnsafeBufferPointer<Float>, _ largest: Double, _ temperature: Double
    ) -> [Double] {
        [Double](unsafeUninitializedCapacity: logits.count) { weights, count in
            ek_token_weights(
                logits.baseAddress, logits.count, largest, temperature, weights.baseAddress)
            count = logits.count
        }
    }
}

/// The tokens of a row by falling logit, sorted as far as somebody has asked.
private struct Ranking {
    /// A logit's order in the upper half, its token's complement in the lower: all different, largest
    /// first.
    private var keys: [UInt64]
    private var sorted = 0

    init(_ logits: UnsafeBufferPointer<Float>) {
        keys = [UInt64](unsafeUninitializedCapacity: logits.count) { keys, count in
            for token in logits.indices {
                // −0 becomes +0, its equal; NaN counts as the least.
                let bits = (logits[token] + 0).bitPattern
                let order = bits >> 31 == 0 ? bits | 1 << 31 : ~bits
                keys[token] =
                    UInt64(logits[token].isNaN ? 0 : order) << 32 | UInt64(~UInt32(token))
            }
            count = logits.count
        }
    }

    /// The token of this rank, 0 the most likely.
    subscript(rank: Int) -> Int {
        mutating get {
            if rank >= sorted { extend(past: rank) }
            return Int(~UInt32(truncatingIfNeeded: keys[rank]))
        }
    }

    private mutating func extend(past rank: Int) {
        // Eight times as far each time: at most a few passes over the vocabulary.
        let end = min(keys.count, max(64, rank + 1, 8 * sorted))
        keys.withUnsafeMutableBufferPointer { keys in
            if end < keys.count { Self.select(keys, from: sorted, largest: end - sorted) }
            var part = UnsafeMutableBufferPointer(rebasing: keys[sorted..<end])
            if part.count > 2048 { Self.sortByDigits(part) } else { part.sort(by: >) }
        }
        sorted = end
    }

    /// Sorts keys, largest first, by digits of 11 bits from the last on: where a draw needs thousands of tokens in
    /// order, comparing them would cost more than the rest of the draw.
    private static func sortByDigits(_ keys: UnsafeMutableBufferPointer<UInt64>) {
        let (digits, bins) = (6, 2048)
        @inline(__always) func bin(_ key: UInt64, _ digit: Int) -> Int {
            Int(truncatingIfNeeded: key >> UInt64(11 * digit)) & (bins - 1)
        }
        var places = [Int](repeating: 0, count: digits * bins)
        places.withUnsafeMutableBufferPointer { places in
            for key in keys {
                for digit in 0..<digits { places[digit * bins + bin(key, digit)] += 1 }
            }
            withUnsafeTemporaryAllocation(of: UInt64.self, capacity: keys.count) { spare in
                guard var from = keys.baseAddress, var to = spare.baseAddress else { return }
                for digit in 0..<digits {
                    let place = places.baseAddress! + digit * bins
                    // All have the same: nothing moves.
                    if place[bin(from[0], digit)] == keys.count { continue }
                    var next = 0
                    for i in stride(from: bins - 1, through: 0, by: -1) {
                        (place[i], next) = (next, next + place[i])
                    }
                    for i in 0..<keys.count {
                        let key = from[i]
                        let slot = bin(key, digit)
                        to[place[slot]] = key
                        place[slot] += 1
                    }
                    swap(&from, &to)
                }
                if from != keys.baseAddress! {
                    keys.baseAddress!.update(from: from, count: keys.count)
                }
            }
        }
    }

    /// Moves the `count` largest of the keys from `first` on to the front of them (Hoare's selection;
    /// the pivot is the median of three, so that sorted rows do no harm).
    private static func select(
        _ keys: UnsafeMutableBufferPointer<UInt64>, from first: Int, largest count: Int
    ) {
        var (low, high) = (first, keys.count - 1)
        let place = first + count - 1
        while low < high {
            let (a, b, c) = (keys[low], keys[low + (high - low) / 2], keys[high])
            let pivot = max(min(a, b), min(max(a, b), c))
            var (i, j) = (low, high)
            while i <= j {
                while keys[i] > pivot { i += 1 }
                while keys[j] < pivot { j -= 1 }
                if i <= j {
                    keys.swapAt(i, j)
                    i += 1
                    j -= 1
                }
            }
            if place <= j { high = j } else if place >= i { low = i } else { return }
        }
    }
}
