// Which variables a cell marked `//| cache: true` leaves behind, and the Swift text that takes them out and puts them
// back. The objects' symbol tables say what exists and what is used; the compiler says whether it can be stored.

internal import Foundation

/// A top-level variable of a cell.
struct CellVariable: Hashable, Sendable {
    /// `StudyFile.cells[cell]` that declares it.
    var cell: Int
    var name: String
    /// The mangled name of its storage.
    var symbol: String
    /// As the demangler writes it: "[Swift.Double]".
    var type: String
    /// Later cells cannot name it.
    var isPrivate = false
    /// Declared by `var`.
    var isVariable = false
    /// Of a class: the last letter of its mangled type says so, "…3BoxCvp".
    var isObject: Bool { symbol.hasSuffix("Cvp") }
}

/// What the compiled cells of a study declare and touch.
struct CellVariables {
    private let modules: [CellModule]
    private let places: [String: Int]
    /// By module, the variables that it declares.
    private var declared: [[CellVariable]] = []
    /// By module, static variables of types: "Config.rate".
    private var statics: [[String]] = []
    private var undefined: [[Substring]] = []

    init(_ modules: [CellModule], objects: [String]) throws {
        self.modules = modules
        places = Dictionary(
            modules.enumerated().map { ($1.name, $0) }, uniquingKeysWith: { first, _ in first })
        for (module, object) in zip(modules, objects) {
            let table = try SymbolTable(object)
            undefined.append(table.undefined)
            let scan = SourceScan(module.body)
            var variables: Set<CellVariable> = []
            var typeVariables: Set<String> = []
            for symbol in table.defined where module.cell != nil {
                if symbol.hasSuffix("vpZ"), let name = Self.staticName(symbol, module) {
                    typeVariables.insert(name)
                }
                // The optimizer cuts a private variable into parts of its own: "…vp.0".
                let whole = symbol.prefix { $0 != "." }
                if whole.hasSuffix("vp"), let found = Self.variable(whole, module, scan) {
                    variables.insert(found)
                }
            }
            declared.append(variables.sorted { $0.name < $1.name })
            statics.append(typeVariables.sorted())
        }
    }

    /// What has to be stored of a cell, so that no later one sees that it did not run: what later cells use of its
    /// variables, and what it may have changed of earlier ones.
    ///
    /// Whoever uses code or a type of a cell is held to use all of that cell's variables: its functions may.
    func stored(of cell: Int) -> [CellVariable] {
        let own = Set(
            modules.indices.filter { modules[$0].cell == cell }.flatMap { declared[$0] })
        var used: Set<CellVariable> = []
        for place in modules.indices where (modules[place].cell ?? -1) > cell {
            used.formUnion(touched(by: place))
        }
        var result = used.intersection(own)
        for place in modules.indices where modules[place].cell == cell {
            result.formUnion(touched(by: place).filter { $0.cell < cell && $0.isVariable })
        }
        return result.sorted { ($0.cell, $0.name) < ($1.cell, $1.name) }
    }

    /// Static variables that the cell may have changed: these are in no cell's top level.
    func changedStatics(of cell: Int) -> [String] {
        var found: Set<String> = []
        for place in modules.indices where modules[place].cell == cell {
            found.formUnion(statics[place])
            for other in coded(by: place) { found.formUnion(statics[other]) }
        }
        return found.sorted()
    }

    /// The variables of other modules that a module reads, writes, or may through code that it uses.
    private func touched(by place: Int) -> Set<CellVariable> {
        var found: Set<CellVariable> = []
        for other in [place] + coded(by: place) {
            if other != place { found.formUnion(declared[other]) }
            for symbol in undefined[other] {
                guard let (owner, _) = DataFlow.module(of: symbol, in: places) else { continue }
                found.formUnion(declared[owner].filter { Self.isVariable($0, symbol) })
            }
        }
        return found
    }

    /// The modules whose code or types a module uses, at any remove.
    private func coded(by place: Int) -> [Int] {
        var found: [Int] = []
        var waiting = [place]
        while let next = waiting.popLast() {
            for symbol in undefined[next] {
                guard let (owner, _) = DataFlow.module(of: symbol, in: places), owner != place,
                    !found.contains(owner),
                    !declared[owner].contains(where: { Self.isVariable($0, symbol) })
                else { continue }
                found.append(owner)
                waiting.append(owner)
            }
        }
        return found
    }

    /// The storage itself, or the function that gives its address.
    private static func isVariable(_ variable: CellVariable, _ symbol: Substring) -> Bool {
        symbol == variable.symbol
            || symbol.hasSuffix("vau") && symbol.dropLast(3) == variable.symbol.dropLast(2)
    }

    // MARK: - Names

    /// "Cell3.x : Swift.Int", or "Cell3.(x in _D2…) : Swift.Int" for a private one.
    private static func variable(
        _ symbol: Substring, _ module: CellModule, _ scan: SourceScan
    ) -> CellVariable? {
        let text = demangled(symbol)
        guard let cell = module.cell, let colon = text.range(of: " : ") else { return nil }
        var name = String(text[..<colon.lowerBound])
        guard name.hasPrefix(module.name + ".") else { return nil }
        name.removeFirst(module.name.count + 1)
        let isPrivate = name.hasPrefix("(")
        if isPrivate { name = String(name.dropFirst().prefix { $0 != " " }) }
        guard !name.contains("."), !name.contains(" ") else { return nil }
        return CellVariable(
            cell: cell, name: name, symbol: String(symbol), type: String(text[colon.upperBound...]),
            isPrivate: isPrivate, isVariable: !scan.constants.contains(name))
    }

    /// "static Cell3.Config.rate : Swift.Double", where the text says `static var rate` or `class var rate`.
    private static func staticName(_ symbol: Substring, _ module: CellModule) -> String? {
        let text = demangled(symbol)
        guard let colon = text.range(of: " : "),
            let dot = text[..<colon.lowerBound].lastIndex(of: ".")
        else { return nil }
        let name = text[text.index(after: dot)..<colon.lowerBound]
        let words = module.body.split { $0.isWhitespace || $0 == ":" || $0 == "=" }
        let isVariable = words.indices.dropFirst(2).contains {
            words[$0] == name && words[$0 - 1] == "var"
                && (words[$0 - 2] == "static" || words[$0 - 2] == "class"
                    || words[$0 - 2].hasPrefix("static(") || words[$0 - 2].hasSuffix(")"))
        }
        guard isVariable else { return nil }
        let owner = text[..<dot].split(separator: ".").last.map { $0 + "." } ?? ""
        return owner + name
    }

    /// As people write it; the symbol itself where it is none of Swift's.
    private static func demangled(_ symbol: Substring) -> String {
        let symbol = String(symbol)
        return symbol.withCString { name -> String in
            guard let text = swiftDemangle(name, UInt(symbol.utf8.count), nil, nil, 0) else {
                return symbol
            }
            defer { free(text) }
            return String(cString: text)
        }
    }
}

/// The standard library's demangler. Corresponds to `swift_demangle`.
/// Source: swift/include/swift/Demangling/Demangle.h.
@_silgen_name("swift_demangle")
private func swiftDemangle(
    _ name: UnsafePointer<CChar>?, _ length: UInt, _ output: UnsafeMutablePointer<CChar>?,
    _ size: UnsafeMutablePointer<UInt>?, _ flags: UInt32
) -> UnsafeMutablePointer<CChar>?

extension Compiler {
    /// The module that takes a marked cell's values out and puts them back, and a sentence on each that cannot be.
    /// - Parameter above: The modules down to the cell's own, compiled.
    func stateModule(
        of cell: Cell, _ variables: CellVariables, _ modules: [CellModule]
    ) -> (module: CellModule, variables: [CellVariable]) {
        let stored = variables.stored(of: cell.index).filter {
            !$0.isPrivate && !$0.isObject
        }
        let lines = stored.map { variable in
            let module = "Cell\(variable.cell + 1)"
            return
                "    try state.variable(\"\(variable.name)\", of: \(variable.cell), at: \"\(variable.symbol)\") { \(module).`\(variable.name)` }"
        }
        let number = cell.index + 1
        // The first line is 1: line n is about the variable n - 2.
        let body =
            "#sourceLocation(file: \"state\", line: 1)\n"
            + "private func pass(_ state: inout Study.CellState) throws {\n"
            + lines.map { $0 + "\n" }.joined() + """
                }
                @_cdecl("\(Program.Unit.keeping(cell.index))")
                public func keep\(number)(_: Int32, _: UnsafeMutableRawPointer?) -> Int32 {
                    Study.CellState.keep(pass)
                    return 0
                }
                @_cdecl("\(Program.Unit.bringingBack(cell.index))")
                public func bringBack\(number)(_: Int32, _: UnsafeMutableRawPointer?) -> Int32 {
                    Study.CellState.bringBack(pass)
                    return 0
                }

                """
        let own = modules.last { $0.cell == cell.index }
        var imports = own?.imports ?? []
        for line in CellModule.importLines(cell.source) where !imports.contains(line) {
            imports.append(line)
        }
        return (
            CellModule(
                name: "State\(number)", entry: nil, cell: cell.index, imports: imports, body: body),
            stored
        )
    }

    /// Compiles the state modules of the cells that are marked; by cell the object, and a hash of what is stored.
    /// - Throws: ``StudyError`` naming each variable that cannot be stored.
    func buildStates(
        of study: StudyFile, _ modules: [CellModule], _ built: [BuiltModule], imports: String
    ) async throws -> [Int: (object: String, key: String)] {
        let marked = study.cells.filter { cell in
            cell.options.isCached && modules.contains { $0.cell == cell.index }
        }
        guard !marked.isEmpty else { return [:] }
        let variables = try CellVariables(modules, objects: built.map(\.object))
        var states: [Int: (object: String, key: String)] = [:]
        var faults: [Diagnostic] = []
        for cell in marked {
            faults += refusals(of: cell, variables, study)
            let (module, stored) = stateModule(of: cell, variables, modules)
            // With everything above it, the cell included: which of them its types come from is not looked up.
            let above = zip(modules, built).filter { ($0.0.cell ?? -1) <= cell.index }.map(\.1)
            do {
                let object = try await build(
                    module, above, of: 0, imports: imports, started: {}
                ).object
                states[cell.index] = (object, CacheKey([module.body]).text)
            } catch let refused as RefusedModule {
                let found = Self.refused(refused.text, stored, cell, study)
                guard !found.isEmpty else {
                    throw BuildError(
                        .compilerFailed,
                        "The code that stores the values of cell '\(cell.id)' does not compile.",
                        mend: "take `cache: true` off it, and report it with the study",
                        cause: refused.text)
                }
                faults += found
            }
        }
        if !faults.isEmpty { throw StudyError(faults, text: study.text) }
        return states
    }

    /// What no module could store: objects, private variables, and static ones.
    private func refusals(
        of cell: Cell, _ variables: CellVariables, _ study: StudyFile
    ) -> [Diagnostic] {
        let off = "take `cache: true` off cell '\(cell.id)'"
        var found: [Diagnostic] = []
        for variable in variables.stored(of: cell.index) {
            if variable.isPrivate {
                found.append(
                    Diagnostic(
                        path: study.path, place: Self.place(of: variable, cell, study),
                        message:
                            "`\(variable.name)` is private, and later cells use code that may read it: it cannot be stored for cell '\(cell.id)'",
                        mend: "take `private` away, or \(off)"))
            } else if variable.isObject {
                found.append(Self.refusal(variable, cell, study))
            }
        }
        for name in variables.changedStatics(of: cell.index) {
            found.append(
                Diagnostic(
                    path: study.path, place: SourcePlace(line: cell.firstLine),
                    message:
                        "cell '\(cell.id)' may change the static variable `\(name)`, which is not stored with the cell",
                    mend: "make it a variable at the top level, or a `static let`, or \(off)"))
        }
        return found
    }

    /// The compiler's errors on lines of a state module, told of their variables.
    private static func refused(
        _ text: String, _ stored: [CellVariable], _ cell: Cell, _ study: StudyFile
    ) -> [Diagnostic] {
        var found: [CellVariable] = []
        for line in text.split(separator: "\n") where line.contains(": error: ") {
            let parts = line.split(separator: ":")
            guard parts.count > 2, parts[0] == "state", let number = Int(parts[1]),
                stored.indices.contains(number - 2), !found.contains(stored[number - 2])
            else { continue }
            found.append(stored[number - 2])
        }
        return found.map { refusal($0, cell, study) }
    }

    private static func refusal(
        _ variable: CellVariable, _ cell: Cell, _ study: StudyFile
    ) -> Diagnostic {
        let type = plain(variable.type, study)
        let isOther = variable.cell != cell.index
        return Diagnostic(
            path: study.path, place: place(of: variable, cell, study),
            message: "`\(variable.name)` cannot be stored for cell '\(cell.id)'"
                + (isOther ? ", which may change it" : "")
                + ": its type \(type) is not Codable, or is a class",
            mend:
                "declare a struct or an enum of yours `: Codable`, or take `cache: true` off cell '\(cell.id)'"
        )
    }

    /// Types as the study writes them: "Array<Subject>" for "Swift.Array<Cell1.Subject>".
    private static func plain(_ type: String, _ study: StudyFile) -> String {
        let modules =
            ["Swift", "Engine", "Study", "Foundation"]
            + study.cells.indices.reversed().map { "Cell\($0 + 1)" }
        return modules.reduce(type) { $0.replacing($1 + ".", with: "") }
    }

    /// The line that declares a variable: the first that says `let` or `var` before its name.
    private static func place(
        of variable: CellVariable, _ cell: Cell, _ study: StudyFile
    ) -> SourcePlace {
        let owner = study.cells[variable.cell]
        for (index, line) in StudyText.lines(of: owner.source).enumerated() {
            let words = line.split { !($0.isLetter || $0.isNumber || $0 == "_") }.map(String.init)
            guard let keyword = words.firstIndex(where: { $0 == "let" || $0 == "var" }),
                words[keyword...].contains(variable.name)
            else { continue }
            return SourcePlace(line: owner.firstLine + index)
        }
        return SourcePlace(line: cell.firstLine)
    }
}
