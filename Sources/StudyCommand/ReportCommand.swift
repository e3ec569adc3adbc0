// `study report RUN`: the executed study as one page; of several runs, a comparison.

internal import ArgumentParser
internal import Export
internal import Foundation
internal import Provenance

struct ReportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "report",
        abstract: "Write a run as one self-contained page, or compare runs.",
        discussion: """
            The page needs no network and runs no script. With several runs, metrics and figures stand side by \
            side, with what differed between the runs.
            """)

    @Argument(help: ArgumentHelp("Ids, their first or last digits, or @latest.", valueName: "run"))
    var names: [String]

    @Option(name: .shortAndLong, help: "The file to write.")
    var output: String?

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        guard (1...8).contains(names.count) else {
            throw ValidationError("study report takes one run, or up to eight to compare.")
        }
    }

    func run() throws {
        try options.reporting {
            let ledger = try options.openForReading()
            var runs: [RunFacts] = []
            for name in names {
                let facts = try RunFacts(name, in: ledger)
                runs.append(facts)
            }
            let version = StudyCommand.configuration.version
            let html =
                try runs.count == 1
                ? HTMLReport(runs[0], version: version).html()
                : ComparisonReport(runs, version: version).html()
            let path =
                output ?? "artifacts/report-" + runs.map(\.shortID).joined(separator: "-") + ".html"
            let url = URL(fileURLWithPath: path)
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(html).write(to: url, options: .atomic)
            print("wrote \(path), \(Words.bytes(Int64(html.count)))")
            if options.json {
                JSONOutput.print(["path": path, "bytes": html.count, "runs": runs.map(\.id)])
            }
        }
    }
}
