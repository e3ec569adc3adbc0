// Jinja's grammar, as far as chat templates use it. Source: jinja2/parser.py, 3.1, whose precedence this
// follows; tags outside the subset are refused by name.

struct JinjaParser {
    let tokens: [JinjaToken]
    var position = 0

    static func parse(_ template: String) throws(JinjaError) -> [JinjaStatement] {
        var parser = JinjaParser(tokens: try JinjaLexer.tokens(of: template))
        let (body, _) = try parser.statements(until: [])
        return body
    }

    private init(tokens: [JinjaToken]) { self.tokens = tokens }

    // MARK: Tokens

    var token: JinjaToken.Kind { tokens[position].kind }
    var line: Int { tokens[position].line }
    func fail(_ message: String) -> JinjaError { JinjaError(line: line, message: message) }
    mutating func advance() { position += 1 }

    mutating func take(_ symbol: String) -> Bool {
        guard case .symbol(symbol) = token else { return false }
        advance()
        return true
    }
    mutating func takeName(_ name: String) -> Bool {
        guard case .name(name) = token else { return false }
        advance()
        return true
    }
    mutating func expect(_ symbol: String) throws(JinjaError) {
        if !take(symbol) { throw fail("\"\(symbol)\" should be here, not \(shown)") }
    }
    mutating func expectName() throws(JinjaError) -> String {
        guard case .name(let name) = token else {
            throw fail("a name should be here, not \(shown)")
        }
        advance()
        return name
    }
    mutating func endBlock() throws(JinjaError) {
        guard case .endBlock = token else {
            throw fail("the end of the tag should be here, not \(shown)")
        }
        advance()
    }
    var shown: String {
        switch token {
        case .text: "text"
        case .beginOutput: "{{"
        case .endOutput: "}}"
        case .beginBlock: "{%"
        case .endBlock: "%}"
        case .name(let name): "\"\(name)\""
        case .string: "a string"
        case .integer, .float: "a number"
        case .symbol(let symbol): "\"\(symbol)\""
        case .end: "the end of the template"
        }
    }

    // MARK: Statements

    /// Statements up to one of the tags named, which is taken, and its name.
    mutating func statements(
        until ends: [String]
    ) throws(JinjaError) -> (body: [JinjaStatement], end: String) {
        let start = line
        var body: [JinjaStatement] = []
        while true {
            switch token {
            case .end:
                if ends.isEmpty { return (body, "") }
                throw JinjaError(line: start, message: "{% \(ends.last!) %} is missing")
            case .text(let text):
                body.append(.text(text))
                advance()
            case .beginOutput:
                advance()
                let place = line
                body.append(.output(try tuple(), line: place))
                guard case .endOutput = token else {
                    throw fail("}} should be here, not \(shown)")
                }
                advance()
            case .beginBlock:
                advance()
                let place = line
                let tag = try expectName()
                if ends.contains(tag) { return (body, tag) }
                body.append(try statement(tag, place))
            default: throw fail("\(shown) should not be here")
            }
        }
    }

    mutating func block(until end: String) throws(JinjaError) -> [JinjaStatement] {
        try endBlock()
        let body = try statements(until: [end]).body
        try endBlock()
        return body
    }

    mutating func statement(
        _ tag: String, _ line: Int
    ) throws(JinjaError) -> JinjaStatement {
        switch tag {
        case "if": return try conditional(line)
        case "for": return try loop(line)
        case "set": return try set(line)
        case "macro": return try macro()
        case "break":
            try endBlock()
            return .breakLoop
        case "continue":
            try endBlock()
            return .continueLoop
        case "generation":  // marks the assistant's text for training masks; prints its body
            return .body(try block(until: "endgeneration"), variables: [], line: line)
        case "with":
            var variables: [(String, JinjaExpression)] = []
            while case .name(let name) = token {
                advance()
                try expect("=")
                variables.append((name, try expression()))
                if !take(",") { break }
            }
            return .body(try block(until: "endwith"), variables: variables, line: line)
        case "filter":
            let filters = try filterChain()
            return .filterBlock(filters: filters, body: try block(until: "endfilter"), line: line)
        default: throw JinjaError(line: line, message: "the tag {% \(tag) %} is not implemented")
        }
    }

    mutating func conditional(_ line: Int) throws(JinjaError) -> JinjaStatement {
        var branches: [(test: JinjaExpression, body: [JinjaStatement])] = []
        var test = try tuple()
        while true {
            try endBlock()
            let (body, end) = try statements(until: ["elif", "else", "endif"])
            branches.append((test, body))
            if end == "elif" {
                test = try tuple()
                continue
            }
            let otherwise = end == "else" ? try block(until: "endif") : []
            if end == "endif" { try endBlock() }
            return .conditional(branches, otherwise: otherwise, line: line)
        }
    }

    mutating func loop(_ line: Int) throws(JinjaError) -> JinjaStatement {
        let isGrouped = take("(")
        var targets = [try expectName()]
        while take(",") {
            guard case .name = token else { break }
            targets.append(try expectName())
        }
        if isGrouped { try expect(")") }
        guard takeName("in") else { throw fail("\"in\" should be here, not \(shown)") }
        let sequence = try tuple(allowsConditional: false)
        let condition = takeName("if") ? try expression() : nil
        if takeName("recursive") { throw fail("recursive loops are not implemented") }
        try endBlock()
        let (body, end) = try statements(until: ["else", "endfor"])
        let otherwise = end == "else" ? try block(until: "endfor") : []
        if end == "endfor" { try endBlock() }
        return .loop(
            targets: targets, sequence: sequence, condition: condition, body: body,
            otherwise: otherwise, line: line)
    }

    mutating func set(_ line: Int) throws(JinjaError) -> JinjaStatement {
        var targets: [JinjaTarget] = []
        repeat {
            let name = try expectName()
            targets.append(take(".") ? .attribute(name, try expectName()) : .name(name))
        } while take(",")
        if take("=") {
            let value = try tuple()
            try endBlock()
            return .set(targets: targets, value: value, line: line)
        }
        guard targets.count == 1 else { throw fail("\"=\" should be here, not \(shown)") }
        let filters = take("|") ? try filterChain() : []
        return .setBlock(
            targets[0], filters: filters, body: try block(until: "endset"), line: line)
    }

    mutating func macro() throws(JinjaError) -> JinjaStatement {
        let name = try expectName()
        try expect("(")
        var parameters: [(name: String, defaultValue: JinjaExpression?)] = []
        while !take(")") {
            let parameter = try expectName()
            parameters.append((parameter, take("=") ? try expression() : nil))
            if !take(",") {
                try expect(")")
                break
            }
        }
        return .macro(
            JinjaMacro(name: name, parameters: parameters, body: try block(until: "endmacro")))
    }

    /// `trim | upper(…)`, after the first bar.
    mutating func filterChain() throws(JinjaError) -> [(String, JinjaArguments)] {
        var result: [(String, JinjaArguments)] = []
        repeat {
            let name = try expectName()
            result.append((name, take("(") ? try arguments() : JinjaArguments()))
        } while take("|")
        return result
    }
}
