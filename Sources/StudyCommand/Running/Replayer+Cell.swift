// `study replay RUN --cell ID`: one cell and what it needs, instead of the whole study.

internal import Events
internal import Foundation
internal import Notebook
internal import Provenance

extension Replayer {
    /// - Throws: ``ProvenanceError`` with reason `.nothingToReplay` where the cell is not in the run, or did not run.
    static func check(_ id: String, ran run: RunRecord) throws {
        guard let cell = run.cells.first(where: { $0.id == id }) else {
            throw ProvenanceError(
                .nothingToReplay,
                "Run \(run.id) has no cell '\(id)'"
                    + NearMiss.hint(id, in: run.cells.map(\.id)),
                where: run.study, mend: "`study show \(run.id)` lists its cells")
        }
        guard cell.began != nil else {
            throw ProvenanceError(
                .nothingToReplay, "Cell '\(id)' did not run in run \(run.id).",
                where: "\(run.study):\(cell.firstLine)", mend: "choose a cell that did")
        }
    }
}

extension RunRecord {
    /// The record as far as it comes from some of its cells, for comparing a run of these alone.
    func limited(to cells: Set<Int>) -> RunRecord {
        var record = self
        record.outputs.removeAll { !cells.contains($0.cell) }
        record.series.removeAll { !cells.contains($0.cell) }
        record.claims.removeAll { !cells.contains($0.cell) }
        record.artifacts.removeAll { !cells.contains($0.cell) }
        record.figures.removeAll { !cells.contains($0.cell) }
        record.items.removeAll { !cells.contains($0.cell) }
        record.inputs.removeAll { !cells.contains($0.cell) }
        record.digests.removeAll { !cells.contains($0.cell) }
        // Which cell asked for a stream is not on record.
        record.streams = [:]
        for index in record.cells.indices where !cells.contains(index) {
            record.cells[index].state = "pending"
        }
        let study = try? StudyFile(parsing: text, path: self.study)
        let first = study?.cells.first { $0.options.evaluated }?.index
        for value in study?.inlineValues ?? [] {
            if let cell = value.cell ?? first, !cells.contains(cell) {
                record.inlineValues[value.index] = nil
            }
        }
        return record
    }
}
