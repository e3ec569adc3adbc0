// `study gc`: shows what no run needs, and removes it when told to.

internal import ArgumentParser
internal import Foundation
internal import Provenance

struct GcCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "gc", abstract: "Show what no run needs any more; remove it with --delete.",
        discussion:
            "Nothing that a run in the ledger names is ever removed, and nothing younger than an hour. With --states the stored values of cells marked `cache: true` are shown too: without them `replay --cell` runs those cells."
    )

    @Flag(help: "Remove what is shown.")
    var delete = false

    @Flag(help: "The values of cells marked `cache: true` too; only `replay --cell` uses them.")
    var states = false

    @OptionGroup var options: LedgerOptions

    func run() throws {
        try options.reporting {
            let ledger = try options.openExisting()
            let garbage = try ledger.garbage(states: states)
            if delete { try ledger.remove(garbage) }
            if options.json {
                JSONOutput.print([
                    "objects": garbage.objects, "states": garbage.states,
                    "scratch": garbage.scratch,
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
            for sha256 in garbage.states { print("state      \(sha256)") }
            for name in garbage.scratch { print("scratch    \(name)") }
            for name in garbage.references { print("reference  \(name)") }
            print(
                delete
                    ? "removed, \(size(garbage.bytes)) freed"
                    : "\(size(garbage.bytes)) could be freed: study gc \(states ? "--states " : "")--delete"
            )
        }
    }
}
