// A run in the folder layout of MLflow's file store, for those whose dashboards live there. What the
// release policy withholds stays out here too.

internal import Events
internal import Foundation

package enum MLflowLayout {
    /// Writes `mlruns` into a new folder: one experiment (the study) with one run.
    package static func write(_ plan: BundlePlan, to folder: String) throws {
        let run = plan.run
        let id = run.uuid.replacing("-", with: "")
        // MLflow's own are random; the study's name gives one that is the same each time.
        let experiment = String(
            PayloadDigest(of: Array(run.study.utf8)).sha256.utf8.reduce(UInt64(7)) {
                $0 &* 31 &+ UInt64($1)
            } % 900_000_000_000_000_000 + 100_000_000_000_000_000)
        let base = folder + "/" + experiment
        let place = base + "/" + id
        func text(_ path: String, _ content: String) throws {
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent,
                withIntermediateDirectories: true)
            try Data(content.utf8).write(to: URL(fileURLWithPath: path))
        }
        let began = run.began.nanoseconds / 1_000_000
        let ended = run.ended.map { String($0.nanoseconds / 1_000_000) } ?? "null"
        try text(
            base + "/meta.yaml",
            "artifact_location: \(ModelCard.quoted("file://" + base))\ncreation_time: \(began)\nexperiment_id: '\(experiment)'\nlast_update_time: \(began)\nlifecycle_stage: active\nname: \(ModelCard.quoted(run.title.isEmpty ? run.study : run.title))\n"
        )
        let status = run.status == .succeeded ? 3 : run.status == .interrupted ? 5 : 4
        try text(
            place + "/meta.yaml",
            "artifact_uri: \(ModelCard.quoted("file://" + place + "/artifacts"))\nend_time: \(ended)\nentry_point_name: ''\nexperiment_id: '\(experiment)'\nlifecycle_stage: active\nrun_id: \(id)\nrun_name: \(ModelCard.quoted(run.id))\nrun_uuid: \(id)\nsource_name: ''\nsource_type: 4\nsource_version: ''\nstart_time: \(began)\nstatus: \(status)\ntags: []\nuser_id: ''\n"
        )
        for parameter in run.parameters + [.init(name: "seed", type: "UInt64", value: run.seed)] {
            try text(place + "/params/" + name(parameter.name), parameter.value)
        }
        var tags = [
            "mlflow.runName": run.id, "study.tier": run.tier,
            "study.release": plan.policy.mode.rawValue,
        ]
        tags["mlflow.source.git.commit"] = run.commit
        for fact in run.environment { tags["environment." + fact.name] = fact.value }
        for (tag, value) in tags { try text(place + "/tags/" + name(tag), value) }
        for series in run.series {
            var lines = ""
            for index in series.values.indices {
                lines +=
                    "\(series.times[index] / 1_000_000) \(series.values[index]) \(max(series.steps[index], 0))\n"
            }
            try text(
                place + "/metrics/"
                    + name(series.arm.isEmpty ? series.name : series.name + "/" + series.arm), lines
            )
        }
        for file in plan.files {
            let path = place + "/artifacts/" + file.path
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent,
                withIntermediateDirectories: true)
            switch file.source {
            case .bytes(let bytes): try Data(bytes).write(to: URL(fileURLWithPath: path))
            case .file(let from, _): try FileManager.default.copyItem(atPath: from, toPath: path)
            }
        }
    }

    /// MLflow's names: letters, digits, underscores, dashes, dots, spaces, slashes.
    private static func name(_ text: String) -> String {
        let kept = text.map {
            $0.isASCII && ($0.isLetter || $0.isNumber || "_-. /".contains($0)) ? $0 : "_"
        }
        return String(kept).split(separator: "/").filter { $0 != ".." && $0 != "." }.joined(
            separator: "/")
    }
}
