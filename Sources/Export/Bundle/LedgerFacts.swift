// Fills RunFacts from a ledger: the only place where a run's rows become what a bundle or report says.

package import Provenance

internal import Events
internal import Foundation
internal import Notebook

extension RunFacts {
    /// Reads a run whole.
    /// - Parameter name: What ``Ledger/resolve(_:)`` takes.
    package init(_ name: String, in ledger: Ledger) throws {
        self.init()
        let record = try ledger.run(name)
        fill(record)
        for index in record.series.indices {
            let from = record.series[index]
            var series = Series(cell: from.cell, name: from.name, arm: from.arm)
            let points = try ledger.points(of: from)
            series.steps = points.map(\.step)
            series.values = points.map(\.value)
            series.times = points.map(\.time.nanoseconds)
            series.proportions = from.proportions
            self.series.append(series)
        }
        fill(try ledger.companions(of: record.id))
    }

    /// Replays of this run are verdicts; all else of the study is what was tried beside it.
    private mutating func fill(_ companions: [Companion]) {
        for other in companions {
            if other.replayOf == id, let rung = other.rung {
                verdicts.append(Verdict(replay: other.id, rung: rung, detail: other.note))
                continue
            }
            attempts.append(
                Attempt(
                    id: other.id, status: other.status,
                    began: other.began,
                    seconds: other.ended.map {
                        Double($0.nanoseconds - other.began.nanoseconds) / 1e9
                    }, note: other.note, seed: other.seed, parameters: other.parameters,
                    replayOf: other.replayOf, rung: other.rung))
        }
    }

    /// Adds what only this ledger and this repository know: what each replay compared, and what the
    /// worktree had that the commit has not. Another machine's report of the same run may say less.
    package mutating func addSurroundings(from ledger: Ledger, root: String) throws {
        let details = Dictionary(
            try ledger.verdicts(of: id).map { ($0.replay, Self.words(ofVerdict: $0.json)) }
        ) { first, _ in first }
        for index in verdicts.indices {
            if let words = details[verdicts[index].replay], !words.isEmpty {
                verdicts[index].detail = words
            }
        }
        addPatches(Ledger.sourceRoot(of: try ledger.run(id), ledgerRoot: root))
    }

    private mutating func addPatches(_ root: String) {
        // A snapshot that was pruned since, or a repository that is elsewhere, leaves the list of names.
        guard let snapshot = code.snapshot, !changes.isEmpty,
            let files = try? WorktreeDifference.files(from: code.commit, to: snapshot, of: root)
        else { return }
        let byPath = Dictionary(files.map { ($0.path, $0) }) { first, _ in first }
        let data = inputs.map(\.path)
        for index in changes.indices {
            let path = changes[index].path
            guard let file = byPath[path] else { continue }
            if data.contains(where: { path == $0 || path.hasPrefix($0 + "/") }) {
                // Data may be restricted; its hash stands among the inputs.
                changes[index].note = "read by the study as data; not shown"
                continue
            }
            changes[index].patch = file.patch
            changes[index].added = file.added
            changes[index].removed = file.removed
            changes[index].note = file.note
        }
    }

    /// How many outputs were compared, how they came out, and where they differ first.
    private static func words(ofVerdict text: String) -> String {
        guard let json = JSON(parsing: Array(text.utf8)) else { return "" }
        var counts: [(rung: String, count: Int)] = []
        for output in json[key: "outputs"]?.array ?? [] {
            let rung = output[key: "verdict"]?.string ?? "not said"
            if let place = counts.firstIndex(where: { $0.rung == rung }) {
                counts[place].count += 1
            } else {
                counts.append((rung, 1))
            }
        }
        let total = counts.reduce(0) { $0 + $1.count }
        var parts = ["\(total) outputs"]
        if counts.count > 1 {
            parts[0] += ": " + counts.map { "\($0.count) \($0.rung)" }.joined(separator: ", ")
        }
        if let first = json[key: "first"] {
            let step = first[key: "step"].flatMap { step -> String? in
                if case .integer(let number) = step { return " at step \(number)" }
                return nil
            }
            parts.append(
                "first difference: \(first[key: "name"]?.string ?? "")\(step ?? "") in cell \(first[key: "id"]?.string ?? ""), \(first[key: "expected"]?.string ?? "") expected, \(first[key: "found"]?.string ?? "") found"
            )
        }
        let environment = (json[key: "environment"]?.array ?? []).compactMap {
            $0[key: "name"]?.string
        }
        if !environment.isEmpty {
            parts.append("another " + environment.prefix(6).joined(separator: ", "))
        }
        return parts.joined(separator: "; ")
    }

    private mutating func fill(_ record: RunRecord) {
        id = record.id
        study = record.study
        title = record.title
        text = record.text
        seed = String(record.seed)
        tier = record.tier
        threads = record.threads
        command = record.command
        began = record.began
        ended = record.ended
        status = record.status
        seal = record.seal?.sha256
        environment = record.environment.facts.map { ($0.name, $0.value) }
        code = record.code
        changes = record.code.changes.map { Change(path: $0.path, kind: $0.kind.rawValue) }
        parameters = record.parameters
        claims = record.claims
        inlineValues = record.inlineValues
        figures = record.figures
        items = record.items
        streams = record.streams.sorted { $0.key < $1.key }.map { ($0.key, String($0.value)) }
        digests = record.digests
        replayOf = record.replayOf
        upstreams = record.upstreams
        outputs = record.outputs
        failure = record.failures.first
        let lines = StudyText.lines(of: record.text)
        cells = record.cells.map { cell in
            let range =
                max(
                    cell.firstLine - 1, 0)..<max(
                    min(cell.lastLine, lines.count), cell.firstLine - 1, 0)
            let source =
                lines.indices.contains(range.lowerBound) || range.isEmpty
                ? lines[range].joined(separator: "\n") : ""
            return Cell(cell, source: source)
        }
        artifacts = record.artifacts.map { artifact in
            Artifact(
                cell: artifact.cell, name: artifact.name, mediaType: artifact.mediaType,
                kind: artifact.kind,
                files: artifact.isFolder
                    ? artifact.files
                    : [Member(path: "", sha256: artifact.sha256, size: artifact.size)])
        }
        fillFromStudy(record)
    }

    /// What only the front matter says: authors, licences, the release policy.
    private mutating func fillFromStudy(_ record: RunRecord) {
        let file = try? StudyFile(parsing: record.text, path: record.study)
        let matter = file?.frontMatter ?? FrontMatter()
        authors = matter.authors.map {
            Person(
                name: $0.name, affiliation: $0.affiliation.isEmpty ? nil : $0.affiliation,
                orcid: $0.orcid.isEmpty ? nil : $0.orcid)
        }
        licence = matter.licence.isEmpty ? nil : matter.licence
        release =
            matter.release.policy?.rawValue ?? (record.release.hasPrefix("{") ? "" : record.release)
        if !["", "open", "metrics-only"].contains(release) { release = "" }
        releaseReason = matter.release.reason.isEmpty ? nil : matter.release.reason
        releasesCompletions = matter.release.completions
        let folder = (record.study as NSString).deletingLastPathComponent
        let made = Set(matter.inputs.map(\.name))
        inputs = record.inputs.map { input in
            let entry = matter.datasets.first { entry in
                entry.name == input.written || entry.path == input.written
                    || (folder.isEmpty ? entry.path : folder + "/" + entry.path) == input.path
            }
            return Input(
                cell: input.cell, path: input.path, kind: input.kind,
                files: input.isFolder
                    ? input.files
                    : [Member(path: "", sha256: input.sha256, size: input.size)],
                licence: entry.flatMap { $0.licence.isEmpty ? nil : $0.licence },
                url: entry.flatMap { Self.address($0.source) },
                isRestricted: entry?.restricted ?? false,
                isMadeByProject: made.contains(input.written))
        }
    }

    private static func address(_ source: String) -> String? {
        source.hasPrefix("https://") || source.hasPrefix("http://") ? source : nil
    }
}

/// Where the bytes of a run's files are.
package struct RunStore: Sendable {
    package let objects: ObjectStore
    /// The folder that recorded paths are relative to; nil where the run happened elsewhere.
    package let root: String?

    package init(objects: ObjectStore, root: String?) {
        self.objects = objects
        self.root = root
    }

    /// The object, or the file itself where it still lies there; its digest is checked when it is read.
    package func source(_ member: RunFacts.Member, below path: String) -> ByteSource? {
        if objects.contains(member.sha256) {
            return .file(objects.path(of: member.sha256), size: member.size)
        }
        let relative = member.path.isEmpty ? path : path + "/" + member.path
        let full = relative.hasPrefix("/") ? relative : root.map { $0 + "/" + relative }
        guard let full else { return nil }
        guard let status = FileStatus(full), status.kind == .file, status.size == member.size else {
            return nil
        }
        return .file(full, size: member.size)
    }
}
