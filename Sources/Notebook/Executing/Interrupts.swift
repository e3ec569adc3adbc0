// Ctrl-C while cells run: a signal becomes a byte in a pipe, which the session's loop reads.

internal import CProcess
internal import Foundation

/// Catches SIGINT, SIGTERM and SIGHUP between `install` and `remove`.
package enum Interrupts {
    // Set before the handler is installed and never closed: a handler may read them at any time.
    nonisolated(unsafe) private static var pipes: (read: Int32, write: Int32) = (-1, -1)
    nonisolated(unsafe) private static var previous: [(Int32, sigaction)] = []

    /// The descriptor on which each signal shows as a byte: the signal's number.
    package static func install() -> Int32 {
        if pipes.read < 0 {
            var ends: [Int32] = [-1, -1]
            guard pipe2(&ends, O_CLOEXEC | O_NONBLOCK) == 0 else { return -1 }
            pipes = (ends[0], ends[1])
        }
        for number in [SIGINT, SIGTERM, SIGHUP] {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { number in
                let saved = errno
                var byte = UInt8(truncatingIfNeeded: number)
                _ = write(Interrupts.pipes.write, &byte, 1)
                errno = saved
            }
            action.sa_flags = Int32(SA_RESTART)
            var old = sigaction()
            sigaction(number, &action, &old)
            previous.append((number, old))
        }
        return pipes.read
    }

    package static func remove() {
        for (number, action) in previous {
            var action = action
            sigaction(number, &action, nil)
        }
        previous = []
    }
}
