// What is known of a run before its first cell, and the making of its row.

package import Events

internal import Foundation
internal import GRDB

/// Everything that is on record before the first cell runs.
package struct RunOpening: Sendable {
    /// A value from the front matter or the command line, as text.
    package struct Parameter: Sendable, Hashable {
        package var name: String
        /// "Int", "Double", "Bool", "String".
        package var type: String
        package var value: String
        package init(name: String, type: String, value: String) {
            self.name = name
            self.type = type
            self.value = value
        }
    }

    /// A cell as it stands in the study.
    package struct Cell: Sendable, Hashable {
        package var id: String
        /// Lines of the Markdown, counted from 1.
        package var firstLine: Int
        package var lastLine: Int
        package var sha256: String
        package init(id: String, firstLine: Int, lastLine: Int, sha256: String) {
            self.id = id
            self.firstLine = firstLine
            self.lastLine = lastLine
            self.sha256 = sha256
        }
    }

    /// The study's file, relative to the ledger's root where it lies below it.
    package var study: String
    /// The study as it was compiled, whole.
    package var text: String
    package var title: String
    package var seed: UInt64
    package var tier: String
    package var threads: Int
    package var parameters: [Parameter]
    package var cells: [Cell]
    package var tolerances: [Tolerance]
    /// `release` of the front matter, as written; empty where it says nothing.
    package var release: String
    /// The metrics that a list of runs shows; chosen by their kind where empty.
    package var headline: [String]
    /// The command line; secrets in it are blotted out before it is written.
    package var command: [String]
    package var code: CodeIdentity
    package var environment: EnvironmentSnapshot
    /// The id of the run that this one repeats.
    package var replayOf: String?
    /// What decides the run's results (``ContentKey``); nil where nobody works it out.
    package var contentKey: String?
    /// What it takes from other runs.
    package var upstreams: [UpstreamLink] = []
    /// The process whose life says whether the run is alive.
    package var process: ProcessIdentity
    package var began: Timestamp

    package init(
        study: String, text: String, title: String, seed: UInt64, tier: String = "portable",
        threads: Int = 1, parameters: [Parameter] = [], cells: [Cell] = [],
        tolerances: [Tolerance] = [], release: String = "", headline: [String] = [],
        command: [String] = [],
        code: CodeIdentity = CodeIdentity(), environment: EnvironmentSnapshot = .collect(),
        replayOf: String? = nil, process: ProcessIdentity = .current, began: Timestamp = .now
    ) {
        self.study = study
        self.text = text
        self.title = title
        self.seed = seed
        self.tier = tier
        self.threads = threads
        self.parameters = parameters
        self.cells = cells
        self.tolerances = tolerances
        self.release = release
        self.headline = headline
        self.command = command
        self.code = code
        self.environment = environment
        self.replayOf = replayOf
        self.process = process
        self.began = began
    }
}

/// Ids sort by when the run began and end in eight digits of a hash, which alone will do as a name:
/// `20261121-081339-7f0c5f0e`.
enum RunID {
    static func make(for opening: RunOpening) -> String {
        // Content and a nonce, so that ids of different machines do not meet in one ledger.
        let nonce = UInt64.random(in: 0...UInt64.max)
        let hash = Digest(of: "\(opening.text)\n\(opening.seed)\n\(nonce)").hex.prefix(8)
        let time = opening.began.text.replacing("-", with: "").replacing(":", with: "")
            .replacing(" ", with: "-")
        return "\(time)-\(hash)"
    }
}

extension Ledger {
    /// Writes the run's row, its parameters, cells, environment and code identity, and keeps its
    /// snapshot under `refs/study/runs/ID`.
    /// - Throws: ``ProvenanceError``.
    package func begin(_ opening: RunOpening) throws -> RunWriter {
        let id = RunID.make(for: opening)
        try opening.code.keep(as: id)
        let number = try write { db in try insert(opening, id: id, into: db) }
        return RunWriter(ledger: self, id: id, number: number, opening: opening)
    }

    private func insert(_ opening: RunOpening, id: String, into db: Database) throws -> Int64 {
        let source = Digest(of: opening.text).hex
        try db.execute(
            sql: "INSERT INTO source VALUES (?, ?) ON CONFLICT DO NOTHING",
            arguments: [source, opening.text])
        var command = Secrets.scrubbed(opening.command)
        // Where the program lies is this machine's business; its name says what was typed.
        if let program = command.first?.split(separator: "/").last { command[0] = String(program) }
        try db.execute(
            sql: """
                INSERT INTO run (id, study, title, source, seed, tier, threads, command, release, began,
                    commit_id, branch, remote, snapshot, replay_of)
                VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
                """,
            arguments: [
                id, opening.study, opening.title, source, "\(opening.seed)", opening.tier,
                opening.threads, jsonText(command), opening.release, opening.began.nanoseconds,
                opening.code.commit, opening.code.branch,
                opening.code.remote.map { Secrets.scrubbed($0) }, opening.code.snapshot,
                opening.replayOf,
            ])
        let number = db.lastInsertedRowID
        let process = opening.process
        try db.execute(
            sql: "INSERT INTO process VALUES (?, ?, ?, ?, ?, ?)",
            arguments: [
                number, process.processID, process.startTicks, process.bootID, process.namespace,
                Timestamp.now.nanoseconds,
            ])
        for (ordinal, parameter) in opening.parameters.enumerated() {
            let value = Secrets.scrubbed(parameter: parameter)
            try db.cachedStatement(sql: "INSERT INTO parameter VALUES (?, ?, ?, ?, ?)").execute(
                arguments: [number, ordinal, parameter.name, parameter.type, value])
        }
        for (ordinal, tolerance) in opening.tolerances.enumerated() {
            try db.cachedStatement(sql: "INSERT INTO tolerance VALUES (?, ?, ?, ?, ?, ?, ?)")
                .execute(
                    arguments: [
                        number, ordinal, tolerance.metric, tolerance.absolute, tolerance.relative,
                        tolerance.ulps.map { Int64($0) }, tolerance.seeds,
                    ])
        }
        for (ordinal, fact) in opening.environment.facts.enumerated() {
            try db.cachedStatement(sql: "INSERT INTO environment VALUES (?, ?, ?, ?)").execute(
                arguments: [number, ordinal, fact.name, fact.value])
        }
        for (ordinal, change) in opening.code.changes.enumerated() {
            try db.cachedStatement(sql: "INSERT INTO change VALUES (?, ?, ?, ?)").execute(
                arguments: [number, ordinal, change.path, change.kind.rawValue])
        }
        for (ordinal, omission) in opening.code.omissions.enumerated() {
            try db.cachedStatement(sql: "INSERT INTO omission VALUES (?, ?, ?, ?, ?)").execute(
                arguments: [number, ordinal, omission.path, omission.size, omission.reason])
        }
        if let key = opening.contentKey {
            try db.execute(
                sql: "INSERT INTO content_key VALUES (?, ?)", arguments: [number, key])
        }
        for (ordinal, link) in opening.upstreams.enumerated() {
            try link.insert(db, run: number, ordinal: ordinal)
        }
        for (index, cell) in opening.cells.enumerated() {
            try db.cachedStatement(
                sql: """
                    INSERT INTO cell (run, cell, id, first_line, last_line, sha256)
                    VALUES (?, ?, ?, ?, ?, ?)
                    """
            ).execute(
                arguments: [number, index, cell.id, cell.firstLine, cell.lastLine, cell.sha256])
        }
        return number
    }
}

/// A list of texts as JSON.
func jsonText(_ list: [String]) -> String {
    guard let data = try? JSONEncoder().encode(list) else { return "[]" }
    return String(decoding: data, as: UTF8.self)
}
