// A study's prose as HTML: cmark-gfm for the Markdown, KaTeX (as MathML, when the page is written) for
// the math, and the run's values in their places. Both are lifted out before cmark sees the text.

internal import Foundation
internal import Notebook

struct Prose {
    let study: StudyFile
    let values: [Int: String]
    /// TeX by its text, rendered; empty where KaTeX is not installed.
    let math: [String: String]

    init(_ study: StudyFile, values: [Int: String], math: [String: String]) {
        self.study = study
        self.values = values
        self.math = math
    }

    /// Every formula of a study's text, once.
    static func formulas(of study: StudyFile) -> [String] {
        var formulas: Set<String> = []
        for block in study.blocks {
            if case .prose(let markdown, _, _) = block {
                formulas.formUnion(lift(markdown).formulas)
            }
        }
        return formulas.sorted()
    }

    /// One stretch of prose.
    func html(_ markdown: String, lines: ClosedRange<Int>, inlineValues: [Int]) -> String {
        // Control characters are no HTML; cmark would let them through.
        var text = String(
            String.UnicodeScalarView(
                markdown.filter { !Self.isMark($0) }.unicodeScalars.map {
                    $0.value < 0x20 && $0 != "\n" && $0 != "\t" && $0 != "\r"
                        || (0x7f...0x9f).contains($0.value)
                        || (0x202a...0x202e).contains($0.value)
                        || (0x2066...0x2069).contains($0.value)
                        ? "\u{fffd}" : $0
                }))
        // Values first: a code span is no place for math.
        for index in inlineValues {
            let value = study.inlineValues[index]
            let literal = String(decoding: Array(study.text.utf8)[value.bytes], as: UTF8.self)
            if let range = text.range(of: literal) {
                text.replaceSubrange(range, with: "\u{e000}v\(index)\u{e001}")
            }
        }
        let lifted = Self.lift(text)
        var html = Document.html(lifted.text).replacingOccurrences(of: "\r", with: "")
        for (index, formula) in lifted.formulas.enumerated() {
            html = html.replacingOccurrences(of: "\u{e000}m\(index)\u{e001}", with: shown(formula))
        }
        for index in inlineValues {
            html = html.replacingOccurrences(of: "\u{e000}v\(index)\u{e001}", with: shown(index))
        }
        return html
    }

    private func shown(_ index: Int) -> String {
        let expression = HTMLText.escaped(study.inlineValues[index].expression)
        guard let value = values[index] else {
            return "<span class=\"value missing\" title=\"\(expression)\">not computed</span>"
        }
        return
            "<span class=\"value\" title=\"computed: \(expression)\">\(HTMLText.escaped(value))</span>"
    }

    private func shown(_ formula: String) -> String {
        if let rendered = math[formula] { return rendered }
        return "<code class=\"tex\">\(HTMLText.escaped(formula))</code>"
    }

    private static func isMark(_ character: Character) -> Bool {
        character.unicodeScalars.contains { $0 == "\u{e000}" || $0 == "\u{e001}" }
    }

    /// Takes `$…$` and `$$…$$` out of Markdown, code left alone. The dollar rules are Pandoc's: the
    /// opening one stands before a character, the closing one after one and not before a digit.
    static func lift(_ markdown: String) -> (text: String, formulas: [String]) {
        let text = Array(markdown)
        var out = ""
        var formulas: [String] = []
        var index = 0
        while index < text.count {
            let character = text[index]
            if character == "\\", index + 1 < text.count {
                out += String(text[index...index + 1])
                index += 2
            } else if character == "`" {
                var run = index
                while run < text.count, text[run] == "`" { run += 1 }
                let ticks = run - index
                var end = run
                search: while end < text.count {
                    if text[end] == "`" {
                        var close = end
                        while close < text.count, text[close] == "`" { close += 1 }
                        if close - end == ticks {
                            end = close
                            break search
                        }
                        end = close
                    } else {
                        end += 1
                    }
                }
                out += String(text[index..<end])
                index = end
            } else if character == "$", let end = formulaEnd(text, index) {
                out += "\u{e000}m\(formulas.count)\u{e001}"
                formulas.append(String(text[index..<end]))
                index = end
            } else {
                out.append(character)
                index += 1
            }
        }
        return (out, formulas)
    }

    private static func formulaEnd(_ text: [Character], _ start: Int) -> Int? {
        let isDisplay = start + 1 < text.count && text[start + 1] == "$"
        var index = start + (isDisplay ? 2 : 1)
        guard index < text.count, isDisplay || !text[index].isWhitespace else { return nil }
        var breaks = 0
        while index < text.count {
            if text[index] == "\\" {
                index += 2
                continue
            }
            if text[index].isNewline {
                breaks += 1
                if breaks > 1, index > 0, text[index - 1].isNewline { return nil }
            }
            if text[index] == "$" {
                if isDisplay {
                    return index + 1 < text.count && text[index + 1] == "$" ? index + 2 : nil
                }
                let digitFollows = index + 1 < text.count && text[index + 1].isNumber
                return text[index - 1].isWhitespace || digitFollows ? nil : index + 1
            }
            index += 1
        }
        return nil
    }
}

/// Renders TeX to MathML by Debian's libjs-katex under node, all formulas in one process. MathML needs
/// neither fonts nor scripts, and screen readers read it.
enum KaTeX {
    static let library = "/usr/share/javascript/katex/katex.js"

    /// By formula, dollars included; empty where node or KaTeX is not installed.
    static func render(_ formulas: [String]) -> [String: String] {
        guard !formulas.isEmpty, Tool.find("node") != nil, access(library, R_OK) == 0 else {
            return [:]
        }
        let script = """
            const k = require("\(library)"); const list = JSON.parse(require("fs").readFileSync(0, "utf8"));
            process.stdout.write(JSON.stringify(list.map(([tex, display]) => { try {
            return k.renderToString(tex, {output: "mathml", displayMode: display, throwOnError: true, trust: false, maxExpand: 500, maxSize: 50});
            } catch (e) { return ""; } })));
            """
        let list = JSON.array(
            formulas.map { formula in
                let isDisplay = formula.hasPrefix("$$")
                let tex = String(formula.dropFirst(isDisplay ? 2 : 1).dropLast(isDisplay ? 2 : 1))
                return .array([.string(tex), .bool(isDisplay)])
            })
        guard let result = try? Tool.run("node", ["-e", script], input: Array(list.text().utf8)),
            result.status == 0, let rendered = JSON(parsing: result.output)?.array,
            rendered.count == formulas.count
        else { return [:] }
        var found: [String: String] = [:]
        for (formula, html) in zip(formulas, rendered) {
            if let html = html.string, html.contains("<math"), MathML.isHarmless(html) {
                found[formula] = html
            }
        }
        return found
    }
}
