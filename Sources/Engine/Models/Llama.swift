// Llama 2 and 3: what their config.json says and leaves out (transformers, configuration_llama.py).

extension ModelConfiguration {
    init(llama fields: Fields) throws {
        try fields.requireActivation("hidden_act", ["silu", "swish"])
        try self.init(.llama, fields, tied: false)
    }
}
