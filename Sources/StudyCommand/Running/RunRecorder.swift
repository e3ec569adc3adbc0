// Between a session and the ledger: what the kernel says is written down and shown; what it asks for,
// files and figures, is found, hashed and answered.

internal import Events
internal import Foundation
internal import Notebook
internal import Provenance

/// Observes one session.
final class RunRecorder: SessionObserver {
    let study: StudyFile
    /// The study's file, and the folder in which its ledger lies.
    let file: String
    let root: String
    let ledger: Ledger
    let writer: RunWriter
    let view: RunView
    let scratch: String
    /// What this run takes from others, by the names of its front matter.
    let upstreams: [UpstreamLink]
    weak var session: Session?
    /// Asked about each event once it is written down; gives why the run should stop there.
    var watch: ((Event) -> String?)?
    private(set) var stopReason: String?
    /// Inputs by the name that cells write: what a bundle laid out for its replay.
    var placed: [String: Restoration.Placed] = [:]

    /// By marked cell, the key under which its values are stored.
    var stateKeys: [Int: String] = [:]

    private(set) var claims: [ClaimRecord] = []
    private var series: [String: Int] = [:]
    private(set) var metrics: [(label: String, value: Double)] = []
    private var lastSeries: (name: String, arm: String, index: Int)?

    init(
        study: StudyFile, file: String, root: String, ledger: Ledger, writer: RunWriter,
        view: RunView, scratch: String, upstreams: [UpstreamLink]
    ) {
        self.study = study
        self.file = file
        self.root = root
        self.ledger = ledger
        self.writer = writer
        self.view = view
        self.scratch = scratch
        self.upstreams = upstreams
    }

    func tick() {
        if session?.isInterrupted == true { view.stopping() }
        view.tick()
    }

    func output(cell: Int, isError: Bool, bytes: [UInt8]) throws {
        view.output(isError: isError, bytes: bytes)
        try writer.output(
            cell: cell, stream: isError ? .standardError : .standardOutput, bytes: bytes)
    }

    func observe(_ event: Event) throws -> Reply? {
        // What the kernel had sent before it was ended says nothing more.
        guard stopReason == nil else { return nil }
        defer {
            if let reason = watch?(event) {
                stopReason = reason
                session?.stop()
            }
        }
        switch event {
        case .metric(let point):
            remember(point)
            view.metric(point)
            try writer.append(event)
        case .progress(let record):
            view.progress(record)
        case .cellBegan(let cell, _):
            try writer.append(event)
            view.cellBegan(study.cells[cell])
        case .cellEnded(let cell, _):
            try writer.append(event)
            view.cellEnded(study.cells[cell])
        case .claim(let claim):
            claims.append(claim)
            view.claim(claim)
            try writer.append(event)
        case .state(let cell, let path):
            try writer.keepState(of: cell, at: path, key: stateKeys[cell] ?? "")
        case .input(let request):
            return answer(request)
        case .flush(let request):
            try writer.flush()
            return .flushed(request: request)
        default:
            try writer.append(event)
        }
        return nil
    }

    /// Keeps the last value of each series, cheaply: points of one series come in runs.
    private func remember(_ point: MetricPoint) {
        if let last = lastSeries, last.name == point.name, last.arm == point.arm {
            metrics[last.index].value = point.value
            return
        }
        let label = point.arm.isEmpty ? point.name : "\(point.name)[\(point.arm)]"
        let index = series[label] ?? metrics.count
        if index == metrics.count {
            metrics.append((label, point.value))
            series[label] = index
        } else {
            metrics[index].value = point.value
        }
        lastSeries = (point.name, point.arm, index)
    }

    // MARK: - Inputs

    private func answer(_ request: InputRequest) -> Reply {
        do {
            if let placed = placed[request.path] {
                let record = try writer.input(
                    cell: request.cell, path: placed.path, written: request.path,
                    kind: request.kind, expected: placed.sha256)
                return .input(
                    request: request.request, path: placed.path, sha256: record.sha256)
            }
            if study.frontMatter.inputs.contains(where: { $0.name == request.path }) {
                return try artifact(request)
            }
            let dataset = study.frontMatter.datasets.first {
                $0.name == request.path || $0.path == request.path
            }
            let path = Self.find(dataset?.path ?? request.path, beside: file, root: root)
            if dataset == nil, access(path, F_OK) != 0, let near = nearMiss(request.path) {
                return .refused(
                    request: request.request,
                    reason:
                        "\(request.path) names no input, dataset or file of this study; did you mean '\(near)'?"
                )
            }
            if ledger.owns(path) {
                return .refused(
                    request: request.request,
                    reason:
                        "\(request.path) belongs to the ledger that this run is written into.\n  mend:  read results of other runs through `inputs` in the front matter"
                )
            }
            let pinned = dataset.flatMap { $0.sha256.isEmpty ? nil : $0.sha256 }
            let record = try writer.input(
                cell: request.cell, path: path, written: request.path, kind: request.kind,
                expected: pinned)
            return .input(request: request.request, path: path, sha256: record.sha256)
        } catch {
            return .refused(request: request.request, reason: "\(error)")
        }
    }

    /// The name in the front matter that a misspelt one most likely stands for.
    private func nearMiss(_ name: String) -> String? {
        let matter = study.frontMatter
        return NearMiss.of(name, in: matter.inputs.map(\.name) + matter.datasets.map(\.name))
    }

    /// Relative to the study's folder, then to the root.
    static func find(_ path: String, beside file: String, root: String) -> String {
        if path.hasPrefix("/") { return path }
        let beside = StudyRunner.folder(of: file) + "/" + path
        let below = root + "/" + path
        return access(beside, F_OK) != 0 && access(below, F_OK) == 0 ? below : beside
    }

    /// An artifact of another run, laid out in this run's scratch folder.
    private func artifact(_ request: InputRequest) throws -> Reply {
        guard let link = upstreams.first(where: { $0.name == request.path }) else {
            return .refused(
                request: request.request,
                reason:
                    "input \(request.path): it is not on record what this run took it from\n  mend:  run the study anew"
            )
        }
        let place = scratch + "/inputs/" + link.name
        if access(place, F_OK) != 0 { try ledger.layOut(link, at: place) }
        let record = try writer.input(
            cell: request.cell, path: place, written: request.path, kind: request.kind,
            expected: link.sha256, from: link)
        return .input(request: request.request, path: place, sha256: record.sha256)
    }
}
