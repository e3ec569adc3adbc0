// The top singular triplets of a weight difference by block Lanczos on DᵀD, which one reading of the
// difference per step feeds. What the triplets mean, and what the answer promises, is LowRankDelta's.
//
// Source: Golub, Luk and Overton 1981, "A block Lanczos method for computing the singular values and
// corresponding singular vectors of a matrix"; convergence without gaps: Musco and Musco 2015,
// arXiv:1504.05477; restarts that keep the best Ritz vectors: Wu and Simon 2000.

internal import EngineKernels

/// The search for the largest singular values of one weight difference.
///
/// Steps are taken with f32 products (blocks, projections and small factorizations in f64), until the
/// recurrence promises the residual. Then one sweep in f64 measures it: `y = D v`, `z = Dᵀ y` for the
/// Ritz vectors v, and a Rayleigh–Ritz step on them. Where the measured residual misses the target,
/// the search goes on from there in f64.
struct BlockLanczos {
    /// Triplets as columns: `u` `[rows, width]`, `v` `[columns, width]`; `values`, `residuals` `[width]`.
    struct Triplets {
        var u: [Double]
        var v: [Double]
        var values: [Double]
        var residuals: [Double]
        var width: Int
        var sumOfSquares: Double
        /// `Dᵀ u · value` and so the next direction: `DᵀD v`.
        var gram: [Double]
    }

    /// The caller's, scaled where its squares would leave the range of f32.
    var difference: WeightDifference
    let rank: Int
    /// Residual wanted, relative to the largest singular value.
    let target: Double
    let maximumPasses: Int
    /// Readings of the difference so far.
    private(set) var passes = 0

    /// Directions kept beside the wanted ones: they show the gap, and speed a restart.
    private var kept: Int { SmallFactorizations.roundedUp(rank + 2, to: 8) }
    /// Directions of a step. At least eight more than a small rank: the gap to the first direction that
    /// is left out decides the speed. A larger rank is reached by more steps.
    private var blockWidth: Int { rank <= 8 ? 16 : 32 }
    private var rows: Int { difference.rows }
    private var columns: Int { difference.columns }

    /// The orthonormal basis in blocks, each `[columns, width]`.
    private var blocks: [[Double]] = []
    private var widths: [Int] = []
    /// DᵀD in that basis, `[capacity, capacity]`; block tridiagonal, but for a restart's first rows.
    private var projected: [Double]
    private let capacity: Int
    private var random: RandomStream

    init(_ difference: WeightDifference, rank: Int, target: Double, maximumPasses: Int) {
        self.difference = difference
        self.rank = rank
        self.target = target
        self.maximumPasses = maximumPasses
        let kept = SmallFactorizations.roundedUp(rank + 2, to: 8)
        let width = rank <= 8 ? 16 : 32
        // Twelve steps before a restart, or five of the wider ones in f64.
        capacity = kept + max(13 * width, 6 * SmallFactorizations.roundedUp(kept, to: 16))
        projected = [Double](repeating: 0, count: capacity * capacity)
        random = RandomStream(seed: 0, name: "LoX/start")
    }

    /// Whether the matrix is so small that all of it is decomposed at once.
    static func isSmall(rows: Int, columns: Int, rank: Int) -> Bool {
        // Beyond this, a restart's head and two blocks always fit.
        min(rows, columns) <= (rank <= 8 ? 64 : 3 * rank + 96)
    }

    // MARK: The search

    /// - Returns: nil where the difference is zero.
    /// - Throws: ``LinearAlgebraError`` with reason `.nonFinite` or `.notConverged`.
    mutating func run() throws(LinearAlgebraError) -> Triplets? {
        var inDouble = false
        begin(with: startBlock(width: blockWidth))
        while true {
            guard var coupling = try step(inDouble: inDouble) else { return nil }
            let size = dimension
            let isFull = size + 2 * widths[widths.count - 1] > min(capacity, columns)
            guard size >= min(kept, columns) || isFull else {
                purify(&coupling)
                append(coupling.next, coupling.triangle)
                continue
            }
            let isPromising = estimate(coupling, size: size, inDouble: inDouble)
            if isPromising || passes >= maximumPasses {
                let triplets = rayleighRitz(ritzVectors(size: size, count: kept), width: kept)
                let worst = worstResidual(triplets)
                if worst <= target { return triplets }
                if passes >= maximumPasses {
                    throw LinearAlgebraError(
                        .notConverged(residual: worst, target: target, passes: passes),
                        matrix: difference.name)
                }
                inDouble = true
                restart(from: triplets)
            } else if isFull {
                purify(&coupling)
                restartInPlace(coupling, size: size)
            } else {
                purify(&coupling)
                append(coupling.next, coupling.triangle)
            }
        }
    }

    /// Orthonormal dimensions so far.
    private var dimension: Int { widths.reduce(0, +) }

    private mutating func begin(with block: [Double]) {
        blocks = [block]
        widths = [block.count / columns]
    }

    /// Random combinations of a few of the difference's rows: for the price of reading those, as good a
    /// start as multiplying a random block by all of Dᵀ, unless the leading vectors avoid these rows.
    /// A small random part sees to that.
    private mutating func startBlock(width: Int) -> [Double] {
        var block = randomNumbers(columns * width)
        let noise = (Double(columns * width) / 12).squareRoot()
        let (pieces, each) = rows > 256 ? (4, 32) : (1, rows)
        var sampled = [Double](repeating: 0, count: columns * width)
        for piece in 0..<pieces {
            let first = piece * (rows - each) / max(pieces - 1, 1)
            let part = difference.rows(first..<first + each)
            let product = part.transposedProduct(randomNumbers(each * width), width: width).z
            for i in sampled.indices { sampled[i] += product[i] }
        }
        let length = sampled.reduce(0) { $0 + $1 * $1 }.squareRoot()
        if length.isFinite, length > 0 {
            for i in block.indices { block[i] = 0.01 / noise * block[i] + sampled[i] / length }
        }
        _ = SmallFactorizations.orthonormalize(&block, rows: columns, width: width)
        return block
    }

    private mutating func randomNumbers(_ count: Int) -> [Double] {
        var numbers = [Float](repeating: 0, count: count)
        numbers.withUnsafeMutableBufferPointer { random.fillUniform($0) }
        return numbers.map { Double($0) - 0.5 }
    }

    /// What a step leaves: `DᵀD Q = (basis)(projected) + next · triangle`.
    private struct Coupling {
        /// `[columns, width]`, orthonormal, and orthogonal to the basis.
        var next: [Double]
        /// `[width, width]`
        var triangle: [Double]
    }

    /// Multiplies the last block, and splits the product into what the basis holds and what is new.
    private mutating func step(inDouble: Bool) throws(LinearAlgebraError) -> Coupling? {
        let last = blocks.count - 1
        let width = widths[last]
        guard var product = try multiply(blocks[last], width: width, inDouble: inDouble) else {
            return nil
        }
        // The diagonal block, then the only block that DᵀD couples this one to, then (rounding) all.
        let own = SmallFactorizations.cross(
            blocks[last], product, rows: columns, p: width, width: width)
        let at = dimension - width
        for i in 0..<width {
            for j in 0..<width {
                projected[(at + i) * capacity + at + j] =
                    0.5 * (own[i * width + j] + own[j * width + i])
            }
        }
        SmallFactorizations.update(
            &product, rows: columns, p: width, width: width, sign: -1, blocks[last], own)
        if last > 0 { removeBasis(from: &product, width: width, blocks: last - 1..<last) }
        removeBasis(from: &product, width: width, blocks: 0..<blocks.count)
        let triangle = SmallFactorizations.orthonormalize(
            &product, rows: columns, width: width)
        return Coupling(next: product, triangle: triangle)
    }

    /// Makes a step's new block as orthogonal to the basis as f64 allows, before it joins.
    private mutating func purify(_ coupling: inout Coupling) {
        let width = widths[widths.count - 1]
        // A column that the basis already holds leaves rounding noise: put a random one in its place,
        // which the projected matrix does not couple to anything.
        let scale = (0..<dimension).reduce(0) { max($0, projected[$1 * capacity + $1]) }
        var smallest = scale
        for c in 0..<width {
            let length = abs(coupling.triangle[c * width + c])
            smallest = min(smallest, length)
            if length > 1e-13 * scale { continue }
            let fresh = randomNumbers(columns)
            for r in 0..<columns { coupling.next[r * width + c] = fresh[r] }
            for j in 0..<width { coupling.triangle[c * width + j] = 0 }
        }
        // What is left of the basis in the block grew as the block was made to length 1.
        let rounds = smallest > 1e-4 * scale ? 0 : smallest > 1e-8 * scale ? 1 : 2
        for _ in 0..<rounds {
            removeBasis(from: &coupling.next, width: width, blocks: 0..<blocks.count)
            let again = SmallFactorizations.orthonormalize(
                &coupling.next, rows: columns, width: width)
            coupling.triangle = Self.product(again, coupling.triangle, size: width)
        }
    }

    /// `DᵀD block`; nil where D is zero. The first time, D itself is looked at.
    private mutating func multiply(
        _ block: [Double], width: Int, inDouble: Bool
    ) throws(LinearAlgebraError) -> [Double]? {
        passes += 1
        if inDouble { return difference.sweep(block, width: width).z }
        var seen = ek_lox_seen()
        seen.wanted = passes == 1 ? 1 : 0
        var product = difference.gramProductInFloat(block, width: width, seen: &seen)
        guard passes == 1 else { return product }
        if try !difference.normalize(largest: seen.largest, isFinite: seen.nonfinite == 0) {
            return nil
        }
        if difference.scale != 1 {
            passes += 1
            product = difference.gramProductInFloat(block, width: width, seen: &seen)
        }
        return product
    }

    private func removeBasis(from block: inout [Double], width: Int, blocks range: Range<Int>) {
        for i in range {
            let inside = SmallFactorizations.cross(
                blocks[i], block, rows: columns, p: widths[i], width: width)
            SmallFactorizations.update(
                &block, rows: columns, p: widths[i], width: width, sign: -1, blocks[i], inside)
        }
    }

    /// `left · right` for triangles.
    private static func product(_ left: [Double], _ right: [Double], size: Int) -> [Double] {
        var result = [Double](repeating: 0, count: size * size)
        for i in 0..<size {
            for k in i..<size {
                let factor = left[i * size + k]
                for j in 0..<size {
                    result[i * size + j] += factor * right[k * size + j]
                }
            }
        }
        return result
    }

    private mutating func append(_ block: [Double], _ triangle: [Double]) {
        let (at, width, previous) = (dimension, block.count / columns, widths[widths.count - 1])
        for i in 0..<width {
            for j in 0..<previous {
                let value = triangle[i * previous + j]
                projected[(at + i) * capacity + at - previous + j] = value
                projected[(at - previous + j) * capacity + at + i] = value
            }
        }
        blocks.append(block)
        widths.append(width)
    }

    // MARK: Ritz vectors

    private func projectedMatrix(_ size: Int) -> [Double] {
        var matrix = [Double](repeating: 0, count: size * size)
        for i in 0..<size {
            for j in 0..<size { matrix[i * size + j] = projected[i * capacity + j] }
        }
        return matrix
    }

    /// Whether the recurrence promises the target: `‖DᵀD v − θ v‖ = ‖triangle · (v's last part)‖`,
    /// and the residual of the triplet is that over σ.
    private func estimate(_ coupling: Coupling, size: Int, inDouble: Bool) -> Bool {
        let width = widths[widths.count - 1]
        let (values, tails) = SmallFactorizations.symmetricEigen(
            projectedMatrix(size), size: size, coordinates: size - width..<size)
        let largest = max(values[0], 0).squareRoot()
        if largest == 0 { return true }
        // Below this share of σ₁ an f32 product cannot tell a value from rounding.
        let floor = inDouble ? 1e-9 : 1e-3
        for i in 0..<min(rank, size) {
            var squares = 0.0
            for r in 0..<width {
                var sum = 0.0
                for c in 0..<width {
                    sum += coupling.triangle[r * width + c] * tails[i * width + c]
                }
                squares += sum * sum
            }
            let sigma = max(max(values[i], 0).squareRoot(), floor * largest)
            if squares.squareRoot() > 0.9 * target * largest * sigma { return false }
        }
        return true
    }

    /// The leading Ritz vectors, `[columns, count]`; columns beyond `size` are zero.
    private func ritzVectors(size: Int, count: Int) -> [Double] {
        let (_, vectors) = SmallFactorizations.symmetricEigen(
            projectedMatrix(size), size: size, coordinates: 0..<size)
        var result = [Double](repeating: 0, count: columns * count)
        var at = 0
        for (block, width) in zip(blocks, widths) {
            var part = [Double](repeating: 0, count: width * count)
            for i in 0..<width {
                for j in 0..<min(count, size) { part[i * count + j] = vectors[j * size + at + i] }
            }
            SmallFactorizations.update(
                &result, rows: columns, p: width, width: count, sign: 1, block, part)
            at += width
        }
        return result
    }

    /// One sweep in f64 for orthonormal `v` `[columns, width]`, and the best triplets in its span.
    ///
    /// With `D v = Q R` and `R = U Σ Wᵀ`, the triplets are `Q U`, Σ and `v W`. Then `D v − u Σ = 0`, and
    /// what is left to measure is `Dᵀu − v Σ`.
    mutating func rayleighRitz(_ v: [Double], width: Int) -> Triplets {
        passes += 1
        let sweep = difference.sweep(v, width: width)
        let tall = max(rows, width)
        var left = sweep.y + [Double](repeating: 0, count: (tall - rows) * width)
        let triangle = SmallFactorizations.orthonormalize(&left, rows: tall, width: width)
        var byColumn = [Double](repeating: 0, count: width * width)
        for i in 0..<width {
            for j in i..<width { byColumn[j * width + i] = triangle[i * width + j] }
        }
        let small = SmallFactorizations.singularValues(
            columns: byColumn, count: width, length: width)
        var (leftTurn, rightTurn) = (byColumn, byColumn)
        for i in 0..<width {
            for j in 0..<width {
                leftTurn[j * width + i] = small.left[i * width + j]
                rightTurn[j * width + i] = small.right[i * width + j]
            }
        }
        func turned(_ block: [Double], rows: Int, by turn: [Double]) -> [Double] {
            var result = [Double](repeating: 0, count: rows * width)
            SmallFactorizations.update(
                &result, rows: rows, p: width, width: width, sign: 1, block, turn)
            return result
        }
        var triplets = Triplets(
            u: turned(left, rows: rows, by: leftTurn), v: turned(v, rows: columns, by: rightTurn),
            values: small.values, residuals: [], width: width, sumOfSquares: sweep.sumOfSquares,
            gram: turned(sweep.z, rows: columns, by: rightTurn))
        var squares = [Double](repeating: 0, count: width)
        for r in 0..<columns {
            for i in 0..<width where small.values[i] > 0 {
                let at = r * width + i
                let off = triplets.gram[at] / small.values[i] - small.values[i] * triplets.v[at]
                squares[i] += off * off
            }
        }
        triplets.residuals = squares.map { $0.squareRoot() }
        return triplets
    }

    /// The largest residual among the wanted triplets that are not negligible, relative to σ₁.
    private func worstResidual(_ triplets: Triplets) -> Double {
        guard let largest = triplets.values.first, largest > 0 else { return 0 }
        var worst = 0.0
        for i in 0..<min(rank, triplets.width)
        where triplets.values[i] > LowRankDelta.negligible(target: target) * largest {
            worst = max(worst, triplets.residuals[i] / largest)
        }
        return worst
    }

    // MARK: Restarts

    /// Keeps the best Ritz vectors and the next block.
    private mutating func restartInPlace(_ coupling: Coupling, size: Int) {
        let width = widths[widths.count - 1]
        let (values, vectors) = SmallFactorizations.symmetricEigen(
            projectedMatrix(size), size: size, coordinates: 0..<size)
        let head = ritzVectors(size: size, count: kept)
        // DᵀD v = θ v + next · triangle · (v's last part): the arrow beside the diagonal of θ.
        var arrow = [Double](repeating: 0, count: width * kept)
        for r in 0..<width {
            for i in 0..<kept {
                for c in r..<width {
                    arrow[r * kept + i] +=
                        coupling.triangle[r * width + c] * vectors[i * size + size - width + c]
                }
            }
        }
        begin(head: head, values: Array(values[0..<kept]))
        append(coupling.next, arrow)
    }

    /// Goes on from measured triplets: their residuals are the next directions.
    private mutating func restart(from triplets: Triplets) {
        let width = triplets.width
        let squares = triplets.values.map { $0 * $0 }
        begin(head: triplets.v, values: squares)
        let next = max(blockWidth, SmallFactorizations.roundedUp(width, to: 16))
        var block = randomNumbers(columns * next)
        for r in 0..<columns {
            for i in 0..<width {
                block[r * next + i] =
                    triplets.gram[r * width + i] - squares[i] * triplets.v[r * width + i]
            }
        }
        let gram = triplets.gram
        for _ in 0..<2 {
            removeBasis(from: &block, width: next, blocks: 0..<1)
            _ = SmallFactorizations.orthonormalize(&block, rows: columns, width: next)
        }
        // The arrow is what DᵀD v has along the new block.
        let arrow = SmallFactorizations.cross(block, gram, rows: columns, p: next, width: width)
        append(block, arrow)
    }

    private mutating func begin(head: [Double], values: [Double]) {
        begin(with: head)
        for i in 0..<values.count {
            for j in 0..<values.count { projected[i * capacity + j] = i == j ? values[i] : 0 }
        }
    }
}
