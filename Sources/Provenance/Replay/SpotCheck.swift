// What a run has stored of its trainings, cut into segments between checkpoints; and what computing some
// of them again proves.

package import Events

/// A training of which a run keeps checkpoints.
package struct StoredTraining: Sendable, Hashable {
    package var cell: Int
    package var arm: String
    /// SHA-256 of each checkpoint, by the steps done in it.
    package var checkpoints: [Int: String]

    package var steps: [Int] { checkpoints.keys.sorted() }

    /// From the beginning to the first checkpoint, and from each to the next.
    package var segments: [TrainingSegment] {
        zip([0] + steps, steps).map { TrainingSegment(cell: cell, arm: arm, from: $0, to: $1) }
    }

    /// The training as its last checkpoint has it; nothing is computed.
    package var end: TrainingSegment {
        let last = steps.last ?? 0
        return TrainingSegment(cell: cell, arm: arm, from: last, to: last)
    }

    /// The trainings of a run, in the order in which they ended.
    package static func all(of run: RunRecord) -> [StoredTraining] {
        var trainings: [StoredTraining] = []
        for artifact in run.artifacts {
            guard let (arm, steps) = TrainingSegment.checkpoint(named: artifact.name) else {
                continue
            }
            if let place = trainings.firstIndex(where: { $0.arm == arm }) {
                trainings[place].checkpoints[steps] = artifact.sha256
            } else {
                trainings.append(
                    StoredTraining(
                        cell: artifact.cell, arm: arm, checkpoints: [steps: artifact.sha256]))
            }
        }
        return trainings
    }
}

/// What chance a false record had of passing a spot check.
package struct SpotChance: Sendable, Hashable {
    package var segments: Int
    package var computed: Int
    package init(segments: Int, computed: Int) {
        self.segments = segments
        self.computed = computed
    }

    /// The chance that none of `wrong` false segments is among those computed, which were drawn at random
    /// without putting any back: C(n − w, k) / C(n, k) = Π (n − w − i) / (n − i) over i < k.
    package func passing(wrong: Int) -> Double {
        guard wrong <= segments - computed else { return 0 }
        return (0..<computed).reduce(1) { product, i in
            product * Double(segments - wrong - i) / Double(segments - i)
        }
    }

    package var lines: [String] {
        func percent(_ chance: Double) -> String {
            shortNumber((chance * 1000).rounded() / 10) + " %"
        }
        var text =
            "\(computed) of \(segments) segments computed again, drawn at random; a record with one false segment passes with a chance of \(percent(passing(wrong: 1)))"
        let tenth = (segments + 9) / 10
        if tenth > 1 { text += ", with \(tenth) false ones of \(percent(passing(wrong: tenth)))" }
        return [text]
    }
}

/// Looks for the first event of a replay that the original does not have so.
package final class FirstDifference {
    /// Where the two part.
    package struct Place: Sendable, Hashable {
        package var cell: Int
        package var arm: String
        package var step: Int?
        package var text: String
    }

    package private(set) var found: Place?
    private let original: RunRecord
    private var states: [String: String] = [:]
    private var values: [String: [Double]] = [:]
    private var seen: [String: Int] = [:]

    package init(_ original: RunRecord) {
        self.original = original
        for digest in original.digests {
            states["\(digest.cell) \(digest.series) \(digest.step)"] = digest.state
        }
        for series in original.series {
            for point in series.points {
                values["\(series.cell) \(series.label) \(point.step)", default: []].append(
                    point.value)
            }
        }
    }

    /// Why the replay should stop at this event; nil where it may go on.
    package func look(_ event: Event) -> String? {
        switch event {
        case .digest(let record):
            let key = "\(record.cell) \(record.series) \(record.step)"
            guard let state = states[key], state != record.digest else { return nil }
            part(
                record.cell, Comparison.arm(ofSeries: record.series), record.step,
                "\(record.series) \(state) recorded, \(record.digest) found")
        case .metric(let point):
            let label = point.arm.isEmpty ? point.name : "\(point.name)[\(point.arm)]"
            let key = "\(point.cell) \(label) \(point.step)"
            let place = seen[key, default: 0]
            seen[key] = place + 1
            guard let recorded = values[key], place < recorded.count else { return nil }
            let value = recorded[place]
            if value.bitPattern == point.value.bitPattern || (value.isNaN && point.value.isNaN) {
                return nil
            }
            part(
                point.cell, point.arm, point.step,
                "\(label) \(number(value)) recorded, \(number(point.value)) found")
        default:
            return nil
        }
        return "a replay that looks for the first difference has found it"
    }

    private func part(_ cell: Int, _ arm: String, _ step: Int64, _ what: String) {
        let id = original.cells.indices.contains(cell) ? original.cells[cell].id : "\(cell + 1)"
        found = Place(
            cell: cell, arm: arm, step: step < 0 ? nil : Int(step),
            text: "cell \(id)\(step < 0 ? "" : ", step \(step)"): \(what)")
    }
}
