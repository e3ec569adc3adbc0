// The executed study as one self-contained page. Everything shown comes from the run's record; the
// page has no script, fetches nothing, and its policy forbids both. HTMLReport+Parts.swift makes the
// sections; ComparisonReport.swift compares runs.

internal import Crypto
internal import Events
internal import Foundation
internal import Mustache
internal import Notebook
internal import Provenance

/// A run's page.
package struct HTMLReport {
    let run: RunFacts
    let policy: ReleasePolicy?
    let version: String
    /// Pictures and formulas; drawn once.
    let drawings: Drawings

    /// - Parameters:
    ///   - policy: Where given, what it withholds is left out of the page too.
    ///   - drawings: Those that came with an imported run; drawn here where nil.
    package init(
        _ run: RunFacts, policy: ReleasePolicy? = nil, version: String, drawings: Drawings? = nil
    ) {
        self.run = run
        self.policy = policy
        self.version = version
        self.drawings = drawings ?? Drawings(of: run)
    }

    /// The page's bytes: the same for the same run.
    package func html() throws -> [UInt8] {
        let study = try? StudyFile(parsing: run.text, path: run.study)
        let title = run.title.isEmpty ? run.study : run.title
        let held = run.claims.filter(\.holds).count
        var contents = Contents()
        if !run.claims.isEmpty { contents.add("claims", "Claims", isPart: true) }
        let body = body(study, &contents)
        var isFirst = true
        func part(_ id: String, _ name: String) {
            contents.add(id, name, isPart: isFirst)
            isFirst = false
        }
        if !run.series.isEmpty { part("metrics", "Metrics") }
        part("provenance", "Where this comes from")
        part("cite", "How to cite")
        var facts: [String: Any] = [
            "policy": Self.policy(ReportStyle.css), "css": ReportStyle.css, "version": version,
            "title": clean(title), "status": ROCrate.words(run.status),
            "statusClass": run.status == .succeeded ? "good" : "bad", "summary": clean(summary),
            "contents": contents.entries, "body": "<div id=\"text\">" + body + "</div>",
            "claims": claims, "metrics": metrics, "provenance": provenance(study), "cite": cite,
            "run": run.id,
        ]
        if !run.authors.isEmpty {
            facts["authors"] = clean(
                run.authors.map { author in
                    author.name + (author.affiliation.map { " (\($0))" } ?? "")
                }.joined(separator: ", "))
        }
        if !run.claims.isEmpty {
            let all = held == run.claims.count
            facts["claimSummary"] =
                "<a href=\"#claims\"><span class=\"badge \(all ? "good" : "bad")\">\(all ? "✓" : "✗") \(held) of \(run.claims.count) claims hold</span></a>"
        }
        if let abstract = study?.frontMatter.abstract, !abstract.isEmpty {
            facts["abstract"] = clean(abstract)
        }
        if let failure = run.failure {
            let cell =
                run.cells.indices.contains(failure.cell)
                ? run.cells[failure.cell].id : String(failure.cell)
            facts["failureTitle"] = clean(
                "The run stopped in cell \(cell)\(failure.line > 0 ? ", line \(failure.line)" : "")."
            )
            facts["failure"] = clean(failure.message)
        }
        return Array(try MustacheTemplate(string: ReportTemplate.page).render(facts).utf8)
    }

    /// What the page may do: show itself, with this style and pictures from within.
    static func policy(_ css: String) -> String {
        let hash = Data(SHA256.hash(data: Array(css.utf8))).base64EncodedString()
        return
            "default-src 'none'; style-src 'sha256-\(hash)'; img-src data:; base-uri 'none'; form-action 'none'"
    }

    private var summary: String {
        var words = [
            "run \(run.shortID)",
            String(ROCrate.time(run.began.nanoseconds).prefix(16)).replacing("T", with: " ")
                + " UTC",
        ]
        if let ended = run.ended {
            words.append(Words.seconds(Double(ended.nanoseconds - run.began.nanoseconds) / 1e9))
        }
        words.append("seed \(run.seed)")
        words += run.parameters.prefix(6).map { "\($0.name) \($0.value)" }
        return words.joined(separator: " · ")
    }

    /// Mustache escapes &, <, > and quotes; control characters and the like are ours to show.
    func clean(_ text: String) -> String {
        var out = String.UnicodeScalarView()
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\n", "\t": out.append(scalar)
            case _ where scalar.value < 0x20: out.append(Unicode.Scalar(0x2400 + scalar.value)!)
            case "\u{7f}": out.append("␡")
            case "\u{80}"..."\u{9f}", "\u{202a}"..."\u{202e}", "\u{2066}"..."\u{2069}":
                out.append("\u{fffd}")
            default: out.append(scalar)
            }
        }
        return String(out)
    }

    // MARK: The text, with its cells

    private func body(_ study: StudyFile?, _ contents: inout Contents) -> String {
        guard let study else {
            // A study that a newer parser refuses is still shown, as it stands.
            return "<pre>" + HTMLText.escaped(run.text) + "</pre>"
                + run.cells.indices.map { cell($0) }.joined()
        }
        let prose = Prose(study, values: run.inlineValues, math: drawings.formulas)
        let byID = Dictionary(run.cells.enumerated().map { ($1.id, $0) }) { first, _ in first }
        var out = ""
        for block in study.blocks {
            switch block {
            case .prose(let markdown, let lines, let inline):
                var html = prose.html(markdown, lines: lines, inlineValues: inline)
                if out.isEmpty, let range = html.range(of: "</h1>"), html.hasPrefix("<h1>"),
                    html[..<range.lowerBound].dropFirst(4) == HTMLText.escaped(run.title)[...]
                {
                    // The page's head shows the title already.
                    html = String(html[range.upperBound...])
                }
                out += contents.numbered(html)
            case .cell(let index):
                let cell = study.cells[index]
                if let place = byID[cell.id] {
                    out += self.cell(place, shown: cell.options.shown)
                } else {
                    out +=
                        "<pre tabindex=\"0\"><code>" + SwiftHighlighter.html(cell.source)
                        + "</code></pre>"
                }
            case .code(_, let source, _):
                out += "<pre tabindex=\"0\"><code>" + HTMLText.escaped(source) + "</code></pre>"
            }
        }
        return out
    }

    /// Outputs longer than this are cut in the page: its middle is in the bundle's log.
    static let outputLimit = 20_000

    private func cell(_ index: Int, shown: Bool = true) -> String {
        let cell = run.cells[index]
        var context: [String: Any] = [
            "id": clean(cell.id), "anchor": HTMLText.anchor(cell.id),
            "code": SwiftHighlighter.html(cell.source),
            "place": cell.firstLine >= cell.lastLine
                ? "line \(cell.firstLine)" : "lines \(cell.firstLine) to \(cell.lastLine)",
        ]
        if let seconds = cell.seconds { context["time"] = Words.seconds(seconds) }
        if cell.began == nil {
            context["mark"] = "not run"
            context["markClass"] = "bad"
        } else if cell.state == "interrupted" {
            context["mark"] = "interrupted"
            context["markClass"] = "bad"
        } else if cell.ended == nil || cell.state == "failed" {
            context["mark"] = "failed"
            context["markClass"] = "bad"
        }
        let hasFailed = run.failure?.cell == index
        var outputs: [[String: Any]] = []
        for stream in [RunWriter.OutputStream.standardOutput, .standardError] {
            let bytes = run.outputs.filter { $0.cell == index && $0.stream == stream }.flatMap(
                \.bytes)
            guard !bytes.isEmpty else { continue }
            let text = clean(HTMLText.terminal(bytes))
            let isError = stream == .standardError
            var output: [String: Any] = [
                "class": (isError ? hasFailed ? " err bad" : " err" : "")
                    + (Self.isTable(text) ? "" : " wrap"),
                "label": (isError ? "Standard error of cell " : "Output of cell ") + clean(cell.id),
                "text": text,
            ]
            if isError { output["heading"] = "standard error" }
            if text.count > Self.outputLimit {
                output["text"] =
                    text.prefix(Self.outputLimit / 2) + "\n…\n" + text.suffix(Self.outputLimit / 2)
                output["cut"] =
                    "\(text.count) characters; the middle is left out here and stands in \(BundleLayout.log) of the bundle."
            }
            outputs.append(output)
        }
        context["outputs"] = outputs
        context["figures"] = run.figures.enumerated().filter { $1.cell == index }.map {
            figure($0, $1, drawings.pictures[$0])
        }.joined()
        let claims = run.claims.filter { $0.cell == index }.map(claim)
        context["hasClaims"] = !claims.isEmpty
        context["claims"] = claims
        guard var html = try? MustacheTemplate(string: ReportTemplate.cell).render(context) else {
            return ""
        }
        if !shown, let end = html.range(of: "</details>") {
            // Links lead to the cell all the same.
            html =
                "<div id=\"cell-\(HTMLText.anchor(cell.id))\"></div>" + html[end.upperBound...]
        }
        return html
    }

    /// Text set in columns, which wrapping would tear apart: blanks in a row within two lines or more.
    static func isTable(_ text: String) -> Bool {
        let lines = text.split(separator: "\n").prefix(400)
        return lines.count {
            $0.drop { $0 == " " }.contains("  ") || $0.contains("\t") || $0.contains("│")
        } >= 2
    }

    func figure(_ number: Int, _ figure: RunFacts.Figure, _ picture: [UInt8]?) -> String {
        let words = figure.alternativeText
        var entry: [String: Any] = [
            "number": number + 1, "title": clean(figure.title),
            "alt": clean(words.isEmpty ? figure.title : words), "words": clean(words),
        ]
        if let picture {
            entry["height"] = FigureDrawing.height(of: picture)
            entry["source"] = "data:image/svg+xml;base64," + Data(picture).base64EncodedString()
        }
        return Self.render(ReportTemplate.figure, entry)
    }

    func claim(_ claim: ClaimRecord) -> [String: Any] {
        var entry: [String: Any] = [
            "class": claim.holds ? "good" : "bad", "verdict": claim.holds ? "✓ holds:" : "✗ fails:",
            "text": clean(claim.text), "evidence": clean(claim.evidence),
        ]
        if run.cells.indices.contains(claim.cell) {
            entry["cell"] = clean(run.cells[claim.cell].id)
            entry["anchor"] = HTMLText.anchor(run.cells[claim.cell].id)
        }
        return entry
    }
}

/// The headings of a page, with the anchors that lead to them.
struct Contents {
    private(set) var entries: [[String: String]] = []
    private var used: Set<String> = []

    /// - Parameter name: HTML already.
    mutating func add(_ id: String, _ name: String, isPart: Bool = false, isSub: Bool = false) {
        var entry = ["id": id, "name": name]
        if isPart { entry["class"] = "part" }
        if isSub { entry["class"] = "sub" }
        entries.append(entry)
    }

    /// Prose with an anchor on each heading; one `<h1>` a page, so that of the text becomes `<h2>`.
    mutating func numbered(_ html: String) -> String {
        var out = ""
        var rest = html[...]
        while let start = rest.firstRange(of: #/<h([1-6])>/#),
            let level = rest[start].dropFirst(2).first?.wholeNumberValue,
            let end = rest[start.upperBound...].firstRange(of: "</h\(level)>")
        {
            let inner = rest[start.upperBound..<end.lowerBound]
            let words = Self.words(String(inner))
            let shown = max(level, 2)
            var id = "s-" + HTMLText.anchor(words).prefix(48)
            var count = 1
            while !used.insert(id).inserted {
                count += 1
                id = "s-\(HTMLText.anchor(words).prefix(48))-\(count)"
            }
            out += rest[..<start.lowerBound]
            out += "<h\(shown) id=\"\(id)\">\(inner)</h\(shown)>"
            if shown <= 3, !words.isEmpty { add(id, words, isSub: shown == 3) }
            rest = rest[end.upperBound...]
        }
        return out + rest
    }

    /// A heading without its tags; entities stay.
    private static func words(_ html: String) -> String {
        html.replacing(#/<annotation.*?</annotation>/#, with: "").replacing(#/<[^>]*>/#, with: "")
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }
}
