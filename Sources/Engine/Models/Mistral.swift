// Mistral: Llama's block with a sliding window on every layer (Jiang et al. 2023, arXiv:2310.06825;
// transformers, configuration_mistral.py). `null` means no window, an absent key 4096.

extension ModelConfiguration {
    init(mistral fields: Fields) throws {
        try fields.requireActivation("hidden_act", ["silu", "swish"])
        try self.init(.mistral, fields, keyValueHeads: 8, tied: false)
        if fields.has("sliding_window") {
            slidingWindow =
                try fields.value("sliding_window") == nil
                ? nil : fields.integer("sliding_window")
        } else {
            slidingWindow = 4096
        }
        slidingLayers = [Bool](repeating: slidingWindow != nil, count: layerCount)
    }
}
