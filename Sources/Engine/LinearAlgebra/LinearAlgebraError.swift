// What can go wrong in a factorization, and the one place that words it.

/// A factorization that cannot be had: what happened, where, how to mend it.
public struct LinearAlgebraError: Error, Sendable, Hashable, CustomStringConvertible {
    /// For code: what went wrong.
    public enum Reason: Sendable, Hashable {
        /// An element that is infinite or not a number.
        case nonFinite(row: Int, column: Int)
        /// The residual that was reached, relative to the largest singular value, and the target.
        case notConverged(residual: Double, target: Double, passes: Int)
        /// OpenBLAS is not installed, or lacks a routine; the loader's message.
        case lapackMissing(String)
        /// LAPACK's `info`.
        case lapackFailed(routine: String, info: Int)
    }

    public let reason: Reason
    /// The matrix, as its caller calls it.
    public let matrix: String

    public init(_ reason: Reason, matrix: String) {
        self.reason = reason
        self.matrix = matrix
    }

    public var description: String {
        let (what, mend) = wording
        return "\(what)\n  where: \(matrix)\n  mend:  \(mend)"
    }

    private var wording: (what: String, mend: String) {
        switch reason {
        case .nonFinite(let row, let column):
            (
                "The element at row \(row), column \(column) is infinite or not a number.",
                "look for overflow in the training that made these weights; no part of them is used."
            )
        case .notConverged(let residual, let target, let passes):
            (
                "After \(passes) passes the residual is \(residual) of the largest singular value, "
                    + "above the target \(target).",
                "the singular values around the rank may be equal: ask for another rank, a larger "
                    + "residualTarget, or more maximumPasses."
            )
        case .lapackMissing(let message):
            ("LAPACK cannot be loaded: \(message).", "install it: apt-get install libopenblas0.")
        case .lapackFailed(let routine, let info):
            (
                "\(routine) returned \(info).",
                "report this with the matrix; LAPACK's own documentation says what the number means."
            )
        }
    }
}
