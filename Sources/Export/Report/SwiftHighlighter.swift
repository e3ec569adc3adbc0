// Colours for Swift code, found once when the page is written: the page itself runs no script. Knows
// comments, strings, numbers, keywords and types; what the code means it does not know.

enum SwiftHighlighter {
    private static let keywords: Set<String> = [
        "actor", "any", "as", "associatedtype", "async", "await", "borrowing", "break", "case",
        "catch",
        "class", "consuming", "continue", "default", "defer", "deinit", "do", "else", "enum",
        "extension",
        "fallthrough", "false", "fileprivate", "final", "for", "func", "guard", "if", "import",
        "in",
        "indirect", "init", "inout", "internal", "is", "lazy", "let", "mutating", "nil",
        "nonisolated",
        "nonmutating", "open", "operator", "override", "package", "private", "protocol", "public",
        "repeat", "rethrows", "return", "self", "Self", "some", "static", "struct", "subscript",
        "super",
        "switch", "throw", "throws", "true", "try", "typealias", "unowned", "var", "weak", "where",
        "while",
    ]

    /// The code as HTML, in spans of class c (comment), s (string), n (number), k (keyword), t (type).
    static func html(_ code: String) -> String {
        let text = Array(code.unicodeScalars)
        var out = ""
        var index = 0
        func slice(_ range: Range<Int>) -> String {
            var view = String.UnicodeScalarView()
            view.append(contentsOf: text[range])
            return HTMLText.escaped(String(view))
        }
        func emit(_ name: String, _ end: Int) {
            out += "<span class=\"\(name)\">" + slice(index..<end) + "</span>"
            index = end
        }
        func starts(_ word: String, at place: Int) -> Bool {
            let scalars = Array(word.unicodeScalars)
            return place + scalars.count <= text.count
                && Array(text[place..<place + scalars.count]) == scalars
        }
        while index < text.count {
            let scalar = text[index]
            if starts("//", at: index) {
                emit("c", text[index...].firstIndex(of: "\n") ?? text.count)
            } else if starts("/*", at: index) {
                emit("c", commentEnd(text, index))
            } else if scalar == "\"" || (scalar == "#" && isRawString(text, index)) {
                emit("s", stringEnd(text, index))
            } else if isDigit(scalar) {
                var end = index
                while end < text.count,
                    isWord(text[end])
                        || (text[end] == "." && end + 1 < text.count && isDigit(text[end + 1]))
                { end += 1 }
                emit("n", end)
            } else if isWord(scalar) || scalar == "@" || scalar == "#" {
                var end = index + 1
                while end < text.count, isWord(text[end]) { end += 1 }
                var view = String.UnicodeScalarView()
                view.append(contentsOf: text[index..<end])
                let word = String(view)
                if keywords.contains(word) || scalar == "@" || scalar == "#" {
                    emit("k", end)
                } else if scalar.properties.isUppercase {
                    emit("t", end)
                } else {
                    out += HTMLText.escaped(word)
                    index = end
                }
            } else {
                out += slice(index..<index + 1)
                index += 1
            }
        }
        return out
    }

    /// The code alone: comments gone, strings reduced to what they interpolate.
    static func code(_ source: String) -> String {
        let text = Array(source.unicodeScalars)
        var out = String.UnicodeScalarView()
        var index = 0
        while index < text.count {
            let scalar = text[index]
            let next = index + 1 < text.count ? text[index + 1] : " "
            if scalar == "/", next == "/" {
                index = text[index...].firstIndex(of: "\n") ?? text.count
            } else if scalar == "/", next == "*" {
                index = commentEnd(text, index)
                out.append(" ")
            } else if scalar == "\"" || (scalar == "#" && isRawString(text, index)) {
                let end = stringEnd(text, index)
                var place = index
                while place < end {
                    // \( of plain strings; raw ones write \#(, which is rare enough to leave out.
                    guard text[place] == "\\", place + 1 < end, text[place + 1] == "(" else {
                        place += 1
                        continue
                    }
                    var depth = 0
                    out.append(" ")
                    repeat {
                        place += 1
                        if text[place] == "(" { depth += 1 }
                        if text[place] == ")" { depth -= 1 }
                        out.append(text[place])
                    } while depth > 0 && place + 1 < end
                }
                out.append(" ")
                index = end
            } else {
                out.append(scalar)
                index += 1
            }
        }
        return String(out)
    }

    private static func commentEnd(_ text: [Unicode.Scalar], _ start: Int) -> Int {
        var depth = 0
        var end = start
        repeat {
            let next = end + 1 < text.count ? text[end + 1] : " "
            if text[end] == "/", next == "*" {
                depth += 1; end += 2
            } else if text[end] == "*", next == "/" {
                depth -= 1; end += 2
            } else {
                end += 1
            }
        } while depth > 0 && end < text.count
        return min(end, text.count)
    }

    private static func isDigit(_ scalar: Unicode.Scalar) -> Bool { ("0"..."9").contains(scalar) }
    private static func isWord(_ scalar: Unicode.Scalar) -> Bool {
        scalar == "_" || isDigit(scalar) || scalar.properties.isAlphabetic
    }

    private static func isRawString(_ text: [Unicode.Scalar], _ start: Int) -> Bool {
        var place = start
        while place < text.count, text[place] == "#" { place += 1 }
        return place < text.count && text[place] == "\""
    }

    /// Where a string literal ends: plain, raw (#"…"#) or of several lines.
    private static func stringEnd(_ text: [Unicode.Scalar], _ start: Int) -> Int {
        var place = start
        while place < text.count, text[place] == "#" { place += 1 }
        let hashes = place - start
        let isLong = place + 2 < text.count && text[place + 1] == "\"" && text[place + 2] == "\""
        let quotes = isLong ? 3 : 1
        place += quotes
        while place < text.count {
            if text[place] == "\\", hashes == 0 { place += 2; continue }
            if text[place] == "\n", !isLong { return place }
            if text[place] == "\"" {
                let end = place + quotes + hashes
                if end <= text.count, text[place..<place + quotes].allSatisfy({ $0 == "\"" }),
                    text[place + quotes..<end].allSatisfy({ $0 == "#" })
                {
                    return end
                }
            }
            place += 1
        }
        return text.count
    }
}
