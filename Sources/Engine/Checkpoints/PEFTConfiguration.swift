// The fields of adapter_config.json: which this engine honours, which it refuses by name where they are
// active, and which are kept as they are. Names and defaults are those of peft/tuners/lora/config.py, v0.21.

/// The translation between PEFT's configuration and ``LoRA``.
enum PEFTConfiguration {
    struct Fault: Error { let reason: CheckpointError.Reason }

    struct Reading {
        var configuration: LoRA
        var warnings: [String]
    }

    /// Fields that change what the adapter computes and that this engine does not implement, with the
    /// values that switch them off.
    private static let refused: [(field: String, off: [JSONValue])] = [
        ("use_dora", [false]), ("layer_replication", [nil, []]), ("use_qalora", [false]),
        ("lora_bias", [false]), ("bias", ["none"]), ("fan_in_fan_out", [false]),
        ("target_parameters", [nil, []]), ("trainable_token_indices", [nil, [], [:]]),
        ("alora_invocation_tokens", [nil]), ("arrow_config", [nil]), ("use_bdlora", [nil, false]),
        ("velora_config", [nil]), ("kasa_config", [nil]), ("monteclora_config", [nil]),
        ("ensure_weight_tying", [false]), ("megatron_config", [nil]),
        ("task_type", [nil, "CAUSAL_LM"]), ("loftq_config", [nil, [:]]),
        ("corda_config", [nil]), ("lora_ga_config", [nil]),
    ]

    /// Fields that are honoured (read below) or that do not change what the adapter computes.
    private static let known: Set<String> = [
        "peft_type", "r", "lora_alpha", "lora_dropout", "target_modules", "exclude_modules",
        "use_rslora", "modules_to_save", "init_lora_weights", "layers_to_transform",
        "layers_pattern", "rank_pattern", "alpha_pattern", "base_model_name_or_path", "revision",
        "inference_mode", "auto_mapping", "megatron_core", "qalora_group_size", "eva_config",
        "peft_version", "runtime_config",
    ]

    /// What PEFT writes where nothing else is said, in the order in which it prints (sorted).
    private static let defaults: JSONObject = JSONObject([
        ("alora_invocation_tokens", nil), ("alpha_pattern", [:]), ("arrow_config", nil),
        ("auto_mapping", nil), ("base_model_name_or_path", nil), ("bias", "none"),
        ("corda_config", nil), ("ensure_weight_tying", false), ("eva_config", nil),
        ("exclude_modules", nil), ("fan_in_fan_out", false), ("inference_mode", true),
        ("init_lora_weights", true), ("kasa_config", nil), ("layer_replication", nil),
        ("layers_pattern", nil), ("layers_to_transform", nil), ("loftq_config", [:]),
        ("lora_alpha", 8), ("lora_bias", false), ("lora_dropout", 0.0), ("lora_ga_config", nil),
        ("megatron_config", nil), ("megatron_core", "megatron.core"), ("modules_to_save", nil),
        ("monteclora_config", nil), ("peft_type", "LORA"), ("qalora_group_size", 16), ("r", 8),
        ("rank_pattern", [:]), ("revision", nil), ("target_modules", nil),
        ("target_parameters", nil), ("task_type", "CAUSAL_LM"),
        ("trainable_token_indices", nil), ("use_bdlora", nil), ("use_dora", false),
        ("use_qalora", false), ("use_rslora", false), ("velora_config", nil),
    ])

    // MARK: Reading

    static func read(_ fields: JSONObject) throws(Fault) -> Reading {
        var warnings: [String] = []
        guard let kind = fields["peft_type"] else { throw malformed("peft_type", "it is missing") }
        if kind != "LORA" { throw unsupported("peft_type", kind) }
        for (field, off) in refused {
            if let value = fields[field], !off.contains(value) { throw unsupported(field, value) }
        }
        try checkInitialization(fields["init_lora_weights"] ?? true)
        let refusedNames = Set(refused.map(\.field))
        for key in fields.keys where !known.contains(key) && !refusedNames.contains(key) {
            warnings.append("the field \(key) of adapter_config.json is not known here; it is kept")
        }
        var lora = LoRA()
        lora.rank = try positive(fields["r"] ?? 8, "r")
        lora.alpha = try number(fields["lora_alpha"] ?? 8, "lora_alpha")
        lora.dropout = try number(fields["lora_dropout"] ?? 0, "lora_dropout")
        guard (0...1).contains(lora.dropout) else {
            throw malformed("lora_dropout", "\(lora.dropout) is not between 0 and 1")
        }
        lora.isRankStabilized = try boolean(fields["use_rslora"] ?? false, "use_rslora")
        lora.targets =
            try targets(fields["target_modules"] ?? nil, "target_modules")
            ?? .layers(.query, .value)  // PEFT's default for every family here
        lora.excluded = try targets(fields["exclude_modules"] ?? nil, "exclude_modules")
        lora.modulesToSave = try strings(fields["modules_to_save"] ?? nil, "modules_to_save")
        lora.layers = try layers(fields)
        for (pattern, value) in try patterns(fields["rank_pattern"] ?? nil, "rank_pattern") {
            lora.rankPattern.append(.init(pattern, try positive(value, "rank_pattern")))
        }
        for (pattern, value) in try patterns(fields["alpha_pattern"] ?? nil, "alpha_pattern") {
            lora.alphaPattern.append(.init(pattern, try number(value, "alpha_pattern")))
        }
        return Reading(configuration: lora, warnings: warnings)
    }

    /// Initialisations that leave the base's weights alone are all alike once trained; the others
    /// (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) belong to a base that was changed as well.
    private static func checkInitialization(_ value: JSONValue) throws(Fault) {
        switch value {
        case .bool, .null: return
        case .string("gaussian"), .string("eva"), .string("orthogonal"): return
        default: throw unsupported("init_lora_weights", value)
        }
    }

    private static func layers(_ fields: JSONObject) throws(Fault) -> [Int]? {
        let pattern = fields["layers_pattern"] ?? nil
        // The layers are found by the first number in a path; a pattern may only say so in words.
        if !["", "layers", nil, [], ["layers"]].contains(pattern) {
            throw unsupported("layers_pattern", pattern)
        }
        switch fields["layers_to_transform"] ?? nil {
        case .null: return nil
        case .integer(let layer): return [layer]
        case .array(let elements):
            var result: [Int] = []
            for element in elements {
                guard let layer = element.integer, layer >= 0 else {
                    throw malformed("layers_to_transform", "it must hold layer numbers")
                }
                result.append(layer)
            }
            return result.isEmpty ? nil : result
        default: throw malformed("layers_to_transform", "it must hold layer numbers")
        }
    }

    private static func targets(_ value: JSONValue, _ field: String) throws(Fault) -> LoRA.Targets?
    {
        switch value {
        case .null: return nil
        case .string("all-linear"): return .allLinear
        case .string(let expression):
            guard LoRA.Targets.isValid(expression: expression) else {
                throw malformed(field, "\"\(expression)\" is not a regular expression")
            }
            return .pattern(expression)
        default:
            let names = try strings(value, field)
            return names.isEmpty ? nil : .names(names)
        }
    }

    private static func patterns(
        _ value: JSONValue, _ field: String
    ) throws(Fault) -> [(String, JSONValue)] {
        if value.isNull { return [] }
        guard let object = value.object else {
            throw malformed(field, "it must be an object, not \(value.kind)")
        }
        for key in object.keys where !LoRA.Targets.isValid(expression: key) {
            throw malformed(field, "\"\(key)\" is not a regular expression")
        }
        return object.entries.map { ($0.key, $0.value) }
    }

    private static func strings(_ value: JSONValue, _ field: String) throws(Fault) -> [String] {
        if value.isNull { return [] }
        guard let array = value.array else {
            throw malformed(field, "it must be a list of names, not \(value.kind)")
        }
        var result: [String] = []
        for element in array {
            guard let name = element.string else {
                throw malformed(field, "it must hold names, not \(element.kind)")
            }
            result.append(name)
        }
        return result
    }

    private static func positive(_ value: JSONValue, _ field: String) throws(Fault) -> Int {
        guard let number = value.integer, number > 0 else {
            throw malformed(field, "\(value.text()) is not a positive integer")
        }
        return number
    }

    private static func number(_ value: JSONValue, _ field: String) throws(Fault) -> Double {
        guard let number = value.double else {
            throw malformed(field, "\(value.text()) is not a number")
        }
        return number
    }

    private static func boolean(_ value: JSONValue, _ field: String) throws(Fault) -> Bool {
        guard let flag = value.bool else {
            throw malformed(field, "\(value.text()) is not true or false")
        }
        return flag
    }

    private static func unsupported(_ field: String, _ value: JSONValue) -> Fault {
        Fault(reason: .unsupportedField(field: field, value: value.text()))
    }

    private static func malformed(_ field: String, _ message: String) -> Fault {
        Fault(reason: .malformedField(field: field, message: message))
    }

    // MARK: Writing

    /// The fields that PEFT reads for this adapter: those that were read, or PEFT's defaults, with the
    /// configuration's own values put in.
    static func fields(
        of lora: LoRA, modulePaths: [String], over origin: JSONObject?
    ) -> JSONObject {
        var fields = origin ?? defaults
        fields["peft_type"] = "LORA"
        fields["r"] = .integer(lora.rank)
        set("lora_alpha", plain(lora.alpha), in: &fields)
        set("lora_dropout", .number(lora.dropout), in: &fields)
        fields["use_rslora"] = .bool(lora.isRankStabilized)
        set("target_modules", value(of: lora.targets, modulePaths), in: &fields)
        set("exclude_modules", lora.excluded.map { value(of: $0, []) } ?? nil, in: &fields)
        set(
            "modules_to_save",
            lora.modulesToSave.isEmpty ? nil : .array(lora.modulesToSave.map { .string($0) }),
            in: &fields)
        set(
            "layers_to_transform", lora.layers.map { .array($0.map { .integer($0) }) } ?? nil,
            in: &fields)
        fields["rank_pattern"] = .object(
            JSONObject(lora.rankPattern.map { ($0.pattern, .integer($0.value)) }))
        fields["alpha_pattern"] = .object(
            JSONObject(lora.alphaPattern.map { ($0.pattern, plain($0.value)) }))
        return fields
    }

    /// Sets a field unless it already says the same in other words (8 and 8.0, [2] and 2, absent and
    /// null), so that what was read and not changed is written as it was.
    private static func set(_ field: String, _ value: JSONValue, in fields: inout JSONObject) {
        let old = fields[field] ?? nil
        if old == value || .array([old]) == value { return }
        if case .array(let some) = old, case .array(let others) = value,
            some.count == others.count, some.allSatisfy({ others.contains($0) })
        {
            return
        }
        fields[field] = value
    }

    private static func value(of targets: LoRA.Targets, _ modulePaths: [String]) -> JSONValue {
        switch targets {
        case .allLinear:
            // What PEFT makes of "all-linear": the last names of the modules it found.
            let names = Set(modulePaths.map { String($0.split(separator: ".").last ?? "") })
            if names.isEmpty { return "all-linear" }
            return .array(names.sorted().map { .string($0) })
        case .names(let names): return .array(names.sorted().map { .string($0) })
        case .pattern(let pattern): return .string(pattern)
        }
    }

    /// A number without a fraction where it has none, as PEFT's integers are written.
    private static func plain(_ value: Double) -> JSONValue {
        Int(exactly: value).map { .integer($0) } ?? .number(value)
    }
}
