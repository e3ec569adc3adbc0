// The files that are written for the bundle: metrics as lines, environment, release decision, data
// descriptions, citation, and what a reviewer reads. ReviewerReadme.swift and Checklists.swift hold words.

internal import Events
internal import Provenance
internal import Foundation

extension BundlePlan {
    mutating func addDocuments(scratch: String) throws {
        let metrics = try MetricLines.write(run, to: scratch + "/metrics.jsonl")
        files.append(
            PayloadFile(
                BundleLayout.metrics, .file(scratch + "/metrics.jsonl", size: metrics),
                name: "metrics",
                about:
                    "every number that the study recorded, one JSON object a line, in the order recorded within a series",
                mediaType: "application/jsonl", role: .metrics))
        if !run.claims.isEmpty {
            add(
                BundleLayout.claims, claims, "claims",
                "what the study claims, and whether this run bears it out")
        }
        if !run.items.isEmpty {
            files.append(
                .text(
                    "results/items.jsonl", items, name: "evaluation items",
                    about:
                        "each prompt of each evaluation with its label; restricted ones as hashes",
                    mediaType: "application/jsonl"))
        }
        for (index, figure) in run.figures.enumerated() {
            let base = "results/figures/\(index + 1)"
            files.append(
                .text(
                    base + ".gnuplot", figure.script, name: figure.title,
                    about: figure.alternativeText.isEmpty
                        ? "figure as gnuplot reads it" : figure.alternativeText))
            if !figure.data.isEmpty {
                files.append(
                    .text(
                        base + ".json", figure.data, name: figure.title,
                        about: "the numbers that the figure shows",
                        mediaType: "application/json"))
            }
        }
        if !run.outputs.isEmpty {
            files.append(
                PayloadFile(
                    BundleLayout.log, .bytes(log), name: "output",
                    about: "what the cells printed, in order",
                    mediaType: "text/plain", role: .log))
        }
        add(
            BundleLayout.environment, environment, "environment",
            "machine, toolchain and libraries, as recorded before the first cell")
        files.append(
            .text(
                BundleLayout.lock, lock, name: "environment lock",
                about:
                    "compiler, engine and libraries by version: what a machine needs for the same bits"
            ))
        if !run.verdicts.isEmpty {
            add(
                BundleLayout.replays, verdicts, "replays",
                "every replay of this run on the same ledger, with its verdict")
        }
        if !run.upstreams.isEmpty {
            add(
                BundleLayout.upstreams, upstreams, "upstream runs",
                "which artifacts of other runs this run took, by their hashes")
        }
        add(
            BundleLayout.policy, release, "release decision",
            "what leaves, what is withheld and why, with hashes of what is withheld")
        if !run.attempts.isEmpty {
            add(
                BundleLayout.attempts, attempts, "other runs",
                "every other run of this study on the same ledger, failed ones too: the denominator"
            )
        }
        for (path, value) in Croissant.documents(run, plan: self) {
            add(path, value, "data description", "Croissant description of an input")
        }
        files.append(
            .text(
                BundleLayout.citation, Citation.cff(run), name: "citation",
                about: "how to cite, in the Citation File Format",
                mediaType: "application/yaml"))
    }

    /// The two files that speak of all others; written anew whenever files were added.
    mutating func writeReadme() {
        files.removeAll { $0.path == BundleLayout.checklists || $0.path == BundleLayout.readme }
        files.append(
            .text(
                BundleLayout.checklists, Checklists.text(run, self), name: "checklists",
                about: "ACM badge and NeurIPS checklist answers, as far as the record knows them",
                mediaType: "text/markdown"))
        files.append(
            .text(
                BundleLayout.readme, ReviewerReadme.text(run, self), name: "for the reviewer",
                about: "what ran, what it costs to run again, how to verify and how to replay",
                mediaType: "text/markdown", role: .readme))
        guard let anonymizer else { return }
        for index in files.indices.suffix(2) {
            if case .bytes(let bytes) = files[index].source {
                files[index].source = .bytes(
                    Array(anonymizer.scrubbed(String(decoding: bytes, as: UTF8.self)).utf8))
            }
        }
    }

    private mutating func add(_ path: String, _ value: JSON, _ name: String, _ about: String) {
        files.append(
            PayloadFile(
                path, .bytes(value.file()), name: name, about: about, mediaType: "application/json")
        )
    }

    private var claims: JSON {
        .array(
            run.claims.map {
                .object([
                    ("claim", .string($0.text)), ("holds", .bool($0.holds)),
                    ("evidence", .string($0.evidence)),
                    ("cell", .string(cellName($0.cell))),
                ])
            })
    }

    private var items: String {
        run.items.map { item in
            let shown = policy.completion(item)
            return JSON.object([
                ("evaluation", .string(item.evaluation)), ("arm", .string(item.arm)),
                ("index", .integer(Int64(item.index))), ("prompt", .string(shown.prompt)),
                ("answer", .string(shown.answer)), ("judge", .string(item.judge)),
                ("label", .string(item.label)), ("restricted", .bool(item.restricted)),
            ]).text() + "\n"
        }.joined()
    }

    private var log: [UInt8] {
        var out: [UInt8] = []
        var last: (Int, RunWriter.OutputStream)?
        for output in run.outputs {
            if last?.0 != output.cell || last?.1 != output.stream {
                if let byte = out.last, byte != 10 { out.append(10) }
                out += Array("--- cell \(cellName(output.cell)), \(output.stream.rawValue)\n".utf8)
                last = (output.cell, output.stream)
            }
            out += output.bytes
        }
        return out
    }

    private var environment: JSON {
        .object([
            ("tier", .string(run.tier)), ("threads", .integer(Int64(run.threads))),
            ("facts", .object(run.environment.map { ($0.name, .string($0.value)) })),
            ("streams", .object(run.streams.map { ($0.name, .string($0.draws)) })),
        ])
    }

    private var release: JSON {
        .object([
            ("policy", .string(policy.mode.rawValue)), ("reason", .string(policy.reason)),
            (
                "completions",
                .string(
                    policy.includesCompletions ? "as text" : "restricted ones as hashes and labels")
            ),
            (
                "withheld",
                .array(
                    withheld.sorted { $0.path < $1.path }.map {
                        .object(
                            [
                                ("path", .string($0.path)), ("sha256", .string($0.sha256)),
                                ("size", .integer($0.size)), ("reason", .string($0.reason)),
                            ] + ($0.url.map { [("source", JSON.string($0))] } ?? []))
                    })
            ),
        ])
    }

    private var attempts: JSON {
        .array(
            run.attempts.map {
                let known: [(String, String?)] = [
                    ("run", $0.id), ("status", $0.status.rawValue),
                    ("began", ROCrate.time($0.began.nanoseconds)), ("seed", $0.seed),
                    ("parameters", $0.parameters), ("replay_of", $0.replayOf),
                    ("verdict", $0.rung), ("note", $0.note.isEmpty ? nil : $0.note),
                ]
                return .object(
                    known.compactMap { name, value in value.map { (name, JSON.string($0)) } }
                        + ($0.seconds.map { [("seconds", JSON.number($0))] } ?? []))
            })
    }

    private var verdicts: JSON {
        .array(
            run.verdicts.map {
                .object([("replay", .string($0.replay)), ("verdict", .string($0.rung))])
            })
    }

    private var upstreams: JSON {
        .array(
            run.upstreams.map {
                .object([
                    ("input", .string($0.name)), ("study", .string($0.study)),
                    ("artifact", .string($0.artifact)), ("run", .string($0.producer)),
                    ("content_key", .string($0.key)), ("sha256", .string($0.sha256)),
                    ("is_folder", .bool($0.isFolder)),
                ])
            })
    }

    /// What must be the same for the same bits, one "name version" a line, as the record has it.
    private var lock: String {
        let prefixes = ["swift", "engine.", "library.", "openblas", "os.name", "os.architecture"]
        let lines = run.environment.filter { fact in
            prefixes.contains { fact.name.hasPrefix($0) } && fact.name != "engine.threads"
        }.map { "\($0.name) \($0.value.replacing("\n", with: " "))" }
        return lines.sorted().map { $0 + "\n" }.joined()
    }

    /// A card for an adapter that has none, in Hugging Face's form.
    /// - Parameter configuration: The adapter's, where it leaves and was read for that.
    mutating func addModelCard(
        _ artifact: RunFacts.Artifact, _ store: RunStore, _ configuration: [UInt8]?
    ) {
        let path = BundleLayout.safe("adapters/" + artifact.name + "/README.md")
        let member = artifact.files.first { $0.path == Self.adapterConfiguration }
        let bytes =
            configuration
            ?? member.flatMap { try? store.source($0, below: "")?.contents() }
        let base = bytes.flatMap {
            JSON(parsing: $0)?[key: "base_model_name_or_path"]?.string
        }
        files.append(
            .text(
                path, ModelCard.text(run, adapter: artifact.name, base: base, policy: policy),
                name: "model card", about: "what the adapter is, how it was made and measured",
                mediaType: "text/markdown"))
    }
}

/// Metrics as JSON lines.
enum MetricLines {
    /// Writes every point, a block at a time; returns the size.
    static func write(_ run: RunFacts, to path: String) throws -> Int64 {
        let file = try FileHandleOwner(creating: path)
        var buffer: [UInt8] = []
        buffer.reserveCapacity(1 << 18)
        for series in run.series {
            let cell =
                run.cells.indices.contains(series.cell)
                ? run.cells[series.cell].id : String(series.cell)
            let head = Array(
                ("{\"name\":" + JSON.string(series.name).text() + ",\"arm\":"
                    + JSON.string(series.arm).text()
                    + ",\"cell\":" + JSON.string(cell).text()).utf8)
            for index in series.values.indices {
                buffer += head
                if series.steps[index] >= 0 {
                    buffer += Array(",\"step\":\(series.steps[index])".utf8)
                }
                let value = series.values[index]
                buffer += Array(",\"value\":".utf8)
                buffer += Array(value.isFinite ? JSON.text(value).utf8 : "\"\(value)\"".utf8)
                if let rate = series.proportions[index] {
                    buffer += Array(
                        ",\"count\":\(rate.count),\"total\":\(rate.total),\"judge\":\(JSON.string(rate.judge).text())"
                            .utf8)
                }
                buffer += Array(",\"time\":\(series.times[index])}\n".utf8)
                if buffer.count > 1 << 18 - 1024 {
                    try buffer.withUnsafeBytes { try file.write($0) }
                    buffer.removeAll(keepingCapacity: true)
                }
            }
        }
        try buffer.withUnsafeBytes { try file.write($0) }
        return file.count
    }
}
