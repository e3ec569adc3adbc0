// How much of a stranger's archive we are willing to look at.

/// Bounds on what an archive may unfold to, checked while it is read.
package struct ArchiveLimits: Sendable, Equatable {
    package var entries = 200_000
    /// Bytes of all files together; 256 GiB is beyond any study that fits one archive.
    package var totalBytes: Int64 = 256 << 30
    /// Unpacked bytes for each packed one. Text of metrics shrinks 30-fold at most; bombs 1000-fold.
    package var ratio: Int64 = 250
    /// Below this much, any ratio will do: a small file of zeros is harmless.
    package var ratioFloor: Int64 = 64 << 20
    /// The largest file that is kept in memory (manifests and the crate's description), and all of them together.
    package var heldBytes: Int64 = 64 << 20
    package var heldTotalBytes: Int64 = 256 << 20

    package init() {}
}
