// What a person sees on a terminal while a study runs, and what is left on it when the study is over.

import Foundation
import TestSupport
import Testing

/// The command on a pseudo-terminal of its own.
final class TerminalProcess {
    private let master: Int32
    private let process = Process()
    private(set) var text = ""
    private var undecoded: [UInt8] = []

    init(_ arguments: [String], in folder: String, columns: UInt16) throws {
        // `posix_openpt` and its kin are no part of Swift's Glibc: what they do on Linux.
        master = open("/dev/ptmx", O_RDWR | O_NOCTTY)
        var locked: Int32 = 0
        var number: Int32 = 0
        try #require(
            master >= 0 && ioctl(master, 0x4004_5431 /* TIOCSPTLCK */, &locked) == 0
                && ioctl(master, 0x8004_5430 /* TIOCGPTN */, &number) == 0)
        var size = winsize(ws_row: 24, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0)
        _ = ioctl(master, UInt(TIOCSWINSZ), &size)
        let slave = open("/dev/pts/\(number)", O_RDWR | O_NOCTTY)
        try #require(slave >= 0)
        defer { close(slave) }
        let handle = FileHandle(fileDescriptor: slave, closeOnDealloc: false)
        process.executableURL = URL(fileURLWithPath: StudyProcess.products + "/study")
        process.arguments = arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        var environment = ProcessInfo.processInfo.environment
        environment["TERM"] = "xterm-256color"
        environment["NO_COLOR"] = nil
        process.environment = environment
        process.standardInput = FileHandle.nullDevice
        process.standardOutput = handle
        process.standardError = handle
        try process.run()
        _ = fcntl(master, F_SETFL, fcntl(master, F_GETFL) | O_NONBLOCK)
    }

    deinit { close(master) }

    private func take() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = read(master, &buffer, buffer.count)
        guard count > 0 else { return false }
        undecoded += buffer[..<count]
        // Text is looked at whole, since a read may end within a character.
        text = String(decoding: undecoded, as: UTF8.self)
        return true
    }

    /// Waits until the terminal has been sent `words`.
    func wait(for words: String) throws {
        let came = waited {
            while take() {}
            return text.contains(words) || !process.isRunning
        }
        while take() {}
        try #require(came && text.contains(words), "never came: \(words) in \(text)")
    }

    func signal(_ number: Int32) { kill(process.processIdentifier, number) }

    /// The exit status, once everything is read.
    func finish() -> Int32 {
        while process.isRunning { if !take() { usleep(5000) } }
        while take() {}
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// What a reader sees: the lines as carriage returns and erasures leave them.
    var screen: [String] {
        var lines: [[Unicode.Scalar]] = [[]]
        var column = 0
        var scalars = text.unicodeScalars.makeIterator()
        while let scalar = scalars.next() {
            switch scalar {
            case "\r": column = 0
            case "\n": lines.append([])
            case "\u{1B}":
                guard scalars.next() == "[" else { continue }
                var last = scalars.next()
                while let digit = last, digit == ";" || ("0"..."9").contains(digit) {
                    last = scalars.next()
                }
                if last == "K", column < lines[lines.count - 1].count {
                    lines[lines.count - 1].removeSubrange(column...)
                }
            default:
                let row = lines.count - 1
                if column < lines[row].count {
                    lines[row][column] = scalar
                } else {
                    lines[row].append(scalar)
                }
                column += 1
            }
        }
        return lines.map { line in
            var view = String.UnicodeScalarView()
            view.append(contentsOf: line)
            return String(view)
        }
    }

    /// Every state of the line at the bottom, without colours.
    var statusLines: [String] {
        text.components(separatedBy: "\r\u{1B}[K").dropFirst().map { piece in
            String(piece.prefix { $0 != "\r" && $0 != "\n" && $0 != "\r\n" })
                .replacing(/\u{1B}\[[0-9;]*m/, with: "")
        }.filter { $0.hasPrefix("[1/2] slow ") }
    }
}

@Suite struct `The live view` {
    let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder("live")
        try folder.write(
            """
            ```swift
            //| id: slow
            import Glibc
            let run = Run.current
            print("begun")
            for step in 1...12 {
                run.progress("steps", step, of: 12)
                run.record("loss", 1.0 / Double(step), step: step)
                // The test lets it go on: what is on the screen meanwhile is no matter of speed.
                while access("go-\\(step)", F_OK) != 0, !run.isCancelled { usleep(1000) }
                if run.isCancelled { break }
            }
            run.claim("it ends", holds: true, evidence: "12 steps")
            ```

            ```swift
            //| id: quick
            print("over")
            ```
            """, to: "slow.md")
        // Compiled beforehand, so that what follows is the run alone.
        let check = try StudyProcess(["check", "slow.md"], in: folder.path)
        #expect(check.status == 0, "\(check.errors)")
    }

    /// Lets the cell go on past these steps.
    func allow(_ steps: ClosedRange<Int>) throws {
        for step in steps { try folder.write("", to: "go-\(step)") }
    }

    func run(columns: UInt16) throws -> TerminalProcess {
        try TerminalProcess(["run", "slow.md"], in: folder.path, columns: columns)
    }

    @Test func `a line at the bottom tells cell, progress and metric, and is gone in the end`()
        throws
    {
        let run = try run(columns: 120)
        try allow(1...2)
        try run.wait(for: "steps 3/12")
        let during = try #require(run.statusLines.last { $0.contains("steps 3/12") })
        #expect(during.contains("[1/2] slow "))
        #expect(during.contains(" in all"))
        #expect(run.screen.last?.hasPrefix("[1/2] slow ") == true, "\(run.screen)")
        try run.wait(for: "loss 0.333")
        try allow(3...12)
        #expect(run.finish() == 0)
        let screen = run.screen
        #expect(screen.contains("begun") && screen.contains("over"))
        #expect(screen.contains("✓ it ends (12 steps)"))
        #expect(
            screen.contains {
                $0.contains(" succeeded after ") && $0.hasSuffix(", 1 of 1 claims hold")
            }, "\(screen)")
        #expect(
            !screen.contains {
                $0.contains(" in all") || $0.contains("steps ") && $0.contains("/12")
            }, "\(screen)")
        // Colours are closed again.
        #expect(run.text.components(separatedBy: "\u{1B}[0m").count > 3)
    }

    @Test func `in a window of 40 columns the line never wraps`() throws {
        let run = try run(columns: 40)
        for step in 1...6 {
            try run.wait(for: "steps \(step)/12")
            try allow(step...step)
        }
        try allow(7...12)
        #expect(run.finish() == 0)
        #expect(run.statusLines.count > 5)
        #expect(run.statusLines.allSatisfy { $0.count <= 39 }, "\(run.statusLines)")
        #expect(run.statusLines.contains { $0.contains("steps 5/12") })
        #expect(!run.screen.contains { $0.hasPrefix("[1/2] slow ") })
    }

    @Test func `Ctrl-C once says that it asks, and twice that it ends`() throws {
        let asked = "asked the cell to stop; Ctrl-C once more ends it at once"
        let once = try run(columns: 80)
        try allow(1...1)
        try once.wait(for: "steps 2/12")
        once.signal(SIGINT)
        #expect(once.finish() == 1)
        #expect(once.screen.filter { $0 == asked }.count == 1, "\(once.screen)")
        #expect(once.screen.contains { $0.contains(" interrupted after ") })
        #expect(!once.screen.contains("over"))
        #expect(!once.screen.contains { $0.contains(" in all") })

        try folder.write(
            "```swift\n//| id: deaf\nimport Glibc\nprint(\"begun\")\nwhile true { usleep(1000) }\n```\n",
            to: "slow.md")
        let twice = try run(columns: 80)
        try twice.wait(for: "begun")
        twice.signal(SIGINT)
        try twice.wait(for: asked)
        twice.signal(SIGINT)
        #expect(twice.finish() == 1)
        #expect(twice.screen.contains { $0.contains(" interrupted after ") })
        #expect(twice.screen.filter { $0 == asked }.count == 1)
    }
}
