// `study show RUN --items`: which prompt, which answer, which judge said what; filtered, and what is restricted hidden.

internal import ArgumentParser
internal import Events
internal import Foundation
internal import Notebook
internal import Provenance

/// Which items are listed, and how much of them.
struct ItemOptions: ParsableArguments {
    @Flag(help: "List what each judge said of each answer; restricted ones as label and hash.")
    var items = false

    @Option(help: ArgumentHelp("With --items: of this evaluation.", valueName: "name"))
    var evaluation: String?

    @Option(help: ArgumentHelp("With --items: of this arm.", valueName: "name"))
    var arm: String?

    @Option(help: ArgumentHelp("With --items: by this judge.", valueName: "name"))
    var judge: String?

    @Option(help: ArgumentHelp("With --items: labelled so, as complied.", valueName: "label"))
    var label: String?

    @Flag(help: "With --items: only answers on which judges differ.")
    var differing = false

    @Flag(help: "With --items: restricted prompts and answers as text.")
    var reveal = false

    func validate() throws {
        guard !items else { return }
        let given = [
            ("--evaluation", evaluation != nil), ("--arm", arm != nil), ("--judge", judge != nil),
            ("--label", label != nil), ("--differing", differing), ("--reveal", reveal),
        ]
        if let (name, _) = given.first(where: \.1) {
            throw ValidationError("\(name) filters items: say --items too.")
        }
    }

    /// The items that every filter lets through, in the order of the run.
    /// - Throws: `ProvenanceError` with reason `.badFilter`, which names what the run has.
    func chosen(from record: RunRecord) throws -> [ItemRecord] {
        var result = record.items
        func keep(_ wanted: String?, _ option: String, _ field: (ItemRecord) -> String) throws {
            guard let wanted, !record.items.isEmpty else { return }
            let known = record.items.reduce(into: [String]()) { names, item in
                if !names.contains(field(item)) { names.append(field(item)) }
            }
            guard known.contains(wanted) else {
                let near = NearMiss.of(wanted, in: known)
                throw ProvenanceError(
                    .badFilter, "No item of run \(record.id) has \(option) '\(wanted)'.",
                    where: record.study,
                    mend: near.map { "did you mean '\($0)'?" }
                        ?? "it has " + known.map { "'\($0)'" }.joined(separator: ", "))
            }
            result = result.filter { field($0) == wanted }
        }
        if differing {
            let said = Dictionary(grouping: record.items, by: Answer.init)
            result = result.filter { Set(said[Answer($0)]!.map(\.label)).count > 1 }
        }
        try keep(evaluation, "evaluation", \.evaluation)
        try keep(arm, "arm", \.arm)
        try keep(judge, "judge", \.judge)
        try keep(label, "label", \.label)
        return result
    }

    /// Prompt and answer as they are shown: of restricted items their hashes, unless they are to be revealed.
    func texts(_ item: ItemRecord) -> (prompt: String, answer: String) {
        if !item.restricted || reveal { return (item.prompt, item.answer) }
        return (Self.hash(item.prompt), Self.hash(item.answer))
    }

    private static func hash(_ text: String) -> String {
        // Runs recorded before texts were kept hold the hash itself.
        text.hasPrefix("sha256:") ? text : "sha256:" + Digest(of: text).hex
    }

    /// One answer: what several judges speak of.
    private struct Answer: Hashable {
        let cell: Int, evaluation: String, arm: String, index: Int
        init(_ item: ItemRecord) {
            (cell, evaluation, arm, index) = (item.cell, item.evaluation, item.arm, item.index)
        }
    }

    func object(_ item: ItemRecord) -> [String: Any] {
        let (prompt, answer) = texts(item)
        return [
            "evaluation": item.evaluation, "arm": item.arm, "index": item.index,
            "label": item.label, "judge": item.judge, "prompt": prompt, "answer": answer,
            "restricted": item.restricted,
        ]
    }

    /// The listing in a format: "table", "csv" or "jsonl".
    func text(_ items: [ItemRecord], of record: RunRecord, format: String) -> String {
        switch format {
        case "csv":
            return CSV.line(["evaluation", "arm", "index", "label", "judge", "prompt", "answer"])
                + items.map { item in
                    let (prompt, answer) = texts(item)
                    return CSV.line([
                        item.evaluation, item.arm, "\(item.index)", item.label, item.judge, prompt,
                        answer,
                    ])
                }.joined()
        case "jsonl":
            return items.map { JSONOutput.line(object($0)) + "\n" }.joined()
        default:
            if record.items.isEmpty { return "The run has no items.\n" }
            if items.isEmpty { return "No item fits (of \(record.items.count)).\n" }
            var table = TextTable(
                head: ["EVALUATION", "ARM", "#", "JUDGE", "LABEL", "PROMPT", "ANSWER"])
            table.rows = items.map { item in
                let (prompt, answer) = texts(item)
                return [
                    item.evaluation, item.arm, "\(item.index)", item.judge, item.label,
                    short(prompt), short(answer),
                ]
            }
            let hidden = reveal ? 0 : items.count(where: \.restricted)
            return table.text + "\(items.count) of \(record.items.count) items"
                + (hidden > 0 ? ", \(hidden) restricted as hashes (--reveal shows them)" : "")
                + "\n"
        }
    }

    private func short(_ text: String) -> String {
        if reveal { return text.replacing("\n", with: "⏎") }
        let line = text.replacing("\n", with: "⏎")
        return line.count > 48 ? line.prefix(47) + "…" : line
    }
}
