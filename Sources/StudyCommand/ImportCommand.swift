// `study import LEDGER|BUNDLE`: another machine's runs into this ledger.

internal import ArgumentParser
internal import Export
internal import Foundation
internal import Provenance

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import",
        abstract: "Copy another ledger's sealed runs, or a bundle's run, into this one.",
        discussion: """
            Each run's seal is checked first, and a bundle's every hash (exit status 5 where one is wrong). \
            Importing twice changes nothing. What a bundle withheld is missing here too.
            """)

    @Argument(
        help:
            "A ledger.sqlite, the folder whose .study holds one, or a bundle (.tar.zst, .tar, .tar.gz, .zip, or unpacked).",
        completion: .file())
    var source: String

    @OptionGroup var options: LedgerOptions

    func run() throws {
        try options.reporting {
            let report = try Leftovers.removed(
                onInterrupt:
                    "Interrupted: what was unpacked is removed; import it again to go on."
            ) { try read() }
            if options.json {
                JSONOutput.print([
                    "imported": report.imported, "upstream": report.upstream,
                    "known": report.known, "refused": report.refused,
                    "objects": report.objects, "missing": report.missing.values.reduce(0, +),
                ])
            } else {
                for id in report.imported { print("imported  \(id)") }
                for id in report.upstream { print("upstream  \(id): its rows") }
                for (id, reason) in report.refused.sorted(by: { $0.key < $1.key }) {
                    print("refused   \(id): \(reason)")
                }
                for (id, count) in report.missing.sorted(by: { $0.key < $1.key }) where count > 0 {
                    print(
                        "withheld  \(id): \(count) \(count == 1 ? "file" : "files") stayed with its author"
                    )
                }
                print(
                    "\(report.imported.count) imported, \(report.known.count) here already, "
                        + "\(report.refused.count) refused, \(report.objects) objects copied")
            }
            if !report.refused.isEmpty { throw ExitCode(ExitStatus.studyFailed) }
        }
    }

    private func read() throws -> ImportReport {
        guard FileManager.default.fileExists(atPath: source) else {
            throw ProvenanceError(
                .noLedger, "There is nothing at \(source).", where: source,
                mend: "name a ledger.sqlite, the folder whose .study holds one, or a bundle")
        }
        guard Self.isBundle(source) else { return try options.open().importRuns(from: source) }
        return try options.open().importBundle(source)
    }

    /// A file that is no SQLite database, or a folder with a bag's declaration.
    private static func isBundle(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        _ = FileManager.default.fileExists(atPath: path, isDirectory: &isFolder)
        if isFolder.boolValue {
            return FileManager.default.fileExists(atPath: path + "/bagit.txt")
        }
        let head = FileHandle(forReadingAtPath: path)?.readData(ofLength: 15) ?? Data()
        return head != Data("SQLite format 3".utf8)
    }
}
