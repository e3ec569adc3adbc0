// The Swift toolchain that compiles cells: which one, where its tools are, and how they are run.

internal import Foundation
internal import Subprocess
internal import SystemPackage

/// A Swift toolchain found through `swiftc` on the PATH.
package struct Toolchain: Sendable {
    /// As "Swift version 6.3.1 (swift-6.3.1-RELEASE)".
    package let version: String
    /// `usr` of the toolchain.
    package let root: String

    var frontend: String { root + "/bin/swift-frontend" }
    var clang: String { root + "/bin/clang" }
    var runtime: String { root + "/lib/swift/linux" }
    /// Part of Swift's toolchain since 6.0; Debian's will do as well.
    var symbolizer: String? {
        let own = root + "/bin/llvm-symbolizer"
        return access(own, X_OK) == 0 ? own : Self.onPath("llvm-symbolizer")
    }

    /// Finds the toolchain of `swiftc`, asking it once for each version of the file.
    /// - Throws: ``BuildError`` with reason `.noCompiler`.
    package static func find(cache: BuildCache) async throws -> Toolchain {
        guard let compiler = onPath("swiftc") else {
            throw BuildError(
                .noCompiler,
                "There is no `swiftc` on the PATH, and a study's cells are compiled by it.",
                mend:
                    "install Swift 6.3 (swift.org/install) and put its usr/bin on the PATH; list, show, report and verify work without it"
            )
        }
        let answer: String
        if let known = cache.recall("toolchain", of: compiler) {
            answer = known
        } else {
            let result = try await Tool.run(compiler, ["-print-target-info"])
            guard result.status == 0 else {
                throw BuildError(
                    .noCompiler, "\(compiler) does not answer.",
                    mend: "see what `swiftc --version` says", cause: result.errors)
            }
            answer = result.output
            cache.remember("toolchain", of: compiler, answer)
        }
        guard let info = try? JSONDecoder().decode(TargetInfo.self, from: Data(answer.utf8)) else {
            throw BuildError(
                .noCompiler, "\(compiler) is no Swift compiler that we know.",
                mend: "put Swift 6.3's usr/bin first on the PATH", cause: answer)
        }
        let resources = URL(fileURLWithPath: info.paths.runtimeResourcePath)
        return Toolchain(
            version: info.compilerVersion,
            root: resources.deletingLastPathComponent().deletingLastPathComponent().path)
    }

    private struct TargetInfo: Decodable {
        struct Paths: Decodable {
            let runtimeResourcePath: String
        }
        let compilerVersion: String
        let paths: Paths
    }

    package static func onPath(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? "/usr/local/bin:/usr/bin:/bin"
        return path.split(separator: ":").map { "\($0)/\(name)" }.first { access($0, X_OK) == 0 }
    }
}

/// One run of a command-line tool: everything it said on either stream.
enum Tool {
    struct Result: Sendable {
        let status: Int32
        let output: String
        let errors: String
    }

    /// - Parameter folder: Where it is to stand, if not where we do.
    /// - Throws: ``BuildError`` with reason `.compilerFailed` where it cannot be started.
    static func run(_ path: String, _ arguments: [String], in folder: String? = nil) async throws
        -> Result
    {
        do {
            // 64 MiB: a compiler's complaints are shorter, and memory stays bounded if not.
            let result = try await Subprocess.run(
                .path(FilePath(path)), arguments: Arguments(arguments),
                environment: .inherit.updating(["LC_ALL": "C"]),
                workingDirectory: folder.map { FilePath($0) }, output: .string(limit: 64 << 20),
                error: .string(limit: 64 << 20))
            let status: Int32 =
                switch result.terminationStatus {
                case .exited(let code): code
                case .signaled(let signal): 128 + signal
                }
            return Result(
                status: status, output: result.standardOutput,
                errors: result.standardError)
        } catch {
            throw BuildError(
                .compilerFailed, "\(path) could not be run: \(error).",
                mend: "check that it exists and may be executed")
        }
    }
}
