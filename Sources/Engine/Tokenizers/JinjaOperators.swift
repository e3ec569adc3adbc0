// What `+`, `<`, `in` and their like give in a chat template.

extension JinjaInterpreter {
    func arithmetic(
        _ operation: String, _ left: JinjaValue, _ right: JinjaValue
    ) throws(JinjaError) -> JinjaValue {
        if case .undefined(let message) = left { throw fail(message) }
        if case .undefined(let message) = right { throw fail(message) }
        switch (operation, left, right) {
        case ("+", .string(let a), .string(let b)): return .string(a + b)
        case ("+", .list(let a), .list(let b)): return .list(a + b)
        case ("*", .string(let text), let count), ("*", let count, .string(let text)):
            if let count = count.whole {
                return .string(String(repeating: text, count: max(0, min(count, 1 << 20))))
            }
        case ("*", .list(let list), let count), ("*", let count, .list(let list)):
            if let count = count.whole {
                return .list(
                    Array(repeatElement(list, count: max(0, min(count, 1 << 20))).joined()))
            }
        default: break
        }
        if let a = left.whole, let b = right.whole, operation != "/" {
            if let result = try integers(operation, a, b) { return .integer(result) }
        }
        guard let a = left.number, let b = right.number else {
            throw fail(
                operation == "+" && left.kind == "str"
                    ? "can only concatenate str (not \"\(right.kind)\") to str"
                    : "unsupported operand type(s) for \(operation): '\(left.kind)' and "
                        + "'\(right.kind)'")
        }
        if b == 0, ["/", "//", "%"].contains(operation) { throw fail("division by zero") }
        switch operation {
        case "+": return .float(a + b)
        case "-": return .float(a - b)
        case "*": return .float(a * b)
        case "/": return .float(a / b)
        case "//": return .float((a / b).rounded(.down))
        case "%": return .float(a - b * (a / b).rounded(.down))
        default: throw fail("\(operation) of numbers with a fraction is not implemented")
        }
    }

    /// `nil` for a negative power, which is no integer.
    private func integers(_ operation: String, _ a: Int, _ b: Int) throws(JinjaError) -> Int? {
        let (result, overflow): (Int, Bool)
        switch operation {
        case "+": (result, overflow) = a.addingReportingOverflow(b)
        case "-": (result, overflow) = a.subtractingReportingOverflow(b)
        case "*": (result, overflow) = a.multipliedReportingOverflow(by: b)
        case "//", "%":
            if b == 0 { throw fail("integer division or modulo by zero") }
            let (quotient, remainder) = a.quotientAndRemainder(dividingBy: b)
            let isDown = remainder != 0 && (remainder < 0) != (b < 0)
            return operation == "//"
                ? quotient - (isDown ? 1 : 0) : remainder + (isDown ? b : 0)
        default:
            guard b >= 0 else { return nil }
            var (product, hasOverflown) = (1, false)
            for _ in 0..<min(b, 64) where a != 1 && a != 0 {
                let (next, isOver) = product.multipliedReportingOverflow(by: a)
                (product, hasOverflown) = (next, hasOverflown || isOver)
            }
            (result, overflow) = (a == 0 && b > 0 ? 0 : product, hasOverflown)
        }
        if overflow { throw fail("an integer is beyond 64 bits") }
        return result
    }

    func compare(
        _ operation: String, _ left: JinjaValue, _ right: JinjaValue
    ) throws(JinjaError) -> Bool {
        switch operation {
        case "==": return left.equals(right)
        case "!=": return !left.equals(right)
        case "in": return try contains(right, left)
        case "not in": return !(try contains(right, left))
        default:
            let isLess: Bool
            let isEqual = left.equals(right)
            if let a = left.number, let b = right.number {
                isLess = a < b
            } else if case .string(let a) = left, case .string(let b) = right {
                isLess = a.precedesInBytes(b)
            } else {
                throw fail(
                    "'\(operation)' not supported between instances of '\(left.kind)' and "
                        + "'\(right.kind)'")
            }
            switch operation {
            case "<": return isLess
            case "<=": return isLess || isEqual
            case ">": return !isLess && !isEqual
            default: return !isLess
            }
        }
    }

    func contains(_ container: JinjaValue, _ value: JinjaValue) throws(JinjaError) -> Bool {
        switch (container, value) {
        case (.list(let elements), _): return elements.contains { $0.equals(value) }
        case (.dictionary, .string(let key)): return container.entry(key) != nil
        case (.dictionary, _): return false
        case (.string(let text), .string(let part)): return text.ranges(ofBytes: part).first != nil
        case (.string, _):
            throw fail("'in <string>' requires string as left operand, not \(value.kind)")
        case (.undefined(let message), _): throw fail(message)
        default: throw fail("argument of type '\(container.kind)' is not iterable")
        }
    }
}
