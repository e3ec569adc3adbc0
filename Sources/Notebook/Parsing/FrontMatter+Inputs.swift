// `inputs`: artifacts that other studies make, and with which parameters and seed they must have been made.
// Finding or running those studies is StudyCommand's business.

internal import Yams

/// An artifact of another study, taken from a run of it with these parameters and this seed.
package struct InputEntry: Sendable, Equatable {
    /// A parameter of the other study.
    package struct Setting: Sendable, Equatable {
        package enum Value: Sendable, Equatable {
            /// As `-p name=value` takes it.
            case text(String)
            /// `params.NAME`: whatever this study's own parameter of that name is in this run.
            case own(String)
        }
        package var name: String
        package var value: Value
        package var place: SourcePlace
    }

    package enum Seed: Sendable, Equatable {
        /// The other study's own.
        case theirs
        case number(UInt64)
        /// `run.seed`: that of this run.
        case same
    }

    /// What `run.input(_:)` calls it.
    package var name: String
    /// Relative to this study's folder.
    package var study: String
    package var artifact: String
    package var settings: [Setting] = []
    package var seed = Seed.theirs
    /// A text parameter of this study: where it is given, the input is not made, since the cells take something else.
    package var unless: String?
    package var place: SourcePlace
}

extension FrontMatter {
    mutating func readInputs(_ node: Node, _ reader: inout YAMLReader) {
        for entry in reader.entries(node, known: nil, what: "inputs") {
            var input = InputEntry(
                name: entry.key, study: "", artifact: "", place: reader.place(entry.node))
            guard entry.value.mapping != nil else {
                reader.complain(
                    entry.node, "input \(entry.key) needs a study and an artifact",
                    mend: "write \(entry.key): {study: other.md, artifact: adapter}")
                continue
            }
            let known = ["study", "artifact", "params", "seed", "unless"]
            for field in reader.entries(entry.value, known: known, what: "an input") {
                switch field.key {
                case "study": input.study = reader.text(field.value, "study")
                case "artifact": input.artifact = reader.text(field.value, "artifact")
                case "params": input.settings = settings(field.value, entry.key, &reader)
                case "unless": input.unless = reader.text(field.value, "unless")
                default: input.seed = seed(field.value, entry.key, &reader)
                }
            }
            check(input, entry.node, &reader)
            inputs.append(input)
        }
    }

    private func check(_ input: InputEntry, _ node: Node, _ reader: inout YAMLReader) {
        if input.study.isEmpty || input.artifact.isEmpty {
            reader.complain(
                node, "input \(input.name) needs a study and an artifact",
                mend: "write \(input.name): {study: other.md, artifact: adapter}")
        }
        if input.study.hasPrefix("/") || input.study.hasPrefix("~") {
            reader.complain(
                node, "input \(input.name): the study must be named relative to this one's folder",
                mend: "write a path such as ../base.md, which holds on any machine")
        }
        let isPlain = input.name.unicodeScalars.allSatisfy {
            $0.properties.isAlphabetic || ("0"..."9").contains($0)
                || "-_.".unicodeScalars.contains($0)
        }
        if !isPlain || input.name.isEmpty || input.name.hasPrefix(".") {
            reader.complain(
                node, "inputs: '\(input.name)' cannot name an input",
                mend: "use letters, digits, -, _ and ., as in `aligned-base`")
        }
    }

    private func settings(_ node: Node, _ input: String, _ reader: inout YAMLReader)
        -> [InputEntry.Setting]
    {
        reader.entries(node, known: nil, what: "the params of input \(input)").compactMap { field in
            // Quoted, "params.rank" is a text like any other.
            if let scalar = field.value.scalar, scalar.style == .plain || scalar.style == .any,
                scalar.string.hasPrefix("params.")
            {
                return InputEntry.Setting(
                    name: field.key, value: .own(String(scalar.string.dropFirst(7))),
                    place: reader.place(field.value))
            }
            guard let value = ParameterValue(field.value) else {
                reader.complain(
                    field.value, "the params of input \(input): \(field.key) needs a value",
                    mend:
                        "give a number, true or false, a text, a list of one of these, or params.NAME for this study's own"
                )
                return nil
            }
            return InputEntry.Setting(
                name: field.key, value: .text("\(value)"), place: reader.place(field.node))
        }
    }

    private func seed(_ node: Node, _ input: String, _ reader: inout YAMLReader) -> InputEntry.Seed
    {
        let text = node.scalar?.string ?? ""
        if text == "run.seed" { return .same }
        if let number = UInt64(text) { return .number(number) }
        reader.complain(
            node,
            "the seed of input \(input) must be a whole number from 0 to 2^64 - 1, or run.seed for this run's"
        )
        return .theirs
    }

    /// What can be said only when all of the front matter is read.
    func checkInputs(_ reader: inout YAMLReader) {
        let names = parameters.map(\.name)
        let textParameters = parameters.filter {
            if case .text = $0.defaultValue { true } else { false }
        }.map(\.name)
        for input in inputs {
            for setting in input.settings {
                guard case .own(let name) = setting.value, !names.contains(name) else { continue }
                reader.complain(
                    at: setting.place,
                    "the params of input \(input.name): this study has no parameter '\(name)'"
                        + (names.isEmpty ? "; it has none" : NearMiss.hint(name, in: names)))
            }
            if let name = input.unless, !textParameters.contains(name) {
                reader.complain(
                    at: input.place,
                    "input \(input.name): unless names a text parameter, and '\(name)' is none"
                        + NearMiss.hint(name, in: textParameters))
            }
            if datasets.contains(where: { $0.name == input.name }) {
                reader.complain(
                    at: input.place, "'\(input.name)' names a dataset and an input",
                    mend: "give one of them another name: a cell asks for either by its name")
            }
        }
    }
}

extension InputEntry {
    /// Whether this run needs it.
    package func isWanted(_ values: StudyFile.Values) -> Bool {
        guard let unless else { return true }
        return values.first { $0.parameter.name == unless }.map { "\($0.value)".isEmpty } ?? true
    }
}

extension StudyFile {
    package typealias Values = [(parameter: Parameter, value: ParameterValue)]

    /// The other study's parameters as `-p` takes them.
    /// - Parameter values: Those of this run.
    package func arguments(for input: InputEntry, values: Values) -> [String] {
        input.settings.map { setting in
            switch setting.value {
            case .text(let text):
                "\(setting.name)=\(text)"
            case .own(let name):
                "\(setting.name)=\(values.first { $0.parameter.name == name }.map { "\($0.value)" } ?? "")"
            }
        }
    }

    /// The names of the artifacts that the cells save, in the order of the document; nil where one of them is made
    /// up as the run goes on, so that the text alone does not tell.
    package var artifactNames: [String]? {
        var names: [String] = []
        for cell in cells where cell.options.evaluated {
            for match in cell.source.matches(of: /\.save\b(?<rest>[^\n]*(?:\n[^\n]*)?)/) {
                let rest = match.output.rest.drop { $0.isWhitespace }
                guard rest.first == "(" else { return nil }
                let argument = rest.dropFirst().drop { $0.isWhitespace }
                // `model.save(to: folder)` is another method.
                if argument.prefixMatch(of: /[A-Za-z_]\w*\s*:/) != nil { continue }
                guard let literal = argument.prefixMatch(of: /"(?<name>[^"\\]+)"\s*[,)]/) else {
                    return nil
                }
                let name = String(literal.output.name)
                if !names.contains(name) { names.append(name) }
            }
        }
        return names
    }
}
