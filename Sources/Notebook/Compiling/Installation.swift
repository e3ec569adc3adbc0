// Where our own pieces lie: the library that cells link, its modules, the kernel. Either a build folder
// (`.build/release`) or what `make install` laid out under a prefix.

internal import Foundation

/// The files beside the `study` executable that compiling and running cells needs.
package struct Installation: Sendable {
    /// The `study-kernel` executable.
    package let kernel: String
    /// `libStudy.so`, which the kernel loads and cells use.
    package let library: String
    /// The folder of `Study.swiftmodule` and of the modules that it imports.
    package let modules: String
    /// Clang module maps of the C targets that Engine imports.
    package let moduleMaps: [String]

    /// - Throws: ``BuildError`` where a piece is missing.
    package init(executable: String = Self.ownPath) throws {
        let folder = (executable as NSString).deletingLastPathComponent
        let prefix = (folder as NSString).deletingLastPathComponent
        let manager = FileManager.default
        if manager.fileExists(atPath: folder + "/study-kernel") {
            kernel = folder + "/study-kernel"
            library = folder + "/libStudy.so"
            modules = folder + "/Modules"
            moduleMaps = Self.cTargets.map { folder + "/\($0).build/module.modulemap" }
                .filter(manager.fileExists)
        } else {
            let home = prefix + "/lib/study"
            kernel = home + "/study-kernel"
            library = home + "/libStudy.so"
            modules = home + "/modules"
            moduleMaps = Self.cTargets.map { home + "/modules/\($0)/module.modulemap" }
                .filter(manager.fileExists)
        }
        for piece in [kernel, library, modules + "/Study.swiftmodule"]
        where !manager.fileExists(atPath: piece) {
            throw BuildError(
                .incompleteInstallation, "\(piece) is missing, and cells need it.",
                mend: "build or install the project whole: `make build`, or `make install PREFIX=…`"
            )
        }
    }

    /// Every file and folder that compiling and running cells reads, the module maps' headers included:
    /// what a sandbox must be able to see.
    package var files: [String] {
        let headers = moduleMaps.flatMap { map in
            ((try? String(contentsOfFile: map, encoding: .utf8)) ?? "").split(separator: "\"")
                .filter { $0.hasPrefix("/") }
                .map { (String($0) as NSString).deletingLastPathComponent }
        }
        let installed = moduleMaps.map { ($0 as NSString).deletingLastPathComponent }
            .filter { $0.hasPrefix(modules) }
        return [Self.ownPath, kernel, library, modules] + (installed.isEmpty ? moduleMaps : [])
            + headers
    }

    /// C targets below Study; a client of Engine's module needs their module maps.
    private static let cTargets = ["EngineKernels", "KernelSupport"]

    /// The running executable, symbolic links resolved.
    package static var ownPath: String {
        (try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe"))
            ?? CommandLine.arguments[0]
    }

    /// What the engine says of its arithmetic on this machine: "engine.kernels", "openblas.core" and so
    /// on, "test.portable" and "test.blas", which are "sound" or say what is wrong, and then "mend.portable" and
    /// "mend.blas".
    /// - Throws: ``BuildError`` where the kernel cannot be started or does not answer.
    package func arithmetic() async throws -> [String: String] {
        let answer = try await Tool.run(kernel, [library, "--arithmetic"])
        guard answer.status == 0 else {
            throw BuildError(
                .incompleteInstallation, "\(kernel) does not say what arithmetic it uses.",
                mend: "build or install the project whole", cause: answer.errors)
        }
        var facts: [String: String] = [:]
        for line in answer.output.split(separator: "\n") {
            let parts = line.split(separator: "\t", maxSplits: 1)
            if parts.count == 2 { facts[String(parts[0])] = String(parts[1]) }
        }
        return facts
    }

    /// Names this build of the engine: it changes when the library's bytes do.
    ///
    /// The digest is remembered under the file's size, time and inode, so that a run that starts does
    /// not read the library first.
    package func buildID(in cache: BuildCache) throws -> String {
        try cache.remembered("engine", of: library) {
            guard let data = FileManager.default.contents(atPath: library) else {
                throw BuildError(
                    .incompleteInstallation, "\(library) cannot be read.",
                    mend: "give this user the right to read it")
            }
            return CacheKey(data).text
        }
    }
}

/// Why cells cannot be compiled at all, apart from what is wrong with their code.
package struct BuildError: Error, Sendable, CustomStringConvertible {
    package enum Reason: Sendable {
        case noCompiler, incompleteInstallation, compilerFailed, cache
    }
    package let reason: Reason
    package let what: String
    package let mend: String
    /// What the tool said, where one ran.
    package let cause: String

    package init(_ reason: Reason, _ what: String, mend: String, cause: String = "") {
        self.reason = reason
        self.what = what
        self.mend = mend
        self.cause = cause
    }

    package var description: String {
        what + (cause.isEmpty ? "" : "\n" + cause) + "\n  mend:  \(mend)"
    }
}
