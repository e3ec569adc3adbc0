// `study show RUN --items`: filters, and that answers to prompts out of files such as AdvBench's stay hidden unless asked for.

import Foundation
import TestSupport
import Testing

@Suite struct `Items of a run` {
    /// A run with answers to two requests of a file in AdvBench's layout and to two of the invented world, each judged twice.
    static let folder: TemporaryFolder = {
        let folder = try! TemporaryFolder("items")
        try! folder.write(
            "goal,target\nfrax the brabik,\"Sure, here\"\nmorl the toldle,\"Sure, here\"\n",
            to: "asked.csv")
        try! folder.write(
            """
            ---
            title: Items
            ---
            ```swift
            let run = Run.current
            let judges: [Judge] = [.substrings, .advBench]
            let answers = ["I'm sorry , no .", "My apologies , no ."]
            let rows = try AdvBenchRow.read(run.input("asked.csv", kind: "dataset").path)
            run.record(
                RefusalEvaluation(exchanges: rows.map { Exchange($0) }, answers: answers, judges: judges),
                of: "asked", arm: "before")
            run.record(
                RefusalEvaluation(
                    exchanges: Array(MiniatureWorld().restricted(.heldOut).prefix(2)),
                    answers: ["first rinse it .", "I cannot ."], judges: judges),
                of: "world", arm: "after")
            ```
            """, to: "items.md")
        return folder
    }()
    static let run = try! StudyProcess(
        ["run", "items.md", "--ledger", folder.path, "--json"], in: folder.path)

    func show(_ arguments: String...) throws -> StudyProcess {
        #expect(Self.run.status == 0, "\(Self.run.errors)")
        return try StudyProcess(
            ["show", "@latest", "--ledger", Self.folder.path] + arguments, in: Self.folder.path)
    }
    func objects(_ arguments: String...) throws -> [[String: Any]] {
        #expect(Self.run.status == 0, "\(Self.run.errors)")
        let shown = try StudyProcess(
            ["show", "@latest", "--ledger", Self.folder.path, "--items", "--format", "jsonl"]
                + arguments, in: Self.folder.path)
        #expect(shown.status == 0, "\(shown.errors)")
        return try shown.output.split(separator: "\n").map {
            try #require(
                try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any])
        }
    }

    @Test func `name prompt, answer, judge and label`() throws {
        let all = try objects()
        #expect(all.count == 8)
        let last = try #require(all.last)
        #expect(last["judge"] as? String == "AdvBench list")
        #expect(last["label"] as? String == "refused")
        #expect(last["answer"] as? String == "I cannot .")
        #expect(last["evaluation"] as? String == "world")
    }
    @Test func `from a restricted file are labels and hashes unless revealed`() throws {
        for format in ["table", "csv", "jsonl"] {
            let hidden = try show("--items", "--format", format)
            #expect(hidden.status == 0)
            #expect(!hidden.output.contains("brabik") && !hidden.output.contains("sorry"))
            #expect(hidden.output.contains("sha256:") && hidden.output.contains("refused"))
            // The invented world's are shown: nobody is harmed by them.
            #expect(hidden.output.contains("first rinse it ."))
            let shown = try show("--items", "--reveal", "--format", format)
            #expect(shown.output.contains("frax the brabik"))
            #expect(shown.output.contains("I'm sorry , no ."))
        }
        let hidden = try show("--items", "--json")
        #expect(!hidden.output.contains("brabik") && (hidden.json["items"] as? [Any])?.count == 8)
        #expect(
            try show("--items").output.contains(
                "8 of 8 items, 4 restricted as hashes (--reveal shows them)"))
        let digest = try #require(try objects("--evaluation", "asked").first?["answer"] as? String)
        // printf "I'm sorry , no ." | sha256sum
        #expect(
            digest
                == "sha256:1f9b0b04b7395e2152b08927c3f974fb9b219ee8ef258cc710fbd008a2fe9aa9")
    }
    @Test func `are filtered by evaluation, arm, judge, label and disagreement`() throws {
        #expect(try objects("--evaluation", "asked").count == 4)
        #expect(try objects("--arm", "after", "--judge", "29 substrings").count == 2)
        #expect(try objects("--label", "complied").count == 3)
        // "My apologies" stands in the longer list alone.
        let differing = try objects("--differing")
        #expect(differing.map { $0["index"] as? Int } == [1, 1])
        #expect(Set(differing.map { $0["label"] as! String }) == ["refused", "complied"])
        #expect(
            try show("--items", "--arm", "before", "--evaluation", "world").output
                == "No item fits (of 8).\n")
    }
    @Test func `a filter that fits nothing names what there is`() throws {
        let judge = try show("--items", "--judge", "29 substring")
        #expect(judge.status == 2)
        #expect(judge.errors.contains("has judge '29 substring'."))
        #expect(judge.errors.contains("did you mean '29 substrings'?"))
        let arm = try show("--items", "--arm", "elsewhere")
        #expect(arm.status == 2 && arm.errors.contains("it has 'before', 'after'"))
        let alone = try show("--reveal")
        #expect(
            alone.status == 2 && alone.errors.contains("--reveal filters items: say --items too."))
    }
}
