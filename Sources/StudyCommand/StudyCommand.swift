// The `study` executable: a list of subcommands, each in a file of its own.

internal import ArgumentParser

@main
struct StudyCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "study",
        abstract: "Runs a Markdown study, records it, and runs it again to the same bits.",
        version: "0.1.0",
        subcommands: [])
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
