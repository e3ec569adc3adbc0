// `study check FILE.md`: everything before the first cell runs.

internal import ArgumentParser
internal import Foundation
internal import Notebook
internal import Provenance

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Compile a study's cells and run nothing.",
        discussion: """
            Of every input from another study it says which run it would be taken from, or why that study would \
            run first. It makes no ledger; what it compiled is kept in .study/cache for the run.
            """)

    @Argument(help: "The study's Markdown file.", completion: .file(extensions: ["md"]))
    var file: String

    @Option(help: ArgumentHelp("The folder that holds .study.", valueName: "folder"))
    var ledger: String?

    @Flag(help: "Print one JSON object, the last line of standard output.")
    var json = false

    func run() async throws {
        let study: StudyFile
        let program: Program
        let inputs: [String]
        do {
            study = try StudyFile(contentsOf: file, path: file)
            let node = try StudyNode(file: file, study: study, arguments: [], seed: nil)
            try node.readInputs()
            let root = ledger ?? Ledger.root(for: file)
            let ledger = try Ledger.openOrEmpty(root)
            let compiler = try await Compiler(
                cache: try BuildCache(ledger.folder + "/cache"),
                installation: try Installation())
            program = try await compiler.compile(
                study, sourceName: StudyRunner.path(file, below: root))
            inputs = try UpstreamResolver(
                RunRequest(file: file), ledger: ledger, root: root, compiler: compiler,
                view: RunView(usesErrorStream: json)
            ).preview(node)
        } catch {
            throw Failures.report(error, json: json)
        }
        for warning in program.warnings { print(warning.rendered(excerptFrom: study.text)) }
        if !json { for line in inputs { print(line) } }
        let cells = Set(program.units.map(\.cell)).count
        let warnings = program.warnings.filter { $0.severity == .warning }.count
        if json {
            JSONOutput.print([
                "study": file, "cells": cells, "warnings": warnings, "inputs": inputs,
            ])
        } else {
            print(
                "\(file): \(cells) \(cells == 1 ? "cell compiles" : "cells compile")"
                    + (warnings == 0 ? "" : ", \(warnings) warning\(warnings == 1 ? "" : "s")"))
        }
    }
}
