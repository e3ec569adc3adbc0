// The commands that read and keep the ledger, as a user meets them: no ledger, an empty one, wrong
// arguments, names that are not clear, and what `--json` holds.

import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `Commands without a ledger` {
    @Test(arguments: [
        ["list"], ["show"], ["show", "abc"], ["diff", "a"], ["replay", "abc"], ["gc"],
        ["gc", "--delete"], ["report", "abc"], ["export", "abc"],
    ]) func `say so with status 2, and leave no folder behind`(arguments: [String]) throws {
        let folder = try TemporaryFolder("none")
        let run = try StudyProcess(arguments, in: folder.path)
        #expect(run.status == 2, "\(run.errors)")
        #expect(run.errors.hasPrefix("There is no ledger here yet.\n  where: "), "\(run.errors)")
        #expect(
            run.errors.hasSuffix(
                "/.study/ledger.sqlite\n  mend:  `study run FILE.md` makes it, or name its place with `--ledger FOLDER`\n"
            ))
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/.study"))
        let json = try StudyProcess(arguments + ["--json"], in: folder.path)
        #expect(json.status == 2)
        #expect((json.json["error"] as? String)?.hasPrefix("There is no ledger here yet.") == true)
    }

    @Test func `doctor is content without one`() throws {
        let folder = try TemporaryFolder("none")
        let run = try StudyProcess(["doctor", "--json"], in: folder.path)
        let findings = run.json["findings"] as? [[String: Any]] ?? []
        let ledger = findings.first { $0["what"] as? String == "ledger" }
        #expect(ledger?["found"] as? String == "none yet" && ledger?["state"] as? String == "note")
        #expect(
            findings.allSatisfy { $0["state"] as? String == "good" || $0["mend"] as? String != "" })
        #expect(!FileManager.default.fileExists(atPath: folder.path + "/.study/ledger.sqlite"))
        let repair = try StudyProcess(["doctor", "--repair"], in: folder.path)
        #expect(repair.status != 0)
        #expect(repair.errors.hasPrefix("There is no ledger to repair."))
    }
}

@Suite struct `Commands on an empty ledger` {
    private let folder: TemporaryFolder

    init() throws {
        folder = try TemporaryFolder("empty")
        _ = try Ledger.open(under: folder.path)
    }

    @Test func `list says what makes the first run`() throws {
        let list = try StudyProcess(["list"], in: folder.path)
        #expect(list.status == 0)
        #expect(list.output == "No run yet. `study run FILE.md` makes the first.\n")
        let json = try StudyProcess(["list", "--json"], in: folder.path).json
        #expect(json["total"] as? Int == 0 && (json["runs"] as? [Any])?.isEmpty == true)
        #expect(
            try StudyProcess(["list", "--status", "failed"], in: folder.path).output
                == "No run fits.\n")
    }

    @Test(arguments: [
        ["show"], ["replay", "@latest"], ["diff", "@latest"], ["export", "@latest"],
        ["report", "@latest"],
    ])
    func `the latest run is none`(arguments: [String]) throws {
        let run = try StudyProcess(arguments, in: folder.path)
        #expect(run.status == 2)
        #expect(run.errors.hasPrefix("There are no runs yet in this ledger.\n"), "\(run.errors)")
        #expect(run.errors.contains("mend:  `study run FILE.md` makes the first"))
    }

    @Test func `gc has nothing to do, doctor finds every page whole`() throws {
        #expect(
            try StudyProcess(["gc"], in: folder.path).output
                == "Nothing to remove: every object is needed by a run.\n")
        let doctor = try StudyProcess(["doctor"], in: folder.path)
        #expect(doctor.output.contains("0 runs, every page whole"), "\(doctor.output)")
    }
}

@Suite struct `Commands on a ledger with runs` {
    private struct Runs {
        let folder: TemporaryFolder
        let ids: [String]

        static let shared = try! Runs()

        private init() throws {
            folder = try TemporaryFolder("runs")
            try folder.write(
                """
                ---
                title: Three runs
                params: {factor: 1.0}
                headline: [last]
                ---
                ```swift
                //| id: measure
                let run = Run.current
                for step in 0..<4 { run.record("curve", params.factor * Double(step), step: step) }
                run.record("last", params.factor)
                run.claim("the factor is one", holds: params.factor == 1, evidence: "\\(params.factor)")
                print("factor \\(params.factor)")
                ```
                """, to: "three.md")
            var ids: [String] = []
            for factor in ["1.0", "2.0", "1.0"] {
                let run = try StudyProcess(
                    ["run", "three.md", "-p", "factor=\(factor)", "--json"], in: folder.path)
                guard let id = run.json["run"] as? String else { fatalError(run.errors) }
                ids.append(id)
            }
            self.ids = ids
        }

        func study(_ arguments: String...) throws -> StudyProcess {
            try StudyProcess(arguments, in: folder.path)
        }
    }

    private let runs = Runs.shared

    @Test func `list: filters, order, formats`() throws {
        let list = try runs.study("list", "--json").json
        let all = list["runs"] as? [[String: Any]] ?? []
        #expect(list["total"] as? Int == 3)
        #expect(all.map { $0["id"] as? String } == runs.ids.reversed())
        #expect(
            Set(all[0].keys) == [
                "id", "study", "title", "status", "began", "ended", "seed", "dirty", "metrics",
            ])
        #expect(all[1]["metrics"] as? String == "last 2")
        let some = try runs.study("list", "--where", "last > 1.5", "--json").json
        #expect((some["runs"] as? [[String: Any]])?.map { $0["id"] as? String } == [runs.ids[1]])
        let parameter = try runs.study("list", "--where", "factor = 1", "--json").json
        #expect(parameter["total"] as? Int == 2)
        for (time, count) in [
            ("1h", 3), ("2999-01-01", 0), ("2001-01-01T08:00", 3), ("999999999999w", 3),
        ] {
            #expect(
                try runs.study("list", "--since", time, "--json").json["total"] as? Int == count)
        }
        let sorted = try runs.study("list", "--sort", "last", "--limit", "1", "--json").json
        #expect(sorted["total"] as? Int == 3 && (sorted["runs"] as? [Any])?.count == 1)
        let csv = try runs.study("list", "--format", "csv").output
        #expect(
            csv.hasPrefix("id,began,ended,status,study,commit,dirty,seed,replay_of,metrics\r\n"))
        #expect(csv.split(separator: "\r\n").count == 4)
        #expect(
            try runs.study("list", "--format", "jsonl").output.split(separator: "\n").count == 3)
        #expect(
            try runs.study("list", "--limit", "1").output.contains(
                "… and 2 more (--limit 0 for all)"))
    }

    @Test(arguments: [
        (["list", "--where", "last ~ 3"], "'last ~ 3' is no condition.\n"),
        (["list", "--status", "done"], "There is no status 'done'.\n"),
        (["list", "--since", "yesterday"], "'yesterday' is no time.\n"),
        (["list", "--format", "xml"], "--format is table, csv or jsonl, not 'xml'."),
        (["show", "zzz"], "There is no run zzz in this ledger.\n"),
        (["show", "--metric", "loss"], "has no metric 'loss'.\n"),
        (["show", "2"], "More than one run is called 2: "),
        (["show", "@latest~9"], "There is no run @latest~9 in this ledger.\n"),
        (["diff", "@latest~1", "zzz"], "There is no run zzz in this ledger.\n"),
        (["diff"], "first"),
        (["replay", "zzz"], "There is no run zzz in this ledger.\n"),
        (["replay"], "run"),
        (["import"], "source"),
        (["import", "nowhere"], "There is nothing at nowhere.\n"),
    ]) func `wrong usage is told with status 2`(arguments: [String], words: String) throws {
        let run = try StudyProcess(arguments, in: runs.folder.path)
        #expect(run.status == 2, "\(run.output)")
        #expect(run.errors.contains(words), "\(run.errors)")
    }

    @Test func `show: the run, one series, its seal`() throws {
        let id = runs.ids[1]
        let last = String(id.split(separator: "-").last!)
        for name in [id, last, String(last.prefix(6)), "@latest~1"] {
            #expect(try runs.study("show", name, "--json").json["id"] as? String == id)
        }
        let text = try runs.study("show", id, "--verify").output
        #expect(text.hasPrefix("Three runs\n") && text.hasSuffix("the seal holds\n"), "\(text)")
        let csv = try runs.study("show", id, "--metric", "curve", "--format", "csv").output
        #expect(csv.hasPrefix("metric,arm,cell,step,value\r\ncurve,,0,0,0.0\r\ncurve,,0,1,2.0\r\n"))
        let lines = try runs.study("show", id, "--metric", "curve", "--format", "jsonl").output
            .split(separator: "\n").map {
                try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any]
            }
        #expect(lines.map { $0?["value"] as? Double } == [0, 2, 4, 6])
        #expect(try runs.study("show", id, "--output").output == "factor 2.0\n")
    }

    @Test func `diff: causes, then what came out`() throws {
        let diff = try runs.study("diff", runs.ids[0], runs.ids[1], "--json").json
        #expect(diff["same"] as? Bool == false)
        #expect(diff["first"] as? String == runs.ids[0] && diff["second"] as? String == runs.ids[1])
        let causes = diff["causes"] as? [[String: String]] ?? []
        #expect(causes.first == ["what": "parameter factor", "first": "1.0", "second": "2.0"])
        let first = diff["first_difference"] as? [String: Any] ?? [:]
        #expect(first["name"] as? String == "curve" && first["step"] as? Int == 1)
        let same = try runs.study("diff", runs.ids[0], runs.ids[2])
        #expect(same.output.contains("nothing that went in differs\n"))
        #expect(same.output.contains("what came out is the same in every bit"))
        #expect(
            try runs.study("diff", runs.ids[0], runs.ids[2], "--json").json["same"] as? Bool == true
        )
    }

    @Test func `import: another folder's ledger, and a file that is none`() throws {
        let other = try TemporaryFolder("other")
        let taken = try StudyProcess(["import", runs.folder.path, "--json"], in: other.path)
        #expect(taken.status == 0, "\(taken.errors)")
        #expect((taken.json["imported"] as? [String])?.count == 3)
        #expect(
            Set(taken.json.keys)
                == ["imported", "known", "refused", "objects", "missing", "upstream"])
        let again = try StudyProcess(["import", runs.folder.path], in: other.path)
        #expect(again.output == "0 imported, 3 here already, 0 refused, 0 objects copied\n")
        try other.write("no archive", to: "text.tar")
        let wrong = try StudyProcess(["import", "text.tar"], in: other.path)
        #expect(wrong.status == 5, "\(wrong.errors)")
        #expect(wrong.errors.contains("mend:"))
    }

    @Test func `a reader that stops reading does not stop the run`() throws {
        let folder = try TemporaryFolder("head")
        try folder.write("```swift\nprint(1)\nprint(2)\n```\n", to: "one.md")
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/bin/sh")
        process.arguments = ["-c", "'\(StudyProcess.products)/study' run one.md | head -c 1"]
        process.currentDirectoryURL = URL(fileURLWithPath: folder.path)
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        let ledger = try Ledger.openForReading(folder.path)
        _ = try waited { try ledger.list().runs.first?.status == .succeeded }
        #expect(try ledger.list().runs.map(\.status) == [.succeeded])
    }
}
