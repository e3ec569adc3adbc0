// Jinja's filters and tests, as far as chat templates use them. Source: jinja2/filters.py and tests.py,
// 3.1; `tojson` is transformers' own, which keeps characters beyond ASCII.

extension JinjaInterpreter {
    func filter(
        _ name: String, _ value: JinjaValue, _ call: JinjaCall
    ) throws(JinjaError) -> JinjaValue {
        switch name {
        case "trim":
            var characters: String?
            if case .string(let given)? = call.argument(0, "chars") { characters = given }
            return .string(value.text.stripped(characters))
        case "upper": return .string(value.text.uppercased())
        case "lower": return .string(value.text.lowercased())
        case "capitalize": return .string(value.text.capitalizedFirst)
        case "title": return .string(value.text.titled)
        case "string": return .string(value.text)
        case "safe", "e", "escape", "forceescape": return .string(escaped(name, value.text))
        case "length", "count": return .integer(try length(value))
        case "list": return .list(try elements(of: value))
        case "default", "d":
            let isMissing =
                if case .undefined = value { true } else {
                    call.argument(1, "boolean")?.isTrue == true && !value.isTrue
                }
            return isMissing ? call.argument(0, "default_value") ?? .string("") : value
        case "replace":
            return .string(
                value.text.replacing(
                    call.argument(0, "old")?.text ?? "", by: call.argument(1, "new")?.text ?? "",
                    limit: call.argument(2, "count")?.whole ?? -1))
        case "join":
            let separator = call.argument(0, "d")?.text ?? ""
            var parts = try elements(of: value)
            if let name = call.argument(1, "attribute")?.text {
                parts = try parts.mapping(name, self)
            }
            return .string(parts.map(\.text).joined(separator: separator))
        case "first":
            return try elements(of: value).first ?? .undefined("No first item, sequence was empty.")
        case "last":
            return try elements(of: value).last ?? .undefined("No last item, sequence was empty.")
        case "reverse":
            if case .string(let text) = value {
                var reversed = String.UnicodeScalarView()
                reversed.append(contentsOf: text.unicodeScalars.reversed())
                return .string(String(reversed))
            }
            return .list(try elements(of: value).reversed())
        case "tojson": return .string(try json(value, call))
        case "int": return .integer(integer(value) ?? call.argument(0, "default")?.whole ?? 0)
        case "float":
            if case .string(let text) = value { return .float(Double(text.stripped(nil)) ?? 0) }
            return .float(value.number ?? 0)
        case "abs":
            if let whole = value.whole { return .integer(abs(whole)) }
            guard let number = value.number else { throw fail("abs takes a number") }
            return .float(abs(number))
        case "items":
            guard case .dictionary(let entries) = value else {
                if case .undefined = value { return .list([]) }
                throw fail("Can only get item pairs from a mapping.")
            }
            return .list(entries.map { .list([.string($0.key), $0.value]) })
        case "dictsort":
            guard case .dictionary(let entries) = value else {
                throw fail("dictsort takes a mapping")
            }
            let sorted = entries.sorted { $0.key.lowercased().precedesInBytes($1.key.lowercased()) }
            return .list(sorted.map { .list([.string($0.key), $0.value]) })
        case "unique":
            var result: [JinjaValue] = []
            for element in try elements(of: value)
            where !result.contains(where: { $0.equals(element) }) {
                result.append(element)
            }
            return .list(result)
        case "sort": return try sorted(value, call)
        case "map": return try mapped(value, call)
        case "select", "reject", "selectattr", "rejectattr": return try selected(name, value, call)
        case "indent": return .string(indented(value.text, call))
        default: throw fail("No filter named '\(name)'.")
        }
    }

    private func escaped(_ name: String, _ text: String) -> String {
        if name == "safe" { return text }
        return text.replacing("&", by: "&amp;").replacing("<", by: "&lt;")
            .replacing(">", by: "&gt;").replacing("'", by: "&#39;").replacing("\"", by: "&#34;")
    }

    private func length(_ value: JinjaValue) throws(JinjaError) -> Int {
        switch value {
        case .string(let text): return text.unicodeScalars.count
        case .list(let elements): return elements.count
        case .dictionary(let entries): return entries.count
        case .undefined: return 0
        default: throw fail("object of type '\(value.kind)' has no len()")
        }
    }

    private func integer(_ value: JinjaValue) -> Int? {
        if case .string(let text) = value {
            let text = text.stripped(nil)
            return Int(text) ?? Double(text).flatMap { Int(exactly: $0.rounded(.towardZero)) }
        }
        return value.whole ?? value.number.flatMap { Int(exactly: $0.rounded(.towardZero)) }
    }

    private func json(_ value: JinjaValue, _ call: JinjaCall) throws(JinjaError) -> String {
        if case .undefined = value {
            throw fail("Object of type Undefined is not JSON serializable")
        }
        guard let json = value.json else {
            throw fail("Object of type \(value.kind) is not JSON serializable")
        }
        var layout = JSONValue.Layout(colon: ": ", comma: ", ")
        layout.indentation = call.argument(0, "indent")?.whole
        layout.sortsKeys = call.argument(4, "sort_keys")?.isTrue ?? false
        layout.escapesNonASCII = call.argument(1, "ensure_ascii")?.isTrue ?? false
        if case .list(let separators)? = call.argument(2, "separators"), separators.count == 2 {
            layout.comma = separators[0].text
            layout.colon = separators[1].text
        }
        return json.text(layout)
    }

    private func sorted(_ value: JinjaValue, _ call: JinjaCall) throws(JinjaError) -> JinjaValue {
        var keyed: [(key: JinjaValue, value: JinjaValue)] = []
        let isCaseSensitive = call.argument(1, "case_sensitive")?.isTrue ?? false
        for element in try elements(of: value) {
            var key = element
            if let name = call.argument(2, "attribute")?.text { key = try attribute(element, name) }
            if case .string(let text) = key, !isCaseSensitive { key = .string(text.lowercased()) }
            keyed.append((key, element))
        }
        // An insertion sort: stable, and it can throw.
        var result: [(key: JinjaValue, value: JinjaValue)] = []
        let isReversed = call.argument(0, "reverse")?.isTrue ?? false
        for entry in keyed {
            var place = result.count
            while place > 0 {
                let isOut =
                    isReversed
                    ? try compare("<", result[place - 1].key, entry.key)
                    : try compare("<", entry.key, result[place - 1].key)
                if !isOut { break }
                place -= 1
            }
            result.insert(entry, at: place)
        }
        return .list(result.map(\.value))
    }

    private func mapped(_ value: JinjaValue, _ call: JinjaCall) throws(JinjaError) -> JinjaValue {
        let parts = try elements(of: value)
        if let name = call.argument(1 << 20, "attribute")?.text {
            return .list(
                try parts.mapping(name, self, otherwise: call.argument(1 << 20, "default")))
        }
        guard let name = call.positional.first?.text else {
            throw fail("map requires a filter argument")
        }
        var rest = call
        rest.positional.removeFirst()
        var result: [JinjaValue] = []
        for part in parts { result.append(try filter(name, part, rest)) }
        return .list(result)
    }

    private func selected(
        _ name: String, _ value: JinjaValue, _ call: JinjaCall
    ) throws(JinjaError) -> JinjaValue {
        var rest = call
        var attributeName: String?
        if name.hasSuffix("attr") {
            guard !rest.positional.isEmpty else { throw fail("\(name) takes an attribute") }
            attributeName = rest.positional.removeFirst().text
        }
        let testName = rest.positional.isEmpty ? nil : rest.positional.removeFirst().text
        var result: [JinjaValue] = []
        for element in try elements(of: value) {
            let subject =
                try attributeName.map { (name) throws(JinjaError) in try attribute(element, name) }
                ?? element
            let holds =
                try testName.map { (name) throws(JinjaError) in try test(name, subject, rest) }
                ?? subject.isTrue
            if holds == name.hasPrefix("select") { result.append(element) }
        }
        return .list(result)
    }

    private func indented(_ text: String, _ call: JinjaCall) -> String {
        var margin = String(repeating: " ", count: 4)
        switch call.argument(0, "width") {
        case .string(let given)?: margin = given
        case let given?: margin = String(repeating: " ", count: max(0, given.whole ?? 4))
        case nil: break
        }
        let indentsFirst = call.argument(1, "first")?.isTrue ?? false
        let indentsBlank = call.argument(2, "blank")?.isTrue ?? false
        let lines = text.split(byBytes: "\n").enumerated().map { index, line in
            (index > 0 || indentsFirst) && (indentsBlank || !line.isEmpty) ? margin + line : line
        }
        return lines.joined(separator: "\n")
    }

    // MARK: Tests

    func test(_ name: String, _ value: JinjaValue, _ call: JinjaCall) throws(JinjaError) -> Bool {
        switch name {
        case "defined": if case .undefined = value { return false } else { return true }
        case "undefined": if case .undefined = value { return true } else { return false }
        case "none": if case .none = value { return true } else { return false }
        case "boolean": if case .bool = value { return true } else { return false }
        case "true": if case .bool(true) = value { return true } else { return false }
        case "false": if case .bool(false) = value { return true } else { return false }
        case "string": if case .string = value { return true } else { return false }
        case "integer": if case .integer = value { return true } else { return false }
        case "float": if case .float = value { return true } else { return false }
        case "number": return value.number != nil
        case "mapping": if case .dictionary = value { return true } else { return false }
        case "iterable", "sequence":
            switch value {
            case .list, .string, .dictionary: return true
            case .undefined: return name == "iterable"
            default: return false
            }
        case "callable":
            switch value {
            case .macro, .function: return true
            default: return false
            }
        case "odd", "even", "divisibleby":
            guard let whole = value.whole else { throw fail("\(name) takes an integer") }
            let divisor = name == "divisibleby" ? call.argument(0, "num")?.whole ?? 0 : 2
            if divisor == 0 { throw fail("integer division or modulo by zero") }
            return (whole % divisor == 0) != (name == "odd")
        case "lower": return value.text.hasSameBytes(as: value.text.lowercased())
        case "upper": return value.text.hasSameBytes(as: value.text.uppercased())
        case "equalto", "eq", "sameas":
            return value.equals(call.argument(0, "other") ?? JinjaValue.none)
        case "ne": return !value.equals(call.argument(0, "other") ?? JinjaValue.none)
        case "in", "lt", "le", "gt", "ge", "lessthan", "greaterthan":
            let operations = [
                "in": "in", "lt": "<", "le": "<=", "gt": ">", "ge": ">=", "lessthan": "<",
                "greaterthan": ">",
            ]
            return try compare(
                operations[name]!, value, call.argument(0, "other") ?? JinjaValue.none)
        default: throw fail("No test named '\(name)'.")
        }
    }
}

extension [JinjaValue] {
    /// An attribute of each; dots go deeper.
    fileprivate func mapping(
        _ path: String, _ interpreter: JinjaInterpreter, otherwise: JinjaValue? = nil
    ) throws(JinjaError) -> [JinjaValue] {
        var result: [JinjaValue] = []
        for element in self {
            var value = element
            for name in path.split(separator: ".") {
                value = try interpreter.attribute(value, String(name))
            }
            if case .undefined = value, let otherwise { value = otherwise }
            result.append(value)
        }
        return result
    }
}
