// The crate's description: RO-Crate 1.1 with the Provenance Run Crate 0.5 profile. Only what the run's
// record says goes in; what a profile asks for and nobody knows is said to be unknown.
// ROCrate+Actions.swift says what ran, ROCrate+Parameters.swift what went in and out.

internal import Events
internal import Foundation
internal import Provenance

/// A crate in the making: its entities in order, and the digests of its files.
struct ROCrate {
    let run: RunFacts
    let files: [PayloadFile]
    let digests: [String: PayloadDigest]
    let withheld: [Withheld]
    /// Which `study` wrote it.
    let softwareVersion: String
    var entities: [JSON] = []
    /// Parameters by the path or value entity that realises them, in both directions.
    var examples: [(parameter: String, work: String)] = []

    static let profiles: [(id: String, name: String, version: String)] = [
        ("https://w3id.org/ro/wfrun/process/0.5", "Process Run Crate", "0.5"),
        ("https://w3id.org/ro/wfrun/workflow/0.5", "Workflow Run Crate", "0.5"),
        ("https://w3id.org/ro/wfrun/provenance/0.5", "Provenance Run Crate", "0.5"),
        ("https://w3id.org/workflowhub/workflow-ro-crate/1.0", "Workflow RO-Crate", "1.0"),
    ]
    static let parameterProfile = "https://bioschemas.org/profiles/FormalParameter/1.0-RELEASE"
    static let workflowProfile = "https://bioschemas.org/profiles/ComputationalWorkflow/1.0-RELEASE"
    static let swift = "https://www.swift.org/"
    static let software = "urn:study:software"
    /// The profile asks for an organisation's address; studies do not give one, and none is invented.
    static let notStated = "urn:study:not-stated"

    var runID: String { "urn:uuid:" + run.uuid }
    var studyPath: String { files.first { $0.role == .study }?.path ?? run.study }
    func cellID(_ index: Int) -> String {
        "arcp://uuid,\(run.uuid)/\(Self.encoded(studyPath))#" + Self.encoded(run.cells[index].id)
    }
    /// Cells that the record says were begun: the others are no actions.
    var begunCells: [Int] { run.cells.indices.filter { run.cells[$0].began != nil } }

    /// A relative path as an IRI.
    static func encoded(_ path: String) -> String {
        path.addingPercentEncoding(withAllowedCharacters: .urlPathAllowed) ?? path
    }

    static func time(_ nanoseconds: Int64) -> String {
        let formatter = DateFormatter()
        formatter.locale = Locale(identifier: "en_US_POSIX")
        formatter.timeZone = TimeZone(secondsFromGMT: 0)
        formatter.dateFormat = "yyyy-MM-dd'T'HH:mm:ss"
        let seconds = nanoseconds.quotientFloored(by: 1_000_000_000)
        let text = formatter.string(from: Date(timeIntervalSince1970: Double(seconds)))
        let milliseconds = (nanoseconds - seconds * 1_000_000_000) / 1_000_000
        return text + "." + String(1000 + milliseconds).dropFirst() + "+00:00"
    }

    /// The whole description.
    mutating func document() -> JSON {
        descriptor()
        root()
        profilesAndPeople()
        parameters()
        workflow()
        cells()
        actions()
        fileEntities()
        return .object([("@context", ROCrateContext.value), ("@graph", .array(entities))])
    }

    mutating func add(_ id: String, _ type: JSON, _ members: [(String, JSON?)]) {
        entities.append(
            .object(
                [("@id", .string(id)), ("@type", type)]
                    + members.compactMap { name, value in
                        value.map { (name, $0) }
                    }))
    }

    mutating func add(_ id: String, _ type: String, _ members: [(String, JSON?)]) {
        add(id, .string(type), members)
    }

    private mutating func descriptor() {
        add(
            BundleLayout.crate, "CreativeWork",
            [
                ("about", .reference("./")),
                (
                    "conformsTo",
                    .array([
                        .reference("https://w3id.org/ro/crate/1.1"),
                        .reference(Self.profiles[3].id),
                    ])
                ),
            ])
    }

    var licenceID: String {
        run.licence.map { "https://spdx.org/licenses/\(Self.encoded($0))" } ?? "#licence-not-stated"
    }
    var authorIDs: [String] {
        run.authors.isEmpty
            ? ["#author-not-stated"] : run.authors.indices.map { personID($0) }
    }
    private func personID(_ index: Int) -> String {
        run.authors[index].orcid ?? "#author-\(index + 1)"
    }
    private var organisations: [String] {
        var seen: [String] = []
        for author in run.authors {
            if let name = author.affiliation, !seen.contains(name) { seen.append(name) }
        }
        return seen
    }

    private mutating func root() {
        let actions = [runID, "#organize"] + begunCells.map { "#run-\($0 + 1)" }
        var description =
            "What \(run.study) was, did and gave in run \(run.id), which \(Self.words(run.status)): the study as run, its source, inputs, results and environment. Times are those on record; the publication date is the day the run ended."
        if !withheld.isEmpty {
            description +=
                " \(withheld.count) files are named by their hashes only; release.json says why."
        }
        let day = String(Self.time(run.epoch * 1_000_000_000).prefix(10))
        add(
            "./", "Dataset",
            [
                (
                    "name",
                    .string("\(run.title.isEmpty ? run.study : run.title): run \(run.shortID)")
                ),
                ("description", .string(description)), ("datePublished", .string(day)),
                ("license", .reference(licenceID)),
                ("author", .oneOrMany(authorIDs.map(JSON.reference))),
                (
                    "publisher",
                    .reference(organisations.isEmpty ? "#publisher-not-stated" : "#organisation-1")
                ),
                ("conformsTo", .array(Self.profiles.map { .reference($0.id) })),
                ("mainEntity", .reference(Self.encoded(studyPath))),
                ("mentions", .oneOrMany(actions.map(JSON.reference))),
                ("hasPart", .oneOrMany(files.map { .reference(Self.encoded($0.path)) })),
            ])
    }

    private mutating func profilesAndPeople() {
        for profile in Self.profiles {
            add(
                profile.id, "CreativeWork",
                [("name", .string(profile.name)), ("version", .string(profile.version))])
        }
        for (id, name) in [
            (Self.parameterProfile, "Bioschemas FormalParameter profile"),
            (Self.workflowProfile, "Bioschemas ComputationalWorkflow profile"),
        ] {
            add(id, "CreativeWork", [("name", .string(name)), ("version", .string("1.0-RELEASE"))])
        }
        if let licence = run.licence {
            add(
                licenceID, "CreativeWork",
                [
                    ("name", .string(licence)), ("identifier", .string(licence)),
                    ("description", .string("The licence \(licence), by its SPDX identifier.")),
                    ("url", .string("https://spdx.org/licenses/\(licence).html")),
                ])
        } else {
            add(
                licenceID, "CreativeWork",
                [
                    ("name", .string("no licence stated")),
                    (
                        "description",
                        .string(
                            "The study does not say under which licence it is; ask its authors before reuse."
                        )
                    ), ("url", .string("https://spdx.dev/learn/handling-license-info/")),
                ])
        }
        for (index, name) in organisations.enumerated() {
            add(
                "#organisation-\(index + 1)", "Organization",
                [("name", .string(name)), ("url", .string(Self.notStated))])
        }
        if organisations.isEmpty {
            add(
                "#publisher-not-stated", "Organization",
                [
                    ("name", .string("publisher not stated")), ("url", .string(Self.notStated)),
                    ("description", .string("The record names no organisation.")),
                ])
        }
        for (index, author) in run.authors.enumerated() {
            let affiliation = author.affiliation.flatMap { organisations.firstIndex(of: $0) }
            add(
                personID(index), "Person",
                [
                    ("name", .string(author.name)),
                    (
                        "affiliation",
                        .reference(
                            affiliation.map { "#organisation-\($0 + 1)" }
                                ?? "#affiliation-not-stated")
                    ),
                ])
        }
        if run.authors.isEmpty {
            add(
                "#author-not-stated", "Person",
                [
                    ("name", .string("author not stated")),
                    (
                        "description",
                        .string(
                            "The study names no author, and the record does not say who ran it.")
                    ),
                    ("affiliation", .reference("#affiliation-not-stated")),
                ])
        }
        if run.authors.contains(where: { $0.affiliation == nil }) || run.authors.isEmpty {
            add(
                "#affiliation-not-stated", "Organization",
                [("name", .string("affiliation not stated")), ("url", .string(Self.notStated))])
        }
        add(
            "#language", "ComputerLanguage",
            [
                ("name", .string("Swift in Markdown")), ("identifier", .reference(Self.swift)),
                ("url", .reference(Self.swift)), ("version", .string(swiftVersion)),
            ])
        add(
            Self.swift, "SoftwareApplication",
            [
                ("name", .string("Swift toolchain")), ("url", .string(Self.swift)),
                ("softwareVersion", .string(swiftVersion)),
            ])
        add(
            Self.software, "SoftwareApplication",
            [
                ("name", .string("study")), ("url", .string("urn:study:software")),
                ("softwareVersion", .string(engineVersion)),
                ("softwareRequirements", .reference(Self.swift)),
            ])
    }

    private var swiftVersion: String {
        run.fact("swift.version") ?? run.fact("swift") ?? "not recorded"
    }
    private var engineVersion: String {
        run.fact("engine.build").map { "\(softwareVersion)+\($0)" } ?? softwareVersion
    }

    static func words(_ status: RunFacts.Status) -> String {
        switch status {
        case .succeeded: "succeeded"
        case .failed: "failed"
        case .interrupted: "was interrupted"
        case .lost: "ended without saying how"
        case .running: "was still running"
        }
    }

    private mutating func fileEntities() {
        for file in files where file.role != .study {
            var about: JSON?
            switch file.role {
            case .readme: about = .reference("./")
            case .report, .log: about = .reference(runID)
            default: break
            }
            add(Self.encoded(file.path), "File", fileMembers(file) + [("about", about)])
        }
        for format in formats.sorted(by: { $0.key < $1.key }) {
            add(format.key, "WebSite", [("name", .string(format.value))])
        }
    }

    func fileMembers(_ file: PayloadFile) -> [(String, JSON?)] {
        let digest = digests[file.path]
        let page = Self.formatPages[file.mediaType]
        let works = examples.filter { $0.work == file.path }.map { JSON.reference($0.parameter) }
        return [
            ("name", .string(file.name)), ("description", .string(file.about)),
            (
                "encodingFormat",
                page.map { .array([.string(file.mediaType), .reference($0.url)]) }
                    ?? .string(file.mediaType)
            ),
            ("contentSize", .string(String(digest?.size ?? file.source.size))),
            ("sha256", digest.map { .string($0.sha256) }),
            ("sha512", digest.map { .string($0.sha512) }),
            ("exampleOfWork", .oneOrMany(works)),
        ]
    }

    private var formats: [String: String] {
        var found: [String: String] = [:]
        for file in files {
            if let page = Self.formatPages[file.mediaType] { found[page.url] = page.name }
        }
        return found
    }

    static let formatPages: [String: (url: String, name: String)] = [
        "application/jsonl": ("https://jsonlines.org/", "JSON Lines"),
        "application/vnd.sqlite3": (
            "https://www.sqlite.org/fileformat2.html", "SQLite database file format"
        ),
        "application/vnd.safetensors": ("https://huggingface.co/docs/safetensors/", "Safetensors"),
        "application/vnd.in-toto+json": ("https://in-toto.io/Statement/v1", "in-toto statement"),
    ]
}

extension Int64 {
    func quotientFloored(by divisor: Int64) -> Int64 {
        self >= 0 ? self / divisor : -((-self + divisor - 1) / divisor)
    }
}
