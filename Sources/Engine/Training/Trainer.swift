// Supervised fine-tuning: the loss of a step and its gradient. The loop is in TrainingRun.swift.

/// Trains a model on examples: its adapter where it has one, all its weights otherwise.
///
/// Given model, examples, options and stream, the losses and the trained tensors are the same bits
/// whatever the threads, and whether or not the run was stopped and resumed.
/// - Parameter onStep: called after each update; throwing from it ends the run with the model as it is.
/// - Throws: ``TrainingError`` where the loss is not finite (naming step, layer and tensor) or nothing can
///   be learned.
@discardableResult
public func train(
    _ model: inout LanguageModel, on examples: [TrainingExample], with optimizer: AdamW,
    _ options: TrainingOptions = TrainingOptions(), using random: inout RandomStream,
    onStep: (TrainingStep) throws -> Void = { _ in }
) throws -> TrainingSummary {
    for example in examples { try model.check(example.tokens, example.labels) }
    let rows = options.packing.rows(examples, maximumLength: options.maximumLength)
    var run = try TrainingRun(
        &model, rowCount: rows.count, kind: "supervised", optimizer: optimizer, options: options,
        random: &random)
    var rope = RotaryTables(model.configuration)
    rope.extend(to: rows.lazy.flatMap(\.segments).map(\.tokens.count).max() ?? 0)
    return try run.run(&model, onStep: onStep) { run, model, indices in
        let batches = indices.map { TrainingBatch($0.map { rows[$0] }) }
        let weights = options.reduction.weights(batches)
        guard batches.contains(where: { !$0.labels.isEmpty }) else {
            throw TrainingError(.nothingToLearn, step: run.optimization.step + 1)
        }
        let transformer = Transformer(model)
        var loss = 0.0
        for (i, batch) in batches.enumerated() where !batch.labels.isEmpty {
            let tape = Tape(recording: true, parameters: run.optimization.gradients)
            let hidden = transformer(
                batch.tokens, rows: PackedRows(lengths: batch.lengths), rope: rope, on: tape,
                dropout: run.dropout(model, batch: i), checkpointing: options.gradientCheckpointing)
            let x = transformer.finalNorm(chosenRows(hidden, batch.chosen, on: tape), on: tape)
            let losses = transformer.head.crossEntropy(
                x, labels: batch.labels, weights: weights[i].map { Float($0) }, on: tape)
            for (value, weight) in zip(losses.values, weights[i]) { loss += value * weight }
            guard loss.isFinite else {
                throw transformer.nonFinite(batch, rope, model, step: run.optimization.step + 1)
            }
            tape.backward()
            run.stepActivationBytes = max(run.stepActivationBytes, tape.peakActivationBytes)
        }
        return StepResult(loss: loss, tokenCount: batches.reduce(0) { $0 + $1.tokens.count })
    }
}

/// ``train(_:on:with:_:using:onStep:)`` with the options that a short study needs.
@discardableResult
public func train(
    _ model: inout LanguageModel, on examples: [TrainingExample], with optimizer: AdamW,
    epochs: Int,
    batchSize: Int = 8, using random: inout RandomStream,
    onStep: (TrainingStep) throws -> Void = { _ in }
) throws -> TrainingSummary {
    try train(
        &model, on: examples, with: optimizer,
        TrainingOptions(epochs: epochs, batchSize: batchSize),
        using: &random, onStep: onStep)
}

extension LanguageModel {
    /// Refuses tokens that the vocabulary has not.
    func check(_ tokens: [Int32], _ labels: [Int32]) throws {
        let vocabulary = configuration.vocabularySize
        for token in tokens where token < 0 || Int(token) >= vocabulary {
            throw TrainingError(.tokenOutOfRange(token, vocabulary: vocabulary))
        }
        for label in labels
        where label != TrainingExample.ignored && (label < 0 || Int(label) >= vocabulary) {
            throw TrainingError(.tokenOutOfRange(label, vocabulary: vocabulary))
        }
    }

    /// The first trained or frozen dense tensor with an element that is not finite.
    func firstNonFiniteTensor() -> String? {
        for (name, _) in configuration.parameterShapes {
            if case .dense(let tensor)? = weights[name], !tensor.isFinite { return name }
        }
        for (path, module) in (adapter?.modules ?? [:]).sorted(by: { $0.key < $1.key }) {
            if !module.a.isFinite { return LoRAModule.aName(path) }
            if !module.b.isFinite { return LoRAModule.bName(path) }
        }
        for (name, module) in (adapter?.savedModules ?? [:]).sorted(by: { $0.key < $1.key })
        where !module.isFinite { return name }
        return nil
    }
}

extension Transformer {
    /// Finds where a batch's numbers stop being finite, by computing it once more.
    func nonFinite(
        _ batch: TrainingBatch, _ rope: RotaryTables, _ model: LanguageModel, step: Int
    ) -> TrainingError {
        var layer: Int?
        var found = false
        _ = self(
            batch.tokens, rows: PackedRows(lengths: batch.lengths), rope: rope,
            on: Tape(recording: false)
        ) { i, state in
            if !found, !state.isFinite {
                found = true
                layer = i - 1  // −1: the embedding itself
            }
        }
        let tensor: String =
            if let bad = model.firstNonFiniteTensor() {
                bad
            } else if let layer, layer >= 0 {
                "model.layers.\(layer) (its output)"
            } else {
                found ? ModelConfiguration.embeddingName : "the logits"
            }
        return TrainingError(
            .nonFiniteLoss, step: step, layer: layer.flatMap { $0 >= 0 ? $0 : nil }, tensor: tensor)
    }
}
