import Provenance
import Testing

@Suite struct `A parameter on record` {
    @Test(arguments: [
        ("layerTokens", "Int", "32"), ("tokenizer", "String", "data/tokenizer"),
        ("maximumTokens", "Double", "1.5"), ("author", "String", "Ada"), ("token", "Int", "7"),
        ("path", "String", "data"),
    ])
    func `keeps what a replay needs`(name: String, type: String, value: String) {
        let parameter = RunOpening.Parameter(name: name, type: type, value: value)
        #expect(Secrets.scrubbed(parameter: parameter) == value)
    }

    @Test(arguments: ["token", "apiToken", "hub_token", "password", "apiKey", "API-key"])
    func `loses a text whose name says that it is secret`(name: String) {
        let parameter = RunOpening.Parameter(name: name, type: "String", value: "plain-looking")
        #expect(Secrets.scrubbed(parameter: parameter) == "[removed]")
    }
}
