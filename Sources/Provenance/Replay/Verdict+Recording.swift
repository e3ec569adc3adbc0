// Keeps a verdict with the replay's own run, and finds the samples for the test over seeds.

internal import Foundation
internal import GRDB

extension Ledger {
    /// Writes the verdict down. The replay's rows are sealed; the verdict stands beside them.
    package func record(_ verdict: ReplayVerdict) throws {
        let data = try JSONSerialization.data(
            withJSONObject: verdict.json, options: [.sortedKeys, .withoutEscapingSlashes])
        try write { db in
            try db.execute(
                sql: """
                    INSERT OR REPLACE INTO verdict SELECT number, ?, ?, ? FROM run WHERE id = ?
                    """,
                arguments: [
                    verdict.original, verdict.rung.text, String(decoding: data, as: UTF8.self),
                    verdict.replay,
                ])
        }
    }

    /// The verdicts of a run's replays, oldest first: the replay's id and the rung reached.
    package func verdicts(of original: String) throws -> [(
        replay: String, rung: String, json: String
    )] {
        try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT r.id, v.rung, v.json FROM verdict v JOIN run r ON r.number = v.run
                    WHERE v.original = ? ORDER BY r.number
                    """, arguments: [original]
            ).map { ($0[0], $0[1], $0[2]) }
        }
    }

    /// For metrics whose tolerance declares seeds: the last values of all runs of the same source and
    /// parameters, one a seed; on the one side those that are no replays, on the other those that are.
    package func samples(like run: RunRecord) throws -> [String: (
        reference: [Double], replayed: [Double]
    )] {
        guard run.tolerances.contains(where: { ($0.seeds ?? 0) > 1 }) else { return [:] }
        return try read { db in
            let rows = try Row.fetchAll(
                db,
                sql: """
                    SELECT s.name, s.arm, s.last_value, r.replay_of IS NOT NULL FROM run r
                    JOIN series s ON s.run = r.number
                    WHERE r.number IN (
                        SELECT max(number) FROM (\(Self.alike)) GROUP BY seed, is_replay)
                    """, arguments: [run.sourceSHA256, run.tier, run.number])
            var samples: [String: (reference: [Double], replayed: [Double])] = [:]
            for row in rows {
                let arm: String = row[1]
                let label = arm.isEmpty ? row[0] as String : "\(row[0] as String)[\(arm)]"
                guard let value: Double = row[2] else { continue }
                if row[3] as Bool {
                    samples[label, default: ([], [])].replayed.append(value)
                } else {
                    samples[label, default: ([], [])].reference.append(value)
                }
            }
            return samples
        }
    }
}

extension Ledger {
    /// Runs that went through, of the source ?1 in tier ?2 with the parameters of run ?3.
    private static let alike = """
        SELECT r.number, r.id, r.seed, r.replay_of IS NOT NULL AS is_replay FROM run r
        JOIN seal e ON e.run = r.number AND e.status = 'succeeded'
        WHERE r.source = ?1 AND r.tier = ?2
            -- A spot check has no key: its numbers rest on the record that it checks.
            AND (r.replay_of IS NULL OR EXISTS (SELECT 1 FROM content_key WHERE run = r.number)) AND
            (SELECT group_concat(name || '=' || value, char(10)) FROM parameter WHERE run = r.number)
            IS (SELECT group_concat(name || '=' || value, char(10)) FROM parameter WHERE run = ?3)
        """

    /// The newest run for each seed with the source, tier and parameters of `run`, in the order in which
    /// they ran; replays are none of them.
    package func runsOverSeeds(like run: RunRecord) throws -> [String] {
        try read { db in
            try String.fetchAll(
                db,
                sql: """
                    SELECT id FROM run WHERE number IN (
                        SELECT max(number) FROM (\(Self.alike)) WHERE NOT is_replay GROUP BY seed)
                    ORDER BY number
                    """, arguments: [run.sourceSHA256, run.tier, run.number])
        }
    }
}

extension ReplayVerdict {
    /// For `--json` and the ledger.
    package var json: [String: Any] {
        func object(_ difference: Difference) -> [String: Any] {
            var result: [String: Any] = [
                "kind": difference.kind.rawValue, "name": difference.name, "cell": difference.cell,
                "id": difference.cellID, "line": difference.line, "expected": difference.expected,
                "found": difference.found, "text": difference.text,
            ]
            if let step = difference.step { result["step"] = step }
            if let ulps = difference.ulps {
                result["ulps"] = ulps
                result["ulp_of"] = difference.isSinglePrecision ? "Float" : "Double"
            }
            return result
        }
        var result: [String: Any] = [
            "original": original, "replay": replay, "verdict": rung.text, "holds": holds,
            "expected": expectation.text, "as_expected": rung <= expectation.rung,
            "environment": environment.map {
                ["name": $0.name, "recorded": $0.first ?? "", "found": $0.second ?? ""]
            },
            "outputs": outputs.map { output in
                var entry: [String: Any] = [
                    "kind": output.kind.rawValue, "name": output.name, "cell": output.cell,
                    "verdict": output.rung.text,
                ]
                if let margin = output.margin, margin.isFinite { entry["margin"] = margin }
                if !output.note.isEmpty { entry["note"] = output.note }
                if let difference = output.difference { entry["difference"] = object(difference) }
                return entry
            },
        ]
        if let first { result["first"] = object(first) }
        if !remarks.isEmpty { result["remarks"] = remarks }
        return result
    }
}
