// The studies that the project ships: each compiles, and the shortest runs. That the long ones hold is told by running
// them (`study run studies/lox.md`).

import Foundation
import TestSupport
import Testing

@Suite struct `Studies` {
    static let folder = Fixtures.folder + "/../../studies"
    static let names: [String] = {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        return all.filter { $0.hasSuffix(".md") }.sorted()
    }()
    /// One ledger for all, and with it one cache of compiled cells.
    static let work = try! TemporaryFolder("studies")

    @Test func `are all there`() {
        #expect(
            Set(Self.names).isSuperset(of: [
                "gemma.md", "lora70b.md", "lox.md", "miniature.md", "quickstart.md",
            ]))
    }

    @Test(arguments: names) func `each compile`(name: String) throws {
        let check = try StudyProcess(
            ["check", Self.folder + "/" + name, "--ledger", Self.work.path], in: Self.work.path)
        #expect(check.status == 0, "\(check.errors)")
    }

    @Test func `the quickstart runs, and its claim holds`() throws {
        let run = try StudyProcess(
            [
                "run", Self.folder + "/quickstart.md", "--ledger", Self.work.path, "--strict",
                "--json",
            ],
            in: Self.work.path)
        #expect(run.status == 0, "\(run.errors)")
        let text = try String(contentsOfFile: Self.folder + "/quickstart.md", encoding: .utf8)
        let code = try #require(
            text.split(separator: "```swift\n").last?.split(separator: "```").first)
        #expect(code.split(separator: "\n").count == 10)
    }
}
