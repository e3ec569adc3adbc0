// Each study in Fixtures/faults fails in one way; its last line says where and in which words:
// `<!-- LINE:COLUMN MESSAGE -->`. Column 0 stands for a loop, which may be anywhere on its line; line 0 for a cell
// that could not say where it was.

import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `Faults` {
    static let names: [String] = {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return all.filter { $0.hasSuffix(".md") }.sorted()
    }()
    static let folder = Fixtures.folder + "/faults"
    /// One ledger for all: its cache is shared, and many runs at once are a test of their own.
    static let work = try! TemporaryFolder("faults")

    @Test func `there are at least forty`() {
        #expect(Self.names.count >= 40)
    }

    @Test(arguments: names) func `each is placed exactly and recorded`(name: String) throws {
        let text = try String(contentsOfFile: Self.folder + "/" + name, encoding: .utf8)
        let last = try #require(text.split(separator: "\n").last).dropFirst(5).dropLast(4)
        let words = last.split(separator: " ", maxSplits: 1)
        let place = words[0].split(separator: ":").compactMap { Int($0) }
        let message = String(words[1])

        let run = try StudyProcess(
            ["run", Self.folder + "/" + name, "--ledger", Self.work.path, "--json"],
            in: Self.work.path)
        #expect(run.status == 1)
        let (line, column, found) = try Self.failure(run.json)
        #expect(line == place[0])
        if place[1] > 0 { #expect(column == place[1]) }
        #expect(found.contains(message), "\(found)")
        // The excerpt is the Markdown's own line, under its number.
        if line > 0 {
            let source = text.split(separator: "\n", omittingEmptySubsequences: false)[line - 1]
            #expect(run.errors.contains("\(line) | \(source)"))
        } else {
            #expect(
                run.errors.contains("\(name): error: in cell 'cell-1', lines 4 to 7: \(message)"),
                "\(run.errors)")
            #expect(!run.errors.contains(" | "))
        }

        guard !name.hasPrefix("compile-") else { return }
        let id = try #require(run.json["run"] as? String)
        let record = try Ledger.openForReading(Self.work.path).run(id)
        #expect(record.status == .failed)
        #expect(record.failures.last?.line == place[0])
        if text.contains("print(\"before") {
            let cell = try #require(record.failures.last?.cell)
            let kept = String(decoding: record.output(of: cell, .standardOutput), as: UTF8.self)
            #expect(kept.hasPrefix("before"))
        }
    }

    static func failure(_ json: [String: Any]) throws -> (Int, Int, String) {
        let errors = (json["diagnostics"] as? [[String: Any]])?
            .filter { $0["severity"] as? String == "error" }
        let fault = try #require(json["failure"] as? [String: Any] ?? errors?.first)
        return (
            try #require(fault["line"] as? Int), try #require(fault["column"] as? Int),
            try #require(fault["message"] as? String)
        )
    }
}
