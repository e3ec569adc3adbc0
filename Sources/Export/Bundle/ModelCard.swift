// A model card for an adapter, in the form that Hugging Face reads: YAML at the top, then prose. Also
// the citation file: both say only what the record says.

internal import Events
internal import Foundation
internal import Provenance

enum ModelCard {
    static func text(_ run: RunFacts, adapter: String, base: String?, policy: ReleasePolicy)
        -> String
    {
        var out = "---\nlibrary_name: peft\n"
        if let base, !base.isEmpty { out += "base_model: \(quoted(base))\n" }
        if let licence = run.licence { out += "license: \(quoted(licence.lowercased()))\n" }
        let data = run.inputs.filter { $0.kind == "dataset" }.map { $0.shownPath ?? $0.path }
        if !data.isEmpty {
            out += "datasets:\n" + Array(Set(data)).sorted().map { "- \(quoted($0))\n" }.joined()
        }
        let scalars = run.series.filter {
            $0.isScalar && $0.values.count == 1 && $0.values[0].isFinite
        }.prefix(40)
        if !scalars.isEmpty {
            out +=
                "model-index:\n- name: \(quoted(adapter))\n  results:\n  - task:\n      type: text-generation\n"
            out +=
                "    dataset:\n      name: \(quoted(run.title.isEmpty ? run.study : run.title))\n      type: study\n    metrics:\n"
            for series in scalars {
                let name = series.arm.isEmpty ? series.name : "\(series.name), \(series.arm)"
                out +=
                    "    - type: \(quoted(series.name))\n      name: \(quoted(name))\n      value: \(JSON.text(series.values[0]))\n"
            }
        }
        out +=
            "---\n\n# \(adapter)\n\nA low-rank adapter made by run `\(run.id)` of the study `\(run.study)`"
        out += base.map { $0.isEmpty ? "" : ", on top of `\($0)`" } ?? ""
        out +=
            ".\nSeed \(run.seed), arithmetic tier \(run.tier). The run \(ROCrate.words(run.status)).\n"
        out +=
            "\nHow it was trained and measured is in the study; every number is in `results/metrics.jsonl`.\n"
        if policy.mode == .metricsOnly {
            out +=
                "\nThe weights are withheld: \(policy.reason)\nTheir hashes are in `release.json`.\n"
        }
        return out
    }

    /// A YAML string in double quotes.
    static func quoted(_ text: String) -> String { JSON.string(text).text() }
}

/// How to cite a run.
package enum Citation {
    /// Citation File Format 1.2.0.
    static func cff(_ run: RunFacts) -> String {
        var out =
            "cff-version: 1.2.0\nmessage: \"If you use these results, please cite them as below.\"\n"
        out +=
            "title: \(ModelCard.quoted(run.title.isEmpty ? run.study : run.title))\ntype: dataset\nauthors:\n"
        if run.authors.isEmpty { out += "  - name: \"author not stated\"\n" }
        for author in run.authors {
            out += "  - name: \(ModelCard.quoted(author.name))\n"
            if let affiliation = author.affiliation {
                out += "    affiliation: \(ModelCard.quoted(affiliation))\n"
            }
            if let orcid = author.orcid { out += "    orcid: \(ModelCard.quoted(orcid))\n" }
        }
        if let licence = run.licence { out += "license: \(licence)\n" }
        out += "date-released: \"\(date(run))\"\nversion: \"\(run.id)\"\nidentifiers:\n"
        out +=
            "  - type: other\n    value: \"urn:uuid:\(run.uuid)\"\n    description: \"the run\"\n"
        if let commit = run.code.commit { out += "commit: \(commit)\n" }
        if let remote = run.code.remote, remote.hasPrefix("http") {
            out += "repository-code: \(ModelCard.quoted(remote))\n"
        }
        return out
    }

    /// BibTeX; braces keep the title's capitals.
    package static func bibTeX(_ run: RunFacts) -> String {
        func clean(_ text: String) -> String {
            text.filter { !"{}\\".contains($0) }.replacing("&", with: "\\&").replacing(
                "%", with: "\\%"
            )
            .replacing("_", with: "\\_").replacing("#", with: "\\#").replacing("$", with: "\\$")
        }
        var lines = ["@misc{run\(run.shortID),"]
        if !run.authors.isEmpty {
            lines.append(
                "  author = {\(run.authors.map { clean($0.name) }.joined(separator: " and "))},")
        }
        lines.append("  title = {{\(clean(run.title.isEmpty ? run.study : run.title))}},")
        lines.append("  year = {\(date(run).prefix(4))},")
        var note = "Study run \(run.id), seed \(run.seed)"
        if let commit = run.code.commit { note += ", commit \(commit.prefix(12))" }
        lines.append("  note = {\(note)},")
        if let remote = run.code.remote, remote.hasPrefix("http") {
            lines.append("  howpublished = {\\url{\(remote)}},")
        }
        return lines.joined(separator: "\n") + "\n}\n"
    }

    static func date(_ run: RunFacts) -> String {
        String(ROCrate.time(run.epoch * 1_000_000_000).prefix(10))
    }
}
