// Models on int8 and NF4 weights: QLoRA's arithmetic is LoRA's on the decoded weights.

import Engine
import Testing

@Suite struct `Quantized models` {
    static let forms: [Quantization] = [
        .int8, .nf4(doubleQuantization: false), .nf4(doubleQuantization: true),
    ]

    @Test(arguments: forms) func `compute with the decoded weights, to the bit`(form: Quantization)
        throws
    {
        let model = try LanguageModel(fixture("models/gemma2"), quantization: form)
        let decoded = model.dequantized()
        let tokens: [[Int32]] = [[2, 9, 100, 33, 7], [2, 5]]
        #expect(sameBits(model.logits(tokens), decoded.logits(tokens)))
        #expect(model.weightBytes < decoded.weightBytes)
    }

    @Test(arguments: forms) func `train an adapter as on the decoded weights, to the bit`(
        form: Quantization
    ) throws {
        func run(_ start: LanguageModel) throws -> ([Double], [[UInt8]]) {
            var model = try adapted(start, dropout: 0.1)
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(16), with: AdamW(learningRate: 1e-2), epochs: 1,
                using: &random)
            return (summary.losses, try trainedBytes(model))
        }
        let quantized = tinyModel().quantized(form)
        let (losses, bytes) = try run(quantized)
        let (other, otherBytes) = try run(quantized.dequantized())
        #expect(losses == other && bytes == otherBytes)
    }

    @Test func `merge into the decoded or the original base`() throws {
        let base = tinyModel()
        var model = try adapted(base.quantized(.nf4(doubleQuantization: true)))
        var random = RandomStream(seed: 5, name: "run")
        try train(
            &model, on: tinyExamples(16), with: AdamW(learningRate: 1e-2), epochs: 1, using: &random
        )
        let tokens: [[Int32]] = [[1, 2, 3, 4, 5]]
        var merged = model, better = model
        try merged.mergeAdapter()
        try better.mergeAdapter(into: base)
        let wanted = model.logits(tokens)
        let difference = wanted.withUnsafeFloats { a in
            merged.logits(tokens).withUnsafeFloats { largestDifference(a, $0) }
        }
        #expect(difference < 1e-5)  // one rounding of the sum; logits are near 1
        let module = try #require(model.adapter?.modules["model.layers.0.mlp.up_proj"])
        let name = "model.layers.0.mlp.up_proj.weight"
        let error = base[name].withUnsafeFloats { w in
            module.delta.withUnsafeFloats { d in
                better[name].withUnsafeFloats { m in
                    m.indices.reduce(Float(0)) { max($0, abs(m[$1] - (w[$1] + d[$1]))) }
                }
            }
        }
        #expect(error == 0)
    }

    @Test(arguments: forms) func `say how far a merged model is from the one that was trained`(
        form: Quantization
    ) throws {
        let base = tinyModel()
        var model = try adapted(base.quantized(form))
        for path in Array(model.adapter!.modules.keys) {
            let shape = model.adapter!.modules[path]!.b.shape
            model.adapter!.modules[path]!.b = normal(shape, path, scale: 0.05)
        }
        var decoded = model, original = model
        let near = try decoded.mergeAdapter()
        let far = try original.mergeAdapter(into: base)
        let paths = model.adapter!.modules.keys.sorted()
        #expect(near.modules.map(\.path) == paths && far.modules.map(\.path) == paths)
        // One rounding of f32 sums near 1; Δ is some 0.01.
        #expect(near.largestErrorRatio > 0 && near.largestErrorRatio < 1e-4)
        for (path, ratio) in far.modules.map({ ($0.path, $0.errorRatio) }) {
            // By hand: ‖decoded − original‖ / ‖Δ‖.
            let name = path + ".weight"
            let (q, w) = (model.weights[name]!.dequantized().values, base[name].values)
            let delta = model.adapter!.modules[path]!.delta.values
            func norm(_ values: [Double]) -> Double {
                values.reduce(0) { $0 + $1 * $1 }.squareRoot()
            }
            let expected =
                norm(zip(q, w).map { Double($0) - Double($1) }) / norm(delta.map { Double($0) })
            #expect(abs(ratio / expected - 1) < 1e-3, "\(path): \(ratio), not \(expected)")
        }
        #expect(far.largestErrorRatio == far.modules.map(\.errorRatio).max())
        #expect(far.largestErrorRatio > 100 * near.largestErrorRatio)
        // bf16 weights beside themselves: half an ulp of the sum.
        var half = try adapted(base.converted(to: .bf16))
        #expect(try half.mergeAdapter().largestErrorRatio == 0)  // B is 0: nothing changes
    }

    @Test func `leave the model as it was where the base to merge into is another`() throws {
        let model = try adapted(tinyModel().quantized(.int8))
        var configuration = model.configuration
        configuration.intermediateSize = 48
        var random = RandomStream(seed: 1, name: "other")
        let other = LanguageModel(configuration: configuration, using: &random)
        var merged = model
        let error = #expect(throws: ModelError.self) { try merged.mergeAdapter(into: other) }
        #expect(
            error?.reason
                == .wrongShape(
                    "model.layers.0.mlp.down_proj.weight", found: [24, 48], expected: [24, 40]))
        #expect(merged.adapter != nil)
        let tokens: [[Int32]] = [[1, 2, 3]]
        #expect(sameBits(merged.logits(tokens), model.logits(tokens)))
    }

    @Test func `cannot be trained whole`() throws {
        var model = tinyModel().quantized(.int8)
        var random = RandomStream(seed: 5, name: "run")
        let error = #expect(throws: TrainingError.self) {
            try train(
                &model, on: tinyExamples(2), with: AdamW(learningRate: 1e-2), epochs: 1,
                using: &random)
        }
        #expect(
            error?.reason == .quantizedWithoutAdapter("model.layers.0.self_attn.q_proj.weight"))
    }
}
