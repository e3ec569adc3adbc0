// What a replay found, output by output, and the words for it. Comparison.swift finds it.

/// The rungs of the ladder, best first.
package enum Rung: Int, Sendable, Hashable, Comparable, CaseIterable {
    case sameBits, canonicallyEqual, withinTolerance, statisticallyEqual, different

    package var text: String {
        switch self {
        case .sameBits: "same bits"
        case .canonicallyEqual: "equal in canonical form"
        case .withinTolerance: "within the declared tolerance"
        case .statisticallyEqual: "statistically equal"
        case .different: "different"
        }
    }

    package static func < (a: Rung, b: Rung) -> Bool { a.rawValue < b.rawValue }
}

/// What kind of output is compared.
package enum OutputKind: String, Sendable, Hashable, CaseIterable {
    case input, digest, metric, stream, claim, inlineValue = "inline value", item, text, figure,
        artifact,
        cell
}

/// The place where a replay first left the original's way.
package struct Difference: Sendable, Equatable {
    package var kind: OutputKind
    /// The metric, figure, artifact or stream.
    package var name: String
    package var cell: Int
    /// The cell's id, and the first line of its code in the Markdown.
    package var cellID: String
    package var line: Int
    /// The step of a series; nil where there is none.
    package var step: Int64?
    package var expected: String
    package var found: String
    /// How many floating-point numbers lie between the two, of the narrowest type that holds both.
    package var ulps: UInt64?
    package var isSinglePrecision = false

    /// One sentence: where, what, how far.
    package var text: String {
        var place = "cell \(cellID.isEmpty ? "\(cell + 1)" : cellID)"
        if line > 0 { place += " (line \(line))" }
        if let step, step >= 0 { place += ", step \(step)" }
        var text = "\(place): \(kind.rawValue) \(name): \(expected) recorded, \(found) found"
        if let ulps, ulps != .max {
            text +=
                " (\(ulps) ulp\(ulps == 1 ? "" : "s") of \(isSinglePrecision ? "Float" : "Double"))"
        }
        return text
    }
}

/// The verdict on one output.
package struct OutputVerdict: Sendable, Equatable {
    package var kind: OutputKind
    package var name: String
    package var cell: Int
    package var rung: Rung
    /// How much of the declared tolerance was used, 0 to 1.
    package var margin: Double?
    /// For a statistical verdict: how many runs on either side, and the test's p.
    package var note = ""
    package var difference: Difference?
    /// The test over seeds could not be made: too few of them.
    package var needsSeeds = false

    /// Lowers the rung by how much of a tolerance was used; nil says that none applies. Called where the bytes
    /// differ and no canonical form makes them equal.
    mutating func judge(_ used: Double?) {
        guard let used, used <= 1 else {
            rung = .different
            return
        }
        rung = max(rung, used == 0 ? .canonicallyEqual : .withinTolerance)
        if used > 0 { margin = max(margin ?? 0, used) }
    }
}

/// The verdict on a whole replay.
package struct ReplayVerdict: Sendable, Equatable {
    package var original: String
    package var replay: String
    package var outputs: [OutputVerdict]
    /// The first difference in the order in which the original ran; on any rung but the top one.
    package var first: Difference?
    /// In which recorded facts the two environments differ, likeliest cause first.
    package var environment: [EnvironmentDifference]
    /// What could be expected before it ran; ``Expectation``.
    package var expectation: Expectation
    /// What a spot check or a bisection adds, a line each.
    package var remarks: [String] = []

    /// The lowest rung of any output; two empty runs have the same bits.
    package var rung: Rung { outputs.map(\.rung).max() ?? .sameBits }
    /// Whether the replay bore the original out: exit status 0, else 4.
    package var holds: Bool { rung < .different }

    /// One screen for people.
    package var text: String {
        var lines = ["\(holds ? "✓" : "✗") \(rung.text): replay \(replay) of \(original)"]
        for kind in OutputKind.allCases {
            let all = outputs.filter { $0.kind == kind }
            guard !all.isEmpty else { continue }
            let counts = Rung.allCases.compactMap { rung -> String? in
                let count = all.count { $0.rung == rung }
                return count == 0 ? nil : "\(count) \(rung.text)"
            }
            lines.append("  \(pad(kind.rawValue + "s", 14)) \(counts.joined(separator: ", "))")
        }
        for output in outputs {
            guard let margin = output.margin, output.rung == .withinTolerance else { continue }
            lines.append("  \(output.name): \(percent(margin)) of its tolerance used")
        }
        for output in outputs where output.rung == .statisticallyEqual || output.needsSeeds {
            lines.append("  \(output.name): \(output.note)")
        }
        if outputs.contains(where: \.needsSeeds) {
            lines.append("  more seeds settle it: study replay \(original) --over-seeds")
        }
        lines += remarks
        if let first {
            lines.append("first difference")
            lines.append("  \(first.text)")
        }
        let others = outputs.compactMap(\.difference).filter { $0 != first }
        for difference in others.prefix(5) { lines.append("  then \(difference.text)") }
        if others.count > 5 { lines.append("  and \(others.count - 5) more outputs") }
        if rung != .sameBits {
            if environment.isEmpty {
                lines.append("environment: the same in every recorded fact")
            } else {
                lines.append("environment differs, likeliest cause first")
                for fact in environment.prefix(6) {
                    lines.append(
                        "  \(fact.name): \(fact.first ?? "(not recorded)") then, "
                            + "\(fact.second ?? "(not recorded)") now")
                }
            }
        }
        lines.append("expected: \(expectation.text)")
        if rung > expectation.rung {
            lines.append("that did not hold")
        } else if expectation.rung != .different {
            lines.append("that held")
        }
        return lines.joined(separator: "\n")
    }
}

/// What a replay on this machine can be expected to give, said before it runs.
package struct Expectation: Sendable, Equatable {
    package var rung: Rung
    package var text: String

    package init(rung: Rung, text: String) {
        self.rung = rung
        self.text = text
    }

    /// What follows from the tier and from the facts in which the environments differ.
    package init(tier: String, differences: [EnvironmentDifference]) {
        let names = Set(differences.map(\.name))
        let code = names.intersection(["engine.tier", "engine.build", "swift", "swift.version"])
        if !code.isEmpty {
            self.init(
                rung: .different,
                text: "perhaps other bits: \(code.sorted().joined(separator: ", ")) changed since")
        } else if tier == "portable" {
            self.init(
                rung: .sameBits, text: "same bits (portable tier, whatever the CPU and the threads)"
            )
        } else {
            let cause = names.intersection([
                "cpu.model", "cpu.features", "engine.threads", "openblas.core",
                "openblas.threads", "library.openblas",
                "engine.kernels",
            ])
            self.init(
                rung: cause.isEmpty ? .sameBits : .different,
                text: cause.isEmpty
                    ? "same bits (blas tier, same CPU, BLAS core and threads)"
                    : "perhaps other bits: the blas tier depends on "
                        + cause.sorted().joined(separator: ", "))
        }
    }
}

private func pad(_ text: String, _ width: Int) -> String {
    text + String(repeating: " ", count: max(0, width - text.count))
}

private func percent(_ share: Double) -> String {
    shortNumber((share * 1000).rounded() / 10) + " %"
}
