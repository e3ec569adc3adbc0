// What ran: the study as a workflow, its cells as tools, and an action for the run and each cell begun.

internal import Events
internal import Provenance

extension ROCrate {
    mutating func workflow() {
        guard let file = files.first(where: { $0.role == .study }) else { return }
        let begun = begunCells
        var connections: [JSON] = []
        for (index, output) in outputSlots.enumerated() {
            guard let cell = output.cell, begun.contains(cell) else { continue }
            let id = "#connection-out-\(index + 1)"
            connections.append(.reference(id))
            add(
                id, "ParameterConnection",
                [
                    ("sourceParameter", .reference(cellSlot(output.slot, cell, "out").id)),
                    ("targetParameter", .reference(output.slot.id)),
                ])
        }
        let version = run.code.snapshot ?? run.code.commit
        add(
            Self.encoded(file.path),
            .array(
                ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"].map(JSON.string)),
            fileMembers(file) + [
                ("programmingLanguage", .reference("#language")),
                (
                    "version",
                    .string(
                        version.map { "git:" + $0 } ?? "sha256:"
                            + (digests[file.path]?.sha256 ?? ""))
                ),
                (
                    "url",
                    .string(
                        run.code.remote.flatMap(Self.webAddress)
                            ?? "arcp://uuid,\(run.uuid)/\(Self.encoded(file.path))")
                ),
                ("codeRepository", run.code.remote.flatMap(Self.webAddress).map(JSON.string)),
                ("conformsTo", .reference(Self.workflowProfile)),
                ("softwareRequirements", .reference(Self.software)),
                ("creator", .oneOrMany(authorIDs.map(JSON.reference))),
                ("license", .reference(licenceID)),
                (
                    "input",
                    .oneOrMany((valueSlots + inputSlots.map(\.slot)).map { .reference($0.id) })
                ),
                ("output", .oneOrMany(outputSlots.map { .reference($0.slot.id) })),
                ("environment", .reference("#env-threads")),
                ("step", .oneOrMany(begun.map { .reference("#step-\($0 + 1)") })),
                ("hasPart", .oneOrMany(begun.map { .reference(cellID($0)) })),
                ("connection", .oneOrMany(connections)),
            ])
    }

    static func webAddress(_ remote: String) -> String? {
        remote.hasPrefix("https://") || remote.hasPrefix("http://") ? remote : nil
    }

    mutating func cells() {
        for index in begunCells {
            let cell = run.cells[index]
            let ins = inputSlots.filter { $0.cell == index }
            let outs = outputSlots.filter { $0.cell == index }
            add(
                cellID(index), "SoftwareSourceCode",
                [
                    ("name", .string("cell \(cell.id)")), ("text", .string(cell.source)),
                    ("codeSampleType", .string("code snippet")),
                    (
                        "description",
                        .string("lines \(cell.firstLine) to \(cell.lastLine) of the study")
                    ),
                    ("url", .string(cellID(index))), ("version", .string("sha256:" + cell.sha256)),
                    ("programmingLanguage", .reference("#language")),
                    (
                        "input",
                        .oneOrMany(ins.map { .reference(cellSlot($0.slot, index, "in").id) })
                    ),
                    (
                        "output",
                        .oneOrMany(outs.map { .reference(cellSlot($0.slot, index, "out").id) })
                    ),
                ])
            var connections: [JSON] = []
            for (number, input) in ins.enumerated() {
                let id = "#connection-\(index + 1)-\(number + 1)"
                connections.append(.reference(id))
                add(
                    id, "ParameterConnection",
                    [
                        ("sourceParameter", .reference(input.slot.id)),
                        ("targetParameter", .reference(cellSlot(input.slot, index, "in").id)),
                    ])
            }
            add(
                "#step-\(index + 1)", "HowToStep",
                [
                    ("name", .string("run cell \(cell.id)")),
                    ("position", .string(String(index + 1))),
                    ("workExample", .reference(cellID(index))),
                    ("connection", .oneOrMany(connections)),
                ])
        }
    }

    mutating func actions() {
        let completed = "http://schema.org/CompletedActionStatus"
        let failed = "http://schema.org/FailedActionStatus"
        let succeeded = run.status == .succeeded
        let agent = JSON.oneOrMany(authorIDs.map(JSON.reference))
        let status = JSON.string(succeeded ? completed : failed)
        let error = succeeded ? nil : JSON.string(failureText)
        let sources = files.filter {
            $0.path.hasPrefix("source/") || $0.path == BundleLayout.environment
        }
        let objects =
            inputSlots.map { JSON.reference(Self.encoded($0.slot.work!)) }
            + valueSlots.map { JSON.reference($0.work!) }
            + sources.prefix(1).map { .reference(Self.encoded($0.path)) }
        let results =
            outputSlots.map { JSON.reference(Self.encoded($0.slot.work!)) }
            + files.filter { $0.role == .report }.map { .reference(Self.encoded($0.path)) }
            + scalarResults.indices.map { .reference("#result-\($0 + 1)") }
        let environment =
            [JSON.reference("#value-threads")]
            + run.environment.indices.map { .reference("#environment-\($0 + 1)") }
        let began = JSON.string(Self.time(run.began.nanoseconds))
        let ended = run.ended.map { JSON.string(Self.time($0.nanoseconds)) }
        add(
            runID, "CreateAction",
            [
                ("name", .string("study run \(run.shortID)")),
                (
                    "description",
                    .string(
                        run.command.isEmpty
                            ? "study run \(run.study)" : run.command.joined(separator: " "))
                ),
                ("identifier", .string(run.id)),
                ("instrument", .reference(Self.encoded(studyPath))),
                ("agent", agent), ("startTime", began), ("endTime", ended),
                ("object", .oneOrMany(objects)), ("result", .oneOrMany(results)),
                ("environment", .oneOrMany(environment)), ("actionStatus", status),
                ("error", error),
                (
                    "subjectOf",
                    files.first { $0.role == .report }.map { .reference(Self.encoded($0.path)) }
                ),
            ])
        for index in begunCells {
            let cell = run.cells[index]
            let isBad =
                cell.ended == nil || cell.state == "failed" || cell.state == "interrupted"
            let own = run.failure.map { $0.cell == index ? $0.message : "" } ?? ""
            let bad = own.isEmpty ? "the cell did not end" : own
            let cellResults = outputSlots.filter { $0.cell == index }.map {
                JSON.reference(Self.encoded($0.slot.work!))
            }
            let cellObjects = inputSlots.filter { $0.cell == index }.map {
                JSON.reference(Self.encoded($0.slot.work!))
            }
            add(
                "#run-\(index + 1)", "CreateAction",
                [
                    ("name", .string("run of cell \(cell.id)")),
                    (
                        "description",
                        .string("lines \(cell.firstLine) to \(cell.lastLine) of the study")
                    ),
                    ("instrument", .reference(cellID(index))), ("agent", agent),
                    ("startTime", cell.began.map { .string(Self.time($0.nanoseconds)) }),
                    (
                        "endTime",
                        (cell.ended ?? run.ended).map { .string(Self.time($0.nanoseconds)) }
                    ),
                    (
                        "object",
                        .oneOrMany(cellObjects.isEmpty ? [.reference("#value-seed")] : cellObjects)
                    ),
                    ("result", .oneOrMany(cellResults + [.reference("#outcome-\(index + 1)")])),
                    ("environment", .reference("#value-threads")),
                    ("actionStatus", .string(isBad ? failed : completed)),
                    ("error", isBad ? .string(bad) : nil),
                ])
            add(
                "#outcome-\(index + 1)", "PropertyValue",
                [
                    ("name", .string("outcome of cell \(cell.id)")),
                    ("value", .string(isBad ? bad : "ended")),
                ])
            add(
                "#control-\(index + 1)", "ControlAction",
                [
                    ("name", .string("orchestrate cell \(cell.id)")),
                    ("instrument", .reference("#step-\(index + 1)")),
                    ("object", .reference("#run-\(index + 1)")),
                ])
        }
        add(
            "#organize", "OrganizeAction",
            [
                ("name", .string("the runner's work")), ("instrument", .reference(Self.software)),
                ("object", .oneOrMany(begunCells.map { .reference("#control-\($0 + 1)") })),
                ("result", .reference(runID)), ("agent", agent), ("startTime", began),
                ("endTime", ended),
                ("actionStatus", status), ("error", error),
            ])
    }

    var failureText: String {
        if let failure = run.failure {
            let cell =
                run.cells.indices.contains(failure.cell)
                ? "cell \(run.cells[failure.cell].id): " : ""
            return cell + failure.message
        }
        return switch run.status {
        case .interrupted: "interrupted before it was done"
        case .lost: "the process is gone and left no word"
        case .running: "still running when the bundle was made"
        default: "failed; no reason is on record"
        }
    }
}
