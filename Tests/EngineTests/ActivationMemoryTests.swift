// The tape's count of what it keeps for the way back, against the memory that tensors take.

import Engine
import Testing

/// What a training keeps of its activations, held against the memory that tensors really take.
@Suite struct `Activation memory` {
    /// How a model is trained.
    enum Trained: String, CaseIterable {
        case weights, adapter
        case narrow = "queries and values, with dropout"
        case embedding = "an adapter with the embedding, a direction removed"
    }

    /// A process of its own, since every tensor that is alive counts. Before each operator on the way back, what is
    /// alive beyond the model is what the tape says it keeps, and the gradients that it has in hand.
    @Test func `is counted to the byte in every family, trained any way, recomputed or not`() async
    {
        await #expect(processExitsWith: .success) {
            for family in ModelConfiguration.Family.allCases {
                for trained in Trained.allCases {
                    let model = try `Activation memory`.model(family, trained)
                    let kept = try `Activation memory`.measure(
                        model, recomputing: false, "\(family), \(trained)")
                    let recomputed = try `Activation memory`.measure(
                        model, recomputing: true, "\(family), \(trained), recomputed")
                    // Three blocks kept, or one and the three's inputs.
                    #expect(recomputed < kept * 3 / 4, "\(family), \(trained)")
                }
            }
        }
    }

    static func model(_ family: ModelConfiguration.Family, _ trained: Trained) throws
        -> LanguageModel
    {
        var configuration = ModelConfiguration(
            family: family, vocabularySize: 40, hiddenSize: 24, intermediateSize: 40, layerCount: 3,
            headCount: 3, keyValueHeadCount: 1, headDimension: 8)
        configuration.tiesEmbeddings = family != .mistral
        configuration.slidingWindow = 4
        configuration.slidingLayers = [true, false, true]
        if family == .gemma2 {
            (configuration.attentionSoftCap, configuration.finalSoftCap) = (50, 30)
        }
        var random = RandomStream(seed: 3, name: "memory")
        var model = LanguageModel(configuration: configuration, using: &random)
        switch trained {
        case .weights: break
        case .adapter: try model.attach(LoRA(rank: 2, alpha: 4), using: &random)
        case .narrow:
            try model.attach(
                LoRA(
                    rank: 2, alpha: 4, targets: .names(["q_proj", "v_proj"]), dropout: 0.2),
                using: &random)
        case .embedding:
            try model.attach(
                LoRA(rank: 2, alpha: 4, targets: .names(["embed_tokens", "down_proj"])),
                using: &random)
            model.edits = [
                ActivationEdit(.remove(normal([24], "direction")), at: .block(layer: 1))
            ]
        }
        return model
    }

    /// - Returns: the peak that the tape counted.
    static func measure(_ model: LanguageModel, recomputing: Bool, _ what: String) throws -> Int {
        let parameters = ParameterGradients(
            trainable: try model.trainedTensors().map { ($0.name, model[$0].shape) })
        let transformer = Transformer(model)
        var rope = RotaryTables(model.configuration)
        rope.extend(to: 16)
        let batch = TrainingBatch(
            tinyExamples(5).map { TrainingRow(segments: [$0]) })
        let dropout = (model.adapter?.configuration.dropout).flatMap { probability in
            probability > 0
                ? UpdateDropout(
                    probability: Float(probability), stream: RandomStream(seed: 4, name: "drop"))
                : nil
        }
        let before = TensorMemory.current.elementBytes
        var alive: Int { TensorMemory.current.elementBytes - before }
        let tape = Tape(recording: true, parameters: parameters)
        // A function, so that what the way forward held for itself is gone when it returns.
        func forward() {
            let hidden = transformer(
                batch.tokens, rows: PackedRows(lengths: batch.lengths), rope: rope, on: tape,
                dropout: dropout, checkpointing: recomputing)
            let x = transformer.finalNorm(chosenRows(hidden, batch.chosen, on: tape), on: tape)
            _ = transformer.head.crossEntropy(
                x, labels: batch.labels, weights: batch.labels.map { _ in 1 }, on: tape)
        }
        forward()
        #expect(tape.activationBytes > 0)
        #expect(alive == tape.activationBytes + tape.gradientBytes, "\(what), after the forward")
        var (steps, most) = (0, tape.activationBytes)
        tape.onStep = { tape in
            let held = alive - tape.gradientBytes
            let counted = tape.heldActivationBytes
            #expect(held == counted, "\(what), step \(steps): \(held) held, \(counted) counted")
            (steps, most) = (steps + 1, max(most, held))
        }
        tape.backward()
        #expect(steps > 15, "\(what)")
        #expect(tape.activationBytes == 0 && alive == tape.gradientBytes, "\(what), at the end")
        #expect(tape.peakActivationBytes == most, "\(what)")
        return most
    }
}
