// `study show RUN`: one run, or one of its series drawn, or its items.

internal import ArgumentParser
internal import Events
internal import Foundation
internal import Notebook
internal import Provenance

struct ShowCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "show", abstract: "Show one run: what ran, what came out, how it ended.")

    @Argument(help: ArgumentHelp("An id, its first or last digits, or @latest.", valueName: "run"))
    var name: String = "@latest"

    @Option(help: ArgumentHelp("Draw this metric's series in the terminal.", valueName: "name"))
    var metric: String?

    @OptionGroup var itemOptions: ItemOptions

    @Flag(help: "Print what the cells printed.")
    var output = false

    @Flag(help: "Check the seal: read every row again.")
    var verify = false

    @Option(help: "With --metric or --items: table, csv or jsonl.")
    var format = "table"

    @OptionGroup var options: LedgerOptions

    func validate() throws {
        guard ["table", "csv", "jsonl"].contains(format) else {
            throw ValidationError("--format is table, csv or jsonl, not '\(format)'.")
        }
        let wanted = [
            metric != nil ? "--metric" : "", itemOptions.items ? "--items" : "",
            output ? "--output" : "",
        ]
        .filter { !$0.isEmpty }
        if wanted.count > 1 {
            throw ValidationError(
                "\(wanted.joined(separator: " and ")) do not go together; choose one.")
        }
        if format != "table", metric == nil, !itemOptions.items {
            throw ValidationError("--format \(format) goes with --metric or --items.")
        }
    }

    func run() throws {
        try options.reporting {
            let ledger = try options.openForReading()
            let record = try ledger.run(name)
            if let metric {
                try show(metric, of: record, ledger)
            } else if itemOptions.items {
                let items = try itemOptions.chosen(from: record)
                if !options.json || format != "table" {
                    printAll(itemOptions.text(items, of: record, format: format))
                }
            } else if output {
                for piece in record.outputs { FileHandle.standardOutput.write(Data(piece.bytes)) }
            } else if !options.json {
                printAll(
                    RunText.text(
                        record, verdicts: try ledger.verdicts(of: record.id),
                        consumers: try ledger.consumers(of: record.id),
                        bundles: try ledger.bundles(of: record.id)))
            }
            var seal: Bool?
            if verify {
                seal = try ledger.sealHolds(record.id)
                if !options.json {
                    print(
                        seal.map {
                            $0
                                ? "the seal holds"
                                : "THE SEAL IS BROKEN: rows were changed after the run"
                        } ?? "the run has no seal")
                }
            }
            if options.json {
                var object = RunText.object(record)
                object["seal_holds"] = seal
                object["bundles"] = try ledger.bundles(of: record.id).map(RunText.object)
                if itemOptions.items {
                    object["items"] = try itemOptions.chosen(from: record).map(itemOptions.object)
                }
                JSONOutput.print(object)
            }
            if seal == false { throw ExitCode(ExitStatus.studyFailed) }
        }
    }

    private func show(_ name: String, of record: RunRecord, _ ledger: Ledger) throws {
        let found = record.series.filter { $0.name == name || $0.label == name }
        guard !found.isEmpty else {
            // Arms make hundreds of labels; the names alone say what there is.
            let names = record.series.reduce(into: [String]()) {
                if !$0.contains($1.name) { $0.append($1.name) }
            }
            let list =
                names.prefix(12).joined(separator: ", ")
                + (names.count > 12 ? " and \(names.count - 12) more" : "")
            throw ProvenanceError(
                .badFilter,
                "Run \(record.id) has no metric '\(name)'"
                    + (NearMiss.of(name, in: names).map { "; did you mean '\($0)'?" } ?? "."),
                where: record.study,
                mend: names.isEmpty
                    ? "it recorded none"
                    : "it has \(list); an arm is chosen as 'name[arm]'")
        }
        let singles = found.filter { $0.count == 1 }
        if format == "table", !options.json, singles.count > 1 {
            printAll(SeriesDrawing.table(singles))
        }
        for (place, series) in found.enumerated() {
            // One line a number is a table, not a drawing.
            if format == "table", options.json || (singles.count > 1 && series.count == 1) {
                continue
            }
            let points = try ledger.points(of: series)
            switch format {
            case "csv":
                if place == 0 { printAll(CSV.line(["metric", "arm", "cell", "step", "value"])) }
                printAll(
                    points.map {
                        CSV.line([
                            series.name, series.arm, "\(series.cell)", "\($0.step)", "\($0.value)",
                        ])
                    }.joined())
            case "jsonl":
                printAll(
                    points.map {
                        JSONOutput.line([
                            "metric": series.name, "arm": series.arm, "cell": series.cell,
                            "step": $0.step,
                            "value": JSONOutput.number($0.value),
                        ]) + "\n"
                    }.joined())
            default:
                // Many arms are to be compared on one screen.
                let height = found.count - singles.count > 3 ? 6 : 12
                printAll(SeriesDrawing.text(series, points, height: height))
            }
        }
    }
}

/// A run in words.
enum RunText {
    static func text(
        _ run: RunRecord, verdicts: [(replay: String, rung: String, json: String)],
        consumers: [(run: String, study: String, artifact: String)] = [],
        bundles: [BundleRecord] = []
    ) -> String {
        var lines = ["\(run.title.isEmpty ? run.study : run.title)"]
        func add(_ name: String, _ value: String?) {
            guard let value, !value.isEmpty else { return }
            lines.append("  " + name.padding(toLength: 12, withPad: " ", startingAt: 0) + value)
        }
        add("run", run.id)
        add(
            "status",
            run.status.rawValue
                + (run.status == .lost ? " (its process is gone, and it was not sealed)" : ""))
        add("study", run.study)
        add(
            "began",
            run.began.text + " UTC"
                + (run.ended == nil ? "" : ", took \(span(run.began, run.ended))"))
        let dirty =
            run.code.snapshot.map {
                " + \(run.code.changes.count) changes, kept as \($0.prefix(12))"
            } ?? ""
        add(
            "code",
            (run.code.commit.map { String($0.prefix(12)) } ?? "no commit") + dirty
                + (run.code.branch.map { ", branch \($0)" } ?? ""))
        add("remote", run.code.remote)
        add("command", run.command.joined(separator: " "))
        add("seed", "\(run.seed), \(run.tier) tier, \(run.threads) threads")
        add("replay of", run.replayOf)
        add("imported", run.imported)
        add("params", run.parameters.map { "\($0.name)=\($0.value)" }.joined(separator: " "))
        add("memory", run.environment["run.peak_memory"].flatMap { Int64($0) }.map { size($0) })
        let activations = run.environment.facts.compactMap {
            ActivationFact(name: $0.name, value: $0.value)
        }
        for fact in activations.sorted(by: { ($0.arm ?? "") < ($1.arm ?? "") }) {
            add("activations", "\(fact.arm ?? "a training step"): at most \(fact.words(size))")
        }
        add("seal", run.seal.map { String($0.sha256.prefix(16)) + "…" })
        for failure in run.failures {
            let cell = run.cells.indices.contains(failure.cell) ? run.cells[failure.cell].id : ""
            let place = failure.line > 0 ? "line \(failure.line)" : "cell \(cell)"
            add("failure", "\(place): \(failure.message)")
        }
        for omission in run.code.omissions {
            add("left out", "\(omission.path), \(size(omission.size)): \(omission.reason)")
        }
        if !run.cells.isEmpty {
            lines.append("cells")
            for cell in run.cells {
                // Of a cell that did not run in a replay of another: why.
                let why = cell.began == nil ? run.environment["run.cell.\(cell.id)"] : nil
                let time = cell.began.map { span($0, cell.ended) } ?? why ?? ""
                lines.append("  \(cell.id)  line \(cell.firstLine)  \(cell.state)  \(time)")
            }
        }
        let read = run.inputs.filter { $0.tracking != UpstreamLink.folder }
        if !read.isEmpty || !run.upstreams.isEmpty { lines.append("inputs") }
        for link in run.upstreams {
            let isUnread = !run.inputs.contains { $0.written == link.name }
            lines.append(
                "  \(link.name)  artifact \(link.artifact) of run \(link.producer), \(link.study)"
                    + "  sha256 \(link.sha256.prefix(16))…" + (isUnread ? "  not read" : ""))
        }
        for input in read {
            lines.append(
                "  \(input.written)  sha256 \(input.sha256.prefix(16))…  \(size(input.size))"
                    + (input.tracking == "ignored" ? "  ignored by Git" : "")
                    + (input.changed == nil ? "" : "  CHANGED DURING THE RUN"))
        }
        if !run.series.isEmpty { lines.append("metrics") }
        for series in run.series {
            let rate =
                series.proportions[series.count - 1].map {
                    "  (\($0.count) of \($0.total), \($0.judge))"
                } ?? ""
            let range =
                series.count > 1
                ? "  \(series.count) values, \(shortNumber(series.minimum)) to \(shortNumber(series.maximum))"
                : ""
            lines.append("  \(series.label)  \(shortNumber(series.last))\(rate)\(range)")
        }
        if !run.claims.isEmpty { lines.append("claims") }
        for claim in run.claims {
            lines.append("  \(claim.holds ? "holds" : "FAILS")  \(claim.text)  (\(claim.evidence))")
        }
        if !run.artifacts.isEmpty || !run.figures.isEmpty { lines.append("artifacts") }
        for artifact in run.artifacts {
            lines.append(
                "  \(artifact.name)  sha256 \(artifact.sha256.prefix(16))…  \(size(artifact.size))"
                    + (artifact.isFolder ? "  \(artifact.files.count) files" : ""))
        }
        for figure in run.figures { lines.append("  figure “\(figure.title)”") }
        if !consumers.isEmpty { lines.append("taken by") }
        for consumer in consumers {
            lines.append("  \(consumer.artifact)  by run \(consumer.run), \(consumer.study)")
        }
        if !verdicts.isEmpty { lines.append("replays") }
        for verdict in verdicts { lines.append("  \(verdict.replay)  \(verdict.rung)") }
        if !bundles.isEmpty { lines.append("bundles") }
        for bundle in bundles {
            let kinds = [
                (bundle.isThin, "thin"), (bundle.isAnonymous, "anonymous"),
                (bundle.isSigned, "signed"),
            ].filter(\.0).map { ", " + $0.1 }.joined()
            lines.append(
                "  \(bundle.direction.rawValue)  \(bundle.path)  \(bundle.time.text) UTC, \(size(bundle.bytes))\(kinds)"
            )
            lines.append("            sha256 of the tar within: \(bundle.tarSHA256)")
        }
        return lines.joined(separator: "\n") + "\n"
    }

    static func object(_ bundle: BundleRecord) -> [String: Any] {
        [
            "direction": bundle.direction.rawValue, "time": bundle.time.iso8601,
            "path": bundle.path, "format": bundle.format, "thin": bundle.isThin,
            "anonymous": bundle.isAnonymous, "signed": bundle.isSigned,
            "tar_sha256": bundle.tarSHA256, "bytes": Int(bundle.bytes),
        ]
    }

    static func object(_ run: RunRecord) -> [String: Any] {
        var object: [String: Any] = [
            "id": run.id, "study": run.study, "title": run.title, "status": run.status.rawValue,
            "began": run.began.iso8601, "seed": "\(run.seed)", "tier": run.tier,
            "threads": run.threads,
            "command": run.command, "source_sha256": run.sourceSHA256,
            "params": Dictionary(
                run.parameters.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
            "environment": Dictionary(
                run.environment.facts.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 }),
            "cells": run.cells.map {
                ["id": $0.id, "line": $0.firstLine, "state": $0.state] as [String: Any]
            },
            "metrics": run.series.map {
                [
                    "name": $0.name, "arm": $0.arm, "cell": $0.cell, "count": $0.count,
                    "last": JSONOutput.number($0.last),
                ] as [String: Any]
            },
            "claims": run.claims.map { ["text": $0.text, "holds": $0.holds] as [String: Any] },
            "artifacts": run.artifacts.map {
                ["name": $0.name, "sha256": $0.sha256, "size": $0.size] as [String: Any]
            },
            "inputs": run.inputs.map {
                ["path": $0.path, "sha256": $0.sha256, "size": $0.size, "tracking": $0.tracking]
                    as [String: Any]
            },
        ]
        if !run.upstreams.isEmpty {
            object["upstreams"] = run.upstreams.map {
                [
                    "name": $0.name, "study": $0.study, "artifact": $0.artifact,
                    "run": $0.producer, "sha256": $0.sha256,
                ] as [String: Any]
            }
        }
        object["content_key"] = run.contentKey
        object["ended"] = run.ended?.iso8601
        object["commit"] = run.code.commit
        object["branch"] = run.code.branch
        object["remote"] = run.code.remote
        object["snapshot"] = run.code.snapshot
        object["replay_of"] = run.replayOf
        object["seal"] = run.seal?.sha256
        if let failure = run.failures.last {
            object["failure"] =
                [
                    "cell": failure.cell, "reason": failure.reason, "message": failure.message,
                    "line": failure.line,
                ] as [String: Any]
        }
        return object
    }
}
