// `study gc`: shows what no run needs, and removes it when told to.

internal import ArgumentParser
internal import Foundation
internal import Provenance

struct GcCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Show what no run needs any more; remove it with --delete.",
        discussion:
            "Nothing that a run in the ledger names is ever removed, and nothing younger than an hour."
    )

    @Flag(help: "Remove what is shown.")
    var delete = false

    @OptionGroup var options: LedgerOptions

    func run() throws {
        try options.reporting {
            let ledger = try options.openExisting()
            let garbage = try ledger.garbage()
            if delete { try ledger.remove(garbage) }
            if options.json {
                JSONOutput.print([
                    "objects": garbage.objects, "scratch": garbage.scratch,
                    "references": garbage.references,
                    "bytes": garbage.bytes, "deleted": delete,
                ])
                return
            }
            guard !garbage.isEmpty else {
                print("Nothing to remove: every object is needed by a run.")
                return
            }
            for sha256 in garbage.objects { print("object     \(sha256)") }
            for name in garbage.scratch { print("scratch    \(name)") }
            for name in garbage.references { print("reference  \(name)") }
            print(
                delete
                    ? "removed, \(size(garbage.bytes)) freed"
                    : "\(size(garbage.bytes)) could be freed: study gc --delete")
        }
    }
}
