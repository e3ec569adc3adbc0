// What ends a training run early; the only place that words it.

/// A run that cannot go on.
public struct TrainingError: Error, Sendable, CustomStringConvertible {
    public enum Reason: Sendable, Hashable {
        case nonFiniteLoss
        case nonFiniteGradient
        case nothingToLearn
        case noExamples
        case tokenOutOfRange(Int32, vocabulary: Int)
        case quantizedWithoutAdapter(String)
        case checkpointMismatch(String)
    }

    public let reason: Reason
    /// 1 for the first; 0 before it.
    public let step: Int
    /// The block whose output first is not finite.
    public var layer: Int?
    /// The tensor concerned.
    public var tensor: String?

    init(_ reason: Reason, step: Int = 0, layer: Int? = nil, tensor: String? = nil) {
        self.reason = reason
        self.step = step
        self.layer = layer
        self.tensor = tensor
    }

    public var description: String {
        let place = [
            step > 0 ? "step \(step)" : "before the first step", layer.map { "layer \($0)" },
            tensor,
        ].compactMap { $0 }.joined(separator: ", ")
        let (what, mend) = sentences
        return "\(what)\n  where: \(place)\n  mend:  \(mend)"
    }

    private var sentences: (String, String) {
        switch reason {
        case .nonFiniteLoss:
            (
                "The loss is not finite.",
                "Lower the learning rate, clip gradients, or resume from the last checkpoint."
            )
        case .nonFiniteGradient:
            (
                "A gradient is not finite although the loss is.",
                "Lower the learning rate, clip gradients, or resume from the last checkpoint."
            )
        case .nothingToLearn:
            (
                "No position of the step's examples has a label.",
                "See that labels are not all -100 and that examples are not cut before their answers."
            )
        case .noExamples: ("There is no example to train on.", "Give at least one.")
        case .tokenOutOfRange(let token, let vocabulary):
            (
                "An example has the token \(token), and the vocabulary has \(vocabulary).",
                "Encode the examples with the model's own tokenizer."
            )
        case .quantizedWithoutAdapter(let name):
            (
                "\(name) is quantized and cannot be trained.",
                "Attach a LoRA adapter, or load the model without quantization."
            )
        case .checkpointMismatch(let what):
            (
                "The checkpoint is not of this run: \(what).",
                "Resume with the model, examples and options that it was made with."
            )
        }
    }
}
