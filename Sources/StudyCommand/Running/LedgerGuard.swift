// SQLite shares the index of its log between processes through mapped memory. Where the file system under
// it fills up or turns read-only, writing there is no error but a signal; it is told like any other error.

internal import Foundation

enum LedgerGuard {
    /// Words that are ready when the signal comes: nothing may be allocated then.
    nonisolated(unsafe) private static var words: UnsafeMutablePointer<CChar>?

    /// Has SIGBUS end this process with a sentence about the ledger at `path`. What is on record stays; the
    /// run is then `lost`.
    static func install(_ path: String) {
        guard words == nil else { return }
        words = strdup(
            """

            The ledger can be written no longer: its file system is full, read-only or gone.
              where: \(path)
              mend:  make room (`study gc` lists what could go) or make it writable, then run again

            """)
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in
            if let words = LedgerGuard.words { _ = write(2, words, strlen(words)) }
            _exit(ExitStatus.studyFailed)
        }
        sigaction(SIGBUS, &action, nil)
    }
}
