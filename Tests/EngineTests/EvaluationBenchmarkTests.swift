// The published layouts, in tiny files written for these tests: harmless text in the real columns.

import Engine
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite struct `A benchmark file` {
    @Test func `of AdvBench's layout keeps quoted commas, quotes and line ends`() throws {
        let rows = try AdvBenchRow.parse(
            bytes("goal,target\r\n\"Frax, the \"\"old\"\" dun\",Sure\n\"two\nlines\",\"\"\n"),
            path: "a.csv")
        #expect(
            rows == [
                AdvBenchRow(goal: "Frax, the \"old\" dun", target: "Sure"),
                AdvBenchRow(goal: "two\nlines", target: ""),
            ])
    }
    @Test func `names every bad row by its line`() {
        #expect {
            try AdvBenchRow.parse(
                bytes("goal,target\na,b\nc\n\"x\ny\",z\n,w\n"), path: "data/a.csv")
        } throws: {
            "\($0)" == """
                data/a.csv has 2 rows that are not AdvBench CSV (columns goal, target).
                  line 3: 1 columns, not 2.
                  line 6: an empty goal.
                  mend:  fetch the file again from its source, or drop those rows and say so in the study.
                """
        }
        #expect(throws: DatasetError.self) {
            try AdvBenchRow.parse(bytes("goal,target\n\"open"), path: "a.csv")
        }
        #expect(throws: DatasetError.self) { try AdvBenchRow.parse(bytes("a,b\n"), path: "a.csv") }
    }
    @Test func `of RefusalBench's layout keeps its categories`() throws {
        let prompts = try RefusalBenchPrompt.parse(
            bytes("{\"one\": [\"a\", \"b\"],\n \"two\": [\"c\"]}"), path: "b.json")
        #expect(prompts.map(\.category) == ["one", "one", "two"])
        #expect(prompts.map(\.prompt) == ["a", "b", "c"])
        #expect {
            try RefusalBenchPrompt.parse(
                bytes("{\"one\": [\"a\"],\n \"two\": [7]}"), path: "b.json")
        } throws: {
            ($0 as? DatasetError)?.faults.map(\.line) == [2]
        }
        // Each bad prompt by its own line, whatever brackets and quotes its neighbours hold.
        let text = """
            {"one": ["a, ]", "\\"two\\": [",
              ""],
             "two": ["c",
              {"d": [1,
                2]}, 7],
             "three": 8}
            """
        #expect {
            try RefusalBenchPrompt.parse(bytes(text), path: "b.json")
        } throws: {
            let faults = ($0 as? DatasetError)?.faults
            return faults?.map(\.line) == [2, 4, 5, 6]
                && faults?.map(\.message) == [
                    "a prompt of \"one\" is empty, not text",
                    "a prompt of \"two\" is an object, not text",
                    "a prompt of \"two\" is a number, not text",
                    "the category \"three\" is a number, not a list",
                ]
        }
    }
    @Test func `of MMLU's layout has no header and takes the subject from its name`() throws {
        let text = "\"How many, of two?\",1,2,3,4,B\n"
        let rows = try MMLUQuestion.parse(bytes(text), path: "test/tiny_arithmetic_test.csv")
        #expect(rows.first?.subject == "tiny_arithmetic")
        #expect(rows.first?.answer == 1)
        #expect {
            try MMLUQuestion.parse(bytes("q,1,2,3,4,E\nq,1,2,3,A\n"), path: "x_test.csv")
        } throws: {
            ($0 as? DatasetError)?.faults.map(\.line) == [1, 2]
        }
    }
    @Test func `of HellaSwag's layout reads labels as numbers or strings`() throws {
        let good =
            #"{"ind": 1, "activity_label": "Folding", "ctx_a": "A man folds.", "ctx_b": "he", "#
            + #""endings": ["a", "b", "c", "d"], "label": "#
        let items = try HellaSwagItem.parse(
            bytes(good + "3}\n\n" + good + "\"0\"}\n"), path: "h.jsonl")
        #expect(items.map(\.label) == [3, 0])
        #expect {
            try HellaSwagItem.parse(bytes(good + "3}\n" + good + "\"\"}\n{\n"), path: "h.jsonl")
        } throws: {
            ($0 as? DatasetError)?.faults.map(\.line).sorted() == [2, 3]
        }
    }
    @Test func `of GSM8K's layout must end in a number`() throws {
        let good = #"{"question": "2 and 2?", "answer": "2+2=<<2+2=4>>4\n#### 4"}"#
        #expect(try GSM8KProblem.parse(bytes(good), path: "g.jsonl").count == 1)
        #expect(throws: DatasetError.self) {
            try GSM8KProblem.parse(bytes(#"{"question": "q", "answer": "four"}"#), path: "g.jsonl")
        }
    }
    @Test func `of Dolly's and Alpaca's layouts may lack a context`() throws {
        let dolly = #"{"instruction": "fold", "context": "", "response": "so", "category": "qa"}"#
        #expect(try DollyRow.parse(bytes(dolly), path: "d.jsonl").first?.category == "qa")
        let alpaca = """
            [
              {"instruction": "fold", "input": "a [sheet], a {box}", "output": "so \\" and"},
              {"instruction": "press", "input": "", "output": "so"}
            ]
            """
        #expect(try AlpacaRow.parse(bytes(alpaca), path: "a.json").count == 2)
        let bad =
            "[\n{\"instruction\": \"a\", \"output\": \"b\"},\n\n{\"instruction\": 3,\n\"output\": \"b\"}]"
        #expect { try AlpacaRow.parse(bytes(bad), path: "a.json") } throws: {
            ($0 as? DatasetError)?.faults.map(\.line) == [4]
        }
        #expect(throws: DatasetError.self) { try AlpacaRow.parse(bytes("[{}"), path: "a.json") }
        #expect(throws: DatasetError.self) { try AlpacaRow.parse(bytes("{}"), path: "a.json") }
    }
    @Test func `of HH-RLHF's layout is split at the last answer`() throws {
        let row =
            #"{"chosen": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: yes", "#
            + #""rejected": "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant: no"}"#
        let pair = try PreferenceRow.parse(bytes(row), path: "t.jsonl")[0]
        #expect(pair.prompt == "\n\nHuman: a\n\nAssistant: b\n\nHuman: c\n\nAssistant:")
        #expect(pair.chosen == " yes" && pair.rejected == " no")
        #expect(throws: DatasetError.self) {
            try PreferenceRow.parse(
                bytes(#"{"chosen": "\n\nAssistant: a", "rejected": "x\n\nAssistant: a"}"#),
                path: "t.jsonl")
        }
    }
}

@Suite struct `Capability in the harness's conventions` {
    @Test func `prompts MMLU with letters`() {
        let question = MMLUQuestion(
            subject: "tiny_sums", question: " One and one? ", choices: ["1", "2", "3", "4"],
            answer: 1)
        let item = MultipleChoiceItem(question, examples: [question])
        let asked = "One and one?\nA. 1\nB. 2\nC. 3\nD. 4\nAnswer:"
        #expect(
            item.context
                == "The following are multiple choice questions (with answers) about tiny sums.\n\n"
                + asked + " B\n\n" + asked)
        #expect(item.choices == [" A", " B", " C", " D"])
    }
    @Test func `cleans HellaSwag's text`() {
        let item = MultipleChoiceItem(
            HellaSwagItem(
                activityLabel: "Folding", contextA: "A man [title] folds [sub]it.",
                contextB: "hE waits",
                endings: ["a  b", "b", "c", "d"], label: 2))
        // " [title]" becomes ". ", which leaves two spaces before "folds"; they become one.
        #expect(item.context == "Folding: A man. folds it. He waits")
        #expect(item.choices == [" a b", " b", " c", " d"])
    }
    @Test func `divides by characters for acc_norm`() {
        let item = MultipleChoiceItem(context: "x", choices: [" ab", " abcdefgh"], answer: 1)
        let outcome = MultipleChoiceOutcome(item, logProbabilities: [-3, -8])
        #expect(!outcome.isRight)  // −3 beats −8
        #expect(outcome.isRightByLength)  // −8/8 beats −3/2
        #expect(MultipleChoiceOutcome(item, logProbabilities: [-1, -1]).chosen == 0)
    }
    @Test(
        arguments: [
            ("so #### 18", "18", "18"), ("#### -1,234.5 #### 2", "-1,234.5", "2"),
            ("no number", nil, nil),
            ("it is $12.50.", nil, "$12.50."), ("7", nil, "7"), ("a - b .", nil, nil),
            ("x-3", nil, "-3"),
            ("####18 then 4", nil, "4"),
        ] as [(String, String?, String?)])
    func `extracts GSM8K's answer strictly and flexibly`(
        text: String, strict: String?, flexible: String?
    ) {
        #expect(ArithmeticAnswer.strict(text) == strict)
        #expect(ArithmeticAnswer.flexible(text) == flexible)
    }
    @Test func `compares numbers as the harness does`() {
        #expect(ArithmeticAnswer.agree("$1,200.", "one #### 1200"))
        #expect(!ArithmeticAnswer.agree("12.0", "12"))
    }
}
