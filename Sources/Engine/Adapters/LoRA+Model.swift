// Attaching low-rank updates to a model and folding them into its weights. What an adapter is: LoRA.swift;
// its files: Checkpoints/PEFTAdapter.swift; its arithmetic: Layers/Linear.swift.

internal import EngineKernels

extension LanguageModel {
    /// Gives the layers that match a low-rank update that changes nothing yet: `A` uniform in ±1/√input
    /// as PEFT's default, `B` zero; for the embedding, where it is named, `A` zero and `B` normal. The
    /// draws of a module come from a stream named after it.
    /// - Throws: ``ModelError`` with reason `.adapterAttached`, `.noTarget` or, for the output embedding,
    ///   `.unsupported`.
    public mutating func attach(_ lora: LoRA, using random: inout RandomStream) throws {
        guard adapter == nil else { throw ModelError(.adapterAttached, where: "attach(_:using:)") }
        let streams = random.stream(named: "lora \(random.nextUInt32())")
        var modules: [String: LoRAModule] = [:]
        guard !lora.targets(ModelConfiguration.headPath) else {
            throw ModelError(
                .unsupported("a low-rank update of \(ModelConfiguration.headPath)"),
                where: "attach(_:using:)")
        }
        for (path, shape) in adaptableLayers where lora.targets(path) {
            let rank = lora.rank(of: path)
            var stream = streams.stream(named: path)
            if LoRAModule.isEmbedding(path) {
                var b = Tensor(uninitialized: [shape[0], rank])
                b.withUnsafeMutableFloats { stream.fillNormal($0) }
                modules[path] = LoRAModule(
                    a: Tensor(zeros: [rank, shape[1]]), b: b, scale: lora.scale(of: path))
                continue
            }
            var a = Tensor(uninitialized: [rank, shape[1]])
            let bound = 1 / Float(shape[1]).squareRoot()
            a.withUnsafeMutableFloats { values in
                stream.fillUniform(values)
                for i in values.indices { values[i] = (2 * values[i] - 1) * bound }
            }
            modules[path] = LoRAModule(
                a: a, b: Tensor(zeros: [shape[0], rank]), scale: lora.scale(of: path))
        }
        guard !modules.isEmpty else {
            throw ModelError(.noTarget("\(lora.targets)"), where: "attach(_:using:)")
        }
        var saved: [String: Tensor] = [:]
        for (name, weight) in weights where lora.savesWhole(String(name.dropLast(".weight".count)))
        {
            guard case .dense(let tensor) = weight else {
                throw ModelError(.quantized(name), where: "attach(_:using:)")
            }
            saved[name] = tensor.converted(to: .f32)
        }
        if configuration.tiesEmbeddings, lora.savesWhole(ModelConfiguration.headPath) {
            // Trained apart from the embedding from here on, as PEFT does.
            saved[ModelConfiguration.headName] = self[ModelConfiguration.embeddingName].converted(
                to: .f32)
        }
        adapter = LoRAAdapter(configuration: lora, modules: modules, savedModules: saved)
    }

    /// Uses an adapter that was trained elsewhere.
    /// - Throws: ``ModelError`` with reason `.adapterShape` or `.noTarget` where it does not fit.
    public mutating func attach(_ adapter: LoRAAdapter) throws {
        guard self.adapter == nil else { throw ModelError(.adapterAttached, where: "attach(_:)") }
        let shapes = Dictionary(uniqueKeysWithValues: adaptableLayers.map { ($0.path, $0.shape) })
        for (path, module) in adapter.modules {
            guard let shape = shapes[path] else { throw ModelError(.noTarget(path), where: path) }
            guard module.a.shape[1] == shape[1], module.b.shape[0] == shape[0] else {
                throw ModelError(
                    .adapterShape(path, a: module.a.shape, b: module.b.shape, weight: shape),
                    where: path)
            }
        }
        for (name, tensor) in adapter.savedModules.merging(
            adapter.baseWeights, uniquingKeysWith: { $1 })
        {
            let isTiedHead = name == ModelConfiguration.headName && configuration.tiesEmbeddings
            guard let weight = weights[isTiedHead ? ModelConfiguration.embeddingName : name] else {
                throw ModelError(.missingWeight(name), where: "attach(_:)")
            }
            guard weight.shape == tensor.shape else {
                throw ModelError(
                    .wrongShape(name, found: tensor.shape, expected: weight.shape),
                    where: "attach(_:)")
            }
        }
        for (name, tensor) in adapter.baseWeights {
            // A tied head is the embedding, which comes under its own name.
            guard let weight = weights[name] else { continue }
            guard case .dense(let old) = weight else {
                throw ModelError(.quantized(name), where: "attach(_:)")
            }
            weights[name] = .dense(tensor.converted(to: old.dtype))
        }
        self.adapter = adapter
    }

    /// Folds the adapter into the weights, `W += scale · B A`, and removes it.
    ///
    /// Half-precision weights round twice, as PEFT's merge does: the product to the weight's type, then
    /// the sum. Quantized weights become dense f32 of what they decode to, plus the update, unless
    /// `original` gives the weights that they were quantized from. A tied head that the update leaves alone
    /// becomes a weight of its own, so that the merged model computes what the adapted one did (PEFT's
    /// merge changes it with the embedding).
    /// Where it throws, the model is as it was.
    /// - Parameter original: the base to merge into instead (QLoRA's better merge).
    /// - Returns: how far the merged weights are from those that the adapter was trained beside.
    /// - Throws: ``ModelError`` with reason `.noAdapter`, or `.missingWeight` or `.wrongShape` where
    ///   `original` is another model.
    @discardableResult
    public mutating func mergeAdapter(into original: LanguageModel? = nil) throws -> MergeReport {
        guard let adapter else { throw ModelError(.noAdapter, where: "mergeAdapter()") }
        var merged = self
        if let original {
            merged.weights = original.weights
            merged.weights.merge(
                adapter.baseWeights.mapValues { .dense($0) }, uniquingKeysWith: { $1 })
        }
        var report = MergeReport()
        for (path, module) in adapter.modules.sorted(by: { $0.key < $1.key }) {
            let name = path + ".weight"
            guard let weight = merged.weights[name], let trained = weights[name] else {
                throw ModelError(.missingWeight(name), where: path)
            }
            guard weight.shape == trained.shape else {
                throw ModelError(
                    .wrongShape(name, found: weight.shape, expected: trained.shape), where: path)
            }
            let isEmbedding = LoRAModule.isEmbedding(path)
            if isEmbedding { merged.untieHead() }
            let update = isEmbedding ? module.delta.transposed() : module.delta
            let sum = weight.dequantized().adding(update)
            merged.weights[name] = .dense(sum)
            report.modules.append(
                .init(
                    path: path,
                    errorRatio: errorRatio(of: sum, to: trained.dequantized(), plus: update)))
        }
        for (name, tensor) in adapter.savedModules {
            if name == ModelConfiguration.headName || name == ModelConfiguration.embeddingName {
                merged.untieHead()
            }
            if case .dense(let old)? = merged.weights[name] {
                merged.weights[name] = .dense(tensor.converted(to: old.dtype))
            } else {
                merged.weights[name] = .dense(tensor)
            }
        }
        merged.adapter = nil
        self = merged
        return report
    }

    /// Gives a tied head the embedding's weights as its own.
    private mutating func untieHead() {
        guard configuration.tiesEmbeddings else { return }
        configuration.tiesEmbeddings = false
        weights[ModelConfiguration.headName] = weights[ModelConfiguration.embeddingName]
    }

    /// A copy with the adapter folded in.
    public func merged() throws -> LanguageModel {
        var result = self
        try result.mergeAdapter()
        return result
    }
}

/// What merging did to the weights.
public struct MergeReport: Sendable, Hashable {
    public struct Module: Sendable, Hashable {
        public var path: String
        /// ‖merged − (W + Δ)‖ / ‖Δ‖ in the Frobenius norm, W the weight as it computed in training (decoded,
        /// where it is quantized), Δ the update. Beside its own base this is rounding; beside the original of
        /// a quantized one it is the quantization's error in units of the update: from about 1 on, the merged
        /// model is no longer the one that was trained.
        public var errorRatio: Double
    }
    /// By path.
    public var modules: [Module] = []
    /// The largest of the ratios; 0 where there is no module.
    public var largestErrorRatio: Double { modules.map(\.errorRatio).max() ?? 0 }
}

/// ‖sum − (weight + update)‖ / ‖update‖, in f64; 0 where both are nothing.
private func errorRatio(of sum: Tensor, to weight: Tensor, plus update: Tensor) -> Double {
    let (m, w) = (sum.converted(to: .f32), weight.converted(to: .f32))
    var (error, size) = (0.0, 0.0)
    m.withUnsafeFloats { m in
        w.withUnsafeFloats { w in
            update.withUnsafeFloats { d in
                for i in d.indices {
                    let off = Double(m[i]) - (Double(w[i]) + Double(d[i]))
                    error += off * off
                    size += Double(d[i]) * Double(d[i])
                }
            }
        }
    }
    return error == 0 ? 0 : (error / size).squareRoot()
}

extension LoRAModule {
    /// `scale · B A`, `[output, input]`, f32.
    public var delta: Tensor {
        let (output, rank, input) = (b.shape[0], a.shape[0], a.shape[1])
        let result = Tensor(uninitialized: [output, input])
        ek_gemm(
            output, input, rank, b.columns(from: 0), a.columns(from: 0), result.freshFloats, input,
            false)
        ek_nn_scale(result.freshFloats, scale, result.count)
        return result
    }
}

extension Tensor {
    /// A weight plus an update, each rounded to the weight's type.
    fileprivate func adding(_ delta: Tensor) -> Tensor {
        let update = delta.converted(to: dtype).converted(to: .f32)
        let old = converted(to: .f32)
        let sum = Tensor(uninitialized: shape)
        ek_nn_add(sum.freshFloats, old.floats, update.floats, count)
        return sum.converted(to: dtype)
    }
}
