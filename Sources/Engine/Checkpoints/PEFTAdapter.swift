// Reads and writes LoRA adapters as PEFT keeps them: adapter_model.safetensors beside
// adapter_config.json. What the fields of the configuration mean is in PEFTConfiguration.swift.

/// What an adapter's files said beyond what this engine interprets, kept so that saving returns it.
public struct PEFTOrigin: Sendable, Codable {
    /// `adapter_config.json` as it was read.
    public var fields: JSONObject
    /// What stands for "model.layers." in the base model's own module paths; a multimodal Gemma 3 has
    /// "model.language_model.layers." or, before transformers 4.52, "language_model.model.layers.".
    public var layersPath: String
    /// What was noticed and did not prevent reading: unknown fields, tensors no module wants.
    public var warnings: [String]
}

extension LoRAAdapter {
    /// The usual path of a model's layers, in every family's text model.
    static let layersPath = "model.layers."
    /// The path's other forms, Gemma 3 with images: transformers ≥ 4.52, then before it.
    private static let multimodalPaths = [
        "model.language_model.layers.", "language_model.model.layers.",
    ]
    /// A form without its last part: what stands for "model." before the embedding.
    private static func stem(_ form: String) -> Substring { form.dropLast("layers.".count) }
    private static let prefix = "base_model.model."

    /// Reads an adapter that PEFT (or this engine) saved.
    ///
    /// Every field of the configuration is honoured, refused by name, or kept with a warning; tensors in
    /// bf16 or f16 are widened to f32, as PEFT does by default. Module paths are those of the text model,
    /// `model.layers.N…`, whatever the file calls them.
    /// - Throws: ``CheckpointError`` naming the field or the tensor.
    public init(peft folder: String) throws(CheckpointError) {
        let configurationPath = folder + "/adapter_config.json"
        let weightsPath = folder + "/adapter_model.safetensors"
        guard let fields = try FileSystem.readJSON(configurationPath).object else {
            throw CheckpointError(
                .malformedField(field: "adapter_config.json", message: "it must be an object"),
                path: configurationPath)
        }
        let reading: PEFTConfiguration.Reading
        do {
            reading = try PEFTConfiguration.read(fields)
        } catch {
            throw CheckpointError(error.reason, path: configurationPath)
        }
        if !FileSystem.exists(weightsPath), FileSystem.exists(folder + "/adapter_model.bin") {
            throw CheckpointError(.pickle("adapter_model.bin"), path: folder)
        }
        let file = try SafetensorsFile(weightsPath)
        var warnings = reading.warnings
        var halves: [String: (a: Tensor?, b: Tensor?)] = [:]
        var saved: [String: Tensor] = [:]
        var base: [String: Tensor] = [:]
        var layersPath = Self.layersPath
        func malformed(_ message: String) -> CheckpointError {
            CheckpointError(.malformedAdapter(message), path: weightsPath)
        }
        for name in file.names {
            guard name.hasPrefix(Self.prefix) else {
                throw malformed("\"\(name)\" does not begin with \(Self.prefix)")
            }
            let parts = Self.split(String(name.dropFirst(Self.prefix.count)))
            if let form = Self.multimodalPaths.first(where: { parts.path.hasPrefix(Self.stem($0)) })
            {
                layersPath = form
            }
            switch parts.role {
            case .a: halves[parts.path, default: (nil, nil)].a = try file.tensor(name)
            case .b: halves[parts.path, default: (nil, nil)].b = try file.tensor(name)
            case .unsupported(let kind):
                throw malformed("\"\(name)\" is of a kind this engine does not know, \(kind)")
            case .embedding where !LoRAModule.isEmbedding(Self.textPath(parts.path)):
                throw CheckpointError(
                    .unsupportedField(
                        field: "target_modules", value: "the embedding \(parts.path)"),
                    path: configurationPath)
            case .embedding(let isA):
                if isA {
                    halves[parts.path, default: (nil, nil)].a = try file.tensor(name)
                } else {
                    halves[parts.path, default: (nil, nil)].b = try file.tensor(name)
                }
            case .parameter(let isCopy):
                // What is not trained whole is the base's own, saved beside an update of it.
                let module = parts.path.dropLast(parts.path.hasSuffix(".bias") ? 5 : 7)
                if isCopy || reading.configuration.savesWhole(String(module)) {
                    saved[Self.textPath(parts.path)] = try file.tensor(name)
                } else {
                    base[Self.textPath(parts.path)] = try file.tensor(name)
                }
            }
        }
        let configuration = reading.configuration
        var modules: [String: LoRAModule] = [:]
        for (path, half) in halves {
            guard let a = half.a, let b = half.b else {
                throw malformed("\"\(path)\" has only one of lora_A and lora_B")
            }
            guard configuration.targets(path) else {
                warnings.append("\(path) is not among target_modules and is left out, as PEFT does")
                continue
            }
            let rank = configuration.rank(of: path)
            guard a.shape.count == 2, b.shape.count == 2, a.shape[0] == rank, b.shape[1] == rank
            else {
                throw malformed(
                    "\"\(path)\" has A \(a.shape) and B \(b.shape), where its rank is \(rank)")
            }
            guard a.dtype.isFloating, b.dtype.isFloating else {
                throw malformed("\"\(path)\" is not made of floating-point numbers")
            }
            modules[Self.textPath(path)] = LoRAModule(
                a: a.converted(to: .f32), b: b.converted(to: .f32),
                scale: configuration.scale(of: path))
        }
        if modules.isEmpty, saved.isEmpty { throw malformed("there are none") }
        warnings.sort()
        self.init(
            configuration: configuration, modules: modules, savedModules: saved,
            origin: PEFTOrigin(fields: fields, layersPath: layersPath, warnings: warnings))
        baseWeights = base
    }

    /// Writes the adapter as PEFT does: `adapter_model.safetensors`, byte for byte what PEFT writes for
    /// these tensors, and `adapter_config.json`.
    /// - Parameters:
    ///   - folder: Made where it does not exist.
    ///   - baseModel: The name or path that PEFT should load the base from; `nil` keeps what was read.
    /// - Throws: ``CheckpointError`` with reason `.unwritable`.
    public func save(peft folder: String, baseModel: String? = nil) throws(CheckpointError) {
        try FileSystem.makeFolder(folder)
        var tensors: [String: Tensor] = [:]
        for (path, module) in modules {
            tensors[Self.prefix + filePath(LoRAModule.aName(path))] = module.a
            tensors[Self.prefix + filePath(LoRAModule.bName(path))] = module.b
        }
        for (name, tensor) in savedModules { tensors[Self.prefix + filePath(name)] = tensor }
        for (name, tensor) in baseWeights {
            let path = String(name.dropLast(".weight".count))
            let isWrapped = modules[path] != nil
            tensors[Self.prefix + filePath(isWrapped ? path + ".base_layer.weight" : name)] = tensor
        }
        try Safetensors.write(
            tensors, metadata: ["format": "pt"], to: folder + "/adapter_model.safetensors")
        var fields = PEFTConfiguration.fields(
            of: configuration, modulePaths: modules.keys.map(filePath), over: origin?.fields)
        if let baseModel { fields["base_model_name_or_path"] = .string(baseModel) }
        try FileSystem.write(
            JSONValue.object(fields).bytes(.sortedConfiguration),
            to: folder + "/adapter_config.json")
    }

    // MARK: Names

    private enum Role {
        case a, b
        case embedding(isA: Bool)
        /// A whole tensor; `isCopy` where its name says that it stands beside the base's own.
        case parameter(isCopy: Bool)
        case unsupported(String)
    }

    /// A tensor's module path, and what it is to the module.
    private static func split(_ name: String) -> (path: String, role: Role) {
        // PEFT removes the adapter's name, "default"; files saved by hand may still have it.
        for (ending, role) in [
            (".lora_A.weight", Role.a), (".lora_A.default.weight", .a), (".lora_B.weight", .b),
            (".lora_B.default.weight", .b),
        ] where name.hasSuffix(ending) {
            return (String(name.dropLast(ending.count)), role)
        }
        for ending in [".lora_embedding_A", ".lora_embedding_B"] {
            for whole in [ending, ending + ".default"] where name.hasSuffix(whole) {
                return (
                    String(name.dropLast(whole.count)), .embedding(isA: ending.hasSuffix("A"))
                )
            }
        }
        if let kind = name.split(separator: ".").first(where: { $0.hasPrefix("lora_") }) {
            return (name, .unsupported(String(kind)))
        }
        if name.hasSuffix(".weight") || name.hasSuffix(".bias") {
            for part in [".modules_to_save.default.", ".modules_to_save."] {
                guard let range = name.firstRange(of: part) else { continue }
                return (name.replacingCharacters(range, with: "."), .parameter(isCopy: true))
            }
            if let range = name.firstRange(of: ".base_layer.") {
                return (name.replacingCharacters(range, with: "."), .parameter(isCopy: false))
            }
            return (name, .parameter(isCopy: false))
        }
        return (name, .unsupported("it is neither lora_A, lora_B nor a weight"))
    }

    /// The path in the text model for one of a multimodal model.
    private static func textPath(_ path: String) -> String {
        for form in multimodalPaths where path.hasPrefix(stem(form)) {
            return String(stem(layersPath) + path.dropFirst(stem(form).count))
        }
        return path
    }

    /// The path by which the file's base model knows a module of the text model.
    private func filePath(_ path: String) -> String {
        let stem = Self.stem(Self.layersPath)
        guard let form = origin?.layersPath, path.hasPrefix(stem) else { return path }
        return String(Self.stem(form) + path.dropFirst(stem.count))
    }
}

extension String {
    fileprivate func replacingCharacters(_ range: Range<String.Index>, with text: String) -> String
    {
        self[..<range.lowerBound] + text + self[range.upperBound...]
    }
}
