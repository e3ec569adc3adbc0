// Gemma 2: Gemma with norms after each sublayer too, soft caps, and a sliding window on every other layer
// beginning with the first (arXiv:2408.00118; transformers, configuration_gemma2.py).

extension ModelConfiguration {
    init(gemma2 fields: Fields) throws {
        try fields.requireActivation("hidden_activation", ["gelu_pytorch_tanh"])
        try self.init(.gemma2, fields, headDimension: 256, keyValueHeads: 4, heads: 8, tied: true)
        queryScalar = fields.double("query_pre_attn_scalar") ?? 256
        attentionSoftCap =
            fields.has("attn_logit_softcapping")
            ? fields.double("attn_logit_softcapping") : 50
        finalSoftCap =
            fields.has("final_logit_softcapping")
            ? fields.double("final_logit_softcapping") : 30
        slidingWindow = try fields.integer("sliding_window", default: 4096)
        slidingLayers = try fields.slidingLayers(count: layerCount) { $0 % 2 == 0 }
    }
}
