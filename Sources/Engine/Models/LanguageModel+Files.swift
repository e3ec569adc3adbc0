// Models from and to folders in Hugging Face's layout. The formats themselves are in Checkpoints/.

#if canImport(Glibc)
    import Glibc
#endif

extension LanguageModel {
    /// Loads a folder: `config.json`, weights in one file or in shards, and the tokenizer if there is one.
    ///
    /// Weights stay windows on their files until something changes them. Linear layers that bitsandbytes
    /// stored in 4 bits (NF4) or 8 keep its codes and scales.
    /// - Parameters:
    ///   - dtype: how to hold the weights; `nil` keeps them as they are stored.
    ///   - quantization: how to hold the linear layers of the blocks; each is quantized as it is read.
    /// - Throws: ``CheckpointError`` where files are missing or malformed, ``ModelError`` where they do
    ///   not make a model.
    public init(_ folder: String, dtype: DType? = nil, quantization: Quantization? = nil) throws {
        let checkpoint = try Checkpoint(folder)
        let configuration = try ModelConfiguration(json: checkpoint.configurationJSON)
        let linear = Set(
            (0..<configuration.layerCount).flatMap { layer in
                LinearName.allCases.map { ModelConfiguration.path($0, layer: layer) + ".weight" }
            })
        let stored8or4 = try BitsAndBytes(checkpoint)
        var weights: [String: Weight] = [:]
        for (name, shape) in configuration.parameterShapes {
            // Multimodal Gemma 3 keeps its language part under one of these.
            let candidates = [
                name, "language_model." + name,
                "model.language_model." + name.dropFirst("model.".count),
            ]
            guard let stored = candidates.first(where: checkpoint.contains) else {
                throw ModelError(.missingWeight(name), where: folder)
            }
            if linear.contains(name), let weight = try stored8or4.weight(stored, shape: shape) {
                if quantization != nil { throw ModelError(.quantized(stored), where: folder) }
                weights[name] = weight
                continue
            }
            var tensor = try checkpoint.tensor(stored)
            guard tensor.shape == shape else {
                throw ModelError(
                    .wrongShape(stored, found: tensor.shape, expected: shape), where: folder)
            }
            guard [.f32, .bf16, .f16].contains(tensor.dtype) else {
                throw ModelError(
                    .unsupported("\(stored) as \(tensor.dtype.rawValue)"), where: folder)
            }
            if let dtype, dtype != tensor.dtype { tensor = tensor.converted(to: dtype) }
            if let quantization, linear.contains(name) {
                weights[name] = Weight(quantizing: tensor, as: quantization)
            } else {
                weights[name] = .dense(tensor)
            }
        }
        let path = folder + "/tokenizer.json"
        let tokenizer = access(path, R_OK) == 0 ? try Tokenizer(folder) : nil
        self.init(configuration: configuration, weights: weights, tokenizer: tokenizer)
    }

    /// Writes `config.json`, `model.safetensors` and the tokenizer. An adapter is not written: merge it,
    /// or save it in PEFT's form.
    /// - Throws: ``ModelError`` where weights are quantized, ``CheckpointError`` where the folder cannot
    ///   be written.
    public func save(to folder: String) throws {
        var tensors: [String: Tensor] = [:]
        for (name, weight) in weights {
            guard case .dense(let tensor) = weight else {
                throw ModelError(.quantized(name), where: folder)
            }
            tensors[name] = tensor
        }
        if mkdir(folder, 0o755) != 0, errno != EEXIST {
            throw ModelError(.unwritable(folder), where: folder)
        }
        try Safetensors.write(
            tensors, metadata: ["format": "pt"], to: folder + "/model.safetensors")
        let dtype = self[ModelConfiguration.embeddingName].dtype
        let text = configuration.json(dtype: dtype).text(.indented) + "\n"
        guard let file = fopen(folder + "/config.json", "w") else {
            throw ModelError(.unwritable("config.json"), where: folder)
        }
        let written = text.withCString { fputs($0, file) }
        guard fclose(file) == 0, written >= 0 else {
            throw ModelError(.unwritable("config.json"), where: folder)
        }
        try tokenizer?.save(to: folder)
    }
}
