// `study diff RUN RUN`: what differs between two runs, likeliest cause of different results first.

internal import ArgumentParser
internal import Events
internal import Foundation
internal import Provenance

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff",
        abstract:
            "Show what differs between two runs: source, parameters, data, environment, outputs.",
        discussion:
            "Causes are ranked by how likely they change results; outputs follow in the order of the run."
    )

    @Argument(help: "The first run.")
    var first: String

    @Argument(help: "The second run.")
    var second: String = "@latest"

    @OptionGroup var options: LedgerOptions

    func run() throws {
        try options.reporting {
            let ledger = try options.openForReading()
            let a = try ledger.run(first, points: true)
            let b = try ledger.run(second, points: true)
            let causes = RunDifference.causes(a, b)
            let verdict = Comparison.verdict(of: b, against: a, objects: ledger.objects)
            if options.json {
                JSONOutput.print([
                    "first": a.id, "second": b.id,
                    "first_difference": verdict.json["first"] ?? NSNull(),
                    "same": causes.isEmpty && verdict.rung == .sameBits,
                    "causes": causes.map {
                        ["what": $0.what, "first": $0.first, "second": $0.second]
                    },
                    "outputs": verdict.json["outputs"] ?? [],
                ])
                return
            }
            var text = "\(a.id) (first) and \(b.id) (second)\n"
            text += causes.isEmpty ? "nothing that went in differs\n" : "what went in\n"
            for cause in causes {
                text += "  \(cause.what): \(cause.first) → \(cause.second)\n"
                for line in cause.detail { text += "    \(line)\n" }
            }
            let differing = verdict.outputs.filter { $0.rung != .sameBits }
            text +=
                differing.isEmpty
                ? "what came out is the same in every bit (\(verdict.outputs.count) outputs)\n"
                : "what came out\n"
            for output in differing.prefix(40) {
                text +=
                    "  \(output.rung.text): "
                    + (output.difference?.text ?? "\(output.kind.rawValue) \(output.name)") + "\n"
            }
            if let first = verdict.first { text += "first difference\n  \(first.text)\n" }
            if differing.count > 40 { text += "  and \(differing.count - 40) more\n" }
            printAll(text)
        }
    }
}
