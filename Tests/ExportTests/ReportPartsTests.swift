// The report's named parts, each found in the page where a reader looks for it: contents, claims up
// front, intervals, data flow, what was not committed, replays, other runs; and what a reader needs
// whatever the colours of the page.

import Events
import Foundation
import Testing

import Export
import Provenance

@Suite struct `The parts of a report` {
    static func html(_ run: RunFacts = Sample.run()) throws -> String {
        String(decoding: try HTMLReport(run, version: "0.1.0").html(), as: UTF8.self)
    }

    @Test func `every link leads to one place, and every heading is in the contents`() throws {
        var run = Sample.run()
        run.text += "\n\n## Results\n\nA.\n\n### A `code` & $x$\n\n## Results\n"
        let html = try Self.html(run)
        let ids = html.matches(of: #/\sid="([^"]*)"/#).map { String($0.1) }
        #expect(Set(ids).count == ids.count, "an id stands twice")
        let links = Set(html.matches(of: #/href="#([^"]*)"/#).map { String($0.1) })
        #expect(links.subtracting(ids).isEmpty, "\(links.subtracting(ids))")
        #expect(
            links.isSuperset(of: [
                "claims", "s-first-words", "s-results", "s-results-2", "metrics", "provenance",
                "cite",
            ]), "\(links)")
    }

    @Test func `claims stand before the text, with their evidence and the way to their cell`()
        throws
    {
        let html = try Self.html()
        let claims = try #require(html.range(of: "<h2 id=\"claims\">"))
        let text = try #require(html.range(of: "<div id=\"text\">"))
        #expect(claims.lowerBound < text.lowerBound)
        let upfront = html[claims.lowerBound..<text.lowerBound]
        #expect(upfront.contains("1 to 0.02") && upfront.contains("href=\"#cell-train\""))
    }

    /// What stands above once is not said again below.
    @Test func `a claim's evidence stands on the page once`() throws {
        let html = try Self.html()
        #expect(html.components(separatedBy: "1 to 0.02").count == 2)
        #expect(html.components(separatedBy: "The loss falls.").count == 3)
    }

    @Test func `a folder that was read is one row, with its files inside`() throws {
        var run = Sample.run()
        run.inputs.append(
            .init(
                cell: 0, path: "models/base", kind: "model",
                files: [
                    .init(path: "config.json", sha256: String(repeating: "c", count: 64), size: 2),
                    .init(
                        path: "model.safetensors", sha256: String(repeating: "d", count: 64),
                        size: 5),
                ]))
        let html = try Self.html(run)
        #expect(html.contains("<summary>models/base: 2 files</summary>"))
        #expect(html.contains("<li>config.json <code>cccccccccccccccc…</code></li>"))
        #expect(html.contains("<td>studies/data/words.jsonl</td>"))
        #expect(!html.contains("<code></code>"))
    }

    @Test func `many arms of a metric are one table with Wilson's intervals drawn`() throws {
        var run = Sample.run()
        for arm in ["one", "two"] {
            var rate = RunFacts.Series(cell: 1, name: "refused", arm: arm)
            (rate.steps, rate.values, rate.times) = ([-1], [0.5], [0])
            rate.proportions[0] = ProportionRecord(count: 50, total: 100, judge: "substrings")
            run.series.append(rate)
        }
        let html = try Self.html(run)
        #expect(html.contains("<span class=\"name\">refused</span><span>2 arms, all 0.5</span>"))
        // 50 of 100: Wilson's interval is 40.4 to 59.6 % (by hand: 0.5 ± 1.96/(1 + 3.84/100)·sqrt(…)).
        #expect(html.contains("40.4 to 59.6 %"))
        #expect(html.contains("<caption>judged by substrings</caption>"))
        #expect(html.contains("<svg class=\"interval\""))
    }

    @Test func `the data flow names what a cell takes, and nothing that comments or strings say`()
        throws
    {
        var run = Sample.run()
        run.cells[0].source = """
            let run = Run.current
            let last = 0.25, unused = 1
            let (left, right) = (1, 2)
            func twice(_ x: Double) -> Double { 2 * x }
            struct Shape { var side = 1 }
            """
        run.cells[1].source = """
            // unused, and twice in a comment; run is the run's handle
            print("Shape is a word, \\(twice(last)) a value", run, model.left, right: 3)
            if let right { print(right) }
            """
        let html = try Self.html(run)
        #expect(html.contains("train takes last, right, twice from prepare."))
        #expect(!html.contains("run from prepare") && !html.contains("Shape, "))
    }

    @Test func `what was not committed is shown line by line, but never data`() throws {
        var run = Sample.run()
        run.changes[0].patch = "@@ -1 +1 @@\n-old <b>\n+new"
        run.changes[0].added = 1
        run.changes[0].removed = 1
        run.changes.append(.init(path: "data.jsonl", kind: "modified"))
        run.changes[1].note = "read by the study as data; not shown"
        let html = try Self.html(run)
        #expect(html.contains("2 files, 1 lines added, 1 removed"))
        #expect(html.contains("<span class=\"del\">-old &lt;b&gt;</span>"))
        #expect(html.contains("<span class=\"ins\">+new</span>"))
        #expect(html.contains("read by the study as data; not shown"))
    }

    @Test func `replays and other runs are counted, failed ones too`() throws {
        var run = Sample.run()
        run.verdicts = [.init(replay: "20261121-1-abc", rung: "same bits", detail: "9 outputs")]
        run.attempts = [RunFacts.Status.failed, .succeeded, .failed].enumerated().map {
            .init(
                id: "20261121-00000\($0)-aaaaaaa\($0)", status: $1, began: run.began, seconds: 2,
                note: "commit 0123")
        }
        let html = try Self.html(run)
        #expect(html.contains("<strong>same bits</strong></td><td>9 outputs"))
        #expect(html.contains("3 other runs of this study are on the same ledger"))
        #expect(html.contains("1 succeeded, 2 failed."))
        #expect(html.contains("aaaaaaa2"))
    }

    @Test func `output in columns is not wrapped, sentences are`() throws {
        var run = Sample.run()
        run.outputs = [
            .init(cell: 0, stream: .standardOutput, bytes: Array("a  b\nc  d\n".utf8)),
            .init(cell: 1, stream: .standardOutput, bytes: Array("one long sentence\n".utf8)),
        ]
        let html = try Self.html(run)
        #expect(html.contains("<pre class=\"out\""))
        #expect(html.contains("<pre class=\"out wrap\""))
    }

    @Test func `a series of a single step is a number in a table`() throws {
        var run = Sample.run()
        run.series[0].steps = [7]
        run.series[0].values = [0.125]
        run.series[0].times = [0]
        #expect(try Self.html(run).contains("<td class=\"num\">0.125</td>"))
    }

    @Test func `a page of a hundred long series stays under 2 MB`() throws {
        var run = Sample.run()
        run.series = (0..<100).map { index in
            var series = RunFacts.Series(cell: 1, name: "m\(index % 10)", arm: "\(index)")
            series.steps = (0..<10_000).map(Int64.init)
            series.values = noise(10_000, seed: UInt64(index)).map(Double.init)
            series.times = series.steps
            return series
        }
        let html = try HTMLReport(run, version: "0.1.0").html()
        #expect(html.count < 2_000_000, "\(html.count)")
        #expect(String(decoding: html, as: UTF8.self).contains("min-max downsampling"))
    }
}

@Suite struct `Formulas` {
    /// Rendered where node and KaTeX are installed, readable TeX elsewhere.
    @Test func `are MathML, or their TeX`() throws {
        let html = try `The parts of a report`.html()
        let katex = "/usr/share/javascript/katex/katex.js"
        if spawn("node", ["-e", "require('\(katex)')"]) == 0 {
            #expect(html.contains("<msup><mi>e</mi>"))
            #expect(html.contains("<annotation encoding=\"application/x-tex\">e^{-1}</annotation>"))
        } else {
            #expect(html.contains("<code class=\"tex\">$e^{-1}$</code>"))
        }
    }

    /// What an imported bundle brought stands in a page as it is.
    @Test func `of a stranger may hold MathML and nothing else`() {
        let good =
            #"<span class="katex"><math xmlns="http://www.w3.org/1998/Math/MathML"><semantics><mrow><mi>x</mi><mo>&lt;</mo><mspace width="0.1667em"/><mn>1</mn></mrow><annotation encoding="application/x-tex">x&lt;1</annotation></semantics></math></span>"#
        #expect(MathML.isHarmless(good))
        for bad in `A report`.injections where bad.contains("<") {
            #expect(!MathML.isHarmless(bad), "\(bad)")
            #expect(!MathML.isHarmless(good + bad), "\(bad)")
            #expect(!MathML.isHarmless("<math>" + bad + "</math>"), "\(bad)")
        }
        for bad in [
            "<math", "</math>", "<math></math></span>", "<math><mi></math></mi>",
            "<math onclick=\"x\"></math>",
            "<math class=x></math>", "<math class='x'></math>", "<math style=\"x\"></math>",
            "<math href=\"x\"></math>", "<annotation-xml></annotation-xml>",
            "<math class=\"a&quot;\"></math>",
            "<math><maction></maction></math>", "> <math></math>",
            "<math class=\"a\"onload=\"b\"></math>",
        ] { #expect(!MathML.isHarmless(bad), "\(bad)") }
    }
}

/// Contrast as WCAG 2.2 defines it: relative luminance (1.4.3), 4.5 to 1 for text, 3 to 1 for what is
/// drawn (1.4.11).
@Suite struct `A report's colours` {
    /// The custom properties of the page's style, light, dark, and on paper.
    static func schemes() throws -> [(name: String, colours: [String: String])] {
        let html = try `The parts of a report`.html()
        let start = try #require(html.range(of: "<style>"))
        let end = try #require(html.range(of: "</style>"))
        let css = String(html[start.upperBound..<end.lowerBound])
        let blocks = css.matches(of: #/:root\{([^}]*)\}/#).map { String($0.1) }
        #expect(blocks.count == 3)
        func colours(_ block: String) -> [String: String] {
            Dictionary(
                block.matches(of: #/--([a-z0-9]+):(#[0-9a-f]{3,6})/#).map {
                    (String($0.1), String($0.2))
                }, uniquingKeysWith: { $1 })
        }
        let light = colours(blocks[0])
        return [
            ("light", light), ("dark", light.merging(colours(blocks[1])) { $1 }),
            ("paper", light.merging(colours(blocks[2])) { $1 }),
        ]
    }

    static func luminance(_ hex: String) -> Double {
        var digits = hex.dropFirst().map { $0.hexDigitValue! }
        if digits.count == 3 { digits = digits.flatMap { [$0, $0] } }
        let channels = stride(from: 0, to: 6, by: 2).map { place -> Double in
            let value = Double(digits[place] * 16 + digits[place + 1]) / 255
            return value <= 0.04045 ? value / 12.92 : pow((value + 0.055) / 1.055, 2.4)
        }
        return 0.2126 * channels[0] + 0.7152 * channels[1] + 0.0722 * channels[2]
    }

    static func contrast(_ a: String, _ b: String) -> Double {
        let (light, dark) = (max(luminance(a), luminance(b)), min(luminance(a), luminance(b)))
        return (light + 0.05) / (dark + 0.05)
    }

    @Test func `the formula gives the specification's extremes`() {
        #expect(Self.contrast("#000", "#ffffff") == 21)
        #expect(abs(Self.contrast("#777777", "#fff") - 4.48) < 0.01)
    }

    @Test func `every pair of text and ground has 4.5 to 1, every line 3 to 1, in every scheme`()
        throws
    {
        for (scheme, colours) in try Self.schemes() {
            func check(_ front: String, _ ground: String, _ least: Double) throws {
                let a = try #require(colours[front], "--\(front)")
                let b = try #require(colours[ground], "--\(ground)")
                let found = Self.contrast(a, b)
                #expect(found >= least, "\(scheme): --\(front) \(a) on --\(ground) \(b): \(found)")
            }
            for text in ["ink", "soft", "link", "good", "bad", "value", "k", "s", "n", "t", "c"] {
                for ground in ["paper", "card"] { try check(text, ground, 4.5) }
            }
            try check("good", "goodbg", 4.5)
            try check("bad", "badbg", 4.5)
            for line in 0...6 { try check("l\(line)", "paper", 3) }
        }
    }

    /// The colours that `Chart` paints with, on a dark page: bars let a fifth of it through.
    @Test(.enabled(if: spawn("gnuplot", ["--version"]) == 0))
    func `figures' bars have 3 to 1 on a dark page too`() throws {
        let svg = String(
            decoding: try #require(FigureDrawing.svg(`Drawing a figure`.bars)), as: UTF8.self)
        let dark = Dictionary(
            svg.matches(of: #/\[fill='rgb\( *(\d+), *(\d+), *(\d+)\)'\]\{fill:(#[0-9a-f]{6})\}/#)
                .map {
                    (
                        String(format: "#%02x%02x%02x", Int($0.1)!, Int($0.2)!, Int($0.3)!),
                        String($0.4)
                    )
                }, uniquingKeysWith: { $1 })
        #expect(dark.count == 2)
        let ground = try #require(try Self.schemes()[1].colours["paper"])
        for colour in ["#0072b2", "#e69f00", "#009e73", "#d55e00", "#cc79a7", "#8c6d31"] {
            let front = Array((dark[colour] ?? colour).dropFirst()).compactMap(\.hexDigitValue)
            let back = Array(ground.dropFirst()).compactMap(\.hexDigitValue)
            let seen = stride(from: 0, to: 6, by: 2).map { place -> String in
                let (a, b) = (
                    front[place] * 16 + front[place + 1], back[place] * 16 + back[place + 1]
                )
                return String(format: "%02x", (a * 4 + b) / 5)
            }.joined()
            #expect(Self.contrast("#" + seen, ground) >= 3, "\(colour)")
        }
        // The picture has the colour in the form that the style looks for.
        #expect(svg.contains("fill = 'rgb(  0, 114, 178)'"))
    }

    @Test func `the style names no colour outside its properties`() throws {
        let html = try `The parts of a report`.html()
        let start = try #require(html.range(of: "<style>"))
        let end = try #require(html.range(of: "</style>"))
        let css = html[start.upperBound..<end.lowerBound]
            .replacing(#/:root\{[^}]*\}/#, with: "").replacing(#/@page\{.*\}\}/#, with: "")
        #expect(css.matches(of: #/[:,\s]#[0-9a-fA-F]{3,8}\b/#).isEmpty)
    }
}

@Suite struct `A comparison` {
    static func figure(_ height: Double) -> RunFacts.Figure {
        .init(
            cell: 1, title: "Refusals it's", alternativeText: "bar \(height)",
            script: "set title 'Refusals it''s'\nset ylabel 'rate'\nplot 1\n",
            data:
                #"{"title": "x", "bars": [{"label": "a", "value": \#(height), "low": 0, "high": 1}], "series": [{"label": "l", "x": [1, 2], "y": [0.5, \#(height)]}]}"#
        )
    }

    @Test func `lays figures of one title over each other`() throws {
        guard spawn("gnuplot", ["--version"]) == 0 else { return }
        var (first, second) = (Sample.run(), Sample.run())
        first.figures = [Self.figure(0.25)]
        second.figures = [Self.figure(0.75)]
        second.id = "20261121-081500-aaaaaaaa"
        let html = String(
            decoding: try ComparisonReport([first, second], version: "0.1.0").html(),
            as: UTF8.self)
        let source = try #require(
            html.firstMatch(of: #/data:image\/svg\+xml;base64,([A-Za-z0-9+\/=]+)/#))
        let svg = String(
            decoding: try #require(Data(base64Encoded: String(source.1))), as: UTF8.self)
        for text in ["l, 7f0c5f0e", "l, aaaaaaaa", ">7f0c5f0e<", "rate", "it&#39;s"] {
            #expect(svg.contains(text), "\(text)")
        }
        #expect(html.contains("alt=\"Run 7f0c5f0e: bar 0.25 Run aaaaaaaa: bar 0.75\""))
    }

    @Test func `draws grids of colours beside each other on one scale, and their difference`()
        throws
    {
        guard spawn("gnuplot", ["--version"]) == 0 else { return }
        var (first, second) = (Sample.run(), Sample.run())
        second.id = "20261121-081500-aaaaaaaa"
        func grid(_ corner: Double) -> RunFacts.Figure {
            .init(
                cell: 1, title: "Landscape", alternativeText: "corner \(corner)",
                script: "set title 'Landscape'\nset xlabel 'safety'\nplot 1\n",
                data:
                    #"{"grid": {"label": "rate", "x": [0, 1], "y": [0, 1], "values": [[0.25, 0.5], [null, \#(corner)]]}}"#
            )
        }
        first.figures = [grid(0.75)]
        second.figures = [grid(0.125)]
        let html = String(
            decoding: try ComparisonReport([first, second], version: "0.1.0").html(),
            as: UTF8.self)
        let source = try #require(
            html.firstMatch(of: #/data:image\/svg\+xml;base64,([A-Za-z0-9+\/=]+)/#))
        let svg = String(
            decoding: try #require(Data(base64Encoded: String(source.1))), as: UTF8.self)
        for text in [
            "run 7f0c5f0e", "run aaaaaaaa", "aaaaaaaa less 7f0c5f0e", "safety", "difference",
        ] {
            #expect(svg.contains(text), "\(text)")
        }
        #expect(html.contains("aaaaaaaa less 7f0c5f0e: between -0.625 and 0."))
        #expect(html.contains("width=\"560\" height=\"480\""))
        // Of grids and bars under one title nothing can be made.
        second.figures = [Self.figure(0.5)]
        second.figures[0].title = "Landscape"
        let without = String(
            decoding: try ComparisonReport([first, second], version: "0.1.0").html(),
            as: UTF8.self)
        #expect(!without.contains("data:image/svg+xml"))
    }

    @Test func `of the same run twice says that nothing differs`() throws {
        let html = String(
            decoding: try ComparisonReport([Sample.run(), Sample.run()], version: "0.1.0").html(),
            as: UTF8.self)
        #expect(html.contains("Nothing on record differs."))
        #expect(html.contains("All 1 numbers are the same to the last bit."))
        #expect(html.contains("All ran the same text of studies/mini.md."))
    }
}
