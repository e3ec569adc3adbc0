// Which process writes a run, told so that a later process with the same number is not taken for it.
// Ledger/Run.swift derives the status from it.

internal import Foundation

/// A process: its number, when it started, in which boot of which machine, in which namespace.
package struct ProcessIdentity: Sendable, Hashable {
    package var processID: Int32
    /// Clock ticks since boot; field 22 of `/proc/PID/stat`.
    package var startTicks: Int64
    package var bootID: String
    /// Containers share a boot but count processes apart; the namespace's inode tells them from
    /// each other.
    package var namespace: String

    package init(processID: Int32, startTicks: Int64, bootID: String, namespace: String) {
        self.processID = processID
        self.startTicks = startTicks
        self.bootID = bootID
        self.namespace = namespace
    }

    /// This process.
    package static let current = ProcessIdentity(
        processID: getpid(), startTicks: startTicks(of: getpid()) ?? 0, bootID: currentBootID(),
        namespace: currentNamespace())

    /// Whether the process is there; nil where this machine cannot know.
    package var isAlive: Bool? {
        guard bootID == Self.current.bootID, namespace == Self.current.namespace else { return nil }
        return Self.startTicks(of: processID) == startTicks
    }

    /// Nil where there is no such process, or only its corpse.
    static func startTicks(of processID: Int32) -> Int64? {
        guard let file = fopen("/proc/\(processID)/stat", "r") else { return nil }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = fread(&buffer, 1, buffer.count, file)
        // The second field, the command's name, may hold anything, so count from its last parenthesis.
        guard let end = buffer[..<count].lastIndex(of: UInt8(ascii: ")")) else { return nil }
        let fields = buffer[(end + 2)..<count].split(separator: UInt8(ascii: " "))
        guard fields.count > 19, fields[0].first != UInt8(ascii: "Z") else { return nil }
        return Int64(String(decoding: fields[19], as: UTF8.self))
    }

    private static func currentBootID() -> String {
        guard let file = fopen("/proc/sys/kernel/random/boot_id", "r") else { return "" }
        defer { fclose(file) }
        var buffer = [UInt8](repeating: 0, count: 64)
        let count = fread(&buffer, 1, buffer.count, file)
        return String(decoding: buffer[..<count].prefix { $0 != 10 }, as: UTF8.self)
    }

    private static func currentNamespace() -> String {
        var info = stat()
        return stat("/proc/self/ns/pid", &info) == 0 ? "\(info.st_ino)" : ""
    }
}
