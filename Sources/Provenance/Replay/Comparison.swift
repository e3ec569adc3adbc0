// Compares two runs output by output: pure, on what the ledger has. Numbers are in
// Comparison+Series.swift, texts and files in Comparison+Outputs.swift; Canonical.swift knows the forms
// that count as equal, SeedTest.swift the test over seeds.

package import Events
internal import Foundation

/// Compares a replay with the run that it repeats.
///
/// Both records need their points (``Ledger/run(_:points:)``).
package struct Comparison {
    let original: RunRecord
    let replay: RunRecord
    let objects: ObjectStore?
    /// For metrics that declare `seeds`: last values over seeds, of the originals and of the replays.
    let samples: [String: (reference: [Double], replayed: [Double])]
    /// What a spot check computed again; nil where everything was.
    let segments: [TrainingSegment]?

    var outputs: [OutputVerdict] = []

    /// - Parameters:
    ///   - objects: Where artifacts lie, for their canonical forms; without it, only their digests are
    ///     compared.
    ///   - segments: For a spot check, the parts of trainings that the replay computed; steps outside
    ///     them are not compared.
    package static func verdict(
        of replay: RunRecord, against original: RunRecord, objects: ObjectStore? = nil,
        samples: [String: (reference: [Double], replayed: [Double])] = [:],
        segments: [TrainingSegment]? = nil
    ) -> ReplayVerdict {
        let original = segments.map { Self.narrowed(original, to: replay, $0) } ?? original
        var comparison = Comparison(
            original: original, replay: replay, objects: objects, samples: samples,
            segments: segments)
        comparison.compareInputs()
        comparison.compareSeries()
        comparison.compareDigests()
        comparison.compareStreams()
        comparison.compareTexts()
        comparison.compareValues()
        comparison.compareItems()
        comparison.compareFigures()
        comparison.compareArtifacts()
        comparison.compareCells()
        comparison.followMetrics()
        let differences = original.environment.differences(
            from: replay.environment,
            portable: original.tier == "portable" && replay.tier == "portable")
        return ReplayVerdict(
            original: original.id, replay: replay.id, outputs: comparison.outputs,
            first: comparison.first(), environment: differences,
            expectation: Expectation(tier: original.tier, differences: differences))
    }

    // MARK: - What it read

    /// A replay verifies its data before it runs; two runs that are merely compared may have read
    /// different files.
    private mutating func compareInputs() {
        let theirs = Dictionary(
            replay.inputs.map { ("\($0.cell) \($0.written)", $0) }, uniquingKeysWith: { a, _ in a })
        for input in original.inputs {
            guard let other = theirs["\(input.cell) \(input.written)"] else { continue }
            var verdict = OutputVerdict(
                kind: .input, name: input.written, cell: input.cell, rung: .sameBits)
            if other.sha256 != input.sha256 {
                verdict.rung = .different
                let found = Dictionary(
                    other.files.map { ($0.path, $0.sha256) }, uniquingKeysWith: { a, _ in a })
                let file = input.files.first { found[$0.path] != $0.sha256 }
                verdict.difference = difference(
                    .input, file.map { "\(input.written)/\($0.path)" } ?? input.written, input.cell,
                    expected: "sha256 \(short(file?.sha256 ?? input.sha256))",
                    found: file.map {
                        found[$0.path].map { "sha256 \(short($0))" } ?? "no such file"
                    }
                        ?? "sha256 \(short(other.sha256))")
            }
            outputs.append(verdict)
        }
    }

    // MARK: - Helpers

    mutating func compare(
        _ kind: OutputKind, _ name: String, _ cell: Int, _ a: [UInt8]?, _ b: [UInt8]?,
        isJSON: Bool = false, line: Bool = false, declaredAs names: [String] = []
    ) {
        var verdict = OutputVerdict(kind: kind, name: name, cell: cell, rung: .sameBits)
        if a != b {
            let form = isJSON ? "x.json" : "x.txt"
            let equal =
                a != nil && b != nil
                && Canonical.form(a!, name: form) == Canonical.form(b!, name: form)
            if equal {
                verdict.rung = .canonicallyEqual
            } else if let a, let b, let tolerance = tolerance(for: names) {
                verdict.judge(Canonical.use(of: tolerance, a, b, name: form))
            } else {
                verdict.rung = .different
            }
            let (first, second, at) = Canonical.firstLines(a ?? [], b ?? [])
            verdict.difference = difference(
                kind, line ? "\(name), its line \(at)" : name, cell,
                expected: a == nil ? "nothing" : excerpt(first),
                found: b == nil ? "nothing" : excerpt(second))
        }
        outputs.append(verdict)
    }

    /// The first entry of the study's tolerances with one of these names, else the one for everything.
    func tolerance(for names: [String]) -> Tolerance? {
        original.tolerances.first { names.contains($0.metric) }
            ?? original.tolerances.first { $0.metric == "*" }
    }

    mutating func missing(_ kind: OutputKind, _ name: String, _ cell: Int, expected: String) {
        outputs.append(
            OutputVerdict(
                kind: kind, name: name, cell: cell, rung: .different,
                difference: difference(kind, name, cell, expected: expected, found: "nothing")))
    }

    mutating func extra(_ kind: OutputKind, _ name: String, _ cell: Int, found: String) {
        outputs.append(
            OutputVerdict(
                kind: kind, name: name, cell: cell, rung: .different,
                difference: difference(kind, name, cell, expected: "nothing", found: found)))
    }

    func difference(
        _ kind: OutputKind, _ name: String, _ cell: Int, step: Int64? = nil, expected: String,
        found: String
    ) -> Difference {
        let place = original.cells.indices.contains(cell) ? original.cells[cell] : nil
        return Difference(
            kind: kind, name: name, cell: cell, cellID: place?.id ?? "",
            line: place?.firstLine ?? 0,
            step: step, expected: expected, found: found)
    }

    /// The difference that came first when the original ran: by cell; in a cell by when the recorded
    /// point was taken, a state's digest before the numbers of its step, what has no step last.
    private func first() -> Difference? {
        outputs.compactMap(\.difference).filter { $0.cell >= 0 || $0.kind != .stream }
            .min { rank($0) < rank($1) } ?? outputs.compactMap(\.difference).first
    }

    /// Cell, then the moment within it, a state's digest before the numbers of its step; what has no
    /// moment on record (texts, figures, files) after what has one.
    private func rank(_ difference: Difference) -> (Int, Int64, Int, Int64) {
        let kinds = OutputKind.allCases.firstIndex(of: difference.kind)!
        // What is read comes before what is made of it.
        if difference.kind == .input { return (difference.cell, .min, 0, 0) }
        let moment = moment(of: difference, in: original) ?? moment(of: difference, in: replay)
        return (difference.cell, moment ?? .max, kinds, difference.step ?? .max)
    }

    /// Nanoseconds since the cell began. A digest has the moment of the first number of its step and arm.
    private func moment(of difference: Difference, in run: RunRecord) -> Int64? {
        guard difference.kind == .metric || difference.kind == .digest, let step = difference.step,
            run.cells.indices.contains(difference.cell)
        else { return nil }
        let arm = difference.kind == .digest ? Self.arm(ofSeries: difference.name) : nil
        let times = run.series.lazy.filter { series in
            series.cell == difference.cell
                && (arm.map { $0 == series.arm } ?? (series.label == difference.name))
        }.compactMap { series in series.points.first { $0.step == step }?.time.nanoseconds }
        guard let time = times.min() else { return nil }
        return time - (run.cells[difference.cell].began?.nanoseconds ?? 0)
    }

    /// "aligned" of "training state[aligned]".
    static func arm(ofSeries name: String) -> String {
        guard name.hasSuffix("]"), let start = name.firstIndex(of: "[") else { return "" }
        return String(name[name.index(after: start)...].dropLast())
    }
}

/// A number with every digit that tells it from its neighbours.
func number(_ value: Double) -> String {
    let single = Double(Float(value)) == value
    return single ? "\(Float(value))" : "\(value)"
}

func excerpt(_ text: String) -> String {
    let line = text.replacing("\n", with: "⏎")
    return line.count > 60 ? "\(line.prefix(60))…" : line
}

func unique<T: Hashable>(_ list: [T]) -> [T] {
    var seen: Set<T> = []
    return list.filter { seen.insert($0).inserted }
}

/// ``ulpDistance(_:_:)`` for single precision.
package func ulpDistance(_ a: Float, _ b: Float) -> UInt64 {
    if a.isNaN || b.isNaN { return a.isNaN && b.isNaN ? 0 : .max }
    func place(_ x: Float) -> Int64 {
        let bits = Int32(bitPattern: x.bitPattern)
        return Int64(bits >= 0 ? bits : Int32.min &- bits)
    }
    return UInt64(abs(place(a) - place(b)))
}
