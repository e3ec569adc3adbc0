// What can be wrong with a file of prompts or questions: every bad row by its line. The readers beside it throw it.

/// A file that is not in its published layout, with each row that is not.
public struct DatasetError: Error, Sendable, Hashable, CustomStringConvertible {
    /// One row that cannot be used.
    public struct Fault: Sendable, Hashable {
        /// Where the row begins, counted from 1.
        public var line: Int
        /// What is wrong with it, without a full stop.
        public var message: String
        public init(line: Int, message: String) {
            self.line = line
            self.message = message
        }
    }

    /// The file.
    public let path: String
    /// The layout that was expected, as "AdvBench CSV (columns goal, target)".
    public let layout: String
    /// All bad rows, in order of line.
    public let faults: [Fault]

    public init(path: String, layout: String, faults: [Fault]) {
        self.path = path
        self.layout = layout
        self.faults = faults
    }

    public var description: String {
        let shown = faults.prefix(10).map { "  line \($0.line): \($0.message)." }
        let more = faults.count > 10 ? ["  and \(faults.count - 10) more."] : []
        let rows = faults.count == 1 ? "1 row that is" : "\(faults.count) rows that are"
        return
            (["\(path) has \(rows) not \(layout)."] + shown + more
            + [
                "  mend:  fetch the file again from its source, or drop those rows and say so in the study."
            ])
            .joined(separator: "\n")
    }
}

/// Collects faults while rows are read, so that a file's errors come all at once.
struct FaultCollector {
    let path: String
    let layout: String
    var faults: [DatasetError.Fault] = []

    init(path: String, layout: String) {
        self.path = path
        self.layout = layout
    }

    mutating func add(_ line: Int, _ message: String) {
        faults.append(DatasetError.Fault(line: line, message: message))
    }

    func finish<Row>(_ rows: [Row]) throws(DatasetError) -> [Row] {
        guard faults.isEmpty else {
            throw DatasetError(path: path, layout: layout, faults: faults)
        }
        return rows
    }
}
