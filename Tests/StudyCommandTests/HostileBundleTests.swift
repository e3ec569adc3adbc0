// A bundle whose cells mean harm, really run: it reads keys, opens sockets, writes outside, forks
// without end, fills the disk and the memory, never ends, and talks to the terminal. While it is recorded
// it does nothing; only in the sandbox does it attack, so "same bits" says that every attack failed.

import Export
import Foundation
import TestSupport
import Testing

@Suite(.serialized, .enabled(if: sandboxIsThere)) struct `A hostile bundle` {
    static func text(secret: String, port: Int, mark: String) -> String {
        """
        ---
        title: Harmless
        params: {attack: none}
        datasets:
          - {name: words, path: data/words.txt, licence: CC0-1.0}
        ---
        ```swift
        //| id: attack
        import Foundation
        let run = Run.current
        _ = try run.input("words")
        let place = "/replay/work"
        let isLockedUp = FileManager.default.fileExists(atPath: place)
        func tell(_ name: String, _ count: () -> Int) {
            run.record(MetricName(name), Double(isLockedUp ? count() : 0))
        }
        func shell(_ script: String) -> Int32 {
            var child: pid_t = 0
            let texts: [String] = ["/bin/sh", "-c", script, "\(mark)"]
            let words: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
            guard posix_spawn(&child, "/bin/sh", nil, nil, words, environ) == 0 else { return -1 }
            var status: Int32 = 0
            waitpid(child, &status, 0)
            return status
        }
        ```

        ```swift
        //| id: look
        if params.attack == "look" {
            tell("keys and accounts that could be read") {
                let home = getpwuid(getuid()).map { String(cString: $0.pointee.pw_dir) } ?? "/root"
                var places = ["\(secret)", "/etc/shadow", "/etc/passwd", "/etc/hosts", home + "/.ssh",
                    home + "/.aws", NSHomeDirectory() + "/.ssh", "/root", "/mnt", "/var", "/run"]
                places += (try? FileManager.default.contentsOfDirectory(atPath: "/home"))?
                    .filter { $0 != "reviewer" } ?? []
                return places.count { access($0, R_OK) == 0 }
            }
            tell("sockets that reached anybody") {
                [("127.0.0.1", \(port)), ("1.1.1.1", 53), ("192.168.0.1", 80)].count { host, port in
                    let socket = socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)
                    defer { close(socket) }
                    var address = sockaddr_in()
                    address.sin_family = sa_family_t(AF_INET)
                    address.sin_port = in_port_t(port).bigEndian
                    inet_pton(AF_INET, host, &address.sin_addr)
                    return withUnsafePointer(to: &address) {
                        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                            connect(socket, $0, socklen_t(MemoryLayout<sockaddr_in>.size))
                        }
                    } == 0
                }
            }
            tell("places outside that could be written") {
                ["/", "/usr", "/usr/bin", "/etc", "/dev", "/proc/sys/kernel", "/replay",
                    "/replay/bundle", "/replay/bundle/data", "/opt"].count {
                    let file = open($0 + "/written", O_WRONLY | O_CREAT, 0o644)
                    return file >= 0
                } + [place + "/escape"].count { (link: String) in
                    symlink("\(secret)", link)
                    return open(link, O_WRONLY | O_CREAT, 0o644) >= 0
                }
            }
            tell("files of the bundle and of the program that could be changed") {
                let places: [String] = [try! run.input("words").path, "/proc/self/exe"]
                return places.count {
                    open($0, O_WRONLY) >= 0 || chmod($0, 0o777) == 0
                }
            }
            tell("processes of others, and variables") {
                let all = try! FileManager.default.contentsOfDirectory(atPath: "/proc")
                    .compactMap { Int($0) }
                return max(0, all.count - 8)
                    + ProcessInfo.processInfo.environment.keys.count { $0.contains("SECRET") }
            }
            tell("rights regained") {
                [shell("mount -t tmpfs none /usr"), shell("umount /replay/bundle"),
                    shell("mknod /tmp/disk b 254 0 && cat /tmp/disk")].count { $0 == 0 }
            }
        }
        if isLockedUp, params.attack == "fork" { _ = shell("f() { f | f & }; f; sleep 60") }
        if isLockedUp, params.attack == "disk" {
            let block = [UInt8](repeating: 1, count: 8 << 20)
            for index in 0..<10_000 {
                let file = open(place + "/\\(index)", O_WRONLY | O_CREAT, 0o644)
                _ = write(file, block, block.count)
                close(file)
            }
        }
        if isLockedUp, params.attack == "memory" {
            // Kept and looked at, or the optimiser would allocate nothing.
            var kept: [[UInt8]] = []
            while true {
                kept.append([UInt8](repeating: UInt8(kept.count & 127), count: 64 << 20))
                if kept.last?.last == 99 { print(kept.count) }
            }
        }
        if params.attack == "forge" {
            run.record("what is computed", isLockedUp ? 2 : 1)
        }
        if isLockedUp, params.attack == "forge" {
            let verdict = #"{"holds":true,"outputs":[],"text":"✓ same bits: forged","verdict":"same bits"}"#
            print("✓ same bits: forged")
            print(verdict)
            // The record in the ledger becomes what is computed here.
            typealias Open = @convention(c) (UnsafePointer<CChar>, UnsafeMutablePointer<OpaquePointer?>) -> Int32
            typealias Row = @convention(c) (
                UnsafeMutableRawPointer?, Int32, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?,
                UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?) -> Int32
            typealias Execute = @convention(c) (
                OpaquePointer?, UnsafePointer<CChar>, Row?, UnsafeMutableRawPointer?, OpaquePointer?) -> Int32
            let sqlite = dlopen("libsqlite3.so.0", RTLD_NOW)
            let open = unsafeBitCast(dlsym(sqlite, "sqlite3_open"), to: Open.self)
            let execute = unsafeBitCast(dlsym(sqlite, "sqlite3_exec"), to: Execute.self)
            var ledger: OpaquePointer?
            let opened = open(place + "/replay/.study/ledger.sqlite", &ledger)
            _ = execute(ledger, "PRAGMA busy_timeout = 20000", nil, nil, nil)
            var triggers: [String] = []
            let found = withUnsafeMutablePointer(to: &triggers) {
                execute(ledger, "SELECT name FROM sqlite_master WHERE type = 'trigger'", { list, _, values, _ in
                    list!.assumingMemoryBound(to: [String].self).pointee.append(String(cString: values![0]!))
                    return 0
                }, $0, nil)
            }
            for name in triggers { _ = execute(ledger, "DROP TRIGGER " + name, nil, nil, nil) }
            let changed = execute(ledger, "UPDATE point SET value = 2; UPDATE series SET last_value = 2", nil, nil, nil)
            print("meddled:", opened, found, triggers.count, changed)
            // And whoever listens is told so, now and for as long as anything runs.
            var child: pid_t = 0
            let script = "while :; do for f in /proc/[0-9]*/fd/1 /proc/[0-9]*/fd/2; do echo '\\(verdict)' > $f; done; sleep 0.01; done"
            let texts: [String] = ["/bin/sh", "-c", script, "\(mark)"]
            let words: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
            posix_spawn(&child, "/bin/sh", nil, nil, words, environ)
        }
        if isLockedUp, params.attack == "pipe" || params.attack == "link" {
            // When the recorder has closed its ledger, it becomes something else.
            let ledger = place + "/replay/.study/ledger.sqlite"
            let target = params.attack == "pipe" ? "mkfifo" : "ln -s \(secret)"
            var child: pid_t = 0
            let script = "sleep 0.2; rm -f \\(ledger) \\(ledger)-wal; \\(target) \\(ledger)"
            let texts: [String] = ["/bin/sh", "-c", script, "\(mark)"]
            let words: [UnsafeMutablePointer<CChar>?] = texts.map { strdup($0) } + [nil]
            posix_spawn(&child, "/bin/sh", nil, nil, words, environ)
            sleep(1)
        }
        if isLockedUp, params.attack == "talk" {
            while true { print("\\u{1B}]0;owned\\u{07}\\u{1B}[2Jnoise without end") }
        }
        ```
        """
    }

    let study: ExportedStudy
    let mark = "mark-\(UUID().uuidString)"
    let outside = try! TemporaryFolder("outside")
    let listener: Int32
    let secret: String

    init() throws {
        secret = try outside.write("a key", to: "secret")
        let door = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
        listener = door
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                _ = bind(door, $0, length)
                listen(door, 5)
                _ = getsockname(door, $0, &length)
            }
        }
        study = try ExportedStudy(
            Self.text(secret: secret, port: Int(address.sin_port.bigEndian), mark: mark))
    }

    private func replay(_ attack: String, _ limits: String...) throws -> StudyProcess {
        try study.run("-p", "attack=\(attack)")
        let bundle = try study.export()
        let replay = try StudyProcess(
            ["replay", bundle] + limits, in: study.reviewer.path,
            environment: ["TMPDIR": study.scratch.path, "MY_SECRET": "x"])
        // Whatever it tried: nothing of it runs on, nothing lies about, nobody was called.
        #expect(study.left == [])
        #expect(try alive() == [])
        #expect(try FileManager.default.contentsOfDirectory(atPath: outside.path) == ["secret"])
        #expect(try String(contentsOfFile: secret, encoding: .utf8) == "a key")
        #expect(accept(listener, nil, nil) < 0)
        return replay
    }

    /// Processes that the bundle's shell started, by the mark on their command lines.
    private func alive() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: "/proc").filter {
            Int($0) != nil
                && FileManager.default.contents(atPath: "/proc/\($0)/cmdline").map {
                    String(decoding: $0, as: UTF8.self).contains(mark)
                } ?? false
        }
    }

    @Test func `finds no key, no network, no place to write, no process, no right`() throws {
        let replay = try replay("look")
        #expect(replay.status == 0, "\(replay.output)\n\(replay.errors)")
        #expect(replay.output.contains("✓ same bits"))
        #expect(replay.output.contains("metrics        6 same bits"))
    }

    @Test func `that forks endlessly is ended`() throws {
        let replay = try replay("fork")
        #expect(replay.status == 1, "\(replay.output)")
        #expect(replay.errors.contains("the bundle's code started more than 512 processes"))
    }

    @Test func `that fills the disk is ended`() throws {
        let replay = try replay("disk", "--max-disk", "300M")
        #expect(replay.status == 1, "\(replay.output)")
        #expect(replay.errors.contains("the bundle's code wrote more than 315 MB to the disk"))
    }

    @Test func `that takes all memory is ended`() throws {
        let replay = try replay("memory", "--max-memory", "1G")
        #expect(replay.status == 1, "\(replay.output)")
        #expect(replay.errors.contains("the bundle's code used more than 1.1 GB of memory"))
    }

    @Test func `can forge its own numbers only, not the record and not the verdict`() throws {
        let replay = try replay("forge")
        #expect(replay.status == 4, "\(replay.output)\n\(replay.errors)")
        #expect(
            replay.output.contains("metric what is computed: 1.0 recorded, 2.0 found"),
            "\(replay.output)")
        // It did what it could; each of its lines has the bar before it.
        #expect(
            replay.output.contains(#/│ meddled: 0 0 [1-9]\d* 0/#), "\(replay.output)")
        let forged = replay.output.split(separator: "\n").filter { $0.contains("forged") }
        // The verdict itself cites what was printed, within a sentence.
        #expect(
            forged.count >= 2
                && forged.allSatisfy { $0.hasPrefix("│ ") || $0.contains(" recorded, ") },
            "\(forged)")
        let json = try StudyProcess(
            ["replay", study.reviewer.path + "/b.tar.zst", "--json"], in: study.reviewer.path,
            environment: ["TMPDIR": study.scratch.path])
        #expect(json.status == 4, "\(json.errors)")
        #expect(json.json["verdict"] as? String == "different")
        #expect(json.json["holds"] as? Bool == false)
    }

    @Test func `that leaves a pipe or a link for its record gets no verdict`() throws {
        for attack in ["pipe", "link"] {
            let replay = try replay(attack)
            #expect(replay.status == 1, "\(replay.output)\n\(replay.errors)")
            #expect(replay.errors.contains("no verdict"), "\(replay.errors)")
        }
    }

    @Test func `that never ends and talks to the terminal is ended, and does not reach it`() throws
    {
        let replay = try replay("talk", "--max-time", "12s")
        #expect(replay.status == 1, "\(replay.output.suffix(2000))")
        #expect(replay.errors.contains("the bundle's code took longer than 12.0 s"))
        #expect(replay.output.contains("noise without end"))
        #expect(!replay.output.contains("\u{1B}") && !replay.errors.contains("\u{1B}"))
        #expect(replay.output.utf8.count < 32 << 20)
    }
}
