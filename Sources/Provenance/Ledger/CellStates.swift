// What marked cells left to later ones: stored with their run, under its seal, and found again by a key that covers
// everything known to decide it.

internal import Foundation
internal import GRDB
internal import Synchronization

/// The stored values of one cell.
package struct CellState: Sendable, Hashable {
    /// The run that stored them.
    package var run: String
    /// The cell, counted from 0 in that run.
    package var cell: Int
    package var key: String
    package var sha256: String
    package var size: Int64
}

/// What decides the values that a cell leaves behind. Files that it reads are compared apart: they are known only when it
/// has run.
package struct CellStateKey: Sendable {
    package var cell: String
    /// Over the cell's code, all above it, the engine's build and the compiler.
    package var code: String
    package var parameters: [(name: String, value: String)]
    package var seed: UInt64
    package var tier: String
    /// Facts of the machine and of its variables that arithmetic may depend on.
    package var machine: [(name: String, value: String)]
    /// Artifacts taken from other runs: name and SHA-256.
    package var inputs: [(name: String, sha256: String)]

    package init(
        cell: String, code: String, parameters: [(name: String, value: String)], seed: UInt64,
        tier: String, environment: EnvironmentSnapshot, inputs: [(name: String, sha256: String)]
    ) {
        self.cell = cell
        self.code = code
        self.parameters = parameters
        self.seed = seed
        self.tier = tier
        machine = environment.facts.filter {
            $0.name.hasPrefix("cpu.") && $0.name != "cpu.cores" || $0.name.hasPrefix("env.")
                || $0.name == "library.glibc"
        }.map { ($0.name, $0.value) }
        self.inputs = inputs
    }

    /// 64 hexadecimal digits.
    package var text: String {
        var hasher = CanonicalHasher()
        hasher.add("study cell state key 1")
        hasher.add(cell)
        hasher.add(code)
        for list in [
            parameters.map { ($0.name, $0.value) }, inputs.map { ($0.name, $0.sha256) },
            machine.map { ($0.name, $0.value) },
        ] {
            hasher.add(Int64(list.count))
            for (name, value) in list {
                hasher.add(name)
                hasher.add(value)
            }
        }
        hasher.add("\(seed)")
        hasher.add(tier)
        return hasher.digest().hex
    }
}

extension RunWriter {
    /// Stores what a marked cell has written down of its values.
    package func keepState(of cell: Int, at path: String, key: String) throws {
        let digest = try ledger.objects.store(file: path)
        unlink(path)
        try state.withLock { state in
            try check(state)
            try write(&state)
            try ledger.write { db in
                try db.execute(
                    sql: "INSERT INTO cell_state VALUES (?, ?, ?, ?, ?)",
                    arguments: [number, cell, key, digest.sha256, digest.size])
            }
            state.unsynced = true
        }
    }
}

extension Ledger {
    /// The states of a study's cell that sealed runs stored, those of `first` before the others, then newest first.
    /// Replays store none.
    package func cellStates(of study: String, cell: String, first: String) throws -> [CellState] {
        try read { db in
            try Row.fetchAll(
                db,
                sql: """
                    SELECT r.id, s.cell, s.key, s.sha256, s.size FROM cell_state s
                    JOIN run r ON r.number = s.run JOIN seal e ON e.run = s.run
                    JOIN cell c ON c.run = s.run AND c.cell = s.cell
                    WHERE c.id = ?1 AND (r.study = ?2 OR r.id = ?3)
                    ORDER BY r.id = ?3 DESC, r.began DESC, r.number DESC
                    """, arguments: [cell, study, first]
            ).map {
                CellState(run: $0[0], cell: $0[1], key: $0[2], sha256: $0[3], size: $0[4])
            }
        }
    }

    /// Writes a state's bytes at `path`, each checked on the way.
    /// - Throws: ``ProvenanceError`` with reason `.missingObject` or `.corrupted`.
    package func layOut(_ state: CellState, at path: String) throws {
        try objects.copy(state.sha256, to: path)
    }

    /// Whether the store has a state, with the bytes that it is named for.
    package func brokenState(_ state: CellState) throws -> BrokenObject? {
        try brokenObjects(of: state.sha256, isFolder: false).first
    }
}
