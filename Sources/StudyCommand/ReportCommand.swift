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
            The page needs no network and runs no script. With several runs, figures are laid over each other, \
            metrics stand side by side, and what differed between the runs comes first.
            """)

    @Argument(help: ArgumentHelp("Ids, their first or last digits, or @latest.", valueName: "run"))
    var names: [String]

    @Option(name: .shortAndLong, help: "The file to write.")
    var output: String?

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        guard names.count <= 8 else {
            throw ValidationError(
                "study report takes one run, or up to eight to compare; \(names.count) were named.")
        }
        if let output, ![".html", ".htm"].contains(where: { output.lowercased().hasSuffix($0) }) {
            throw ValidationError("-o \(output): a report's name must end in .html.")
        }
    }

    func run() throws {
        try options.reporting {
            let ledger = try options.openForReading()
            var runs: [RunFacts] = []
            for name in names {
                var facts = try RunFacts(name, in: ledger)
                try facts.addSurroundings(from: ledger, root: options.root)
                if let twice = runs.first(where: { $0.id == facts.id }) {
                    throw ProvenanceError(
                        .badFilter, "Run \(twice.id) was named twice (the second time as \(name)).",
                        where: "study report", mend: "name two different runs to compare them")
                }
                runs.append(facts)
            }
            let version = StudyCommand.configuration.version
            let html =
                try runs.count == 1
                ? HTMLReport(
                    runs[0], version: version,
                    drawings: Drawings(broughtWith: runs[0].id, to: ledger)
                ).html()
                : ComparisonReport(runs, version: version).html()
            let path =
                output ?? "artifacts/report-" + runs.map(\.shortID).joined(separator: "-") + ".html"
            try Failures.write(html, to: path)
            if !options.json { print("wrote \(path), \(Words.bytes(Int64(html.count)))") }
            if options.json {
                JSONOutput.print(["path": path, "bytes": html.count, "runs": runs.map(\.id)])
            }
        }
    }
}
