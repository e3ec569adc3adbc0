// How an error that no run survived reaches the user: on standard error, with the exit status that the
// README promises.

internal import ArgumentParser
internal import Export
internal import Foundation
internal import Notebook
internal import Provenance

enum Failures {
    /// Prints `error`, and under `--json` an object with its text; gives the exit status to throw.
    static func report(_ error: any Error, json: Bool) -> ExitCode {
        let status: Int32 =
            switch error {
            case let exit as ExitCode: exit.rawValue
            // A study that does not exist or a misspelt parameter is wrong usage; one that does not
            // compile has failed.
            case let study as StudyError:
                study.diagnostics.contains { $0.place != nil }
                    ? ExitStatus.studyFailed : ExitStatus.wrongUsage
            case is BuildError, is ProvenanceError: ExitStatus.studyFailed
            case let export as ExportError: status(of: export)
            default: ExitStatus.internalError
            }
        let text = "\(error)"
        FileHandle.standardError.write(Data((text + "\n").utf8))
        if json {
            var object: [String: Any] = ["error": text, "status": Int(status)]
            if let study = error as? StudyError {
                object["diagnostics"] = study.diagnostics.map {
                    [
                        "severity": $0.severity.rawValue, "message": $0.message,
                        "line": $0.place?.line ?? 0, "column": $0.place?.column ?? 0,
                    ] as [String: Any]
                }
            }
            JSONOutput.print(object)
        }
        return ExitCode(status)
    }
}

extension Failures {
    private static func status(of error: ExportError) -> Int32 {
        switch error.reason {
        case .usage: ExitStatus.wrongUsage
        case .bundle: ExitStatus.bundleRefused
        case .name, .archive, .content, .policy, .tool, .stopped: ExitStatus.studyFailed
        }
    }

    /// Writes a file that the user asked for, with the folders above it.
    /// - Throws: ``ExportError`` that says why not and what to do.
    static func write(_ bytes: [UInt8], to path: String) throws {
        let url = URL(fileURLWithPath: path)
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: path, isDirectory: &isFolder), isFolder.boolValue
        {
            throw ExportError(
                .usage, "\(path) is a folder.", where: "-o \(path)",
                mend: "name a file in it, or another name")
        }
        do {
            try FileManager.default.createDirectory(
                at: url.deletingLastPathComponent(), withIntermediateDirectories: true)
            try Data(bytes).write(to: url, options: .atomic)
        } catch {
            throw ExportError(
                .usage, "\(path) cannot be written: \(error.localizedDescription)",
                where: "-o \(path)", mend: "name a place that you may write to")
        }
    }
}

enum JSONOutput {
    /// One object as text, keys in order.
    static func line(_ object: [String: Any]) -> String {
        let data = try? JSONSerialization.data(
            withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
        return data.map { String(decoding: $0, as: UTF8.self) } ?? "{}"
    }

    /// One object on one line, keys in order.
    static func print(_ object: [String: Any]) {
        let options: JSONSerialization.WritingOptions = [.sortedKeys, .withoutEscapingSlashes]
        guard let data = try? JSONSerialization.data(withJSONObject: object, options: options)
        else {
            return
        }
        fflush(nil)
        FileHandle.standardOutput.write(data + Data("\n".utf8))
    }

    /// JSON has no infinity and no NaN: those become texts.
    static func number(_ value: Double) -> Any {
        value.isFinite ? value : "\(value)"
    }
}
