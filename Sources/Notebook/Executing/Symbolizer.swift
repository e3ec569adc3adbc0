// Addresses to lines, through LLVM's symbolizer and the debug information in the compiled cells.

internal import Events
internal import Foundation

struct Symbolizer {
    let path: String

    /// A line of source that an address belongs to; inlined calls give several an address.
    struct Place: Equatable {
        var function: String
        var file: String
        var line: Int
        /// In UTF-8 bytes, from 1.
        var column: Int
    }

    /// The places of `frames`, innermost first. Empty where the tool fails: a failure without a line
    /// is still a failure worth telling.
    /// - Parameter skippingLineZero: Gives what the compiler added to a line (a release behind a call, which has line 0)
    ///   the line before it.
    func places(
        of frames: [FrameAddress], library: String, skippingLineZero: Bool = false
    ) async -> [Place] {
        let arguments =
            ["--output-style=JSON", "--inlines", "--obj=\(library)"]
            + (skippingLineZero ? ["--skip-line-zero"] : [])
            + frames.map { "0x" + String($0.offset, radix: 16) }
        guard let result = try? await Tool.run(path, arguments), result.status == 0 else {
            return []
        }
        struct Answer: Decodable {
            struct Symbol: Decodable {
                let FunctionName: String
                let FileName: String
                let Line: Int
                let Column: Int
            }
            let Symbol: [Symbol]?
        }
        // Older versions print an array for each address, newer ones a single array.
        return result.output.split(separator: "\n").flatMap { line -> [Place] in
            let data = Data(line.utf8)
            let decoder = JSONDecoder()
            let answers =
                (try? decoder.decode([Answer].self, from: data))
                ?? (try? decoder.decode(Answer.self, from: data)).map { [$0] } ?? []
            return answers.flatMap { $0.Symbol ?? [] }.map {
                Place(
                    function: $0.FunctionName, file: $0.FileName, line: $0.Line, column: $0.Column)
            }
        }
    }
}
