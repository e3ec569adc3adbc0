// From what a study asks of others to runs that have it: an earlier run with the same content key where there is one
// whose artifact is whole, else a new run of that study, on record as its own.

internal import Foundation
internal import Notebook
internal import Provenance

/// Finds or makes the runs that a run takes artifacts from.
final class UpstreamResolver {
    private let request: RunRequest
    private let ledger: Ledger
    private let root: String
    private let compiler: Compiler
    private let view: RunView

    /// Artifacts that are asked of a study, by its key: one run must have them all.
    private var wanted: [String: [(name: String, asker: StudyFile, entry: InputEntry)]] = [:]
    private var found: [String: RunRecord] = [:]
    /// Ids of runs that were made just now.
    private(set) var made: Set<String> = []

    init(
        _ request: RunRequest, ledger: Ledger, root: String, compiler: Compiler, view: RunView
    ) {
        self.request = request
        self.ledger = ledger
        self.root = root
        self.compiler = compiler
        self.view = view
    }

    // MARK: - Keys

    /// The content key of a study that is to run with these parameters and this seed.
    func key(of node: StudyNode, until: String? = nil) throws -> String {
        try key(
            of: node, until: until,
            inputs: node.inputs.map { input in
                ContentKey.Input(
                    name: input.entry.name, artifact: input.entry.artifact,
                    key: try key(of: input.node))
            })
    }

    /// - Parameter inputs: Where they are known already, as in a replay.
    func key(of node: StudyNode, until: String?, inputs: [ContentKey.Input]) throws -> String {
        var key = ContentKey(
            source: node.study.text,
            parameters: node.values.map { ($0.parameter.name, "\($0.value)") }, seed: node.seed,
            tier: request.tier,
            threads: request.threads > 0
                ? request.threads : Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))),
            processor: request.tier == "portable"
                ? "" : EnvironmentSnapshot.collect()["cpu.model"] ?? "",
            engine: compiler.engineBuild, compiler: compiler.toolchain.version)
        key.datasets = try node.study.frontMatter.datasets.map { dataset in
            let path = find(dataset.path, for: node)
            return (dataset.name, try ledger.digest(ofInput: path) ?? "missing")
        }
        key.inputs = inputs
        key.until = until
        return key.text
    }

    private func find(_ path: String, for node: StudyNode) -> String {
        let dataset = node.study.frontMatter.datasets.first { $0.name == path }
        return RunRecorder.find(
            dataset?.path ?? path, beside: node.file, root: request.filesRoot ?? root)
    }

    // MARK: - Resolving

    /// Links for every input of `node`; runs what must run first.
    /// - Throws: ``StudyError`` where a study does not save what is asked of it; ``ProvenanceError`` with reason
    ///   `.upstream` where a run above did not go through.
    func resolve(_ node: StudyNode) async throws -> [UpstreamLink] {
        try gather(node)
        try await compileAll(node)
        return try await links(of: node)
    }

    /// Says of each input where it would come from, and runs nothing.
    /// - Throws: As ``resolve(_:)``, as far as the ledger can tell.
    func preview(_ node: StudyNode) throws -> [String] {
        try gather(node)
        return try node.inputs.map { entry, upstream in
            let candidate = try reusable(upstream)
            return Self.sentence(entry, upstream, candidate)
        }
    }

    private static func sentence(
        _ entry: InputEntry, _ upstream: StudyNode, _ candidate: Candidate
    ) -> String {
        candidate.run.map { "input \(entry.name): run \($0.id) of \(upstream.study.path) made it" }
            ?? "input \(entry.name): \(upstream.study.path) runs first, since \(candidate.reason)"
    }

    private func gather(_ node: StudyNode) throws {
        for consumer in node.all {
            for input in consumer.inputs {
                wanted[try key(of: input.node), default: []].append(
                    (input.entry.artifact, consumer.study, input.entry))
            }
        }
    }

    /// Nothing runs until everything compiles, the studies that must run first among it.
    private func compileAll(_ node: StudyNode) async throws {
        for upstream in node.all.dropLast() where try reusable(upstream).run == nil {
            _ = try await compiler.compile(
                upstream.study, sourceName: StudyRunner.path(upstream.file, below: root))
        }
    }

    private func links(of node: StudyNode) async throws -> [UpstreamLink] {
        var links: [UpstreamLink] = []
        for (entry, upstream) in node.inputs {
            let key = try key(of: upstream)
            let run = try await producer(upstream, key: key, of: node, entry)
            guard let artifact = run.artifacts.first(where: { $0.name == entry.artifact }) else {
                throw noSuchArtifact(entry, run, of: node.study)
            }
            links.append(
                UpstreamLink(
                    name: entry.name, study: run.study, artifact: artifact.name, producer: run.id,
                    key: key, sha256: artifact.sha256, isFolder: artifact.isFolder))
        }
        return links
    }

    private func producer(
        _ upstream: StudyNode, key: String, of node: StudyNode, _ entry: InputEntry
    ) async throws -> RunRecord {
        if let run = found[key] { return run }
        var candidate = try reusable(upstream)
        // Held until the run is made; whoever wants the same meanwhile waits, and takes it.
        var lock: MakingLock?
        if candidate.run == nil {
            lock = try await MakingLock.take(key, in: ledger.folder) {
                view.note(
                    "input \(entry.name): another `study` is making it; waiting for that run's end")
            }
            candidate = try reusable(upstream)
        }
        defer { lock?.release() }
        view.note(Self.sentence(entry, upstream, candidate))
        if let run = candidate.run {
            found[key] = run
            return run
        }
        // Their bytes are not what anybody stored; the new run's would be taken for them.
        for sha256 in candidate.spoiled { ledger.objects.remove(sha256) }
        let made = try await make(upstream, key: key, for: node, entry)
        found[key] = made
        return made
    }

    private struct Candidate {
        var run: RunRecord?
        /// Why there is none, to follow "since".
        var reason = ""
        /// Objects that are damaged.
        var spoiled: [String] = []
    }

    /// The newest run that can be taken from, or in words why there is none.
    private func reusable(_ node: StudyNode) throws -> Candidate {
        let key = try key(of: node)
        var reason: String?
        var spoiled: [String] = []
        for id in try ledger.runs(withKey: key) {
            let run = try ledger.run(id)
            if let changed = try ledger.changedInput(of: run, find: { find($0, for: node) }) {
                reason = reason ?? "\(changed) since run \(id)"
                continue
            }
            var broken: [(artifact: String, object: BrokenObject)] = []
            for want in wanted[key] ?? [] {
                guard let artifact = run.artifacts.first(where: { $0.name == want.name }) else {
                    throw noSuchArtifact(want.entry, run, of: want.asker)
                }
                broken += try ledger.brokenObjects(
                    of: artifact.sha256, isFolder: artifact.isFolder
                ).map { (artifact.name, $0) }
            }
            if let first = broken.first {
                let what = first.object.isSpoiled ? "is damaged in" : "is gone from"
                reason = reason ?? "artifact \(first.artifact) of run \(id) \(what) the store"
                spoiled += broken.filter(\.object.isSpoiled).map(\.object.sha256)
                continue
            }
            guard try ledger.sealHolds(id) == true else {
                reason = reason ?? "the record of run \(id) is not what was sealed"
                continue
            }
            return Candidate(run: run)
        }
        return Candidate(reason: try reason ?? whyNone(node), spoiled: spoiled)
    }

    /// In what the last run of this study that went through was another.
    private func whyNone(_ node: StudyNode) throws -> String {
        let name = StudyRunner.path(node.file, below: root)
        guard let id = try ledger.latestSuccess(of: name) else {
            return "no run of it has succeeded in this ledger"
        }
        let last = try ledger.run(id)
        let since = "since run \(id)"
        if last.text != node.study.text { return "its text has changed \(since)" }
        for (parameter, value) in node.values {
            let before = last.parameters.first { $0.name == parameter.name }?.value ?? "none"
            if before != "\(value)" {
                return "run \(id) had \(parameter.name)=\(before), not \(value)"
            }
        }
        if last.seed != node.seed { return "run \(id) had seed \(last.seed), not \(node.seed)" }
        if last.tier != request.tier { return "run \(id) was of the \(last.tier) tier" }
        if last.environment["engine.build"] != compiler.engineBuild {
            return "the engine was built anew \(since)"
        }
        if last.environment["swift.version"] != compiler.toolchain.version {
            return "the compiler has changed \(since)"
        }
        return "what it reads has changed \(since)"
    }

    private func make(
        _ upstream: StudyNode, key: String, for node: StudyNode, _ entry: InputEntry
    ) async throws -> RunRecord {
        var request = RunRequest(file: upstream.file)
        request.parameters = upstream.arguments
        request.seed = upstream.seed
        request.tier = self.request.tier
        request.threads = self.request.threads
        request.memory = self.request.memory
        request.requiresClean = self.request.requiresClean
        request.writable = self.request.writable
        request.ledgerRoot = root
        request.shownPath = upstream.study.path
        request.upstreams = try await links(of: upstream)
        // As if it had been typed: what a reader would type to have this run.
        request.command =
            ["study", "run", upstream.study.path] + upstream.arguments.flatMap { ["-p", $0] }
            + (upstream.seed == upstream.study.seed ? [] : ["--seed", "\(upstream.seed)"])
            + (request.tier == "portable" ? [] : ["--tier", request.tier])
            + request.writable.flatMap { ["--writable", $0] }
        let outcome = try await StudyRunner(request, view: view).run()
        RunCommand.show(outcome, view)
        func refused(_ what: String, _ mend: String) -> ProvenanceError {
            ProvenanceError(
                .upstream,
                "\(node.study.path) was not run: its input \(entry.name) comes from \(upstream.study.path), and \(what).",
                where: "\(node.study.path):\(entry.place.line)", mend: mend)
        }
        guard outcome.status == .succeeded else {
            let how =
                outcome.status == .interrupted ? "was interrupted" : outcome.status.rawValue
            throw refused(
                "run \(outcome.id) of that \(how)",
                outcome.status == .interrupted
                    ? "run \(node.study.path) again: it runs \(upstream.study.path) first"
                    : "`study show \(outcome.id)` says where; mend \(upstream.study.path), then run \(node.study.path) again"
            )
        }
        let run = try ledger.run(outcome.id)
        guard run.contentKey == key else {
            throw refused(
                "that, or what it reads, changed while it ran", "run \(node.study.path) again")
        }
        made.insert(run.id)
        return run
    }

    private func noSuchArtifact(_ entry: InputEntry, _ run: RunRecord, of study: StudyFile)
        -> StudyError
    {
        let names = run.artifacts.map(\.name)
        return StudyError(
            [
                Diagnostic(
                    path: study.path, place: entry.place,
                    message:
                        "input \(entry.name): run \(run.id) of \(run.study) saved no artifact '\(entry.artifact)'"
                        + (names.isEmpty
                            ? "; it saved none" : NearMiss.hint(entry.artifact, in: names)))
            ], text: study.text)
    }
}
