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

    @Flag(help: "Keep the scratch worktree, and say where it is.")
    var keep = false

    @OptionGroup var options: LedgerOptions

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
        let root = options.root
        let ledger = try Ledger.open(under: root)
        let view = RunView(usesErrorStream: options.json)
        return try await replay(
            ledger.run(name, points: true), of: ledger, root: root, threads: threads, view: view)
    }

    private func replay(
        _ original: RunRecord, of ledger: Ledger, root: String, threads: Int?, view: RunView
    ) async throws -> ReplayVerdict {
        guard original.status != .running else {
            throw ProvenanceError(
                .nothingToReplay, "Run \(original.id) is still going on.", where: original.study,
                mend: "wait for its end")
        }
        if try ledger.sealHolds(original.id) == false {
            throw ProvenanceError(
                .corrupted, "The record of run \(original.id) is not what was sealed.",
                where: ledger.path,
                mend: "import the run again from a bundle or another ledger")
        }
        try await provideInputs(of: original, of: ledger, root: root, view: view)
        view.note("expected: \(expectation(original).text)")

        let scratch = "\(ledger.scratchFolder)/replay-\(original.shortID)-\(getpid())"
        defer { if !keep { try? FileManager.default.removeItem(atPath: scratch) } }
        let restored = try Restoration.lay(out: original, of: ledger, root: root, into: scratch)
        if keep { view.note("scratch worktree: \(scratch)") }

        var request = RunRequest(file: restored.study)
        request.parameters = original.parameters.map { "\($0.name)=\($0.value)" }
        request.seed = original.seed
        request.tier = original.tier
        request.threads = threads ?? original.threads
        request.ledgerRoot = root
        request.filesRoot = restored.folder
        request.recordedPath = original.study
        request.replayOf = original.id
        request.upstreams = original.upstreams
        request.until = lastCell(of: original)
        var code = original.code
        code.root = restored.folder
        request.code = code
        let outcome = try await StudyRunner(request, view: view).run()

        let verdict = Comparison.verdict(
            of: try ledger.run(outcome.id, points: true), against: original,
            objects: ledger.objects,
            samples: try ledger.samples(like: original))
        try ledger.record(verdict)
        return verdict
    }

    /// Sees to it that the store has every artifact that the run took from others; where one is gone, replays the run
    /// that made it.
    /// - Throws: ``ProvenanceError`` with reason `.incomplete`, naming everything that cannot be had.
    private func provideInputs(
        of original: RunRecord, of ledger: Ledger, root: String, view: RunView
    ) async throws {
        var faults: [String] = []
        var replayed: Set<String> = []
        for link in original.upstreams {
            let broken = try ledger.brokenObjects(of: link.sha256, isFolder: link.isFolder)
            if broken.isEmpty { continue }
            let what =
                "\(link.name): artifact \(link.artifact) of run \(link.producer), \(link.study)"
            guard let producer = try? ledger.run(link.producer, points: true) else {
                faults.append(
                    "\(what), is not in the store, and neither is that run in this ledger")
                continue
            }
            // Its bytes are not those it is named by; a new one is not written over it.
            for object in broken where object.isSpoiled { ledger.objects.remove(object.sha256) }
            if replayed.insert(producer.id).inserted {
                view.note(
                    "input \(what), is not in the store: that run is replayed first")
                let verdict = try await replay(
                    producer, of: ledger, root: root, threads: nil, view: view)
                if !verdict.holds { view.note("that replay differs from its original") }
            }
            if try !ledger.brokenObjects(of: link.sha256, isFolder: link.isFolder).isEmpty {
                faults.append("\(what), is not in the store, and its replay made another")
            }
        }
        guard faults.isEmpty else {
            throw ProvenanceError(
                .incomplete,
                "\(faults.count == 1 ? "An input" : "\(faults.count) inputs") of this run cannot be had as recorded:\n  "
                    + faults.joined(separator: "\n  "),
                where: "run \(original.id), \(original.study)",
                mend: "`study import` the ledger or bundle that has it, then replay again")
        }
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

    /// Where `--until` had stopped a run that went through.
    private func lastCell(of run: RunRecord) -> String? {
        guard run.status == .succeeded,
            let last = run.cells.last(where: { $0.state == "succeeded" }),
            run.command.contains(where: { $0 == "--until" || $0.hasPrefix("--until=") })
        else { return nil }
        return last.id
    }
}
