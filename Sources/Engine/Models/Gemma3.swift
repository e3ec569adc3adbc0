// Gemma 3, text: Gemma 2 with normalized queries and keys instead of attention's soft cap, five sliding
// layers to one full, and a rotary base for each kind (arXiv:2503.19786; transformers,
// configuration_gemma3.py, and modeling_gemma3.py for the names in multimodal checkpoints).

extension ModelConfiguration {
    init(gemma3 fields: Fields) throws {
        try fields.requireActivation("hidden_activation", ["gelu_pytorch_tanh"])
        try self.init(
            .gemma3, fields, headDimension: 256, keyValueHeads: 4, heads: 8, vocabulary: 262_208,
            tied: true)
        queryScalar = fields.double("query_pre_attn_scalar") ?? 256
        // `attn_logit_softcapping` exists in the file, and the reference never passes it on.
        finalSoftCap = fields.double("final_logit_softcapping")
        slidingWindow = try fields.integer("sliding_window", default: 4096)
        let pattern = try fields.integer(
            "sliding_window_pattern",
            default: fields.value("_sliding_window_pattern")?.integer ?? 6)
        slidingLayers = try fields.slidingLayers(count: layerCount) { ($0 + 1) % pattern != 0 }
        // Scaling applies to the full layers only.
        (ropeTheta, ropeScaling) = try fields.rope(layerType: "full_attention", theta: 1_000_000)
        if let parameters = fields.value("rope_parameters"),
            let local = parameters["sliding_attention"]?["rope_theta"]?.double
        {
            localRopeTheta = local
        } else {
            localRopeTheta = fields.double("rope_local_base_freq") ?? 10_000
        }
    }
}
