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
