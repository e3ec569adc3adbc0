// Answers to ACM's artifact badges (v1.1) and the NeurIPS checklist, from the record. What the record
// does not know is left open for the authors, marked as such: an invented answer is worse than none.

internal import Events
internal import Provenance

enum Checklists {
    private static let open = "**for the authors to answer**"

    static func text(_ run: RunFacts, _ plan: BundlePlan) -> String {
        let licence = run.licence ?? open
        let seconds = run.ended.map {
            Words.seconds(Double($0.nanoseconds - run.began.nanoseconds) / 1e9)
        }
        let hasSource = plan.files.contains { $0.path.hasPrefix("source/") }
        let rates = run.series.flatMap { $0.proportions.values }.count
        let same = run.verdicts.map { "\($0.rung) (replay \($0.replay.suffix(8)))" }
        var out =
            "# Checklists\n\nFilled from the record of run `\(run.id)`. What is marked \"for the authors\" the record does not know.\n\n"
        out += "## ACM artifact badges, version 1.1\n\n"
        out += row("Available: a public archive with an identifier", open)
        out += row("Available: licence", licence)
        out += row(
            "Functional: documented",
            "`README.md`, the study itself as prose with code, and `results/report.html`")
        out += row(
            "Functional: consistent and complete",
            hasSource
                ? "the study, its source tree, \(run.inputs.count) inputs and \(run.artifacts.count) artifacts are named with their hashes; \(plan.withheld.count) files are withheld (`release.json`)"
                : "the study is here; no source tree is on record")
        out += row(
            "Functional: exercisable",
            "`study replay BUNDLE`; took \(seconds ?? "an unrecorded time") when recorded")
        out += row(
            "Functional: verified", "`study verify BUNDLE`, or `sha512sum -c manifest-sha512.txt`")
        out += row("Reusable", open)
        out += row(
            "Results reproduced by others",
            run.verdicts.isEmpty ? "no replay is on record" : same.joined(separator: "; "))
        out += "\n## NeurIPS paper checklist\n\n"
        out += row(
            "Claims",
            run.claims.isEmpty
                ? open
                : "\(run.claims.filter(\.holds).count) of \(run.claims.count) claims that the study states are borne out by this run (`results/claims.json`)"
        )
        out += row("Limitations", open)
        out += row("Theory, assumptions and proofs", open)
        out += row(
            "Experimental result reproducibility",
            "seed \(run.seed), named random streams, arithmetic tier \(run.tier); parameters, data hashes and environment are on record"
        )
        out += row(
            "Open access to data and code",
            "code: \(hasSource ? "in this bundle" : "the study only"); data: "
                + (run.inputs.isEmpty
                    ? "the study reads none"
                    : "\(run.inputs.count) inputs, in `inputs/` or by hash"))
        out += row(
            "Experimental setting and details",
            "the cells themselves; \(run.parameters.count) parameters with their values are in the crate"
        )
        out += row(
            "Statistical significance",
            rates == 0
                ? open
                : "\(rates) rates are recorded with their counts and totals, from which 95 % Wilson intervals follow; what varies between seeds: \(open)"
        )
        out += row(
            "Compute resources",
            "\(run.fact("cpu.model") ?? "processor not recorded"), \(run.threads) threads; this run took \(seconds ?? "an unrecorded time"); total over \(run.attempts.count + 1) runs on record: "
                + totalTime(run))
        out += row("Code of ethics", open)
        out += row("Broader impacts", open)
        out += row(
            "Safeguards",
            "release policy \(plan.policy.mode.rawValue): \(ReviewerReadme.line(plan.policy.reason))"
        )
        out += row(
            "Licences for existing assets",
            run.inputs.isEmpty
                ? "none used"
                : run.inputs.map { "\($0.shownPath ?? $0.path): \($0.licence ?? open)" }.joined(
                    separator: "; "))
        out += row(
            "New assets",
            run.artifacts.isEmpty
                ? "none" : "\(run.artifacts.count) artifacts, described in the crate")
        out += row("Crowdsourcing and human subjects", open)
        out += row("Institutional review", open)
        out += row("Declaration of language-model usage", open)
        return out
    }

    private static func totalTime(_ run: RunFacts) -> String {
        let known = run.attempts.compactMap(\.seconds)
        let own = run.ended.map { Double($0.nanoseconds - run.began.nanoseconds) / 1e9 }
        guard let own else { return "not recorded" }
        return Words.seconds(known.reduce(own, +))
            + (known.count < run.attempts.count
                ? " (\(run.attempts.count - known.count) runs have no end on record)" : "")
    }

    private static func row(_ question: String, _ answer: String) -> String {
        "- \(question): \(answer)\n"
    }
}
