// What went into a run and came out of it, as the profile's formal parameters and their values.

internal import Events
internal import Provenance

extension ROCrate {
    /// A slot of the study or a cell, and what filled it.
    struct Slot {
        var id: String
        var type: String
        var name: String
        var about: String
        /// The file's path, or the id of a value entity.
        var work: String?
        var isFile: Bool
    }

    /// Seed and parameters.
    var valueSlots: [Slot] {
        var slots = [
            Slot(
                id: "#param-seed", type: "Integer", name: "seed",
                about: "the seed of all random streams",
                work: "#value-seed", isFile: false)
        ]
        for (index, parameter) in run.parameters.enumerated() {
            slots.append(
                Slot(
                    id: "#param-\(index + 1)", type: Self.additionalType(parameter.type),
                    name: parameter.name,
                    about: "parameter of the study, \(parameter.type) in Swift",
                    work: "#value-\(index + 1)", isFile: false))
        }
        return slots
    }

    /// Files read: one slot for each file in the crate that came in.
    var inputSlots: [(slot: Slot, cell: Int)] {
        files.compactMap { file in
            guard case .input(let index) = file.role else { return nil }
            let input = run.inputs[index]
            return (
                Slot(
                    id: "#in-" + Self.encoded(file.path), type: "File", name: input.path,
                    about: "\(input.kind) read by the study", work: file.path, isFile: true),
                input.cell
            )
        }
    }

    /// Files made, and the metrics.
    var outputSlots: [(slot: Slot, cell: Int?)] {
        files.compactMap { file in
            switch file.role {
            case .artifact(let index):
                let artifact = run.artifacts[index]
                return (
                    Slot(
                        id: "#out-" + Self.encoded(file.path), type: "File", name: artifact.name,
                        about: "artifact that the study made", work: file.path, isFile: true),
                    artifact.cell
                )
            case .metrics:
                return (
                    Slot(
                        id: "#out-metrics", type: "File", name: "metrics",
                        about: "every number that the study recorded", work: file.path, isFile: true
                    ), nil
                )
            default: return nil
            }
        }
    }

    static func additionalType(_ swift: String) -> String {
        switch swift {
        case "Int": "Integer"
        case "Double": "Float"
        case "Bool": "Boolean"
        default: "Text"
        }
    }

    mutating func parameters() {
        var slots = valueSlots
        slots += inputSlots.map(\.slot)
        slots += outputSlots.map(\.slot)
        slots.append(
            Slot(
                id: "#env-threads", type: "Integer", name: "threads",
                about: "threads of the engine",
                work: "#value-threads", isFile: false))
        // Cells have slots of their own, with the same files in them.
        for (slot, cell) in inputSlots where begunCells.contains(cell) {
            slots.append(cellSlot(slot, cell, "in"))
        }
        for (slot, cell) in outputSlots {
            if let cell, begunCells.contains(cell) { slots.append(cellSlot(slot, cell, "out")) }
        }
        for slot in slots {
            if let work = slot.work { examples.append((slot.id, work)) }
            add(
                slot.id, "FormalParameter",
                [
                    ("additionalType", .string(slot.type)), ("name", .string(slot.name)),
                    ("description", .string(slot.about)),
                    (
                        "workExample",
                        slot.work.map { .reference(slot.isFile ? Self.encoded($0) : $0) }
                    ),
                    ("valueRequired", .bool(true)),
                    ("conformsTo", .reference(Self.parameterProfile)),
                ])
        }
        value("#value-seed", "seed", run.seed)
        value("#value-threads", "threads", String(run.threads))
        for (index, parameter) in run.parameters.enumerated() {
            value("#value-\(index + 1)", parameter.name, parameter.value)
        }
        for (index, fact) in run.environment.enumerated() {
            add(
                "#environment-\(index + 1)", "PropertyValue",
                [("name", .string(fact.name)), ("value", .string(fact.value))])
        }
        for (index, result) in scalarResults.enumerated() {
            add(
                "#result-\(index + 1)", "PropertyValue",
                [("name", .string(result.name)), ("value", .string(result.value))])
        }
    }

    /// Single numbers among the metrics, and claims: small enough to stand in the crate itself.
    var scalarResults: [(name: String, value: String)] {
        let numbers = run.series.filter { $0.isScalar && $0.values.count == 1 }.map {
            (
                name: $0.arm.isEmpty ? $0.name : "\($0.name) (\($0.arm))",
                value: JSON.text($0.values[0])
            )
        }
        let claims = run.claims.map {
            (name: "claim: \($0.text)", value: $0.holds ? "holds" : "fails")
        }
        return Array((numbers + claims).prefix(500))
    }

    private mutating func value(_ id: String, _ name: String, _ value: String) {
        let works = examples.filter { $0.work == id }.map { JSON.reference($0.parameter) }
        add(
            id, "PropertyValue",
            [
                ("name", .string(name)), ("value", .string(value)),
                ("exampleOfWork", .oneOrMany(works)),
            ])
    }

    func cellSlot(_ slot: Slot, _ cell: Int, _ direction: String) -> Slot {
        var own = slot
        own.id = "#cell-\(cell + 1)-\(direction)-" + slot.id.dropFirst()
        return own
    }
}
