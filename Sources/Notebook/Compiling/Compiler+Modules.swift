// Modules into objects: each imports only the earlier ones that its words can need, so that independent cells compile
// at the same time, and a cell's own change recompiles those below that use it.

internal import Foundation

/// A compiled module in the cache.
struct BuiltModule: Sendable {
    let name: String
    /// Its folder in the cache.
    let folder: String
    /// Covers what the module and those that it imports offer to importers, not their code: a changed function body
    /// recompiles its own cell alone.
    let interface: String
    let warnings: String
    let wasCompiled: Bool

    var object: String { folder + "/module.o" }
}

/// The compiler's words on a module that it refused.
struct RefusedModule: Error {
    let text: String
}

extension Compiler {
    /// Compiles what is not in the cache, as many modules at once as there are cores.
    ///
    /// A module that does not compile with the modules that its words ask for is given all earlier ones; where that
    /// fails too, the first such module in the order of the document is what is told.
    /// - Parameter imports: An empty folder, for links to the modules that are ready.
    func build(
        _ modules: [CellModule], imports folder: String,
        progress: (@Sendable (_ cell: Int?, _ done: Int, _ total: Int) -> Void)?,
        failed: (CellModule, String) -> any Error
    ) async throws -> [BuiltModule] {
        let scans = modules.map { SourceScan($0.body) }
        var needed = SourceScan.imports(scans)
        var built = [BuiltModule?](repeating: nil, count: modules.count)
        var failures: [Int: any Error] = [:]
        var waiting = Array(modules.indices)
        var compiled = 0
        let width = max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN))))

        try await withThrowingTaskGroup(of: (Int, Result<BuiltModule, any Error>).self) { group in
            var running = 0
            func startReady() {
                var later: [Int] = []
                for (place, index) in waiting.enumerated() {
                    if running >= width {
                        later += waiting[place...]
                        break
                    }
                    // What comes after a failure is not told, and need not be known.
                    if let first = failures.keys.min(), first < index { continue }
                    guard needed[index].allSatisfy({ built[$0] != nil }) else {
                        later.append(index)
                        continue
                    }
                    let above = needed[index].map { built[$0]! }
                    let module = modules[index]
                    running += 1
                    group.addTask {
                        do {
                            let result = try await self.build(
                                module, above, of: index, imports: folder
                            ) {
                                progress?(module.cell, index, modules.count)
                            }
                            return (index, .success(result))
                        } catch {
                            return (index, .failure(error))
                        }
                    }
                }
                waiting = later
            }
            startReady()
            while let (index, result) = try await group.next() {
                running -= 1
                switch result {
                case .success(let module):
                    built[index] = module
                    if module.wasCompiled { compiled += 1 }
                    symlink(
                        "\(module.folder)/\(module.name).swiftmodule",
                        "\(folder)/\(module.name).swiftmodule")
                case .failure(let refused as RefusedModule):
                    if needed[index].count < index {
                        needed[index] = Array(0..<index)
                        waiting.append(index)
                        waiting.sort()
                    } else {
                        failures[index] = failed(modules[index], refused.text)
                    }
                case .failure(let error):
                    failures[index] = error
                }
                startReady()
            }
        }
        if let first = failures.min(by: { $0.key < $1.key }) { throw first.value }
        return built.map { $0! }
    }

    func build(
        _ module: CellModule, _ above: [BuiltModule], of count: Int, imports: String,
        started: () -> Void
    ) async throws -> BuiltModule {
        let source =
            "import Study\n" + module.imports.map { $0 + "\n" }.joined()
            + above.map { "@testable import \($0.name)\n" }.joined() + module.body
        let interfaces = above.map(\.interface)
        let key = CacheKey([environmentKey, module.name, source] + interfaces)
        let folder = cache.cell(key)
        // Refused before with just these modules: it needs more of them. With all of them it is tried each time, since
        // a library may have been installed meanwhile.
        let refusal = folder + ".refused"
        if above.count < count, let text = try? String(contentsOfFile: refusal, encoding: .utf8) {
            throw RefusedModule(text: text)
        }
        let isNew = access(folder + "/module.o", R_OK) != 0
        if isNew {
            started()
            do {
                try await cache.make(folder) { draft in
                    try await compile(module, source, into: draft, imports: imports)
                }
            } catch let error as RefusedModule {
                if above.count < count, !error.text.contains("No space left") {
                    try? error.text.write(toFile: refusal, atomically: true, encoding: .utf8)
                }
                throw error
            }
        }
        let file = "\(folder)/\(module.name).swiftmodule"
        guard let bytes = FileManager.default.contents(atPath: file) else {
            throw BuildError(
                .cache, "\(file) is missing from the cache.",
                mend: "delete \(cache.folder), then run again")
        }
        return BuiltModule(
            name: module.name, folder: folder,
            interface: CacheKey([CacheKey(bytes).text] + interfaces).text,
            warnings: (try? String(contentsOfFile: folder + "/warnings", encoding: .utf8)) ?? "",
            wasCompiled: isNew)
    }

    private func compile(
        _ module: CellModule, _ source: String, into draft: String, imports: String
    ) async throws {
        let file = "\(draft)/main.swift"
        try source.write(toFile: file, atomically: false, encoding: .utf8)
        var arguments = ["-frontend", "-c", file, "-module-name", module.name] + Self.flags
        arguments += [
            "-I", imports, "-I", installation.modules, "-module-cache-path",
            cache.folder + "/clang-modules", "-o", draft + "/module.o", "-emit-module-path",
            "\(draft)/\(module.name).swiftmodule", "-target",
            "\(Self.architecture)-unknown-linux-gnu",
        ]
        for map in installation.moduleMaps { arguments += ["-Xcc", "-fmodule-map-file=\(map)"] }
        if let entry = module.entry {
            arguments += ["-entry-point-function-name", entry]
        } else {
            arguments.append("-parse-as-library")
        }
        let result = try await Tool.run(toolchain.frontend, arguments)
        let text = result.errors + result.output
        guard result.status == 0 else { throw RefusedModule(text: text) }
        try text.write(toFile: draft + "/warnings", atomically: false, encoding: .utf8)
    }
}
