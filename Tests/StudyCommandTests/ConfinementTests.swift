// Cells that lay hands on what lies outside their project: by Foundation, by the C library, by another program. Each is
// refused by the system, told in words, and what was on record before stays.

import Foundation
import Provenance
import TestSupport
import Testing

/// A home and a project beside each other, neither in a temporary folder: those are open to cells.
private final class Household: Sendable {
    let path: String
    var home: String { path + "/home" }
    var project: String { path + "/project" }

    /// /var/tmp is none of the temporary folders that every program needs; a clone may itself lie below one.
    private static let ground: String? = ["/var/tmp", StudyProcess.products].first { folder in
        access(folder, W_OK) == 0
            && !["/tmp", NSTemporaryDirectory()].contains {
                let (place, open) = (realPath(folder), realPath($0))
                return place == open || place.hasPrefix(open + "/")
            }
    }

    struct NoGround: Error {}

    init() throws {
        guard let ground = Self.ground else { throw NoGround() }
        path = ground + "/study household \(UUID().uuidString.prefix(8))"
        for folder in [path + "/home", path + "/project"] {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
        }
        try "mine\n".write(toFile: home + "/kept.txt", atomically: true, encoding: .utf8)
        // A repository of its own, or this one would be the project.
        let git = Process()
        git.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        git.arguments = ["git", "init", "-q", project]
        try git.run()
        git.waitUntilExit()
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func run(_ cells: String..., options: [String] = [], environment: [String: String] = [:])
        throws -> StudyProcess
    {
        let text = cells.enumerated().map {
            "```swift\n//| id: c\($0.offset)\n\($0.element)\n```\n"
        }.joined(separator: "\n")
        try text.write(toFile: project + "/study.md", atomically: true, encoding: .utf8)
        return try StudyProcess(
            ["run", "study.md", "--json", "--ledger", project] + options, in: project,
            environment: environment.merging(["HOME": home, "OUTSIDE": home]) { $1 })
    }

    func latest() throws -> RunRecord {
        try Ledger.openForReading(project).run("@latest", points: true)
    }

    var homeFiles: [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: home)) ?? []).sorted()
    }
    var kept: String? { try? String(contentsOfFile: home + "/kept.txt", encoding: .utf8) }
}

@Suite struct `Writing outside the project` {
    private static let isConfined: Bool = {
        let household: Household
        do { household = try Household() } catch is Household.NoGround {
            print("not run: Writing outside the project: every folder here is a temporary one")
            return false
        } catch { return true }
        guard (try? household.run("print(1)"))?.status == 0,
            let run = try? household.latest()
        else { return true }  // then the tests fail, and say how
        let fact = run.environment["run.writes_outside"] ?? ""
        if fact.hasPrefix("not stopped") { print("not run: Writing outside the project: \(fact)") }
        return !fact.hasPrefix("not stopped")
    }()

    /// What a cell does, and what in the message says where. `out` is the folder outside.
    static let deeds: [(name: String, code: String, says: String)] = [
        (
            "FileManager writes",
            #"try Data("x".utf8).write(to: URL(fileURLWithPath: out + "/new.txt"))"#,
            "may not write to HOME/new.txt"
        ),
        (
            "FileManager writes atomically over a file",
            #"try "x".write(toFile: out + "/kept.txt", atomically: true, encoding: .utf8)"#,
            "may not write to HOME/kept.txt"
        ),
        (
            "FileManager makes a folder",
            #"try FileManager.default.createDirectory(atPath: out + "/folder", withIntermediateDirectories: true)"#,
            "may not write to HOME/folder"
        ),
        (
            "FileManager removes",
            #"try FileManager.default.removeItem(atPath: out + "/kept.txt")"#,
            "may not write to HOME/kept.txt"
        ),
        (
            "FileManager moves outwards",
            #"try "x".write(toFile: "inside.txt", atomically: false, encoding: .utf8); try FileManager.default.moveItem(atPath: "inside.txt", toPath: out + "/moved.txt")"#,
            "may not write to HOME/moved.txt"
        ),
        (
            "FileManager moves inwards",
            #"try FileManager.default.moveItem(atPath: out + "/kept.txt", toPath: "taken.txt")"#,
            "may not write to HOME/kept.txt"
        ),
        (
            "fopen", #"let file = fopen(out + "/new.txt", "w")!; fclose(file)"#,
            "the system had refused a call (Permission denied)"
        ),
        (
            "open and truncate",
            #"let file = open(out + "/kept.txt", O_WRONLY | O_TRUNC); precondition(file >= 0, "not open")"#,
            "the system had refused a call (Permission denied)"
        ),
        (
            "rename",
            #"struct Failed: Error {}; if rename(out + "/kept.txt", out + "/other.txt") != 0 { throw Failed() }"#,
            "the system had refused a call (Permission denied)"
        ),
        (
            "a link to a file inside", #"if link("study.md", out + "/link.md") != 0 { exit(3) }"#,
            "the system had refused a call"
        ),
        (
            "another program",
            #"""
            let shell = Process()
            shell.executableURL = URL(fileURLWithPath: "/bin/sh")
            shell.arguments = ["-c", "echo x > '\(out)/new.txt'"]
            try shell.run()
            shell.waitUntilExit()
            struct ShellFailed: Error {}
            if shell.terminationStatus != 0 { throw ShellFailed() }
            """#, "may not write to HOME/new.txt"
        ),
        (
            "another thread",
            #"""
            nonisolated(unsafe) var failed: (any Error)?
            let place = out
            let thread = Thread {
                do { try Data("x".utf8).write(to: URL(fileURLWithPath: place + "/new.txt")) } catch { failed = error }
            }
            thread.start()
            while !thread.isFinished { usleep(1000) }
            if let failed { throw failed }
            """#, "may not write to HOME/new.txt"
        ),
        (
            "a task",
            #"""
            let place = out
            let done = Task.detached { try Data("x".utf8).write(to: URL(fileURLWithPath: place + "/new.txt")) }
            try await done.value
            """#, "may not write to HOME/new.txt"
        ),
    ]

    @Test(.enabled(if: isConfined), arguments: deeds.map(\.name))
    func `is refused in words, and all else stays`(deed: String) throws {
        let household = try Household()
        let (_, code, says) = try #require(Self.deeds.first { $0.name == deed })
        let run = try household.run(
            "import Foundation\nlet out = \"\(household.home)\"\nRun.current.record(\"before\", 7)\nprint(\"said\")",
            "import Foundation\nimport Glibc\n\(code)")
        #expect(run.status == 1)
        let expected = says.replacing("HOME", with: household.home)
        #expect(run.errors.contains(expected), "\(run.errors)")
        #expect(run.errors.contains("mend:") && run.errors.contains("run.save(…)"), "\(run.errors)")
        #expect(run.errors.contains("--writable"), "\(run.errors)")
        let place = try Regex(#"study\.md:(\d+):\d+: error: "#)
        let line = try #require(run.errors.firstMatch(of: place)?[1].substring.flatMap { Int($0) })
        #expect(line > 12, "the second cell's code begins there")
        #expect(household.homeFiles == ["kept.txt"] && household.kept == "mine\n")
        let record = try household.latest()
        #expect(record.status == .failed)
        #expect(record.series.first?.points.map(\.value) == [7])
        #expect(String(decoding: record.output(of: 0, .standardOutput), as: UTF8.self) == "said\n")
        #expect(try Ledger.openForReading(household.project).sealHolds(record.id) == true)
    }

    @Test func `the project, its folders, the temporary folder and the devices stay open`() throws {
        let household = try Household()
        let run = try household.run(
            """
            import Foundation
            import Glibc
            let manager = FileManager.default
            try manager.createDirectory(atPath: "made/deep", withIntermediateDirectories: true)
            try "x".write(toFile: "made/deep/a.txt", atomically: true, encoding: .utf8)
            try manager.moveItem(atPath: "made/deep/a.txt", toPath: "a.txt")
            precondition(link("a.txt", "made/b.txt") == 0 && symlink("a.txt", "made/c") == 0 && mkfifo("made/p", 0o600) == 0)
            try manager.removeItem(atPath: "made")
            let temporary = NSTemporaryDirectory() + "/study-confinement-\\(getpid())"
            try "x".write(toFile: temporary, atomically: true, encoding: .utf8)
            precondition(rename(temporary, "from temporary") == 0 || errno == EXDEV)
            remove(temporary)
            for device in ["/dev/null", "/dev/shm/study-\\(getpid())"] {
                let file = fopen(device, "w")!
                fputs("x", file)
                fclose(file)
            }
            remove("/dev/shm/study-\\(getpid())")
            precondition(tmpfile() != nil)
            let names = try manager.contentsOfDirectory(atPath: "\(household.home)")
            let read = try String(contentsOfFile: "\(household.home)/kept.txt", encoding: .utf8)
            print(names, read)
            try Run.current.save("kept.txt") { try read.write(toFile: $0, atomically: false, encoding: .utf8) }
            var pair: [Int32] = [0, 0]
            precondition(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &pair) == 0)
            precondition(socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0) >= 0)
            let shell = Process()
            shell.executableURL = URL(fileURLWithPath: "/bin/sh")
            shell.arguments = ["-c", "echo child > child.txt"]
            try shell.run()
            shell.waitUntilExit()
            precondition(shell.terminationStatus == 0)
            """)
        #expect(run.status == 0, "\(run.errors)")
        #expect(run.errors.contains("kept.txt"))
        #expect(FileManager.default.fileExists(atPath: household.project + "/child.txt"))
    }

    @Test(.enabled(if: isConfined))
    func `a folder that is named may be written, is on record, and a replay says so`() throws {
        let household = try Household()
        let cell = """
            import Foundation
            try "x".write(toFile: "\(household.home)/new.txt", atomically: true, encoding: .utf8)
            """
        let run = try household.run(cell, options: ["--writable", "../home"])
        #expect(run.status == 0, "\(run.errors)")
        #expect(household.homeFiles == ["kept.txt", "new.txt"])
        let record = try household.latest()
        #expect(record.environment["run.writable.1"] == household.home)
        #expect(record.environment["run.writes_outside"]?.hasPrefix("stopped (Landlock") == true)

        let ledger = ["--json", "--ledger", household.project]
        let refused = try StudyProcess(["replay", record.id] + ledger, in: household.project)
        #expect(
            refused.errors.contains(
                "run \(record.id) could write below \(household.home) too; this replay may not: add --writable '\(household.home)' where it should"
            ), "\(refused.errors)"
        )
        #expect(refused.status == 4)
        let allowed = try StudyProcess(
            ["replay", record.id, "--writable", household.home] + ledger, in: household.project)
        #expect(allowed.status == 0, "\(allowed.errors)")

        let missing = try household.run(cell, options: ["--writable", "nowhere"])
        #expect(missing.status == 2)
        #expect(missing.errors.contains("--writable nowhere: there is no such folder"))
    }

    @Test(.enabled(if: isConfined && getuid() == 0, "another account needs root"))
    func `an account without privileges is shut in too`() throws {
        let household = try Household()
        let cell = """
            import Foundation
            import Glibc
            try "x".write(toFile: "\(household.home)/new.txt", atomically: false, encoding: .utf8)
            """
        #expect(chmod(household.home, 0o777) == 0)
        // Without capabilities, Landlock is granted only with PR_SET_NO_NEW_PRIVS.
        let text = "```swift\n\(cell)\n```\n"
        try text.write(
            toFile: household.project + "/study.md", atomically: true, encoding: .utf8)
        let run = try StudyProcess(
            [
                "--bounding-set", "-all", "--inh-caps", "-all", StudyProcess.products + "/study",
                "run", "study.md", "--json", "--ledger", household.project,
            ], in: household.project, executable: "/usr/bin/setpriv")
        #expect(run.errors.contains("may not write to \(household.home)/new.txt"), "\(run.errors)")
        #expect(household.homeFiles == ["kept.txt"])
    }

    @Test func `an error of another kind is not taken for this`() throws {
        let household = try Household()
        let run = try household.run(
            """
            import Foundation
            struct Odd: Error {}
            _ = fopen("/nowhere/x", "r")
            throw Odd()
            """)
        #expect(run.status == 1)
        #expect(!run.errors.contains("--writable") && !run.errors.contains("refused"))
        let missing = try household.run(
            "import Foundation\n_ = try String(contentsOfFile: \"\(household.home)/no.txt\", encoding: .utf8)"
        )
        #expect(missing.status == 1 && !missing.errors.contains("--writable"), "\(missing.errors)")
    }
}
