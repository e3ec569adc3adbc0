// The world breaks under a real `study run`: processes are killed, the disk fills, cells lay hands on the
// ledger. Benchmarks/ledger/breakage.py does the same at hundreds of moments.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

private let heavy = """
    ```swift
    //| id: record
    import Glibc
    let run = Run.current
    let acks = open(String(cString: getenv("ACKS")), O_WRONLY | O_CREAT | O_TRUNC, 0o644)
    let last = Int(String(cString: getenv("LAST")))!
    var step = 0
    while step < last {
        for _ in 0..<200 {
            run.record("loss", 1 / Double(step + 1), step: step)
            step += 1
        }
        run.flush()
        let line = Array("\\(step)\\n".utf8)
        _ = write(acks, line, line.count)
    }
    ```
    """

/// The study that records without end, compiled once.
private final class HeavyStudy: Sendable {
    let folder: TemporaryFolder
    static let shared = try! HeavyStudy()

    init(in folder: TemporaryFolder? = nil) throws {
        self.folder = try folder ?? TemporaryFolder("heavy")
        try self.folder.write(heavy, to: "heavy.md")
        let first = try run(last: 200)
        guard first.status == 0 else { fatalError("\(first.output) \(first.errors)") }
    }

    var environment: [String: String] { ["ACKS": folder.path + "/acks"] }

    func run(last: Int) throws -> StudyProcess {
        try StudyProcess(
            ["run", "heavy.md", "--json"], in: folder.path,
            environment: environment.merging(["LAST": "\(last)"]) { $1 })
    }

    var acknowledged: Int {
        let text = (try? String(contentsOfFile: folder.path + "/acks", encoding: .utf8)) ?? ""
        // What follows the last newline was cut off.
        return text.split(separator: "\n", omittingEmptySubsequences: false).dropLast().last.flatMap
        {
            Int($0)
        } ?? 0
    }

    func integrity() -> String {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments = [
            "sqlite3", folder.path + "/.study/ledger.sqlite", "PRAGMA integrity_check",
        ]
        let pipe = Pipe()
        process.standardOutput = pipe
        try? process.run()
        let data = pipe.fileHandleForReading.readDataToEndOfFile()
        process.waitUntilExit()
        return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
    }
}

private func children(of id: Int32) -> [Int32] {
    // A child belongs to the thread that started it.
    let threads = (try? FileManager.default.contentsOfDirectory(atPath: "/proc/\(id)/task")) ?? []
    return threads.flatMap { thread in
        let path = "/proc/\(id)/task/\(thread)/children"
        let list = (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
        return list.split(separator: " ").compactMap { Int32($0) }
    }
}

/// Gone, or ended and not yet waited for.
private func isGone(_ id: Int32) -> Bool {
    guard let text = try? String(contentsOfFile: "/proc/\(id)/stat", encoding: .utf8) else {
        return true
    }
    return text.split(separator: ")").last?.split(separator: " ").first == "Z"
}

@Suite(.serialized) struct `When the world breaks under a run` {
    enum Victim: String, CaseIterable { case recorder, kernel, both }

    @Test(arguments: 0..<20) func `kill -9 loses nothing that was acknowledged`(round: Int) throws {
        let study = HeavyStudy.shared
        let victim = Victim.allCases[round % 3]
        try? FileManager.default.removeItem(atPath: study.folder.path + "/acks")
        let recorder = Process()
        recorder.executableURL = URL(fileURLWithPath: StudyProcess.products + "/study")
        recorder.arguments = ["run", "heavy.md"]
        recorder.currentDirectoryURL = URL(fileURLWithPath: study.folder.path)
        recorder.environment = ProcessInfo.processInfo.environment.merging(study.environment) { $1 }
            .merging(["LAST": "1000000000"]) { $1 }
        recorder.standardOutput = FileHandle.nullDevice
        recorder.standardError = FileHandle.nullDevice
        try recorder.run()
        var kernels: [Int32] = []
        _ = waited {
            kernels = children(of: recorder.processIdentifier)
            return !kernels.isEmpty || !recorder.isRunning
        }
        #expect(!kernels.isEmpty)
        usleep(useconds_t.random(in: 0...100_000))
        if victim != .recorder { for id in kernels { kill(id, SIGKILL) } }
        if victim != .kernel { kill(recorder.processIdentifier, SIGKILL) }
        recorder.waitUntilExit()
        #expect(waited { kernels.allSatisfy(isGone) }, "a kernel outlives its recorder")

        #expect(study.integrity() == "ok")
        let ledger = try Ledger.open(under: study.folder.path)
        let run = try ledger.run("@latest", points: true)
        let points = run.series.first?.points ?? []
        #expect(points.count >= study.acknowledged)
        #expect(points.map(\.step) == (0..<points.count).map(Int64.init))
        // With the kernel gone first, the recorder may have the time to say so.
        let honest: [RunStatus] =
            switch victim {
            case .recorder: [.lost]
            case .kernel: [.failed]
            case .both: [.lost, .failed]
            }
        #expect(honest.contains(run.status))
        let next = try study.run(last: 200)
        #expect(next.status == 0, "\(next.errors)")
    }

    @Test func `sixteen runs at once lose no row, and none is told that the database is locked`()
        throws
    {
        let study = HeavyStudy.shared
        let (count, last) = (16, 20_000)
        let before = try Ledger.openForReading(study.folder.path).list().total
        let runs = try (0..<count).map { index in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: StudyProcess.products + "/study")
            process.arguments = ["run", "heavy.md"]
            process.currentDirectoryURL = URL(fileURLWithPath: study.folder.path)
            process.environment = ProcessInfo.processInfo.environment.merging([
                "ACKS": study.folder.path + "/acks-\(index)", "LAST": "\(last)",
            ]) { $1 }
            let said = study.folder.path + "/said-\(index)"
            _ = FileManager.default.createFile(atPath: said, contents: nil)
            process.standardOutput = FileHandle(forWritingAtPath: said)
            process.standardError = FileHandle(forWritingAtPath: said)
            try process.run()
            return (process, said)
        }
        for (process, said) in runs {
            process.waitUntilExit()
            let text = (try? String(contentsOfFile: said, encoding: .utf8)) ?? ""
            #expect(process.terminationStatus == 0 && !text.contains("locked"), "\(text)")
        }
        #expect(study.integrity() == "ok")
        let ledger = try Ledger.openForReading(study.folder.path)
        let all = try ledger.list()
        #expect(all.total == before + count)
        for summary in all.runs.prefix(count) {
            #expect(summary.status == .succeeded)
            let run = try ledger.run(summary.id, points: true)
            #expect(
                run.series.first?.points.map(\.step) == (0..<last).map(Int64.init),
                "\(summary.id)")
            #expect(try ledger.sealHolds(summary.id) == true)
        }
    }

    @Test(.enabled(if: getuid() == 0, "a small file system needs root"))
    func `a disk that fills under a run is one clear error, and nothing acknowledged is lost`()
        throws
    {
        let folder = try TemporaryFolder("full")
        func mount(_ options: String...) -> Bool {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["mount"] + options + [folder.path]
            process.standardError = FileHandle.nullDevice
            try? process.run()
            process.waitUntilExit()
            return process.terminationStatus == 0
        }
        guard mount("-t", "tmpfs", "-o", "size=64m", "tmpfs") else { return }
        defer {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = ["umount", "-l", folder.path]
            try? process.run()
            process.waitUntilExit()
        }
        let study = try HeavyStudy(in: folder)
        for kilobytes in [200, 1500, 4000] {
            var info = statvfs()
            statvfs(folder.path, &info)
            let used = Int(info.f_blocks - info.f_bfree) * Int(info.f_frsize) / 1024
            #expect(mount("-o", "remount,size=\(used + kilobytes)k"))
            let process = Process()
            process.executableURL = URL(fileURLWithPath: StudyProcess.products + "/study")
            process.arguments = ["run", "heavy.md"]
            process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
            process.environment = ProcessInfo.processInfo.environment.merging([
                "ACKS": "/dev/null", "LAST": "100000000",
            ]) { $1 }
            let pipe = Pipe()
            process.standardError = pipe
            process.standardOutput = pipe
            try process.run()
            let said = String(
                decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            #expect(process.terminationStatus == 1)
            #expect(said.contains("disk is full") && said.contains("mend:"), "\(said)")
            #expect(mount("-o", "remount,size=256m"))
            #expect(study.integrity() == "ok")
            let status = try Ledger.open(under: folder.path).run("@latest").status
            #expect(status == .failed || status == .lost)
            #expect(try study.run(last: 200).status == 0)
        }
    }

    private func run(_ cell: String) throws -> (StudyProcess, TemporaryFolder) {
        let folder = try TemporaryFolder("hands on")
        try folder.write("kept", to: "beside.txt")
        try folder.write("```swift\n//| id: hands\nimport Glibc\n\(cell)\n```\n", to: "study.md")
        return (try StudyProcess(["run", "study.md", "--json"], in: folder.path), folder)
    }

    @Test(arguments: ["ledger.sqlite", "ledger.sqlite-wal", "objects", "."])
    func `a cell that reads the ledger's own files is refused`(name: String) throws {
        let (run, folder) = try run(#"_ = try Run.current.input(".study/\#(name)")"#)
        #expect(run.status == 1)
        #expect(
            run.errors.contains(
                ".study/\(name) belongs to the ledger that this run is written into."),
            "\(run.errors)")
        #expect(run.errors.contains("mend:  read results of other runs through `inputs`"))
        let record = try Ledger.openForReading(folder.path).run("@latest")
        #expect(record.status == .failed && record.inputs.isEmpty)
    }

    @Test func `a cell that saves outside its scratch folder is refused`() throws {
        let (run, folder) = try run(
            #"try Run.current.save("../../beside.txt") { _ in remove("beside.txt") }"#)
        #expect(run.status == 1)
        #expect(
            run.errors.contains("\"../../beside.txt\" cannot name an artifact"), "\(run.errors)")
        #expect(
            FileManager.default.contents(atPath: folder.path + "/beside.txt") == Data("kept".utf8))
    }

    @Test func `doctor names a bad page, and --repair makes a ledger that goes on`() throws {
        let folder = try TemporaryFolder("bad page")
        let cell = "for step in 0..<20_000 { Run.current.record(\"loss\", 0.1, step: step) }"
        try folder.write("```swift\n\(cell)\n```\n", to: "study.md")
        for _ in 0..<3 {
            #expect(try StudyProcess(["run", "study.md"], in: folder.path).status == 0)
        }
        let path = folder.path + "/.study/ledger.sqlite"
        // What is in the log goes into the file with the last connection.
        _ = try StudyProcess(["list"], in: folder.path)
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        try file.seek(toOffset: (file.seekToEnd() / 4096 - 20) * 4096)
        try file.write(contentsOf: Data(repeating: 0xA5, count: 4096))
        try file.close()

        let sick = try StudyProcess(["doctor"], in: folder.path)
        #expect(sick.status == 1 && sick.output.contains("✗ ledger"), "\(sick.output)")
        #expect(sick.output.contains("mend: study doctor --repair"))
        let repair = try StudyProcess(["doctor", "--repair"], in: folder.path)
        #expect(repair.status == 0 && repair.output.contains("rows of 3 runs"), "\(repair.errors)")
        #expect(repair.output.contains("the damaged ledger lies at "))
        #expect(repair.output.contains(": its seal no longer holds"), "\(repair.output)")
        #expect(try StudyProcess(["run", "study.md"], in: folder.path).status == 0)
        #expect(try Ledger.openForReading(folder.path).list().total == 4)
    }

    @Test func `a cell that deletes the ledger is told so, and nothing else is lost`() throws {
        let (run, folder) = try run(
            """
            let run = Run.current
            run.record("before", 1)
            run.flush()
            for name in ["ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"] { remove(".study/" + name) }
            run.record("after", 1)
            run.flush()
            """)
        #expect(run.status == 1)
        #expect(
            run.errors.contains("The ledger was moved or deleted while the run went on."),
            "\(run.errors)")
        #expect(run.errors.contains("a cell must leave .study alone"))
        #expect(
            FileManager.default.contents(atPath: folder.path + "/beside.txt") == Data("kept".utf8))
        // The next run makes a ledger anew.
        try folder.write("```swift\nprint(1)\n```\n", to: "next.md")
        #expect(try StudyProcess(["run", "next.md"], in: folder.path).status == 0)
        #expect(try Ledger.openForReading(folder.path).list().total == 1)
    }
}
