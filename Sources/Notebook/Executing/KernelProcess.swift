// The child process that runs cells, and the descriptors between it and us. posix_spawn rather than
// swift-subprocess, since the child needs a socket as descriptor 3 and a process group of its own.

internal import CProcess
internal import Foundation

/// A started `study-kernel`.
final class KernelProcess {
    let id: pid_t
    /// Our end of the conversation; does not block.
    let socket: Int32
    let output: Int32
    let errors: Int32
    /// Readable once the process has ended; -1 where the system has none.
    let ended: Int32

    /// - Parameters:
    ///   - folder: The working directory of the cells.
    ///   - environment: Added to ours.
    ///   - confinement: Where it may write; nil for anywhere.
    init(
        _ installation: Installation, folder: String, environment: [String: String],
        confinement: Confinement? = nil
    ) throws {
        var pair: [Int32] = [-1, -1]
        var out: [Int32] = [-1, -1]
        var err: [Int32] = [-1, -1]
        let stream = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, stream, 0, &pair) == 0, pipe2(&out, O_CLOEXEC) == 0,
            pipe2(&err, O_CLOEXEC) == 0
        else { throw SessionError.cannotStart(String(cString: strerror(errno))) }
        // A larger pipe lets a cell that prints much go on while we write to the disk.
        _ = fcntl(out[0], 1031 /* F_SETPIPE_SZ */, 1 << 20)

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, out[1], 1)
        posix_spawn_file_actions_adddup2(&actions, err[1], 2)
        posix_spawn_file_actions_adddup2(&actions, pair[1], 3)
        // After the socket, which may have had this number.
        let rules = try confinement?.ruleset()
        defer { if let rules { close(rules) } }
        if let rules { posix_spawn_file_actions_adddup2(&actions, rules, 4) }
        posix_spawn_file_actions_addchdir_np(&actions, folder)

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        // A group of its own: Ctrl-C reaches us alone, and what a cell starts can be ended with it.
        posix_spawnattr_setpgroup(&attributes, 0)
        var none = sigset_t()
        var all = sigset_t()
        sigemptyset(&none)
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

        var variables = ProcessInfo.processInfo.environment
        variables.merge(environment) { $1 }
        let words: [UnsafeMutablePointer<CChar>?] = [
            strdup(installation.kernel), strdup(installation.library),
            rules == nil ? nil : strdup("--confined"), nil,
        ]
        let settings: [UnsafeMutablePointer<CChar>?] =
            variables.map { strdup("\($0.key)=\($0.value)") } + [nil]
        defer { (words + settings).forEach { free($0) } }
        var id: pid_t = 0
        let failure = posix_spawn(&id, installation.kernel, &actions, &attributes, words, settings)
        for descriptor in [pair[1], out[1], err[1]] { close(descriptor) }
        guard failure == 0 else {
            for descriptor in [pair[0], out[0], err[0]] { close(descriptor) }
            throw SessionError.cannotStart(
                "\(installation.kernel): \(String(cString: strerror(failure)))")
        }
        self.id = id
        socket = pair[0]
        output = out[0]
        errors = err[0]
        for descriptor in [socket, output, errors] {
            _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        }
        study_forbid_core(id)
        ended = study_pidfd(id)
    }

    /// How the process ended, as `waitpid` says; nothing while it lives.
    private(set) var status: Int32?

    func poll() -> Int32? {
        if let status { return status }
        var word: Int32 = 0
        guard waitpid(id, &word, WNOHANG) == id else { return nil }
        status = word
        return word
    }

    /// Ends the process and whatever it started in its group, and waits for it.
    func end() {
        guard status == nil else {
            kill(-id, SIGKILL)
            return
        }
        kill(-id, SIGKILL)
        kill(id, SIGKILL)
        var word: Int32 = 0
        while waitpid(id, &word, 0) < 0, errno == EINTR {}
        status = word
    }

    /// Resident memory in bytes.
    var memory: UInt64? {
        guard let file = fopen("/proc/\(id)/statm", "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 128)
        guard fgets(&line, 128, file) != nil else { return nil }
        let fields = String(decoding: line.prefix { $0 != 0 }.map(UInt8.init), as: UTF8.self)
            .split(separator: " ")
        return fields.count > 1 ? UInt64(fields[1]).map { $0 * UInt64(getpagesize()) } : nil
    }

    /// The most resident memory that it ever had, in bytes; nil once it has ended.
    var peakMemory: UInt64? {
        guard let status = try? String(contentsOfFile: "/proc/\(id)/status", encoding: .utf8),
            let line = status.split(separator: "\n").first(where: { $0.hasPrefix("VmHWM:") })
        else { return nil }
        let digits = line.filter(\.isNumber)
        return UInt64(digits).map { $0 * 1024 }
    }

    deinit {
        end()
        for descriptor in [socket, output, errors, ended] where descriptor >= 0 {
            close(descriptor)
        }
    }
}

/// Why no cell could be run.
package enum SessionError: Error, Sendable, CustomStringConvertible {
    case cannotStart(String)
    case protocolBroken(String)

    package var description: String {
        switch self {
        case .cannotStart(let reason):
            "The process for the cells could not be started: \(reason)."
                + "\n  mend:  build or install the project whole, then run again"
        case .protocolBroken(let reason):
            "The process of the cells sent something that is no message of ours: \(reason)."
                + "\n  mend:  study and libStudy.so may be of different builds: build both again"
        }
    }
}
