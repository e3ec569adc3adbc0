// Whole models: thirty steps of LoRA in each family, other kinds of training, and text from what came out.

import Engine

/// A small model of a family, with the features that make it one.
func configuration(_ family: ModelConfiguration.Family) -> ModelConfiguration {
    var c = ModelConfiguration(
        family: family, vocabularySize: 101, hiddenSize: 48, intermediateSize: 80, layerCount: 4,
        headCount: 4, keyValueHeadCount: 2, headDimension: 16)
    c.tiesEmbeddings = family != .llama && family != .mistral
    switch family {
    case .llama:
        c.ropeScaling = .llama3(
            factor: 8, lowFrequency: 1, highFrequency: 4, originalLength: 16)
    case .mistral:
        c.slidingWindow = 5
        c.slidingLayers = [true, true, true, true]
    case .gemma: break
    case .gemma2:
        (c.slidingWindow, c.slidingLayers) = (5, [true, false, true, false])
        (c.attentionSoftCap, c.finalSoftCap, c.queryScalar) = (50, 30, 20)
    case .gemma3:
        (c.slidingWindow, c.slidingLayers) = (5, [true, true, true, false])
        (c.ropeTheta, c.localRopeTheta, c.ropeScaling) = (1_000_000, 10_000, .linear(factor: 8))
    }
    return c
}

private func model(_ family: ModelConfiguration.Family) -> LanguageModel {
    var random = RandomStream(seed: 1, name: family.rawValue)
    return LanguageModel(
        configuration: configuration(family), standardDeviation: 0.1, using: &random)
}

private func tokens(_ count: Int, _ random: inout RandomStream) -> [Int32] {
    (0..<count).map { _ in Int32(random.below(101)) }
}

private func examples(_ count: Int) -> [TrainingExample] {
    var random = RandomStream(seed: 3, name: "examples")
    return (0..<count).map { _ in
        TrainingExample(
            prompt: tokens(1 + random.below(8), &random),
            completion: tokens(2 + random.below(12), &random))
    }
}

private func trained(
    _ start: LanguageModel, low: Bool = true, _ options: TrainingOptions, _ hash: inout Hash
) throws -> LanguageModel {
    var model = start
    var random = RandomStream(seed: 4, name: "run")
    if low { try model.attach(LoRA(rank: 4, alpha: 8, dropout: 0.1), using: &random) }
    let summary = try train(
        &model, on: examples(options.batchSize * 30), with: AdamW(learningRate: 5e-3), options,
        using: &random)
    hash.add(summary.losses)
    hash.add(summary.gradientNorms)
    for tensor in try model.trainedTensors() { hash.add(model[tensor]) }
    return model
}

func training(_ name: String, _ report: inout Report) throws {
    var options = TrainingOptions(
        batchSize: 6, schedule: .cosine, warmupSteps: 3, gradientClip: 1)
    for family in ModelConfiguration.Family.allCases {
        try report.line("\(name) lora \(family.rawValue)") {
            _ = try trained(model(family), options, &$0)
        }
    }
    let forms: [(String, Quantization)] = [
        ("int8", .int8), ("llm.int8", .llmInt8(OutlierDecomposition(threshold: 2))),
        ("nf4", .nf4(doubleQuantization: true)),
    ]
    for (form, quantization) in forms {
        try report.line("\(name) lora on \(form)") {
            _ = try trained(model(.gemma2).quantized(quantization), options, &$0)
        }
    }
    try report.line("\(name) lora on bf16") {
        _ = try trained(model(.llama).converted(to: .bf16), options, &$0)
    }
    try report.line("\(name) full") {
        _ = try trained(model(.mistral), low: false, options, &$0)
    }
    options.packing = .masked(length: 40)
    options.gradientCheckpointing = true
    (options.batchSize, options.accumulation) = (2, 3)
    try report.line("\(name) packed, accumulated, checkpointed") {
        _ = try trained(model(.gemma3), options, &$0)
    }
    try report.line("\(name) dpo") { hash in
        var random = RandomStream(seed: 5, name: "pairs")
        let pairs = (0..<30).map { _ in
            PreferencePair(
                prompt: tokens(4, &random), chosen: tokens(5, &random),
                rejected: tokens(6, &random))
        }
        let reference = model(.llama)
        var policy = reference
        let summary = try trainDPO(
            &policy, reference: reference, on: pairs, with: AdamW(learningRate: 1e-3),
            PreferenceOptions(beta: 0.1), TrainingOptions(batchSize: 3), using: &random)
        hash.add(summary.losses)
        for tensor in try policy.trainedTensors() { hash.add(policy[tensor]) }
    }
}

func generation(_ name: String, _ report: inout Report) throws {
    for family in ModelConfiguration.Family.allCases {
        try report.line("\(name) \(family.rawValue)") { hash in
            var random = RandomStream(seed: 6, name: "prompts")
            let prompts = (0..<7).map { _ in tokens(1 + random.below(20), &random) }
            let model = model(family)
            for tokens in model.generate(prompts, maximumNewTokens: 24) { hash.add(tokens) }
            let sampled = GenerationOptions(
                maximumNewTokens: 24, temperature: 0.8, topK: 40, topP: 0.9, batchSize: 3)
            for tokens in try model.generate(prompts, sampled, using: &random) { hash.add(tokens) }
            hash.add(model.logits(prompts))
        }
    }
}
