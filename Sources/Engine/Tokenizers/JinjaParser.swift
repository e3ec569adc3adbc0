// Jinja's grammar, as far as chat templates use it. Source: jinja2/parser.py, 3.1, whose precedence this
// follows; tags outside the subset are refused by name.

indirect enum JinjaExpression: Sendable {
    case literal(JinjaValue)
    case name(String)
    case list([JinjaExpression])
    case dictionary([(key: JinjaExpression, value: JinjaExpression)])
    case attribute(JinjaExpression, String)
    case item(JinjaExpression, JinjaExpression)
    case slice(JinjaExpression, JinjaExpression?, JinjaExpression?, JinjaExpression?)
    case call(JinjaExpression, JinjaArguments)
    case filter(JinjaExpression, String, JinjaArguments)
    case test(JinjaExpression, String, JinjaArguments, isNegated: Bool)
    case not(JinjaExpression)
    case negative(JinjaExpression)
    case positive(JinjaExpression)
    case and(JinjaExpression, JinjaExpression)
    case or(JinjaExpression, JinjaExpression)
    case arithmetic(String, JinjaExpression, JinjaExpression)
    case concatenation([JinjaExpression])
    /// A chain such as `a < b <= c`.
    case comparison(JinjaExpression, [(operation: String, value: JinjaExpression)])
    case conditional(test: JinjaExpression, then: JinjaExpression, otherwise: JinjaExpression?)
}

struct JinjaArguments: Sendable {
    var positional: [JinjaExpression] = []
    var named: [(name: String, value: JinjaExpression)] = []
}

indirect enum JinjaStatement: Sendable {
    case text(String)
    case output(JinjaExpression, line: Int)
    case conditional(
        [(test: JinjaExpression, body: [JinjaStatement])], otherwise: [JinjaStatement], line: Int)
    case loop(
        targets: [String], sequence: JinjaExpression, condition: JinjaExpression?,
        body: [JinjaStatement], otherwise: [JinjaStatement], line: Int)
    case set(targets: [JinjaTarget], value: JinjaExpression, line: Int)
    /// `{% set x %}…{% endset %}`, filtered where the tag says so.
    case setBlock(
        JinjaTarget, filters: [(String, JinjaArguments)], body: [JinjaStatement], line: Int)
    case filterBlock(filters: [(String, JinjaArguments)], body: [JinjaStatement], line: Int)
    case macro(JinjaMacro)
    /// A body that is rendered as it stands, in a scope of its own or not.
    case body([JinjaStatement], variables: [(String, JinjaExpression)], line: Int)
    case breakLoop
    case continueLoop
}

enum JinjaTarget: Sendable {
    case name(String)
    /// An attribute of a namespace.
    case attribute(String, String)
}

struct JinjaMacro: Sendable {
    var name: String
    var parameters: [(name: String, defaultValue: JinjaExpression?)]
    var body: [JinjaStatement]
}

struct JinjaParser {
    private let tokens: [JinjaToken]
    private var position = 0

    static func parse(_ template: String) throws(JinjaError) -> [JinjaStatement] {
        var parser = JinjaParser(tokens: try JinjaLexer.tokens(of: template))
        let (body, _) = try parser.statements(until: [])
        return body
    }

    private init(tokens: [JinjaToken]) { self.tokens = tokens }

    // MARK: Tokens

    private var token: JinjaToken.Kind { tokens[position].kind }
    private var line: Int { tokens[position].line }
    private func fail(_ message: String) -> JinjaError { JinjaError(line: line, message: message) }
    private mutating func advance() { position += 1 }

    private mutating func take(_ symbol: String) -> Bool {
        guard case .symbol(symbol) = token else { return false }
        advance()
        return true
    }
    private mutating func takeName(_ name: String) -> Bool {
        guard case .name(name) = token else { return false }
        advance()
        return true
    }
    private mutating func expect(_ symbol: String) throws(JinjaError) {
        if !take(symbol) { throw fail("\"\(symbol)\" should be here, not \(shown)") }
    }
    private mutating func expectName() throws(JinjaError) -> String {
        guard case .name(let name) = token else {
            throw fail("a name should be here, not \(shown)")
        }
        advance()
        return name
    }
    private mutating func endBlock() throws(JinjaError) {
        guard case .endBlock = token else {
            throw fail("the end of the tag should be here, not \(shown)")
        }
        advance()
    }
    private var shown: String {
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
    private mutating func statements(
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

    private mutating func block(until end: String) throws(JinjaError) -> [JinjaStatement] {
        try endBlock()
        let body = try statements(until: [end]).body
        try endBlock()
        return body
    }

    private mutating func statement(
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

    private mutating func conditional(_ line: Int) throws(JinjaError) -> JinjaStatement {
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

    private mutating func loop(_ line: Int) throws(JinjaError) -> JinjaStatement {
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

    private mutating func set(_ line: Int) throws(JinjaError) -> JinjaStatement {
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

    private mutating func macro() throws(JinjaError) -> JinjaStatement {
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
    private mutating func filterChain() throws(JinjaError) -> [(String, JinjaArguments)] {
        var result: [(String, JinjaArguments)] = []
        repeat {
            let name = try expectName()
            result.append((name, take("(") ? try arguments() : JinjaArguments()))
        } while take("|")
        return result
    }

    // MARK: Expressions

    /// One expression, or several with commas between them: a list.
    private mutating func tuple(allowsConditional: Bool = true) throws(JinjaError)
        -> JinjaExpression
    {
        let first = allowsConditional ? try expression() : try or()
        guard case .symbol(",") = token else { return first }
        var elements = [first]
        while take(",") {
            switch token {
            case .endBlock, .endOutput, .symbol(")"): return .list(elements)
            default: elements.append(allowsConditional ? try expression() : try or())
            }
        }
        return .list(elements)
    }

    private mutating func expression() throws(JinjaError) -> JinjaExpression {
        var value = try or()
        while takeName("if") {
            let test = try or()
            let otherwise = takeName("else") ? try expression() : nil
            value = .conditional(test: test, then: value, otherwise: otherwise)
        }
        return value
    }

    private mutating func or() throws(JinjaError) -> JinjaExpression {
        var left = try and()
        while takeName("or") { left = .or(left, try and()) }
        return left
    }

    private mutating func and() throws(JinjaError) -> JinjaExpression {
        var left = try not()
        while takeName("and") { left = .and(left, try not()) }
        return left
    }

    private mutating func not() throws(JinjaError) -> JinjaExpression {
        takeName("not") ? .not(try not()) : try comparison()
    }

    private mutating func comparison() throws(JinjaError) -> JinjaExpression {
        let left = try sum()
        var chain: [(operation: String, value: JinjaExpression)] = []
        while true {
            if case .symbol(let symbol) = token,
                ["==", "!=", "<", "<=", ">", ">="].contains(symbol)
            {
                advance()
                chain.append((symbol, try sum()))
            } else if takeName("in") {
                chain.append(("in", try sum()))
            } else if case .name("not") = token, case .name("in") = tokens[position + 1].kind {
                position += 2
                chain.append(("not in", try sum()))
            } else {
                return chain.isEmpty ? left : .comparison(left, chain)
            }
        }
    }

    private mutating func sum() throws(JinjaError) -> JinjaExpression {
        var left = try concatenation()
        while case .symbol(let symbol) = token, symbol == "+" || symbol == "-" {
            advance()
            left = .arithmetic(symbol, left, try concatenation())
        }
        return left
    }

    private mutating func concatenation() throws(JinjaError) -> JinjaExpression {
        var parts = [try product()]
        while take("~") { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concatenation(parts)
    }

    private mutating func product() throws(JinjaError) -> JinjaExpression {
        var left = try power()
        while case .symbol(let symbol) = token, ["*", "/", "//", "%"].contains(symbol) {
            advance()
            left = .arithmetic(symbol, left, try power())
        }
        return left
    }

    private mutating func power() throws(JinjaError) -> JinjaExpression {
        var left = try unary()
        while take("**") { left = .arithmetic("**", left, try unary()) }
        return left
    }

    private mutating func unary(takesFilters: Bool = true) throws(JinjaError) -> JinjaExpression {
        var value: JinjaExpression
        if take("-") {
            value = .negative(try unary(takesFilters: false))
        } else if take("+") {
            value = .positive(try unary(takesFilters: false))
        } else {
            value = try postfix(try primary())
        }
        while takesFilters {
            if take("|") {
                let name = try expectName()
                value = .filter(value, name, take("(") ? try arguments() : JinjaArguments())
            } else if takeName("is") {
                value = try test(of: value)
            } else if take("(") {
                value = .call(value, try arguments())
            } else {
                break
            }
        }
        return value
    }

    private mutating func test(of value: JinjaExpression) throws(JinjaError) -> JinjaExpression {
        let isNegated = takeName("not")
        let name = try expectName()
        var arguments = JinjaArguments()
        if take("(") {
            arguments = try self.arguments()
        } else {
            switch token {
            case .name("else"), .name("or"), .name("and"), .name("is"), .name("if"): break
            case .name, .string, .integer, .float, .symbol("["), .symbol("{"):
                arguments.positional = [try postfix(try primary())]
            default: break
            }
        }
        return .test(value, name, arguments, isNegated: isNegated)
    }

    private mutating func primary() throws(JinjaError) -> JinjaExpression {
        switch token {
        case .name(let name):
            advance()
            switch name {
            case "true", "True": return .literal(.bool(true))
            case "false", "False": return .literal(.bool(false))
            case "none", "None": return .literal(.none)
            default: return .name(name)
            }
        case .string(var text):
            advance()
            while case .string(let more) = token {  // neighbours are one string
                text += more
                advance()
            }
            return .literal(.string(text))
        case .integer(let value):
            advance()
            return .literal(.integer(value))
        case .float(let value):
            advance()
            return .literal(.float(value))
        case .symbol("("):
            advance()
            if take(")") { return .list([]) }
            let value = try tuple()
            try expect(")")
            return value
        case .symbol("["):
            advance()
            var elements: [JinjaExpression] = []
            while !take("]") {
                elements.append(try expression())
                if !take(",") {
                    try expect("]")
                    break
                }
            }
            return .list(elements)
        case .symbol("{"):
            advance()
            var entries: [(key: JinjaExpression, value: JinjaExpression)] = []
            while !take("}") {
                let key = try expression()
                try expect(":")
                entries.append((key, try expression()))
                if !take(",") {
                    try expect("}")
                    break
                }
            }
            return .dictionary(entries)
        default: throw fail("an expression should be here, not \(shown)")
        }
    }

    private mutating func postfix(_ start: JinjaExpression) throws(JinjaError) -> JinjaExpression {
        var value = start
        while true {
            if take(".") {
                if case .integer(let index) = token {
                    advance()
                    value = .item(value, .literal(.integer(index)))
                } else {
                    value = .attribute(value, try expectName())
                }
            } else if take("[") {
                value = try subscripted(value)
            } else if take("(") {
                value = .call(value, try arguments())
            } else {
                return value
            }
        }
    }

    private mutating func subscripted(_ value: JinjaExpression) throws(JinjaError)
        -> JinjaExpression
    {
        var parts: [JinjaExpression?] = []
        var isSlice = false
        var current: JinjaExpression?
        while !take("]") {
            if take(":") {
                isSlice = true
                parts.append(current)
                current = nil
            } else {
                current = try tuple()
            }
        }
        parts.append(current)
        if isSlice {
            guard parts.count <= 3 else { throw fail("a slice has at most three parts") }
            return .slice(value, parts[0], parts[1], parts.count > 2 ? parts[2] : nil)
        }
        guard let index = current else { throw fail("an index should be here") }
        return .item(value, index)
    }

    /// Arguments after the opening bracket.
    private mutating func arguments() throws(JinjaError) -> JinjaArguments {
        var result = JinjaArguments()
        while !take(")") {
            if case .name(let name) = token, case .symbol("=") = tokens[position + 1].kind {
                position += 2
                result.named.append((name, try expression()))
            } else {
                if !result.named.isEmpty { throw fail("a plain argument follows a named one") }
                result.positional.append(try expression())
            }
            if !take(",") {
                try expect(")")
                break
            }
        }
        return result
    }
}
