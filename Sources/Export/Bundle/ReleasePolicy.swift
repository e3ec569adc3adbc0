// What leaves the house: the one place that decides. Everything that writes a bundle, an .ipynb or an
// MLflow folder asks here, file by file and answer by answer.

package import Events

internal import Provenance

/// The decision for one run, with its reason in words.
package struct ReleasePolicy: Sendable, Equatable {
    package enum Mode: String, Sendable {
        case open
        /// Numbers, claims, code and reports leave; weights stay, and only their hashes leave.
        case metricsOnly = "metrics-only"
    }

    package let mode: Mode
    /// A sentence for the reader of the bundle.
    package let reason: String
    /// Completions to restricted prompts leave as text rather than as hashes and labels.
    package let includesCompletions: Bool

    /// Decides for a run.
    ///
    /// A run that lowers the refusal rate of a checkpoint that the project did not make itself is
    /// `metrics-only`, unless the study says `release: open` with a reason.
    package init(_ run: RunFacts, includesCompletions: Bool = false) throws {
        self.includesCompletions = includesCompletions
        let lowered = Self.loweredRefusals(run)
        let foreign = run.inputs.filter { $0.kind == "model" || $0.kind == "adapter" }
            .filter { Self.isForeign($0, run) }
        switch run.release {
        case "metrics-only":
            mode = .metricsOnly
            reason = run.releaseReason ?? "The study declares release: metrics-only."
        case "open" where lowered.isEmpty || foreign.isEmpty:
            mode = .open
            reason = run.releaseReason ?? "The study declares release: open."
        case "open":
            guard let why = run.releaseReason, !why.isEmpty else {
                throw ExportError(
                    .policy,
                    "The study declares release: open, gives no reason, and lowers the refusal rate of \(foreign[0].path), which this project did not make (\(lowered[0])).",
                    where: run.study,
                    mend:
                        "write the reason (`release: {policy: open, reason: …}`), or remove the line: the bundle is then metrics-only"
                )
            }
            mode = .open
            reason = "The study declares release: open, because: \(why)"
        case "":
            if let change = lowered.first, let model = foreign.first {
                mode = .metricsOnly
                reason =
                    "This run lowers the refusal rate of \(model.path), which this project did not make (\(change)); such weights are not released unless the study says otherwise with a reason."
            } else {
                mode = .open
                reason = "Nothing in this run calls for withholding weights."
            }
        default:
            throw ExportError(
                .policy, "release: \(run.release) is not a policy.", where: run.study,
                mend: "write open or metrics-only")
        }
    }

    /// Refusal-rate series that fall, in words. Compared are the first and each later arm of one
    /// metric, and the first and last value within a series.
    static func loweredRefusals(_ run: RunFacts) -> [String] {
        var first: [String: (arm: String, value: Double)] = [:]
        var lowered: [String] = []
        for series in run.series where isRefusalRate(series.name) {
            guard let start = series.values.first, let end = series.values.last else { continue }
            if let least = series.values.min(), least < start, start.isFinite {
                lowered.append("\(series.name) falls from \(start) to \(least)")
            }
            if let before = first[series.name] {
                let least = series.values.min() ?? end
                if least < before.value {
                    lowered.append(
                        "\(series.name) is \(before.value) for \(before.arm.isEmpty ? "the first arm" : before.arm) and \(least) for \(series.arm)"
                    )
                }
            } else {
                first[series.name] = (series.arm, start)
            }
        }
        return lowered
    }

    static func isRefusalRate(_ name: String) -> Bool {
        let letters = name.lowercased().filter(\.isLetter)
        return letters.contains("refusal")
    }

    /// A checkpoint is ours when a run of this project made it: its files are artifacts on record, or
    /// lie in the repository under a licence that the study states as the project's own.
    static func isForeign(_ input: RunFacts.Input, _ run: RunFacts) -> Bool {
        let made = Set(run.artifacts.flatMap(\.files).map(\.sha256))
        return !input.isMadeByProject && !input.files.allSatisfy { made.contains($0.sha256) }
    }

    /// Why an artifact's file stays here, or nil.
    package func withholds(_ artifact: RunFacts.Artifact, _ file: RunFacts.Member) -> String? {
        if mode == .metricsOnly, Self.isWeights(artifact, file) {
            return "weights are withheld: \(reason)"
        }
        if artifact.kind == "completions", !includesCompletions {
            return "completions leave as hashes and labels unless asked for (--completions)"
        }
        return nil
    }

    /// Why an input's file stays here, or nil.
    package func withholds(_ input: RunFacts.Input, _ file: RunFacts.Member) -> String? {
        if input.isRestricted { return "the study marks this data as restricted" }
        let isModel = input.kind == "model" || input.kind == "adapter"
        if mode == .metricsOnly, input.kind == "adapter" {
            return "weights are withheld: \(reason)"
        }
        guard let licence = input.licence else {
            return isModel && !input.isMadeByProject
                ? "the study states no licence that would let the checkpoint be passed on" : nil
        }
        if Self.forbidsCopies(licence) {
            return "its licence (\(licence)) does not let it be passed on"
        }
        return nil
    }

    static func isWeights(_ artifact: RunFacts.Artifact, _ file: RunFacts.Member) -> Bool {
        if artifact.kind == "weights" { return true }
        // By name too: a cell may forget to say what it saved.
        let name = (file.path.isEmpty ? artifact.name : file.path).lowercased()
        return [".safetensors", ".bin", ".pt", ".pth", ".gguf", ".npz", ".npy", ".ckpt"]
            .contains { name.hasSuffix($0) }
    }

    static func forbidsCopies(_ licence: String) -> Bool {
        let text = licence.lowercased()
        return [
            "proprietary", "not redistributable", "no redistribution", "licenseref-",
            "all rights reserved",
        ]
        .contains { text.contains($0) }
    }

    /// A completion as it leaves: as it is, or its hash.
    package func completion(_ item: ItemRecord) -> (prompt: String, answer: String) {
        if !item.restricted || includesCompletions { return (item.prompt, item.answer) }
        return (Self.hash(item.prompt), Self.hash(item.answer))
    }

    /// "sha256:" and the digest of a text. What is such a hash already stays as it is: a run that came in a bundle
    /// leaves as it came.
    package static func hash(_ text: String) -> String {
        let isHash =
            text.hasPrefix("sha256:") && text.utf8.count == 71
            && text.utf8.dropFirst(7).allSatisfy { (0x30...0x39) ~= $0 || (0x61...0x66) ~= $0 }
        return isHash
            ? text : "sha256:" + Digest(of: text).hex
    }
}
