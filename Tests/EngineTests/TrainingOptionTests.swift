// That what a training is told reaches its steps. What each option does by itself is tested where it is computed.

import Engine
import Testing

@Suite struct `Options of a training` {
    /// With ε = 1 and no averages a step moves a weight by g / (|g| + 1), so that a clipped gradient shows.
    @Test func `the clip is that of each step, and the norm on record is the one before`() throws {
        func step(_ clip: Double?) throws -> (norm: Double, moved: Float) {
            let start = tinyModel()
            var model = start
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(4),
                with: AdamW(learningRate: 1, beta1: 0, beta2: 0, epsilon: 1),
                TrainingOptions(gradientClip: clip, shuffles: false), using: &random)
            var moved: Float = 0
            for tensor in try start.trainedTensors() {
                let (before, after) = (start[tensor].floats, model[tensor].floats)
                moved = zip(before, after).reduce(moved) { max($0, abs($1.0 - $1.1)) }
            }
            return (summary.gradientNorms[0], moved)
        }
        let (free, clipped) = (try step(nil), try step(1e-3))
        #expect(free.norm == clipped.norm && free.norm > 0.1)
        #expect(free.moved > 1e-2 && clipped.moved <= 1e-3 && clipped.moved > 0)
    }

    @Test
    func `an adapter's dropout is drawn while it trains, each step anew, and at no other time`()
        throws
    {
        // An update that does something from the first.
        func start(_ dropout: Double) throws -> LanguageModel {
            var model = try adapted(tinyModel(), dropout: dropout)
            for path in model.adapter!.modules.keys {
                let shape = model.adapter!.modules[path]!.b.shape
                model.adapter!.modules[path]!.b = normal(shape, path)
            }
            return model
        }
        func losses(_ dropout: Double) throws -> [Double] {
            var model = try start(dropout)
            var random = RandomStream(seed: 5, name: "run")
            // A rate of zero: the weights stay, so that losses differ by dropout alone.
            return try train(
                &model, on: tinyExamples(1), with: AdamW(learningRate: 0),
                TrainingOptions(epochs: 1, maximumSteps: 3), using: &random
            ).losses
        }
        let (without, with) = (try losses(0), try losses(0.5))
        #expect(Set(without).count == 1)
        #expect(Set(with).count == 3 && !with.contains(without[0]))
        let prompts: [[Int32]] = [[1, 2, 3], [7, 5]]
        #expect(bits(try start(0).logits(prompts)) == bits(try start(0.5).logits(prompts)))
        #expect(
            try start(0).generate(prompts, maximumNewTokens: 6)
                == start(0.5).generate(prompts, maximumNewTokens: 6))
    }
}
