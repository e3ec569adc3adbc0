// What is wrong at one place of a study, and how it looks to a reader: the message, the Markdown's
// own line, a caret. Who finds the fault (parser, compiler, kernel) does not matter here.

/// A place in a study. Lines and columns count from 1; columns in characters of the Markdown line.
package struct SourcePlace: Sendable, Hashable {
    package var line: Int
    /// 0 where only the line is known.
    package var column: Int

    package init(line: Int, column: Int = 0) {
        self.line = line
        self.column = column
    }
}

/// A finding about a study: an error, a warning, or a note that belongs to the one before it.
package struct Diagnostic: Error, Sendable, Equatable {
    package enum Severity: String, Sendable {
        case error, warning, note
    }
    package var severity: Severity
    package var path: String
    /// Nothing where the whole file is meant.
    package var place: SourcePlace?
    package var message: String
    /// What the reader can do about it; empty where the message says it all.
    package var mend: String

    package init(
        _ severity: Severity = .error, path: String, place: SourcePlace?, message: String,
        mend: String = ""
    ) {
        self.severity = severity
        self.path = path
        self.place = place
        self.message = message
        self.mend = mend
    }

    /// `studies/x.md:12:9: error: …`, then the line and a caret under the column.
    package func rendered(excerptFrom text: String) -> String {
        var result = path
        if let place {
            result += ":\(place.line)"
            if place.column > 0 { result += ":\(place.column)" }
        }
        result += ": \(severity.rawValue): \(message)"
        if let place, let excerpt = Self.excerpt(of: text, at: place) { result += "\n" + excerpt }
        if !mend.isEmpty { result += "\n  mend:  \(mend)" }
        return result
    }

    /// The line with its number, and a caret below the column; nothing past the end of the text.
    package static func excerpt(of text: String, at place: SourcePlace) -> String? {
        let lines = StudyText.lines(of: text)
        guard place.line >= 1, place.line <= lines.count else { return nil }
        let line = lines[place.line - 1]
        let number = String(place.line)
        let margin = String(repeating: " ", count: max(5 - number.count, 1))
        var result = "\(margin)\(number) | \(line)"
        if place.column > 0 {
            // Tabs stay tabs in the caret's line, so that both lines are as wide on any terminal.
            let before = line.prefix(place.column - 1).map { $0 == "\t" ? "\t" : " " }
            let missing = max(0, place.column - 1 - before.count)
            result +=
                "\n\(margin)\(String(repeating: " ", count: number.count)) | \(before.joined())"
                + String(repeating: " ", count: missing) + "^"
        }
        return result
    }
}

/// A study that cannot be run as it stands: every fault found, and the text they are in.
package struct StudyError: Error, Sendable, CustomStringConvertible {
    package let diagnostics: [Diagnostic]
    package let text: String

    package init(_ diagnostics: [Diagnostic], text: String) {
        self.diagnostics = diagnostics
        self.text = text
    }

    package var description: String {
        diagnostics.map { $0.rendered(excerptFrom: text) }.joined(separator: "\n")
    }
}

/// Lines as editors and compilers count them: LF, CR LF or CR ends one.
package enum StudyText {
    package static func lines(of text: String) -> [Substring] {
        var lines = text.split(omittingEmptySubsequences: false) {
            $0.isNewline && $0 != "\u{2028}"
        }
        // A byte order mark is no part of the first line.
        if let first = lines.first, first.first == "\u{FEFF}" { lines[0] = first.dropFirst() }
        return lines
    }
}

/// The known name that a misspelt one most likely stands for.
package enum NearMiss {
    /// The closest of `known` within a third of the length (at least one edit), or nothing.
    package static func of(_ name: String, in known: some Sequence<String>) -> String? {
        let lowered = name.lowercased()
        let limit = max(1, name.count / 3)
        let ranked = known.map { (name: $0, distance: distance(lowered, $0.lowercased())) }
        let best = ranked.min { ($0.distance, $0.name) < ($1.distance, $1.name) }
        guard let best, best.distance <= limit else {
            return known.first { $0.lowercased().hasPrefix(lowered) && name.count >= 3 }
        }
        return best.name
    }

    /// `; did you mean 'title'?`, or the list of what is known.
    package static func hint(_ name: String, in known: [String]) -> String {
        if let near = of(name, in: known) { return "; did you mean '\(near)'?" }
        return known.isEmpty ? "" : "; known: \(known.joined(separator: ", "))"
    }

    /// Damerau–Levenshtein in its restricted form: insert, delete, replace, swap neighbours.
    private static func distance(_ a: String, _ b: String) -> Int {
        let a = Array(a)
        let b = Array(b)
        var rows = [[Int]](repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count { rows[i][0] = i }
        for j in 0...b.count { rows[0][j] = j }
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        for i in 1...a.count {
            for j in 1...b.count {
                let replaced = rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
                rows[i][j] = min(rows[i - 1][j] + 1, rows[i][j - 1] + 1, replaced)
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    rows[i][j] = min(rows[i][j], rows[i - 2][j - 2] + 1)
                }
            }
        }
        return rows[a.count][b.count]
    }
}
