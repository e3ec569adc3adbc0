// LAPACK's full singular value decomposition, from the Fortran symbols of the OpenBLAS that Backends/
// loads with its core pinned: the check beside our own factorizations, and the whole spectrum where somebody wants it. Its bits
// depend on OpenBLAS's build and core, so nothing of the portable tier rests on it.

/// OpenBLAS's LAPACK, on one thread.
public enum LAPACK {
    /// A full singular value decomposition, `matrix = u · diag(singularValues) · vt`.
    public struct Decomposition: Sendable {
        /// `[rows, count]`, row-major, count = min(rows, columns).
        public let u: [Double]
        /// Largest first.
        public let singularValues: [Double]
        /// `[count, columns]`, row-major.
        public let vt: [Double]
    }

    private typealias DGESDD =
        @convention(c) (
            UnsafePointer<CChar>, UnsafePointer<Int32>, UnsafePointer<Int32>,
            UnsafeMutablePointer<Double>, UnsafePointer<Int32>, UnsafeMutablePointer<Double>,
            UnsafeMutablePointer<Double>, UnsafePointer<Int32>, UnsafeMutablePointer<Double>,
            UnsafePointer<Int32>, UnsafeMutablePointer<Double>, UnsafePointer<Int32>,
            UnsafeMutablePointer<Int32>, UnsafeMutablePointer<Int32>, Int
        ) -> Void

    /// The routine, from the OpenBLAS of the whole process: one library, its core pinned before it was
    /// loaded, on one thread, whether the blas tier or a decomposition asked for it first.
    private static let routine: Result<DGESDD, LinearAlgebraError> = {
        let library: OpenBLAS
        do throws(ArithmeticError) { library = try OpenBLAS.load() } catch {
            return .failure(
                LinearAlgebraError(.lapackMissing(error.what), matrix: error.library ?? "OpenBLAS"))
        }
        guard let symbol = library.symbol("dgesdd_") else {
            return .failure(
                LinearAlgebraError(
                    .lapackMissing("this build of OpenBLAS has no dgesdd_"), matrix: library.path))
        }
        return .success(unsafeBitCast(symbol, to: DGESDD.self))
    }()

    /// All singular values and vectors (LAPACK's `dgesdd`).
    /// - Parameter matrix: `[rows, columns]`, row-major.
    /// - Throws: ``LinearAlgebraError`` where OpenBLAS is missing, an element is not finite, or LAPACK
    ///   does not converge.
    public static func singularValueDecomposition(
        _ matrix: [Double], rows: Int, columns: Int
    ) throws(LinearAlgebraError) -> Decomposition {
        precondition(matrix.count == rows * columns, "\(matrix.count) ≠ \(rows) × \(columns)")
        let dgesdd = try routine.get()
        if let at = matrix.firstIndex(where: { !$0.isFinite }) {
            throw LinearAlgebraError(
                .nonFinite(row: at / columns, column: at % columns), matrix: "matrix")
        }
        let count = min(rows, columns)
        if count == 0 { return Decomposition(u: [], singularValues: [], vt: []) }
        // Row-major A is column-major Aᵀ: its left vectors are our right ones.
        var a = matrix
        var (m, n, info) = (Int32(columns), Int32(rows), Int32(0))
        var (ldvt, size) = (Int32(count), Int32(-1))
        var values = [Double](repeating: 0, count: count)
        var vt = [Double](repeating: 0, count: columns * count)
        var u = [Double](repeating: 0, count: rows * count)
        var integers = [Int32](repeating: 0, count: 8 * count)
        var work = [0.0]
        // The first call asks how much memory the second wants.
        for _ in 0..<2 {
            var job = CChar(UInt8(ascii: "S"))
            dgesdd(
                &job, &m, &n, &a, &m, &values, &vt, &m, &u, &ldvt, &work, &size, &integers, &info,
                1)
            if info != 0 { break }
            if size == -1 {
                size = Int32(work[0])
                work = [Double](repeating: 0, count: Int(size))
            }
        }
        if info != 0 {
            throw LinearAlgebraError(
                .lapackFailed(routine: "dgesdd", info: Int(info)), matrix: "\(rows) × \(columns)")
        }
        return Decomposition(u: u, singularValues: values, vt: vt)
    }
}
