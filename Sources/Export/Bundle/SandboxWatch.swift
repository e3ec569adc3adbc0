// Runs a command in its sandbox and watches over it: time, memory of all its processes together, their
// number, what they put on the disk. bubblewrap limits none of these, and per-process limits do not add up.

internal import CProcess
internal import Foundation
internal import Notebook

/// How a sandboxed program ended.
package enum SandboxEnd: Sendable, Equatable {
    case exited(Int32)
    /// It went beyond a limit, in words: "used more than 2.0 GB of memory".
    case stopped(String)
    case interrupted
}

extension Sandbox {
    /// Runs `program` and waits for it; whatever is left of it afterwards is ended.
    ///
    /// Blocks its thread: the sandbox dies with the thread that made it.
    /// - Parameter output: Gets what it prints, in pieces; true for standard error.
    package func run(_ program: [String], output: (Bool, [UInt8]) -> Void) throws -> SandboxEnd {
        let words = command(program)
        guard let bwrap = Tool.find(words[0]) else {
            throw ExportError(
                .tool, "bubblewrap is not installed.", where: "PATH",
                mend: "apt-get install bubblewrap")
        }
        let group = ControlGroup(processes: limits.processes)
        defer { group?.remove() }
        let confined = group?.joining([bwrap] + words.dropFirst()) ?? [bwrap] + words.dropFirst()
        let child = try Confined(confined[0], confined)
        defer { child.finish() }
        let signals = Interrupts.install()
        defer { Interrupts.remove() }
        var watch = Watch(limits, folder: writable.host)
        while true {
            let interrupted = child.pass(signals, output)
            if interrupted {
                child.end()
                return .interrupted
            }
            if let status = child.poll() {
                child.drain(output)
                // Many that came and went between two looks were counted by the kernel.
                return group?.hasRefused == true
                    ? .stopped(watch.tooManyProcesses) : .exited(status)
            }
            let reason = group?.hasRefused == true ? watch.tooManyProcesses : nil
            if let reason = reason ?? watch.check(child.id) {
                child.end()
                child.drain(output)
                return .stopped(reason)
            }
        }
    }
}

/// The kernel's own bound on a sandbox's processes and threads: a watch that counts them is slower than whoever makes
/// them, and `RLIMIT_NPROC` does not bind root. Only root can have one; others are bound by the limit.
struct ControlGroup {
    let folder: String

    /// Whether this user can have one.
    static var isThere: Bool {
        guard let group = ControlGroup(processes: 1) else { return false }
        group.remove()
        return true
    }

    init?(processes: Int) {
        let name = "study-sandbox-\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        // Version 1 has a hierarchy for each controller; in version 2 there is one.
        for hierarchy in ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"] {
            let path = "\(hierarchy)/\(name)"
            guard mkdir(path, 0o755) == 0 else { continue }
            let file = open(path + "/pids.max", O_WRONLY | O_CLOEXEC)
            let words = Array("\(processes)".utf8)
            let isSet = file >= 0 && write(file, words, words.count) == words.count
            if file >= 0 { close(file) }
            if isSet {
                folder = path
                return
            }
            rmdir(path)
        }
        return nil
    }

    /// The words that put a program into the group before it begins, so that no child of it is outside.
    func joining(_ words: [String]) -> [String] {
        ["/bin/sh", "-c", "echo $$ > \"$0\" || exit 125; exec \"$@\"", folder + "/cgroup.procs"]
            + words
    }

    /// Whether the kernel has refused to make one more.
    var hasRefused: Bool {
        let words = ProcessTree.text(folder + "/pids.events")?.split(whereSeparator: \.isWhitespace)
        return words?.count == 2 && words?[0] == "max" && words?[1] != "0"
    }

    func remove() {
        // A group goes when the last of its dead is buried.
        for _ in 0..<100 where rmdir(folder) != 0 { usleep(10_000) }
    }
}

/// The child process and its two pipes.
private final class Confined {
    let id: pid_t
    private var pipes: [Int32]
    private var status: Int32?

    init(_ program: String, _ words: [String]) throws {
        var out: [Int32] = [-1, -1]
        var err: [Int32] = [-1, -1]
        guard pipe2(&out, O_CLOEXEC) == 0, pipe2(&err, O_CLOEXEC) == 0 else {
            throw Self.failure(program)
        }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, out[1], 1)
        posix_spawn_file_actions_adddup2(&actions, err[1], 2)
        // An open folder of ours would be a way out.
        posix_spawn_file_actions_addclosefrom_np(&actions, 3)
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP))
        var arguments = words.map { strdup($0) as UnsafeMutablePointer<CChar>? } + [nil]
        var environment: [UnsafeMutablePointer<CChar>?] = [nil]
        defer { for argument in arguments { free(argument) } }
        var child: pid_t = 0
        let failed = posix_spawn(&child, program, &actions, &attributes, &arguments, &environment)
        close(out[1])
        close(err[1])
        pipes = [out[0], err[0]]
        id = child
        guard failed == 0 else { throw Self.failure(program) }
        for pipe in pipes { _ = fcntl(pipe, F_SETFL, fcntl(pipe, F_GETFL) | O_NONBLOCK) }
        // The watch must get its turn beside a thousand processes, and memory must run out there first.
        setpriority(__priority_which_t(PRIO_PROCESS.rawValue), id_t(child), 5)
        if let file = fopen("/proc/\(child)/oom_score_adj", "w") {
            fputs("1000", file)
            fclose(file)
        }
    }

    private static func failure(_ program: String) -> ExportError {
        ExportError(
            .tool, "The sandbox cannot be started: \(systemMessage()).", where: program,
            mend: "check that bubblewrap can be run")
    }

    /// Passes on what was printed; waits a twentieth of a second where there is nothing. True after Ctrl-C.
    func pass(_ signals: Int32, _ output: (Bool, [UInt8]) -> Void) -> Bool {
        var polled = (pipes + [signals]).map {
            pollfd(fd: $0, events: Int16(POLLIN), revents: 0)
        }
        _ = Foundation.poll(&polled, nfds_t(polled.count), 50)
        for index in 0..<2 where polled[index].revents != 0 { read(index, output) }
        if polled[2].revents != 0 {
            var byte: UInt8 = 0
            return Foundation.read(signals, &byte, 1) == 1
        }
        return false
    }

    /// One piece; what one pass may read is bounded, so that the watch goes on.
    private func read(_ index: Int, _ output: (Bool, [UInt8]) -> Void) {
        guard pipes[index] >= 0 else { return }
        var bytes = [UInt8](repeating: 0, count: 1 << 16)
        let count = Foundation.read(pipes[index], &bytes, bytes.count)
        if count > 0 {
            output(index == 1, Array(bytes[..<count]))
        } else if count == 0 {
            close(pipes[index])
            pipes[index] = -1
        }
    }

    func poll() -> Int32? {
        if let status { return status }
        var word: Int32 = 0
        guard waitpid(id, &word, WNOHANG) == id else { return nil }
        status = word & 0x7f == 0 ? word >> 8 & 0xff : 128 + word & 0x7f
        return status
    }

    /// Ends everything inside, and returns when nothing of it runs any more.
    func end() {
        guard status == nil else { return }
        // The first process of the sandbox takes all others with it, and bubblewrap waits for it, so for them.
        for child in ProcessTree.children(of: id) { kill(child, SIGKILL) }
        let patience = Date().addingTimeInterval(20)
        while poll() == nil, Date() < patience { usleep(10_000) }
        guard status == nil else { return }
        kill(id, SIGKILL)
        var word: Int32 = 0
        while waitpid(id, &word, 0) < 0, errno == EINTR {}
        status = 128 + SIGKILL
    }

    /// What is still in the pipes, for two seconds at most.
    func drain(_ output: (Bool, [UInt8]) -> Void) {
        let end = Date().addingTimeInterval(2)
        while pipes.contains(where: { $0 >= 0 }), Date() < end { _ = pass(-1, output) }
    }

    func finish() {
        end()
        for pipe in pipes where pipe >= 0 { close(pipe) }
    }
}

/// Processes by their parents, from /proc.
enum ProcessTree {
    private static func parents() -> [(id: pid_t, parent: pid_t)] {
        guard let folder = opendir("/proc") else { return [] }
        defer { closedir(folder) }
        var found: [(pid_t, pid_t)] = []
        while let entry = readdir(folder) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            guard let id = pid_t(name), let line = text("/proc/\(id)/stat") else { continue }
            // The name in parentheses may hold anything, parentheses too.
            let fields = line[(line.lastIndex(of: ")") ?? line.startIndex)...].split(separator: " ")
            if fields.count > 2, let parent = pid_t(fields[2]) { found.append((id, parent)) }
        }
        return found
    }

    static func children(of id: pid_t) -> [pid_t] {
        parents().filter { $0.parent == id }.map(\.id)
    }

    /// `id` and all below it. Orphans of a sandbox belong to its first process, so none escapes.
    static func below(_ id: pid_t) -> [pid_t] {
        let children = Dictionary(grouping: parents(), by: \.parent)
        var found = [id]
        var next = 0
        while next < found.count {
            found += (children[found[next]] ?? []).map(\.id)
            next += 1
        }
        return found
    }

    /// Bytes that a process has for itself or shares through memory.
    static func memory(of id: pid_t) -> UInt64 {
        guard let status = text("/proc/\(id)/status") else { return 0 }
        var sum: UInt64 = 0
        for line in status.split(separator: "\n")
        where line.hasPrefix("RssAnon:") || line.hasPrefix("RssShmem:") {
            sum +=
                line.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first
                .flatMap { UInt64($0) } ?? 0
        }
        return sum * 1024
    }

    static func text(_ path: String) -> String? {
        let file = open(path, O_RDONLY | O_CLOEXEC)
        guard file >= 0 else { return nil }
        defer { close(file) }
        var bytes = [UInt8](repeating: 0, count: 4096)
        let count = read(file, &bytes, bytes.count)
        return count > 0 ? String(decoding: bytes[..<count], as: UTF8.self) : nil
    }
}

/// Holds the limits, a few times a second.
private struct Watch {
    let limits: Sandbox.Limits
    let folder: String
    private let began = Date()
    private let before: (bytes: UInt64, files: UInt64)
    private var lastWalk = Date.distantPast

    var tooManyProcesses: String { "started more than \(limits.processes) processes" }

    init(_ limits: Sandbox.Limits, folder: String) {
        self.limits = limits
        self.folder = folder
        before = Self.free(folder)
    }

    /// What the sandbox did too much of, or nil.
    mutating func check(_ id: pid_t) -> String? {
        let processes = ProcessTree.below(id)
        if processes.count > limits.processes { return tooManyProcesses }
        if processes.reduce(0, { $0 + ProcessTree.memory(of: $1) }) > limits.memory {
            return "used more than \(Words.bytes(Int64(limits.memory))) of memory"
        }
        if Date().timeIntervalSince(began) > limits.seconds {
            return "took longer than \(Words.seconds(limits.seconds))"
        }
        return disk()
    }

    private mutating func disk() -> String? {
        let reason = "wrote more than \(Words.bytes(Int64(limits.disk))) to the disk"
        let now = Self.free(folder)
        let lost = before.bytes > now.bytes ? before.bytes - now.bytes : 0
        let lostFiles = before.files > now.files ? before.files - now.files : 0
        // Files that were removed and are still open show in no folder. Others write to the disk too.
        if lost > limits.disk * 4 || (lost > limits.disk / 4 && now.bytes < 256 << 20) {
            return reason
        }
        let isSuspicious = lost > limits.disk || lostFiles > UInt64(limits.files)
        guard Date().timeIntervalSince(lastWalk) > (isSuspicious ? 0.2 : 2) else { return nil }
        lastWalk = Date()
        var used: UInt64 = 0
        var files = 0
        Self.walk(folder, depth: 0, &used, &files, limits.files)
        if used > limits.disk { return reason }
        return files > limits.files ? "made more than \(limits.files) files" : nil
    }

    private static func free(_ folder: String) -> (bytes: UInt64, files: UInt64) {
        var info = statvfs()
        guard statvfs(folder, &info) == 0 else { return (.max, .max) }
        return (UInt64(info.f_bavail) * UInt64(info.f_frsize), UInt64(info.f_ffree))
    }

    /// What lies below a folder in which somebody else writes meanwhile; links are not followed.
    private static func walk(
        _ path: String, depth: Int, _ used: inout UInt64, _ files: inout Int, _ most: Int
    ) {
        guard depth < 128, let listing = opendir(path) else { return }
        defer { closedir(listing) }
        while files <= most, let entry = readdir(listing) {
            let name = withUnsafePointer(to: &entry.pointee.d_name) {
                $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
            }
            if name == "." || name == ".." { continue }
            guard let status = FileStatus(path + "/" + name, followingLinks: false) else {
                continue
            }
            files += 1
            used += UInt64(max(0, status.bytesOnDisk))
            if status.kind == .folder {
                walk(path + "/" + name, depth: depth + 1, &used, &files, most)
            }
        }
    }
}
