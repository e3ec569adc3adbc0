// The leading singular triplets of planted spectra, against LAPACK's full decomposition in f64.

import Engine
import Testing

/// A weight pair whose difference has the singular values asked for.
struct PlantedPair {
    let base: Tensor
    let aligned: Tensor
    /// The difference as the f32 tensors have it, in f64.
    let difference: [Double]
    let rows: Int
    let columns: Int

    init(rows: Int, columns: Int, seed: UInt64 = 3, _ spectrum: (Int) -> Double) {
        (self.rows, self.columns) = (rows, columns)
        let count = min(rows, columns)
        func orthonormal(_ length: Int, _ name: String) -> [Double] {
            let width = (count + 7) / 8 * 8
            let padded = max(length, width)
            var block = uniformNumbers(padded * width, seed: seed, name: name)
            for i in (length * width)..<(padded * width) { block[i] = 0 }
            _ = SmallFactorizations.orthonormalize(&block, rows: padded, width: width)
            return (0..<length).flatMap { r in block[r * width..<r * width + count] }
        }
        var left = orthonormal(rows, "left")
        let right = orthonormal(columns, "right")
        for i in left.indices { left[i] *= spectrum(i % count) }
        let change = naiveProduct(
            left, naiveTranspose(right, rows: columns, columns: count), rows: rows, inner: count,
            columns: columns)
        let start = uniformNumbers(rows * columns, seed: seed, name: "base").map {
            Float($0 * 1e-3)
        }
        // Added in f32: the pair's true difference is what is left after rounding.
        let end = zip(start, change).map { $0 + Float($1) }
        base = Tensor(start, shape: [rows, columns])
        aligned = Tensor(end, shape: [rows, columns])
        difference = zip(end, start).map { Double($0 - $1) }
    }
}

extension Tensor {
    /// The elements of an f32 tensor.
    var floats: [Float] { withUnsafeFloats { Array($0) } }
}

/// ‖left − right‖ in the Frobenius norm.
func frobenius(_ left: [Double], _ right: [Double]) -> Double {
    zip(left, right).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
}

@Suite struct `Leading singular triplets` {
    /// Decomposes, and holds the result to LAPACK's.
    private func check(
        _ pair: PlantedPair, rank: Int, options: LoX.Options = .init(),
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws -> LowRankDelta {
        let delta = try LoX.decompose(
            aligned: pair.aligned, base: pair.base, rank: rank, options: options)
        let (rows, columns) = (pair.rows, pair.columns)
        let exact = try LAPACK.singularValueDecomposition(
            pair.difference, rows: rows, columns: columns)
        let largest = exact.singularValues[0]
        #expect(
            delta.relativeResidual <= options.residualTarget,
            sourceLocation: sourceLocation)
        for i in 0..<delta.rank {
            // Weyl: a singular value lies within the residual of ours. LAPACK's own error is 1e-14.
            #expect(
                abs(delta.singularValues[i] - exact.singularValues[i])
                    <= delta.residuals[i] + 1e-13 * largest, sourceLocation: sourceLocation)
        }
        // The residual that is reported is the true one.
        let (u, v) = (delta.left, delta.right)
        let image = naiveProduct(
            pair.difference, v, rows: rows, inner: columns, columns: delta.rank)
        let back = naiveProduct(
            naiveTranspose(pair.difference, rows: rows, columns: columns), u, rows: columns,
            inner: rows, columns: delta.rank)
        for i in 0..<delta.rank {
            var (left, right) = (0.0, 0.0)
            for r in 0..<rows {
                let off =
                    image[r * delta.rank + i] - delta.singularValues[i] * u[r * delta.rank + i]
                left += off * off
            }
            for c in 0..<columns {
                let off = back[c * delta.rank + i] - delta.singularValues[i] * v[c * delta.rank + i]
                right += off * off
            }
            #expect(
                max(left, right).squareRoot() <= delta.residuals[i] + 1e-13 * largest,
                sourceLocation: sourceLocation)
        }
        #expect(
            abs(delta.frobeniusNorm - frobenius(pair.difference, pair.difference.map { _ in 0 }))
                < 1e-12 * delta.frobeniusNorm, sourceLocation: sourceLocation)
        return delta
    }

    private func lowRankPart(_ pair: PlantedPair, _ rank: Int) throws -> [Double] {
        let svd = try LAPACK.singularValueDecomposition(
            pair.difference, rows: pair.rows, columns: pair.columns)
        let count = min(pair.rows, pair.columns)
        var left: [Double] = []
        for r in 0..<pair.rows {
            for i in 0..<rank { left.append(svd.u[r * count + i] * svd.singularValues[i]) }
        }
        return naiveProduct(
            left, Array(svd.vt[..<(rank * pair.columns)]), rows: pair.rows, inner: rank,
            columns: pair.columns)
    }

    @Test(arguments: [(150, 90), (90, 150), (128, 128), (40, 50), (300, 17), (70, 400)])
    func `a gap: the low-rank part is LAPACK's`(rows: Int, columns: Int) throws {
        let pair = PlantedPair(rows: rows, columns: columns) {
            $0 < 6 ? 1 - 0.1 * Double($0) : 0.05
        }
        let delta = try check(pair, rank: 6)
        #expect(delta.rank == 6)
        #expect(!delta.isIllDetermined)
        let exact = try lowRankPart(pair, 6)
        let ours = delta.dense().floats.map(Double.init)
        // Wedin: the subspaces are off by at most residual over gap, times σ₁ for the product.
        let bound = try #require(delta.subspaceErrorBound)
        #expect(frobenius(ours, exact) < 6 * (bound + 1e-6))
        #expect(bound < 1e-4)
    }

    @Test(arguments: [(200, 130), (130, 200)])
    func `a slow decay`(rows: Int, columns: Int) throws {
        let pair = PlantedPair(rows: rows, columns: columns) { 1 / Double($0 + 1).squareRoot() }
        let delta = try check(pair, rank: 6)
        #expect(abs(delta.gapRatio - (6.0 / 7).squareRoot()) < 1e-3)
        let many = try check(pair, rank: 20)
        #expect(many.rank == 20)
        #expect(
            zip(many.singularValues, delta.singularValues).allSatisfy { abs($0 - $1) < 2e-5 })
    }

    @Test func `a flat tail`() throws {
        let pair = PlantedPair(rows: 160, columns: 120) { $0 < 3 ? 1 : 0.5 }
        let delta = try check(pair, rank: 3)
        #expect(abs(delta.gapRatio - 0.5) < 1e-4 && !delta.isIllDetermined)
        // Within the flat part the choice is arbitrary, and flagged.
        #expect(try check(pair, rank: 5).isIllDetermined)
    }

    @Test func `a cluster wider than the block`() throws {
        let pair = PlantedPair(rows: 160, columns: 120) { $0 < 24 ? 1 : 0.1 }
        let delta = try check(pair, rank: 6)
        #expect(delta.isIllDetermined)
        #expect(delta.rank == 6)
    }

    @Test func `an identity, where every step finds nothing new`() throws {
        let pair = PlantedPair(rows: 96, columns: 96) { _ in 1 }
        let delta = try check(pair, rank: 4)
        #expect(delta.rank == 4)
        #expect(delta.singularValues.allSatisfy { abs($0 - 1) < 1e-5 })
    }

    @Test func `a rank below the one asked for`() throws {
        // Exact in f32: small whole numbers, so that the difference has rank 2 and no noise.
        let (rows, columns) = (130, 110)
        var change = [Float](repeating: 0, count: rows * columns)
        for r in 0..<rows {
            for c in 0..<columns {
                change[r * columns + c] =
                    Float((r % 5) - 2) * Float((c % 7) - 3) + Float(r % 3) * Float(c % 2)
            }
        }
        let zeros = Tensor(zeros: [rows, columns])
        let delta = try LoX.decompose(
            aligned: Tensor(change, shape: [rows, columns]), base: zeros, rank: 6)
        #expect(delta.rank == 2)
        #expect(zip(delta.dense().floats, change).allSatisfy { abs($0 - $1) < 1e-3 })
        #expect(abs(delta.energy - 1) < 1e-9)
    }

    @Test func `one huge value among small ones`() throws {
        let pair = PlantedPair(rows: 120, columns: 100) { $0 == 0 ? 1e4 : 1 / Double($0) }
        let delta = try check(pair, rank: 4)
        #expect(abs(delta.singularValues[0] - 1e4) < 1)
    }

    @Test(arguments: [Float(1e-30), 1e30]) func `magnitudes whose squares leave f32`(scale: Float)
        throws
    {
        let pair = PlantedPair(rows: 100, columns: 80) { $0 < 6 ? 1 - 0.1 * Double($0) : 0.05 }
        let plain = try LoX.decompose(aligned: pair.aligned, base: pair.base, rank: 3)
        let scaled = try LoX.decompose(
            aligned: Tensor(pair.aligned.floats.map { $0 * scale }, shape: [100, 80]),
            base: Tensor(pair.base.floats.map { $0 * scale }, shape: [100, 80]), rank: 3)
        for i in 0..<3 {
            let ratio = scaled.singularValues[i] / plain.singularValues[i] / Double(scale)
            #expect(abs(ratio - 1) < 1e-5)
        }
    }

    @Test func `no difference at all`() throws {
        let weight = Tensor(uniformNumbers(90 * 80).map(Float.init), shape: [90, 80])
        let delta = try LoX.decompose(aligned: weight, base: weight, rank: 6)
        #expect(delta.rank == 0)
        #expect(delta.frobeniusNorm == 0 && delta.relativeResidual == 0 && delta.gapRatio == 0)
        #expect(delta.dense().floats.allSatisfy { $0 == 0 })
        #expect(
            try LoX.extrapolate(weight, along: delta, coefficient: 1.25).floats == weight.floats)
    }

    @Test(arguments: [(0, 0), (0, 5), (5, 0), (1, 1), (1, 9), (9, 1), (3, 40)])
    func `sizes 0 and 1, and fewer rows than directions`(rows: Int, columns: Int) throws {
        let aligned = Tensor(
            uniformNumbers(rows * columns).map(Float.init), shape: [rows, columns])
        let base = Tensor(zeros: [rows, columns])
        let delta = try LoX.decompose(aligned: aligned, base: base, rank: 6)
        #expect(delta.rank == min(rows, columns))
        #expect(delta.u.shape == [rows, delta.rank] && delta.v.shape == [columns, delta.rank])
        #expect(zip(delta.dense().floats, aligned.floats).allSatisfy { abs($0 - $1) < 1e-6 })
        #expect(delta.nextSingularValue == 0)
    }

    @Test(arguments: [(20, 30), (200, 100)])
    func `what is no number is refused, with its place`(rows: Int, columns: Int) throws {
        var values = uniformNumbers(rows * columns).map(Float.init)
        values[7 * columns + 11] = .nan
        let aligned = Tensor(values, shape: [rows, columns])
        #expect(throws: LinearAlgebraError(.nonFinite(row: 7, column: 11), matrix: "q_proj")) {
            try LoX.decompose(
                aligned: aligned, base: Tensor(zeros: [rows, columns]), rank: 3, name: "q_proj")
        }
    }

    @Test func `a target beyond f32 products is reached in f64`() throws {
        let pair = PlantedPair(rows: 180, columns: 140) { 1 / Double($0 + 1).squareRoot() }
        let delta = try check(pair, rank: 6, options: .init(residualTarget: 1e-10))
        #expect(delta.relativeResidual < 1e-10)
    }

    @Test func `too few passes are said to be`() throws {
        let pair = PlantedPair(rows: 180, columns: 140) { 1 / Double($0 + 1).squareRoot() }
        let error = #expect(throws: LinearAlgebraError.self) {
            try LoX.decompose(
                aligned: pair.aligned, base: pair.base, rank: 6,
                options: .init(maximumPasses: 2))
        }
        guard case .notConverged(let residual, let target, let passes)? = error?.reason else {
            Issue.record("the reason is \(String(describing: error?.reason))")
            return
        }
        #expect(residual > target && target == 1e-5 && passes >= 2)
    }

    @Test func `the largest entry of each left vector is positive`() throws {
        let pair = PlantedPair(rows: 90, columns: 100) { $0 < 6 ? 1 - 0.1 * Double($0) : 0.05 }
        let delta = try check(pair, rank: 5)
        let u = delta.u.floats
        for i in 0..<5 {
            let column = (0..<90).map { u[$0 * 5 + i] }
            #expect(column.max(by: { abs($0) < abs($1) })! > 0)
        }
    }

    @Test func `a smaller rank is a part of a larger one`() throws {
        let pair = PlantedPair(rows: 90, columns: 100) { 1 / Double($0 + 1) }
        let delta = try check(pair, rank: 8).truncated(to: 3)
        #expect(delta.rank == 3 && delta.u.shape == [90, 3] && delta.v.shape == [100, 3])
        #expect(abs(delta.gapRatio - 0.75) < 1e-3)
        let direct = try check(pair, rank: 3)
        #expect(
            frobenius(
                delta.dense().floats.map(Double.init), direct.dense().floats.map(Double.init))
                < 1e-4)
    }

    @Test func `the same bits for any number of threads and any kernels`() throws {
        let threads = threadCount
        let kernels = kernelSetName
        defer {
            setThreadCount(threads)
            _ = useKernelSet(kernels)
        }
        let pair = PlantedPair(rows: 333, columns: 201) { 1 / Double($0 + 1).squareRoot() }
        var seen: [[UInt64]] = []
        for (set, count) in [
            ("scalar", 2), ("avx2", 1), ("avx2", 3), ("avx512", 1), ("avx512", 2), ("avx512", 3),
            ("avx512", 7),
        ] where useKernelSet(set) {
            setThreadCount(count)
            let delta = try LoX.decompose(aligned: pair.aligned, base: pair.base, rank: 6)
            let robust = try LoX.extrapolate(pair.aligned, along: delta, coefficient: 1.25)
            let singles = robust.floats
            let doubles =
                delta.left + delta.right + delta.singularValues + delta.residuals
                + [delta.frobeniusNorm]
            seen.append(singles.map { UInt64($0.bitPattern) } + doubles.map(\.bitPattern))
        }
        #expect(seen.count >= 1)
        #expect(seen.allSatisfy { $0 == seen[0] })
    }
}
