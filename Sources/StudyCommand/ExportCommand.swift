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
            policy withholds is shown before anything is written, and leaves as a hash.
            """)

    @Argument(help: ArgumentHelp("An id, its first or last digits, or @latest.", valueName: "run"))
    var name: String

    @Option(
        name: .shortAndLong,
        help: "The file to write; its name chooses .tar.zst, .tar, .tar.gz or .zip.")
    var output: String?

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
        if let output, ArchiveFormat(path: output) == nil {
            throw ValidationError(
                "-o \(output): the name must end in .tar.zst, .tar, .tar.gz or .zip.")
        }
        if let fetchFrom, !fetchFrom.hasPrefix("https://"), !fetchFrom.hasPrefix("http://") {
            throw ValidationError("--fetch-from is an address that begins with https://.")
        }
    }

    func run() throws {
        try options.reporting {
            var wanted = BundleOptions()
            wanted.isThin = thin
            wanted.fetchFrom = fetchFrom
            wanted.isAnonymous = anonymous
            wanted.completions = completions
            wanted.softwareVersion = StudyCommand.configuration.version
            let root = options.root
            let ledger = try options.openForReading()
            let export = try BundleExport(name, in: ledger, root: root, options: wanted)
            let say: (String) -> Void = { line in
                if options.json {
                    FileHandle.standardError.write(Data((line + "\n").utf8))
                } else {
                    print(line)
                }
            }
            for line in export.plan.summary { say(line) }
            if dryRun {
                if options.json { JSONOutput.print(object(export, nil)) }
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
            say("verify it: study verify \(path)")
            if options.json { JSONOutput.print(object(export, written)) }
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
