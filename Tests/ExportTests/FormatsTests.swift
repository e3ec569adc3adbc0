// A run as MLflow's file store and as a Jupyter notebook. That MLflow and nbformat read them is tried by
// Tests/ExportTests/formats.py, where those are installed.

import Events
import Foundation
import Testing

import Export
import Provenance

@Suite struct `A run in MLflow's layout` {
    static func plan(_ run: RunFacts, options: BundleOptions = BundleOptions()) throws -> (
        BundlePlan, Scratch
    ) {
        let scratch = Scratch()
        return (try Sample.plan(scratch, run, options: options), scratch)
    }

    static func text(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    @Test func `has a file for each parameter, tag and metric, and the bundle's files`() throws {
        var run = Sample.run()
        // A name with and without arm would be a file and a folder; commas and slashes are no names.
        var armed = RunFacts.Series(cell: 1, name: "loss", arm: "a/b, seed 1")
        (armed.steps, armed.values, armed.times) = (
            [-1, -1], [.infinity, 2.5], [1_500_000_000, 2_000_000_000]
        )
        run.series.append(armed)
        let (plan, scratch) = try Self.plan(run)
        let store = scratch.path + "/mlruns"
        let written = try MLflowLayout.write(plan, to: store)
        let experiment = try #require(
            try FileManager.default.contentsOfDirectory(atPath: store).first)
        let place = store + "/" + experiment + "/" + written.run
        #expect(written.run == run.uuid.replacing("-", with: ""))
        #expect(Self.text(place + "/params/rank") == "4")
        #expect(Self.text(place + "/params/seed") == "7")
        #expect(Self.text(place + "/tags/mlflow.source.git.commit") == run.code.commit)
        #expect(Self.text(place + "/metrics/loss/a-b seed 1") == "1500 inf 0\n2000 2.5 1\n")
        #expect(Self.text(place + "/metrics/loss/no arm").split(separator: "\n").count == 50)
        #expect(Self.text(place + "/meta.yaml").contains("status: 3\n"))
        #expect(Self.text(place + "/meta.yaml").contains("run_id: \(written.run)\n"))
        for file in plan.files {
            #expect(FileManager.default.fileExists(atPath: place + "/artifacts/" + file.path))
        }
        #expect(throws: ExportError.self) { try MLflowLayout.write(plan, to: store) }
    }

    @Test func `holds no window of a weight that the policy withholds`() throws {
        var run = Sample.run()
        run.release = "metrics-only"
        let (plan, scratch) = try Self.plan(run)
        let store = scratch.path + "/mlruns"
        _ = try MLflowLayout.write(plan, to: store)
        let weights = Data(Sample.weights)
        let windows = stride(from: 0, to: weights.count - 64, by: 64).map {
            weights.subdata(in: $0..<$0 + 64)
        }
        for path in try filesBelow(store) {
            let bytes = try Data(contentsOf: URL(fileURLWithPath: store + "/" + path))
            #expect(!path.hasSuffix("adapter_model.safetensors"))
            if bytes.count >= 64 {
                #expect(windows.allSatisfy { bytes.range(of: $0) == nil }, "\(path)")
            }
        }
    }

    @Test func `without names says nothing of where it lies`() throws {
        var options = BundleOptions()
        options.isAnonymous = true
        let (plan, scratch) = try Self.plan(Sample.run(), options: options)
        let written = try MLflowLayout.write(plan, to: scratch.path + "/mlruns")
        for path in try filesBelow(scratch.path + "/mlruns") where path.hasSuffix("meta.yaml") {
            #expect(!Self.text(scratch.path + "/mlruns/" + path).contains(scratch.path))
        }
        #expect(written.fileCount > 0)
    }

    @Test func `a changed file stops it, and leaves no half of a run behind`() throws {
        let (plan, scratch) = try Self.plan(Sample.run())
        let source = try #require(
            plan.files.compactMap { file -> String? in
                if case .file(let path, _) = file.source, file.expectedSHA256 != nil { return path }
                return nil
            }.first)
        chmod(source, 0o644)
        try Data("changed".utf8).write(to: URL(fileURLWithPath: source))
        #expect {
            try MLflowLayout.write(plan, to: scratch.path + "/mlruns")
        } throws: { error in
            "\(error)".contains("is not the file that the run recorded: sha256 ")
        }
        let left = try filesBelow(scratch.path + "/mlruns")
        #expect(
            left.allSatisfy { $0.hasSuffix("meta.yaml") && $0.split(separator: "/").count == 2 })
    }
}

@Suite struct `A Jupyter notebook of a run` {
    static func cells(_ run: RunFacts) throws -> [JSON] {
        let json = try #require(JSON(parsing: JupyterNotebook.document(run)))
        #expect(json[key: "nbformat"] == .integer(4))
        return try #require(json[key: "cells"]?.array)
    }

    @Test func `holds prose, cells, outputs and the failure`() throws {
        let cells = try Self.cells(Sample.run(.failed))
        #expect(
            cells.compactMap { $0[key: "cell_type"]?.string } == [
                "markdown", "markdown", "code", "markdown", "code",
            ])
        let text = String(
            decoding: JupyterNotebook.document(Sample.run(.failed)), as: UTF8.self)
        #expect(text.contains("done 0.25") && text.contains("\"output_type\": \"error\""))
        // Ids are each once and made of what nbformat takes.
        let ids = cells.compactMap { $0[key: "id"]?.string }
        #expect(Set(ids).count == cells.count)
        #expect(ids.allSatisfy { $0.wholeMatch(of: #/[A-Za-z0-9_-]{1,64}/#) != nil })
    }

    @Test func `says what ran, and shows a value as it is`() throws {
        var run = Sample.run()
        run.inlineValues[0] = "1 * 2 <b> $3"
        let text = String(decoding: JupyterNotebook.document(run), as: UTF8.self)
        #expect(
            text.contains(#"1 \\* 2 \\\u003cb\\\u003e \\$3"#)
                || text.contains(#"1 \\* 2 \\<b\\> \\$3"#))
        #expect(text.contains("seed 7 · rank = 4") && text.contains("1 of 2 claims hold"))
    }

    @Test func `holds no answer to any prompt`() throws {
        let text = String(decoding: JupyterNotebook.document(Sample.run()), as: UTF8.self)
        #expect(!text.contains("a restricted answer") && !text.contains("a restricted prompt"))
    }

    @Test func `is the same bytes each time`() throws {
        #expect(JupyterNotebook.document(Sample.run()) == JupyterNotebook.document(Sample.run()))
    }
}
