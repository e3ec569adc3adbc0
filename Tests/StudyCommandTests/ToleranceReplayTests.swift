// Replays that differ, and how much of that the study allows: declared tolerances, several seeds.

import Foundation
import TestSupport
import Testing

@Suite struct `The rungs below same bits` {
    private static let study = """
        ---
        title: Noisy
        seed: 1
        tolerances:
          near: {relative: 1e-3}
          Curve: {absolute: 0.01}
          final: {seeds: 5}
        ---
        ```swift
        //| id: measure
        import Glibc
        let run = Run.current
        var chance = run.random("measure")
        let noise = getenv("NOISE").map { Double(String(cString: $0))! } ?? 0
        for step in 0..<50 { run.record("near", 1 + noise * (step == 30 ? 1 : 0.5), step: step) }
        run.record("final", 0.5 + 0.02 * Double(chance.normal()) + 100 * noise)
        var chart = Chart("Curve", x: "x", y: "y")
        chart.addLine([1.0, 2.0 + noise], label: "y")
        run.show(chart)
        ```
        """

    @Test func `within the declared tolerance, with the margin; beyond it`() throws {
        let folder = try TemporaryFolder("noisy")
        try folder.write(
            Self.study.replacingOccurrences(of: "final: {seeds: 5}", with: "final: 1"),
            to: "noisy.md")
        func study(_ noise: String, _ arguments: String...) throws -> StudyProcess {
            try StudyProcess(arguments, in: folder.path, environment: ["NOISE": noise])
        }
        let run = try study("0", "run", "noisy.md", "--json")
        #expect(run.status == 0, "\(run.errors)")
        let id = try #require(run.json["run"] as? String)
        let near = try study("0.0005", "replay", id, "--json")
        #expect(near.status == 0, "\(near.output)")
        #expect(near.json["verdict"] as? String == "within the declared tolerance")
        let outputs = near.json["outputs"] as? [[String: Any]] ?? []
        func margin(_ name: String) -> Double {
            outputs.first { $0["name"] as? String == name }?["margin"] as? Double ?? .nan
        }
        // 0.0005 of 0.001 · 1.0005; 0.0005 of 0.01.
        #expect(abs(margin("near") - 0.5) < 0.001)
        #expect(abs(margin("“Curve”") - 0.05) < 0.001)
        let text = try study("0.0005", "replay", id).output
        #expect(text.contains("  near: 50 % of its tolerance used\n"), "\(text)")
        let far = try study("0.002", "replay", id, "--json")
        #expect(far.status == 4)
        #expect(
            firstDifference(far).step == 0 && firstDifference(far).cell == "measure",
            "\(firstDifference(far).text)")
    }

    @Test func `statistically equal over five seeds, or not`() throws {
        let folder = try TemporaryFolder("seeds")
        try folder.write(
            Self.study.replacingOccurrences(of: "near: {relative: 1e-3}", with: "near: 1"),
            to: "noisy.md")
        func study(_ noise: String, _ arguments: String...) throws -> StudyProcess {
            try StudyProcess(arguments, in: folder.path, environment: ["NOISE": noise])
        }
        var last = ""
        for seed in 1...5 {
            let run = try study("0", "run", "noisy.md", "--json", "--seed", "\(seed)")
            last = try #require(run.json["run"] as? String, "\(run.errors)")
        }
        // One replay alone settles nothing, and says what would.
        let alone = try study("0.00003", "replay", last)
        #expect(alone.status == 4)
        #expect(
            alone.output.contains(
                "  final: 5 recorded and 1 replayed seeds; the study asks for 5\n"
                    + "  more seeds settle it: study replay \(last) --over-seeds\n"),
            "\(alone.output)")
        // 0.003 on a mean whose deviation over seeds is 0.02.
        let near = try study("0.00003", "replay", last, "--over-seeds", "--json")
        #expect(near.status == 0, "\(near.output) \(near.errors)")
        #expect(near.json["verdict"] as? String == "statistically equal")
        let note =
            (near.json["outputs"] as? [[String: Any]])?.first {
                $0["name"] as? String == "final"
            }?["note"] as? String
        #expect(note?.hasPrefix("5 and 5 seeds, means ") == true, "\(note ?? "")")
        let far = try study("0.001", "replay", last, "--over-seeds", "--json")
        #expect(far.status == 4)
        #expect(firstDifference(far).cell == "measure", "\(firstDifference(far).text)")
    }
}
