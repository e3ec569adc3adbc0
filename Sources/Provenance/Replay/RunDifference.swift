// What went into two runs that was not the same, ranked by how likely it changes what comes out.

internal import Events

/// One cause for which two runs may differ.
package struct RunDifference: Sendable, Hashable {
    package var what: String
    package var first: String
    package var second: String
    /// Lines of a difference in source, at most a screenful.
    package var detail: [String] = []
    /// 0 to 1000; only the order matters.
    var weight: Int

    /// What differs, likeliest cause first: the code, then parameters, seed, data, arithmetic, and the
    /// machine (``EnvironmentSnapshot/weight(of:portable:)``).
    package static func causes(_ a: RunRecord, _ b: RunRecord) -> [RunDifference] {
        var causes: [RunDifference] = []
        func add(
            _ what: String, _ first: String?, _ second: String?, _ weight: Int,
            _ detail: [String] = []
        ) {
            guard first != second else { return }
            causes.append(
                RunDifference(
                    what: what, first: first ?? "none", second: second ?? "none", detail: detail,
                    weight: weight))
        }
        if a.sourceSHA256 != b.sourceSHA256 {
            let cells = differingCells(a, b)
            add(
                "source of \(a.study)", short(a.sourceSHA256), short(b.sourceSHA256),
                cells.isEmpty ? 320 : 1000,
                (cells.isEmpty ? ["only outside the cells' code"] : cells)
                    + lineDifference(a.text, b.text))
        }
        add("study", a.study, b.study, 990)
        let (mine, theirs) = (values(a), values(b))
        for name in Set(mine.keys).union(theirs.keys).sorted() {
            add("parameter \(name)", mine[name], theirs[name], 950)
        }
        add("seed", "\(a.seed)", "\(b.seed)", 940)
        let (inputs, others) = (digests(a), digests(b))
        for name in Set(inputs.keys).union(others.keys).sorted() {
            add("input \(name)", inputs[name].map(short), others[name].map(short), 930)
        }
        add("tier", a.tier, b.tier, 920)
        let portable = a.tier == "portable" && b.tier == "portable"
        add("threads", "\(a.threads)", "\(b.threads)", portable ? 180 : 850)
        // Other files of the repository reach a study only through what it reads.
        add(
            "commit", a.code.commit.map { String($0.prefix(12)) },
            b.code.commit.map { String($0.prefix(12)) }, 200)
        add(
            "changes beside the commit",
            a.code.snapshot == nil ? "none" : "\(a.code.changes.count) files",
            b.code.snapshot == nil ? "none" : "\(b.code.changes.count) files", 190)
        for fact in a.environment.differences(from: b.environment, portable: portable)
        where fact.name != "engine.threads" && fact.name != "engine.tier" {
            add(fact.name, fact.first, fact.second, fact.weight * 9)
        }
        return causes.sorted { ($1.weight, $0.what) < ($0.weight, $1.what) }
    }

    private static func values(_ run: RunRecord) -> [String: String] {
        Dictionary(run.parameters.map { ($0.name, $0.value) }, uniquingKeysWith: { $1 })
    }

    private static func digests(_ run: RunRecord) -> [String: String] {
        Dictionary(run.inputs.map { ($0.written, $0.sha256) }, uniquingKeysWith: { $1 })
    }

    private static func differingCells(_ a: RunRecord, _ b: RunRecord) -> [String] {
        let mine = Dictionary(a.cells.map { ($0.id, $0.sha256) }, uniquingKeysWith: { $1 })
        let theirs = Dictionary(b.cells.map { ($0.id, $0.sha256) }, uniquingKeysWith: { $1 })
        return a.cells.compactMap { cell in
            guard let other = theirs[cell.id] else { return "cell \(cell.id) was removed" }
            return other == cell.sha256
                ? nil : "cell \(cell.id) (line \(cell.firstLine)) was changed"
        }
            + b.cells.filter { mine[$0.id] == nil }.map {
                "cell \($0.id) (line \($0.firstLine)) was added"
            }
    }

    /// The first lines that one text has and the other lacks.
    private static func lineDifference(_ a: String, _ b: String) -> [String] {
        let mine = a.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        let theirs = b.split(separator: "\n", omittingEmptySubsequences: false).map(String.init)
        var lines: [String] = []
        for change in theirs.difference(from: mine).sorted(by: { place($0) < place($1) }).prefix(12)
        {
            switch change {
            case .remove(let offset, let text, _): lines.append("-\(offset + 1): \(text)")
            case .insert(let offset, let text, _): lines.append("+\(offset + 1): \(text)")
            }
        }
        return lines
    }

    private static func place(_ change: CollectionDifference<String>.Change) -> (Int, Int) {
        switch change {
        case .remove(let offset, _, _): (offset, 0)
        case .insert(let offset, _, _): (offset, 1)
        }
    }
}
