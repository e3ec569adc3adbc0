// What gnuplot and KaTeX made of a run's figures and formulas. It comes along in a bundle and stays with an
// imported run, so that its page is the same to the byte where other versions of them are installed, or none.

package import Provenance

internal import Events
internal import Foundation
internal import Notebook

package struct Drawings: Sendable {
    /// SVG by the figure's position; none where it could not be drawn.
    var pictures: [Int: [UInt8]] = [:]
    /// MathML by TeX, dollars included.
    var formulas: [String: String] = [:]

    static let figures = "results/figures/"
    static let formulas = "results/formulas.json"

    /// Draws them here.
    init(of run: RunFacts) {
        for (index, figure) in run.figures.enumerated() {
            pictures[index] = FigureDrawing.svg(figure.script, title: figure.title)
        }
        if let study = try? StudyFile(parsing: run.text, path: run.study) {
            formulas = KaTeX.render(Prose.formulas(of: study))
        }
    }

    /// Those that a bundle brought with a run; nil for a run that happened here, or came without a bundle.
    package init?(broughtWith run: String, to ledger: Ledger) {
        let folder = Self.folder(of: run, in: ledger)
        guard let names = try? FileManager.default.contentsOfDirectory(atPath: folder) else {
            return nil
        }
        for name in names {
            guard let data = FileManager.default.contents(atPath: folder + "/" + name),
                data.count < 16 << 20
            else { continue }
            if name.hasSuffix(".svg"), let number = Int(name.dropLast(4)) {
                pictures[number - 1] = Array(data)
            } else if name == "formulas.json", case .object(let list) = JSON(parsing: Array(data)) {
                for (formula, rendered) in list {
                    // A stranger's, and about to stand in a page.
                    if let rendered = rendered.string, MathML.isHarmless(rendered) {
                        formulas[formula] = rendered
                    }
                }
            }
        }
    }

    /// Keeps what an unpacked, verified bundle has of them.
    static func keep(for run: String, from payload: String, in ledger: Ledger) throws {
        let folder = folder(of: run, in: ledger)
        guard access(folder, F_OK) != 0 else { return }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let names = FileStatus(payload + figures) == nil ? [] : try filesBelow(payload + figures)
        for name in names where name.hasSuffix(".svg") {
            try FileManager.default.copyItem(
                atPath: payload + figures + name, toPath: folder + "/" + name)
        }
        if FileStatus(payload + formulas)?.kind == .file {
            try FileManager.default.copyItem(
                atPath: payload + formulas, toPath: folder + "/formulas.json")
        }
    }

    private static func folder(of run: String, in ledger: Ledger) -> String {
        ledger.folder + "/drawn/" + run
    }

    /// The files of a bundle that hold them.
    func files(for run: RunFacts) -> [PayloadFile] {
        var files = pictures.sorted { $0.key < $1.key }.compactMap { index, picture in
            run.figures.indices.contains(index)
                ? PayloadFile(
                    Self.figures + "\(index + 1).svg", .bytes(picture),
                    name: run.figures[index].title, about: run.figures[index].alternativeText,
                    mediaType: "image/svg+xml") : nil
        }
        if !formulas.isEmpty {
            let list = formulas.sorted { $0.key < $1.key }.map { ($0.key, JSON.string($0.value)) }
            files.append(
                PayloadFile(
                    Self.formulas, .bytes(JSON.object(list).file()), name: "formulas",
                    about: "the text's formulas as MathML, by their TeX",
                    mediaType: "application/json"))
        }
        return files
    }
}

/// The part of MathML that KaTeX writes.
package enum MathML {
    private static let elements: Set<Substring> = [
        "span", "math", "semantics", "mrow", "mi", "mn", "mo", "msup", "msub", "msubsup", "mfrac",
        "msqrt", "mroot", "mover", "munder", "munderover", "mtext", "mspace", "mtable", "mtr",
        "mtd", "mlabeledtr", "mstyle", "mpadded", "mphantom", "menclose", "ms", "annotation",
    ]
    private static let attributes: Set<Substring> = [
        "class", "xmlns", "display", "encoding", "mathvariant", "stretchy", "fence", "separator",
        "form", "lspace", "rspace", "width", "height", "depth", "voffset", "minsize", "maxsize",
        "accent", "accentunder", "movablelimits", "largeop", "linebreak", "columnalign",
        "columnspacing", "columnlines", "rowspacing", "rowlines", "side", "scriptlevel",
        "displaystyle", "linethickness", "mathcolor", "mathbackground", "mathsize", "notation",
    ]

    /// Whether a text holds these elements and attributes alone, all closed: nothing that a browser would run
    /// or fetch, and nothing that reaches beyond the formula.
    package static func isHarmless(_ html: String) -> Bool {
        var open: [Substring] = []
        var rest = html[...]
        while let start = rest.firstIndex(of: "<") {
            guard !rest[..<start].contains(">"), let end = rest[start...].firstIndex(of: ">") else {
                return false
            }
            let tag = rest[rest.index(after: start)..<end]
            rest = rest[rest.index(after: end)...]
            if tag.hasPrefix("/") {
                guard open.popLast() == tag.dropFirst() else { return false }
                continue
            }
            let name = tag.prefix { $0.isASCII && $0.isLetter }
            guard elements.contains(name), open.count < 200 else { return false }
            var left = tag.dropFirst(name.count)
            let isClosed = left.hasSuffix("/")
            if isClosed { left = left.dropLast() }
            while !left.isEmpty {
                guard
                    let found = left.prefixMatch(
                        of: #/\s+([a-z]+)="([A-Za-z0-9 .:\/#_+%-]*)"/#),
                    attributes.contains(found.1)
                else { return false }
                left = left[found.range.upperBound...]
            }
            if !isClosed { open.append(name) }
        }
        return open.isEmpty && !rest.contains(">")
    }
}
