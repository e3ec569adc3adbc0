// What surrounds a run changes while it goes on: somebody sets the clock, or takes away the right to write the
// ledger.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

/// A run that records and notes what is acknowledged until the file `stop` appears.
private final class LongRun {
    static let study = """
        ```swift
        //| id: record
        import Glibc
        let run = Run.current
        let acks = open("acks", O_WRONLY | O_CREAT | O_TRUNC, 0o644)
        var step = 0
        while access("stop", F_OK) != 0 {
            for _ in 0..<50 {
                run.record("loss", 1 / Double(step + 1), step: step)
                step += 1
            }
            run.flush()
            let line = Array("\\(step)\\n".utf8)
            _ = write(acks, line, line.count)
            usleep(2000)
        }
        ```

        ```swift
        //| id: after
        run.record("last", step)
        ```
        """
    let folder: TemporaryFolder
    let process = Process()

    init(_ name: String, environment: (TemporaryFolder) throws -> [String: String]) throws {
        folder = try TemporaryFolder(name)
        try folder.write(Self.study, to: "long.md")
        let check = try StudyProcess(["check", "long.md"], in: folder.path)
        #expect(check.status == 0, "\(check.errors)")
        process.executableURL = URL(fileURLWithPath: StudyProcess.products + "/study")
        process.arguments = ["run", "long.md"]
        process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        process.environment = ProcessInfo.processInfo.environment.merging(
            try environment(folder)
        ) { $1 }
        _ = FileManager.default.createFile(atPath: folder.path + "/said", contents: nil)
        process.standardOutput = FileHandle(forWritingAtPath: folder.path + "/said")
        process.standardError = FileHandle(forWritingAtPath: folder.path + "/said")
        try process.run()
    }

    var acknowledged: Int {
        let text = (try? String(contentsOfFile: folder.path + "/acks", encoding: .utf8)) ?? ""
        // What follows the last newline was cut off.
        let whole = text.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        return whole.last.flatMap { Int($0) } ?? 0
    }

    /// Waits until more is acknowledged than now, several times over.
    func goOn() {
        let before = acknowledged
        #expect(waited { acknowledged > before + 500 || !process.isRunning }, "\(said)")
        #expect(process.isRunning, "\(said)")
    }

    func stop() throws {
        try folder.write("", to: "stop")
        process.waitUntilExit()
    }

    var said: String {
        (try? String(contentsOfFile: folder.path + "/said", encoding: .utf8)) ?? ""
    }
}

/// Runs a program; gives its status.
@discardableResult
private func status(_ arguments: [String]) -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.standardOutput = FileHandle.nullDevice
    process.standardError = FileHandle.nullDevice
    guard (try? process.run()) != nil else { return -1 }
    process.waitUntilExit()
    return process.terminationStatus
}

@Suite(.serialized) struct `When the world changes under a run` {
    /// Sets the clock of everybody who has the file.
    private func move(_ folder: TemporaryFolder, days: Int64) throws {
        var nanoseconds = days * 86_400_000_000_000
        let file = open(folder.path + "/jump", O_WRONLY)
        defer { close(file) }
        try #require(pwrite(file, &nanoseconds, 8, 0) == 8)
    }

    @Test func `a clock that is set back and forth moves no time of the record`() throws {
        let run = try LongRun("clock") { folder in
            try Data(count: 8).write(to: URL(fileURLWithPath: folder.path + "/jump"))
            let library = folder.path + "/jump.so"
            try #require(
                status([
                    "clang", "-shared", "-fPIC", "-o", library, Fixtures.folder + "/clock/jump.c",
                ]) == 0)
            return ["LD_PRELOAD": library, "CLOCK_JUMP": folder.path + "/jump"]
        }
        let began = Timestamp.now
        run.goOn()
        for days: Int64 in [-400, 3, 0, -1] {
            try move(run.folder, days: days)
            run.goOn()
            // Others look with a clock of their own, and with the one that was set.
            let list = try StudyProcess(["list", "--json"], in: run.folder.path)
            #expect(
                (list.json["runs"] as? [[String: Any]])?.first?["status"] as? String == "running")
        }
        try run.stop()
        #expect(run.process.terminationStatus == 0, "\(run.said)")

        let ledger = try Ledger.open(under: run.folder.path)
        let record = try ledger.run("@latest", points: true)
        #expect(record.status == .succeeded)
        #expect(try ledger.sealHolds(record.id) == true)
        // Nothing lasted an hour: every time lies between what this process saw before and after.
        let (low, high) = (began.nanoseconds - 3_600_000_000_000, Timestamp.now.nanoseconds)
        var times = [record.began]
        for cell in record.cells { times += [try #require(cell.began), try #require(cell.ended)] }
        times.append(try #require(record.seal).ended)
        #expect(times == times.sorted())
        let points = try #require(record.series.first { $0.name == "loss" }).points
        #expect(points.map(\.time) == points.map(\.time).sorted())
        #expect((times + points.map(\.time)).allSatisfy { (low...high).contains($0.nanoseconds) })
    }

    /// Only root may make a file immutable, and not on every file system.
    private static let canFreeze: Bool = {
        guard let folder = try? TemporaryFolder("freeze"),
            let file = try? folder.write("", to: "file"), status(["chattr", "+i", file]) == 0
        else { return false }
        return status(["chattr", "-i", file]) == 0
    }()

    @Test(.enabled(if: canFreeze, "making a file immutable needs root and a file system that can"))
    func `a ledger that turns read-only is one clear error, and nothing acknowledged is lost`()
        throws
    {
        let run = try LongRun("frozen") { _ in [:] }
        run.goOn()
        let own = run.folder.path + "/.study/"
        let files = try FileManager.default.contentsOfDirectory(atPath: own)
            .filter { $0.hasPrefix("ledger.sqlite") }.map { own + $0 }
        #expect(files.count == 3)
        #expect(status(["chattr", "+i"] + files) == 0)
        defer { status(["chattr", "-i"] + files) }
        run.process.waitUntilExit()
        let acknowledged = run.acknowledged
        #expect(run.process.terminationStatus == 1)
        #expect(run.said.contains("mend:") && run.said.contains(".study"), "\(run.said)")
        #expect(!run.said.contains("Fatal error"))

        // What SQLite removes meanwhile needs no thawing.
        #expect(
            waited {
                let left = files.filter { FileManager.default.fileExists(atPath: $0) }
                return status(["chattr", "-i"] + left) == 0
            })
        let ledger = try Ledger.open(under: run.folder.path)
        #expect(try ledger.health().damage.isEmpty)
        let record = try ledger.run("@latest", points: true)
        #expect(record.status == .lost || record.status == .failed)
        #expect(record.series.first?.points.count ?? 0 >= acknowledged)
        try run.folder.write("", to: "stop")
        #expect(try StudyProcess(["run", "long.md"], in: run.folder.path).status == 0)
    }
}
