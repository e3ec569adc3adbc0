// One number for the whole state of a training between two steps, so that the first step at which two
// runs part can be named. How it is recorded and chained is the ledger's affair.

internal import EngineKernels

/// 64 bits over trained tensors, moments, the step, the tokens seen and the random stream.
///
/// The tensors' digests are added up, each mixed with its name, so their order does not matter. It finds
/// accidents and differences of arithmetic; it is no cryptographic hash.
enum StateDigest {
    /// - Parameter tensors: The digest of each one's name (``of(_:)``), as in ``TrainingCheckpoint``,
    ///   beside it.
    static func of(
        step: Int, tokenCount: Int, salt: UInt32, random: RandomStream,
        tensors: some Sequence<(UInt64, Tensor)>
    ) -> UInt64 {
        of(
            step: step, tokenCount: tokenCount, salt: salt, random: random,
            digests: tensors.lazy.map { ($0, of($1)) })
    }

    static func of(_ text: String) -> UInt64 {
        var text = text
        return text.withUTF8 { ek_digest($0.baseAddress, $0.count) }
    }

    /// - Parameter digests: The digest of each tensor's name, and the tensor's own.
    static func of(
        step: Int, tokenCount: Int, salt: UInt32, random: RandomStream,
        digests: some Sequence<(UInt64, UInt64)>
    ) -> UInt64 {
        var sum: UInt64 = 0
        for (name, digest) in digests { sum &+= of(words: [name, digest]) }
        return of(words: [
            UInt64(step), UInt64(tokenCount), UInt64(salt), random.seed, of(random.name),
            random.draws, sum,
        ])
    }

    static func of(_ tensor: Tensor) -> UInt64 {
        tensor.withUnsafeBytes { ek_digest($0.baseAddress, $0.count) }
    }

    private static func of(words: [UInt64]) -> UInt64 {
        words.withUnsafeBytes { ek_digest($0.baseAddress, $0.count) }
    }
}

extension Optimization {
    /// The names of the state's tensors, as ``TrainingCheckpoint`` has them: computed once a run.
    func stateNames() -> [[UInt64]] {
        tensors.enumerated().map { i, tensor in
            let kinds = ["parameter", "mean", "square"] + (masters[i] == nil ? [] : ["master"])
            return kinds.map { StateDigest.of("\($0)/\(tensor.name)") }
        }
    }
}

extension TrainingRun {
    /// The digest of the state as the last update left it.
    func stateDigest(_ model: LanguageModel) -> UInt64 {
        let all = optimization.tensors.indices.lazy.flatMap { i in
            let tensor = model[optimization.tensors[i]]
            let updated = optimization.digests[i]
            // What the update wrote is an f32 tensor itself, else its copy.
            let own = tensor.dtype == .f32 ? updated[0] : StateDigest.of(tensor)
            let master = optimization.masters[i] == nil ? [] : [updated[0]]
            return zip(stateNames[i], [own, updated[1], updated[2]] + master)
        }
        return StateDigest.of(
            step: optimization.step, tokenCount: tokenCount, salt: salt, random: random,
            digests: all)
    }
}
