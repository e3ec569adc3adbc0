// The first file a reviewer opens. Short sentences, commands that can be copied, numbers from the record.

internal import Events
internal import Provenance

enum ReviewerReadme {
    static func text(_ run: RunFacts, _ plan: BundlePlan) -> String {
        let seconds = run.ended.map { Double($0.nanoseconds - run.began.nanoseconds) / 1e9 }
        let size = plan.files.reduce(0) { $0 + $1.source.size }
        var out = """
            # \(run.title.isEmpty ? run.study : run.title)

            This is run `\(run.id)` of the study `\(BundleLayout.safe(run.study))`: a Markdown file whose Swift cells were
            compiled, run and recorded. It \(ROCrate.words(run.status)).

            ## Verify, with coreutils alone

                sha512sum -c manifest-sha512.txt        # in the bag's top folder, the one above `data`

            With this project's program, which needs no Swift, no BLAS and no network for it:

                study verify BUNDLE
                study inspect BUNDLE        # what would run, without running it

            ## Run it again

                study replay BUNDLE

            It verifies first, then compiles and runs the cells in a sandbox of bubblewrap (no network, an empty home,
            system and inputs read-only, limits on time, memory, processes and disk), and compares every number and file
            with this record. It needs this project and Swift installed, and neither repository nor account.
            \(missing(plan))

            | cost | as recorded |
            |---|---|
            | time | \(seconds.map { Words.seconds($0) } ?? "not recorded: the run has no end") |
            | memory | \(run.fact("run.peak_memory").flatMap { Int64($0) }.map { Words.bytes($0) } ?? "not recorded") |
            | disk | \(Words.bytes(size)) for the bundle's files, about twice that to replay |
            | processor | \(run.fact("cpu.model") ?? "not recorded"), \(run.threads) threads |
            | network | none |


            """
        if let failure = run.failure {
            out +=
                "The run ended in cell `\(plan.cellName(failure.cell))`\(failure.line > 0 ? ", line \(failure.line)" : ""): \(failure.message)\n\n"
        }
        out += "## What is here\n\n| file | what it is |\n|---|---|\n"
        out += "| `\(BundleLayout.safe(run.study))` | the study as run |\n"
        out += "| `results/report.html` | the executed study as one page; open it first |\n"
        out += "| `results/metrics.jsonl` | every number, one a line |\n"
        if plan.files.contains(where: { $0.path == BundleLayout.rows }) {
            out += "| `results/run.sqlite` | the run's rows as they are in the ledger |\n"
        }
        for (folder, words) in [
            ("adapters/", "adapters, in PEFT's format"), ("artifacts/", "what else the cells made"),
            ("inputs/", "what the cells read"),
            (
                "source/files/",
                "the source tree as it was; `source/source.bundle` is the same for `git clone`"
            ),
            ("upstream/", "rows and studies of the runs that this one took artifacts from"),
            ("results/figures/", "figures as gnuplot scripts, with their numbers"),
        ] where plan.files.contains(where: { $0.path.hasPrefix(folder) }) {
            out += "| `\(folder)` | \(words) |\n"
        }
        out += """
            | `environment.json`, `environment.lock` | machine, toolchain and libraries; the versions that decide the bits |
            | `release.json` | what was withheld, why, and its hashes |
            | `checklists.md` | ACM badge and NeurIPS checklist answers |
            | `ro-crate-metadata.json` | all of this for machines (RO-Crate, Provenance Run Crate 0.5) |
            | `provenance.intoto.json` | in-toto statement with SLSA provenance |


            """
        out += "## Results\n\n"
        let scalars = run.series.filter { $0.isScalar && $0.values.count == 1 }
        if scalars.isEmpty && run.claims.isEmpty {
            out += "The run recorded no single numbers and no claims.\n"
        }
        if !scalars.isEmpty {
            out += "| number | value |\n|---|---|\n"
            for series in scalars.prefix(60) {
                let name = series.arm.isEmpty ? series.name : "\(series.name), \(series.arm)"
                let rate =
                    series.proportions[0].map {
                        " (\($0.count) of \($0.total), judged by \($0.judge))"
                    } ?? ""
                out += "| \(cell(name)) | \(Words.number(series.values[0]))\(cell(rate)) |\n"
            }
            if scalars.count > 60 {
                out += "| … | \(scalars.count - 60) more in `results/metrics.jsonl` |\n"
            }
            out += "\n"
        }
        for claim in run.claims {
            out += "- \(claim.holds ? "✓ holds" : "✗ fails"): \(line(claim.text))"
            out += claim.evidence.isEmpty ? "\n" : " (\(line(claim.evidence)))\n"
        }
        if !run.attempts.isEmpty {
            let failed = run.attempts.filter { $0.status != .succeeded }.count
            let others =
                run.attempts.count == 1
                ? "1 other run" : "\(run.attempts.count) other runs"
            out +=
                "\nBeside this run the ledger has \(others) of the same study, \(failed) of which did not succeed; `attempts.json` lists them.\n"
        }
        for verdict in run.verdicts {
            out += "\nReplayed as run `\(verdict.replay)`: \(verdict.rung).\n"
        }
        if !run.upstreams.isEmpty {
            out += "\n## What it took from other runs\n\n"
            for link in run.upstreams {
                out +=
                    "- `\(line(link.name))`: artifact `\(line(link.artifact))` of run `\(link.producer)` of `\(line(link.study))`, sha256 `\(link.sha256)`\n"
            }
        }
        out +=
            "\n## What was withheld\n\nPolicy: \(plan.policy.mode.rawValue). \(line(plan.policy.reason))\n"
        if plan.withheld.isEmpty { out += "Nothing was withheld.\n" }
        for item in plan.withheld.sorted(by: { $0.path < $1.path }).prefix(40) {
            out +=
                "- `\(line(item.path))`, \(Words.bytes(item.size)), sha256 `\(item.sha256)`: \(line(item.reason))\n"
        }
        if plan.withheld.count > 40 {
            out += "- and \(plan.withheld.count - 40) more in `release.json`\n"
        }
        return out
    }

    /// How to bring what the bundle leaves out.
    private static func missing(_ plan: BundlePlan) -> String {
        // Thin or fat, and wherever the rest can be fetched: both have one crate, and so one text.
        let mayBeAbsent =
            plan.withheld.contains { $0.path.hasPrefix("inputs/") }
            || plan.files.contains { $0.path.hasPrefix("inputs/") }
        return mayBeAbsent
            ? "Inputs that are only named (by a thin bundle, or in `release.json`) go into a folder, under any names: `study replay BUNDLE --inputs FOLDER`.\n"
            : ""
    }

    /// Text that must stay in one table cell.
    static func cell(_ text: String) -> String { line(text).replacing("|", with: "\\|") }
    static func line(_ text: String) -> String {
        text.replacing("\n", with: " ").replacing("<", with: "‹").replacing(">", with: "›")
    }
}
