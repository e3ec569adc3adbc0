// The tar that a zip's files would make, for its hash alone.

internal import Dispatch
internal import Provenance

/// Hashes the tar of the files that it is shown, on a thread of its own.
///
/// Unchecked: everything is touched on `queue` only.
final class TarTwin: @unchecked Sendable {
    private let queue = DispatchQueue(label: "twin", qos: .userInitiated)
    private let hasher = StreamDigest(.sha256)
    private let time: Int64
    private var tar: ArchiveWriter?

    /// - Parameter time: Of every entry, in seconds since 1970.
    init(time: Int64) throws {
        self.time = time
        tar = try ArchiveWriter(.tar) { [hasher] in hasher.update($0) }
    }

    func begin(_ entry: ArchiveEntry) {
        var entry = entry
        entry.time = time
        attempt { [entry] in try $0.begin(entry) }
    }

    func write(_ lease: Lease) { attempt { try $0.write(lease.bytes) } }

    /// Nil where the files make no tar: one is longer or shorter than it says.
    func finish() -> String? {
        attempt { try $0.finish() }
        return queue.sync { tar == nil ? nil : hasher.finish() }
    }

    private func attempt(_ body: @escaping @Sendable (ArchiveWriter) throws -> Void) {
        queue.async {
            guard let tar = self.tar else { return }
            do { try body(tar) } catch { self.tar = nil }
        }
    }
}
