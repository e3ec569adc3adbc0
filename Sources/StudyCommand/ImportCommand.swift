// `study import LEDGER`: another machine's runs into this ledger.

internal import ArgumentParser
internal import Foundation
internal import Provenance

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Copy another ledger's sealed runs into this one.",
        discussion: "Each run's seal is checked first. Importing twice changes nothing.")

    @Argument(
        help: "A ledger.sqlite, or the folder whose .study holds one.", completion: .directory)
    var source: String

    @OptionGroup var options: LedgerOptions

    func run() throws {
        try options.reporting {
            let report = try options.open().importRuns(from: source)
            if options.json {
                JSONOutput.print([
                    "imported": report.imported, "known": report.known, "refused": report.refused,
                    "objects": report.objects,
                ])
            } else {
                for id in report.imported { print("imported  \(id)") }
                for (id, reason) in report.refused.sorted(by: { $0.key < $1.key }) {
                    print("refused   \(id): \(reason)")
                }
                print(
                    "\(report.imported.count) imported, \(report.known.count) here already, "
                        + "\(report.refused.count) refused, \(report.objects) objects copied")
            }
            if !report.refused.isEmpty { throw ExitCode(ExitStatus.studyFailed) }
        }
    }
}
