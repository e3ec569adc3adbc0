// `study check FILE.md`: everything before the first cell runs.

internal import ArgumentParser
internal import Foundation
internal import Notebook
internal import Provenance

struct CheckCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "check", abstract: "Compile a study's cells and run nothing.")

    @Argument(help: "The study's Markdown file.", completion: .file(extensions: ["md"]))
    var file: String

    @Option(help: ArgumentHelp("The folder that holds .study.", valueName: "folder"))
    var ledger: String?

    @Flag(help: "Print one JSON object, the last line of standard output.")
    var json = false

    func run() async throws {
        let study: StudyFile
        let program: Program
        do {
            study = try StudyFile(contentsOf: file, path: file)
            let root = ledger ?? Ledger.root(for: file)
            let compiler = try await Compiler(
                cache: try BuildCache(Ledger.open(under: root).folder + "/cache"),
                installation: try Installation())
            program = try await compiler.compile(
                study, sourceName: StudyRunner.path(file, below: root))
        } catch {
            throw Failures.report(error, json: json)
        }
        for warning in program.warnings { print(warning.rendered(excerptFrom: study.text)) }
        let cells = Set(program.units.map(\.cell)).count
        let warnings = program.warnings.filter { $0.severity == .warning }.count
        if json {
            JSONOutput.print(["study": file, "cells": cells, "warnings": warnings])
        } else {
            print(
                "\(file): \(cells) \(cells == 1 ? "cell compiles" : "cells compile")"
                    + (warnings == 0 ? "" : ", \(warnings) warning\(warnings == 1 ? "" : "s")"))
        }
    }
}
