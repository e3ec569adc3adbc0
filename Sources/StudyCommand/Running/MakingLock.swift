// Two studies that start at once and want the same artifact: one makes it, the other waits.

internal import Foundation
internal import Provenance

/// The right to make what a content key stands for. It ends with the process that holds it.
final class MakingLock {
    private let path: String
    private var descriptor: Int32

    private init(path: String, descriptor: Int32) {
        self.path = path
        self.descriptor = descriptor
    }

    /// Waits until nobody else holds it.
    /// - Parameters:
    ///   - folder: The ledger's.
    ///   - onWait: Called once, where there is something to wait for.
    /// - Throws: ``ProvenanceError`` with reason `.cannotOpen` where the folder cannot be written.
    static func take(_ key: String, in folder: String, onWait: () -> Void) async throws
        -> MakingLock
    {
        let path = "\(folder)/making-\(key.prefix(16)).lock"
        var hasWaited = false
        while true {
            let descriptor = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
            guard descriptor >= 0 else {
                throw ProvenanceError(
                    .cannotOpen,
                    "The ledger's folder cannot be written: \(String(cString: strerror(errno))).",
                    where: path,
                    mend:
                        "make room or make it writable, or name another place with `--ledger FOLDER`"
                )
            }
            if flock(descriptor, LOCK_EX | LOCK_NB) == 0 {
                // Whoever held it may have removed the file after we opened it.
                var (own, there) = (stat(), stat())
                if fstat(descriptor, &own) == 0, stat(path, &there) == 0,
                    own.st_ino == there.st_ino
                {
                    return MakingLock(path: path, descriptor: descriptor)
                }
            } else if !hasWaited {
                hasWaited = true
                onWait()
            }
            close(descriptor)
            try await Task.sleep(nanoseconds: 50_000_000)
        }
    }

    func release() {
        guard descriptor >= 0 else { return }
        unlink(path)
        close(descriptor)
        descriptor = -1
    }

    deinit { release() }
}
