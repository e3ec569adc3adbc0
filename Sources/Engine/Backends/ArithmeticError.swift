// What can be wrong with a machine's arithmetic, and the one place that words it.

/// Arithmetic that cannot be had or cannot be trusted: what, where, how to mend it.
public struct ArithmeticError: Error, Sendable, CustomStringConvertible {
    /// For code: what went wrong.
    public enum Reason: Sendable, Hashable {
        /// The loader's message.
        case libraryMissing(String)
        case notOpenBLAS
        case otherCore(wanted: String, found: String)
        /// A product whose error no order of rounding explains.
        case wrongProduct(m: Int, n: Int, k: Int)
    }

    public let reason: Reason
    /// The library's file, where there is one.
    public let library: String?

    public init(_ reason: Reason, library: String?) {
        self.reason = reason
        self.library = library
    }

    /// The sentence that says what is wrong.
    public var what: String { wording.what }

    public var description: String {
        let (what, mend) = wording
        return "\(what)\n  where: \(library ?? "our own kernels")\n  mend:  \(mend)"
    }

    private var wording: (what: String, mend: String) {
        let portable = "use the portable tier, the default, which needs no library."
        switch reason {
        case .libraryMissing(let message):
            return (
                "The blas tier needs OpenBLAS, which is not installed: \(message)",
                "install it (Debian: apt-get install libopenblas0-pthread), or \(portable)"
            )
        case .notOpenBLAS:
            return (
                "The library found under OpenBLAS's name does not export OpenBLAS's functions.",
                "install OpenBLAS (Debian: apt-get install libopenblas0-pthread), or \(portable)"
            )
        case .otherCore(let wanted, let found):
            return (
                "OpenBLAS was to run its \(wanted) kernels and runs those for \(found).",
                "start the process without OPENBLAS_CORETYPE, or name a core that this build has in "
                    + "STUDY_BLAS_CORE."
            )
        case .wrongProduct(let m, let n, let k):
            return (
                "A product \(m) × \(k) · \(k) × \(n) differs from f64 by more than rounding explains.",
                library == nil
                    ? "do not trust this machine: report its CPU and kernel set."
                    : "install another OpenBLAS, pin another core in STUDY_BLAS_CORE, or \(portable)"
            )
        }
    }
}
