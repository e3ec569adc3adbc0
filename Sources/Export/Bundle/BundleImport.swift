// A bundle back into a ledger: its rows, its objects, the tree it ran on. Nothing of it runs, and nothing
// is taken before every hash is as exported.

package import Provenance

internal import Foundation

extension Ledger {
    /// Takes a bundle's run, its inputs and artifacts, and its source; and the rows of the runs upstream of it,
    /// whose own inputs stayed where they were.
    ///
    /// Doing it twice changes nothing. What the bundle withheld is missing here too.
    /// - Parameter path: An archive, or the folder of an unpacked bag.
    /// - Throws: ``ExportError`` with reason `.bundle` naming every fault; ``ProvenanceError``.
    package func importBundle(_ path: String, limits: ArchiveLimits = ArchiveLimits()) throws
        -> ImportReport
    {
        let scratch =
            FileManager.default.temporaryDirectory.path + "/study-import-\(UUID().uuidString)"
        Leftovers.add(scratch)
        defer {
            try? FileManager.default.removeItem(atPath: scratch)
            Leftovers.forget(scratch)
        }
        let verification: Verification
        let bag: String
        if FileStatus(path)?.kind == .folder {
            verification = try BundleVerifier.verify(path, limits: limits, signers: nil)
            guard verification.isWhole else {
                throw ExportError(
                    .bundle,
                    "The bundle is not what was exported:\n"
                        + verification.faults.map { "  \($0)" }.joined(separator: "\n"),
                    where: path, mend: "get the bundle again from its author")
            }
            bag = path
        } else {
            (verification, bag) = try BundleUnpacker.unpack(path, into: scratch, limits: limits)
        }
        let payload = bag + "/data/"
        let rows = payload + BundleLayout.rows
        guard FileStatus(rows)?.kind == .file else {
            throw ExportError(
                .bundle, "The bundle has no rows: \(BundleLayout.rows) is missing.", where: path,
                mend: "export it again with this version of `study`")
        }
        var report = try importRuns(from: rows, recordedAs: (path as NSString).lastPathComponent)
        if let hash = verification.tarSHA256, let format = verification.format {
            let record = BundleRecord(
                .imported, path: realPath(path), format: format.rawValue,
                isThin: !verification.missing.isEmpty, isSigned: verification.signature != nil,
                tarSHA256: hash, bytes: FileStatus(path)?.size ?? 0)
            for id in report.imported { try self.record(record, of: id) }
        }
        for id in report.imported + report.known {
            report.objects += try takeObjects(of: id, below: payload)
            // A run of this machine has its commit.
            if try run(id).imported != nil {
                try keep(Self.source(verification, below: payload), asSourceOf: id)
                try Drawings.keep(for: id, from: payload, in: self)
            }
            report.missing[id] = try missingObjects(of: id).count
        }
        let upstream = try importRuns(
            upstreamOf: report.imported + report.known, below: payload,
            recordedAs: (path as NSString).lastPathComponent)
        report.upstream = upstream.imported
        report.refused.merge(upstream.refused) { own, _ in own }
        return report
    }

    /// Those alone that the taken runs name as where their artifacts came from.
    private func importRuns(
        upstreamOf ids: [String], below payload: String, recordedAs name: String
    )
        throws -> ImportReport
    {
        var report = ImportReport()
        var next = try ids.flatMap { try upstreams(of: $0).map(\.producer) }
        var seen: Set<String> = []
        while let id = next.popLast() {
            guard seen.insert(id).inserted else { continue }
            let rows = payload + BundleLayout.safe(BundleLayout.upstreamRuns + id) + "/run.sqlite"
            guard FileStatus(rows)?.kind == .file else { continue }
            let own = try importRuns(from: rows, only: [id], recordedAs: name)
            report.imported += own.imported
            report.refused.merge(own.refused) { first, _ in first }
            if own.refused.isEmpty { next += try upstreams(of: id).map(\.producer) }
        }
        return report
    }

    private func takeObjects(of id: String, below payload: String) throws -> Int {
        var wanted = try missingObjects(of: id)
        var count = 0
        // A bundle holds folders as files; their manifests follow from the rows.
        let run = try run(id)
        let folders =
            run.artifacts.filter(\.isFolder).map(\.files)
            + run.inputs.filter(\.isFolder).map(\.files)
        for files in folders where wanted.remove(FolderManifest(files).digest.hex) != nil {
            _ = try objects.store(Array(FolderManifest(files).text.utf8))
            count += 1
        }
        for folder in ["inputs", "artifacts", "adapters"] where !wanted.isEmpty {
            guard FileStatus(payload + folder)?.kind == .folder else { continue }
            for name in try filesBelow(payload + folder) {
                let file = payload + folder + "/" + name
                let sha256 = try hashFile(file).digest.sha256
                guard wanted.remove(sha256) != nil else { continue }
                _ = try objects.store(file: file)
                count += 1
            }
        }
        return count
    }

    /// The tree's files with their own names: a path in a bundle may have been changed to be safe, and the
    /// crate says what it was.
    private static func source(_ found: Verification, below payload: String) -> [SourceFile] {
        let graph = found.crate?[key: "@graph"]?.array ?? []
        return graph.compactMap { entity in
            guard let id = entity[key: "@id"]?.string, let name = entity[key: "name"]?.string else {
                return nil
            }
            let place = id.removingPercentEncoding ?? id
            guard place.hasPrefix(BundleLayout.sourceFiles) else { return nil }
            let file = payload + place
            guard FileStatus(file)?.kind == .file else { return nil }
            return SourceFile(path: name, file: file, isExecutable: access(file, X_OK) == 0)
        }
    }
}
