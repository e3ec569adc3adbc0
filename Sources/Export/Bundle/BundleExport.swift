// From a run's name to what is ready to be written: facts, source tree, rows, report, plan. The command
// shows the plan, then writes it.

package import Provenance

internal import Foundation

/// A bundle about to be written, and the scratch folder that some of its files lie in until then.
package final class BundleExport {
    package let plan: BundlePlan
    package let options: BundleOptions
    private let scratch: String

    /// - Parameters:
    ///   - name: What ``Ledger/resolve(_:)`` takes.
    ///   - root: The folder that the ledger lies in.
    package init(_ name: String, in ledger: Ledger, root: String, options: BundleOptions) throws {
        self.options = options
        let folder =
            FileManager.default.temporaryDirectory.path + "/study-export-\(UUID().uuidString)"
        scratch = folder
        Leftovers.add(folder)
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        do {
            let facts = try RunFacts(name, in: ledger)
            guard facts.status != .running else {
                throw ExportError(
                    .content, "Run \(facts.id) is still going on.", where: facts.study,
                    mend: "wait for its end, or stop it with Ctrl-C")
            }
            let record = try ledger.run(name)
            let source = try Self.checkOut(
                record, of: ledger, root: root, into: folder + "/tree")
            // A ledger named by `--ledger` lies elsewhere than what its runs read.
            let sourceRoot = Ledger.sourceRoot(of: record, ledgerRoot: root)
            let store = RunStore(objects: ledger.objects, root: sourceRoot)
            let patch =
                try facts.code.commit.flatMap { commit in
                    try facts.code.snapshot.flatMap {
                        try Checkout.patch(from: commit, to: $0, of: sourceRoot)
                    }
                } ?? ledger.patch(of: facts.id)
            var plan = try BundlePlan(
                facts, store: store, sourceFiles: source.files, patch: patch, options: options,
                scratch: folder, ledgerRoot: root)
            if !source.leading.isEmpty {
                plan.notes.append(
                    "Links of the source tree that lead out of it stay out, with what lies behind them: "
                        + source.leading.joined(separator: ", ") + ".")
            }
            // What is in memory or in the Git bundle by now need not lie about twice.
            let tree = folder + "/tree"
            if !plan.files.contains(where: { $0.source.lies(below: tree) }) {
                try? FileManager.default.removeItem(atPath: tree)
            }
            if source.files.isEmpty {
                plan.notes.append("No commit is on record: the source is the study alone.")
            }
            let anonymizer =
                options.isAnonymous ? Anonymizer(facts, roots: [sourceRoot, root]) : nil
            let rows = folder + "/run.sqlite"
            let hidesItems = !plan.policy.includesCompletions
            let hasPatch = plan.files.contains { $0.path == BundleLayout.patch }
            try Self.inScratch(rows) {
                _ = try ledger.extract(
                    facts.id, to: rows, hashing: hidesItems ? { ReleasePolicy.hash($0) } : nil,
                    scrubbing: anonymizer.map { anonymizer in { anonymizer.scrubbed($0) } },
                    patch: hasPatch ? patch : nil)
            }
            plan.files.append(
                PayloadFile(
                    BundleLayout.rows, .file(rows, size: BundlePlan.size(rows) ?? 0), name: "rows",
                    about: "the run's rows as a ledger of its own, which `study import` takes",
                    mediaType: "application/vnd.sqlite3"))
            try Self.addUpstreams(
                of: facts.id, in: ledger, to: &plan, hidesItems: hidesItems, folder: folder)
            // Those of another's bundle may show names.
            let drawings =
                options.isAnonymous ? nil : Drawings(broughtWith: facts.id, to: ledger)
            let report = HTMLReport(
                plan.run, policy: plan.policy, version: options.softwareVersion, drawings: drawings)
            plan.files.append(
                PayloadFile(
                    BundleLayout.report, .bytes(try report.html()), name: "report",
                    about: "the executed study as one self-contained page", mediaType: "text/html",
                    role: .report))
            plan.files += report.drawings.files(for: plan.run)
            plan.writeReadme()
            self.plan = plan
        } catch {
            try? FileManager.default.removeItem(atPath: folder)
            Leftovers.forget(folder)
            throw error
        }
    }

    /// The runs that this one took artifacts from come along: their rows, and their studies as run. A thin bundle
    /// names them with their hashes (in the manifests and the crate, which are those of the fat one) and says where
    /// they can be fetched.
    /// - Throws: ``ExportError`` with reason `.usage` where a thin bundle would have to leave out what has no address.
    private static func addUpstreams(
        of id: String, in ledger: Ledger, to plan: inout BundlePlan, hidesItems: Bool,
        folder: String
    ) throws {
        let lineage = try ledger.lineage(of: id)
        if plan.options.isAnonymous, !lineage.runs.isEmpty {
            // Their authors may be others, whose names nobody has looked for.
            plan.notes.append("Upstream runs stay here: they are named by their hashes only.")
            return
        }
        if plan.options.isThin, plan.options.fetchFrom == nil, !lineage.runs.isEmpty {
            let count = lineage.runs.count
            throw ExportError(
                .usage,
                "A thin bundle leaves \(count == 1 ? "the upstream run" : "the \(count) upstream runs") out, and nothing says where \(count == 1 ? "it" : "they") can be fetched.",
                where: "run \(id), which rests on \(lineage.runs.joined(separator: ", "))",
                mend:
                    "add --fetch-from URL, the address where the whole bundle's files will be, or export without --thin"
            )
        }
        for link in lineage.missing {
            plan.notes.append(
                "Run \(link.producer), which made \(link.artifact), is not in this ledger: it is named by its hash only."
            )
        }
        for other in lineage.runs {
            let rows = folder + "/\(other).sqlite"
            try inScratch(rows) {
                _ = try ledger.extract(
                    other, to: rows, hashing: hidesItems ? { ReleasePolicy.hash($0) } : nil)
            }
            let base = BundleLayout.upstreamRuns + other
            var files = [
                PayloadFile(
                    base + "/run.sqlite", .file(rows, size: BundlePlan.size(rows) ?? 0),
                    name: "rows of run \(other)",
                    about: "an upstream run's rows as a ledger of its own",
                    mediaType: "application/vnd.sqlite3"),
                .text(
                    base + "/study.md", try ledger.run(other).text,
                    name: "study of run \(other)", about: "an upstream run's study, as run",
                    mediaType: "text/markdown"),
            ]
            for index in files.indices {
                files[index].fetchURL = plan.fetchURL(files[index].path)
            }
            plan.files += files
        }
    }

    /// A full disk is that of the temporary files here, not the ledger's.
    private static func inScratch(_ path: String, _ body: () throws -> Void) throws {
        do {
            try body()
        } catch let error as ProvenanceError where error.reason == .diskFull {
            throw ExportError(
                .archive,
                "There is no room for a copy of the run's rows among the temporary files.",
                where: path,
                mend: "make room, or choose another folder for temporary files by TMPDIR")
        }
    }

    deinit {
        try? FileManager.default.removeItem(atPath: scratch)
        Leftovers.forget(scratch)
    }

    /// The tree that ran, where the repository or the ledger still has it.
    private static func checkOut(
        _ run: RunRecord, of ledger: Ledger, root: String, into folder: String
    ) throws -> (files: [(path: String, file: String)], leading: [String]) {
        do {
            guard try ledger.layOutSource(of: run, root: root, into: folder) else {
                return ([], [])
            }
        } catch is ProvenanceError {
            return ([], [])
        }
        let base = realPath(folder)
        // What lies behind a link is the exporter's disk, not what ran, unless the tree itself holds it.
        let files = try filesBelow(folder).filter {
            relativePath(realPath(folder + "/" + $0), to: base) != nil
        }
        return (files.map { ($0, folder + "/" + $0) }, linksOut(of: folder))
    }

    /// The symbolic links below `folder` whose own text leads out of it, whether or not there is something behind them.
    private static func linksOut(of folder: String) -> [String] {
        let manager = FileManager.default
        guard let walk = manager.enumerator(atPath: folder) else { return [] }
        return walk.compactMap { $0 as? String }.filter { path in
            guard let target = try? manager.destinationOfSymbolicLink(atPath: folder + "/" + path)
            else { return false }
            if target.hasPrefix("/") { return true }
            var depth = path.split(separator: "/").count - 1
            for part in target.split(separator: "/") where part != "." {
                depth += part == ".." ? -1 : 1
                if depth < 0 { return true }
            }
            return false
        }.sorted()
    }

    /// Writes the archive.
    /// - Parameter key: A private key of ssh-keygen; nil for an unsigned bundle.
    package func write(to path: String, format: ArchiveFormat, key: String? = nil) throws
        -> WrittenBundle
    {
        try BundleWriter(
            run: plan.run, files: plan.files, withheld: plan.withheld,
            softwareVersion: options.softwareVersion, isThin: options.isThin,
            sign: key.map { key in { try Signature.sign($0, key: key) } }
        ).write(to: path, format: format)
    }

    /// The name of a bundle for which none was given: `artifacts/STUDY-RUN.tar.zst`.
    package var defaultName: String {
        let base = plan.run.study.split(separator: "/").last.map(String.init) ?? "run"
        let stem = base.hasSuffix(".md") ? String(base.dropLast(3)) : base
        return "\(stem)-\(plan.run.shortID).tar.zst"
    }
}
