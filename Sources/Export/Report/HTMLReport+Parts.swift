// The sections around a report's text: claims, provenance, citation. MetricTables.swift has the numbers,
// DataFlow.swift what cells take from each other.

internal import Events
internal import Foundation
internal import Mustache
internal import Notebook
internal import Provenance

extension HTMLReport {
    static func render(_ template: String, _ context: [String: Any]) -> String {
        (try? MustacheTemplate(string: template).render(context)) ?? ""
    }

    var claims: String {
        run.claims.isEmpty
            ? "" : Self.render(ReportTemplate.claims, ["claims": run.claims.map(claim)])
    }

    var cite: String {
        Self.render(
            ReportTemplate.cite,
            ["bibtex": clean(Citation.bibTeX(run)), "cff": clean(Citation.cff(run))])
    }

    func provenance(_ study: StudyFile?) -> String {
        var groups: [[String: Any]] = []
        var facts: [[String: String]] = []
        func fact(_ name: String, _ value: String?) {
            if let value, !value.isEmpty { facts.append(["name": name, "value": clean(value)]) }
        }
        func group(_ name: String, after: String = "") {
            groups.append(["group": name, "facts": facts, "after": after])
            facts = []
        }
        fact("run", run.id)
        fact("study", run.study)
        fact("command", run.command.joined(separator: " "))
        fact("began", String(ROCrate.time(run.began.nanoseconds)))
        fact("replay of", run.replayOf)
        fact(
            "parameters",
            run.parameters.map { "\($0.name) = \($0.value.isEmpty ? "\"\"" : $0.value)" }.joined(
                separator: ", "))
        fact("seed", run.seed)
        // Older ledgers do not count what was drawn.
        let counts = run.streams.contains { $0.draws != "0" }
        fact(
            "random streams",
            run.streams.prefix(12).map { counts ? "\($0.name): \($0.draws) words" : $0.name }
                .joined(
                    separator: ", ")
                + (run.streams.count > 12 ? " and \(run.streams.count - 12) more" : ""))
        fact("seal", run.seal.map { "sha256 " + $0 } ?? "none: the run did not end by itself")
        group("Run")
        fact("commit", run.code.commit ?? "none: the study is in no repository")
        fact("branch", run.code.branch)
        fact("repository", run.code.remote)
        if run.code.commit != nil {
            fact(
                "worktree",
                run.changes.isEmpty
                    ? "clean"
                    : "\(run.changes.count) changed: "
                        + run.changes.prefix(8).map { "\($0.path) (\($0.kind))" }.joined(
                            separator: ", ")
                        + (run.changes.count > 8 ? ", …" : ""))
        }
        fact("snapshot", run.code.snapshot)
        fact("licence", run.licence ?? "not stated")
        if let policy { fact("release", "\(policy.mode.rawValue): \(policy.reason)") }
        group("Code", after: patches)
        fact("arithmetic", "\(run.tier), \(run.threads) threads")
        fact("processor", run.fact("cpu.model"))
        fact("Swift", run.fact("swift.version") ?? run.fact("swift"))
        fact("engine", run.fact("engine.build"))
        fact(
            "memory", run.fact("run.peak_memory").flatMap { Int64($0) }.map { Words.bytes($0) })
        for kept in run.environment.compactMap({ ActivationFact(name: $0.name, value: $0.value) })
            .sorted(by: { ($0.arm ?? "") < ($1.arm ?? "") })
        {
            fact(
                "activations",
                "\(kept.arm ?? "a training step"): at most \(kept.words(Words.bytes))")
        }
        group("Machine")
        let inputs = run.inputs.map { input -> [String: Any] in
            let only = input.files.count == 1 ? input.files.first : nil
            let path = input.shownPath ?? input.path
            var entry = hashed(
                only, as: path + (only.map { $0.path.isEmpty ? "" : "/" + $0.path } ?? ""))
            entry["kind"] = clean(input.kind)
            entry["licence"] = clean(input.licence ?? "not stated")
            entry["hasFiles"] = only == nil
            entry["count"] = input.files.count
            if only == nil {
                entry["files"] = Self.shown(input.files).map { hashed($0, as: $0.path) }
            }
            return entry
        }
        let artifacts = run.artifacts.flatMap { artifact in
            Self.shown(artifact.files).map { file -> [String: Any] in
                var entry = hashed(
                    file, as: artifact.name + (file.path.isEmpty ? "" : "/" + file.path))
                entry["size"] = Words.bytes(file.size)
                return entry
            }
        }
        var context: [String: Any] = [
            "groups": groups, "hasInputs": !inputs.isEmpty, "inputs": inputs,
            "hasArtifacts": !artifacts.isEmpty,
            "artifacts": artifacts, "flow": DataFlow.html(run), "run": run.shortID,
            "hasVerdicts": !run.verdicts.isEmpty, "count": run.environment.count,
            "verdicts": run.verdicts.map {
                ["replay": clean($0.replay), "rung": clean($0.rung), "detail": clean($0.detail)]
            },
            "environment": run.environment.map {
                ["name": clean($0.name), "value": clean($0.value)]
            },
            "hasAttempts": !run.attempts.isEmpty,
        ]
        addAttempts(to: &context)
        return Self.render(ReportTemplate.provenance, context)
    }

    /// A file's name and the beginning of its hash, where it has one.
    private func hashed(_ file: RunFacts.Member?, as name: String) -> [String: Any] {
        var entry: [String: Any] = ["path": clean(name)]
        if let hash = file?.sha256, !hash.isEmpty {
            entry["hash"] = clean(String(hash.prefix(16))) + "…"
        }
        return entry
    }

    /// The first twenty files of a folder, and a line that counts the others.
    private static func shown(_ files: [RunFacts.Member]) -> [RunFacts.Member] {
        guard files.count > 21 else { return files }
        let rest = files.dropFirst(20)
        return files.prefix(20) + [
            .init(
                path: "… \(rest.count) more files", sha256: "",
                size: rest.reduce(0) { $0 + $1.size })
        ]
    }

    /// The denominator: how often the study ran, and how often that came to nothing.
    private func addAttempts(to context: inout [String: Any]) {
        // Replays are no new attempts; they stand above with their verdicts.
        let attempts = run.attempts.filter { $0.replayOf == nil }
            .sorted { ($1.began.nanoseconds, $1.id) < ($0.began.nanoseconds, $0.id) }
        context["hasAttempts"] = !attempts.isEmpty
        guard !attempts.isEmpty else { return }
        var counts: [(String, Int)] = []
        for status in [
            RunFacts.Status.succeeded, .failed, .interrupted, .lost, .running,
        ] {
            let count = attempts.count { $0.status == status }
            if count > 0 { counts.append((status.rawValue, count)) }
        }
        let total = attempts.count
        context["attemptWords"] =
            "\(total) other \(total == 1 ? "run" : "runs") of this study \(total == 1 ? "is" : "are") on the same ledger, replays not counted: "
            + counts.map { "\($1) \($0)" }.joined(separator: ", ") + "."
        let limit = 100
        context["attempts"] = attempts.prefix(limit).map {
            [
                "id": clean(String($0.id.suffix(8))), "status": $0.status.rawValue,
                "began": String(ROCrate.time($0.began.nanoseconds).prefix(16))
                    .replacing("T", with: " "),
                "took": $0.seconds.map(Words.seconds) ?? "",
                "note": clean(
                    [$0.note, $0.seed.isEmpty ? "" : "seed \($0.seed)", $0.parameters].filter {
                        !$0.isEmpty
                    }.joined(separator: ", ")),
            ]
        }
        if total > limit {
            context["attemptsCut"] = "\(total - limit) older ones are left out here."
        }
    }

    /// What the worktree had that its commit has not.
    private var patches: String {
        let changed = run.changes.filter { !$0.patch.isEmpty || !$0.note.isEmpty }
        guard !changed.isEmpty else { return "" }
        let added = changed.reduce(0) { $0 + $1.added }
        let removed = changed.reduce(0) { $0 + $1.removed }
        var out =
            "<details class=\"more\"><summary>What was not committed: \(changed.count) \(changed.count == 1 ? "file" : "files"), \(added) lines added, \(removed) removed</summary>"
        for change in changed {
            out += "<h4>\(escaped(change.path))</h4>"
            if !change.note.isEmpty { out += "<p class=\"note\">\(escaped(change.note))</p>" }
            if change.patch.isEmpty { continue }
            out +=
                "<pre class=\"diff\" tabindex=\"0\" role=\"region\" aria-label=\"Changes of \(escaped(change.path))\">"
                + LineDifference.html(patch: change.patch) + "</pre>"
        }
        return out + "</details>"
    }
}
