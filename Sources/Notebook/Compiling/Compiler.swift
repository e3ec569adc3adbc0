// From a study to one loadable library: each cell a module of its own, all compiled before any runs,
// nothing compiled twice.

internal import Foundation

/// A compiled study.
package struct Program: Sendable {
    /// One piece of top-level code.
    package struct Unit: Sendable, Equatable {
        /// `StudyFile.cells[cell]` it belongs to.
        package let cell: Int
        /// Its C function in the library.
        package let entry: String
        /// Covers its code and everything above it, the engine and the compiler.
        package let key: String
        package var role = Role.run

        package enum Role: Sendable, Equatable {
            /// The cell's own code, or the prose's.
            case run
            /// Writes down what the cell leaves to later ones (`//| cache: true`).
            case keep
            /// Puts that back, instead of running the cell.
            case bringBack
        }

        static func keeping(_ cell: Int) -> String { "study_keep_\(cell + 1)" }
        static func bringingBack(_ cell: Int) -> String { "study_bring_back_\(cell + 1)" }
    }
    /// The library that holds every cell.
    package let library: String
    /// In the order of running; a cell may have two (inline values before the first cell).
    package let units: [Unit]
    /// Warnings and notes, in the order of the document.
    package let warnings: [Diagnostic]
    /// How many modules were compiled just now; the others were in the cache.
    package let compiled: Int

    /// What each cell takes from earlier ones, as the linker sees it.
    package var flow: DataFlow {
        get throws {
            try DataFlow(contentsOf: (library as NSString).deletingLastPathComponent + "/flow.json")
        }
    }

    /// The program with these cells alone, and no cell's values written down.
    /// - Parameter stored: Cells whose values are brought back instead.
    package func only(_ cells: Set<Int>, stored: Set<Int> = []) -> Program {
        with(
            units.filter { cells.contains($0.cell) }.compactMap { unit in
                guard stored.contains(unit.cell) else { return unit.role == .run ? unit : nil }
                guard unit.role == .keep else { return nil }
                return Unit(
                    cell: unit.cell, entry: Unit.bringingBack(unit.cell), key: unit.key,
                    role: .bringBack)
            })
    }

    /// The program with every cell, none of whose values are written down.
    package var keepingNothing: Program { with(units.filter { $0.role == .run }) }

    private func with(_ units: [Unit]) -> Program {
        Program(library: library, units: units, warnings: warnings, compiled: compiled)
    }
}

/// Compiles studies with one toolchain against one build of the engine.
package struct Compiler: Sendable {
    package let toolchain: Toolchain
    package let installation: Installation
    package let cache: BuildCache
    /// Names the build of the engine.
    package let engineBuild: String

    package init(cache: BuildCache, installation: Installation) async throws {
        self.cache = cache
        self.installation = installation
        toolchain = try await Toolchain.find(cache: cache)
        engineBuild = try installation.buildID(in: cache)
    }

    /// Compiles every cell, or those through the cell `last`.
    ///
    /// - Parameters:
    ///   - sourceName: The study as `#filePath` and debug information call it; the same wherever the
    ///     user stands, so that the cache serves.
    ///   - progress: Told before each module that is compiled: its cell, how many are done, of how many.
    /// - Throws: ``StudyError`` with what the compiler found; ``BuildError``.
    package func compile(
        _ study: StudyFile, sourceName: String, through last: Int? = nil,
        progress: (@Sendable (_ cell: Int?, _ done: Int, _ total: Int) -> Void)? = nil
    ) async throws -> Program {
        let sourceName = CellModule.compilerName(sourceName)
        let modules = CellModule.all(of: study, sourceName: sourceName, through: last)
        guard modules.contains(where: { $0.entry != nil }) else {
            throw StudyError(
                [
                    Diagnostic(
                        path: study.path, place: nil,
                        message: "the study has no Swift cell to run",
                        mend: "a cell is a fenced block whose language is `swift`")
                ], text: study.text)
        }
        let units = units(modules, of: study)
        let key = CacheKey([environmentKey] + modules.flatMap { [$0.name, $0.body] })
        let folder = cache.program(key)
        func program(_ warnings: String, compiled: Int) -> Program {
            Program(
                library: folder + "/study.so", units: units,
                warnings: CompilerOutput.diagnostics(
                    in: warnings, sourceName: sourceName, study: study),
                compiled: compiled)
        }
        if let warnings = try? String(contentsOfFile: folder + "/warnings", encoding: .utf8),
            access(folder + "/study.so", R_OK) == 0, access(folder + "/flow.json", R_OK) == 0
        {
            return program(warnings, compiled: 0)
        }
        // Earlier modules are found in one folder, whatever their number.
        let imports = NSTemporaryDirectory() + "/study-modules-\(getpid())-\(key.text)"
        try? FileManager.default.createDirectory(atPath: imports, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: imports) }
        let built = try await build(modules, imports: imports, progress: progress) { module, text in
            let found = CompilerOutput.diagnostics(
                in: text, sourceName: sourceName, study: study, cell: module.cell)
            if text.contains("No space left on device") {
                return BuildError(
                    .cache, "The disk is full: \(cache.folder) takes no more compiled cells.",
                    mend: "free some space, or name another place with `--ledger FOLDER`")
            }
            guard found.contains(where: { $0.severity == .error }) else {
                return BuildError(
                    .compilerFailed, "The Swift compiler failed on module \(module.name).",
                    mend:
                        "delete \(cache.folder) and try again; if it stays, report it with the study",
                    cause: text)
            }
            return StudyError(found, text: study.text)
        }
        let warnings = built.map(\.warnings).joined()
        let states = try await buildStates(of: study, modules, built, imports: imports)
        var found = try DataFlow(modules, objects: built.map(\.object))
        found.states = states.mapValues(\.key)
        let flow = found
        try await cache.make(folder) { draft in
            try await link(built.map(\.object) + states.values.map(\.object).sorted(), into: draft)
            try flow.data.write(to: URL(fileURLWithPath: draft + "/flow.json"))
            try warnings.write(toFile: draft + "/warnings", atomically: false, encoding: .utf8)
        }
        return program(warnings, compiled: built.count(where: \.wasCompiled))
    }

    /// What all modules share.
    var environmentKey: String {
        CacheKey(["3", toolchain.version, toolchain.root, engineBuild] + Self.flags + Self.wrapped)
            .text
    }

    private func units(_ modules: [CellModule], of study: StudyFile) -> [Program.Unit] {
        var chain = environmentKey
        return modules.enumerated().flatMap { index, module -> [Program.Unit] in
            chain = CacheKey([chain, module.body]).text
            guard let entry = module.entry, let cell = module.cell else { return [] }
            let unit = Program.Unit(cell: cell, entry: entry, key: chain)
            let isLast = !modules[(index + 1)...].contains { $0.cell == cell }
            guard isLast, study.cells[cell].options.isCached else { return [unit] }
            return [
                unit,
                Program.Unit(
                    cell: cell, entry: Program.Unit.keeping(cell), key: chain, role: .keep),
            ]
        }
    }

    /// Cells are compiled in Swift 5 mode: in Swift 6 mode a top-level variable belongs to the main
    /// actor, and a plain function of the study could not read it.
    static let flags = [
        "-O", "-g", "-swift-version", "5", "-enable-testing", "-enable-bare-slash-regex",
        "-diagnostic-style", "llvm", "-no-color-diagnostics",
        // Paths of this process in a module would make it another module each time.
        "-no-serialize-debugging-options",
    ]

    static var architecture: String {
        #if arch(arm64)
            "aarch64"
        #else
            "x86_64"
        #endif
    }

    /// Calls that a cell may make and the kernel must see: leaving, being thrown out, waiting for the
    /// main actor.
    private static let wrapped = [
        "swift_errorInMain", "exit", "_exit", "quick_exit", "close", "fork", "swift_job_run",
        "swift_task_asyncMainDrainQueue",
    ]

    private func link(_ objects: [String], into draft: String) async throws {
        // `import Foundation` in a cell must bring its library: the objects say which they need.
        let autolink = draft + "/autolink"
        let list = draft + "/objects"
        // Between the quotes of such a file a backslash takes the next character as it is.
        try objects.map { object in
            "\"" + object.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") + "\""
        }.joined(separator: "\n").write(toFile: list, atomically: false, encoding: .utf8)
        let extracted = try await Tool.run(
            toolchain.root + "/bin/swift-autolink-extract", objects + ["-o", autolink])
        guard extracted.status == 0 else {
            throw BuildError(
                .compilerFailed, "The libraries that the cells need could not be found out.",
                mend: "delete \(cache.folder) and try again", cause: extracted.errors)
        }
        let linked = try await Tool.run(
            toolchain.clang,
            [
                // Relative: the linker takes each % in the path for a digit that it may choose.
                "-shared", "-fuse-ld=lld", "-o", "study.so",
                // Tells Swift's runtime of the library's types and conformances: without it `as? any P` fails and a
                // generic type of a cell's own types, as an encoder's container, has no metadata.
                "\(toolchain.runtime)/\(Self.architecture)/swiftrt.o", "@\(list)", "@\(autolink)",
                "-L", toolchain.runtime, "-Wl,-rpath,\(toolchain.runtime)", "-Wl,--as-needed",
                "-Wl,--unresolved-symbols=ignore-all",
            ] + Self.wrapped.map { "-Wl,--wrap=\($0)" }, in: draft)
        guard linked.status == 0 else {
            throw BuildError(
                .compilerFailed, "The compiled cells could not be linked.",
                mend:
                    "the usual reason is a C library that is not installed, or a name declared by @_silgen_name",
                cause: linked.errors)
        }
    }
}
