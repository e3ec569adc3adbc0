// One run of a study from file to seal: parse, compile, open the ledger, run, write down, seal. The
// commands `run` and `replay` share it; what a reader sees is RunView's business.

internal import Events
internal import Foundation
internal import Notebook
internal import Provenance

/// What to run, and how.
struct RunRequest {
    /// The study's file.
    var file: String
    /// As `-p` has them: "name=value".
    var parameters: [String] = []
    var seed: UInt64?
    /// The id of the last cell to run.
    var until: String?
    /// The id of a cell that alone is to run, with what it needs.
    var only: String?
    var tier = "portable"
    /// 0 for as many as there are cores.
    var threads = 0
    var memory: UInt64?
    var requiresClean = false
    /// What cells may write to beside the project: folders, in full.
    var writable: [String] = []
    /// The folder in which `.study` lies; found from the study where nothing is given.
    var ledgerRoot: String?
    /// The folder that stands for the repository's root when files are looked for, where that is not
    /// `ledgerRoot`: a replay's scratch worktree.
    var filesRoot: String?
    /// Inputs by the name that cells write, where they do not lie below `filesRoot`: a bundle's.
    var placed: [String: Restoration.Placed] = [:]
    /// What ran, where that is known already: a replay runs in a scratch worktree, which is not the
    /// code's identity.
    var code: CodeIdentity?
    /// How the ledger calls the study, where that is not its place below the root.
    var recordedPath: String?
    /// How messages call the study, where that is neither its file nor its recorded path.
    var shownPath: String?
    var replayOf: String?
    /// What the run takes from others, where that is settled: a replay takes what the original took.
    var upstreams: [UpstreamLink]?
    /// For a spot check: what of each training is computed.
    var segments: [TrainingSegment] = []
    /// Asked about each event; gives why the run should stop there.
    var watch: ((Event) -> String?)?
    var command: [String] = CommandLine.arguments
}

/// How a run ended.
struct RunOutcome {
    var id: String
    var status: RunStatus
    var failure: CellFailure?
    var claims: [ClaimRecord]
    /// The last value of each series, by its label, in the order of first appearance.
    var metrics: [(label: String, value: Double)]
    var seconds: Double
    var study: StudyFile
    /// What the seal found wrong, as an input that changed meanwhile.
    var sealFailure: RunFailure?
    /// The cells that were to run.
    var cells: Set<Int> = []
    /// Of a run of one cell: by cell id, why it ran, was not needed, or was left out for its stored values.
    var reasons: [(cell: String, reason: String)] = []
    /// What the run took from others, and which of their runs were made for it.
    var upstreams: [UpstreamLink] = []
    var made: Set<String> = []
}

/// Runs one study, once.
final class StudyRunner {
    let request: RunRequest
    let view: RunView

    init(_ request: RunRequest, view: RunView) {
        self.request = request
        self.view = view
    }

    /// - Throws: ``StudyError``, ``BuildError`` or ``ProvenanceError`` where no run could begin; what
    ///   goes wrong after that is in the outcome.
    func run() async throws -> RunOutcome {
        // Whoever reads our lines may stop reading (`| head`); the run goes on and is recorded.
        signal(SIGPIPE, SIG_IGN)
        let study = try StudyFile(
            contentsOf: request.file,
            path: request.shownPath ?? request.recordedPath ?? request.file)
        let node = try StudyNode(
            file: request.file, study: study, arguments: request.parameters, seed: request.seed)
        if request.upstreams == nil { try node.readInputs() }
        let values = node.values
        let last = try request.until.map { try Self.cell($0, in: study).index }
        // What ran is found out while the cells compile: in a large repository either takes a while.
        let (file, known) = (request.file, request.code)
        let identity = Task.detached { try known ?? CodeIdentity.capture(at: file) }
        let root = request.ledgerRoot ?? Ledger.root(for: request.file)
        let ledger = try Ledger.open(under: root)
        let name = request.recordedPath ?? Self.path(request.file, below: root)
        LedgerGuard.install(ledger.path)
        let compileBegan = RunView.now()
        let compiler = try await Compiler(
            cache: try BuildCache(ledger.folder + "/cache"), installation: try Installation())
        let view = self.view
        nonisolated(unsafe) let shown = view
        var program = try await compiler.compile(study, sourceName: name, through: last) {
            cell, done, total in
            shown.compiling(cell.map { study.cells[$0].id } ?? "params", done: done, total: total)
        }
        view.compiled(program.compiled, seconds: RunView.now() - compileBegan)

        let resolver = UpstreamResolver(
            request, ledger: ledger, root: root, compiler: compiler, view: view)
        let upstreams: [UpstreamLink]
        if let settled = request.upstreams {
            upstreams = settled
        } else {
            upstreams = try await resolver.resolve(node)
        }
        let key = try resolver.key(
            of: node, until: request.only.map { "only \($0)" } ?? request.until,
            inputs: upstreams.map {
                ContentKey.Input(name: $0.name, artifact: $0.artifact, key: $0.key)
            })

        var environment = EnvironmentSnapshot.collect()
        let cells = try StoredCells(
            program, node, tier: request.tier, environment: environment, upstreams: upstreams,
            ledger: ledger)
        var reasons: [(cell: Cell, reason: String)] = []
        var stored: [Int: CellState] = [:]
        if let only = request.only {
            (program, reasons, stored) = try select(
                try Self.cell(only, in: study), of: program, cells)
        } else if request.replayOf != nil || !request.segments.isEmpty {
            // What a replay gives may be wrong, and a spot check leaves most out.
            program = program.keepingNothing
        }

        let code = try await identity.value
        if request.requiresClean { try code.requireClean() }
        let seed = node.seed
        environment["swift.version"] = compiler.toolchain.version
        environment["engine.build"] = compiler.engineBuild
        environment["engine.tier"] = request.tier
        // A variable that is no number of threads is the kernel's to refuse.
        let threads =
            request.threads > 0
            ? request.threads
            : Self.wantedThreads
                ?? Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        environment["engine.threads"] = "\(threads)"
        environment["run.writes_outside"] = Confinement.fact
        for (place, folder) in request.writable.enumerated() {
            environment["run.writable.\(place + 1)"] = folder
        }

        var opening = RunOpening(
            study: name, text: study.text, title: study.title, seed: seed, tier: request.tier,
            threads: threads,
            parameters: values.map {
                RunOpening.Parameter(
                    name: $0.parameter.name, type: $0.value.swiftType, value: "\($0.value)")
            },
            cells: study.cells.map {
                RunOpening.Cell(
                    id: $0.id, firstLine: $0.firstLine, lastLine: $0.lastLine,
                    sha256: Digest(of: $0.source).hex)
            },
            tolerances: study.frontMatter.tolerances.map {
                Tolerance(
                    metric: $0.metric, absolute: $0.absolute, relative: $0.relative,
                    ulps: $0.ulps, seeds: $0.seeds)
            },
            release: Self.release(study.frontMatter.release),
            headline: study.frontMatter.headline, command: request.command,
            code: code, environment: environment, replayOf: request.replayOf)
        // A spot check leaves most of its trainings out: nobody may take from it.
        opening.contentKey = request.segments.isEmpty ? key : nil
        opening.upstreams = upstreams
        let writer = try ledger.begin(opening)
        let began = RunView.now()
        let scratch = ledger.scratchFolder + "/" + writer.id
        defer { try? FileManager.default.removeItem(atPath: scratch) }
        let recorder = RunRecorder(
            study: study, file: request.file, root: request.filesRoot ?? root, ledger: ledger,
            writer: writer,
            view: view, scratch: scratch, upstreams: upstreams)
        recorder.watch = request.watch
        recorder.placed = request.placed
        recorder.stateKeys = cells.keys
        let end: SessionEnd
        do {
            try FileManager.default.createDirectory(
                atPath: scratch, withIntermediateDirectories: true)
            for (cell, state) in stored {
                try ledger.layOut(state, at: "\(scratch)/cell-\(cell).state")
            }
            for (cell, reason) in reasons { try writer.note("run.cell.\(cell.id)", reason) }
            let running = Set(program.units.filter { $0.role == .run }.map(\.cell))
            let earlier = try ledger.latestSuccess(of: name).map { try ledger.durations(of: $0) }
            view.began(
                writer.id, study: study.path, seed: seed,
                cells: study.cells.filter { running.contains($0.index) }, durations: earlier ?? [:])
            let session = try Session(
                study, program, sourceName: name, compiler: compiler,
                limits: Session.Limits(memory: request.memory ?? study.frontMatter.memory),
                folder: Self.folder(of: request.file),
                confinement: Confinement(
                    project: [project(root, code), scratch], named: request.writable),
                observer: recorder)
            recorder.session = session
            end = await session.run(
                RunSettings(
                    runID: writer.id, study: name, seed: seed, threads: threads, tier: request.tier,
                    scratch: scratch,
                    parameters: values.map {
                        ParameterSetting(
                            name: $0.parameter.name, type: $0.value.swiftType, text: "\($0.value)")
                    }, segments: request.segments))
            if let peak = session.peakMemory {
                // Without it the run is what it was; a full disk is the seal's to tell.
                try? writer.note("run.peak_memory", "\(peak)")
            }
        } catch {
            end = .failed(
                CellFailure(
                    cell: 0, reason: .recorder, message: "\(error)", place: nil))
        }
        var outcome = try seal(writer, end, study, recorder, seconds: RunView.now() - began)
        outcome.cells = Set(program.units.filter { $0.role == .run }.map(\.cell))
        outcome.reasons = reasons.map { ($0.cell.id, $0.reason) }
        outcome.upstreams = upstreams
        outcome.made = resolver.made
        return outcome
    }

    /// The folder in which cells may write as they like: the repository's, or the study's own.
    private func project(_ root: String, _ code: CodeIdentity) -> String {
        if let root = request.filesRoot ?? code.root { return root }
        let folder = Self.folder(of: request.file)
        return relativePath(folder, to: realPath(root)) == nil ? folder : root
    }

    /// What STUDY_THREADS asks for, where it is a number of threads.
    private static var wantedThreads: Int? {
        ProcessInfo.processInfo.environment["STUDY_THREADS"].flatMap { Int($0) }
            .flatMap { (1...256).contains($0) ? $0 : nil }
    }

    /// The program with one cell and what it needs, and of every cell why it runs or does not; says so.
    private func select(_ target: Cell, of program: Program, _ cells: StoredCells) throws -> (
        Program, [(cell: Cell, reason: String)], [Int: CellState]
    ) {
        let study = cells.study
        let choices: [Int: StoredCells.Choice] =
            try request.replayOf.map {
                try cells.choices(before: target.index, of: cells.ledger.run($0))
            } ?? [:]
        var stored: [Int: CellState] = [:]
        for case (let cell, .stored(let state, _)) in choices { stored[cell] = state }
        let selection = try program.flow.selection(for: target.index, stored: Set(stored.keys)) {
            study.cells[$0].id
        }
        let needed = Set(selection.cells)
        stored = stored.filter { needed.contains($0.key) }
        var reasons: [(cell: Cell, reason: String)] = []
        for cell in study.cells {
            guard let need = selection.reasons[cell.index] else { continue }
            var reason = "it \(need)"
            var what = "does not run"
            if needed.contains(cell.index) {
                what = "runs"
                switch choices[cell.index] {
                case .stored(_, let whose):
                    what = "is not run, its stored values are used"
                    reason += ", and \(whose)"
                case .computed(let why?): reason += "; it is marked `cache: true`, but \(why)"
                default:
                    if !cell.options.isCached { reason += "; it is not marked `cache: true`" }
                }
            }
            view.note("cell '\(cell.id)' \(what): \(reason)")
            reasons.append((cell, "\(what): \(reason)"))
        }
        reasons.append((target, "runs: it is asked for"))
        return (program.only(needed, stored: Set(stored.keys)), reasons, stored)
    }

    private func seal(
        _ writer: RunWriter, _ end: SessionEnd, _ study: StudyFile, _ recorder: RunRecorder,
        seconds: Double
    ) throws -> RunOutcome {
        var outcome = RunOutcome(
            id: writer.id, status: .succeeded, claims: recorder.claims, metrics: recorder.metrics,
            seconds: seconds, study: study)
        var failure: RunFailure?
        switch end {
        case .finished:
            break
        case .interrupted(let cell):
            outcome.status = .interrupted
            failure = RunFailure(
                cell: cell, reason: "interrupted",
                message: recorder.stopReason ?? "the run was stopped by Ctrl-C",
                line: study.cells[cell].firstLine)
        case .failed(let found):
            outcome.status = .failed
            outcome.failure = found
            failure = RunFailure(
                cell: found.cell, reason: found.reason.rawValue, message: found.message,
                line: found.place?.line ?? 0, column: found.place?.column ?? 0)
        }
        let sealed = try writer.seal(outcome.status, failure: failure)
        outcome.status = sealed.status
        outcome.sealFailure = sealed.failure
        return outcome
    }

    static func cell(_ id: String, in study: StudyFile) throws -> Cell {
        if let cell = study.cell(id) {
            if cell.options.evaluated { return cell }
            throw StudyError(
                [
                    Diagnostic(
                        path: study.path, place: SourcePlace(line: cell.firstLine),
                        message: "cell '\(id)' says `eval: false`, so it never runs")
                ], text: study.text)
        }
        throw StudyError(
            [
                Diagnostic(
                    path: study.path, place: nil,
                    message: "the study has no cell '\(id)'"
                        + NearMiss.hint(id, in: study.cells.map(\.id)))
            ], text: study.text)
    }

    /// `file` relative to `root` where it lies below it, else in full.
    static func path(_ file: String, below root: String) -> String {
        let full = resolved(file)
        let base = resolved(root)
        return full.hasPrefix(base + "/") ? String(full.dropFirst(base.count + 1)) : full
    }

    static func folder(of file: String) -> String {
        (resolved(file) as NSString).deletingLastPathComponent
    }

    private static func resolved(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    /// `release` as the bundle's policy reads it: "", "open", "metrics-only", then the reason.
    static func release(_ entry: ReleaseEntry) -> String {
        guard let policy = entry.policy else { return "" }
        return policy.rawValue + (entry.completions ? " completions" : "")
            + (entry.reason.isEmpty ? "" : ": \(entry.reason)")
    }
}
