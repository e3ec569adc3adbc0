// What a study is made of: cells, other code, prose, and the values in its sentences.

/// A fenced `swift` block.
package struct Cell: Sendable, Equatable {
    /// The position among the study's cells, from 0; those with `eval: false` count too.
    package let index: Int
    /// From `//| id:`, or "cell-" and the position from 1.
    package let id: String
    package let options: CellOptions
    /// The block's lines as they stand in the Markdown, options included, fences not.
    package let source: String
    /// The line of `source`'s first line.
    package let firstLine: Int
    /// The line of `source`'s last line; one before `firstLine` where the block is empty.
    package let lastLine: Int
}

/// The `//| key: value` lines at the top of a cell.
package struct CellOptions: Sendable, Equatable {
    /// False: shown, not compiled and not run.
    package var evaluated = true
    /// False: the cell is not shown in the report; its output is.
    package var shown = true
    /// True: the values that later cells take from it are stored, and `study replay --cell` may use them instead of
    /// running it.
    package var isCached = false
    /// In seconds; nothing where the cell may take as long as it likes.
    package var timeout: Double?

    package init() {}
    package static let known = ["id", "eval", "echo", "timeout", "cache"]
}

/// `` `{swift} expression` `` in prose: the number in the text is the number that the run computed.
package struct InlineValue: Sendable, Equatable {
    /// The position among the study's inline values, from 0; `Event.inlineValue` carries it.
    package let index: Int
    package let expression: String
    /// Where the expression's first character stands.
    package let place: SourcePlace
    /// The cell after which it is evaluated; nothing before the first evaluated cell.
    package let cell: Int?
    /// The code span with its backticks, in UTF-8 bytes of the study's text.
    package let bytes: Range<Int>
}

/// A stretch of the document between cells, or one of them.
package enum StudyBlock: Sendable, Equatable {
    /// Markdown as it stands, with the range of its lines and the values within.
    case prose(markdown: String, lines: ClosedRange<Int>, inlineValues: [Int])
    /// `StudyFile.cells[index]`.
    case cell(index: Int)
    /// A fenced block in another language; shown and not run.
    case code(language: String, source: String, lines: ClosedRange<Int>)
}
