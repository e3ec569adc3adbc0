// All that a bundle or a report says of a run, as plain values. LedgerFacts.swift fills it from the
// ledger; nothing in it is guessed, and what is not known is nil or empty.

package import Events
package import Provenance

internal import Crypto
internal import Foundation

/// One run, read whole.
package struct RunFacts: Sendable {
    // What is as the ledger has it is the ledger's own type.
    package typealias Status = RunStatus
    package typealias Parameter = RunOpening.Parameter
    package typealias Output = RunRecord.Output
    package typealias Figure = FigureRecord
    /// A file below an input or an artifact; `path` is empty for a single file.
    package typealias Member = ManifestEntry
    /// Why the run did not succeed, as the recorder knows it.
    package typealias Failure = RunFailure

    /// Someone whom the study names as its author.
    package struct Person: Sendable, Hashable {
        package var name: String
        package var affiliation: String?
        package var orcid: String?
        package init(name: String, affiliation: String? = nil, orcid: String? = nil) {
            self.name = name
            self.affiliation = affiliation
            self.orcid = orcid
        }
    }

    /// A cell as the ledger has it, and its lines.
    @dynamicMemberLookup package struct Cell: Sendable {
        package var record: RunRecord.Cell
        package var source: String
        package init(_ record: RunRecord.Cell, source: String) {
            self.record = record
            self.source = source
        }
        package subscript<Value>(dynamicMember path: WritableKeyPath<RunRecord.Cell, Value>)
            -> Value
        {
            get { record[keyPath: path] }
            set { record[keyPath: path] = newValue }
        }
        package var seconds: Double? {
            guard let began = record.began, let ended = record.ended else { return nil }
            return Double(ended.nanoseconds - began.nanoseconds) / 1e9
        }
    }

    /// Numbers of one name and arm, in the order they came.
    package struct Series: Sendable {
        package var cell: Int
        package var name: String
        package var arm: String
        package var steps: [Int64] = []
        package var values: [Double] = []
        package var times: [Int64] = []
        /// By position in the series.
        package var proportions: [Int: ProportionRecord] = [:]
        package init(cell: Int, name: String, arm: String) {
            self.cell = cell
            self.name = name
            self.arm = arm
        }
        /// Whether it is a single number rather than a course over steps.
        package var isScalar: Bool { steps.allSatisfy { $0 < 0 } }
    }

    /// What a cell read.
    package struct Input: Sendable, Hashable {
        package var cell: Int
        package var path: String
        /// "dataset", "model", "adapter" or "file".
        package var kind: String
        package var files: [Member]
        /// From the front matter, where it says so.
        package var licence: String?
        package var url: String?
        package var isRestricted: Bool
        /// A run on this ledger made every file of it.
        package var isMadeByProject: Bool
        /// How the path reads in a bundle, where that is another.
        var shownPath: String?
        package init(
            cell: Int, path: String, kind: String, files: [Member], licence: String? = nil,
            url: String? = nil, isRestricted: Bool = false, isMadeByProject: Bool = false
        ) {
            self.isMadeByProject = isMadeByProject
            self.cell = cell
            self.path = path
            self.kind = kind
            self.files = files
            self.licence = licence
            self.url = url
            self.isRestricted = isRestricted
        }
    }

    /// What a cell made.
    package struct Artifact: Sendable, Hashable {
        package var cell: Int
        package var name: String
        package var mediaType: String
        /// "", "weights", "completions" or "data".
        package var kind: String
        package var files: [Member]
        package init(cell: Int, name: String, mediaType: String, kind: String, files: [Member]) {
            self.cell = cell
            self.name = name
            self.mediaType = mediaType
            self.kind = kind
            self.files = files
        }
    }

    package struct Change: Sendable, Hashable {
        package var path: String
        package var kind: String
        /// Hunks of a unified diff against the commit, where they are known.
        package var patch = ""
        package var added = 0
        package var removed = 0
        /// Why no hunks are shown.
        package var note = ""
        package init(path: String, kind: String) {
            self.path = path
            self.kind = kind
        }
    }

    package struct Verdict: Sendable, Hashable {
        package var replay: String
        /// "same bits", "equal", "within tolerance", "different".
        package var rung: String
        package var detail: String
        package init(replay: String, rung: String, detail: String) {
            self.replay = replay
            self.rung = rung
            self.detail = detail
        }
    }

    /// Another run of the same study, tried before or after: the denominator.
    package struct Attempt: Sendable, Hashable {
        package var id: String
        package var status: Status
        package var began: Timestamp
        package var seconds: Double?
        package var note: String
        package var seed: String
        package var parameters: String
        /// The run that it repeats, and how that came out.
        package var replayOf: String?
        package var rung: String?
        package init(
            id: String, status: Status, began: Timestamp, seconds: Double?, note: String,
            seed: String = "", parameters: String = "", replayOf: String? = nil,
            rung: String? = nil
        ) {
            self.seed = seed
            self.parameters = parameters
            self.replayOf = replayOf
            self.rung = rung
            self.seconds = seconds
            self.id = id
            self.status = status
            self.began = began
            self.note = note
        }
    }

    package var id = ""
    package var study = ""
    package var title = ""
    package var text = ""
    package var authors: [Person] = []
    /// An SPDX identifier, where the study states one.
    package var licence: String?
    package var seed = ""
    package var tier = ""
    package var threads = 0
    package var command: [String] = []
    package var parameters: [Parameter] = []
    package var cells: [Cell] = []
    package var began = Timestamp(nanoseconds: 0)
    package var ended: Timestamp?
    package var status = Status.succeeded
    package var failure: Failure?
    /// SHA-256 over the run's rows, where it is sealed.
    package var seal: String?
    package var environment: [(name: String, value: String)] = []
    package var code = CodeIdentity()
    /// Those of `code`, with what changed where that is known.
    package var changes: [Change] = []
    package var inputs: [Input] = []
    package var artifacts: [Artifact] = []
    package var series: [Series] = []
    package var claims: [ClaimRecord] = []
    package var inlineValues: [Int: String] = [:]
    package var figures: [Figure] = []
    package var outputs: [Output] = []
    package var items: [ItemRecord] = []
    /// What the run took from other runs.
    package var upstreams: [UpstreamLink] = []
    package var streams: [(name: String, draws: String)] = []
    package var digests: [DigestRecord] = []
    package var replayOf: String?
    package var verdicts: [Verdict] = []
    package var attempts: [Attempt] = []
    /// `release` of the front matter: "open", "metrics-only" or empty; and its reason.
    package var release = ""
    package var releaseReason: String?
    package var releasesCompletions = false

    package init() {}

    /// The last eight digits of the id, enough to name it.
    package var shortID: String { String(id.suffix(8)) }

    /// A version-4 UUID made from the id: the same run has the same one everywhere.
    package var uuid: String {
        var bytes = Array(SHA256.hash(data: Array("study run \(id)".utf8)).prefix(16))
        bytes[6] = bytes[6] & 0x0f | 0x40
        bytes[8] = bytes[8] & 0x3f | 0x80
        let digits = hexadecimal(bytes)
        var parts: [Substring] = []
        var rest = digits[...]
        for length in [8, 4, 4, 4, 12] {
            parts.append(rest.prefix(length))
            rest = rest.dropFirst(length)
        }
        return parts.joined(separator: "-")
    }

    /// The time of everything in the bundle: the run's end, or its beginning where the end is not known.
    package var epoch: Int64 { (ended ?? began).nanoseconds / 1_000_000_000 }

    package func fact(_ name: String) -> String? { environment.first { $0.name == name }?.value }
}
