// LAPACK's full singular value decomposition, from OpenBLAS's Fortran symbols, loaded when first used:
// the check beside our own factorizations, and the whole spectrum where somebody wants it. Its bits
// depend on OpenBLAS's build and core, so nothing of the portable tier rests on it.

import Glibc

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

    /// The symbols that are used, looked up once. A loaded library is never unloaded.
    private struct Library: Sendable {
        let dgesdd: DGESDD
        let coreName: String
    }

    private static let library: Result<Library, LinearAlgebraError> = {
        var handle: UnsafeMutableRawPointer?
        for name in ["libopenblas.so.0", "libopenblas.so"] where handle == nil {
            handle = dlopen(name, RTLD_NOW | RTLD_LOCAL)
        }
        guard let handle else { return .failure(missing("libopenblas.so.0")) }
        guard let symbol = dlsym(handle, "dgesdd_") else { return .failure(missing("dgesdd_")) }
        if let threads = dlsym(handle, "openblas_set_num_threads") {
            unsafeBitCast(threads, to: (@convention(c) (Int32) -> Void).self)(1)
        }
        var core = "unknown"
        if let name = dlsym(handle, "openblas_get_corename") {
            let function = unsafeBitCast(
                name, to: (@convention(c) () -> UnsafePointer<CChar>?).self)
            core = function().map { String(cString: $0) } ?? core
        }
        return .success(
            Library(dgesdd: unsafeBitCast(symbol, to: DGESDD.self), coreName: core))
    }()

    private static func missing(_ what: String) -> LinearAlgebraError {
        let message = dlerror().map { String(cString: $0) } ?? what
        return LinearAlgebraError(.lapackMissing(message), matrix: what)
    }

    /// The core that OpenBLAS chose, as it names it.
    public static func coreName() throws(LinearAlgebraError) -> String {
        try library.get().coreName
    }

    /// All singular values and vectors (LAPACK's `dgesdd`).
    /// - Parameter matrix: `[rows, columns]`, row-major.
    /// - Throws: ``LinearAlgebraError`` where OpenBLAS is missing, an element is not finite, or LAPACK
    ///   does not converge.
    public static func singularValueDecomposition(
        _ matrix: [Double], rows: Int, columns: Int
    ) throws(LinearAlgebraError) -> Decomposition {
        precondition(matrix.count == rows * columns, "\(matrix.count) ≠ \(rows) × \(columns)")
        let library = try library.get()
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
            library.dgesdd(
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
