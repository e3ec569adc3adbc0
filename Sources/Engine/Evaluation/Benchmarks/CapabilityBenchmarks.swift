// Readers of the files that capability is measured on: MMLU, HellaSwag and GSM8K, as published. How they are
// prompted and scored is in ../MultipleChoice.swift and ../ArithmeticAnswer.swift.

/// One question of MMLU (`SUBJECT_test.csv`, no header): question, four choices, the answer's letter.
public struct MMLUQuestion: Sendable, Hashable, Codable {
    /// As in the file's name: "high_school_physics".
    public var subject: String
    public var question: String
    /// Four.
    public var choices: [String]
    /// 0 to 3.
    public var answer: Int

    public init(subject: String, question: String, choices: [String], answer: Int) {
        self.subject = subject
        self.question = question
        self.choices = choices
        self.answer = answer
    }

    /// - Parameter subject: What the questions are about; by default the file's name without `_test.csv`,
    ///   `_dev.csv` or `_val.csv`.
    /// - Throws: ``DatasetError`` naming every bad row by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String, subject: String? = nil) throws -> [MMLUQuestion] {
        try parse(try FileSystem.read(path), path: path, subject: subject)
    }

    package static func parse(
        _ bytes: [UInt8], path: String, subject: String? = nil
    ) throws(DatasetError) -> [MMLUQuestion] {
        var faults = FaultCollector(
            path: path, layout: "MMLU CSV (question, four choices, A to D; no header)")
        let subject = subject ?? subjectOf(path)
        var rows: [MMLUQuestion] = []
        for record in try CSV.parse(bytes, path: path) {
            guard record.fields.count == 6 else {
                faults.add(record.line, "\(record.fields.count) columns, not 6")
                continue
            }
            guard let answer = ["A", "B", "C", "D"].firstIndex(of: record.fields[5]) else {
                faults.add(record.line, "the answer is \"\(record.fields[5])\", not A, B, C or D")
                continue
            }
            rows.append(
                MMLUQuestion(
                    subject: subject, question: record.fields[0],
                    choices: Array(record.fields[1...4]), answer: answer))
        }
        return try faults.finish(rows)
    }

    private static func subjectOf(_ path: String) -> String {
        let name = String(path.split(separator: "/").last ?? "")
        for ending in ["_test.csv", "_dev.csv", "_val.csv", ".csv"] where name.hasSuffix(ending) {
            return String(name.dropLast(ending.count))
        }
        return name
    }
}

/// One item of HellaSwag (`hellaswag_val.jsonl`): a situation and four endings.
public struct HellaSwagItem: Sendable, Hashable, Codable {
    public var activityLabel: String
    public var contextA: String
    public var contextB: String
    /// Four.
    public var endings: [String]
    /// 0 to 3.
    public var label: Int

    public init(
        activityLabel: String, contextA: String, contextB: String, endings: [String], label: Int
    ) {
        self.activityLabel = activityLabel
        self.contextA = contextA
        self.contextB = contextB
        self.endings = endings
        self.label = label
    }

    /// - Throws: ``DatasetError`` naming every bad row by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String) throws -> [HellaSwagItem] {
        try parse(try FileSystem.read(path), path: path)
    }

    package static func parse(
        _ bytes: [UInt8], path: String
    ) throws(DatasetError) -> [HellaSwagItem] {
        var faults = FaultCollector(
            path: path,
            layout: "HellaSwag JSON Lines (activity_label, ctx_a, ctx_b, four endings, label)")
        var rows: [HellaSwagItem] = []
        for row in JSONRows.lines(bytes, &faults) {
            guard let label = row.text("activity_label", &faults),
                let a = row.text("ctx_a", &faults),
                let b = row.text("ctx_b", isOptional: true, &faults)
            else { continue }
            guard let endings = row.value["endings"]?.array?.compactMap(\.string),
                endings.count == 4
            else {
                faults.add(row.line, "\"endings\" is not a list of four strings")
                continue
            }
            // The label is a number in the authors' file and a string in the Hub's copy.
            let answer = row.value["label"].flatMap { $0.integer ?? $0.string.flatMap { Int($0) } }
            guard let answer, (0...3).contains(answer) else {
                faults.add(row.line, "\"label\" is not 0 to 3 (the test split has none)")
                continue
            }
            rows.append(
                HellaSwagItem(
                    activityLabel: label, contextA: a, contextB: b, endings: endings, label: answer)
            )
        }
        return try faults.finish(rows)
    }
}

/// One problem of GSM8K (`test.jsonl`): the question, and a worked answer that ends in `#### 18`.
public struct GSM8KProblem: Sendable, Hashable, Codable {
    public var question: String
    public var answer: String

    public init(question: String, answer: String) {
        self.question = question
        self.answer = answer
    }

    /// - Throws: ``DatasetError`` naming every bad row by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String) throws -> [GSM8KProblem] {
        try parse(try FileSystem.read(path), path: path)
    }

    package static func parse(_ bytes: [UInt8], path: String) throws(DatasetError) -> [GSM8KProblem]
    {
        var faults = FaultCollector(
            path: path, layout: "GSM8K JSON Lines (question, answer ending in #### and a number)")
        var rows: [GSM8KProblem] = []
        for row in JSONRows.lines(bytes, &faults) {
            guard let question = row.text("question", &faults),
                let answer = row.text("answer", &faults)
            else { continue }
            guard ArithmeticAnswer.strict(answer) != nil else {
                faults.add(row.line, "the answer does not end in #### and a number")
                continue
            }
            rows.append(GSM8KProblem(question: question, answer: answer))
        }
        return try faults.finish(rows)
    }
}
