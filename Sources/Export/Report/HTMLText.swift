// Turns text into HTML that means the same text. Nothing of a run reaches a page but through here, a
// Mustache {{tag}}, or cmark-gfm with raw HTML off.

enum HTMLText {
    /// Text between tags, or within a double-quoted attribute.
    static func escaped(_ text: some StringProtocol) -> String {
        var out = ""
        out.reserveCapacity(text.utf8.count + 16)
        for scalar in text.unicodeScalars {
            switch scalar {
            case "&": out += "&amp;"
            case "<": out += "&lt;"
            case ">": out += "&gt;"
            case "\"": out += "&quot;"
            case "'": out += "&#39;"
            case "\n", "\t": out.unicodeScalars.append(scalar)
            // HTML allows no other control characters; shown as the pictures Unicode has for them.
            case _ where scalar.value < 0x20:
                out.unicodeScalars.append(Unicode.Scalar(0x2400 + scalar.value)!)
            case "\u{7f}": out += "␡"
            case _ where (0x80...0x9f).contains(scalar.value): out += "\u{fffd}"
            // Would turn the order of what follows around (Trojan Source).
            case "\u{202a}"..."\u{202e}", "\u{2066}"..."\u{2069}": out += "&#xFFFD;"
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }

    /// What a terminal would show: escape sequences gone, a carriage return begins the line anew.
    static func terminal(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        var out: [Substring] = []
        for line in text.split(separator: "\n", omittingEmptySubsequences: false) {
            let parts = line.split(separator: "\r", omittingEmptySubsequences: true)
            out.append(parts.last ?? "")
        }
        return withoutEscapes(out.joined(separator: "\n"))
    }

    private static func withoutEscapes(_ text: String) -> String {
        guard text.unicodeScalars.contains("\u{1b}") else { return text }
        var out = String.UnicodeScalarView()
        var inEscape = false
        var sawBracket = false
        for scalar in text.unicodeScalars {
            if inEscape {
                if !sawBracket, scalar == "[" {
                    sawBracket = true
                } else if !sawBracket || (0x40...0x7e).contains(scalar.value) {
                    inEscape = false
                }
            } else if scalar == "\u{1b}" {
                inEscape = true
                sawBracket = false
            } else {
                out.append(scalar)
            }
        }
        return String(out)
    }

    /// A name for `id` and `href`: letters, digits and dashes.
    static func anchor(_ text: String) -> String {
        let kept = text.lowercased().map { $0.isASCII && ($0.isLetter || $0.isNumber) ? $0 : "-" }
        return String(kept)
    }
}
