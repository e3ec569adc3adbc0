// The values that a study's `params` take: typed by their defaults, set with `-p name=value`.

/// A parameter of a study: its name, default, and a sentence for `study run FILE --help`.
package struct Parameter: Sendable, Equatable {
    package let name: String
    package let defaultValue: ParameterValue
    package let help: String
    package let place: SourcePlace
}

/// A value of one of the types that `params` may have.
package enum ParameterValue: Sendable, Equatable, CustomStringConvertible {
    case integer(Int)
    case number(Double)
    case boolean(Bool)
    case text(String)
    case integers([Int])
    case numbers([Double])
    case texts([String])

    /// The type as a cell sees it.
    package var swiftType: String {
        switch self {
        case .integer: "Int"
        case .number: "Double"
        case .boolean: "Bool"
        case .text: "String"
        case .integers: "[Int]"
        case .numbers: "[Double]"
        case .texts: "[String]"
        }
    }

    /// As `-p name=value` takes it; lists by commas.
    package var description: String {
        switch self {
        case .integer(let value): String(value)
        case .number(let value): String(value)
        case .boolean(let value): String(value)
        case .text(let value): value
        case .integers(let values): values.map(String.init).joined(separator: ",")
        case .numbers(let values): values.map { String($0) }.joined(separator: ",")
        case .texts(let values): values.joined(separator: ",")
        }
    }

    /// `text` read as a value of this one's type, or nothing where it is none.
    package func replaced(by text: String) -> ParameterValue? {
        let items = text.isEmpty ? [] : text.split(separator: ",", omittingEmptySubsequences: false)
        func all<T>(_ convert: (String) -> T?) -> [T]? {
            let values = items.compactMap { convert(String($0)) }
            return values.count == items.count ? values : nil
        }
        func finite(_ text: String) -> Double? {
            Double(text).flatMap { $0.isFinite ? $0 : nil }
        }
        return switch self {
        case .integer: Int(text).map(ParameterValue.integer)
        case .number: finite(text).map(ParameterValue.number)
        case .boolean: Bool(text).map(ParameterValue.boolean)
        case .text: .text(text)
        case .integers: all { Int($0) }.map(ParameterValue.integers)
        case .numbers: all(finite).map(ParameterValue.numbers)
        case .texts: .texts(items.map(String.init))
        }
    }
}
