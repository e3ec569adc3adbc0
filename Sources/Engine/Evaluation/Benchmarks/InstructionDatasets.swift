// Readers of the datasets that models are fine-tuned and aligned on: Dolly, Alpaca and HH-RLHF, as published.

/// One row of Dolly (`databricks-dolly-15k.jsonl`): instruction, context (often empty), response, category.
public struct DollyRow: Sendable, Hashable, Codable {
    public var instruction: String
    public var context: String
    public var response: String
    public var category: String

    public init(instruction: String, context: String, response: String, category: String) {
        self.instruction = instruction
        self.context = context
        self.response = response
        self.category = category
    }

    /// - Throws: ``DatasetError`` naming every bad row by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String) throws -> [DollyRow] {
        try parse(try FileSystem.read(path), path: path)
    }

    package static func parse(_ bytes: [UInt8], path: String) throws(DatasetError) -> [DollyRow] {
        var faults = FaultCollector(
            path: path, layout: "Dolly JSON Lines (instruction, context, response, category)")
        var rows: [DollyRow] = []
        for row in JSONRows.lines(bytes, &faults) {
            let instruction = row.text("instruction", &faults)
            let context = row.text("context", isOptional: true, &faults)
            let response = row.text("response", &faults)
            let category = row.text("category", isOptional: true, &faults)
            if let instruction, let context, let response, let category {
                rows.append(
                    DollyRow(
                        instruction: instruction, context: context, response: response,
                        category: category))
            }
        }
        return try faults.finish(rows)
    }
}

/// One row of Alpaca (`alpaca_data.json`, one array): instruction, input (often empty), output.
public struct AlpacaRow: Sendable, Hashable, Codable {
    public var instruction: String
    public var input: String
    public var output: String

    public init(instruction: String, input: String, output: String) {
        self.instruction = instruction
        self.input = input
        self.output = output
    }

    /// - Throws: ``DatasetError`` naming every bad row by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String) throws -> [AlpacaRow] {
        try parse(try FileSystem.read(path), path: path)
    }

    package static func parse(_ bytes: [UInt8], path: String) throws(DatasetError) -> [AlpacaRow] {
        var faults = FaultCollector(
            path: path, layout: "Alpaca JSON (an array of instruction, input, output)")
        var rows: [AlpacaRow] = []
        for row in JSONRows.elements(bytes, &faults) {
            let instruction = row.text("instruction", &faults)
            let input = row.text("input", isOptional: true, &faults)
            let output = row.text("output", &faults)
            if let instruction, let input, let output {
                rows.append(AlpacaRow(instruction: instruction, input: input, output: output))
            }
        }
        return try faults.finish(rows)
    }
}

/// One row of HH-RLHF (`train.jsonl`): two dialogues that share everything but the last answer.
public struct PreferenceRow: Sendable, Hashable, Codable {
    /// The dialogue up to and including the last `\n\nAssistant:`.
    public var prompt: String
    /// The answer that people preferred, with its leading space.
    public var chosen: String
    public var rejected: String

    public init(prompt: String, chosen: String, rejected: String) {
        self.prompt = prompt
        self.chosen = chosen
        self.rejected = rejected
    }

    /// - Throws: ``DatasetError`` naming every bad row by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String) throws -> [PreferenceRow] {
        try parse(try FileSystem.read(path), path: path)
    }

    package static func parse(
        _ bytes: [UInt8], path: String
    ) throws(DatasetError) -> [PreferenceRow] {
        var faults = FaultCollector(
            path: path, layout: "HH-RLHF JSON Lines (chosen and rejected dialogues)")
        var rows: [PreferenceRow] = []
        for row in JSONRows.lines(bytes, &faults) {
            guard let chosen = row.text("chosen", &faults),
                let rejected = row.text("rejected", &faults)
            else { continue }
            guard let a = split(chosen), let b = split(rejected) else {
                faults.add(row.line, "a dialogue without \"Assistant:\"")
                continue
            }
            guard a.prompt == b.prompt else {
                faults.add(row.line, "chosen and rejected differ before the last answer")
                continue
            }
            rows.append(PreferenceRow(prompt: a.prompt, chosen: a.answer, rejected: b.answer))
        }
        return try faults.finish(rows)
    }

    private static func split(_ dialogue: String) -> (prompt: String, answer: String)? {
        let bytes = Array(dialogue.utf8)
        let mark = Array("\n\nAssistant:".utf8)
        guard bytes.count >= mark.count else { return nil }
        for start in stride(from: bytes.count - mark.count, through: 0, by: -1)
        where bytes[start...].starts(with: mark) {
            let end = start + mark.count
            return (
                String(decoding: bytes[..<end], as: UTF8.self),
                String(decoding: bytes[end...], as: UTF8.self)
            )
        }
        return nil
    }
}
