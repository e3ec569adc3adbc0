// Factorizations of small or tall f64 matrices, row-major in plain arrays: the same bits everywhere.
// The loops are in EngineKernels/lox_small.c and lox.c; LAPACK.swift is the check beside them.

internal import EngineKernels

/// Small factorizations in f64 that do not depend on the machine.
package enum SmallFactorizations {
    /// The next multiple of `step`.
    static func roundedUp(_ count: Int, to step: Int) -> Int { (count + step - 1) / step * step }

    /// Eigenvalues of a symmetric matrix, largest first, with some coordinates of each eigenvector.
    /// - Parameters:
    ///   - matrix: `[size, size]`.
    ///   - coordinates: Which coordinates of the eigenvectors are wanted.
    /// - Returns: `vectors` is `[size, coordinates.count]`: a row an eigenvector.
    package static func symmetricEigen(
        _ matrix: [Double], size: Int, coordinates: Range<Int>
    ) -> (values: [Double], vectors: [Double]) {
        precondition(matrix.count == size * size, "\(matrix.count) elements are not \(size) square")
        var work = matrix
        var values = [Double](repeating: 0, count: size)
        var vectors = [Double](repeating: 0, count: size * coordinates.count)
        let status = ek_lox_eigen(
            Int64(size), &work, Int64(coordinates.lowerBound), Int64(coordinates.upperBound),
            &values, &vectors)
        precondition(status == 0, "the QL iteration did not converge on \(size) finite numbers")
        return (values, vectors)
    }

    /// The singular value decomposition of a small matrix by one-sided Jacobi: each value is found to
    /// high relative accuracy.
    /// - Parameter columns: The matrix's columns one after another, each of `length`.
    /// - Returns: Values, largest first; `left` `[count, length]` and `right` `[count, count]` hold the
    ///   singular vectors as rows. A left vector whose value is zero is zero.
    package static func singularValues(
        columns: [Double], count: Int, length: Int
    ) -> (values: [Double], left: [Double], right: [Double]) {
        precondition(columns.count == count * length, "\(columns.count) ≠ \(count) × \(length)")
        var left = columns
        var right = [Double](repeating: 0, count: count * count)
        var values = [Double](repeating: 0, count: count)
        let status = ek_lox_jacobi(Int64(count), Int64(length), &left, &right, &values)
        precondition(status == 0, "Jacobi's sweeps did not converge on \(count) finite columns")
        for i in 0..<count {
            for j in 0..<length {
                left[i * length + j] = values[i] > 0 ? left[i * length + j] / values[i] : 0
            }
        }
        return (values, left, right)
    }

    /// Householder QR of a tall matrix, in place; Q is orthonormal even where columns depend on others.
    /// - Parameter block: `[rows, width]`, rows ≥ width, width a multiple of 8; becomes Q.
    /// - Returns: R, `[width, width]`.
    package static func orthonormalize(
        _ block: inout [Double], rows: Int, width: Int
    ) -> [Double] {
        precondition(
            rows >= width && width % 8 == 0 && block.count == rows * width,
            "QR wants a tall block whose width is a multiple of 8, not [\(rows), \(width)]")
        var triangle = [Double](repeating: 0, count: width * width)
        if width > 0 { ek_lox_qr(Int64(rows), Int64(width), &block, &triangle) }
        return triangle
    }

    /// `leftᵀ right` for blocks `[rows, p]` and `[rows, width]`, both widths multiples of 8.
    static func cross(
        _ left: [Double], _ right: [Double], rows: Int, p: Int, width: Int
    ) -> [Double] {
        var product = [Double](repeating: 0, count: p * width)
        ek_lox_cross(Int64(rows), Int64(p), Int64(width), left, right, &product)
        return product
    }

    /// `block += sign · left · right` for `left` `[rows, p]` and `right` `[p, width]`.
    static func update(
        _ block: inout [Double], rows: Int, p: Int, width: Int, sign: Double, _ left: [Double],
        _ right: [Double]
    ) {
        ek_lox_update(Int64(rows), Int64(p), Int64(width), sign, left, right, &block)
    }
}
