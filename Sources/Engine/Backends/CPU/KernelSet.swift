// Which of the portable tier's kernels this process uses, and on how many threads.

internal import EngineKernels

#if canImport(Glibc)
    import Glibc
#endif

/// The kernels chosen for this CPU: `avx512`, `avx2` or `scalar`. All give the same bits.
/// The environment variable STUDY_KERNELS can choose a lower one; ``checkArithmeticVariables()`` says what is
/// wrong with its value.
public var kernelSetName: String { String(cString: ek_kernel_name()) }

/// Every kernel set there is, the fastest first.
package let kernelSetNames = ["avx512", "avx2", "scalar"]

/// Threads that share the arithmetic: STUDY_THREADS, or else the machine's CPUs. The bits do not
/// depend on it.
public var threadCount: Int { Int(ek_threads()) }

/// Sets how many threads share the arithmetic.
/// - Precondition: `count` is 1 to 256.
public func setThreadCount(_ count: Int) {
    precondition((1...256).contains(count), "the thread count must be 1 to 256, not \(count)")
    ek_set_threads(Int32(count))
}

/// Chooses a kernel set by name, for tests; `false` where this CPU cannot run it.
package func useKernelSet(_ name: String) -> Bool { ek_use_kernels(name) }

/// Refuses what cannot be had: STUDY_KERNELS with a word that names no kernels or kernels that this CPU
/// cannot run, STUDY_THREADS with what is no number of threads. The products ignore such values and take
/// the best there is, with the same bits. ``setArithmeticTier(_:)`` begins with this.
/// - Throws: ``ArithmeticError`` with reason `.unknownKernels`, `.missingKernels` or `.noThreadCount`.
public func checkArithmeticVariables() throws(ArithmeticError) {
    func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }
    try checkVariables(
        kernels: variable("STUDY_KERNELS"), threads: variable("STUDY_THREADS"),
        available: kernelSetNames.filter { ek_can_use_kernels($0) })
}

/// ``checkArithmeticVariables()`` for any CPU: `available` are the sets that it can run, the fastest first.
package func checkVariables(
    kernels: String?, threads: String?, available: [String]
) throws(ArithmeticError) {
    // An empty variable is an unset one.
    if let kernels, !kernels.isEmpty, !available.contains(kernels) {
        throw ArithmeticError(
            kernelSetNames.contains(kernels)
                ? .missingKernels(kernels, available: available)
                : .unknownKernels(kernels, available: available), library: nil)
    }
    if let threads, !threads.isEmpty {
        guard let count = Int(threads), (1...256).contains(count) else {
            throw ArithmeticError(.noThreadCount(threads), library: nil)
        }
    }
}

/// Calls `body(i)` for every i in 0 ..< count on the engine's threads and returns when all are done.
///
/// Which thread takes which index is left to chance: `body` writes only what its index owns, over a
/// grid that the problem fixes, so the bits cannot tell. Nested calls run serially.
package func parallel(_ count: Int, _ body: @Sendable (Int) -> Void) {
    withoutActuallyEscaping(body) { body in
        var box = ParallelBody(call: body)
        withUnsafeMutablePointer(to: &box) { pointer in
            ek_parallel(
                count,
                { context, index in
                    context!.assumingMemoryBound(to: ParallelBody.self).pointee.call(index)
                }, pointer)
        }
    }
}

private struct ParallelBody {
    let call: @Sendable (Int) -> Void
}
