// How much memory a training kept for its way back, as a fact of a run: the kernel writes it down, the terminal
// and the report show it.

/// The most bytes of activations that one batch of a training kept.
///
/// The fact is named `run.activations`, or `run.activations[ARM]`; its value is the count, and the word "recomputed"
/// where blocks were computed again on the way back instead of being kept. Facts that begin with "run." tell no two
/// environments apart.
public struct ActivationFact: Sendable, Hashable {
    /// The training's arm; nil for all trainings of the run.
    public var arm: String?
    public var bytes: Int
    /// Gradient checkpointing by layer.
    public var isRecomputed: Bool

    public init(arm: String? = nil, bytes: Int, isRecomputed: Bool) {
        self.arm = arm
        self.bytes = bytes
        self.isRecomputed = isRecomputed
    }

    private static let prefix = "run.activations"
    private static let mark = "recomputed"

    /// Reads a fact of a run's record; nil where it is another one.
    public init?(name: String, value: String) {
        guard name.hasPrefix(Self.prefix) else { return nil }
        let rest = name.dropFirst(Self.prefix.count)
        if rest.isEmpty {
            arm = nil
        } else {
            guard rest.first == "[", rest.last == "]" else { return nil }
            arm = String(rest.dropFirst().dropLast())
        }
        let words = value.split(separator: " ")
        guard let first = words.first, let bytes = Int(first), words.count <= 2 else { return nil }
        self.bytes = bytes
        isRecomputed = words.count == 2 && words[1] == Self.mark
        if words.count == 2, !isRecomputed { return nil }
    }

    public var name: String { Self.prefix + (arm.map { "[\($0)]" } ?? "") }
    public var value: String { "\(bytes)" + (isRecomputed ? " \(Self.mark)" : "") }
    public var event: Event { .fact(name: name, value: value) }

    /// "3.1 MiB kept, blocks computed again", with `size` wording the count.
    public func words(_ size: (Int64) -> String) -> String {
        size(Int64(bytes)) + " kept" + (isRecomputed ? ", blocks computed again" : "")
    }
}
