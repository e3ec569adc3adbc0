// What each cell takes from earlier ones. The linker knows: the symbols that a cell's object leaves open and an
// earlier one defines. Read from the objects' symbol tables, and kept beside the library.

internal import Foundation

/// The cells of a study as a graph: who uses whose variables, functions and types.
package struct DataFlow: Sendable, Equatable, Codable {
    /// Something that one cell defines and another uses.
    package struct Use: Sendable, Hashable, Codable {
        /// `StudyFile.cells[cell]` that defines it; nothing for the study's parameters.
        package var cell: Int?
        /// As the cell's author wrote it.
        package var name: String
        /// A variable whose value others can change: a `var`, or a `let` that may hold a reference.
        package var isMutable: Bool
        /// It is code or a type, not a value.
        package var isCode: Bool

        static func precedes(_ a: Use, _ b: Use) -> Bool {
            (a.cell ?? -1, a.name, a.isCode ? 1 : 0) < (b.cell ?? -1, b.name, b.isCode ? 1 : 0)
        }
    }

    package struct Node: Sendable, Equatable, Codable {
        package var cell: Int
        /// In the order of their cells and names.
        package var uses: [Use]
        /// Whether it has top-level variables, which its own functions could read or change.
        package var hasVariables: Bool
    }

    /// In the order of the document; a cell that takes nothing is in it too.
    package var nodes: [Node] = []
    /// Of cells whose values are stored: which variables these are, as a hash.
    package var states: [Int: String] = [:]

    init(contentsOf file: String) throws {
        guard let data = FileManager.default.contents(atPath: file),
            let flow = try? JSONDecoder().decode(DataFlow.self, from: data)
        else {
            throw BuildError(
                .cache, "\(file) is missing from the cache, or damaged.",
                mend: "delete its folder, then run again")
        }
        self = flow
    }

    var data: Data {
        get throws {
            let encoder = JSONEncoder()
            encoder.outputFormatting = .sortedKeys
            return try encoder.encode(self)
        }
    }

    init(_ modules: [CellModule], objects: [String]) throws {
        let places = Dictionary(
            modules.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        let scans = modules.map { SourceScan($0.body) }
        for (module, object) in zip(modules, objects) {
            guard let cell = module.cell else { continue }
            var uses: Set<Use> = []
            for symbol in try SymbolTable(object).undefined {
                guard let (place, rest) = Self.module(of: symbol, in: places),
                    modules[place].name != module.name
                else { continue }
                uses.insert(Self.use(rest, of: modules[place], scans[place]))
            }
            let sorted = uses.sorted(by: Use.precedes)
            let scan = scans[places[module.name]!]
            let hasVariables = !scan.variables.isEmpty || !scan.constants.isEmpty
            if let same = nodes.firstIndex(where: { $0.cell == cell }) {
                // The inline values before the first cell run as part of it.
                nodes[same].uses += sorted.filter { !nodes[same].uses.contains($0) }
                nodes[same].hasVariables = nodes[same].hasVariables || hasVariables
            } else {
                nodes.append(Node(cell: cell, uses: sorted, hasVariables: hasVariables))
            }
        }
    }

    /// The first of our modules that a mangled name mentions, and what follows: `$s5Cell14textSSvp`, or
    /// `$sSi5Cell1E4textSSvp` for an extension.
    /// Source: swift/docs/ABI/Mangling.rst.
    static func module(of symbol: Substring, in places: [String: Int]) -> (
        place: Int, rest: Substring
    )? {
        guard symbol.hasPrefix("$s") else { return nil }
        var rest = symbol.dropFirst(2)
        while let start = rest.firstIndex(where: { $0.isNumber }) {
            rest = rest[start...]
            guard let (name, after) = identifier(rest) else {
                rest = rest.drop { $0.isNumber }
                continue
            }
            if let place = places[name] {
                return (place, after.first == "E" ? after.dropFirst() : after)
            }
            rest = after
        }
        return nil
    }

    private static func identifier(_ text: Substring) -> (name: String, rest: Substring)? {
        let digits = text.prefix { $0.isNumber }
        guard let length = Int(digits), length > 0, digits.first != "0" else { return nil }
        let rest = text.dropFirst(digits.count)
        guard rest.utf8.count >= length else { return nil }
        return (String(rest.prefix(length)), rest.dropFirst(length))
    }

    private static func use(_ text: Substring, of module: CellModule, _ scan: SourceScan) -> Use {
        let named = identifier(text)
        let isVariable = text.hasSuffix("vp") || text.hasSuffix("vau")
        guard let (name, type) = named, isVariable else {
            return Use(
                cell: module.cell, name: named?.name ?? "something", isMutable: isVariable,
                isCode: !isVariable)
        }
        let isConstant = scan.constants.contains(name) && !scan.variables.contains(name)
        return Use(
            cell: module.cell, name: name, isMutable: !isConstant || !isValue(type), isCode: false)
    }

    /// Whether a mangled type, to the end of a variable's symbol, is one of values: a struct, an enum, or one of the
    /// standard library's (`Si`, `SS`, …), with nothing in it that may be a class (`C`), a function or a protocol.
    private static func isValue(_ symbol: Substring) -> Bool {
        var type = symbol
        for end in ["vau", "vp"] where type.hasSuffix(end) { type = type.dropLast(end.count) }
        if ["Si", "Sd", "SS", "Sb", "Sf", "Su"].contains(type) { return true }
        guard let last = type.last else { return false }
        if last == "V" || last == "O" { return true }
        return last == "G" && !type.contains("C") && !type.contains("c") && !type.contains("p")
    }
}

extension DataFlow {
    /// The cells that must run for one cell's sake, and why each does or does not.
    package struct Selection: Sendable, Equatable {
        /// With the cell itself, in the order of running.
        package var cells: [Int]
        /// By cell, a clause without subject: "defines `model`, which 'train' uses".
        package var reasons: [Int: String]
    }

    /// The cell's ancestors: those that define what it uses, those that may have changed such a variable in between, and
    /// what these use in turn.
    ///
    /// What a cell changes by other ways (a file, an object that a `let` struct refers to) is not seen.
    /// - Parameters:
    ///   - stored: Cells whose values are stored: they need nothing themselves.
    ///   - name: What a reader calls a cell.
    package func selection(
        for target: Int, stored: Set<Int> = [], name: (Int) -> String
    ) -> Selection {
        let nodes = nodes.filter { $0.cell <= target }
        var needed: Set<Int> = [target]
        var reasons: [Int: String] = [:]
        // Each round adds a cell, so it ends.
        while let (cell, reason) = next(nodes, needed, stored.subtracting([target]), name) {
            needed.insert(cell)
            reasons[cell] = reason
        }
        for node in nodes where !needed.contains(node.cell) {
            reasons[node.cell] =
                "neither defines nor changes a variable that the others use"
        }
        return Selection(cells: needed.sorted(), reasons: reasons)
    }

    private func next(
        _ nodes: [Node], _ needed: Set<Int>, _ stored: Set<Int>, _ name: (Int) -> String
    ) -> (Int, String)? {
        for node in nodes.reversed()
        where needed.contains(node.cell) && !stored.contains(node.cell) {
            for use in uses(of: node).sorted(by: Use.precedes) {
                if let cell = use.cell, !needed.contains(cell) {
                    return (cell, "defines `\(use.name)`, which '\(name(node.cell))' uses")
                }
            }
        }
        // A cell in between that can write what a needed one reads later.
        for node in nodes where !needed.contains(node.cell) {
            for use in uses(of: node).sorted(by: Use.precedes)
            where use.isMutable || use.isCode {
                guard let owner = use.cell, needed.contains(owner) else { continue }
                let reader = nodes.first { other in
                    other.cell > node.cell && needed.contains(other.cell)
                        && !stored.contains(other.cell)
                        && uses(of: other).contains {
                            $0.cell == owner
                                && (use.isCode ? $0.isMutable || $0.isCode : $0 == use || $0.isCode)
                        }
                }
                guard let reader else { continue }
                return (
                    node.cell,
                    use.isCode
                        ? "uses `\(use.name)`, which may change what '\(name(reader.cell))' uses"
                        : "may change `\(use.name)`, which '\(name(reader.cell))' uses"
                )
            }
        }
        return nil
    }

    /// What a cell uses. Code is in the library whether its cell has run or not: that of a cell without variables stands
    /// for what it uses in turn.
    private func uses(of node: Node) -> Set<Use> {
        var found: Set<Use> = []
        var seen: Set<Int> = [node.cell]
        func visit(_ node: Node) {
            for use in node.uses {
                guard use.isCode, let owner = nodes.first(where: { $0.cell == use.cell }),
                    !owner.hasVariables
                else {
                    found.insert(use)
                    continue
                }
                if seen.insert(owner.cell).inserted { visit(owner) }
            }
        }
        visit(node)
        return found
    }
}

/// The symbols of an ELF object of 64 bits, little-endian: those of both architectures that we run on.
/// Source: System V ABI, chapters 4 and 5 (ELF-64 Object File Format).
struct SymbolTable {
    /// Names that the object uses and does not define.
    private(set) var undefined: [Substring] = []
    /// Names that it defines.
    private(set) var defined: [Substring] = []

    init(_ path: String) throws {
        guard let data = FileManager.default.contents(atPath: path) else {
            throw BuildError(
                .cache, "\(path) is missing from the cache.",
                mend: "delete its folder, then run again")
        }
        let bytes = [UInt8](data)
        func number(_ at: Int, _ count: Int) -> Int {
            guard at >= 0, at + count <= bytes.count else { return 0 }
            return (0..<count).reduce(0) { $0 | Int(bytes[at + $1]) << (8 * $1) }
        }
        guard bytes.starts(with: [0x7F, 0x45, 0x4C, 0x46, 2, 1]) else { return }
        let sections = number(0x28, 8)
        let entry = number(0x3A, 2)
        // Objects of very many sections keep their number in the first one.
        let count = number(0x3C, 2) > 0 ? number(0x3C, 2) : number(sections + 0x20, 8)
        for index in 0..<count where number(sections + index * entry + 4, 4) == 2 {
            let section = sections + index * entry
            let names = number(sections + number(section + 0x28, 4) * entry + 0x18, 8)
            let start = number(section + 0x18, 8)
            for symbol in stride(from: start, to: start + number(section + 0x20, 8), by: 24) {
                let first = names + number(symbol, 4)
                guard first < bytes.count, let end = bytes[first...].firstIndex(of: 0), end > first
                else { continue }
                let name = Substring(decoding: bytes[first..<end], as: UTF8.self)
                if number(symbol + 6, 2) == 0 {
                    undefined.append(name)
                } else {
                    defined.append(name)
                }
            }
        }
    }
}
