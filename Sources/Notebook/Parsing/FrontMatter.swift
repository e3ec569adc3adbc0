// The YAML between the first two `---` lines: what a study is called, what it needs, what it promises.
// YAMLReader.swift turns nodes into values and words the complaints.

internal import Yams

/// A study's front matter, checked: unknown keys are refused, not skipped.
package struct FrontMatter: Sendable, Equatable {
    package var title = ""
    package var authors: [Author] = []
    package var abstract = ""
    /// An SPDX identifier, for the study's own text and code.
    package var licence = ""
    package var keywords: [String] = []
    package var seed: UInt64 = 0
    package var parameters: [Parameter] = []
    package var datasets: [DatasetEntry] = []
    package var inputs: [InputEntry] = []
    package var tolerances: [ToleranceEntry] = []
    package var release = ReleaseEntry()
    /// The metrics that `study list` shows, "name" or "name[arm]"; chosen by their kind where empty.
    package var headline: [String] = []
    /// In bytes; nothing for as much as the machine has.
    package var memory: UInt64?
    /// The line after the closing `---`; 1 where there is no front matter.
    package var firstLineAfter = 1

    package init() {}

    static let known = [
        "title", "authors", "abstract", "licence", "keywords", "seed", "params", "datasets",
        "inputs", "tolerances", "release", "headline", "memory",
    ]
}

package struct Author: Sendable, Equatable {
    package var name: String
    /// As "https://orcid.org/0000-0002-1825-0097"; empty where not given.
    package var orcid = ""
    package var affiliation = ""
}

/// A file or folder that the study reads, pinned by its hash.
package struct DatasetEntry: Sendable, Equatable {
    /// What `run.dataset(_:)` may call it; the path where no other name is given.
    package var name: String
    /// Relative to the study's folder.
    package var path: String
    /// Lower-case hexadecimal; empty where not pinned.
    package var sha256 = ""
    package var licence = ""
    package var source = ""
    /// Its prompts and completions are stored as hashes and labels.
    package var restricted = false
    package var place: SourcePlace
}

/// How far a metric may be from the recorded one and still count as reproduced.
package struct ToleranceEntry: Sendable, Equatable {
    package var metric: String
    package var absolute: Double?
    package var relative: Double?
    package var ulps: UInt64?
    /// Seeds to repeat with, where one run cannot decide.
    package var seeds: Int?
}

/// What may leave the house.
package struct ReleaseEntry: Sendable, Equatable {
    package enum Policy: String, Sendable, CaseIterable {
        case open
        case metricsOnly = "metrics-only"
    }
    /// Nothing where the study leaves it to the rule for checkpoints it did not make.
    package var policy: Policy?
    package var reason = ""
    /// True: completions leave as text, not as hashes and labels.
    package var completions = false
}

extension FrontMatter {
    /// Reads the front matter at the top of `text`, which may have none.
    /// - Throws: ``StudyError`` with every fault at once.
    package init(parsing text: String, path: String) throws(StudyError) {
        self.init()
        let lines = StudyText.lines(of: text)
        guard let first = lines.first, first.trimmed == "---" else { return }
        guard
            let end = lines.dropFirst().firstIndex(where: {
                $0.trimmed == "---" || $0.trimmed == "..."
            })
        else {
            throw StudyError(
                [
                    Diagnostic(
                        path: path, place: SourcePlace(line: 1, column: 1),
                        message: "the front matter is never closed",
                        mend: "end it with a line `---`")
                ], text: text)
        }
        firstLineAfter = end + 2
        var reader = YAMLReader(path: path, firstLine: 2)
        let yaml = lines[1..<end].joined(separator: "\n")
        if let root = reader.compose(yaml) { read(root, &reader) }
        checkInputs(&reader)
        guard reader.faults.isEmpty else { throw StudyError(reader.faults, text: text) }
    }

    private mutating func read(_ root: Node, _ reader: inout YAMLReader) {
        for entry in reader.entries(root, known: Self.known, what: "the front matter") {
            let node = entry.value
            switch entry.key {
            case "title": title = reader.text(node, "title")
            case "abstract": abstract = reader.text(node, "abstract")
            case "licence": licence = reader.text(node, "licence")
            case "keywords": keywords = reader.texts(node, "keywords")
            case "authors": authors = reader.items(node).map { author($0, &reader) }
            case "seed":
                if let value = node.scalar.flatMap({ UInt64($0.string) }) {
                    seed = value
                } else {
                    reader.complain(node, "seed must be a whole number from 0 to 2^64 - 1")
                }
            case "params": readParameters(node, &reader)
            case "datasets": readDatasets(node, &reader)
            case "inputs": readInputs(node, &reader)
            case "tolerances": readTolerances(node, &reader)
            case "release": readRelease(node, &reader)
            case "headline": headline = reader.texts(node, "headline")
            default:
                let text = reader.text(node, "memory")
                memory = Size.bytes(text)
                if memory == nil {
                    reader.complain(node, "memory must be a size such as 512M or 8G, not '\(text)'")
                }
            }
        }
    }

    private func author(_ node: Node, _ reader: inout YAMLReader) -> Author {
        guard node.mapping != nil else { return Author(name: reader.text(node, "author")) }
        var author = Author(name: "")
        let known = ["name", "orcid", "affiliation"]
        for entry in reader.entries(node, known: known, what: "an author") {
            let text = reader.text(entry.value, entry.key)
            switch entry.key {
            case "name": author.name = text
            case "orcid":
                author.orcid = text.hasPrefix("https://") ? text : "https://orcid.org/\(text)"
            default: author.affiliation = text
            }
        }
        if author.name.isEmpty { reader.complain(node, "an author needs a name") }
        return author
    }

    private mutating func readParameters(_ node: Node, _ reader: inout YAMLReader) {
        for entry in reader.entries(node, known: nil, what: "params") {
            guard SwiftName.isIdentifier(entry.key) else {
                reader.complain(
                    entry.node, "params: '\(entry.key)' is no Swift name",
                    mend: "use letters, digits and _, not a keyword, as in `learningRate`")
                continue
            }
            var value = entry.value
            var help = ""
            if value.mapping != nil {
                var given: Node?
                let what = "params: \(entry.key)"
                for field in reader.entries(value, known: ["default", "help"], what: what) {
                    if field.key == "help" {
                        help = reader.text(field.value, "help")
                    } else {
                        given = field.value
                    }
                }
                guard let given else {
                    reader.complain(entry.node, "params: \(entry.key) needs a default")
                    continue
                }
                value = given
            }
            guard let read = ParameterValue(value) else {
                reader.complain(
                    value, "params: the type of \(entry.key) cannot be told from its default",
                    mend: "give a number, true or false, a text, or a list of one of these")
                continue
            }
            parameters.append(
                Parameter(
                    name: entry.key, defaultValue: read, help: help,
                    place: reader.place(entry.node)))
        }
    }

    private mutating func readDatasets(_ node: Node, _ reader: inout YAMLReader) {
        for entry in reader.namedItems(node, what: "datasets") {
            var dataset = DatasetEntry(
                name: entry.name ?? "", path: "", place: reader.place(entry.node))
            let known = ["name", "path", "sha256", "licence", "source", "restricted"]
            if entry.value.scalar != nil {
                dataset.path = reader.text(entry.value, "path")
            } else {
                for field in reader.entries(entry.value, known: known, what: "a dataset") {
                    switch field.key {
                    case "name": dataset.name = reader.text(field.value, "name")
                    case "path": dataset.path = reader.text(field.value, "path")
                    case "licence": dataset.licence = reader.text(field.value, "licence")
                    case "source": dataset.source = reader.text(field.value, "source")
                    case "restricted": dataset.restricted = reader.flag(field.value, "restricted")
                    default:
                        dataset.sha256 = reader.text(field.value, "sha256").lowercased()
                        if dataset.sha256.utf8.count != 64
                            || !dataset.sha256.utf8.allSatisfy({
                                (48...57).contains($0) || (97...102).contains($0)
                            })
                        {
                            reader.complain(
                                field.value, "sha256 must be 64 hexadecimal digits",
                                mend: "take the first word that `sha256sum FILE` prints")
                        }
                    }
                }
            }
            if dataset.path.isEmpty { reader.complain(entry.node, "a dataset needs a path") }
            if dataset.name.isEmpty { dataset.name = dataset.path }
            datasets.append(dataset)
        }
    }

    private mutating func readTolerances(_ node: Node, _ reader: inout YAMLReader) {
        for entry in reader.entries(node, known: nil, what: "tolerances") {
            var tolerance = ToleranceEntry(metric: entry.key)
            if entry.value.scalar != nil {
                tolerance.absolute = reader.number(entry.value, entry.key)
            } else {
                let known = ["absolute", "relative", "ulps", "seeds"]
                for field in reader.entries(entry.value, known: known, what: "a tolerance") {
                    let value = reader.number(field.value, field.key)
                    switch field.key {
                    case "absolute": tolerance.absolute = value
                    case "relative": tolerance.relative = value
                    case "ulps": tolerance.ulps = UInt64(exactly: value)
                    default: tolerance.seeds = Int(exactly: value)
                    }
                }
            }
            tolerances.append(tolerance)
        }
    }

    private mutating func readRelease(_ node: Node, _ reader: inout YAMLReader) {
        func policy(_ node: Node, _ reader: inout YAMLReader) -> ReleaseEntry.Policy? {
            let text = reader.text(node, "release")
            let names = ReleaseEntry.Policy.allCases.map(\.rawValue)
            if let policy = ReleaseEntry.Policy(rawValue: text) { return policy }
            reader.complain(node, "unknown release '\(text)'" + NearMiss.hint(text, in: names))
            return nil
        }
        if node.scalar != nil {
            release.policy = policy(node, &reader)
            return
        }
        let known = ["policy", "reason", "completions"]
        for field in reader.entries(node, known: known, what: "release") {
            switch field.key {
            case "policy": release.policy = policy(field.value, &reader)
            case "reason": release.reason = reader.text(field.value, "reason")
            default: release.completions = reader.flag(field.value, "completions")
            }
        }
    }
}

extension Substring {
    /// Without the white space at its end (YAML's markers may carry some).
    var trimmed: Substring {
        var rest = self
        while rest.last?.isWhitespace == true { rest.removeLast() }
        return rest
    }
}
