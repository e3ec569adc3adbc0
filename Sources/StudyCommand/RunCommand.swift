// `study run FILE.md`.

internal import ArgumentParser
internal import Events
internal import Foundation
internal import Notebook
internal import Provenance

struct RunCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "run",
        abstract: "Compile a study's cells, run them in order, and record everything.",
        discussion: """
            Nothing runs until everything compiles. Exit status: 0 when the study went through, 1 when it \
            failed, 2 for wrong usage, 3 when a claim failed under --strict. Ctrl-C once asks the cell to \
            stop; twice ends it. `study run FILE --help` lists that study's parameters.

            A study whose front matter says `inputs: {aligned: {study: other.md, artifact: aligned}}` takes that \
            artifact from the newest run of other.md with the same text, parameters, seed, data and engine; \
            where there is none, other.md runs first.

            Cells, and the programs that they start, may read what you may; they write below the project (the \
            repository, or the study's folder), the temporary folder and /dev, and nowhere else: Linux refuses it \
            (Landlock, Linux 5.19 or later; `study doctor` says whether it is there).
            """)

    @Argument(help: "The study's Markdown file.", completion: .file(extensions: ["md"]))
    var file: String

    @Option(
        name: [.short, .customLong("param")],
        help: ArgumentHelp("Set a parameter of the study.", valueName: "name=value"))
    var p: [String] = []

    @Option(help: "The root seed, instead of the study's own.")
    var seed: UInt64?

    @Option(help: ArgumentHelp("Stop after this cell.", valueName: "id"))
    var until: String?

    @Flag(help: "Exit with status 3 when a claim does not hold.")
    var strict = false

    @Flag(help: "Refuse to run when the Git worktree differs from its commit.")
    var requireClean = false

    @Option(help: "Threads of the engine; 0 for as many as there are cores.")
    var threads = 0

    @Option(help: "Arithmetic: portable (the same bits anywhere) or blas.")
    var tier = "portable"

    @Option(help: "End the study when it holds more memory than this, as 8G.")
    var memory: String?

    @Option(
        help: ArgumentHelp(
            "Let cells write below this folder too; may be given again.", valueName: "folder"))
    var writable: [String] = []

    @Option(help: ArgumentHelp("The folder that holds .study.", valueName: "folder"))
    var ledger: String?

    @Flag(
        help: "Print one JSON object, the last line of standard output; all else on standard error."
    )
    var json = false

    func validate() throws {
        guard tier == "portable" || tier == "blas" else {
            throw ValidationError("--tier is portable or blas, not '\(tier)'.")
        }
        if let memory, Size.bytes(memory) == nil {
            throw ValidationError("--memory is a size such as 512M or 8G, not '\(memory)'.")
        }
        try WritableFolders.check(writable)
        guard threads >= 0 else { throw ValidationError("--threads cannot be negative.") }
    }

    func run() async throws {
        let view = RunView(usesErrorStream: json)
        var request = RunRequest(file: file)
        request.parameters = p
        request.seed = seed
        request.until = until
        request.threads = threads
        request.tier = tier
        request.memory = memory.flatMap(Size.bytes)
        request.requiresClean = requireClean
        request.writable = writable.map(realPath)
        // Cells run in the study's folder: a relative path would mean another place there.
        request.ledgerRoot = ledger.map { URL(fileURLWithPath: $0).standardizedFileURL.path }
        let outcome: RunOutcome
        do {
            outcome = try await StudyRunner(request, view: view).run()
        } catch {
            view.finish()
            throw Failures.report(error, json: json)
        }
        view.finish()
        Self.show(outcome, view)
        if !json, outcome.status == .succeeded { showNext(outcome, view) }
        let failed = outcome.claims.filter { !$0.holds }.count
        if json { JSONOutput.print(Self.object(outcome)) }
        switch outcome.status {
        case .succeeded:
            if strict, failed > 0 { throw ExitCode(ExitStatus.claimFailed) }
        default:
            throw ExitCode(ExitStatus.studyFailed)
        }
    }

    /// The last lines: what was measured, how it ended, and where it went wrong.
    static func show(_ outcome: RunOutcome, _ view: RunView) {
        if let failure = outcome.failure { view.note(failure.rendered(outcome.study)) }
        if let failure = outcome.sealFailure, outcome.failure == nil, outcome.status == .failed {
            view.note(failure.message)
        }
        let shown = outcome.metrics.suffix(6).map {
            "\($0.label) \(String(format: "%.5g", $0.value))"
        }
        if !shown.isEmpty, outcome.status == .succeeded {
            view.note(shown.joined(separator: " · "))
        }
        let held = outcome.claims.filter(\.holds).count
        let claims =
            outcome.claims.isEmpty ? "" : ", \(held) of \(outcome.claims.count) claims hold"
        let cell = outcome.failure.map { " in cell '\(outcome.study.cells[$0.cell].id)'" } ?? ""
        view.ended(
            "run \(outcome.id) \(outcome.status.rawValue)\(cell) after \(RunView.time(outcome.seconds))\(claims)",
            isGood: outcome.status == .succeeded && held == outcome.claims.count)
    }

    /// What to type next, in words that can be pasted: the command as it was typed, the run by name.
    private func showNext(_ outcome: RunOutcome, _ view: RunView) {
        let command = CommandLine.arguments[0]
        let place = ledger.map { " --ledger \(Self.quoted($0))" } ?? ""
        let name = ((file as NSString).lastPathComponent as NSString).deletingPathExtension
        let prefix = "\(Self.quoted(command))"
        view.note("next:  \(prefix) report \(outcome.id)\(place) -o \(Self.quoted(name)).html")
        view.note("       \(prefix) replay \(outcome.id)\(place)")
        view.note("       \(prefix) export \(outcome.id)\(place) -o \(Self.quoted(name)).tar.zst")
    }

    /// A word as a shell takes it.
    static func quoted(_ word: String) -> String {
        let plain = word.allSatisfy { $0.isLetter || $0.isNumber || "-_./=+:@".contains($0) }
        return plain ? word : "'" + word.replacing("'", with: "'\\''") + "'"
    }

    static func object(_ outcome: RunOutcome) -> [String: Any] {
        var object: [String: Any] = [
            "run": outcome.id, "status": outcome.status.rawValue,
            "study": outcome.study.path, "seconds": (outcome.seconds * 1000).rounded() / 1000,
            "metrics": Dictionary(
                outcome.metrics.map { ($0.label, JSONOutput.number($0.value)) },
                uniquingKeysWith: { $1 }),
            "claims": outcome.claims.map {
                ["text": $0.text, "holds": $0.holds, "evidence": $0.evidence] as [String: Any]
            },
        ]
        if !outcome.upstreams.isEmpty {
            object["inputs"] = outcome.upstreams.map {
                [
                    "name": $0.name, "study": $0.study, "artifact": $0.artifact, "run": $0.producer,
                    "sha256": $0.sha256, "reused": !outcome.made.contains($0.producer),
                ] as [String: Any]
            }
        }
        if let failure = outcome.failure {
            object["failure"] =
                [
                    "cell": outcome.study.cells[failure.cell].id, "reason": failure.reason.rawValue,
                    "message": failure.message, "line": failure.place?.line ?? 0,
                    "column": failure.place?.column ?? 0,
                ] as [String: Any]
        }
        return object
    }
}
