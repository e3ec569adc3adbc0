// Compares two runs output by output: pure, on what the ledger has. Canonical.swift knows the forms
// that count as equal, Statistics.swift the test over seeds.

internal import Events
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

    private var outputs: [OutputVerdict] = []

    /// - Parameter objects: Where artifacts lie, for their canonical forms; without it, only their
    ///   digests are compared.
    package static func verdict(
        of replay: RunRecord, against original: RunRecord, objects: ObjectStore? = nil,
        samples: [String: (reference: [Double], replayed: [Double])] = [:]
    ) -> ReplayVerdict {
        var comparison = Comparison(
            original: original, replay: replay, objects: objects, samples: samples)
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

    // MARK: - Numbers

    private mutating func compareSeries() {
        struct Key: Hashable {
            var cell: Int
            var label: String
        }
        let mine = Dictionary(
            replay.series.map { (Key(cell: $0.cell, label: $0.label), $0) },
            uniquingKeysWith: { a, _ in a })
        for series in original.series {
            let key = Key(cell: series.cell, label: series.label)
            guard let other = mine[key] else {
                missing(.metric, series.label, series.cell, expected: "\(series.count) values")
                continue
            }
            compare(series, with: other)
        }
        let known = Set(original.series.map { Key(cell: $0.cell, label: $0.label) })
        for series in replay.series
        where !known.contains(Key(cell: series.cell, label: series.label)) {
            extra(.metric, series.label, series.cell, found: "\(series.count) values")
        }
    }

    private mutating func compare(_ expected: RunRecord.Series, with found: RunRecord.Series) {
        var verdict = OutputVerdict(
            kind: .metric, name: expected.label, cell: expected.cell, rung: .sameBits)
        let tolerance =
            original.tolerances.first { $0.metric == expected.name || $0.metric == expected.label }
            ?? original.tolerances.first { $0.metric == "*" }
        var worst = 0.0
        for index in 0..<max(expected.points.count, found.points.count) {
            guard index < expected.points.count, index < found.points.count else {
                let step =
                    index < expected.points.count
                    ? expected.points[index].step : found.points[index].step
                verdict.rung = .different
                verdict.difference =
                    verdict.difference
                    ?? difference(
                        .metric, expected.label, expected.cell, step: step,
                        expected: index < expected.points.count
                            ? number(expected.points[index].value) : "no value",
                        found: index < found.points.count
                            ? number(found.points[index].value) : "no value")
                break
            }
            let (a, b) = (expected.points[index], found.points[index])
            let sameProportion = expected.proportions[index] == found.proportions[index]
            if a.step == b.step, sameProportion, sameBits(a.value, b.value) { continue }
            if verdict.difference == nil {
                verdict.difference = difference(expected, a, b, index: index, found)
            }
            // A value of another step, or a rate out of another total or by another judge, is another
            // value altogether.
            let (mine, theirs) = (expected.proportions[index], found.proportions[index])
            let comparable =
                a.step == b.step && mine?.total == theirs?.total && mine?.judge == theirs?.judge
            let used: Double =
                !comparable
                ? .infinity
                : a.value == b.value
                    ? 0 : tolerance?.use(expected: a.value, found: b.value) ?? .infinity
            worst = max(worst, used)
            verdict.rung = max(
                verdict.rung,
                used == 0 && sameProportion
                    ? .canonicallyEqual : used <= 1 ? .withinTolerance : .different)
        }
        if verdict.rung == .withinTolerance { verdict.margin = worst }
        if verdict.rung == .different, let seeds = tolerance?.seeds, seeds > 1,
            let sample = samples[expected.label]
        {
            let test = SeedTest(
                reference: sample.reference, replayed: sample.replayed, required: seeds)
            verdict.note = test.text
            if test.isEqual { verdict.rung = .statisticallyEqual }
        }
        outputs.append(verdict)
    }

    /// Equal in every bit; all NaN count as one, since the ledger keeps no payload.
    private func sameBits(_ a: Double, _ b: Double) -> Bool {
        a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN)
    }

    private func difference(
        _ series: RunRecord.Series, _ a: RunRecord.Point, _ b: RunRecord.Point, index: Int,
        _ other: RunRecord.Series
    ) -> Difference {
        func text(_ point: RunRecord.Point, _ proportion: ProportionRecord?) -> String {
            var text = number(point.value)
            if let proportion {
                text += " (\(proportion.count) of \(proportion.total), \(proportion.judge))"
            }
            if a.step != b.step { text += " at step \(point.step)" }
            return text
        }
        var result = difference(
            .metric, series.label, series.cell, step: a.step,
            expected: text(a, series.proportions[index]),
            found: text(b, other.proportions[index]))
        let single = Double(Float(a.value)) == a.value && Double(Float(b.value)) == b.value
        result.isSinglePrecision = single
        result.ulps =
            single ? ulpDistance(Float(a.value), Float(b.value)) : ulpDistance(a.value, b.value)
        return result
    }

    private mutating func compareDigests() {
        let names = unique(
            original.digests.map { "\($0.cell) \($0.series)" }
                + replay.digests.map { "\($0.cell) \($0.series)" })
        for name in names {
            let mine = original.digests.filter { "\($0.cell) \($0.series)" == name }
            let theirs = replay.digests.filter { "\($0.cell) \($0.series)" == name }
            let record = (mine.first ?? theirs.first)!
            var verdict = OutputVerdict(
                kind: .digest, name: record.series, cell: record.cell, rung: .sameBits)
            for index in 0..<max(mine.count, theirs.count) {
                let a = index < mine.count ? mine[index] : nil
                let b = index < theirs.count ? theirs[index] : nil
                if a == b { continue }
                // The chain says that the state differed; whether the outputs do is for them to say.
                // So a digest alone does not fail a replay that declares tolerances.
                verdict.rung = original.tolerances.isEmpty ? .different : .withinTolerance
                verdict.difference = difference(
                    .digest, record.series, record.cell, step: (a ?? b)!.step,
                    expected: a?.digest ?? "none", found: b?.digest ?? "none")
                break
            }
            outputs.append(verdict)
        }
    }

    private mutating func compareStreams() {
        for name in Set(original.streams.keys).union(replay.streams.keys).sorted() {
            let (a, b) = (original.streams[name], replay.streams[name])
            var verdict = OutputVerdict(kind: .stream, name: name, cell: -1, rung: .sameBits)
            if a != b {
                verdict.rung = .different
                verdict.difference = difference(
                    .stream, name, -1, expected: a.map { "\($0) draws" } ?? "not used",
                    found: b.map { "\($0) draws" } ?? "not used")
            }
            outputs.append(verdict)
        }
    }

    // MARK: - Texts, figures, files

    private mutating func compareTexts() {
        for cell in Set(original.outputs.map(\.cell) + replay.outputs.map(\.cell)).sorted() {
            // Standard error is where progress and warnings go; it is kept, and not compared.
            let a = original.output(of: cell, .standardOutput)
            let b = replay.output(of: cell, .standardOutput)
            if a.isEmpty && b.isEmpty { continue }
            compare(.text, "stdout", cell, a, b, line: true)
        }
    }

    private mutating func compareValues() {
        for index in Set(original.inlineValues.keys).union(replay.inlineValues.keys).sorted() {
            compare(
                .inlineValue, "\(index + 1)", original.cells.count - 1,
                original.inlineValues[index].map { Array($0.utf8) },
                replay.inlineValues[index].map { Array($0.utf8) })
        }
        for index in 0..<max(original.claims.count, replay.claims.count) {
            let a = index < original.claims.count ? original.claims[index] : nil
            let b = index < replay.claims.count ? replay.claims[index] : nil
            var verdict = OutputVerdict(
                kind: .claim, name: "“\((a ?? b)!.text)”", cell: (a ?? b)!.cell, rung: .sameBits)
            if a != b {
                // A claim that holds on other evidence still holds.
                verdict.rung =
                    a?.text == b?.text && a?.holds == b?.holds ? .canonicallyEqual : .different
                func words(_ claim: ClaimRecord?) -> String {
                    claim.map { "\($0.holds ? "holds" : "fails") (\($0.evidence))" } ?? "not made"
                }
                verdict.difference = difference(
                    .claim, verdict.name, verdict.cell, expected: words(a), found: words(b))
            }
            outputs.append(verdict)
        }
    }

    private mutating func compareItems() {
        func key(_ item: ItemRecord) -> String {
            "\(item.cell)\u{0}\(item.evaluation)\u{0}\(item.arm)"
        }
        for name in unique((original.items + replay.items).map(key)) {
            let mine = original.items.filter { key($0) == name }
            let theirs = replay.items.filter { key($0) == name }
            let any = (mine.first ?? theirs.first)!
            var verdict = OutputVerdict(
                kind: .item,
                name: any.arm.isEmpty ? any.evaluation : "\(any.evaluation)[\(any.arm)]",
                cell: any.cell, rung: .sameBits)
            for index in 0..<max(mine.count, theirs.count) {
                let a = index < mine.count ? mine[index] : nil
                let b = index < theirs.count ? theirs[index] : nil
                if a == b { continue }
                verdict.rung = .different
                func words(_ item: ItemRecord?) -> String {
                    guard let item else { return "no item" }
                    return "\(item.label): "
                        + (item.restricted
                            ? "sha256:\(Digest(of: item.answer).hex.prefix(16))…"
                            : excerpt(item.answer))
                }
                verdict.difference = difference(
                    .item, verdict.name, verdict.cell, step: Int64((a ?? b)!.index),
                    expected: words(a),
                    found: words(b))
                break
            }
            outputs.append(verdict)
        }
    }

    private mutating func compareFigures() {
        for index in 0..<max(original.figures.count, replay.figures.count) {
            let a = index < original.figures.count ? original.figures[index] : nil
            let b = index < replay.figures.count ? replay.figures[index] : nil
            compare(
                .figure, "“\((a ?? b)!.title)”", (a ?? b)!.cell, a.map { Array($0.data.utf8) },
                b.map { Array($0.data.utf8) }, isJSON: true)
        }
    }

    private mutating func compareArtifacts() {
        let theirs = Dictionary(
            replay.artifacts.map { ($0.name, $0) }, uniquingKeysWith: { _, b in b })
        for artifact in unique(original.artifacts.map(\.name)) {
            let mine = original.artifacts.last { $0.name == artifact }!
            guard let other = theirs[artifact] else {
                missing(.artifact, artifact, mine.cell, expected: "sha256 \(short(mine.sha256))")
                continue
            }
            compare(mine, with: other)
        }
        let known = Set(original.artifacts.map(\.name))
        for name in unique(replay.artifacts.map(\.name)) where !known.contains(name) {
            let other = theirs[name]!
            extra(.artifact, name, other.cell, found: "sha256 \(short(other.sha256))")
        }
    }

    private mutating func compare(_ mine: StoredArtifact, with other: StoredArtifact) {
        var verdict = OutputVerdict(
            kind: .artifact, name: mine.name, cell: mine.cell, rung: .sameBits)
        let a =
            mine.isFolder
            ? mine.files : [ManifestEntry(path: "", sha256: mine.sha256, size: mine.size)]
        let b =
            other.isFolder
            ? other.files : [ManifestEntry(path: "", sha256: other.sha256, size: other.size)]
        let found = Dictionary(uniqueKeysWithValues: b.map { ($0.path, $0) })
        for file in a where found[file.path]?.sha256 != file.sha256 {
            let name = file.path.isEmpty ? mine.name : "\(mine.name)/\(file.path)"
            let theirs = found[file.path]
            let first = theirs.flatMap { canonicalDifference(file.sha256, $0.sha256, name: name) }
            verdict.rung = max(verdict.rung, first == .some(nil) ? .canonicallyEqual : .different)
            verdict.difference =
                verdict.difference
                ?? difference(
                    .artifact, name, mine.cell, expected: "sha256 \(short(file.sha256))",
                    found: (theirs.map { "sha256 \(short($0.sha256))" } ?? "no such file")
                        + (first.flatMap { $0 }.map { ", \($0)" } ?? ""))
        }
        let names = Set(a.map(\.path))
        for file in b where !names.contains(file.path) {
            verdict.rung = .different
            verdict.difference =
                verdict.difference
                ?? difference(
                    .artifact, "\(mine.name)/\(file.path)", mine.cell, expected: "no such file",
                    found: "sha256 \(short(file.sha256))")
        }
        outputs.append(verdict)
    }

    /// Nil where the objects cannot be read; `.some(nil)` where they are canonically equal; else what
    /// differs first.
    private func canonicalDifference(_ a: String, _ b: String, name: String) -> String?? {
        guard let objects, let first = try? objects.bytes(a), let second = try? objects.bytes(b)
        else {
            return nil
        }
        if Canonical.form(first, name: name) == Canonical.form(second, name: name) {
            return .some(nil)
        }
        return .some(Canonical.firstDifference(first, second, name: name))
    }

    private mutating func compareCells() {
        for (index, cell) in original.cells.enumerated() where index < replay.cells.count {
            let other = replay.cells[index]
            guard cell.state != other.state else { continue }
            outputs.append(
                OutputVerdict(
                    kind: .cell, name: cell.id, cell: index, rung: .different,
                    difference: difference(
                        .cell, cell.id, index, expected: cell.state,
                        found: other.state
                            + (replay.failures.first { $0.cell == index }.map {
                                ": \(excerpt($0.message))"
                            } ?? ""))))
        }
    }

    // MARK: - Helpers

    private mutating func compare(
        _ kind: OutputKind, _ name: String, _ cell: Int, _ a: [UInt8]?, _ b: [UInt8]?,
        isJSON: Bool = false, line: Bool = false
    ) {
        var verdict = OutputVerdict(kind: kind, name: name, cell: cell, rung: .sameBits)
        if a != b {
            let form = isJSON ? "x.json" : "x.txt"
            let equal =
                a != nil && b != nil
                && Canonical.form(a!, name: form) == Canonical.form(b!, name: form)
            verdict.rung = equal ? .canonicallyEqual : .different
            let (first, second, at) = Canonical.firstLines(a ?? [], b ?? [])
            verdict.difference = difference(
                kind, line ? "\(name), its line \(at)" : name, cell,
                expected: a == nil ? "nothing" : excerpt(first),
                found: b == nil ? "nothing" : excerpt(second))
        }
        outputs.append(verdict)
    }

    private mutating func missing(_ kind: OutputKind, _ name: String, _ cell: Int, expected: String)
    {
        outputs.append(
            OutputVerdict(
                kind: kind, name: name, cell: cell, rung: .different,
                difference: difference(kind, name, cell, expected: expected, found: "nothing")))
    }

    private mutating func extra(_ kind: OutputKind, _ name: String, _ cell: Int, found: String) {
        outputs.append(
            OutputVerdict(
                kind: kind, name: name, cell: cell, rung: .different,
                difference: difference(kind, name, cell, expected: "nothing", found: found)))
    }

    private func difference(
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

    private func rank(_ difference: Difference) -> (Int, Int64, Int, Int64) {
        let kinds = OutputKind.allCases.firstIndex(of: difference.kind)!
        guard let step = difference.step, step >= 0,
            difference.kind == .digest || difference.kind == .metric
        else {
            // What is read comes before what is made of it; single values come after their loop.
            if difference.kind == .input { return (difference.cell, .min, 0, 0) }
            return (difference.cell, .max, kinds, time(of: difference))
        }
        return (difference.cell, step, kinds, time(of: difference))
    }

    private func time(of difference: Difference) -> Int64 {
        guard difference.kind == .metric,
            let series = original.series.first(where: {
                $0.cell == difference.cell && $0.label == difference.name
            })
        else { return .max }
        return series.points.first { $0.step == difference.step }?.time.nanoseconds ?? .max
    }
}

/// A number with every digit that tells it from its neighbours.
private func number(_ value: Double) -> String {
    let single = Double(Float(value)) == value
    return single ? "\(Float(value))" : "\(value)"
}

private func excerpt(_ text: String) -> String {
    let line = text.replacing("\n", with: "⏎")
    return line.count > 60 ? "\(line.prefix(60))…" : line
}

private func unique<T: Hashable>(_ list: [T]) -> [T] {
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
