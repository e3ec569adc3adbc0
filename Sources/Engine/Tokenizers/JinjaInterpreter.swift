// Runs a parsed template: scopes, statements, expressions. Filters and tests are in JinjaFilters.swift,
// the methods of strings and dictionaries in JinjaMethods.swift.

struct JinjaInterpreter {
    /// What a break or continue leaves behind on its way to its loop.
    private enum Flow { case next, breaks, continues }

    /// How deep macros may call each other.
    private static let maximumDepth = 100

    private var scopes: [[UTF8Key: JinjaValue]]
    private var output = ""
    private var line = 1
    private var depth = 0
    private let time: CalendarTime?

    /// Renders a template with the given names.
    static func render(
        _ template: [JinjaStatement], variables: [(String, JinjaValue)], time: CalendarTime?
    ) throws(JinjaError) -> String {
        var interpreter = JinjaInterpreter(variables, time)
        _ = try interpreter.run(template)
        return interpreter.output
    }

    private init(_ variables: [(String, JinjaValue)], _ time: CalendarTime?) {
        var globals: [UTF8Key: JinjaValue] = [:]
        for name in ["raise_exception", "strftime_now", "namespace", "range", "dict"] {
            globals[UTF8Key(name)] = .function(name)
        }
        for (name, value) in variables { globals[UTF8Key(name)] = value }
        scopes = [globals]
        self.time = time
    }

    func fail(_ message: String) -> JinjaError { JinjaError(line: line, message: message) }

    // MARK: Scopes

    private func lookUp(_ name: String) -> JinjaValue {
        let key = UTF8Key(name)
        for scope in scopes.reversed() {
            if let value = scope[key] { return value }
        }
        return .undefined("'\(name)' is undefined")
    }

    private mutating func assign(_ target: JinjaTarget, _ value: JinjaValue) throws(JinjaError) {
        switch target {
        case .name(let name): scopes[scopes.count - 1][UTF8Key(name)] = value
        case .attribute(let name, let attribute):
            guard case .namespace(let space) = lookUp(name) else {
                throw fail("cannot assign attribute on non-namespace object")
            }
            if let index = space.values.firstIndex(where: { $0.key.hasSameBytes(as: attribute) }) {
                space.values[index].value = value
            } else {
                space.values.append((attribute, value))
            }
        }
    }

    // MARK: Statements

    private mutating func run(_ body: [JinjaStatement]) throws(JinjaError) -> Flow {
        for statement in body {
            let flow = try run(statement)
            if flow != .next { return flow }
        }
        return .next
    }

    /// What a body prints.
    private mutating func captured(_ body: [JinjaStatement]) throws(JinjaError) -> String {
        let before = output
        output = ""
        _ = try run(body)
        let result = output
        output = before
        return result
    }

    private mutating func run(_ statement: JinjaStatement) throws(JinjaError) -> Flow {
        switch statement {
        case .text(let text): output += text
        case .output(let expression, let line):
            self.line = line
            output += try evaluate(expression).text
        case .conditional(let branches, let otherwise, let line):
            self.line = line
            for (test, body) in branches where try evaluate(test).isTrue { return try run(body) }
            return try run(otherwise)
        case .loop(let targets, let sequence, let condition, let body, let otherwise, let line):
            self.line = line
            return try runLoop(targets, sequence, condition, body, otherwise)
        case .set(let targets, let expression, let line):
            self.line = line
            let value = try evaluate(expression)
            if targets.count == 1 {
                try assign(targets[0], value)
            } else {
                let parts = try elements(of: value)
                try checkCount(parts.count, targets.count)
                for (target, part) in zip(targets, parts) { try assign(target, part) }
            }
        case .setBlock(let target, let filters, let body, let line):
            scopes.append([:])
            let text = try captured(body)
            scopes.removeLast()
            self.line = line
            try assign(target, try filtered(.string(text), filters))
        case .filterBlock(let filters, let body, let line):
            scopes.append([:])
            let text = try captured(body)
            scopes.removeLast()
            self.line = line
            output += try filtered(.string(text), filters).text
        case .macro(let macro): try assign(.name(macro.name), .macro(macro))
        case .body(let body, let variables, let line):
            self.line = line
            if variables.isEmpty { return try run(body) }
            var scope: [UTF8Key: JinjaValue] = [:]
            for (name, value) in variables { scope[UTF8Key(name)] = try evaluate(value) }
            scopes.append(scope)
            let flow = try run(body)
            scopes.removeLast()
            return flow
        case .breakLoop: return .breaks
        case .continueLoop: return .continues
        }
        return .next
    }

    private mutating func runLoop(
        _ targets: [String], _ sequence: JinjaExpression, _ condition: JinjaExpression?,
        _ body: [JinjaStatement], _ otherwise: [JinjaStatement]
    ) throws(JinjaError) -> Flow {
        var items = try elements(of: try evaluate(sequence))
        if let condition {
            var kept: [JinjaValue] = []
            for item in items {
                scopes.append(try bind(targets, item))
                if try evaluate(condition).isTrue { kept.append(item) }
                scopes.removeLast()
            }
            items = kept
        }
        if items.isEmpty { return try run(otherwise) }
        for (index, item) in items.enumerated() {
            var scope = try bind(targets, item)
            scope[UTF8Key("loop")] = .loop(JinjaLoop(index: index, items: items))
            scopes.append(scope)
            let flow = try run(body)
            scopes.removeLast()
            if flow == .breaks { break }
        }
        return .next
    }

    private func bind(_ targets: [String], _ item: JinjaValue) throws(JinjaError) -> [UTF8Key:
        JinjaValue]
    {
        if targets.count == 1 { return [UTF8Key(targets[0]): item] }
        let parts = try elements(of: item)
        try checkCount(parts.count, targets.count)
        var scope: [UTF8Key: JinjaValue] = [:]
        for (target, part) in zip(targets, parts) { scope[UTF8Key(target)] = part }
        return scope
    }

    private func checkCount(_ count: Int, _ wanted: Int) throws(JinjaError) {
        if count < wanted {
            throw fail("not enough values to unpack (expected \(wanted), got \(count))")
        }
        if count > wanted { throw fail("too many values to unpack (expected \(wanted))") }
    }

    private mutating func filtered(
        _ value: JinjaValue, _ filters: [(String, JinjaArguments)]
    ) throws(JinjaError) -> JinjaValue {
        var value = value
        for (name, arguments) in filters {
            value = try filter(name, value, try evaluated(arguments))
        }
        return value
    }

    // MARK: Expressions

    private mutating func evaluated(
        _ arguments: JinjaArguments
    ) throws(JinjaError) -> JinjaCall {
        var call = JinjaCall()
        for argument in arguments.positional { call.positional.append(try evaluate(argument)) }
        for (name, value) in arguments.named { call.named.append((name, try evaluate(value))) }
        return call
    }

    private mutating func evaluate(_ expression: JinjaExpression) throws(JinjaError) -> JinjaValue {
        switch expression {
        case .literal(let value): return value
        case .name(let name): return lookUp(name)
        case .list(let elements):
            var values: [JinjaValue] = []
            for element in elements { values.append(try evaluate(element)) }
            return .list(values)
        case .dictionary(let entries):
            var values: [(key: String, value: JinjaValue)] = []
            for (key, value) in entries {
                values.append((try evaluate(key).text, try evaluate(value)))
            }
            return .dictionary(values)
        case .attribute(let object, let name): return try attribute(try evaluate(object), name)
        case .item(let object, let index):
            return try item(try evaluate(object), try evaluate(index))
        case .slice(let object, let start, let stop, let step):
            func bound(_ part: JinjaExpression?) throws(JinjaError) -> Int? {
                guard let part else { return nil }
                let value = try evaluate(part)
                if case .none = value { return nil }
                guard let whole = value.whole else {
                    throw fail("slice indices must be integers or None")
                }
                return whole
            }
            return try slice(
                try evaluate(object), try bound(start), try bound(stop), try bound(step))
        case .call(let callee, let arguments): return try call(callee, arguments)
        case .filter(let value, let name, let arguments):
            return try filter(name, try evaluate(value), try evaluated(arguments))
        case .test(let value, let name, let arguments, let isNegated):
            let holds = try test(name, try evaluate(value), try evaluated(arguments))
            return .bool(holds != isNegated)
        case .not(let value): return .bool(!(try evaluate(value).isTrue))
        case .negative(let value): return try arithmetic("-", .integer(0), try evaluate(value))
        case .positive(let value): return try evaluate(value)
        case .and(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? try evaluate(right) : value
        case .or(let left, let right):
            let value = try evaluate(left)
            return value.isTrue ? value : try evaluate(right)
        case .arithmetic(let operation, let left, let right):
            return try arithmetic(operation, try evaluate(left), try evaluate(right))
        case .concatenation(let parts):
            var text = ""
            for part in parts { text += try evaluate(part).text }
            return .string(text)
        case .comparison(let first, let chain):
            var left = try evaluate(first)
            for (operation, value) in chain {
                let right = try evaluate(value)
                if !(try compare(operation, left, right)) { return .bool(false) }
                left = right
            }
            return .bool(true)
        case .conditional(let test, let then, let otherwise):
            if try evaluate(test).isTrue { return try evaluate(then) }
            if let otherwise { return try evaluate(otherwise) }
            return .undefined("the inline if-expression evaluated to false and no else was given")
        }
    }

    func attribute(_ object: JinjaValue, _ name: String) throws(JinjaError) -> JinjaValue {
        if case .undefined(let message) = object { throw fail(message) }
        return object.entry(name)
            ?? .undefined("'\(object.kind) object' has no attribute '\(name)'")
    }

    private func item(_ object: JinjaValue, _ index: JinjaValue) throws(JinjaError) -> JinjaValue {
        switch (object, index) {
        case (.undefined(let message), _): throw fail(message)
        case (.dictionary, .string(let key)), (.namespace, .string(let key)),
            (.loop, .string(let key)):
            return try attribute(object, key)
        case (.list(let elements), _):
            guard let place = index.whole else { break }
            let real = place < 0 ? place + elements.count : place
            return elements.indices.contains(real)
                ? elements[real] : .undefined("list object has no element \(place)")
        case (.string(let text), _):
            guard let place = index.whole else { break }
            let scalars = Array(text.unicodeScalars)
            let real = place < 0 ? place + scalars.count : place
            return scalars.indices.contains(real)
                ? .string(String(scalars[real])) : .undefined("str object has no element \(place)")
        default: break
        }
        return .undefined("'\(object.kind) object' has no attribute \(index.representation)")
    }

    /// Python's slices, negative bounds and steps included.
    private func slice(
        _ object: JinjaValue, _ start: Int?, _ stop: Int?, _ step: Int?
    ) throws(JinjaError) -> JinjaValue {
        let step = step ?? 1
        if step == 0 { throw fail("slice step cannot be zero") }
        func indices(_ count: Int) -> [Int] {
            func clamp(_ bound: Int?, _ otherwise: Int) -> Int {
                guard let bound else { return otherwise }
                let real = bound < 0 ? bound + count : bound
                return step > 0 ? min(max(real, 0), count) : min(max(real, -1), count - 1)
            }
            let first = clamp(start, step > 0 ? 0 : count - 1)
            let end = clamp(stop, step > 0 ? count : -1)
            return Array(stride(from: first, to: end, by: step))
        }
        switch object {
        case .list(let elements): return .list(indices(elements.count).map { elements[$0] })
        case .string(let text):
            let scalars = Array(text.unicodeScalars)
            var result = String.UnicodeScalarView()
            for index in indices(scalars.count) { result.append(scalars[index]) }
            return .string(String(result))
        case .undefined(let message): throw fail(message)
        default: throw fail("'\(object.kind)' object cannot be sliced")
        }
    }

    /// The values that a loop goes through.
    func elements(of value: JinjaValue) throws(JinjaError) -> [JinjaValue] {
        switch value {
        case .list(let elements): return elements
        case .string(let text): return text.unicodeScalars.map { .string(String($0)) }
        case .dictionary(let entries): return entries.map { .string($0.key) }
        case .undefined: return []  // Jinja loops over nothing
        default: throw fail("'\(value.kind)' object is not iterable")
        }
    }

    // MARK: Calls

    private mutating func call(
        _ callee: JinjaExpression, _ arguments: JinjaArguments
    ) throws(JinjaError) -> JinjaValue {
        let call = try evaluated(arguments)
        if case .attribute(let object, let name) = callee {
            let object = try evaluate(object)
            if let result = try method(name, of: object, call) { return result }
            return try apply(try attribute(object, name), call)
        }
        return try apply(try evaluate(callee), call)
    }

    private mutating func apply(
        _ callee: JinjaValue, _ call: JinjaCall
    ) throws(JinjaError) -> JinjaValue {
        switch callee {
        case .function(let name): return try function(name, call)
        case .macro(let macro): return try expand(macro, call)
        case .undefined(let message): throw fail(message)
        default: throw fail("'\(callee.kind)' object is not callable")
        }
    }

    private func function(_ name: String, _ call: JinjaCall) throws(JinjaError) -> JinjaValue {
        switch name {
        case "raise_exception":
            var error = fail(call.argument(0, "message")?.text ?? "")
            error.isRaised = true
            throw error
        case "strftime_now":
            guard let time else {
                throw fail("strftime_now needs the time, which is an argument of the rendering")
            }
            return .string(time.formatted(call.argument(0, "format")?.text ?? ""))
        case "namespace":
            var values = call.named.map { (key: $0.name, value: $0.value) }
            if case .dictionary(let entries)? = call.positional.first {
                values.insert(contentsOf: entries, at: 0)
            }
            return .namespace(JinjaNamespace(values))
        case "dict": return .dictionary(call.named.map { (key: $0.name, value: $0.value) })
        default:  // range
            let bounds = call.positional.compactMap(\.whole)
            guard (1...3).contains(bounds.count), bounds.count == call.positional.count else {
                throw fail("range takes one to three integers")
            }
            let start = bounds.count > 1 ? bounds[0] : 0
            let stop = bounds.count > 1 ? bounds[1] : bounds[0]
            let step = bounds.count > 2 ? bounds[2] : 1
            if step == 0 { throw fail("range() arg 3 must not be zero") }
            // The sandbox's own limit.
            if abs((stop - start) / step) > 100_000 { throw fail("the range is too large") }
            return .list(stride(from: start, to: stop, by: step).map { .integer($0) })
        }
    }

    private mutating func expand(
        _ macro: JinjaMacro, _ call: JinjaCall
    ) throws(JinjaError) -> JinjaValue {
        if depth >= Self.maximumDepth { throw fail("macros call each other too deep") }
        if call.positional.count > macro.parameters.count {
            throw fail(
                "macro '\(macro.name)' takes not more than \(macro.parameters.count) argument(s)")
        }
        var scope: [UTF8Key: JinjaValue] = [:]
        for (index, parameter) in macro.parameters.enumerated() {
            if let value = call.argument(index, parameter.name) {
                scope[UTF8Key(parameter.name)] = value
            } else if let value = parameter.defaultValue {
                scope[UTF8Key(parameter.name)] = try evaluate(value)
            } else {
                scope[UTF8Key(parameter.name)] = .undefined(
                    "parameter '\(parameter.name)' was not provided")
            }
        }
        // A macro sees the template's names and its own, not those of the loop that calls it.
        let before = scopes
        scopes = [before[0], scope]
        depth += 1
        let text = try captured(macro.body)
        depth -= 1
        scopes = before
        return .string(text)
    }
}

/// Arguments with their values.
struct JinjaCall {
    var positional: [JinjaValue] = []
    var named: [(name: String, value: JinjaValue)] = []

    /// An argument by place or name.
    func argument(_ index: Int, _ name: String) -> JinjaValue? {
        index < positional.count ? positional[index] : named.last { $0.name == name }?.value
    }
}
