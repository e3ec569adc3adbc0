// `study replay RUN` and `study replay BUNDLE`: what ran, once more, and a verdict. Replayer.swift
// runs and compares; BundleReplay.swift unpacks a bundle and locks it up.

internal import ArgumentParser
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

            A bundle is verified first; then its cells are compiled and run in a sandbox of bubblewrap: no \
            network, an empty home, system and inputs read-only, limits on time, memory, processes and \
            disk. It needs neither repository nor ledger, and leaves nothing behind.

            --cell runs one cell and, before it, only the cells that define or may have changed what it uses, \
            as the linker sees it; why each of the others does or does not run is said. What a cell changes by \
            other ways (a file, an object behind a `let`) is not seen: where such a replay differs, replay the \
            whole run. A cell marked `//| cache: true` is not run where the values that it left to later cells \
            are stored under the same key (its code and all above it, parameters, seed, engine, compiler, \
            processor, the files read so far): they are put back. Why a stored value was or was not used is \
            said and recorded. Its verdict covers the cells that ran and is not kept.
            """)

    @Argument(
        help: ArgumentHelp(
            "A run (an id, its first or last digits, or @latest), or a bundle's file or folder.",
            valueName: "run"))
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

    @Option(help: ArgumentHelp("Only this cell, and the cells that it needs.", valueName: "id"))
    var cell: String?

    @Option(
        help: ArgumentHelp(
            "Let cells write below this folder too, as the run's could; may be given again.",
            valueName: "folder"))
    var writable: [String] = []

    @Flag(help: "Keep the scratch folder, and say where it is.")
    var keep = false

    @OptionGroup(title: "FOR A BUNDLE") var bundle: BundleReplayOptions

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if let threads, threads <= 0 {
            throw ValidationError("--threads is a positive number, not \(threads).")
        }
        try WritableFolders.check(writable)
        if let spot, spot <= 0 {
            throw ValidationError("--spot is a positive number of segments, not \(spot).")
        }
        if [overSeeds, bisect, spot != nil, cell != nil].count(where: { $0 }) > 1 {
            throw ValidationError("--over-seeds, --bisect, --spot and --cell exclude each other.")
        }
    }

    func run() async throws {
        if BundleReplay.isBundle(name) {
            let parts = [
                (!writable.isEmpty, "--writable"), (overSeeds, "--over-seeds"),
                (bisect, "--bisect"), (spot != nil, "--spot"),
                (cell != nil, "--cell"),
            ]
            if let option = parts.first(where: \.0)?.1 {
                let text =
                    "\(option) is for runs of a ledger, and \(name) is a bundle.\n  mend:  `study import \(name)` first, then replay the run"
                FileHandle.standardError.write(Data((text + "\n").utf8))
                throw ExitCode(ExitStatus.wrongUsage)
            }
            let replay = BundleReplay(
                bundle: name, options: bundle, threads: threads, keep: keep, json: options.json)
            return try await replay.run()
        }
        if let option = bundle.given {
            let text = "\(option) is for bundles, and \(name) is no file or folder here."
            FileHandle.standardError.write(Data((text + "\n").utf8))
            throw ExitCode(ExitStatus.wrongUsage)
        }
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
        if let cell { try Replayer.check(cell, ran: original) }
        view.note("expected: \(Replayer.expectation(original, threads: threads).text)")
        let replayer = Replayer(
            ledger: ledger, root: options.root, view: view, threads: threads,
            writable: writable.map(realPath), keep: keep)
        if let cell { return try await replayer.replay(cell: cell, of: original) }
        if overSeeds { return try await replayer.replayOverSeeds(original) }
        if bisect { return try await replayer.bisect(original) }
        if let spot { return try await replayer.spotCheck(original, count: spot) }
        return try await replayer.replay(original)
    }
}
