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
        status = Status(rawValue: record.status.rawValue) ?? .lost
        seal = record.seal?.sha256
        environment = record.environment.facts.map { ($0.name, $0.value) }
        commit = record.code.commit
        branch = record.code.branch
        remote = record.code.remote
        snapshot = record.code.snapshot
        changes = record.code.changes.map { Change(path: $0.path, kind: $0.kind.rawValue) }
        parameters = record.parameters.map {
            Parameter(name: $0.name, type: $0.type, value: $0.value)
        }
        claims = record.claims
        inlineValues = record.inlineValues
        figures = record.figures.map {
            Figure(
                cell: $0.cell, title: $0.title, alternativeText: $0.alternativeText,
                script: $0.script,
                data: $0.data)
        }
        items = record.items
        streams = record.streams.sorted { $0.key < $1.key }.map { ($0.key, String($0.value)) }
        digests = record.digests
        replayOf = record.replayOf
        outputs = record.outputs.map {
            Output(
                cell: $0.cell, stream: $0.stream == .standardOutput ? "stdout" : "stderr",
                bytes: $0.bytes)
        }
        if let first = record.failures.first {
            failure = Failure(
                cell: first.cell, reason: first.reason, message: first.message, line: first.line)
        }
        let lines = StudyText.lines(of: record.text)
        cells = record.cells.map { cell in
            let range =
                max(
                    cell.firstLine - 1, 0)..<max(
                    min(cell.lastLine, lines.count), cell.firstLine - 1, 0)
            let source =
                lines.indices.contains(range.lowerBound) || range.isEmpty
                ? lines[range].joined(separator: "\n") : ""
            return Cell(
                id: cell.id, firstLine: cell.firstLine, lastLine: cell.lastLine, source: source,
                sha256: cell.sha256, state: cell.state, began: cell.began, ended: cell.ended)
        }
        artifacts = record.artifacts.map { artifact in
            Artifact(
                cell: artifact.cell, name: artifact.name, mediaType: artifact.mediaType,
                kind: artifact.kind,
                files: artifact.isFolder
                    ? artifact.files.map { Member(path: $0.path, sha256: $0.sha256, size: $0.size) }
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
                    ? input.files.map { Member(path: $0.path, sha256: $0.sha256, size: $0.size) }
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
