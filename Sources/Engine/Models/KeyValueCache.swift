// Keys and values of the positions already seen, for generation. Attention.swift reads and fills it.

/// The cache of a batch of sequences, each of its own length.
package final class KeyValueCache {
    /// Positions that each sequence has room for, a multiple of 64.
    package let capacity: Int
    /// Positions filled, by sequence.
    package private(set) var lengths: [Int]
    /// The sequences that the next rows belong to, in their order.
    package var active: [Int]
    /// By layer: `[sequences, 2, keyValueHeads, headDimension, capacity]`, keys transposed, heads padded
    /// to sixteen lanes.
    private var layers: [Tensor]
    private let half: Int

    package init(_ configuration: ModelConfiguration, sequences: Int, positions: Int) {
        capacity = (positions + 63) / 64 * 64
        lengths = [Int](repeating: 0, count: sequences)
        active = Array(0..<sequences)
        let padded = (configuration.headDimension + 15) / 16 * 16
        half = configuration.keyValueHeadCount * padded * capacity
        // Zeroed: columns not yet filled take part in whole vectors, and must not be infinities.
        layers = (0..<configuration.layerCount).map { [half] _ in
            Tensor(zeros: [max(1, sequences), 2, half])
        }
    }

    package var byteCount: Int { layers.reduce(0) { $0 + $1.byteCount } }

    func withPointers(
        layer: Int,
        _ body: (
            UnsafePointer<UnsafeMutablePointer<Float>?>,
            UnsafePointer<UnsafeMutablePointer<Float>?>,
            UnsafePointer<Int32>, Int
        ) -> Void
    ) {
        let base = layers[layer].freshFloats
        let keys: [UnsafeMutablePointer<Float>?] = active.map { base + $0 * 2 * half }
        let values: [UnsafeMutablePointer<Float>?] = active.map { base + $0 * 2 * half + half }
        body(keys, values, active.map { Int32(lengths[$0]) }, capacity)
    }

    /// Counts rows that every layer has now taken in.
    package func advance(_ counts: [Int]) {
        for (sequence, count) in zip(active, counts) { lengths[sequence] += count }
    }
}
