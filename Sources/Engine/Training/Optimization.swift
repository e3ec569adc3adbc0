// What a run trains and how a step changes it: gradients, moments, clipping, schedule. Which losses make
// the gradients is the trainers' affair (Trainer.swift, DPO.swift).

internal import EngineKernels

/// A tensor that a run trains: where it lives in the model.
package enum TrainedTensor: Sendable, Hashable {
    case a(module: String)
    case b(module: String)
    case savedModule(String)
    case weight(String)

    /// The name under which its gradient collects and its checkpoint is kept.
    package var name: String {
        switch self {
        case .a(let module): LoRAModule.aName(module)
        case .b(let module): LoRAModule.bName(module)
        case .savedModule(let name), .weight(let name): name
        }
    }
}

extension LanguageModel {
    /// Everything that training changes: the adapter where there is one, all weights otherwise; in the
    /// order of the layers.
    package func trainedTensors() throws -> [TrainedTensor] {
        guard let adapter else {
            return try configuration.parameterShapes.map { name, _ in
                guard case .dense? = weights[name] else {
                    throw TrainingError(.quantizedWithoutAdapter(name))
                }
                return .weight(name)
            }
        }
        let modules = adaptableLayers.map(\.path).filter { adapter.modules[$0] != nil }
        return modules.flatMap { [.a(module: $0), .b(module: $0)] }
            + adapter.savedModules.keys.sorted().map { .savedModule($0) }
    }

    package subscript(tensor: TrainedTensor) -> Tensor {
        get {
            switch tensor {
            case .a(let module): adapter!.modules[module]!.a
            case .b(let module): adapter!.modules[module]!.b
            case .savedModule(let name): adapter!.savedModules[name]!
            case .weight(let name): self[name]
            }
        }
        set {
            switch tensor {
            case .a(let module): adapter!.modules[module]!.a = newValue
            case .b(let module): adapter!.modules[module]!.b = newValue
            case .savedModule(let name): adapter!.savedModules[name] = newValue
            case .weight(let name): weights[name] = .dense(newValue)
            }
        }
    }

    /// Takes a tensor out, so that writing it copies nothing, and puts it back.
    fileprivate mutating func update(_ place: TrainedTensor, _ body: (inout Tensor) -> Void) {
        switch place {
        case .a(let module): body(&adapter!.modules[module]!.a)
        case .b(let module): body(&adapter!.modules[module]!.b)
        case .savedModule(let name): body(&adapter!.savedModules[name]!)
        case .weight(let name):
            guard case .dense(var tensor)? = weights.removeValue(forKey: name) else {
                preconditionFailure("\(name) is quantized")
            }
            body(&tensor)
            weights[name] = .dense(tensor)
        }
    }
}

/// The state of an optimization: all that a step needs besides the model and the batch.
package struct Optimization {
    package let optimizer: AdamW
    package let tensors: [TrainedTensor]
    package let gradients: ParameterGradients
    package internal(set) var means: [Tensor]
    package internal(set) var squares: [Tensor]
    /// f32 copies of half-precision weights; empty where there are none.
    package internal(set) var masters: [Int: Tensor] = [:]
    /// Updates made.
    package internal(set) var step = 0
    /// Of each tensor, the digests of what the last update wrote: the tensor itself (its f32 copy, where it is of half
    /// precision), mean and square. Empty before the first.
    private(set) var digests: [[UInt64]] = []

    package init(_ model: LanguageModel, optimizer: AdamW, keepsMasterWeights: Bool) throws {
        self.optimizer = optimizer
        tensors = try model.trainedTensors()
        // Under an adapter a tied head is frozen, or a saved module of its own.
        let tied = model.configuration.tiesEmbeddings && model.adapter == nil
        gradients = ParameterGradients(
            trainable: tensors.map { ($0.name, model[$0].shape) },
            aliases: tied
                ? [(ModelConfiguration.headName, of: ModelConfiguration.embeddingName)] : [])
        means = tensors.map { Tensor(zeros: model[$0].shape) }
        squares = means.map { Tensor(zeros: $0.shape) }
        for (i, tensor) in tensors.enumerated() where model[tensor].dtype != .f32 {
            if keepsMasterWeights { masters[i] = model[tensor].converted(to: .f32) }
        }
    }

    /// Clips and applies what has collected, and empties it.
    /// - Parameter digesting: fills in ``digests``, which costs little while the tensors are in the cache.
    /// - Returns: the gradient's norm before clipping.
    /// - Throws: ``TrainingError`` with reason `.nonFiniteGradient`; the model is then as it was.
    package mutating func update(
        _ model: inout LanguageModel, rate: Double, clip: Double?, digesting: Bool = true
    ) throws -> Double {
        gradients.foldAliases()
        let norm = gradients.norm()
        guard norm.isFinite else {
            throw TrainingError(
                .nonFiniteGradient, step: step + 1, tensor: gradients.firstNonFinite())
        }
        var scale: Float = 1
        // PyTorch's clip_grad_norm_: the 1e-6 keeps a zero norm from dividing.
        if let clip { scale = Float(min(1, clip / (norm + 1e-6))) }
        step += 1
        digests = digesting ? tensors.map { _ in [0, 0, 0] } : []
        for (i, tensor) in tensors.enumerated() {
            let gradient = gradients.gradient(tensor.name)!
            func apply(_ parameter: inout Tensor) {
                parameter.withUnsafeMutableFloats { p in
                    guard let p = p.baseAddress else { return }
                    var found: [UInt64] = [0, 0, 0]
                    found.withUnsafeMutableBufferPointer { found in
                        optimizer.update(
                            p, gradient: gradient, mean: &means[i], square: &squares[i], time: step,
                            rate: rate, gradientScale: scale,
                            digests: digesting ? found.baseAddress : nil)
                    }
                    if digesting { digests[i] = found }
                }
            }
            if masters[i] != nil {
                apply(&masters[i]!)
                model.update(tensor) { $0 = masters[i]!.converted(to: $0.dtype) }
            } else if model[tensor].dtype != .f32 {
                model.update(tensor) { stored in
                    var wide = stored.converted(to: .f32)
                    apply(&wide)
                    stored = wide.converted(to: stored.dtype)
                }
            } else {
                model.update(tensor, apply)
            }
        }
        gradients.reset()
        return norm
    }
}
