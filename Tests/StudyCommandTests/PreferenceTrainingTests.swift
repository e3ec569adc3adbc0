// Preference training (DPO) in a real run: every step on record, replayed in parts, its first false step found.

import Events
import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `A preference training` {
    private static let study = """
        ---
        seed: 5
        ---
        ```swift
        //| id: prefer
        import Glibc
        let run = Run.current
        let astray = getenv("ASTRAY").flatMap { Int(String(cString: $0)) }
        var random = run.random("model")
        let base = LanguageModel(
            configuration: ModelConfiguration(
                vocabularySize: 40, hiddenSize: 24, intermediateSize: 40, layerCount: 1, headCount: 2),
            standardDeviation: 0.2, using: &random)
        var pairs = (0..<8).map { (i: Int) -> PreferencePair in
            let word = Int32(i)
            return PreferencePair(prompt: [1, word + 2], chosen: [word + 12, 3], rejected: [word + 22])
        }
        if let astray { pairs[astray - 1].chosen[0] += 1 }
        var model = base
        try model.attach(LoRA(rank: 2, alpha: 4), using: &random)
        let summary = try run.trainDPO(
            &model, reference: base, on: pairs, with: AdamW(learningRate: 0.01), PreferenceOptions(beta: 0.5),
            TrainingOptions(batchSize: 1, shuffles: false), arm: "dpo", checkpointEvery: 3, using: &random)
        run.claim("it ran", holds: summary.steps == 8, evidence: "\\(summary.steps) steps")
        ```
        """

    @Test func `is recorded, replayed in parts, and its first false step is found`() throws {
        let folder = try TemporaryFolder("preference")
        try folder.write(Self.study, to: "prefer.md")
        let run = try StudyProcess(["run", "prefer.md", "--json"], in: folder.path)
        #expect(run.status == 0, "\(run.errors)")
        let id = try #require(run.json["run"] as? String)
        let record = try Ledger.openForReading(folder.path).run(id, points: true)
        #expect(record.digests.map(\.step) == Array(1...8))
        #expect(
            record.artifacts.map(\.name).map { ($0 as NSString).lastPathComponent } == [
                "3.safetensors", "6.safetensors", "8.safetensors",
            ])
        #expect(
            Set(record.series.map(\.name)) == [
                "loss", "gradient norm", "preference accuracy", "preference margin",
            ])

        let whole = try StudyProcess(["replay", id, "--threads", "1", "--json"], in: folder.path)
        #expect(whole.status == 0 && whole.json["verdict"] as? String == "same bits")
        let parts = try StudyProcess(["replay", id, "--spot", "9", "--json"], in: folder.path)
        #expect(parts.status == 0, "\(parts.output) \(parts.errors)")
        #expect(
            (parts.json["remarks"] as? [String])?.first?.hasPrefix("3 of 3 segments computed again")
                == true)

        for step in [1, 5, 8] {
            let environment = ["ASTRAY": "\(step)"]
            let replay = try StudyProcess(
                ["replay", id, "--json"], in: folder.path, environment: environment)
            #expect(replay.status == 4)
            #expect(
                firstDifference(replay).kind == "digest" && firstDifference(replay).cell == "prefer"
            )
            #expect(firstDifference(replay).step == step, "\(firstDifference(replay).text)")
            let spot = try StudyProcess(
                ["replay", id, "--spot", "9", "--json"], in: folder.path, environment: environment)
            #expect(
                spot.status == 4 && firstDifference(spot).step == step,
                "\(firstDifference(spot).text)")
        }
    }
}
