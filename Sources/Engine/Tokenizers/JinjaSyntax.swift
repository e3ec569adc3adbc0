// What a chat template means once it is read: expressions, statements, and what may stand left of `=`.

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
