// How a stranger's cells are locked up. What is laid out for them, BundleReplay.swift says.

internal import Foundation

/// A bubblewrap sandbox for a stranger's cells: no network, a home that is empty, nothing writable but
/// one folder, limits on processes, memory, files and time.
package struct Sandbox: Sendable {
    /// The only folder that can be written.
    package var writable: String
    /// Folders that can be read beside the system's: the program's own, the toolchain's.
    package var readable: [String]
    package var seconds: Int
    package var memory: UInt64
    package var processes: Int
    package var fileSize: UInt64

    package init(
        writable: String, readable: [String] = [], seconds: Int = 24 * 3600,
        memory: UInt64 = 16 << 30,
        processes: Int = 256, fileSize: UInt64 = 64 << 30
    ) {
        self.writable = writable
        self.readable = readable
        self.seconds = seconds
        self.memory = memory
        self.processes = processes
        self.fileSize = fileSize
    }

    /// The words to run, the program to be confined included.
    package func command(_ program: [String]) -> [String] {
        var words = [
            "bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv",
            "--setenv", "PATH",
            "/usr/local/bin:/usr/bin:/bin:/opt/swift/usr/bin", "--setenv", "HOME", "/home/reviewer",
            "--setenv",
            "LC_ALL", "C.UTF-8", "--setenv", "TMPDIR", "/tmp", "--ro-bind", "/usr", "/usr",
            "--symlink",
            "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64", "--symlink", "usr/bin", "/bin",
            "--symlink",
            "usr/sbin", "/sbin",
        ]
        // Of /etc only what linking and fonts need: no accounts, no keys, no addresses.
        for file in [
            "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/alternatives",
            "/etc/fonts",
        ] {
            words += ["--ro-bind-try", file, file]
        }
        words += [
            "--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--tmpfs", "/home", "--dir",
            "/home/reviewer",
        ]
        for folder in ["/opt/swift"] + readable { words += ["--ro-bind-try", folder, folder] }
        words += ["--bind", writable, writable, "--chdir", writable]
        // All processes of the sandbox end with its first one, so the time limit ends a fork bomb too.
        words += [
            "timeout", "--kill-after=5", String(seconds), "prlimit", "--nproc=\(processes)",
            "--as=\(memory)",
            "--fsize=\(fileSize)", "--nofile=4096", "--core=0", "--",
        ]
        return words + program
    }

    /// Whether bubblewrap is there and may make its namespaces.
    package static var problem: String? {
        guard Tool.find("bwrap") != nil else {
            return "bubblewrap is not installed (apt-get install bubblewrap)"
        }
        guard
            let result = try? Tool.run("bwrap", ["--ro-bind", "/", "/", "--unshare-all", "true"]),
            result.status == 0
        else { return "bubblewrap may not make namespaces here" }
        return nil
    }
}
