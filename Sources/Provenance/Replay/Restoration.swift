// Lays out a run's source and inputs in a folder of their own, every file checked against the record.
// Running it is the command's business, comparing Comparison.swift's.

internal import Foundation

/// A scratch worktree with what a run ran on.
package struct Restoration: Sendable {
    /// A recorded input's bytes, where they lie now.
    package struct Placed: Sendable, Hashable {
        package var path: String
        package var sha256: String
        package init(path: String, sha256: String) {
            self.path = path
            self.sha256 = sha256
        }
    }

    /// The folder that stands for the repository's root.
    package let folder: String
    /// The study's file in it.
    package let study: String
    /// Inputs that are found by the name that the cell writes, not by their place below `folder`.
    package let placed: [String: Placed]

    /// A tree that somebody else has laid out and checked, as that of an unpacked bundle.
    package init(folder: String, study: String, placed: [String: Placed] = [:]) {
        self.folder = folder
        self.study = study
        self.placed = placed
    }

    /// Writes source and inputs of `run` below `folder`.
    ///
    /// An input is taken from the commit or snapshot, else from the object store, else linked from
    /// where it lay, and only with the digest on record.
    /// - Parameter root: The folder that holds the ledger.
    /// - Throws: ``ProvenanceError`` with reason `.incomplete`, naming everything missing or changed.
    package static func lay(
        out run: RunRecord, of ledger: Ledger, root: String, into folder: String
    ) throws
        -> Restoration
    {
        try makeFolder(folder)
        _ = try ledger.layOutSource(of: run, root: root, into: folder)
        let root = Ledger.sourceRoot(of: run, ledgerRoot: root)
        let study = folder + "/" + name(of: run, in: root)
        try makeFolder(parent(of: study))
        try? FileManager.default.removeItem(atPath: study)
        try Data(run.text.utf8).write(to: URL(fileURLWithPath: study))

        var faults: [String] = []
        for input in run.inputs {
            if let fault = try restore(input, of: ledger, root: root, into: folder) {
                faults.append(fault)
            }
        }
        guard faults.isEmpty else {
            throw ProvenanceError(
                .incomplete,
                "\(faults.count == 1 ? "An input" : "\(faults.count) inputs") of this run cannot be had as recorded:\n  "
                    + faults.joined(separator: "\n  "),
                where: "run \(run.id), \(run.study)",
                mend:
                    "put the recorded files back, or start a new run; a replay takes no other data")
        }
        return Restoration(folder: folder, study: study)
    }

    /// The study's place in the tree. One that lay neither beside the ledger nor in a repository keeps its name; its
    /// folder is not ours to rebuild.
    private static func name(of run: RunRecord, in root: String) -> String {
        guard run.study.hasPrefix("/") else { return run.study }
        return relativePath(realPath(run.study), to: realPath(root))
            ?? (run.study as NSString).lastPathComponent
    }

    /// Nil where the input is there, else what is wrong with it.
    private static func restore(
        _ input: InputRecord, of ledger: Ledger, root: String, into folder: String
    ) throws -> String? {
        // What an upstream run made is laid out from the object store when the study asks for it.
        if input.tracking == UpstreamLink.folder {
            let parts = input.isFolder ? input.files.map(\.sha256) : [input.sha256]
            return parts.allSatisfy(ledger.objects.contains)
                ? nil
                : "\(input.written): an artifact of another run, sha256 \(short(input.sha256)), is not in the store"
        }
        let isInside = input.tracking != "outside"
        let place = isInside ? folder + "/" + input.path : expanded(input.path)
        if try ledger.digest(ofInput: place) == input.sha256 { return nil }
        if !isInside {
            let found = try ledger.digest(ofInput: place)
            return fault(input, found)
        }
        // From the store.
        let parts = input.isFolder ? input.files.map(\.sha256) : [input.sha256]
        if parts.allSatisfy(ledger.objects.contains) {
            if input.isFolder {
                for file in input.files {
                    try ledger.objects.copy(file.sha256, to: place + "/" + file.path)
                }
            } else {
                try ledger.objects.copy(input.sha256, to: place)
            }
            return nil
        }
        // From where it lay: a link, so that a large file costs nothing.
        let original = root + "/" + input.path
        let found = try ledger.digest(ofInput: original)
        guard found == input.sha256 else { return fault(input, found) }
        try? FileManager.default.removeItem(atPath: place)
        try makeFolder(parent(of: place))
        guard symlink(realPath(original), place) == 0 else { throw cannotWrite(place) }
        return nil
    }

    private static func fault(_ input: InputRecord, _ found: String?) -> String {
        "\(input.written): sha256 \(short(input.sha256)) recorded, "
            + (found.map { "\(short($0)) found" } ?? "nothing found")
    }

    private static func expanded(_ path: String) -> String {
        guard path.hasPrefix("~/"), let home = getenv("HOME") else { return path }
        return String(cString: home) + path.dropFirst(1)
    }
}
