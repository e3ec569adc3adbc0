// What can keep two models from being compared weight by weight, and the one place that words it.

/// Two checkpoints that do not fit: what, in which tensor, how to mend it.
public struct LoXError: Error, Sendable, Hashable, CustomStringConvertible {
    /// For code: what went wrong.
    public enum Reason: Sendable, Hashable {
        case shapesDiffer([Int], [Int])
        /// The rows of an embedding differ, and nothing else: two vocabularies.
        case vocabulariesDiffer(Int, Int)
        case unsupportedDType(DType)
        /// The weight is quantised, so that its difference would be that of the rounding.
        case quantized
        case missing(side: String)
        /// The weights may be extrapolated beyond what the type can hold.
        case overflow(DType)
        /// A difference of norm zero, where the norm divides.
        case unchanged
        case emptyGrid
    }

    public let reason: Reason
    /// The tensor, by its parameter name.
    public let tensor: String

    public init(_ reason: Reason, tensor: String) {
        self.reason = reason
        self.tensor = tensor
    }

    public var description: String {
        let (what, mend) = wording
        return "\(what)\n  where: \(tensor)\n  mend:  \(mend)"
    }

    private var wording: (what: String, mend: String) {
        switch reason {
        case .shapesDiffer(let one, let other):
            (
                "The weights have different shapes: \(one) and \(other).",
                "compare checkpoints of one architecture."
            )
        case .vocabulariesDiffer(let one, let other):
            (
                "The vocabularies differ: \(one) and \(other) rows.",
                "say what to do with them: vocabularyMismatch .commonRows or .skip."
            )
        case .unsupportedDType(let dtype):
            (
                "The weight is stored as \(dtype.rawValue), which has no difference here.",
                "convert it to F32, BF16 or F16."
            )
        case .quantized:
            (
                "The weight is quantised.",
                "take the difference of the unquantised checkpoints, and quantise the result."
            )
        case .missing(let side):
            (
                "The \(side) model has no such tensor.",
                "compare checkpoints of one architecture, base and aligned."
            )
        case .overflow(let dtype):
            (
                "An extrapolated weight is beyond the range of \(dtype.rawValue).",
                "choose a smaller coefficient, or store the result as BF16 or F32."
            )
        case .unchanged:
            (
                "The two weights are equal, so their difference has no direction.",
                "leave this module out, or check that the right checkpoints were given."
            )
        case .emptyGrid:
            ("The grid has no points.", "give at least one coefficient for each direction.")
        }
    }
}
