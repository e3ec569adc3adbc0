// `study export RUN`: shows what leaves and what does not, then writes the bundle.

internal import ArgumentParser
internal import Export
internal import Foundation
internal import Provenance

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export",
        abstract: "Write a run as a bundle that a reviewer can verify offline.",
        discussion: """
            One archive: a BagIt bag whose data is an RO-Crate (Provenance Run Crate 0.5). The same run gives \
            the same bytes; the printed hash is of the tar within, whatever it is packed in. What the release \
            policy withholds is shown before anything is written, and leaves as a hash. --format ipynb writes \
            the executed study as a Jupyter notebook; --format mlflow adds the run to a file store of MLflow.
            """)

    @Argument(help: ArgumentHelp("An id, its first or last digits, or @latest.", valueName: "run"))
    var name: String

    @Option(
        name: .shortAndLong,
        help:
            "The file to write; its name chooses .tar.zst, .tar, .tar.gz or .zip. MLflow's store is a folder."
    )
    var output: String?

    @Option(help: "bundle, ipynb (Jupyter) or mlflow.")
    var format: ExportFormat = .bundle

    @Flag(help: "Leave out what can be fetched elsewhere, and say where in fetch.txt.")
    var thin = false

    @Option(
        help: ArgumentHelp("Where the whole bundle's files will be, for --thin.", valueName: "url"))
    var fetchFrom: String?

    @Flag(help: "For double-blind review: without names, hosts, remotes and paths.")
    var anonymous = false

    @Flag(help: "Answers to restricted prompts as text, not as hashes and labels.")
    var completions = false

    @Option(help: ArgumentHelp("Sign with this private key, by ssh-keygen.", valueName: "key"))
    var sign: String?

    @Flag(help: "Show what would leave, and write nothing.")
    var dryRun = false

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        if let output { try validate(output) }
        if format != .bundle {
            let given = [
                ("--thin", thin), ("--fetch-from", fetchFrom != nil), ("--sign", sign != nil),
                ("--completions", completions && format == .ipynb),
            ]
            if let (flag, _) = given.first(where: \.1) {
                throw ValidationError(
                    "\(flag) is for \(flag == "--completions" ? "bundles and MLflow" : "bundles"); --format \(format.rawValue) does not take it."
                )
            }
        }
        if let fetchFrom, !fetchFrom.hasPrefix("https://"), !fetchFrom.hasPrefix("http://") {
            throw ValidationError("--fetch-from is an address that begins with https://.")
        }
    }

    private func validate(_ output: String) throws {
        switch format {
        case .bundle where output.hasSuffix(".ipynb"):
            throw ValidationError("-o \(output): a notebook is written with --format ipynb.")
        case .bundle where ArchiveFormat(path: output) == nil:
            throw ValidationError(
                "-o \(output): the name must end in .tar.zst, .tar, .tar.gz or .zip.")
        case .ipynb where !output.hasSuffix(".ipynb"):
            throw ValidationError("-o \(output): a notebook's name must end in .ipynb.")
        case .mlflow where ArchiveFormat(path: output) != nil || output.hasSuffix(".ipynb"):
            throw ValidationError(
                "-o \(output): MLflow's store is a folder, such as mlruns; only a bundle is an archive."
            )
        default: break
        }
    }

    func run() throws {
        try Leftovers.removed(
            onInterrupt: "Interrupted: nothing was written, and nothing is left behind."
        ) {
            try export()
        }
    }

    private func export() throws {
        try options.reporting {
            var wanted = BundleOptions()
            wanted.isThin = thin
            wanted.fetchFrom = fetchFrom
            wanted.isAnonymous = anonymous
            wanted.completions = completions
            wanted.softwareVersion = StudyCommand.configuration.version
            let root = options.root
            let ledger = try options.openForReading()
            let say: (String) -> Void = { line in
                if options.json {
                    FileHandle.standardError.write(Data((line + "\n").utf8))
                } else {
                    print(line)
                }
            }
            if format == .ipynb {
                let notebook = try NotebookExport(name, in: ledger, root: root, options: wanted)
                try write(notebook, say)
                return
            }
            let export = try BundleExport(name, in: ledger, root: root, options: wanted)
            for line in export.plan.summary { say(line) }
            if dryRun {
                try export.plan.rehearse()
                if options.json { JSONOutput.print(object(export, nil)) }
                return
            }
            if format == .mlflow {
                try writeMLflow(export, say)
                return
            }
            let path = output ?? "artifacts/" + export.defaultName
            try FileManager.default.createDirectory(
                at: URL(fileURLWithPath: path).deletingLastPathComponent(),
                withIntermediateDirectories: true)
            let written = try export.write(to: path, format: ArchiveFormat(path: path)!, key: sign)
            say(
                "wrote \(path): \(written.fileCount) files, \(Words.bytes(written.identity.archiveBytes))"
            )
            say("sha256 of the tar within: \(written.identity.tarSHA256)")
            if let note = note(written, of: export, in: ledger) { say("note: " + note) }
            say("verify it: study verify \(RunCommand.quoted(path))")
            if options.json { JSONOutput.print(object(export, written)) }
        }
    }

    /// Puts the export on record. The archive is whole, so what goes wrong here is told and no more.
    private func note(_ written: WrittenBundle, of export: BundleExport, in ledger: Ledger)
        -> String?
    {
        do {
            try ledger.record(
                BundleRecord(
                    .exported, path: URL(fileURLWithPath: written.path).standardizedFileURL.path,
                    format: written.format.rawValue, isThin: thin, isAnonymous: anonymous,
                    isSigned: sign != nil, tarSHA256: written.identity.tarSHA256,
                    bytes: written.identity.archiveBytes), of: export.plan.run.id)
            return nil
        } catch let error as ProvenanceError where error.reason == .readOnly {
            return "this ledger may only be read: the export and its hash are not on record in it"
        } catch {
            return "the export and its hash are not on record in the ledger:\n\(error)"
        }
    }

    private func write(_ notebook: NotebookExport, _ say: (String) -> Void) throws {
        for line in notebook.summary { say(line) }
        var object: [String: Any] = [
            "run": notebook.run.id, "policy": notebook.policy.mode.rawValue,
            "reason": notebook.policy.reason,
        ]
        if !dryRun {
            let path = output ?? "artifacts/" + notebook.defaultName
            let bytes = notebook.document()
            try Failures.write(bytes, to: path)
            say("wrote \(path), \(Words.bytes(Int64(bytes.count)))")
            object["path"] = path
            object["bytes"] = bytes.count
        }
        if options.json { JSONOutput.print(object) }
    }

    private func writeMLflow(_ export: BundleExport, _ say: (String) -> Void) throws {
        let folder = output ?? "artifacts/mlruns"
        let written = try MLflowLayout.write(export.plan, to: folder)
        say(
            "wrote run \(written.run) of experiment \"\(written.experiment)\" into \(folder), with \(written.fileCount) files as artifacts"
        )
        say("look at it: mlflow ui --backend-store-uri \(RunCommand.quoted(folder))")
        if options.json {
            var object = object(export, nil)
            object["path"] = folder
            object["mlflow_run"] = written.run
            JSONOutput.print(object)
        }
    }

    private func object(_ export: BundleExport, _ written: WrittenBundle?) -> [String: Any] {
        var object: [String: Any] = [
            "run": export.plan.run.id, "policy": export.plan.policy.mode.rawValue,
            "reason": export.plan.policy.reason, "files": export.plan.files.count,
            "withheld": export.plan.withheld.map {
                ["path": $0.path, "sha256": $0.sha256, "size": Int($0.size), "reason": $0.reason]
                    as [String: Any]
            }, "notes": export.plan.notes,
        ]
        if let written {
            object["path"] = written.path
            object["tar_sha256"] = written.identity.tarSHA256
            object["tag_manifest_sha256"] = written.tagManifestSHA256
            object["bytes"] = Int(written.identity.archiveBytes)
        }
        return object
    }
}

extension ExportFormat: ExpressibleByArgument {}
