// What two runs wrote, drew and saved: texts, claims, figures, items, artifacts, and how cells ended.

internal import Events

extension Comparison {
    mutating func compareTexts() {
        for cell in Set(original.outputs.map(\.cell) + replay.outputs.map(\.cell)).sorted() {
            // Standard error is where progress and warnings go; it is kept, and not compared.
            let a = original.output(of: cell, .standardOutput)
            let b = replay.output(of: cell, .standardOutput)
            if a.isEmpty && b.isEmpty || isPartial(cell) { continue }
            compare(.text, "stdout", cell, a, b, line: true, declaredAs: ["stdout"])
        }
    }

    mutating func compareValues() {
        for index in Set(original.inlineValues.keys).union(replay.inlineValues.keys).sorted() {
            compare(
                .inlineValue, "\(index + 1)", original.cells.count - 1,
                original.inlineValues[index].map { Array($0.utf8) },
                replay.inlineValues[index].map { Array($0.utf8) },
                declaredAs: ["inline value \(index + 1)"])
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

    mutating func compareItems() {
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

    mutating func compareFigures() {
        for index in 0..<max(original.figures.count, replay.figures.count) {
            let a = index < original.figures.count ? original.figures[index] : nil
            let b = index < replay.figures.count ? replay.figures[index] : nil
            compare(
                .figure, "“\((a ?? b)!.title)”", (a ?? b)!.cell, a.map { Array($0.data.utf8) },
                b.map { Array($0.data.utf8) }, isJSON: true, declaredAs: [(a ?? b)!.title])
        }
    }

    mutating func compareArtifacts() {
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

    mutating func compare(_ mine: StoredArtifact, with other: StoredArtifact) {
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
            if first == .some(nil) {
                verdict.rung = max(verdict.rung, .canonicallyEqual)
            } else {
                verdict.judge(
                    theirs.flatMap {
                        use(
                            of: tolerance(for: [mine.name, name]), file.sha256, $0.sha256,
                            name: name)
                    })
            }
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

    /// How much of a tolerance two files' numbers use; nil where they are not alike or not there.
    private func use(of tolerance: Tolerance?, _ a: String, _ b: String, name: String) -> Double? {
        guard let tolerance, let objects, let first = try? objects.bytes(a),
            let second = try? objects.bytes(b)
        else { return nil }
        return Canonical.use(of: tolerance, first, second, name: name)
    }

    /// Nil where the objects cannot be read; `.some(nil)` where they are canonically equal; else what
    /// differs first.
    func canonicalDifference(_ a: String, _ b: String, name: String) -> String?? {
        guard let objects, let first = try? objects.bytes(a), let second = try? objects.bytes(b)
        else {
            return nil
        }
        if Canonical.form(first, name: name) == Canonical.form(second, name: name) {
            return .some(nil)
        }
        return .some(Canonical.firstDifference(first, second, name: name))
    }

    mutating func compareCells() {
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
}
