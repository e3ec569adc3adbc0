// The whole path that the README promises, on the README's own study: run, replay with another thread
// count, report, export, verify; and what a word that is no subcommand gets.

import Foundation
import TestSupport
import Testing

@Suite struct `First light` {
    let work = try! TemporaryFolder("first light")

    private func study(_ arguments: String...) throws -> StudyProcess {
        try StudyProcess(arguments, in: work.path)
    }

    /// The study that the README prints between its four backquotes.
    private func readmeStudy() throws -> String {
        let readme = try String(
            contentsOfFile: Fixtures.folder + "/../../README.md", encoding: .utf8)
        let start = try #require(readme.range(of: "````markdown\n"))
        let end = try #require(
            readme.range(of: "\n````\n", range: start.upperBound..<readme.endIndex))
        return readme[start.upperBound..<end.lowerBound] + "\n"
    }

    @Test func `the study of the README runs, replays to the same bits, and leaves as a bundle`()
        throws
    {
        try readmeStudy().write(
            toFile: work.path + "/hello.md", atomically: true, encoding: .utf8)
        let run = try study("run", "hello.md", "-p", "rank=8")
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.output.contains("✓ the loss falls below a tenth"))
        #expect(run.output.contains("next:  "))

        let replay = try study("replay", "@latest", "--threads", "1")
        #expect(replay.status == 0, "\(replay.errors)")
        #expect(replay.output.contains("✓ same bits"))

        for name in ["one.tar.zst", "two.tar.zst"] {
            let export = try study("export", "@latest", "-o", name)
            #expect(export.status == 0, "\(export.errors)")
        }
        let one = try Data(contentsOf: URL(fileURLWithPath: work.path + "/one.tar.zst"))
        var two = try Data(contentsOf: URL(fileURLWithPath: work.path + "/two.tar.zst"))
        #expect(one == two)
        #expect(try study("verify", "one.tar.zst").status == 0)
        two[two.count / 2] ^= 1
        try two.write(to: URL(fileURLWithPath: work.path + "/two.tar.zst"))
        #expect(try study("verify", "two.tar.zst").status == 5)

        #expect(try study("report", "@latest", "-o", "hello.html").status == 0)
        let page = try String(contentsOfFile: work.path + "/hello.html", encoding: .utf8)
        #expect(page.contains("the loss falls below a tenth"))
    }

    @Test func `a word that is no subcommand is said with the near miss`() throws {
        let wrong = try study("runn", "hello.md")
        #expect(wrong.status == 2)
        #expect(wrong.errors.contains("there is no `study runn`; did you mean 'run'?"))
        let file = try study("hello.md")
        #expect(file.status == 2)
        #expect(file.errors.contains("to run that file: `study run hello.md`"))
    }
}
