// The `study` executable: a list of subcommands, each in a file of its own.

internal import ArgumentParser
internal import Foundation
internal import Notebook

struct StudyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "study",
        abstract: "Runs a Markdown study, records it, and runs it again to the same bits.",
        version: "0.1.0",
        subcommands: [
            RunCommand.self, ListCommand.self, ShowCommand.self, DiffCommand.self,
            ReplayCommand.self,
            CheckCommand.self, ExportCommand.self, VerifyCommand.self, InspectCommand.self,
            ReportCommand.self, DoctorCommand.self, GcCommand.self, ImportCommand.self,
        ])
}

@main
enum Main {
    static func main() async {
        let arguments = CommandLine.arguments.dropFirst()
        if arguments == ["--version"] {
            print(StudyCommand.configuration.version)
            return
        }
        refuseUnknownVerb(arguments.first)
        await runHelp(Array(arguments))
        // ArgumentParser's own status for wrong usage is 64; ours is 2.
        do {
            var command = try StudyCommand.parseAsRoot()
            if var asynchronous = command as? any AsyncParsableCommand {
                try await asynchronous.run()
            } else {
                try command.run()
            }
        } catch let status as ExitCode {
            Foundation.exit(status.rawValue)
        } catch {
            let text = StudyCommand.fullMessage(for: error)
            let isHelp = StudyCommand.exitCode(for: error).isSuccess
            FileHandle(fileDescriptor: isHelp ? 1 : 2).write(Data((text + "\n").utf8))
            Foundation.exit(isHelp ? ExitStatus.success : ExitStatus.wrongUsage)
        }
    }

    /// A word that is no subcommand is said with the near miss, before anything else is read.
    private static func refuseUnknownVerb(_ word: String?) {
        let verbs = StudyCommand.configuration.subcommands.map { $0._commandName } + ["help"]
        guard let word, !word.hasPrefix("-"), !verbs.contains(word) else { return }
        let text =
            word.hasSuffix(".md")
            ? "there is no `study \(word)`; to run that file: `study run \(word)`"
            : "there is no `study \(word)`\(NearMiss.hint(word, in: verbs))"
        FileHandle.standardError.write(Data("\(text)\n".utf8))
        Foundation.exit(ExitStatus.wrongUsage)
    }

    /// `study run FILE --help`: the command's help, then the parameters of that study.
    private static func runHelp(_ arguments: [String]) async {
        guard arguments.first == "run", arguments.contains("--help") || arguments.contains("-h"),
            let file = arguments.dropFirst().first(where: {
                !$0.hasPrefix("-") && FileManager.default.fileExists(atPath: $0)
            })
        else { return }
        print(StudyCommand.helpMessage(for: RunCommand.self))
        do {
            let study = try StudyFile(contentsOf: file, path: file)
            print(ParameterHelp.text(study))
            Foundation.exit(ExitStatus.success)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            Foundation.exit(ExitStatus.studyFailed)
        }
    }
}

/// The parameters of a study, as `--help` lists them.
enum ParameterHelp {
    static func text(_ study: StudyFile) -> String {
        guard !study.parameters.isEmpty else {
            return "\nPARAMETERS OF \(study.path): none"
        }
        let rows = study.parameters.map {
            ("-p \($0.name)=\($0.defaultValue.swiftType)", $0)
        }
        let width = min((rows.map(\.0.count).max() ?? 0) + 2, 40)
        let lines = rows.map { left, parameter in
            let help = parameter.help.isEmpty ? "" : parameter.help + " "
            return "  "
                + left.padding(toLength: max(width, left.count), withPad: " ", startingAt: 0)
                + help + "(default: \(parameter.defaultValue))"
        }
        return "\nPARAMETERS OF \(study.path):\n" + lines.joined(separator: "\n")
    }
}

/// What the exit status of every subcommand means.
enum ExitStatus {
    static let success: Int32 = 0
    static let studyFailed: Int32 = 1
    static let wrongUsage: Int32 = 2
    static let claimFailed: Int32 = 3
    static let replayDiverged: Int32 = 4
    static let bundleRefused: Int32 = 5
    static let internalError: Int32 = 70
}
