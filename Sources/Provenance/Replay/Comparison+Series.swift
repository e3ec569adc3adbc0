// The numbers of two runs: series point by point, digests of states, draws from streams.

internal import Events

extension Comparison {
    mutating func compareSeries() {
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

    mutating func compare(_ expected: RunRecord.Series, with found: RunRecord.Series) {
        var verdict = OutputVerdict(
            kind: .metric, name: expected.label, cell: expected.cell, rung: .sameBits)
        let tolerance = tolerance(for: [expected.name, expected.label])
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
            verdict.needsSeeds = !test.isSettled
            if test.isEqual { verdict.rung = .statisticallyEqual }
        }
        outputs.append(verdict)
    }

    /// Equal in every bit; all NaN count as one, since the ledger keeps no payload.
    func sameBits(_ a: Double, _ b: Double) -> Bool {
        a.bitPattern == b.bitPattern || (a.isNaN && b.isNaN)
    }

    func difference(
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

    mutating func compareDigests() {
        struct Key: Hashable {
            var cell: Int
            var series: String
        }
        func grouped(_ run: RunRecord) -> [Key: [DigestRecord]] {
            Dictionary(grouping: run.digests) { Key(cell: $0.cell, series: $0.series) }
        }
        let (recorded, found) = (grouped(original), grouped(replay))
        for key in unique(
            (original.digests + replay.digests).map { Key(cell: $0.cell, series: $0.series) })
        {
            // A run of an older version has none; there is nothing to hold the replay's against.
            guard let mine = recorded[key] else { continue }
            let theirs = found[key] ?? []
            if isPartial(key.cell) {
                compareStates(mine, theirs, series: key.series)
                continue
            }
            var verdict = OutputVerdict(
                kind: .digest, name: key.series, cell: key.cell, rung: .sameBits)
            for index in 0..<max(mine.count, theirs.count) {
                let a = index < mine.count ? mine[index] : nil
                let b = index < theirs.count ? theirs[index] : nil
                // The chain repeats what the states say.
                if a?.state == b?.state, a?.step == b?.step { continue }
                // The digest says that the state differed; whether the outputs do is for them to say.
                // So a digest alone does not fail a replay that declares tolerances.
                verdict.rung = original.tolerances.isEmpty ? .different : .withinTolerance
                verdict.difference = difference(
                    .digest, key.series, key.cell, step: (a ?? b)!.step,
                    expected: a?.state ?? "none", found: b?.state ?? "none")
                break
            }
            outputs.append(verdict)
        }
    }

    mutating func compareStreams() {
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

    /// A spot check has some steps, and those at which it starts twice.
    private mutating func compareStates(
        _ mine: [DigestRecord], _ theirs: [DigestRecord], series: String
    ) {
        let recorded = Dictionary(mine.map { ($0.step, $0.state) }, uniquingKeysWith: { $1 })
        guard let any = theirs.first else { return }
        var verdict = OutputVerdict(kind: .digest, name: series, cell: any.cell, rung: .sameBits)
        if let wrong = theirs.first(where: { recorded[$0.step] != $0.state }) {
            verdict.rung = original.tolerances.isEmpty ? .different : .withinTolerance
            verdict.difference = difference(
                .digest, series, any.cell, step: wrong.step,
                expected: recorded[wrong.step] ?? "none", found: wrong.state)
        }
        outputs.append(verdict)
    }

    // MARK: - Over seeds, and in part

    /// Whether a spot check left out some of a cell's training.
    func isPartial(_ cell: Int) -> Bool { segments?.contains { $0.cell == cell } ?? false }

    /// Where the study says of every metric that seeds decide ("*" with `seeds`), texts, figures and files
    /// that are made of those numbers are as equal as the numbers are.
    mutating func followMetrics() {
        guard original.tolerances.contains(where: { $0.metric == "*" && ($0.seeds ?? 0) > 1 }),
            outputs.contains(where: { $0.rung == .statisticallyEqual }),
            !outputs.contains(where: { $0.kind == .metric && $0.rung == .different })
        else { return }
        let own: Set<OutputKind> = [.input, .metric, .stream, .cell, .claim]
        for index in outputs.indices
        where outputs[index].rung == .different && !own.contains(outputs[index].kind) {
            outputs[index].rung = .statisticallyEqual
            outputs[index].note = "made of numbers that are equal over seeds"
        }
    }

    /// What of `run` a spot check can be held against: in the cells whose trainings it computed in part,
    /// the steps that it has; neither the checkpoints themselves nor what those cells printed.
    static func narrowed(
        _ run: RunRecord, to replay: RunRecord, _ segments: [TrainingSegment]
    ) -> RunRecord {
        let cells = Set(segments.map(\.cell))
        let names = segments.map { TrainingSegment.folder(of: $0.arm) }
        var run = run
        run.series = run.series.compactMap { series in
            guard cells.contains(series.cell), series.points.contains(where: { $0.step >= 0 })
            else { return series }
            guard
                let other = replay.series.first(where: {
                    $0.cell == series.cell && $0.label == series.label
                })
            else { return nil }
            let steps = Set(other.points.map(\.step))
            var kept = series
            let places = series.points.indices.filter { steps.contains(series.points[$0].step) }
            kept.points = places.map { series.points[$0] }
            kept.proportions = Dictionary(
                uniqueKeysWithValues: places.enumerated().compactMap { place, old in
                    series.proportions[old].map { (place, $0) }
                })
            return kept
        }
        var steps: [String: Set<Int64>] = [:]
        for digest in replay.digests {
            steps["\(digest.cell) \(digest.series)", default: []].insert(digest.step)
        }
        run.digests = run.digests.filter {
            !cells.contains($0.cell) || steps["\($0.cell) \($0.series)"]?.contains($0.step) == true
        }
        run.artifacts = run.artifacts.filter { artifact in
            !names.contains { artifact.name.hasPrefix($0 + "/") }
        }
        return run
    }
}
