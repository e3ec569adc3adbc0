// A training whose numbers stop being finite ends, and says where.

import Engine
import Testing

@Suite struct `A training that cannot go on` {
    /// Where a number stops being finite: the tensor that holds it, or the first block that makes one of finite tensors.
    @Test(arguments: [
        "an update", "a module saved whole", "the embedding", "a block", "the logits", "DPO",
    ])
    func `names the step, the layer and the tensor of a loss that is not finite`(what: String)
        throws
    {
        func spoil(_ tensor: Tensor, _ change: (Float) -> Float = { _ in .nan }) -> Tensor {
            var result = tensor
            result.withUnsafeMutableFloats { for i in $0.indices { $0[i] = change($0[i]) } }
            return result
        }
        var model = tinyModel(tied: false)
        var random = RandomStream(seed: 5, name: "run")
        let expected: (layer: Int?, tensor: String)
        switch what {
        case "an update", "DPO":
            model = try adapted(model)
            let path = "model.layers.1.self_attn.v_proj"
            model.adapter!.modules[path]!.b = spoil(model.adapter!.modules[path]!.b)
            expected = (1, path + ".lora_B.weight")
        case "a module saved whole":
            try model.attach(LoRA(rank: 2, alpha: 4, modulesToSave: ["lm_head"]), using: &random)
            let name = "lm_head.weight"
            model.adapter!.savedModules[name] = spoil(model.adapter!.savedModules[name]!)
            expected = (nil, name)
        case "the embedding":
            let name = "model.embed_tokens.weight"
            model[name] = spoil(model[name])
            expected = (nil, name)
        case "a block":
            // Finite weights whose product is beyond f32.
            let name = "model.layers.0.mlp.down_proj.weight"
            model[name] = spoil(model[name]) { $0.sign == .minus ? -3e38 : 3e38 }
            expected = (0, "model.layers.0 (its output)")
        default:
            model["lm_head.weight"] = spoil(model["lm_head.weight"]) {
                $0.sign == .minus ? -3e38 : 3e38
            }
            expected = (nil, "the logits")
        }
        let before = try trainedBytes(model)
        let optimizer = AdamW(learningRate: 1e-2)
        let error = #expect(throws: TrainingError.self) {
            if what == "DPO" {
                try trainDPO(
                    &model, reference: tinyModel(tied: false),
                    on: [PreferencePair(prompt: [1, 2], chosen: [3, 4], rejected: [5])],
                    with: optimizer, using: &random)
            } else {
                try train(
                    &model, on: tinyExamples(4), with: optimizer, epochs: 1, using: &random)
            }
        }
        #expect(error?.reason == .nonFiniteLoss && error?.step == 1)
        #expect(error?.layer == expected.layer && error?.tensor == expected.tensor)
        #expect(try trainedBytes(model) == before)
    }

    @Test func `says at which step a run's loss stops being finite`() throws {
        var model = tinyModel()
        var random = RandomStream(seed: 5, name: "run")
        var steps = 0
        let error = #expect(throws: TrainingError.self) {
            try train(
                &model, on: tinyExamples(40), with: AdamW(learningRate: 1e38),
                TrainingOptions(batchSize: 4), using: &random
            ) { _ in steps += 1 }
        }
        #expect(steps > 0 && error?.step == steps + 1)
    }

    @Test func `names the tensor of a gradient that is not finite, and leaves the model alone`()
        throws
    {
        var model = tinyModel()
        let before = try trainedBytes(model)
        var optimization = try Optimization(
            model, optimizer: AdamW(learningRate: 0.1), keepsMasterWeights: true)
        optimization.gradients.add(to: "model.layers.1.mlp.up_proj.weight") { $0[5] = .infinity }
        let error = #expect(throws: TrainingError.self) {
            _ = try optimization.update(&model, rate: 0.1, clip: 1)
        }
        #expect(
            error?.description == """
                A gradient is not finite although the loss is.
                  where: step 1, model.layers.1.mlp.up_proj.weight
                  mend:  Lower the learning rate, clip gradients, or resume from the last checkpoint.
                """)
        #expect(try trainedBytes(model) == before)
    }

    @Test func `says that the reference of a preference training is not finite`() throws {
        var reference = tinyModel()
        var table = reference["model.layers.0.mlp.gate_proj.weight"]
        table.withUnsafeMutableFloats { $0[7] = .nan }
        reference["model.layers.0.mlp.gate_proj.weight"] = table
        var model = tinyModel()
        var random = RandomStream(seed: 5, name: "run")
        let error = #expect(throws: TrainingError.self) {
            try trainDPO(
                &model, reference: reference,
                on: [PreferencePair(prompt: [1, 2], chosen: [3, 4], rejected: [5])],
                with: AdamW(learningRate: 1e-2), using: &random)
        }
        #expect(
            error?.description == """
                The loss is not finite.
                  where: before the first step, the reference's model.layers.0.mlp.gate_proj.weight
                  mend:  Lower the learning rate, clip gradients, or resume from the last checkpoint.
                """)
    }
}
