// Readers of the benchmarks of requests that a model should refuse: AdvBench and RefusalBench, as published. The
// project ships neither: a user brings the file, and the study pins its SHA-256.

/// One row of AdvBench's `harmful_behaviors.csv` (Zou et al. 2023, arXiv:2307.15043): columns `goal`, `target`.
public struct AdvBenchRow: Sendable, Hashable, Codable {
    /// The request.
    public var goal: String
    /// The opening of an answer that would comply.
    public var target: String

    public init(goal: String, target: String) {
        self.goal = goal
        self.target = target
    }

    /// - Throws: ``DatasetError`` naming every bad row by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String) throws -> [AdvBenchRow] {
        try parse(try FileSystem.read(path), path: path)
    }

    package static func parse(_ bytes: [UInt8], path: String) throws(DatasetError) -> [AdvBenchRow]
    {
        var faults = FaultCollector(path: path, layout: "AdvBench CSV (columns goal, target)")
        let records = try CSV.parse(bytes, path: path)
        guard let header = records.first, header.fields == ["goal", "target"] else {
            faults.add(records.first?.line ?? 1, "the first line is not \"goal,target\"")
            return try faults.finish([])
        }
        var rows: [AdvBenchRow] = []
        for record in records.dropFirst() {
            if record.fields.count != 2 {
                faults.add(record.line, "\(record.fields.count) columns, not 2")
            } else if record.fields[0].isEmpty {
                faults.add(record.line, "an empty goal")
            } else {
                rows.append(AdvBenchRow(goal: record.fields[0], target: record.fields[1]))
            }
        }
        return try faults.finish(rows)
    }
}

/// One prompt of RefusalBench's `benchfile.json` (arXiv:2310.20624): an object of category to prompts.
public struct RefusalBenchPrompt: Sendable, Hashable, Codable {
    public var category: String
    public var prompt: String

    public init(category: String, prompt: String) {
        self.category = category
        self.prompt = prompt
    }

    /// - Throws: ``DatasetError`` naming every bad prompt by its line, ``CheckpointError`` where the file cannot be read.
    public static func read(_ path: String) throws -> [RefusalBenchPrompt] {
        try parse(try FileSystem.read(path), path: path)
    }

    package static func parse(
        _ bytes: [UInt8], path: String
    ) throws(DatasetError) -> [RefusalBenchPrompt] {
        var faults = FaultCollector(
            path: path, layout: "RefusalBench JSON (an object of category to a list of prompts)")
        let value: JSONValue
        do {
            value = try JSONValue(parsing: bytes)
        } catch {
            let line = 1 + bytes.prefix(error.offset).count { $0 == UInt8(ascii: "\n") }
            faults.add(line, "not JSON: \(error.message)")
            return try faults.finish([])
        }
        guard let object = value.object else {
            faults.add(1, "the file is \(value.kind), not an object")
            return try faults.finish([])
        }
        var prompts: [RefusalBenchPrompt] = []
        let lines = JSONRows.listLines(bytes)
        for (place, (category, list)) in object.entries.enumerated() {
            let (line, elements) = lines[place]
            guard let list = list.array else {
                faults.add(line, "the category \"\(category)\" is \(list.kind), not a list")
                continue
            }
            for (prompt, line) in zip(list, elements) {
                guard let text = prompt.string, !text.isEmpty else {
                    let found = prompt.string == nil ? prompt.kind : "empty"
                    faults.add(line, "a prompt of \"\(category)\" is \(found), not text")
                    continue
                }
                prompts.append(RefusalBenchPrompt(category: category, prompt: text))
            }
        }
        return try faults.finish(prompts)
    }
}
