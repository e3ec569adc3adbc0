// Runs the built `study` as a user would: a process, its streams, its exit status.

internal import Foundation

/// One finished run of the command.
package struct StudyProcess: Sendable {
    package let status: Int32
    package let output: String
    package let errors: String

    /// The folder of the built products: that of the test bundle.
    package static let products: String = {
        // The tests' own executable lies beside `study`.
        let own =
            (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""
        let candidates = [
            (own as NSString).deletingLastPathComponent,
            (CommandLine.arguments.first { $0.hasSuffix(".xctest") } as NSString?)?
                .deletingLastPathComponent ?? "",
        ]
        return candidates.first { FileManager.default.fileExists(atPath: $0 + "/study") } ?? ""
    }()

    /// - Parameters:
    ///   - folder: The working directory.
    ///   - environment: Added to ours.
    ///   - signals: Sent to the command, each once the file of that path exists.
    package init(
        _ arguments: [String], in folder: String, environment: [String: String] = [:],
        executable: String = Self.products + "/study",
        signals: [(file: String, signal: Int32)] = []
    ) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: executable)
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        // Files, not pipes: nothing has to be read while the command runs.
        let out = folder + "/.out-\(UUID().uuidString)"
        let err = folder + "/.err-\(UUID().uuidString)"
        for path in [out, err] { _ = FileManager.default.createFile(atPath: path, contents: nil) }
        defer { for path in [out, err] { try? FileManager.default.removeItem(atPath: path) } }
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = FileHandle(forWritingAtPath: out)
        process.standardError = FileHandle(forWritingAtPath: err)
        try process.run()
        for (file, signal) in signals {
            _ = waited {
                FileManager.default.fileExists(atPath: file) || !process.isRunning
            }
            kill(process.processIdentifier, signal)
        }
        process.waitUntilExit()
        status = process.terminationStatus
        output = String(
            decoding: FileManager.default.contents(atPath: out) ?? Data(), as: UTF8.self)
        errors = String(
            decoding: FileManager.default.contents(atPath: err) ?? Data(), as: UTF8.self)
    }

    /// The object of `--json`: the last line of standard output.
    package var json: [String: Any] {
        let line = output.split(separator: "\n").last ?? ""
        return (try? JSONSerialization.jsonObject(with: Data(line.utf8))) as? [String: Any] ?? [:]
    }
}

/// Waits until `holds` is true, or for as long as no healthy machine needs, however busy it is.
///
/// - Returns: Whether it came to hold.
package func waited(until holds: () throws -> Bool) rethrows -> Bool {
    let end = Date() + 300
    while try !holds() {
        guard Date() < end else { return false }
        Thread.sleep(forTimeInterval: 0.005)
    }
    return true
}

/// A folder of a test's own, removed with it.
package final class TemporaryFolder: Sendable {
    package let path: String

    package init(_ name: String = "study test") throws {
        path = NSTemporaryDirectory() + "/\(name) \(UUID().uuidString.prefix(8))"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    /// Writes a file below the folder.
    @discardableResult
    package func write(_ text: String, to name: String) throws -> String {
        let file = path + "/" + name
        try FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try text.write(toFile: file, atomically: true, encoding: .utf8)
        return file
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// The repository's fixtures.
package enum Fixtures {
    package static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent().appendingPathComponent("Fixtures").path
}
