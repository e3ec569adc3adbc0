// Whether two quantities rise together, whatever the shape of their relation.

/// Spearman's rank correlation of paired values, −1 to 1: Pearson's correlation of their ranks, equal values sharing the
/// mean of their ranks.
///
/// Source: Spearman 1904, Am. J. Psychology 15:72. 0 where either side does not vary, since nothing can then be said.
/// - Precondition: As many values on either side.
public func rankCorrelation(_ first: [Double], _ second: [Double]) -> Double {
    precondition(
        first.count == second.count,
        "paired values: \(first.count) and \(second.count)")
    let (a, b) = (meanRanks(first), meanRanks(second))
    let middle = Double(first.count + 1) / 2
    var (product, squareA, squareB) = (0.0, 0.0, 0.0)
    for (x, y) in zip(a, b) {
        product += (x - middle) * (y - middle)
        squareA += (x - middle) * (x - middle)
        squareB += (y - middle) * (y - middle)
    }
    return squareA > 0 && squareB > 0 ? product / (squareA * squareB).squareRoot() : 0
}

/// The rank of each value, 1 for the smallest.
private func meanRanks(_ values: [Double]) -> [Double] {
    let order = values.indices.sorted { values[$0] < values[$1] }
    var ranks = values
    var start = 0
    while start < order.count {
        var end = start
        while end < order.count, values[order[end]] == values[order[start]] { end += 1 }
        // Ranks start + 1 to end, shared.
        for place in order[start..<end] { ranks[place] = Double(start + 1 + end) / 2 }
        start = end
    }
    return ranks
}
