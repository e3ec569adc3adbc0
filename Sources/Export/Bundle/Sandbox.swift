// How a stranger's cells are locked up: the words for bubblewrap. SandboxWatch.swift runs them and holds
// the limits that bubblewrap has none for; BundleReplay.swift says what is laid out inside.

internal import Foundation

/// A bubblewrap sandbox for a stranger's cells: no network, a home that is empty, nothing writable but
/// one folder and small file systems in memory, no account, key or address of this machine.
package struct Sandbox: Sendable {
    /// A file or folder of this machine, and where it is seen inside.
    package struct Mount: Sendable, Hashable {
        package var host: String
        package var inside: String
        package init(_ host: String, at inside: String? = nil) {
            self.host = host
            self.inside = inside ?? host
        }
    }

    /// What the code may use; beyond it everything in the sandbox is ended.
    package struct Limits: Sendable, Equatable {
        /// By the clock on the wall, compiling included.
        package var seconds: Double
        /// Bytes of memory of all processes together, without the files that they map.
        package var memory: UInt64
        /// Bytes on the disk below the writable folder.
        package var disk: UInt64
        package var files = 500_000
        package var processes = 512
        /// Bytes of output that are shown; the rest is dropped.
        package var output = 16 << 20

        package init(seconds: Double, memory: UInt64, disk: UInt64) {
            self.seconds = seconds
            self.memory = memory
            self.disk = disk
        }
    }

    /// The only folder on the disk that can be written.
    package var writable: Mount
    package var readable: [Mount]
    package var limits: Limits
    /// Folders in which programs are found, before the system's.
    package var programs: [String] = []
    package var locale = "C.UTF-8"

    package init(writable: Mount, readable: [Mount], limits: Limits) {
        self.writable = writable
        self.readable = readable
        self.limits = limits
    }

    static let home = "/home/reviewer"

    /// The words to run, the program to be confined included.
    package func command(_ program: [String]) -> [String] {
        var words = ["bwrap"]
        // A user of its own (with no right to make another), no network but an empty loopback, its own
        // processes, shared memory and host name.
        words += [
            "--unshare-user", "--uid", "1000", "--gid", "1000", "--unshare-pid", "--unshare-net",
            "--unshare-ipc", "--unshare-uts", "--hostname", "sandbox", "--unshare-cgroup-try",
            "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv",
        ]
        let path = programs + ["/usr/local/bin", "/usr/bin", "/bin"]
        for (name, value) in [
            ("PATH", path.joined(separator: ":")), ("HOME", Self.home), ("LC_ALL", locale),
            ("TMPDIR", "/tmp"),
        ] {
            words += ["--setenv", name, value]
        }
        words += ["--ro-bind", "/usr", "/usr"]
        for folder in ["/bin", "/sbin", "/lib", "/lib64", "/lib32"] {
            if let target = try? FileManager.default.destinationOfSymbolicLink(atPath: folder) {
                words += ["--symlink", target, folder]
            } else {
                words += ["--ro-bind-try", folder, folder]
            }
        }
        // Of /etc only what linking, fonts and the system's name need: no accounts, no keys, no addresses.
        for file in ["ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "fonts"] {
            words += ["--ro-bind-try", "/etc/" + file, "/etc/" + file]
        }
        words += ["--ro-bind-try", "/usr/lib/os-release", "/etc/os-release"]
        words += ["--proc", "/proc", "--dev", "/dev"]
        // What lies in memory is bounded: /dev holds a writable file system too.
        words += ["--size", "\(256 << 20)", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
        words += ["--size", "\(1 << 30)", "--tmpfs", "/tmp"]
        words += ["--size", "\(64 << 20)", "--tmpfs", "/home", "--dir", Self.home]
        for mount in readable where !mount.inside.hasPrefix("/usr/") {
            words += ["--ro-bind", mount.host, mount.inside]
        }
        words += ["--bind", writable.host, writable.inside, "--remount-ro", "/"]
        words += ["--chdir", writable.inside]
        words += [
            "prlimit", "--nproc=\(limits.processes * 4)", "--fsize=\(limits.disk)", "--nofile=4096",
            // A second wall behind the watch: what one process may map.
            "--as=\(limits.memory * 2 + 16 << 30)", "--core=0", "--",
        ]
        return words + program
    }

    /// The limits in words, and who holds the one on processes.
    package var bounds: String {
        "at most \(Words.seconds(limits.seconds)), \(Words.bytes(Int64(limits.memory))) of memory, "
            + "\(Words.bytes(Int64(limits.disk))) of disk, \(limits.processes) processes"
            + (ControlGroup.isThere
                ? "" : " (looked at twenty times a second; the kernel counts for root alone)")
    }

    /// Why there is no sandbox to be had here, or nil.
    package static var problem: String? {
        for (program, package) in [("bwrap", "bubblewrap"), ("prlimit", "util-linux")]
        where Tool.find(program) == nil {
            return "\(program) is not installed (apt-get install \(package))"
        }
        do {
            let result = try Tool.run(
                "bwrap",
                [
                    "--unshare-user", "--uid", "1000", "--unshare-pid", "--unshare-net",
                    "--ro-bind", "/", "/", "--proc", "/proc", "--dev", "/dev", "true",
                ])
            return result.status == 0
                ? nil : "bubblewrap may not make namespaces here (\(result.message))"
        } catch {
            return "bubblewrap cannot be started"
        }
    }
}
