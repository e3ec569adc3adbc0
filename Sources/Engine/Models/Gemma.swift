// Gemma 1: norms with 1 + weight, embeddings scaled by √hidden, tanh-GELU whatever `hidden_act` says
// (arXiv:2403.08295; transformers, configuration_gemma.py and modeling_gemma.py).

extension ModelConfiguration {
    init(gemma fields: Fields) throws {
        // `hidden_act` is ignored by the reference; only a set `hidden_activation` counts.
        try fields.requireActivation("hidden_activation", ["gelu_pytorch_tanh"])
        try self.init(.gemma, fields, headDimension: 256, tied: true)
    }
}
