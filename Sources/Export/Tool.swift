// Runs one of the few programs that we call (ssh-keygen, gnuplot, katex), with bytes in and bytes out.

internal import CProcess
internal import Dispatch
internal import Foundation

/// A child process, waited for.
enum Tool {
    struct Result {
        var status: Int32
        var output: [UInt8]
        var errors: [UInt8]
        /// The first line of what it complained.
        var message: String {
            let text = String(decoding: errors.isEmpty ? output : errors, as: UTF8.self)
            return text.split(separator: "\n").first.map(String.init) ?? "status \(status)"
        }
    }

    /// Where a program lies on the path, or nil.
    static func find(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin:/bin"
        for folder in path.split(separator: ":") where access("\(folder)/\(name)", X_OK) == 0 {
            return "\(folder)/\(name)"
        }
        return nil
    }

    /// - Throws: ``ExportError`` with reason `.tool` where the program is not installed.
    static func run(_ name: String, _ arguments: [String], input: [UInt8] = []) throws -> Result {
        guard let program = find(name) else {
            throw ExportError(
                .tool, "\(name) is not installed.", where: "PATH",
                mend: "apt-get install \(package(of: name))")
        }
        let out = NSTemporaryDirectory() + "/study-tool-\(UUID().uuidString)"
        defer {
            for suffix in ["in", "out", "err"] { unlink(out + suffix) }
        }
        _ = FileManager.default.createFile(atPath: out + "in", contents: Data(input))
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, out + "in", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(
            &actions, 1, out + "out", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        posix_spawn_file_actions_addopen(
            &actions, 2, out + "err", O_WRONLY | O_CREAT | O_TRUNC, 0o600)
        var child: pid_t = 0
        let all = [program] + arguments
        var pointers = all.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        // A fixed locale and no display: the same words and pictures everywhere.
        var variables = ProcessInfo.processInfo.environment.filter { $0.key != "DISPLAY" }
        variables["LC_ALL"] = "C.UTF-8"
        variables["SOURCE_DATE_EPOCH"] = "0"
        var environment =
            variables.map { strdup("\($0.key)=\($0.value)") as UnsafeMutablePointer<CChar>? } + [
                nil
            ]
        defer { for pointer in environment { free(pointer) } }
        guard posix_spawn(&child, program, &actions, nil, &pointers, &environment) == 0 else {
            throw ExportError(
                .tool, "\(name) cannot be started.", where: program,
                mend: "check that it is executable")
        }
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        let code = status & 0x7f == 0 ? status >> 8 & 0xff : 128 + status & 0x7f
        return Result(
            status: code,
            output: Array(FileManager.default.contents(atPath: out + "out") ?? Data()),
            errors: Array(FileManager.default.contents(atPath: out + "err") ?? Data()))
    }

    private static func package(of name: String) -> String {
        ["ssh-keygen": "openssh-client", "gnuplot": "gnuplot-nox", "bwrap": "bubblewrap"][name]
            ?? name
    }
}
