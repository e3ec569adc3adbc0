// Which cells `study replay --cell` need not run, because what they leave to later ones is stored, and why each of the
// others does.

internal import Foundation
internal import Notebook
internal import Provenance

/// The marked cells of a study, as one run of it sees them.
struct StoredCells {
    let study: StudyFile
    let ledger: Ledger
    /// By cell.
    let keys: [Int: String]
    private let parameters: [(name: String, value: String)]
    private let seed: UInt64
    private let tier: String

    init(
        _ program: Program, _ node: StudyNode, tier: String, environment: EnvironmentSnapshot,
        upstreams: [UpstreamLink], ledger: Ledger
    ) throws {
        study = node.study
        self.ledger = ledger
        self.tier = tier
        seed = node.seed
        let parameters: [(name: String, value: String)] = node.values.map {
            ($0.parameter.name, "\($0.value)")
        }
        self.parameters = parameters
        var keys: [Int: String] = [:]
        let marked = program.units.filter { $0.role == .keep }
        // Which variables are stored depends on what the cells below use: those of `--until` may be fewer.
        let variables = marked.isEmpty ? [:] : try program.flow.states
        for unit in marked {
            keys[unit.cell] =
                CellStateKey(
                    cell: node.study.cells[unit.cell].id,
                    code: unit.key + (variables[unit.cell] ?? ""), parameters: parameters,
                    seed: node.seed, tier: tier, environment: environment,
                    inputs: upstreams.map { ($0.name, $0.sha256) }
                ).text
        }
        self.keys = keys
    }

    /// What is to be done for a cell, and why.
    enum Choice {
        /// "that of run X, of the same key".
        case stored(CellState, String)
        /// A clause on the stored values, "no run has stored them", or nothing of a cell that is not marked.
        case computed(String?)
    }

    /// By cell: those before `target` that are marked.
    func choices(before target: Int, of original: RunRecord) throws -> [Int: Choice] {
        var result: [Int: Choice] = [:]
        for cell in study.cells where cell.index < target && keys[cell.index] != nil {
            result[cell.index] = try choice(cell, original)
        }
        return result
    }

    private func choice(_ cell: Cell, _ original: RunRecord) throws -> Choice {
        guard tier == "portable" else {
            return .computed(
                "the bits of the \(tier) tier depend on its library too, so no stored values are used"
            )
        }
        let states = try ledger.cellStates(
            of: original.study, cell: cell.id, first: original.id)
        guard !states.isEmpty else { return .computed("no run has stored its values") }
        var reasons: [String] = []
        for state in states.prefix(Self.looked) {
            if let reason = try unfit(state, cell, original) {
                reasons.append(reason)
                continue
            }
            return .stored(state, "run \(state.run) stored them under the same key")
        }
        // The newest other one says what has changed; more would be a list that nobody reads.
        return .computed(reasons.prefix(2).joined(separator: "; "))
    }

    /// How many runs' states are looked at: those of an old study could be thousands.
    private static let looked = 32

    /// Why a stored state does not stand for what the cell would give; nothing where it does.
    private func unfit(_ state: CellState, _ cell: Cell, _ original: RunRecord) throws -> String? {
        let run = state.run == original.id ? original : try ledger.run(state.run)
        let whose = "those of run \(state.run)"
        if state.cell != cell.index || state.key != keys[cell.index] {
            let difference = try difference(run, state, cell)
            return "\(whose) have another key: \(difference)"
        }
        if let changed = run.inputs.first(where: { $0.cell <= cell.index && $0.changed != nil }) {
            return "\(whose) were computed while \(changed.written) changed"
        }
        func read(_ run: RunRecord) -> [[String]] {
            run.inputs.filter { $0.cell <= cell.index }.map { [$0.written, $0.sha256] }
        }
        if read(run) != read(original) { return "\(whose) were computed from other files" }
        if try run.id != original.id && ledger.sealHolds(run.id) != true {
            return "\(whose) are of a record that is not what was sealed"
        }
        if let broken = try ledger.brokenState(state) {
            return broken.isSpoiled
                ? "\(whose) are spoiled in the store"
                : "\(whose) are no longer in the store"
        }
        return nil
    }

    /// In what the run that stored a state was another than this one.
    private func difference(_ run: RunRecord, _ state: CellState, _ cell: Cell) throws -> String {
        var found: [String] = []
        let recorded = run.cells.first { $0.index == state.cell }
        if recorded?.sha256 != Self.digest(cell) {
            found.append("the cell's source is another")
        }
        for other in study.cells where other.index < cell.index {
            let before = run.cells.first { $0.index == other.index }
            if before?.id != other.id || before?.sha256 != Self.digest(other) {
                found.append("the source of cell '\(other.id)' before it is another")
                break
            }
        }
        for (name, value) in parameters {
            let theirs = run.parameters.first { $0.name == name }?.value ?? "none"
            if theirs != value { found.append("\(name) was \(theirs), not \(value)") }
        }
        if run.seed != seed { found.append("the seed was \(run.seed), not \(seed)") }
        if run.tier != tier { found.append("the tier was \(run.tier)") }
        let now = EnvironmentSnapshot.collect()
        for (name, what) in [
            ("cpu.model", "the processor was another"),
            ("cpu.features", "the processor was another"),
            ("library.glibc", "the C library was another"),
        ] where run.environment[name] != now[name] && !found.contains(what) { found.append(what) }
        if found.isEmpty {
            found.append(
                "the engine, the compiler, an input or a variable of the environment was another")
        }
        return found.joined(separator: ", ")
    }

    static func digest(_ cell: Cell) -> String { Digest(of: cell.source).hex }
}
