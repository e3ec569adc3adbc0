// Which arithmetic the products use, and whether this machine's is sound.

internal import EngineKernels
internal import Synchronization

/// Where matrix products are computed; recorded with every run, since it decides the last bits.
public enum ArithmeticTier: String, Sendable, Hashable, CaseIterable, Codable {
    /// Our own kernels: the same bits on any x86-64 CPU, for any number of threads. The default.
    case portable
    /// OpenBLAS on a fixed tile grid: the same bits on the same library and core only.
    case blas
}

private let currentTier = Mutex(ArithmeticTier.portable)

/// The tier that products use now.
public var arithmeticTier: ArithmeticTier { currentTier.withLock { $0 } }

/// Chooses the tier for the whole process; before the first product of a run, not among them.
///
/// The blas tier loads OpenBLAS with its core pinned, and both tiers pass ``testArithmetic()`` first. Variables that ask
/// for what cannot be had are refused in either tier.
/// - Throws: ``ArithmeticError``.
public func setArithmeticTier(_ tier: ArithmeticTier) throws(ArithmeticError) {
    try checkArithmeticVariables()
    switch tier {
    case .portable: ek_set_blas(nil)
    case .blas:
        let library = try OpenBLAS.load()
        // Our own products first: two tiers that agree with f64 are two that agree.
        ek_set_blas(nil)
        try test(library: nil)
        ek_set_blas(library.sgemm)
        do { try test(library: library.path) } catch {
            ek_set_blas(nil)
            currentTier.withLock { $0 = .portable }
            throw error
        }
    }
    currentTier.withLock { $0 = tier }
}

/// What decides the last bits of this process's arithmetic now, as named facts for a run's record.
///
/// OpenBLAS is "not loaded" until the blas tier or a LAPACK decomposition asks for it.
public var arithmeticFacts: [(name: String, value: String)] {
    let library = OpenBLAS.loaded
    return [
        ("engine.tier", arithmeticTier.rawValue), ("engine.kernels", kernelSetName),
        ("engine.threads", "\(threadCount)"), ("openblas.core", library?.core ?? "not loaded"),
        ("openblas.threads", library.map { "\($0.threads)" } ?? "not loaded"),
        ("library.openblas", library?.configuration ?? "not loaded"),
    ]
}

/// Computes fixed products in the tier in force and compares each element with f64.
///
/// The shapes are those where a threaded OpenBLAS has been seen to differ or to err (its issue 5267):
/// odd edges, long inner extents, every transpose. An element may be off by what k roundings in any
/// order can amount to: k · 2⁻²⁴ · Σ |a b|.
/// - Throws: ``ArithmeticError`` with reason `.wrongProduct`.
public func testArithmetic() throws(ArithmeticError) {
    try test(library: arithmeticTier == .blas ? OpenBLAS.loaded?.path : nil)
}

/// The test of the products that are in force, which are `library`'s where it is not nil.
private func test(library: String?) throws(ArithmeticError) {
    for (m, n, k) in [(33, 512, 700), (128, 96, 333), (300, 300, 300), (1, 65, 1024), (520, 9, 40)]
    {
        var random = RandomStream(seed: 5267, name: "arithmetic test")
        var a = Tensor(zeros: [m * k]), b = Tensor(zeros: [k * n]), c = Tensor(zeros: [m * n])
        a.withUnsafeMutableFloats { random.fillNormal($0) }
        b.withUnsafeMutableFloats { random.fillNormal($0) }
        for (transposedA, transposedB) in [(false, false), (false, true), (true, false)] {
            var worst = 0.0
            a.withUnsafeFloats { a in
                b.withUnsafeFloats { b in
                    c.withUnsafeMutableFloats { c in
                        ek_gemm(
                            m, n, k,
                            operand(
                                a.baseAddress, stride: transposedA ? m : k, transposed: transposedA),
                            operand(
                                b.baseAddress, stride: transposedB ? k : n, transposed: transposedB),
                            c.baseAddress, n, false)
                        // Every seventh element each way: the whole in f64 would take a second.
                        for i in stride(from: 0, to: m, by: m > 7 ? 7 : 1) {
                            for j in stride(from: 0, to: n, by: n > 7 ? 7 : 1) {
                                var sum = 0.0, size = 0.0
                                for p in 0..<k {
                                    let x = Double(transposedA ? a[p * m + i] : a[i * k + p])
                                    let y = Double(transposedB ? b[j * k + p] : b[p * n + j])
                                    sum += x * y
                                    size += abs(x * y)
                                }
                                let error = abs(Double(c[i * n + j]) - sum)
                                // NaN counts as wrong.
                                let bound = Double(k) * 0x1p-24 * size
                                if !(error <= bound) { worst = .infinity }
                                worst = max(worst, error / bound)
                            }
                        }
                    }
                }
            }
            guard worst <= 1 else {
                throw ArithmeticError(.wrongProduct(m: m, n: n, k: k), library: library)
            }
        }
    }
}
