// Why a run did not go through, in words and with its place in the Markdown.

internal import Events
internal import Foundation

/// The end of a cell that did not go well.
package struct CellFailure: Error, Sendable, Equatable {
    package enum Reason: String, Sendable {
        case thrown, trap, signal, timeout, memory, exit, kernel
        /// The recorder could not go on: a full disk, an input that is not the pinned one.
        case recorder
    }
    package var cell: Int
    package var reason: Reason
    package var message: String
    /// Where in the study; nil where the cell is all that is known, as of one that was killed from outside.
    package var place: SourcePlace?
    /// Other places of the study on the way there, innermost first.
    package var calledFrom: [SourcePlace] = []
    package var mend = ""

    package init(
        cell: Int, reason: Reason, message: String, place: SourcePlace?,
        calledFrom: [SourcePlace] = [], mend: String = ""
    ) {
        self.cell = cell
        self.reason = reason
        self.message = message
        self.place = place
        self.calledFrom = calledFrom
        self.mend = mend
    }

    /// As a reader sees it.
    package func rendered(_ study: StudyFile) -> String {
        // An error's further lines (where, mend) come after the excerpt.
        let lines = message.split(separator: "\n", maxSplits: 1)
        var first = String(lines.first ?? "")
        if place == nil, study.cells.indices.contains(cell) {
            let cell = study.cells[cell]
            first = "in cell '\(cell.id)', lines \(cell.firstLine) to \(cell.lastLine): \(first)"
        }
        var text = Diagnostic(path: study.path, place: place, message: first, mend: mend)
            .rendered(excerptFrom: study.text)
        if lines.count > 1 { text += "\n\(lines[1])" }
        for caller in calledFrom.prefix(8) {
            text +=
                "\n"
                + Diagnostic(
                    .note, path: study.path, place: caller, message: "called from here"
                ).rendered(excerptFrom: study.text)
        }
        return text
    }
}

/// What is known when a session stops early, before addresses have become lines.
struct RawFailure {
    var cell: Int
    var reason: CellFailure.Reason
    var message: String
    var code = 0
    var frames: [FrameAddress] = []
    /// What the cell wrote last on standard error: Swift's runtime says there why it trapped.
    var lastErrors = ""
    /// `errno` when it happened.
    var errorNumber = 0
}

extension CellFailure {
    /// Finds the place with `llvm-symbolizer`; without one, the cell is named and its lines.
    init(
        _ raw: RawFailure, in study: StudyFile, sourceName: String, library: String,
        toolchain: Toolchain
    ) async {
        var trace: [Symbolizer.Place] = []
        // Where a dynamic library was loaded by another name, the file is still ours.
        let frames = raw.frames.filter { $0.object == library || $0.object.hasSuffix("/study.so") }
        if !frames.isEmpty, let symbolizer = toolchain.symbolizer {
            let symbolizer = Symbolizer(path: symbolizer)
            trace = await symbolizer.places(of: frames, library: library)
            if !trace.contains(where: { $0.line > 0 && $0.file.hasSuffix(sourceName) }) {
                trace = await symbolizer.places(
                    of: frames, library: library, skippingLineZero: true)
            }
        }
        let places = trace.filter { $0.line > 0 && $0.file.hasSuffix(sourceName) }.map {
            SourcePlace(
                line: $0.line,
                column: CompilerOutput.character($0.column, line: $0.line, in: study.text))
        }
        var callers: [SourcePlace] = []
        for place in places.dropFirst() where place != places.first && !callers.contains(place) {
            callers.append(place)
        }
        self.init(
            cell: raw.cell, reason: raw.reason, message: raw.message, place: places.first,
            calledFrom: callers)
        if raw.reason == .trap || raw.reason == .signal {
            message = Self.trapMessage(raw, trace)
            if message.contains("failed to allocate") { reason = .memory }
        }
    }

    private static func trapMessage(_ raw: RawFailure, _ trace: [Symbolizer.Place]) -> String {
        if raw.message == "stack overflow" {
            return "the stack overflowed: a function calls itself without end, or too deep"
        }
        // `Module/file.swift:12: Fatal error: words`
        let fatal = raw.lastErrors.split(separator: "\n").last { $0.contains("Fatal error") }
        if let fatal, let range = fatal.firstRange(of: "Fatal error") {
            let words = fatal[range.upperBound...].drop { $0 == ":" || $0 == " " }
            return words.isEmpty ? "fatal error" : "fatal error: \(words)"
        }
        if let cast = raw.lastErrors.split(separator: "\n").last, cast.hasPrefix("Could not cast") {
            return "c" + cast.dropFirst()
        }
        let marker = "Swift runtime failure: "
        if let name = trace.first(where: { $0.function.hasPrefix(marker) })?.function {
            return String(name.dropFirst(marker.count)).prefix(1).lowercased()
                + name.dropFirst(marker.count + 1)
        }
        let number = Int32(truncatingIfNeeded: raw.code)
        switch number {
        case SIGILL, SIGTRAP: return "the cell trapped"
        case SIGSEGV: return "the cell touched memory that is not its own (SIGSEGV)"
        case SIGBUS: return "the cell touched a mapped file beyond its end (SIGBUS)"
        case SIGFPE: return "the processor refused an integer division (SIGFPE)"
        case SIGABRT: return "the cell aborted (SIGABRT)"
        default: return "signal \(number) (\(String(cString: strsignal(number)))) ended the cell"
        }
    }
}
