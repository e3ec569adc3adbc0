// The memory that training keeps for its way back, over the whole process.

internal import Synchronization

/// The most bytes of activations that a batch of a training step kept, whichever training of this process it was.
package enum ActivationMemory {
    package struct Peak: Sendable, Hashable {
        package var bytes: Int
        /// Whether that training computed its blocks again instead of keeping them.
        package var isRecomputed: Bool
    }

    private static let state = Mutex<Peak?>(nil)

    /// Nil before the first step.
    package static var largest: Peak? { state.withLock { $0 } }

    static func note(_ bytes: Int, isRecomputed: Bool) {
        state.withLock { peak in
            if bytes > peak?.bytes ?? -1 { peak = Peak(bytes: bytes, isRecomputed: isRecomputed) }
        }
    }
}
