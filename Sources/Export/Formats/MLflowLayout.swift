// A run in the folder layout of MLflow's file store, for those whose dashboards live there. What the
// release policy withholds stays out here too: the files are the bundle's. The layout was read off the
// folders that MLflow 3 itself writes.

internal import Events
internal import Foundation
internal import Provenance

package enum MLflowLayout {
    /// What was written, and where.
    package struct Written {
        package var experiment: String
        package var run: String
        package var fileCount: Int
    }

    /// Adds the run to the file store in `folder` (made where there is none) below an experiment that
    /// is the study.
    /// - Throws: ``ExportError`` with reason `.usage` where the store holds the run already, `.content`
    ///   where a file is not the one on record; nothing of the run is left behind then.
    package static func write(_ plan: BundlePlan, to folder: String) throws -> Written {
        let run = plan.run
        let id = run.uuid.replacing("-", with: "")
        let root = URL(fileURLWithPath: folder).standardizedFileURL.path
        let base = root + "/" + experiment(run)
        let place = base + "/" + id
        guard !FileManager.default.fileExists(atPath: place) else {
            throw ExportError(
                .usage, "Run \(run.id) is in this MLflow store already.", where: place,
                mend: "remove that folder, or name another one with -o")
        }
        Leftovers.add(place)
        defer { Leftovers.forget(place) }
        do {
            try write(plan, root: root, place: place)
        } catch {
            try? FileManager.default.removeItem(atPath: place)
            throw error
        }
        return Written(experiment: title(run), run: id, fileCount: plan.files.count)
    }

    /// MLflow's own ids are random; the study's name gives one that is the same each time.
    private static func experiment(_ run: RunFacts) -> String {
        let digest = PayloadDigest(of: Array(run.study.utf8)).sha256
        let number = digest.utf8.reduce(UInt64(7)) { $0 &* 31 &+ UInt64($1) }
        return String(number % 900_000_000_000_000_000 + 100_000_000_000_000_000)
    }

    private static func title(_ run: RunFacts) -> String {
        run.title.isEmpty ? run.study : run.title
    }

    private static func write(_ plan: BundlePlan, root: String, place: String) throws {
        let run = plan.run
        let experiment = experiment(run)
        let id = (place as NSString).lastPathComponent
        // MLflow wants an address; in a double-blind review an absolute one would say whose folder it was.
        let address =
            plan.options.isAnonymous
            ? (root as NSString).lastPathComponent : URL(fileURLWithPath: root).absoluteString
        let store = address.hasSuffix("/") ? String(address.dropLast()) : address
        let began = run.began.nanoseconds / 1_000_000
        let ended = run.ended.map { String($0.nanoseconds / 1_000_000) } ?? "null"
        // RunStatus of MLflow's protocol: RUNNING 1, SCHEDULED 2, FINISHED 3, FAILED 4, KILLED 5.
        let status = run.status == .succeeded ? 3 : run.status == .interrupted ? 5 : 4
        let quoted = ModelCard.quoted
        try text(
            root + "/" + experiment + "/meta.yaml",
            """
            artifact_location: \(quoted(store + "/" + experiment))
            creation_time: \(began)
            experiment_id: '\(experiment)'
            last_update_time: \(began)
            lifecycle_stage: active
            name: \(quoted(title(run)))

            """)
        // Field's type for notebooks, projects and so on: 4 is LOCAL.
        try text(
            place + "/meta.yaml",
            """
            artifact_uri: \(quoted(store + "/" + experiment + "/" + id + "/artifacts"))
            end_time: \(ended)
            entry_point_name: ''
            experiment_id: '\(experiment)'
            lifecycle_stage: active
            run_id: \(id)
            run_name: \(quoted(run.id))
            run_uuid: \(id)
            source_name: ''
            source_type: 4
            source_version: ''
            start_time: \(began)
            status: \(status)
            tags: []
            user_id: ''

            """)
        var parameters = Names()
        for parameter in run.parameters + [.init(name: "seed", type: "UInt64", value: run.seed)] {
            try text(place + "/params/" + parameters.path(for: parameter.name), parameter.value)
        }
        var tags = [
            ("mlflow.runName", run.id), ("mlflow.source.name", run.study),
            ("study.title", title(run)), ("study.status", run.status.rawValue),
            ("study.tier", run.tier), ("study.release", plan.policy.mode.rawValue),
        ]
        if let commit = run.code.commit { tags.append(("mlflow.source.git.commit", commit)) }
        tags += run.environment.map { ("environment." + $0.name, $0.value) }
        var names = Names()
        for (tag, value) in tags { try text(place + "/tags/" + names.path(for: tag), value) }
        try writeMetrics(run, to: place + "/metrics/")
        try FileManager.default.createDirectory(
            atPath: place + "/artifacts", withIntermediateDirectories: true)
        for file in plan.files { try write(file, to: place + "/artifacts/" + file.path) }
    }

    private static func writeMetrics(_ run: RunFacts, to folder: String) throws {
        // MLflow's page draws what stands before a slash as one section: a metric with its arms.
        let armed = Set(run.series.filter { !$0.arm.isEmpty }.map(\.name))
        var names = Names()
        for series in run.series {
            var name = series.name
            // A file cannot be a folder too.
            if !series.arm.isEmpty { name += "/" + series.arm.replacing("/", with: "-") }
            if series.arm.isEmpty, armed.contains(series.name) { name += "/no arm" }
            let path = folder + names.path(for: name)
            try FileManager.default.createDirectory(
                atPath: (path as NSString).deletingLastPathComponent,
                withIntermediateDirectories: true)
            let file = try FileHandleOwner(creating: path)
            var buffer: [UInt8] = []
            for index in series.values.indices {
                // Of numbers without a step the place in their order tells them apart.
                let step = series.steps[index] < 0 ? Int64(index) : series.steps[index]
                buffer += Array(
                    "\(series.times[index] / 1_000_000) \(series.values[index]) \(step)\n".utf8)
                if buffer.count > 1 << 18 {
                    try buffer.withUnsafeBytes { try file.write($0) }
                    buffer.removeAll(keepingCapacity: true)
                }
            }
            try buffer.withUnsafeBytes { try file.write($0) }
        }
    }

    private static func write(_ file: PayloadFile, to path: String) throws {
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        let copy = try FileHandleOwner(creating: path)
        guard case .file(let from, _) = file.source else {
            try file.source.eachBlock { try copy.write($0) }
            return
        }
        let watch = file.watch()
        let digest = try hashFile(from) {
            watch?.update($0)
            try copy.write($0)
        }.digest.sha256
        if let expected = file.expectedSHA256, digest != expected {
            throw ExportError(
                .content,
                "\(from) is not the file that the run recorded: sha256 \(expected.prefix(12))… recorded, \(digest.prefix(12))… found.",
                where: file.path, mend: "restore it, or run the study again")
        }
        try file.check(watch)
    }

    private static func text(_ path: String, _ content: String) throws {
        try FileManager.default.createDirectory(
            atPath: (path as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try Data(content.utf8).write(to: URL(fileURLWithPath: path))
    }

    /// Names as MLflow takes them (letters, digits, `_-. :/`), each once, none a folder and a file.
    struct Names {
        private var taken: Set<String> = []
        private var folders: Set<String> = []

        mutating func path(for text: String) -> String {
            // What only parts words goes; what might mean something leaves a mark.
            let kept = text.filter { !",()[]".contains($0) }.map { character -> Character in
                character.isLetter || character.isNumber || "_-. /:".contains(character)
                    ? character : "_"
            }
            // MLflow refuses empty parts, "." and ".."; a file's name may have 255 bytes.
            var parts = String(kept).split(separator: "/").map {
                String($0.prefix(60)).trimmingCharacters(in: .whitespaces)
            }.filter { !$0.isEmpty && !$0.allSatisfy { $0 == "." } }
            if parts.isEmpty { parts = ["_"] }
            if (1..<parts.count).contains(where: { taken.contains(Self.key(parts.prefix($0))) }) {
                parts = [parts.joined(separator: " - ")]
            }
            let base = parts
            var count = 1
            while taken.contains(Self.key(parts[...])) || folders.contains(Self.key(parts[...])) {
                count += 1
                parts = base.dropLast() + ["\(base.last!) \(count)"]
            }
            taken.insert(Self.key(parts[...]))
            for end in 1..<max(parts.count, 1) { folders.insert(Self.key(parts.prefix(end))) }
            return parts.joined(separator: "/")
        }

        private static func key(_ parts: ArraySlice<String>) -> String {
            parts.joined(separator: "/").lowercased()
        }
    }
}
