// What a study's Markdown becomes, and what is refused, with the sentences a reader sees.
import Notebook
import Testing

@Suite struct `Study file` {
    static let text = """
        ---
        title: A small study
        authors: [Ada, {name: Grace, orcid: 0000-0002-1825-0097}]
        seed: 7
        params:
          rank: 8
          learningRate: 2e-4
          merge: false
          arm: {default: aligned, help: which arm to train}
          coefficients: [0.5, 1]
        datasets:
          - {path: data/a.jsonl, sha256: \(String(repeating: "0a", count: 32)), licence: CC0-1.0}
        inputs:
          aligned: {study: miniature.md, artifact: aligned, params: {scale: 2, rank: params.rank}, seed: run.seed}
        tolerances: {loss: 1e-6, accuracy: {relative: 0.01, seeds: 5}}
        release: {policy: metrics-only, reason: it lowers refusals}
        ---
        # Heading

        We train at rank `{swift} params.rank` and get
        `{swift} loss` nats.

        ```swift
        //| id: train
        //| timeout: 10m
        let loss = 1.0
        ```

        After it: `{swift}
          loss + 1` and `not {swift}`.

        ```python
        print(1)
        ```

        ```swift
        print(loss)
        ```
        """

    @Test func `parts come out in their order, with their places`() throws {
        let study = try StudyFile(parsing: Self.text, path: "studies/x.md")
        #expect(study.title == "A small study")
        #expect(study.seed == 7)
        #expect(study.cells.map(\.id) == ["train", "cell-2"])
        #expect(study.cells[0].firstLine == 24)
        #expect(study.cells[0].lastLine == 26)
        #expect(study.cells[0].options.timeout == 600)
        #expect(study.blocks.count == 5)
        #expect(study.inlineValues.map(\.expression) == ["params.rank", "loss", "loss + 1"])
        #expect(study.inlineValues.map(\.place.line) == [20, 21, 30])
        #expect(study.inlineValues.map(\.place.column) == [27, 10, 3])
        #expect(study.inlineValues.map(\.cell) == [nil, nil, 0])
        let bytes = Array(study.text.utf8)
        #expect(
            study.inlineValues.map { String(decoding: bytes[$0.bytes], as: UTF8.self) } == [
                "`{swift} params.rank`", "`{swift} loss`", "`{swift}\n  loss + 1`",
            ])
    }

    @Test func `front matter is typed`() throws {
        let matter = try StudyFile(parsing: Self.text, path: "x.md").frontMatter
        #expect(matter.authors.map(\.name) == ["Ada", "Grace"])
        #expect(
            matter.parameters.map(\.defaultValue) == [
                .integer(8), .number(2e-4), .boolean(false), .text("aligned"), .numbers([0.5, 1]),
            ])
        #expect(matter.datasets[0].licence == "CC0-1.0")
        #expect(matter.inputs[0].artifact == "aligned")
        #expect(matter.inputs[0].settings.map(\.value) == [.text("2"), .own("rank")])
        #expect(matter.inputs[0].seed == .same)
        let study = try StudyFile(parsing: Self.text, path: "x.md")
        let values = try study.values(overriding: ["rank=16"])
        #expect(
            study.arguments(for: matter.inputs[0], values: values) == ["scale=2", "rank=16"])
        #expect(matter.tolerances[1].seeds == 5)
        #expect(matter.release.policy == .metricsOnly)
    }

    @Test(arguments: [
        (
            "---\ntittle: x\n---\n",
            "x.md:2:1: error: unknown key 'tittle' in the front matter; did you mean 'title'?\n"
                + "    2 | tittle: x\n      | ^"
        ),
        (
            "```swift\n//| timeuot: 3\n```\n",
            "x.md:2:5: error: unknown key 'timeuot' in the cell's options; did you mean 'timeout'?\n"
                + "    2 | //| timeuot: 3\n      |     ^"
        ),
        (
            "- ```swift\n  let a = 1\n  ```\n",
            "x.md:1:1: error: a cell cannot stand inside a list or a quotation\n"
                + "    1 | - ```swift\n      | ^\n"
                + "  mend:  move it to the margin, or call its language something else, such as text"
        ),
        (
            "text\n\n```swift\nlet a = 1\n",
            "x.md:3:1: error: this cell is never closed\n    3 | ```swift\n      | ^\n"
                + "  mend:  end it with a line of ```"
        ),
        (
            "---\nparams: {let: 1}\n---\n",
            "x.md:2:10: error: params: 'let' is no Swift name\n    2 | params: {let: 1}\n"
                + "      |          ^\n"
                + "  mend:  use letters, digits and _, not a keyword, as in `learningRate`"
        ),
        (
            "---\ntitle: x\n",
            "x.md:1:1: error: the front matter is never closed\n    1 | ---\n      | ^\n"
                + "  mend:  end it with a line `---`"
        ),
    ]) func `a fault is shown where it is`(text: String, message: String) {
        let error = #expect(throws: StudyError.self) { try StudyFile(parsing: text, path: "x.md") }
        #expect(error?.description == message)
    }

    @Test(arguments: [
        ("rnk=3", "x.md: error: the study has no parameter 'rnk'; did you mean 'rank'?"),
        ("rank", "x.md: error: -p rank: a value is missing\n  mend:  write -p rank=VALUE"),
        (
            "rank=a",
            "x.md:6:3: error: 'a' is no Int: parameter rank is typed by its default 8\n"
                + "    6 |   rank: 8\n      |   ^"
        ),
    ]) func `a wrong parameter is refused`(argument: String, message: String) throws {
        let study = try StudyFile(parsing: Self.text, path: "x.md")
        let error = #expect(throws: StudyError.self) { try study.values(overriding: [argument]) }
        #expect(error?.description == message)
    }

    @Test func `parameters take values of their type`() throws {
        let study = try StudyFile(parsing: Self.text, path: "x.md")
        let values = try study.values(overriding: ["rank=16", "coefficients=1,2.5", "arm=a=b"])
        #expect(
            values.map(\.value) == [
                .integer(16), .number(2e-4), .boolean(false), .text("a=b"), .numbers([1, 2.5]),
            ])
    }

    @Test func `carriage returns and a byte order mark do no harm`() throws {
        let text = "\u{FEFF}---\r\nseed: 3\r\n---\r\n\r\n```swift\r\nlet a = 1\r\n```\r\n"
        let study = try StudyFile(parsing: text, path: "x.md")
        #expect(study.seed == 3)
        #expect(study.cells[0].firstLine == 6)
        #expect(study.cells[0].source == "let a = 1")
    }
}
