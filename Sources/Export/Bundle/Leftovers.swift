// What lies about while a bundle is written or taken: removed where Ctrl-C or a kill ends the command. What ends
// otherwise removes its own.

internal import Dispatch
internal import Foundation
internal import Notebook
internal import Synchronization

/// Files and folders that are nobody's once the command has ended.
package enum Leftovers {
    private static let paths = Mutex<Set<String>>([])

    static func add(_ path: String) { _ = paths.withLock { $0.insert(path) } }
    static func forget(_ path: String) { _ = paths.withLock { $0.remove(path) } }

    /// Runs `body`. SIGINT, SIGTERM or SIGHUP meanwhile: what lies about is removed, `words` are printed, and the
    /// process ends by that signal, as one that catches none would.
    package static func removed<Result>(
        onInterrupt words: String, _ body: () throws -> Result
    ) rethrows -> Result {
        let signals = Interrupts.install()
        // Without a pipe signals do what they always do.
        guard signals >= 0 else { return try body() }
        let source = DispatchSource.makeReadSource(fileDescriptor: signals, queue: .global())
        source.setEventHandler {
            var number: UInt8 = 0
            guard read(signals, &number, 1) == 1 else { return }
            // A writer may be making a file in a folder that goes: the second time finds it.
            for _ in 0..<2 {
                for path in paths.withLock({ $0 }) {
                    try? FileManager.default.removeItem(atPath: path)
                }
            }
            FileHandle.standardError.write(Data((words + "\n").utf8))
            Interrupts.remove()
            kill(getpid(), Int32(number))
        }
        source.resume()
        defer {
            source.cancel()
            Interrupts.remove()
        }
        return try body()
    }
}
