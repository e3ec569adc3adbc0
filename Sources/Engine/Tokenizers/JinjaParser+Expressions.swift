// Expressions of a chat template, loosest binding first.

extension JinjaParser {
    /// One expression, or several with commas between them: a list.
    mutating func tuple(allowsConditional: Bool = true) throws(JinjaError)
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

    mutating func expression() throws(JinjaError) -> JinjaExpression {
        var value = try or()
        while takeName("if") {
            let test = try or()
            let otherwise = takeName("else") ? try expression() : nil
            value = .conditional(test: test, then: value, otherwise: otherwise)
        }
        return value
    }

    mutating func or() throws(JinjaError) -> JinjaExpression {
        var left = try and()
        while takeName("or") { left = .or(left, try and()) }
        return left
    }

    mutating func and() throws(JinjaError) -> JinjaExpression {
        var left = try not()
        while takeName("and") { left = .and(left, try not()) }
        return left
    }

    mutating func not() throws(JinjaError) -> JinjaExpression {
        takeName("not") ? .not(try not()) : try comparison()
    }

    mutating func comparison() throws(JinjaError) -> JinjaExpression {
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

    mutating func sum() throws(JinjaError) -> JinjaExpression {
        var left = try concatenation()
        while case .symbol(let symbol) = token, symbol == "+" || symbol == "-" {
            advance()
            left = .arithmetic(symbol, left, try concatenation())
        }
        return left
    }

    mutating func concatenation() throws(JinjaError) -> JinjaExpression {
        var parts = [try product()]
        while take("~") { parts.append(try product()) }
        return parts.count == 1 ? parts[0] : .concatenation(parts)
    }

    mutating func product() throws(JinjaError) -> JinjaExpression {
        var left = try power()
        while case .symbol(let symbol) = token, ["*", "/", "//", "%"].contains(symbol) {
            advance()
            left = .arithmetic(symbol, left, try power())
        }
        return left
    }

    mutating func power() throws(JinjaError) -> JinjaExpression {
        var left = try unary()
        while take("**") { left = .arithmetic("**", left, try unary()) }
        return left
    }

    mutating func unary(takesFilters: Bool = true) throws(JinjaError) -> JinjaExpression {
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

    mutating func test(of value: JinjaExpression) throws(JinjaError) -> JinjaExpression {
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

    mutating func primary() throws(JinjaError) -> JinjaExpression {
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

    mutating func postfix(_ start: JinjaExpression) throws(JinjaError) -> JinjaExpression {
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

    mutating func subscripted(_ value: JinjaExpression) throws(JinjaError)
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
    mutating func arguments() throws(JinjaError) -> JinjaArguments {
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
