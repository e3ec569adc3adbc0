// What can be wrong with a model's files or its use; the only place that words it.

/// A model that cannot be read, written or adapted.
public struct ModelError: Error, Sendable, CustomStringConvertible {
    public enum Reason: Sendable, Hashable {
        case unknownFamily(String)
        case missingKey(String)
        case badValue(String, String)
        case unsupported(String)
        case wrongShape(String, found: [Int], expected: [Int])
        case missingWeight(String)
        case adapterAttached
        case noAdapter
        case noTarget(String)
        case adapterShape(String, a: [Int], b: [Int], weight: [Int])
        case quantized(String)
        case noTokenizer
        case unwritable(String)
    }

    public let reason: Reason
    /// The file or module concerned.
    public let place: String

    init(_ reason: Reason, where place: String) {
        self.reason = reason
        self.place = place
    }

    public var description: String {
        let (what, mend) = sentences
        return "\(what)\n  where: \(place)\n  mend:  \(mend)"
    }

    private var sentences: (String, String) {
        switch reason {
        case .unknownFamily(let type):
            (
                "The model type \"\(type)\" is not one that the engine knows.",
                "Use a llama, mistral, gemma, gemma2, gemma3 or gemma3_text checkpoint."
            )
        case .missingKey(let key):
            (
                "The configuration has no \"\(key)\".",
                "Take config.json from where the weights came from."
            )
        case .badValue(let key, let wanted):
            ("The configuration's \"\(key)\" is not \(wanted).", "Correct it in config.json.")
        case .unsupported(let feature):
            (
                "The model wants \(feature), which the engine does not compute.",
                "Use a checkpoint without it; ignoring it would change the numbers."
            )
        case .wrongShape(let name, let found, let expected):
            (
                "\(name) is \(found), and config.json says \(expected).",
                "See that config.json and the weights belong together."
            )
        case .missingWeight(let name):
            (
                "The checkpoint has no tensor \"\(name)\".",
                "Download the missing shard, or correct config.json (tie_word_embeddings, layers)."
            )
        case .adapterAttached:
            (
                "The model has an adapter already.",
                "Merge it with mergeAdapter(), or set adapter to nil, and then attach another."
            )
        case .noAdapter: ("The model has no adapter.", "Attach one, or load one from a folder.")
        case .noTarget(let targets):
            (
                "No linear layer of the model matches the targets \(targets).",
                "Name modules such as q_proj, or use .allLinear."
            )
        case .adapterShape(let path, let a, let b, let weight):
            (
                "The update of \(path) has A \(a) and B \(b), and the layer's weight is \(weight).",
                "Load the adapter on the model that it was trained on."
            )
        case .quantized(let name):
            (
                "\(name) is quantized, and this needs its dense weight.",
                "Load the model without quantization, or train a low-rank adapter on it instead."
            )
        case .noTokenizer:
            (
                "The model has no tokenizer.",
                "Load it from a folder with tokenizer.json, or set its tokenizer."
            )
        case .unwritable(let what):
            ("\(what) could not be written.", "Check the folder and the disk.")
        }
    }
}
