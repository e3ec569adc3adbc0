// The report: the same bytes each time, nothing in it that a browser would run, every number in its
// place, and figures that cannot be used to start a program.

import Events
import Foundation
import Testing

import Export
import Provenance

@Suite struct `A report` {
    @Test func `shows the study with its values, outputs, claims and provenance`() throws {
        let html = String(
            decoding: try HTMLReport(Sample.run(), version: "0.1.0").html(), as: UTF8.self)
        for text in [
            "A miniature study &amp; its &lt;bundle&gt;", "computed: last\">0.25</span>",
            "done 0.25",
            "✓ holds:</strong> The loss falls.", "✗ fails:</strong> It is below 0.01.",
            "131 of 200",
            "0123456789abcdef0123456789abcdef01234567", "@misc{run7f0c5f0e", "<svg class=\"chart\"",
            "<span class=\"k\">let</span>", "Ada Example (Example Lab)",
        ] { #expect(html.contains(text), "\(text)") }
        // Two claims of one verdict each, and no title twice.
        #expect(html.components(separatedBy: "<h1>").count == 2)
    }

    @Test func `is the same bytes each time`() throws {
        let first = try HTMLReport(Sample.run(), version: "0.1.0").html()
        let second = try HTMLReport(Sample.run(), version: "0.1.0").html()
        #expect(first == second)
    }

    /// Forty ways in, each through every text that a study or a stranger's ledger can fill.
    static let injections: [String] = [
        "<script>alert(1)</script>", "<img src=x onerror=alert(1)>", "<svg onload=alert(1)>",
        "\"><script>alert(1)</script>",
        "'><script>alert(1)</script>", "</pre><script>alert(1)</script>",
        "</style><script>alert(1)</script>",
        "</title><script>alert(1)</script>", "<iframe src=\"javascript:alert(1)\"></iframe>",
        "<a href=\"javascript:alert(1)\">x</a>",
        "[x](javascript:alert(1))", "[x](data:text/html,<script>alert(1)</script>)",
        "![x](javascript:alert(1))",
        "<body onload=alert(1)>", "<object data=\"data:text/html,x\"></object>",
        "<embed src=\"x\">", "<base href=\"//evil\">",
        "<meta http-equiv=refresh content=\"0;url=//evil\">", "<link rel=stylesheet href=//evil>",
        "<form action=//evil><button>x</button></form>",
        "<style>*{background:url(//evil)}</style>",
        "<math><mtext><script>alert(1)</script></mtext></math>", "<details open ontoggle=alert(1)>",
        "<input autofocus onfocus=alert(1)>", "<video src=x onerror=alert(1)>", "{{{title}}}",
        "{{#authors}}x{{/authors}}",
        "$\\href{javascript:alert(1)}{x}$", "$\\htmlData{a=b}{x}$",
        "$$</math><script>alert(1)</script>$$", "`{swift} <script>alert(1)</script>`",
        "<!-- --><script>alert(1)</script>", "<![CDATA[<script>alert(1)</script>]]>",
        "&lt;script&gt;alert(1)&lt;/script&gt;", "\u{0}<script>alert(1)</script>",
        "\u{1b}[31m<script>alert(1)</script>\u{1b}[0m", "\u{202e}<script>alert(1)</script>",
        "<scr\u{0}ipt>alert(1)</script>",
        "\u{e000}v0\u{e001}<script>alert(1)</script>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    ]

    @Test func `is tried with forty injections`() {
        #expect(Self.injections.count == 40 && Set(Self.injections).count == 40)
    }

    @Test(arguments: injections) func `lets no injection through`(text: String) throws {
        var run = Sample.run()
        run.title = text
        run.text =
            "---\ntitle: x\n---\n\n\(text)\n\n# \(text)\n\n| a |\n|---|\n| \(text.replacing("\n", with: " ")) |\n\n"
            + Sample.text.split(separator: "---\n\n", maxSplits: 1)[1]
        run.authors = [.init(name: text, affiliation: text)]
        run.outputs = [
            .init(cell: 1, stream: .standardOutput, bytes: Array(text.utf8)),
            .init(cell: 1, stream: .standardError, bytes: Array(text.utf8)),
        ]
        run.claims = [ClaimRecord(cell: 0, text: text, holds: true, evidence: text)]
        run.inlineValues = [0: text, 1: text]
        run.environment = [(text, text)]
        run.parameters = [.init(name: text, type: text, value: text)]
        run.command = [text]
        run.code.commit = text
        run.code.remote = text
        run.cells[0].id = text
        run.cells[0].source = text
        run.series[0].name = text
        run.series[1].arm = text
        run.figures = [.init(cell: 0, title: text, alternativeText: text, script: text, data: text)]
        run.inputs[0].path = text
        run.inputs.append(
            .init(
                cell: 0, path: text, kind: text,
                files: [
                    .init(path: text, sha256: text, size: 1), .init(path: "b", sha256: "", size: 1),
                ], licence: text))
        run.artifacts[0].name = text
        run.failure = .init(cell: 0, reason: text, message: text, line: 1)
        run.changes = [.init(path: text, kind: text)]
        run.changes[0].patch = "@@ \(text)\n+\(text)\n-\(text)\n \(text)"
        run.changes[0].note = text
        run.streams = [(text, text)]
        run.code.branch = text
        run.cells[1].source = "let \(text) = 1\n\(text)"
        run.attempts = [
            .init(id: text, status: .failed, began: run.began, seconds: nil, note: text)
        ]
        run.verdicts = [.init(replay: text, rung: text, detail: text)]
        let html = String(decoding: try HTMLReport(run, version: "0.1.0").html(), as: UTF8.self)
        let lower = html.lowercased()
        for tag in [
            "<script", "<iframe", "<object", "<embed", "<base", "<link", "<form", "<input",
            "<video", "<body onload", "<noscript", "javascript:alert(1)\"", "href=\"data:",
        ] {
            #expect(!lower.contains(tag), "\(tag)")
        }
        // One style, ours; no attribute that is a script.
        #expect(lower.components(separatedBy: "<meta http-equiv").count == 2)
        // What stands in quotes is an attribute's text, whatever it says.
        let bare = lower.replacingOccurrences(
            of: #""[^"]*""#, with: "\"\"", options: .regularExpression)
        #expect(
            bare.range(of: #"<[a-z][^<>]*\son[a-z]+\s*="#, options: .regularExpression) == nil)
        #expect(html.contains("default-src 'none'"))
        #expect(!html.unicodeScalars.contains { $0.value < 0x20 && $0 != "\n" && $0 != "\t" })
    }

    @Test func `of a million points is drawn from the lowest and highest of each stretch`() throws {
        var run = Sample.run()
        var series = RunFacts.Series(cell: 1, name: "long", arm: "")
        series.steps = (0..<1_000_000).map(Int64.init)
        series.values = series.steps.map { $0 == 500_123 ? 50 : 1 / Double($0 + 1) }
        series.times = series.steps
        run.series = [series]
        let html = try HTMLReport(run, version: "0.1.0").html()
        #expect(html.count < 2_000_000)
        // The one spike is not lost.
        #expect(
            String(decoding: html, as: UTF8.self).contains("between 1e-6 and 50")
                || String(decoding: html, as: UTF8.self).contains("and 50."))
    }

    @Test func `compares two runs`() throws {
        var other = Sample.run()
        other.id = "20261121-081500-aaaaaaaa"
        other.seed = "8"
        other.parameters[0].value = "16"
        other.text += "\nOne line more.\n"
        let html = String(
            decoding: try ComparisonReport([Sample.run(), other], version: "0.1.0").html(),
            as: UTF8.self)
        for text in [
            "parameter rank", "<td>4</td><td>16</td>", "One line more.", "run 7f0c5f0e",
            "run aaaaaaaa",
        ] {
            #expect(html.contains(text), "\(text)")
        }
    }
}

@Suite struct `A figure's script` {
    @Test func `is drawn as SVG, the same each time`() throws {
        let script = "set title 'x'\n$d << EOD\n1 2\n2 3\nEOD\nplot $d using 1:2 with lines\n"
        guard spawn("gnuplot", ["--version"]) == 0 else { return }
        let first = try #require(FigureDrawing.svg(script))
        #expect(first == FigureDrawing.svg(script))
        #expect(String(decoding: first, as: UTF8.self).contains("<svg"))
    }

    @Test(arguments: [
        "system('touch pwned')", "!touch pwned", "plot '< touch pwned'", "x = \"`touch pwned`\"",
        "load 'x.gp'",
        "set output 'pwned'", "set print '|touch pwned'", "plot '/etc/passwd'", "eval 'x'",
        "set table 'pwned'",
        "set terminal png", "call 'x'", "x = `touch pwned`", "save 'pwned'",
    ])
    func `that could start a program or touch a file is not drawn`(script: String) {
        #expect(FigureDrawing.svg(script) == nil)
    }
}
