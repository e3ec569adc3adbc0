// The whole state of a run between two steps, as a value and as one safetensors file.

/// Everything that a run needs to go on as if it had not stopped: trained tensors, moments, the random
/// stream, the step (which fixes the place in the data), and the losses so far.
public struct TrainingCheckpoint: Sendable {
    /// Steps done.
    public internal(set) var step: Int
    public internal(set) var losses: [Double]
    public internal(set) var gradientNorms: [Double]
    public internal(set) var tokenCount: Int
    /// The stream that the run was given, as it was after the run's one draw from it.
    public internal(set) var random: RandomStream
    /// That draw: the order of the data and dropout follow from it.
    var salt: UInt32
    /// What the run looked like; a resumption must look the same.
    var outline: String
    /// By "parameter/NAME", "mean/NAME", "square/NAME" and "master/NAME".
    var tensors: [String: Tensor]

    init(
        step: Int, losses: [Double], gradientNorms: [Double], tokenCount: Int, random: RandomStream,
        salt: UInt32, outline: String, tensors: [String: Tensor]
    ) {
        self.step = step
        self.losses = losses
        self.gradientNorms = gradientNorms
        self.tokenCount = tokenCount
        self.random = random
        self.salt = salt
        self.outline = outline
        self.tensors = tensors
    }

    /// Writes the file; it takes its place when it is complete, so a kill leaves the one before.
    /// - Throws: ``CheckpointError`` where it cannot be written.
    public func save(to path: String) throws {
        try Safetensors.write(
            tensors,
            metadata: [
                "step": "\(step)", "losses": Self.text(losses), "norms": Self.text(gradientNorms),
                "tokens": "\(tokenCount)", "seed": "\(random.seed)", "stream": random.name,
                "draws": "\(random.draws)", "salt": "\(salt)", "outline": outline,
            ], to: path)
    }

    /// Reads a file that ``save(to:)`` wrote.
    /// - Throws: ``CheckpointError`` where it is no safetensors file, ``TrainingError`` where it is no
    ///   checkpoint of a run.
    public init(_ path: String) throws {
        let file = try SafetensorsFile(path)
        let metadata = Dictionary(
            file.metadata.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
        guard let step = metadata["step"].flatMap({ Int($0) }),
            let tokens = metadata["tokens"].flatMap({ Int($0) }),
            let seed = metadata["seed"].flatMap({ UInt64($0) }), let stream = metadata["stream"],
            let draws = metadata["draws"].flatMap({ UInt64($0) }),
            let salt = metadata["salt"].flatMap({ UInt32($0) }), let outline = metadata["outline"],
            let losses = metadata["losses"].flatMap(Self.numbers), losses.count == step,
            let norms = metadata["norms"].flatMap(Self.numbers), norms.count == step
        else {
            throw TrainingError(.checkpointMismatch("\(path) does not hold a run's state"))
        }
        var tensors: [String: Tensor] = [:]
        for name in file.names { tensors[name] = try file.tensor(name) }
        self.init(
            step: step, losses: losses, gradientNorms: norms, tokenCount: tokens,
            random: RandomStream(seed: seed, name: stream, draws: draws), salt: salt,
            outline: outline, tensors: tensors)
    }

    /// The digest of this state, as ``TrainingStep/stateDigest`` of the step it was taken after.
    public var stateDigest: UInt64 {
        StateDigest.of(
            step: step, tokenCount: tokenCount, salt: salt, random: random,
            tensors: tensors.lazy.map { (StateDigest.of($0.key), $0.value) })
    }

    /// Bit patterns, so that nothing is lost.
    private static func text(_ numbers: [Double]) -> String {
        numbers.map { String($0.bitPattern, radix: 16) }.joined(separator: " ")
    }
    private static func numbers(_ text: String) -> [Double]? {
        let words = text.split(separator: " ")
        let numbers = words.compactMap { UInt64($0, radix: 16).map(Double.init(bitPattern:)) }
        return numbers.count == words.count ? numbers : nil
    }
}

extension Optimization {
    func tensors(_ model: LanguageModel) -> [String: Tensor] {
        var result: [String: Tensor] = [:]
        for (i, tensor) in tensors.enumerated() {
            result["parameter/" + tensor.name] = model[tensor]
            result["mean/" + tensor.name] = means[i]
            result["square/" + tensor.name] = squares[i]
            if let master = masters[i] { result["master/" + tensor.name] = master }
        }
        return result
    }

    /// Puts a checkpoint's tensors in place.
    mutating func restore(_ checkpoint: TrainingCheckpoint, into model: inout LanguageModel) throws
    {
        func tensor(_ kind: String, _ name: String, like other: Tensor) throws -> Tensor {
            guard let tensor = checkpoint.tensors["\(kind)/\(name)"], tensor.shape == other.shape,
                tensor.dtype == other.dtype
            else { throw TrainingError(.checkpointMismatch("its \(kind) of \(name) does not fit")) }
            return tensor
        }
        for (i, trained) in tensors.enumerated() {
            model[trained] = try tensor("parameter", trained.name, like: model[trained])
            means[i] = try tensor("mean", trained.name, like: means[i])
            squares[i] = try tensor("square", trained.name, like: squares[i])
            if let master = masters[i] {
                masters[i] = try tensor("master", trained.name, like: master)
            }
        }
        step = checkpoint.step
    }
}
