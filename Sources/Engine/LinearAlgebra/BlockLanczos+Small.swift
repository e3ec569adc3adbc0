// Matrices with few rows or columns, decomposed whole: QR of the long side, Jacobi on the triangle.

internal import EngineKernels

extension BlockLanczos {
    /// All of a small matrix at once; the same Rayleigh–Ritz step measures the residual.
    /// - Returns: nil where the difference is zero.
    /// - Throws: ``LinearAlgebraError`` with reason `.nonFinite`.
    mutating func runWhole() throws(LinearAlgebraError) -> Triplets? {
        guard let v = try wholeRightVectors() else { return nil }
        return rayleighRitz(v.vectors, width: v.width)
    }

    /// The leading right singular vectors, `[columns, width]`, zero beyond the smaller extent.
    private mutating func wholeRightVectors() throws(LinearAlgebraError) -> (
        vectors: [Double], width: Int
    )? {
        let (rows, columns) = (difference.rows, difference.columns)
        var largest: Float = 0
        var isFinite = true
        for r in 0..<rows {
            for x in difference.row(r) {
                isFinite = isFinite && x.isFinite
                largest = max(largest, x.magnitude)
            }
        }
        guard try difference.normalize(largest: largest, isFinite: isFinite) else { return nil }
        // The matrix, or its transpose, standing tall; padded to what the kernels take.
        let isTall = rows >= columns
        let short = min(rows, columns)
        let width = SmallFactorizations.roundedUp(short, to: 8)
        let long = max(rows, columns, width)
        var tall = [Double](repeating: 0, count: long * width)
        for r in 0..<rows {
            for (c, x) in difference.row(r).enumerated() {
                tall[isTall ? r * width + c : c * width + r] = Double(x)
            }
        }
        let triangle = SmallFactorizations.orthonormalize(&tall, rows: long, width: width)
        var byColumn = [Double](repeating: 0, count: width * width)
        for i in 0..<width {
            for j in i..<width { byColumn[j * width + i] = triangle[i * width + j] }
        }
        let small = SmallFactorizations.singularValues(
            columns: byColumn, count: width, length: width)
        let count = min(width, SmallFactorizations.roundedUp(rank + 2, to: 8))
        var result = [Double](repeating: 0, count: columns * count)
        if isTall {
            for i in 0..<min(count, short) {
                for c in 0..<columns { result[c * count + i] = small.right[i * width + c] }
            }
        } else {
            var turn = [Double](repeating: 0, count: width * count)
            for i in 0..<min(count, short) {
                for j in 0..<width { turn[j * count + i] = small.left[i * width + j] }
            }
            var whole = [Double](repeating: 0, count: long * count)
            SmallFactorizations.update(
                &whole, rows: long, p: width, width: count, sign: 1, tall, turn)
            result = Array(whole[..<(columns * count)])
        }
        return (result, count)
    }
}
