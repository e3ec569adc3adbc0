// What a cell's text declares and mentions, by a look at its words: enough to know which earlier modules it can need.
// Too few would be found by the compiler, which is then given all of them (Compiler+Modules.swift).

/// The words of a cell's Swift text.
package struct SourceScan: Sendable {
    /// Every word that stands in the text, in comments and string literals too (interpolations are code).
    package private(set) var mentioned: Set<String> = []
    /// Names that another module can use: declared at the top level or in a type.
    package private(set) var declared: Set<String> = []
    /// Top-level variables declared by `var`.
    package private(set) var variables: Set<String> = []
    /// Top-level variables declared by `let`.
    package private(set) var constants: Set<String> = []
    /// It holds an extension, an operator or a precedence group, which others use without naming it.
    package private(set) var isUsedUnnamed = false

    private let text: [UInt8]
    private var at = 0
    private var tokens: [Token] = []

    private enum Token: Equatable {
        case word(String)
        case mark(UInt8)
        case newline
    }

    package init(_ source: String) {
        text = Array(source.utf8)
        while at < text.count { step() }
        collect()
        tokens = []
    }

    // MARK: - Words and marks

    private static func isWord(_ byte: UInt8) -> Bool {
        (0x61...0x7A).contains(byte) || (0x41...0x5A).contains(byte)
            || (0x30...0x39).contains(byte) || byte == 0x5F || byte >= 0x80
    }

    private func next(_ offset: Int) -> UInt8 { at + offset < text.count ? text[at + offset] : 0 }

    private mutating func step() {
        let byte = text[at]
        if Self.isWord(byte) {
            tokens.append(.word(word()))
        } else if byte == UInt8(ascii: "/"), next(1) == UInt8(ascii: "/") {
            while at < text.count, text[at] != 0x0A { skipInText() }
        } else if byte == UInt8(ascii: "/"), next(1) == UInt8(ascii: "*") {
            skipComment()
        } else if byte == UInt8(ascii: "\"") {
            skipString(hashes: 0)
        } else if byte == UInt8(ascii: "#") {
            let start = at
            while next(0) == UInt8(ascii: "#") { at += 1 }
            if next(0) == UInt8(ascii: "\"") { skipString(hashes: at - start) }
        } else {
            tokens.append(byte == 0x0A ? .newline : .mark(byte))
            at += 1
        }
    }

    private mutating func word() -> String {
        let start = at
        while at < text.count, Self.isWord(text[at]) { at += 1 }
        let word = String(decoding: text[start..<at], as: UTF8.self)
        mentioned.insert(word)
        return word
    }

    /// One byte, or one word, that is no code; its words count as mentioned.
    private mutating func skipInText() {
        if Self.isWord(text[at]) { _ = word() } else { at += 1 }
    }

    private mutating func skipComment() {
        var depth = 0
        while at < text.count {
            if text[at] == UInt8(ascii: "/"), next(1) == UInt8(ascii: "*") {
                depth += 1
                at += 2
            } else if text[at] == UInt8(ascii: "*"), next(1) == UInt8(ascii: "/") {
                depth -= 1
                at += 2
                if depth == 0 { return }
            } else {
                skipInText()
            }
        }
    }

    private mutating func skipString(hashes: Int) {
        func closes(_ count: Int) -> Bool {
            for offset in 0..<count where next(offset) != UInt8(ascii: "\"") { return false }
            for offset in 0..<hashes where next(count + offset) != UInt8(ascii: "#") {
                return false
            }
            return true
        }
        let isLong = next(1) == UInt8(ascii: "\"") && next(2) == UInt8(ascii: "\"")
        let quotes = isLong ? 3 : 1
        at += quotes
        while at < text.count {
            if closes(quotes) {
                at += quotes + hashes
                return
            }
            if text[at] == 0x0A, !isLong { return }
            guard text[at] == UInt8(ascii: "\\") else {
                skipInText()
                continue
            }
            at += 1
            for _ in 0..<hashes where next(0) == UInt8(ascii: "#") { at += 1 }
            if next(0) == UInt8(ascii: "(") { skipInterpolation() } else { at += 1 }
        }
    }

    private mutating func skipInterpolation() {
        var depth = 0
        while at < text.count {
            switch text[at] {
            case UInt8(ascii: "("): depth += 1
            case UInt8(ascii: ")"): depth -= 1
            case UInt8(ascii: "\""):
                skipString(hashes: 0)
                continue
            default: break
            }
            skipInText()
            if depth == 0 { return }
        }
    }

    // MARK: - Declarations

    private static let types: Set<String> = [
        "struct", "class", "enum", "protocol", "actor", "extension",
    ]

    private mutating func collect() {
        /// For each open brace whether it holds a type's members; what lies in others is local.
        var scopes: [Bool] = []
        var opensType = false
        var index = 0
        while index < tokens.count {
            defer { index += 1 }
            switch tokens[index] {
            case .mark(UInt8(ascii: "{")):
                scopes.append(opensType)
                opensType = false
            case .mark(UInt8(ascii: "}")):
                // More closed than opened: the text was not understood.
                if scopes.popLast() == nil { isUsedUnnamed = true }
            case .word(let word) where !scopes.contains(false):
                let isTop = scopes.isEmpty
                if Self.types.contains(word), isDeclaration(index) {
                    opensType = true
                    if word == "extension" { isUsedUnnamed = true }
                }
                switch word {
                case "operator", "precedencegroup": isUsedUnnamed = true
                case "struct", "class", "enum", "protocol", "actor", "typealias", "func", "macro":
                    if index + 1 < tokens.count, case .word(let name) = after(index) {
                        if word != "class" || isDeclaration(index) { declared.insert(name) }
                    } else if word == "func" {
                        isUsedUnnamed = true
                    }
                case "let": pattern(from: index + 1, isTop ? \.constants : nil)
                case "var": pattern(from: index + 1, isTop ? \.variables : nil)
                case "case": pattern(from: index + 1, nil, isCase: true)
                default: break
                }
            default: break
            }
        }
        if !scopes.isEmpty { isUsedUnnamed = true }
    }

    /// `class func` and `actor.x` begin no type.
    private func isDeclaration(_ index: Int) -> Bool {
        guard case .word(let name) = after(index) else { return false }
        return !["func", "var", "let", "subscript"].contains(name)
    }

    private func after(_ index: Int) -> Token {
        tokens[(index + 1)...].first { $0 != .mark(0x20) && $0 != .mark(0x60) } ?? .newline
    }

    /// The names of a pattern or of several, through the end of the line: `a`, `(a, b)`, `a = 1, b: Int = 2`,
    /// `one(Int), two`.
    private mutating func pattern(
        from start: Int, _ list: WritableKeyPath<SourceScan, Set<String>>?, isCase: Bool = false
    ) {
        var depth = 0
        var isValue = false
        for token in tokens[start...] {
            switch token {
            case .newline where depth == 0: return
            case .mark(UInt8(ascii: ";")), .mark(UInt8(ascii: "{")): return
            case .mark(UInt8(ascii: "=")), .mark(UInt8(ascii: ":")): isValue = true
            case .mark(UInt8(ascii: "(")), .mark(UInt8(ascii: "[")): depth += 1
            case .mark(UInt8(ascii: ")")), .mark(UInt8(ascii: "]")): depth -= 1
            case .mark(UInt8(ascii: ",")) where depth <= 0: isValue = false
            case .word(let name) where !isValue && !(isCase && depth > 0):
                declared.insert(name)
                if let list { self[keyPath: list].insert(name) }
            default: break
            }
        }
    }
}

extension SourceScan {
    /// For each module the earlier ones that it can need, by their positions: those that declare a name it mentions, and
    /// those that are used unnamed.
    package static func imports(_ scans: [SourceScan]) -> [[Int]] {
        var declarers: [String: [Int]] = [:]
        var unnamed: [Int] = []
        return scans.enumerated().map { index, scan in
            var needed = Set(unnamed)
            for word in scan.mentioned {
                if let found = declarers[word] { needed.formUnion(found) }
            }
            for name in scan.declared { declarers[name, default: []].append(index) }
            if scan.isUsedUnnamed { unnamed.append(index) }
            return needed.sorted()
        }
    }
}
