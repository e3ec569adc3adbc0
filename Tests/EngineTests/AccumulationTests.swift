// Accumulation against the large batch in f64, and the engine's f32 gradients against f64's, in each family.

import Engine
import Testing

@Suite struct `Training arithmetic in f64` {
    /// A model small enough to compute scalar by scalar, with its family's features, and an adapter that
    /// does something.
    static func model(_ family: ModelConfiguration.Family) -> LanguageModel {
        var c = ModelConfiguration(
            family: family, vocabularySize: 13, hiddenSize: 8, intermediateSize: 10, layerCount: 2,
            headCount: 2, keyValueHeadCount: 1, headDimension: 6)
        c.tiesEmbeddings = family != .llama
        if family == .mistral || family == .gemma2 || family == .gemma3 {
            (c.slidingWindow, c.slidingLayers) = (3, [true, family == .mistral])
        }
        if family == .gemma2 {
            (c.attentionSoftCap, c.finalSoftCap, c.queryScalar) = (2, 3, 5)
        }
        if family == .gemma3 { (c.ropeTheta, c.localRopeTheta) = (500, 50) }
        var random = RandomStream(seed: 3, name: family.rawValue)
        var model = LanguageModel(
            configuration: c, standardDeviation: 0.4, using: &random)
        for name in model.weights.keys where name.hasSuffix("norm.weight") {
            model[name] = normal(model[name].shape, name, scale: 0.3) + model[name]
        }
        try! model.attach(LoRA(rank: 2, alpha: 3), using: &random)
        for path in model.adapter!.modules.keys {
            model.adapter!.modules[path]!.b = normal(
                model.adapter!.modules[path]!.b.shape, path, scale: 0.3)
        }
        return model
    }

    static func examples() -> [TrainingExample] {
        var random = RandomStream(seed: 8, name: "f64")
        // Uneven on purpose: 1 to 6 labels each.
        return (0..<6).map { i in
            TrainingExample(
                prompt: (0..<1 + i % 2).map { _ in Int32(random.below(13)) },
                completion: (0..<1 + i).map { _ in Int32(random.below(13)) })
        }
    }

    static func batches(_ sizes: [Int]) -> [TrainingBatch] {
        var rest = examples()[...]
        return sizes.map { size in
            defer { rest = rest.dropFirst(size) }
            return TrainingBatch(rest.prefix(size).map { TrainingRow(segments: [$0]) })
        }
    }

    static func accumulated(
        _ model: ScalarModel, _ sizes: [Int], _ reduction: LossReduction
    ) -> (Double, [String: [Double]]) {
        let batches = batches(sizes)
        var (loss, sum) = (0.0, [String: [Double]]())
        for (batch, weights) in zip(batches, reduction.weights(batches)) {
            let (part, gradients) = model.lossAndGradients(batch, weights)
            loss += part
            sum.merge(gradients) { zip($0, $1).map { $0 + $1 } }
        }
        return (loss, sum)
    }

    /// The largest difference of two sets of gradients over the largest gradient.
    static func distance(_ a: [String: [Double]], _ b: [String: [Double]]) -> Double {
        let largest = b.values.joined().map(abs).max()!
        return a.map { name, values in largestDifference(values, b[name]!) }.max()! / largest
    }

    @Test(arguments: [LossReduction.tokenMean, .perExample])
    func `accumulation equals the large batch to 1e-12`(reduction: LossReduction) {
        let model = ScalarModel(Self.model(.gemma2))
        let (loss, large) = Self.accumulated(model, [6], reduction)
        for sizes in [[3, 3], [2, 2, 2], [1, 1, 1, 1, 1, 1], [5, 1]] {
            let (other, small) = Self.accumulated(model, sizes, reduction)
            #expect(abs(other - loss) < 1e-12 * loss)
            #expect(Self.distance(small, large) < 1e-12, "\(sizes)")
        }
    }

    @Test func `the mean of batch means is another loss, as its name says`() {
        let model = ScalarModel(Self.model(.llama))
        let (loss, large) = Self.accumulated(model, [6], .meanOfBatchMeans)
        let (other, small) = Self.accumulated(model, [3, 3], .meanOfBatchMeans)
        #expect(abs(other - loss) > 1e-3 && Self.distance(small, large) > 1e-3)
        // In one batch it is the mean over tokens.
        #expect(Self.distance(large, Self.accumulated(model, [6], .tokenMean).1) < 1e-12)
    }

    @Test(arguments: ModelConfiguration.Family.allCases)
    func `the engine's loss and gradients are those of f64`(family: ModelConfiguration.Family)
        throws
    {
        let model = Self.model(family)
        for reduction in [LossReduction.tokenMean, .perExample, .meanOfBatchMeans] {
            let (wanted, exact) = Self.accumulated(ScalarModel(model), [4, 2], reduction)
            let all = Self.examples()
            let (loss, gradients) = try lossAndGradients(
                model, [Array(all[..<4]), Array(all[4...])], reduction: reduction)
            #expect(abs(loss - wanted) < 2e-6 * wanted)
            let ours = exact.keys.reduce(into: [String: [Double]]()) { result, name in
                result[name] = gradients.gradient(name)!.withUnsafeFloats { $0.map(Double.init) }
            }
            // A few hundred roundings of 2⁻²⁴ between a weight and the loss.
            #expect(Self.distance(ours, exact) < 2e-5, "\(family), \(reduction)")
        }
    }
}
