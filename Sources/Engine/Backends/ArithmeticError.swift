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
        /// STUDY_KERNELS names no kernel set; `available` are those that this CPU can run, fastest first.
        case unknownKernels(String, available: [String])
        /// STUDY_KERNELS names a kernel set that this CPU cannot run.
        case missingKernels(String, available: [String])
        /// STUDY_THREADS is no number of threads.
        case noThreadCount(String)
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
        return "\(what)\n  where: \(place)\n  mend:  \(mend)"
    }

    /// How to mend it.
    public var mend: String { wording.mend }

    private var place: String {
        switch reason {
        case .unknownKernels, .missingKernels: "the environment variable STUDY_KERNELS"
        case .noThreadCount: "the environment variable STUDY_THREADS"
        default: library ?? "our own kernels"
        }
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
        case .unknownKernels(let word, let available):
            return (
                "STUDY_KERNELS is \"\(word)\", which names no kernels.",
                "set it to \(alternatives(available)), which this CPU can run, or unset it: then the "
                    + "fastest compute. The bits are the same."
            )
        case .missingKernels(let name, let available):
            return (
                "STUDY_KERNELS asks for the \(name) kernels, which this CPU cannot run.",
                "set it to \(alternatives(available)), or unset it: then \(available[0]) computes. The "
                    + "bits are the same."
            )
        case .noThreadCount(let text):
            return (
                "STUDY_THREADS is \"\(text)\", which is no number of threads.",
                "set it to a number from 1 to 256, or unset it: then every CPU has a thread."
            )
        }
    }

    /// "avx512, avx2 or scalar".
    private func alternatives(_ names: [String]) -> String {
        names.count < 2
            ? names.joined()
            : names.dropLast().joined(separator: ", ") + " or " + names[names.count - 1]
    }
}
