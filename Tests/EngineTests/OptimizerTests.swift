// The optimizer by the paper's formula, its schedules by transformers' formulas, clipping.

import Engine
import Foundation
import Testing

@Suite struct `The optimizer` {
    // transformers' get_linear_schedule_with_warmup and get_cosine_schedule_with_warmup, 2 of 10 steps: a quarter
    // of the way down, 1 − ¼ and ½ (1 + cos π/4).
    @Test func `warms up and decays as transformers' schedules`() {
        func factors(_ schedule: LearningRateSchedule) -> [Double] {
            [0, 1, 2, 4, 6, 10].map { schedule.factor(step: $0, of: 10, warmup: 2) }
        }
        #expect(factors(.linear) == [0, 0.5, 1, 0.75, 0.5, 0])
        #expect(factors(.constant) == [0, 0.5, 1, 1, 1, 1])
        for (ours, theirs) in zip(factors(.cosine), [0, 0.5, 1, 0.853_553_390_593_273_8, 0.5, 0]) {
            #expect(abs(ours - theirs) < 1e-15)
        }
    }

    @Test(arguments: [LearningRateSchedule.linear, .cosine, .constant])
    func `a run takes each step at its schedule's rate`(schedule: LearningRateSchedule) throws {
        let start = try trainedBytes(tinyModel())
        var model = tinyModel()
        var random = RandomStream(seed: 5, name: "run")
        var rates: [Double] = []
        var moved: [Bool] = []
        let options = TrainingOptions(
            maximumSteps: 6, batchSize: 2, schedule: schedule, warmupSteps: 2)
        var before = start
        // A callback sees the rate; a run that ends there, the weights.
        for last in 1...6 {
            rates = []
            var copy = tinyModel()
            random = RandomStream(seed: 5, name: "run")
            do {
                try train(
                    &copy, on: tinyExamples(12), with: AdamW(learningRate: 0.04), options,
                    using: &random
                ) { step in
                    rates.append(step.learningRate)
                    if step.number == last { throw CancellationError() }
                }
            } catch is CancellationError {}
            moved.append(try trainedBytes(copy) != before)
            before = try trainedBytes(copy)
            model = copy
        }
        #expect(rates == (0..<6).map { 0.04 * schedule.factor(step: $0, of: 6, warmup: 2) })
        // The first step of a warm-up has a rate of zero.
        #expect(moved == [false, true, true, true, true, true])
        #expect(try trainedBytes(model) != start)
    }

    /// Three steps in f64 by the formula of the paper (Algorithm 2), one element of a matrix and one of a norm, which
    /// is not decayed.
    @Test(arguments: [0, 0.25]) func `is the paper's, with its decay on matrices alone`(
        decay: Double
    ) throws {
        let optimizer = AdamW(
            learningRate: 1, beta1: 0.8, beta2: 0.95, epsilon: 1e-3, weightDecay: decay)
        for name in ["model.layers.1.mlp.up_proj.weight", "model.norm.weight"] {
            var model = tinyModel()
            var optimization = try Optimization(
                model, optimizer: optimizer, keepsMasterWeights: true)
            var p = Double(model[name].withUnsafeFloats { $0[0] })
            var (m, v) = (0.0, 0.0)
            for (t, (g, rate)) in [(0.5, 0.1), (-2.0, 0.3), (0.25, 0.2)].enumerated() {
                optimization.gradients.add(to: name) { $0[0] = Float(g) }
                _ = try optimization.update(&model, rate: rate, clip: nil)
                m = 0.8 * m + 0.2 * g
                v = 0.95 * v + 0.05 * g * g
                let (meanHat, squareHat) = (
                    m / (1 - pow(0.8, Double(t + 1))), v / (1 - pow(0.95, Double(t + 1)))
                )
                if name != "model.norm.weight" { p -= rate * decay * p }
                p -= rate * meanHat / (squareHat.squareRoot() + 1e-3)
                let ours = Double(model[name].withUnsafeFloats { $0[0] })
                // A dozen roundings of numbers of about 1.
                #expect(abs(ours - p) < 1e-6, "\(name), step \(t + 1)")
            }
        }
    }

    // By hand: one weight, g = 2: m̂ = 2, v̂ = 4, so the step is the rate (1e-8 apart); decay 0.1 · rate.
    @Test func `moves by the rate at first`() throws {
        var model = tinyModel()
        let before = model["model.norm.weight"].withUnsafeFloats { $0[0] }
        var optimization = try Optimization(
            model, optimizer: AdamW(learningRate: 0.1), keepsMasterWeights: true)
        optimization.gradients.add(to: "model.norm.weight") { $0[0] = 2 }
        let norm = try optimization.update(&model, rate: 0.1, clip: nil)
        #expect(norm == 2)
        let after = model["model.norm.weight"].withUnsafeFloats { $0[0] }
        #expect(abs(after - (before - 0.1)) < 1e-6)
    }

    @Test func `clips to a norm`() throws {
        var model = tinyModel()
        var optimization = try Optimization(
            model, optimizer: AdamW(learningRate: 0.1, beta1: 0, beta2: 0, epsilon: 1),
            keepsMasterWeights: true)
        let before = model["model.norm.weight"].withUnsafeFloats { $0[0] }
        optimization.gradients.add(to: "model.norm.weight") { $0[0] = 8 }
        #expect(try optimization.update(&model, rate: 1, clip: 1) == 8)
        // g becomes 1 (1e-6 apart), m = 1, v = 1: the step is 1 / (1 + ε) = ½.
        let after = model["model.norm.weight"].withUnsafeFloats { $0[0] }
        #expect(abs(after - (before - 0.5)) < 1e-5)
    }
}
