import Engine
import Testing

@Suite struct `JSON` {
    @Test func `keeps the order of keys and integers exactly`() throws {
        let text = #"{"z":1,"a":[9007199254740993,-9223372036854775808,1.5,true,null],"m":{}}"#
        let value = try JSONValue(parsing: text)
        #expect(value.object?.keys == ["z", "a", "m"])
        #expect(value["a"]?[0]?.integer == 9_007_199_254_740_993)
        #expect(value["a"]?[1]?.integer == .min)
        #expect(value.text() == text)
    }

    @Test func `prints what it read, and reads what it printed`() throws {
        let text = #"{"quote\"back\\slash\n\t\u0001":"é😀","x":[1e-05,0.1,-0.0,1e+300]}"#
        let value = try JSONValue(parsing: text)
        #expect(value.text() == text)
        #expect(try JSONValue(parsing: value.text(.python)) == value)
        #expect(
            value.text(.python).hasSuffix(
                #": "\u00e9\ud83d\ude00", "x": [1e-05, 0.1, -0.0, 1e+300]}"#))
        #expect(try JSONValue(parsing: value.text(.sortedConfiguration)) == value)
    }

    @Test func `lays out as Python does`() throws {
        let value: JSONValue = ["b": [1, "x"], "a": [:], "c": []]
        #expect(
            value.text(.sortedConfiguration)
                == "{\n  \"a\": {},\n  \"b\": [\n    1,\n    \"x\"\n  ],\n  \"c\": []\n}")
    }

    @Test func `tells canonically equivalent keys apart`() throws {
        let value = try JSONValue(
            parsing: "{\"caf\u{e9}\":1,\"cafe\u{301}\":2}", duplicateKeys: .refused)
        #expect(value["caf\u{e9}"]?.integer == 1)
        #expect(value["cafe\u{301}"]?.integer == 2)
    }

    @Test func `resolves escapes and surrogate pairs`() throws {
        let value = try JSONValue(parsing: #""\u00e9\uD83D\uDE00\/\b\f""#)
        #expect(value.string == "é😀/\u{8}\u{c}")
    }

    @Test func `a number beyond 64 bits becomes the nearest Float64`() throws {
        let value = try JSONValue(parsing: "1000000000000000019884624838656")
        #expect(value.double == 1e30)
        #expect(value.integer == nil)
    }

    @Test(arguments: [
        ("", 0, "the text ends where a value should be"),
        ("{\"a\":1,}", 7, "an object's key must be a string"),
        ("[1,]", 3, #"a value cannot begin with "]""#),
        ("[1 2]", 3, #"a comma or the end of an array should be here, not "2""#),
        ("01", 0, "a number cannot begin with a zero"),
        ("1.", 2, "a number needs a digit here"),
        ("-", 1, "a number needs a digit here"),
        ("1e999", 0, "the number 1e999 is too large for 64 bits"),
        ("nul", 0, "\"null\" should be here"),
        ("true false", 5, "the text goes on after its value"),
        ("\"a", 0, "the text ends inside a string"),
        ("\"\n\"", 1, "a control character must be escaped"),
        (#""\x""#, 1, #"\"x" is no escape"#),
        (#""\ud800""#, 1, "half of a surrogate pair stands alone"),
        (#""\ud800A""#, 1, "half of a surrogate pair stands alone"),
        (#""\u12g4""#, 5, "four hexadecimal digits should follow \\u"),
        ("{\"a\" 1}", 5, "a colon after the key should be here"),
        ("{a:1}", 1, "an object's key must be a string"),
        ("\u{feff}1", 0, "a value cannot begin with the byte 239"),
        ("{\"a\":1", 6, "the text ends inside an object"),
    ])
    func `refuses what is not JSON, and says where`(
        text: String, offset: Int, message: String
    ) throws {
        #expect(throws: JSONError(offset: offset, message: message)) {
            try JSONValue(parsing: text)
        }
    }

    @Test func `refuses strings that are not UTF-8`() throws {
        for bytes: [UInt8] in [[0xC3], [0xFF], [0xC0, 0x80], [0xED, 0xA0, 0x80]] {
            #expect(throws: JSONError(offset: 0, message: "a string is not valid UTF-8")) {
                try JSONValue(parsing: [0x22] + bytes + [0x22])
            }
        }
    }

    @Test func `refuses repeated keys where asked, and takes the last where not`() throws {
        #expect(try JSONValue(parsing: #"{"a":1,"b":2,"a":3}"#)["a"]?.integer == 3)
        #expect(throws: JSONError(offset: 13, message: "the key \"a\" is repeated")) {
            try JSONValue(parsing: #"{"a":1,"b":2,"a":3}"#, duplicateKeys: .refused)
        }
        let many = (0..<40).map { "\"k\($0)\":0" }.joined(separator: ",")
        #expect(throws: JSONError.self) {
            try JSONValue(parsing: "{\(many),\"k33\":1}", duplicateKeys: .refused)
        }
    }

    @Test func `refuses nesting that would exhaust the stack`() throws {
        let deep = String(repeating: "[", count: 100_000)
        #expect(throws: JSONError(offset: 129, message: "values nest deeper than 128 levels")) {
            try JSONValue(parsing: deep)
        }
    }
}
