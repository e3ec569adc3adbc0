// Which studies a study takes artifacts from, and those from others in turn: found, read and checked before anything
// is compiled. UpstreamResolver.swift takes from their runs, or runs them.

internal import Foundation
internal import Notebook
internal import Provenance

/// A study with the parameters and the seed that it is asked to run with, and the studies above it.
final class StudyNode {
    let file: String
    let study: StudyFile
    let values: StudyFile.Values
    let seed: UInt64
    /// As `-p` takes them.
    let arguments: [String]
    fileprivate(set) var inputs: [(entry: InputEntry, node: StudyNode)] = []

    /// - Throws: ``StudyError`` where the parameters are not the study's.
    init(file: String, study: StudyFile, arguments: [String], seed: UInt64?) throws {
        self.file = file
        self.study = study
        self.arguments = arguments
        values = try study.values(overriding: arguments)
        self.seed = seed ?? study.seed
    }

    /// Reads the studies that this one names, and those that they name.
    /// - Throws: ``StudyError`` with every fault that is found: studies that do not exist, parameters they do not
    ///   have, artifacts that they do not make, circles.
    func readInputs() throws {
        var faults: [Diagnostic] = []
        try readInputs(below: [(real(file), study.path)], &faults)
        if !faults.isEmpty { throw StudyError(faults, text: study.text) }
    }

    private func readInputs(
        below chain: [(file: String, path: String)], _ faults: inout [Diagnostic]
    ) throws {
        let folder = StudyRunner.folder(of: file)
        for entry in study.frontMatter.inputs where entry.isWanted(values) {
            func fault(_ message: String, _ mend: String = "") {
                faults.append(
                    Diagnostic(
                        path: study.path, place: entry.place,
                        message: "input \(entry.name): \(message)", mend: mend))
            }
            let other = (folder + "/" + entry.study as NSString).standardizingPath
            let path = Self.path(of: entry.study, beside: study.path)
            guard FileManager.default.fileExists(atPath: other) else {
                fault(
                    "there is no study \(entry.study)" + Self.hint(entry.study, beside: folder),
                    "`study:` is relative to the folder of \(study.path)")
                continue
            }
            let next = chain + [(real(other), path)]
            if let start = chain.firstIndex(where: { $0.file == real(other) }) {
                fault(
                    "studies go in a circle: "
                        + next[start...].map(\.path).joined(separator: " → "),
                    "take one of these inputs out")
                continue
            }
            let node: StudyNode
            do {
                node = try StudyNode(
                    file: other, study: try StudyFile(contentsOf: other, path: path),
                    arguments: study.arguments(for: entry, values: values),
                    seed: seed(of: entry))
            } catch let error as StudyError where error.diagnostics.allSatisfy({ $0.place == nil })
            {
                // Parameters that it does not have, say: the line to change is here.
                for found in error.diagnostics { fault("\(path): \(found.message)", found.mend) }
                continue
            }
            // Faults of a study further up are told with its own lines, at once.
            var above: [Diagnostic] = []
            try node.readInputs(below: next, &above)
            if !above.isEmpty { throw StudyError(above, text: node.study.text) }
            if let names = node.study.artifactNames, !names.contains(entry.artifact) {
                fault(
                    "\(path) saves no artifact '\(entry.artifact)'"
                        + (names.isEmpty
                            ? "; it saves none" : NearMiss.hint(entry.artifact, in: names)))
                continue
            }
            inputs.append((entry, node))
        }
    }

    private func seed(of entry: InputEntry) -> UInt64? {
        switch entry.seed {
        case .theirs: nil
        case .number(let number): number
        case .same: seed
        }
    }

    /// The other study as messages call it: from where the user stands, as this one is.
    private static func path(of other: String, beside path: String) -> String {
        let folder = (path as NSString).deletingLastPathComponent
        var parts: [Substring] = []
        for part in (folder + "/" + other).split(separator: "/") where part != "." {
            if part == "..", let last = parts.last, last != ".." {
                parts.removeLast()
            } else {
                parts.append(part)
            }
        }
        return (folder.hasPrefix("/") ? "/" : "") + parts.joined(separator: "/")
    }

    private static func hint(_ name: String, beside folder: String) -> String {
        let base = ((folder + "/" + name) as NSString).deletingLastPathComponent
        let names = (try? FileManager.default.contentsOfDirectory(atPath: base)) ?? []
        let last = (name as NSString).lastPathComponent
        return NearMiss.of(last, in: names.filter { $0.hasSuffix(".md") }.sorted()).map {
            "; did you mean '\($0)'?"
        } ?? ""
    }

    private func real(_ path: String) -> String {
        guard let real = realpath(path, nil) else { return path }
        defer { free(real) }
        return String(cString: real)
    }

    /// This node and every one above it, producers before consumers.
    var all: [StudyNode] { inputs.flatMap { $0.node.all } + [self] }
}
