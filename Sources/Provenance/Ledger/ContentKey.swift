// When two runs may stand for each other: everything that is known to decide a run's results before its first
// cell, as one hash.

/// What decides a run's results. Runs with equal keys that read equal files make equal artifacts.
///
/// Threads are left out in the portable tier, whose bits do not depend on them; in the blas tier they and the
/// processor are in.
package struct ContentKey: Sendable {
    /// An artifact of another run.
    package struct Input: Sendable, Hashable {
        package var name: String
        package var artifact: String
        /// The other run's content key.
        package var key: String
        package init(name: String, artifact: String, key: String) {
            self.name = name
            self.artifact = artifact
            self.key = key
        }
    }

    /// The study's whole text.
    package var source: String
    /// Name and value, all of them, in the study's order.
    package var parameters: [(name: String, value: String)]
    package var seed: UInt64
    package var tier: String
    package var threads: Int
    package var processor: String
    /// Builds of the engine and of the compiler.
    package var engine: String
    package var compiler: String
    /// The files that the front matter declares: name and SHA-256, "missing" where there is none.
    package var datasets: [(name: String, sha256: String)] = []
    package var inputs: [Input] = []
    /// The last cell to run, where the run was to stop early.
    package var until: String?

    package init(
        source: String, parameters: [(name: String, value: String)], seed: UInt64, tier: String,
        threads: Int, processor: String, engine: String, compiler: String
    ) {
        self.source = source
        self.parameters = parameters
        self.seed = seed
        self.tier = tier
        self.threads = threads
        self.processor = processor
        self.engine = engine
        self.compiler = compiler
    }

    /// 64 hexadecimal digits.
    package var text: String {
        var hasher = CanonicalHasher()
        hasher.add("study content key 1")
        hasher.add(source)
        hasher.add(Int64(parameters.count))
        for parameter in parameters {
            hasher.add(parameter.name)
            hasher.add(parameter.value)
        }
        hasher.add("\(seed)")
        hasher.add(tier)
        if tier != "portable" {
            hasher.add(Int64(threads))
            hasher.add(processor)
        }
        hasher.add(engine)
        hasher.add(compiler)
        hasher.add(Int64(datasets.count))
        for dataset in datasets {
            hasher.add(dataset.name)
            hasher.add(dataset.sha256)
        }
        hasher.add(Int64(inputs.count))
        for input in inputs {
            hasher.add(input.name)
            hasher.add(input.artifact)
            hasher.add(input.key)
        }
        if let until { hasher.add(until) } else { hasher.addNothing() }
        return hasher.digest().hex
    }
}
