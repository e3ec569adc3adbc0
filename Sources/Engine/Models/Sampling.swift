// Drawing a token from logits. Only as much of the vocabulary is put in order as the draw needs.

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
        func weight(_ token: Int) -> Double {
            PortableMath.exp(max(-700, (Double(logits[token]) - largest) / Double(temperature)))
        }
        var count = min(topK ?? logits.count, logits.count)
        var total = 0.0
        if count < logits.count {
            for rank in 0..<count { total += weight(ranking[rank]) }
        } else {
            for token in logits.indices { total += weight(token) }
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
            keys[sorted..<end].sort(by: >)
        }
        sorted = end
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
