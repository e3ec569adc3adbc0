// `study replay RUN`: what ran, once more, in a scratch worktree, and a verdict.

internal import ArgumentParser
internal import Events
internal import Foundation
internal import Provenance

struct ReplayCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "replay",
        abstract: "Check out what ran, verify its data, run it again, and give a verdict.",
        discussion: """
            Every metric, figure, artifact and text is compared bit for bit, then in canonical form, then \
            within the tolerances of the study. Standard error is not compared. Exit status 4 when an \
            output differs. The replay is a run of its own, linked to the original.
            """)

    @Argument(help: ArgumentHelp("An id, its first or last digits, or @latest.", valueName: "run"))
    var name: String

    @Option(help: "Threads of the engine, instead of the original's.")
    var threads: Int?

    @Flag(
        help:
            "Replay every seed of the study on record, for tolerances that are declared over seeds."
    )
    var overSeeds = false

    @Flag(
        help:
            "Stop at the first state or number that differs, and compute that step again from the last stored checkpoint."
    )
    var bisect = false

    @Option(
        help: ArgumentHelp(
            "Compute only so many random segments of the trainings, from stored checkpoints.",
            valueName: "segments"))
    var spot: Int?

    @Flag(help: "Keep the scratch worktree, and say where it is.")
    var keep = false

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if let threads, threads <= 0 {
            throw ValidationError("--threads is a positive number, not \(threads).")
        }
        if let spot, spot <= 0 {
            throw ValidationError("--spot is a positive number of segments, not \(spot).")
        }
        if [overSeeds, bisect, spot != nil].count(where: { $0 }) > 1 {
            throw ValidationError("--over-seeds, --bisect and --spot exclude each other.")
        }
    }

    func run() async throws {
        let verdict: ReplayVerdict
        do {
            verdict = try await replay()
        } catch let error as ProvenanceError where error.isUsage {
            _ = Failures.report(error, json: options.json)
            throw ExitCode(ExitStatus.wrongUsage)
        } catch {
            throw Failures.report(error, json: options.json)
        }
        if options.json { JSONOutput.print(verdict.json) } else { print(verdict.text) }
        if !verdict.holds { throw ExitCode(ExitStatus.replayDiverged) }
    }

    private func replay() async throws -> ReplayVerdict {
        let ledger = try options.openExisting()
        let original = try ledger.run(name, points: true)
        let view = RunView(usesErrorStream: options.json)
        view.note("expected: \(expectation(original).text)")
        let replayer = Replayer(
            ledger: ledger, root: options.root, view: view, threads: threads, keep: keep)
        if overSeeds { return try await replayer.replayOverSeeds(original) }
        if bisect { return try await replayer.bisect(original) }
        if let spot { return try await replayer.spotCheck(original, count: spot) }
        return try await replayer.replay(original)
    }

    /// What the facts that are known before anything is compiled let us expect.
    private func expectation(_ original: RunRecord) -> Expectation {
        let now = EnvironmentSnapshot.collect()
        let known = Set(now.facts.map(\.name))
        var differences = original.environment.differences(
            from: now, portable: original.tier == "portable"
        ).filter { known.contains($0.name) }
        if let threads, threads != original.threads {
            differences.append(
                EnvironmentDifference(
                    name: "engine.threads", first: "\(original.threads)", second: "\(threads)",
                    weight: 85))
        }
        return Expectation(tier: original.tier, differences: differences)
    }
}
