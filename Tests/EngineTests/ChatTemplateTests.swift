import Engine
import Testing

@Suite struct `Chat templates` {
    static let time = CalendarTime(year: 2024, month: 7, day: 4, hour: 9, minute: 5, second: 7)

    /// Rendered by transformers with each family's layout; the templates are in the fixture.
    @Test(arguments: ["llama2", "llama3", "gemma"])
    func `render as transformers does, or refuse with the same words`(family: String) throws {
        let fixtures = try FileSystem.readJSON(fixture("chat/\(family).json"))
        var tokenizer = try Tokenizer(fixture(fixtures["tokenizer"]!.string!))
        tokenizer.chatTemplate = fixtures["template"]!.string
        #expect(tokenizer.beginToken == fixtures["bos_token"]?.string)
        let cases = try #require(fixtures["cases"]?.array)
        #expect(cases.count == 26)
        for item in cases {
            let messages = item["messages"]!.array!
            let prompts = item["add_generation_prompt"]!.bool!
            if let message = item["error"]?.string {
                let error = #expect(throws: TokenizerError.self) {
                    try tokenizer.applyChatTemplate(messages, addGenerationPrompt: prompts)
                }
                #expect(error?.reason == .refusedByTemplate(message))
                continue
            }
            let text = try tokenizer.applyChatTemplate(messages, addGenerationPrompt: prompts)
            #expect(JSONValue.string(text) == item["rendered"]!)
            let ids = item["ids"]!.array!.map { Int32($0.integer!) }
            #expect(tokenizer.encode(text, addSpecialTokens: false) == ids)
            let plain = messages.map {
                ChatMessage(role: $0["role"]!.string!, content: $0["content"]!.string!)
            }
            #expect(try tokenizer.encode(plain, addGenerationPrompt: prompts) == ids)
        }
    }

    /// Rendered by Jinja 3.1 itself (chat/make_jinja.py).
    @Test func `render each construct as Jinja does`() throws {
        let fixtures = try FileSystem.readJSON(fixture("chat/jinja.json"))
        let names = fixtures["names"]!.object!
        for item in try #require(fixtures["cases"]?.array) {
            let template = item["template"]!.string!
            do {
                let text = try ChatTemplate(template).render(names, time: Self.time)
                let expected = item["rendered"] ?? .string("an error")
                #expect(JSONValue.string(text) == expected, "\(template)")
            } catch {
                switch error.reason {
                case .refusedByTemplate(let message):
                    #expect(item["raised"]?.string == message, "\(template)")
                case .malformedTemplate(_, let message):
                    #expect(item["error"]?.string == message, "\(template)")
                default: Issue.record(error)
                }
            }
        }
    }

    static func failure(_ template: String, _ names: JSONObject = JSONObject()) -> TokenizerError
        .Reason?
    {
        let error = #expect(throws: TokenizerError.self) {
            _ = try ChatTemplate(template).render(names)
        }
        return error?.reason
    }

    @Test(arguments: [
        ("{% if x %}", 1, "{% endif %} is missing"),
        ("a\n{{ 1 +\n }}", 3, "an expression should be here, not }}"),
        ("\n\n{% include 'x' %}", 3, "the tag {% include %} is not implemented"),
        ("{{ 'open }}", 1, "a string does not end"),
        ("{{ (1 }}", 1, "a bracket closes that was not opened"),
        ("{{ 1 ? 2 }}", 1, "\"?\" has no meaning in a template"),
        ("{# open", 1, "a comment does not end"),
        ("{% endfor %}", 1, "the tag {% endfor %} is not implemented"),
        ("{{ x", 1, "a tag does not end"),
        ("{% for %}{% endfor %}", 1, "a name should be here, not %}"),
        ("a\n{{ x | nothing }}", 2, "No filter named 'nothing'."),
        (
            "{{ strftime_now('%Y') }}", 1,
            "strftime_now needs the time, which is an argument of the rendering"
        ),
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", 1, "macros call each other too deep"),
        ("{{ range(1000000000) }}", 1, "the range is too large"),
    ])
    func `name the line of a fault`(template: String, line: Int, message: String) {
        #expect(Self.failure(template) == .malformedTemplate(line: line, message: message))
    }

    @Test func `say what, where and how to mend it`() throws {
        let tokenizer = Tokenizer(
            words: ["a"], chatTemplate: "\n{{ raise_exception('Only users speak here') }}")
        let refused = #expect(throws: TokenizerError.self) {
            try tokenizer.applyChatTemplate([.assistant("a")])
        }
        #expect(
            refused?.description == """
                The chat template refuses these messages: Only users speak here.
                  where: chat template, line 2
                  mend:  give it the roles and the order that it wants.
                """)
        let none = #expect(throws: TokenizerError.self) {
            try Tokenizer(words: ["a"]).applyChatTemplate([.user("a")])
        }
        #expect(none?.reason == .noChatTemplate)
    }

    @Test func `print dates as C does`() throws {
        // A leap day, a Thursday; and the first day of 1900, a Monday.
        let leap = CalendarTime(year: 2024, month: 2, day: 29, hour: 12)
        let names = JSONObject()
        let template = try ChatTemplate("{{ strftime_now('%a %-d %e %j%% %I %p %y') }}")
        #expect(try template.render(names, time: leap) == "Thu 29 29 %j% 12 PM 24")
        let old = CalendarTime(year: 1900, month: 1, day: 1)
        #expect(try template.render(names, time: old) == "Mon 1  1 %j% 12 AM 00")
    }
}
