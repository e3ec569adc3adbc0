// Runs again what a ledger holds, and compares: whole, over seeds, up to the first difference, or in
// random parts. Where the source and the inputs come from is Restoration's business, or the caller's.

internal import Events
internal import Export
internal import Foundation
internal import Notebook
internal import Provenance

/// Replays runs of one ledger into the same ledger.
struct Replayer {
    let ledger: Ledger
    /// The folder that holds `.study`.
    let root: String
    let view: RunView
    /// Threads of the engine, instead of the original's.
    var threads: Int?
    /// What cells may write to beside the scratch worktree: folders, in full.
    var writable: [String] = []
    /// Leave the scratch worktree where it is, and say where.
    var keep = false
    /// End the replay when its cells hold more bytes, instead of the study's own limit.
    var memory: UInt64?

    /// What the facts that are known before anything is compiled let us expect.
    static func expectation(_ original: RunRecord, threads: Int?) -> Expectation {
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

    /// Checks out what ran, verifies its data, runs it again and compares.
    /// - Throws: ``ProvenanceError`` where it cannot be run again: `.nothingToReplay`, `.corrupted`,
    ///   `.incomplete`; whatever ``StudyRunner/run()`` throws.
    func replay(_ original: RunRecord) async throws -> ReplayVerdict {
        try check(original)
        try await provideInputs(of: original)
        return try await restoring(original) { try await replay(original, in: $0) }
    }

    /// The same from a tree that is laid out and checked already, as an unpacked bundle's.
    func replay(_ original: RunRecord, in tree: Restoration) async throws -> ReplayVerdict {
        let outcome = try await run(original, in: tree)
        return try verdict(on: outcome.id, of: original)
    }

    /// Runs it again and judges nothing: where cells run that may be hostile, the verdict is another process's.
    /// - Returns: The replay's id.
    func rerun(_ original: RunRecord, in tree: Restoration) async throws -> String {
        try await run(original, in: tree).id
    }

    /// Runs one cell of a run and the cells that it needs. The verdict covers those, and is not kept: what some cells
    /// gave says nothing of the whole run.
    /// - Throws: as ``replay(_:)``; `.nothingToReplay` too where the cell is not in the run, or did not run.
    func replay(cell id: String, of original: RunRecord) async throws -> ReplayVerdict {
        try check(original)
        try await provideInputs(of: original)
        return try await restoring(original) { tree in
            let outcome = try await run(original, in: tree, only: id)
            let replay = hidden(try ledger.run(outcome.id, points: true), like: original)
            var verdict = Comparison.verdict(
                of: replay.limited(to: outcome.cells), against: original.limited(to: outcome.cells),
                objects: ledger.objects, samples: try ledger.samples(like: original))
            verdict.remarks = outcome.reasons.map { "cell '\($0.cell)' \($0.reason)" }
            return verdict
        }
    }

    // MARK: - Over seeds

    /// Replays every run of the same source and parameters, one a seed; the verdict is on `original`.
    func replayOverSeeds(_ original: RunRecord) async throws -> ReplayVerdict {
        try check(original)
        guard original.tolerances.contains(where: { ($0.seeds ?? 0) > 1 }) else {
            throw ProvenanceError(
                .badFilter, "The study declares no tolerance over seeds.", where: original.study,
                mend:
                    "write `tolerances: {METRIC: {seeds: 5}}` in its front matter, or leave out --over-seeds"
            )
        }
        let ids = try ledger.runsOverSeeds(like: original).filter { $0 != original.id }
        var last: ReplayVerdict?
        for (place, id) in (ids + [original.id]).enumerated() {
            let run = try ledger.run(id, points: true)
            try await provideInputs(of: run)
            view.note("seed \(run.seed), \(place + 1) of \(ids.count + 1): run \(id)")
            last = try await restoring(run) { try await replay(run, in: $0) }
        }
        return last!
    }

    // MARK: - Parts of a run

    /// Runs the study with each stored training left out but for `count` random segments, and says what
    /// chance a false record had of passing.
    func spotCheck(_ original: RunRecord, count: Int) async throws -> ReplayVerdict {
        try check(original)
        let trainings = StoredTraining.all(of: original)
        let all = trainings.flatMap(\.segments)
        guard !all.isEmpty else {
            throw ProvenanceError(
                .nothingToReplay, "Run \(original.id) has stored no training checkpoints.",
                where: original.study,
                mend: "train with `run.train(…, checkpointEvery: 100)`, or replay the whole run")
        }
        try await provideInputs(of: original)
        // From the system, not from a seed: whoever made the record must not know them.
        let chosen = Set(all.shuffled().prefix(count))
        var plan: [TrainingSegment] = []
        return try await restoring(original) { tree in
            let folder = tree.folder + ".checkpoints"
            defer { try? FileManager.default.removeItem(atPath: folder) }
            for training in trainings {
                plan += try training.segments.filter(chosen.contains).map {
                    try lay(out: $0, of: training, into: folder)
                }
                plan.append(try lay(out: training.end, of: training, into: folder))
            }
            for segment in plan where segment.from < segment.to {
                view.note(
                    "computing steps \(segment.from + 1) to \(segment.to)"
                        + (segment.arm.isEmpty ? "" : " of \(segment.arm)"))
            }
            let outcome = try await run(original, in: tree, segments: plan)
            var verdict = try verdict(on: outcome.id, of: original, segments: plan, isFinal: false)
            verdict.remarks = SpotChance(segments: all.count, computed: chosen.count).lines
            try ledger.record(verdict)
            return verdict
        }
    }

    /// Replays up to the first state or number that differs, then computes the same step once more from
    /// the last checkpoint before it.
    func bisect(_ original: RunRecord) async throws -> ReplayVerdict {
        try check(original)
        try await provideInputs(of: original)
        return try await restoring(original) { tree in
            let watcher = FirstDifference(original)
            let outcome = try await run(original, in: tree, watch: watcher.look)
            var verdict = try verdict(on: outcome.id, of: original, isFinal: false)
            if let found = watcher.found {
                verdict.remarks.append("stopped at the first difference: \(found.text)")
                if let line = try await confirm(found, original, tree) {
                    verdict.remarks.append(line)
                }
            }
            try ledger.record(verdict)
            return verdict
        }
    }

    /// Whether the step at which two runs part does so again from the recorded state before it.
    private func confirm(
        _ found: FirstDifference.Place, _ original: RunRecord, _ tree: Restoration
    ) async throws -> String? {
        guard let step = found.step,
            let training = StoredTraining.all(of: original).first(where: {
                $0.cell == found.cell && $0.arm == found.arm
            })
        else { return nil }
        let start = training.steps.last { $0 < step } ?? 0
        let folder = tree.folder + ".checkpoints"
        defer { try? FileManager.default.removeItem(atPath: folder) }
        let segment = TrainingSegment(cell: found.cell, arm: found.arm, from: start, to: step)
        var plan = [try lay(out: segment, of: training, into: folder)]
        for other in StoredTraining.all(of: original) {
            plan.append(try lay(out: other.end, of: other, into: folder))
        }
        view.note("once more from the recorded state after step \(start)")
        let watcher = FirstDifference(original)
        let series = found.arm.isEmpty ? "training state" : "training state[\(found.arm)]"
        _ = try await run(original, in: tree, segments: plan) { event in
            if let reason = watcher.look(event) { return reason }
            if case .digest(let record) = event, record.cell == found.cell,
                record.series == series, record.step >= step
            {
                return "the step in question is done"
            }
            return nil
        }
        let place = start == 0 ? "the beginning" : "the recorded state after step \(start)"
        if let again = watcher.found, let other = again.step {
            return again.step == step
                ? "from \(place), step \(other) differs again: this machine or this code computes it otherwise"
                : "from \(place), step \(other) differs already: what is computed here is not the same each time, or the record is false"
        }
        return
            "from \(place), step \(step) comes out as recorded: the difference came from before, or by chance"
    }

    /// Puts the checkpoint that a segment starts from into `folder`.
    private func lay(out segment: TrainingSegment, of training: StoredTraining, into folder: String)
        throws -> TrainingSegment
    {
        guard segment.from > 0, let sha256 = training.checkpoints[segment.from] else {
            return segment
        }
        var segment = segment
        segment.checkpoint = "\(folder)/\(sha256).safetensors"
        if access(segment.checkpoint, F_OK) != 0 {
            try ledger.objects.copy(sha256, to: segment.checkpoint)
        }
        return segment
    }

    // MARK: - Within

    private func check(_ original: RunRecord) throws {
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
        if let broken = DigestChain.firstBreak(in: original.digests) {
            throw ProvenanceError(
                .corrupted,
                "The chain of states of run \(original.id) is broken: \(broken.series), step \(broken.step).",
                where: ledger.path,
                mend: "import the run again from a bundle or another ledger")
        }
    }

    /// Sees to it that the store has every artifact that the run took from others; where one is gone, replays the run
    /// that made it.
    /// - Throws: ``ProvenanceError`` with reason `.incomplete`, naming everything that cannot be had.
    private func provideInputs(of original: RunRecord) async throws {
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
                var other = self
                other.threads = nil
                let verdict = try await other.replay(producer)
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

    private func restoring<T>(_ original: RunRecord, _ body: (Restoration) async throws -> T)
        async throws -> T
    {
        let scratch = "\(ledger.scratchFolder)/replay-\(original.shortID)-\(getpid())"
        defer { if !keep { try? FileManager.default.removeItem(atPath: scratch) } }
        let tree = try Restoration.lay(out: original, of: ledger, root: root, into: scratch)
        if keep { view.note("scratch worktree: \(scratch)") }
        return try await body(tree)
    }

    private func run(
        _ original: RunRecord, in tree: Restoration, only cell: String? = nil,
        segments: [TrainingSegment] = [], watch: ((Event) -> String?)? = nil
    ) async throws -> RunOutcome {
        sayWritable(original)
        var request = RunRequest(file: tree.study)
        request.writable = writable
        request.parameters = original.parameters.map { "\($0.name)=\($0.value)" }
        request.seed = original.seed
        request.tier = original.tier
        request.threads = threads ?? original.threads
        request.ledgerRoot = root
        request.filesRoot = tree.folder
        request.placed = tree.placed
        request.memory = memory
        request.recordedPath = original.study
        request.replayOf = original.id
        request.upstreams = original.upstreams
        request.until = Self.lastCell(of: original)
        request.only = cell
        request.segments = segments
        request.watch = watch
        var code = original.code
        code.root = tree.folder
        request.code = code
        return try await StudyRunner(request, view: view).run()
    }

    /// What a record says of folders is its author's word: whoever replays it opens them by name, or not.
    private func sayWritable(_ original: RunRecord) {
        let named = original.environment.facts.filter { $0.name.hasPrefix("run.writable.") }
        for folder in named.map(\.value) where !writable.contains(folder) {
            view.note(
                "run \(original.id) could write below \(folder) too; this replay may not: add --writable \(RunCommand.quoted(folder)) where it should"
            )
        }
    }

    /// Compares a replay on this ledger with its original, and keeps the verdict.
    func verdict(
        on replay: String, of original: RunRecord, segments: [TrainingSegment]? = nil,
        isFinal: Bool = true
    ) throws -> ReplayVerdict {
        let verdict = Comparison.verdict(
            of: hidden(try ledger.run(replay, points: true), like: original), against: original,
            objects: ledger.objects, samples: try ledger.samples(like: original),
            segments: segments)
        if isFinal { try ledger.record(verdict) }
        return verdict
    }

    /// A bundle holds restricted prompts and answers as hashes: those are compared as hashes.
    private func hidden(_ replay: RunRecord, like original: RunRecord) -> RunRecord {
        let areHashes = original.items.contains {
            $0.restricted && $0.prompt.hasPrefix("sha256:") && $0.answer.hasPrefix("sha256:")
        }
        guard areHashes else { return replay }
        var replay = replay
        for index in replay.items.indices where replay.items[index].restricted {
            replay.items[index].prompt = ReleasePolicy.hash(replay.items[index].prompt)
            replay.items[index].answer = ReleasePolicy.hash(replay.items[index].answer)
        }
        return replay
    }

    /// Where `--until` had stopped a run that went through.
    private static func lastCell(of run: RunRecord) -> String? {
        guard run.status == .succeeded,
            let last = run.cells.last(where: { $0.state == "succeeded" }),
            run.command.contains(where: { $0 == "--until" || $0.hasPrefix("--until=") })
        else { return nil }
        return last.id
    }
}
