// One run, read back whole: what show, diff, replay, export and report work from. RunRecord+Reading.swift
// fetches it.

package import Events

/// Everything a ledger has on one run.
package struct RunRecord: Sendable, Equatable {
    package struct Cell: Sendable, Equatable {
        package var index: Int
        package var id: String
        package var firstLine: Int
        package var lastLine: Int
        package var sha256: String
        package var began: Timestamp?
        package var ended: Timestamp?
        /// "pending", "running", "succeeded", "failed", "interrupted".
        package var state: String

        package init(
            index: Int, id: String, firstLine: Int, lastLine: Int, sha256: String,
            began: Timestamp? = nil, ended: Timestamp? = nil, state: String
        ) {
            (self.index, self.id) = (index, id)
            (self.firstLine, self.lastLine) = (firstLine, lastLine)
            (self.sha256, self.state) = (sha256, state)
            (self.began, self.ended) = (began, ended)
        }
    }

    package struct Output: Sendable, Equatable {
        package var cell: Int
        package var stream: RunWriter.OutputStream
        package var bytes: [UInt8]

        package init(cell: Int, stream: RunWriter.OutputStream, bytes: [UInt8]) {
            self.cell = cell
            self.stream = stream
            self.bytes = bytes
        }
    }

    /// A metric's summary; its points are read with ``Ledger/points(of:)``, or lie in `points` where
    /// they were asked for.
    package struct Series: Sendable, Equatable {
        package var row: Int64
        package var cell: Int
        package var name: String
        package var arm: String
        package var count: Int
        package var lastStep: Int64
        package var last: Double
        package var minimum: Double
        package var maximum: Double
        package var points: [Point] = []
        /// Where values are rates: by ordinal, out of how many, and who judged.
        package var proportions: [Int: ProportionRecord] = [:]

        /// As people write it: "refusal", or "refusal[aligned + LoX]".
        package var label: String { arm.isEmpty ? name : "\(name)[\(arm)]" }
    }

    package struct Point: Sendable, Equatable {
        package var step: Int64
        package var value: Double
        package var time: Timestamp

        package init(step: Int64, value: Double, time: Timestamp) {
            self.step = step
            self.value = value
            self.time = time
        }
    }

    package struct Seal: Sendable, Equatable {
        package var sha256: String
        package var ended: Timestamp
    }

    package var number: Int64
    package var id: String
    package var study: String
    package var title: String
    /// The study's text as it was compiled, and its digest.
    package var text: String
    package var sourceSHA256: String
    package var seed: UInt64
    package var tier: String
    package var threads: Int
    package var command: [String]
    package var release: String
    package var began: Timestamp
    package var code: CodeIdentity
    package var replayOf: String?
    /// From which ledger or bundle the run came, where it did not happen here.
    package var imported: String?
    package var status: RunStatus
    package var seal: Seal?
    package var process: ProcessIdentity?

    package var parameters: [RunOpening.Parameter] = []
    package var tolerances: [Tolerance] = []
    package var environment = EnvironmentSnapshot()
    package var cells: [Cell] = []
    package var outputs: [Output] = []
    package var series: [Series] = []
    package var claims: [ClaimRecord] = []
    package var inlineValues: [Int: String] = [:]
    package var artifacts: [StoredArtifact] = []
    package var figures: [FigureRecord] = []
    package var items: [ItemRecord] = []
    package var inputs: [InputRecord] = []
    package var streams: [String: UInt64] = [:]
    package var digests: [DigestRecord] = []
    package var failures: [RunFailure] = []
    /// What decides the results (``ContentKey``); nil for runs of versions that did not work it out.
    package var contentKey: String?
    /// What was taken from other runs.
    package var upstreams: [UpstreamLink] = []

    /// When the run ended: at its seal.
    package var ended: Timestamp? { seal?.ended }

    /// The last eight digits of the id, which alone name the run.
    package var shortID: String { id.split(separator: "-").last.map(String.init) ?? id }

    /// What a cell wrote to a stream, joined.
    package func output(of cell: Int, _ stream: RunWriter.OutputStream) -> [UInt8] {
        outputs.filter { $0.cell == cell && $0.stream == stream }.flatMap(\.bytes)
    }
}
