// The methods of Python's strings and dictionaries that templates call, on characters as Python counts
// them (Unicode scalars).

extension JinjaInterpreter {
    /// The result of a method, or `nil` where the value has none of that name.
    func method(
        _ name: String, of object: JinjaValue, _ call: JinjaCall
    ) throws(JinjaError) -> JinjaValue? {
        switch object {
        case .undefined(let message): throw fail(message)
        case .string(let text): return try stringMethod(name, text, call)
        case .dictionary(let entries):
            switch name {
            case "items": return .list(entries.map { .list([.string($0.key), $0.value]) })
            case "keys": return .list(entries.map { .string($0.key) })
            case "values": return .list(entries.map(\.value))
            case "get":
                let key = call.argument(0, "key")?.text ?? ""
                return object.entry(key) ?? call.argument(1, "default") ?? JinjaValue.none
            default: return nil
            }
        case .loop(let loop):
            guard name == "cycle", !call.positional.isEmpty else { return nil }
            return call.positional[loop.index % call.positional.count]
        default: return nil
        }
    }

    private func stringMethod(
        _ name: String, _ text: String, _ call: JinjaCall
    ) throws(JinjaError) -> JinjaValue? {
        func part(_ index: Int) throws(JinjaError) -> String {
            guard case .string(let part)? = call.argument(index, "") else {
                throw fail("\(name) takes a string")
            }
            return part
        }
        switch name {
        case "strip", "lstrip", "rstrip":
            var characters: String?
            if case .string(let given)? = call.argument(0, "chars") { characters = given }
            return .string(
                text.stripped(characters, left: name != "rstrip", right: name != "lstrip"))
        case "upper": return .string(text.uppercased())
        case "lower": return .string(text.lowercased())
        case "capitalize": return .string(text.capitalizedFirst)
        case "title": return .string(text.titled)
        case "startswith", "endswith":
            let wanted: [JinjaValue] =
                if case .list(let several)? = call.argument(0, "prefix") { several } else {
                    [.string(try part(0))]
                }
            return .bool(
                wanted.contains {
                    name == "startswith"
                        ? text.utf8.starts(with: $0.text.utf8)
                        : text.utf8.reversed().starts(with: $0.text.utf8.reversed())
                })
        case "replace":
            let limit = call.argument(2, "count")?.whole ?? -1
            return .string(text.replacing(try part(0), by: try part(1), limit: limit))
        case "split":
            let limit = call.argument(1, "maxsplit")?.whole ?? -1
            guard case .string(let separator)? = call.argument(0, "sep") else {
                return .list(text.words(limit: limit).map { .string($0) })
            }
            if separator.isEmpty { throw fail("empty separator") }
            return .list(text.split(byBytes: separator, limit: limit).map { .string($0) })
        case "splitlines":
            return .list(text.lines.map { .string($0) })
        case "find":
            guard let range = text.ranges(ofBytes: try part(0)).first else { return .integer(-1) }
            return .integer(text.unicodeScalars[..<range.lowerBound].count)
        case "count": return .integer(text.ranges(ofBytes: try part(0)).count)
        case "join":
            guard let list = call.argument(0, "iterable") else { throw fail("join takes a list") }
            var parts: [String] = []
            for element in try elements(of: list) { parts.append(element.text) }
            return .string(parts.joined(separator: text))
        case "removeprefix":
            let prefix = try part(0)
            return .string(
                text.utf8.starts(with: prefix.utf8)
                    ? String(decoding: text.utf8.dropFirst(prefix.utf8.count), as: UTF8.self) : text
            )
        case "removesuffix":
            let suffix = try part(0)
            return .string(
                text.utf8.reversed().starts(with: suffix.utf8.reversed())
                    ? String(decoding: text.utf8.dropLast(suffix.utf8.count), as: UTF8.self) : text)
        case "isdigit":
            return .bool(
                !text.isEmpty
                    && text.unicodeScalars.allSatisfy {
                        $0.properties.generalCategory == .decimalNumber
                    })
        case "isspace":
            return .bool(!text.isEmpty && text.unicodeScalars.allSatisfy(String.isPythonSpace))
        default: return nil
        }
    }
}

extension String {
    /// White space as Python's `str.isspace` has it: Unicode's, and the four separators U+001C to U+001F.
    static func isPythonSpace(_ scalar: Unicode.Scalar) -> Bool {
        scalar.properties.isWhitespace || (0x1C...0x1F).contains(scalar.value)
    }

    /// Without white space, or the given characters, at its ends.
    func stripped(_ characters: String?, left: Bool = true, right: Bool = true) -> String {
        func drops(_ scalar: Unicode.Scalar) -> Bool {
            characters.map { $0.unicodeScalars.contains(scalar) } ?? Self.isPythonSpace(scalar)
        }
        var scalars = unicodeScalars[...]
        if left { scalars = scalars.drop(while: drops) }
        if right { while let last = scalars.last, drops(last) { scalars.removeLast() } }
        return String(scalars)
    }

    /// Where another string's bytes occur, without overlap; nowhere for an empty one.
    func ranges(ofBytes part: String) -> [Range<String.Index>] {
        let (text, wanted) = (Array(utf8), Array(part.utf8))
        if wanted.isEmpty { return [startIndex..<startIndex] }
        var result: [Range<String.Index>] = []
        var offset = 0
        while offset + wanted.count <= text.count {
            if text[offset..<(offset + wanted.count)].elementsEqual(wanted) {
                let start = utf8.index(startIndex, offsetBy: offset)
                result.append(start..<utf8.index(start, offsetBy: wanted.count))
                offset += wanted.count
            } else {
                offset += 1
            }
        }
        return result
    }

    /// The pieces between occurrences of a separator, cut at most `limit` times (-1: always).
    func split(byBytes separator: String, limit: Int = -1) -> [String] {
        var result: [String] = []
        var start = startIndex
        for range in ranges(ofBytes: separator) {
            if limit >= 0, result.count == limit { break }
            result.append(String(decoding: utf8[start..<range.lowerBound], as: UTF8.self))
            start = range.upperBound
        }
        result.append(String(decoding: utf8[start...], as: UTF8.self))
        return result
    }

    func replacing(_ part: String, by other: String, limit: Int = -1) -> String {
        if part.isEmpty { return self }
        return split(byBytes: part, limit: limit).joined(separator: other)
    }

    /// Stretches without white space; after `limit` of them, the rest as it stands.
    func words(limit: Int) -> [String] {
        var result: [String] = []
        var rest = unicodeScalars.drop(while: Self.isPythonSpace)
        while !rest.isEmpty {
            if limit >= 0, result.count == limit {
                result.append(String(rest).stripped(nil, left: false))
                break
            }
            let word = rest.prefix { !Self.isPythonSpace($0) }
            result.append(String(word))
            rest = rest[word.endIndex...].drop(while: Self.isPythonSpace)
        }
        return result
    }

    /// Python's `splitlines`, for the line ends in use.
    var lines: [String] {
        var result = replacing("\r\n", by: "\n").replacing("\r", by: "\n").split(byBytes: "\n")
        if result.last == "" { result.removeLast() }
        return result
    }

    var capitalizedFirst: String {
        guard let first = unicodeScalars.first else { return self }
        return first.properties.titlecaseMapping
            + String(unicodeScalars.dropFirst()).lowercased()
    }

    var titled: String {
        var result = ""
        var isInside = false
        for scalar in unicodeScalars {
            let isLetter = scalar.properties.isCased
            result +=
                isLetter
                ? (isInside
                    ? scalar.properties.lowercaseMapping : scalar.properties.titlecaseMapping)
                : String(scalar)
            isInside = isLetter
        }
        return result
    }
}
