// What the commands that read the ledger share: where it is, how their answer is printed.

internal import ArgumentParser
internal import Events
internal import Foundation
internal import Provenance

struct LedgerOptions: ParsableArguments {
    @Option(help: ArgumentHelp("The folder that holds .study.", valueName: "folder"))
    var ledger: String?

    @Flag(help: "Print one JSON object, the last line of standard output.")
    var json = false

    /// Beside the repository of the working directory, unless `--ledger` says otherwise.
    var root: String { ledger ?? Ledger.root(for: FileManager.default.currentDirectoryPath) }

    func openForReading() throws -> Ledger { try Ledger.openForReading(root) }
    func open() throws -> Ledger { try Ledger.open(under: root) }

    /// For writing into a ledger that must be there: only `run` and `import` make one.
    func openExisting() throws -> Ledger {
        let root = root
        return FileManager.default.fileExists(atPath: root + "/.study/ledger.sqlite")
            ? try Ledger.open(under: root) : try Ledger.openForReading(root)
    }

    /// Runs a command's body; errors are told as every command tells them.
    func reporting(_ body: () throws -> Void) throws {
        do {
            try body()
        } catch let exit as ExitCode {
            throw exit
        } catch let error as ProvenanceError where error.isUsage {
            _ = Failures.report(error, json: json)
            throw ExitCode(ExitStatus.wrongUsage)
        } catch {
            throw Failures.report(error, json: json)
        }
    }
}

extension ProvenanceError {
    /// A ledger or a run that does not exist and a filter that cannot be read are wrong usage.
    var isUsage: Bool {
        [.noLedger, .noSuchRun, .ambiguousRun, .badFilter].contains(reason)
    }
}

/// Prints text in one write; a listing of ten thousand runs is one call.
func printAll(_ text: String) {
    FileHandle.standardOutput.write(Data(text.utf8))
}

/// A span of time as people read it: "0.4 s", "3 min 12 s", "2 h 5 min".
func span(_ began: Timestamp, _ ended: Timestamp?) -> String {
    guard let ended else { return "" }
    let seconds = Double(ended.nanoseconds - began.nanoseconds) / 1e9
    if seconds < 60 { return "\((seconds * 10).rounded() / 10) s" }
    if seconds < 3600 { return "\(Int(seconds) / 60) min \(Int(seconds) % 60) s" }
    return "\(Int(seconds) / 3600) h \(Int(seconds) / 60 % 60) min"
}

/// A size as people read it.
func size(_ bytes: Int64) -> String {
    let units = ["B", "KiB", "MiB", "GiB", "TiB"]
    var value = Double(bytes)
    var unit = 0
    while value >= 1024, unit + 1 < units.count {
        value /= 1024
        unit += 1
    }
    return unit == 0 ? "\(bytes) B" : "\((value * 10).rounded() / 10) \(units[unit])"
}
