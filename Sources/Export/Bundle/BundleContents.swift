// A verified bag as a replay needs it: the source tree under its own names, inputs where the cells look
// for them, and what is not there. SandboxWatch.swift runs what is laid out here.

package import Provenance

internal import Foundation

/// The unpacked, verified bag of a run.
package struct BundleContents: Sendable {
    /// The bag's folder, the one above `data`.
    package let bag: String
    package let verification: Verification

    package init(bag: String, verification: Verification) {
        self.bag = bag
        self.verification = verification
    }

    /// The run's rows as a ledger of its own.
    package var rows: String { bag + "/data/" + BundleLayout.rows }

    // MARK: What is not there

    /// An input that a replay needs and the bundle does not hold.
    package struct Missing: Sendable, Hashable {
        /// Its place in the crate.
        package var path: String
        package var sha256: String
        package var size: Int64
        package var reason: String
        package var url: String?

        package var text: String {
            "\(path), \(Words.bytes(size)), sha256 \(sha256): \(reason)"
                + (url.map { "; get it from \($0)" } ?? "; its authors can say where it is")
        }
    }

    /// The inputs that are named and not held, in the order of their paths: a thin bundle's, and those
    /// that the policy or a licence withholds.
    package func missingInputs() -> [Missing] {
        let release = verification.held["data/" + BundleLayout.policy].flatMap { JSON(parsing: $0) }
        var found: [Missing] = (release?[key: "withheld"]?.array ?? []).compactMap { item in
            guard let path = item[key: "path"]?.string, path.hasPrefix("inputs/"),
                let sha256 = item[key: "sha256"]?.string
            else { return nil }
            return Missing(
                path: path, sha256: sha256, size: item[key: "size"]?.integer ?? 0,
                reason: item[key: "reason"]?.string ?? "withheld",
                url: item[key: "source"]?.string)
        }
        var faults: [Fault] = []
        let name = "manifest-sha256.txt"
        let digests = BagIt.parse(
            name, verification.held[name] ?? [], digits: 64, &faults)
        for file in verification.missing where file.path.hasPrefix("data/inputs/") {
            found.append(
                Missing(
                    path: String(file.path.dropFirst(5)), sha256: digests[file.path] ?? "",
                    size: file.size, reason: "this thin bundle leaves it out", url: file.url))
        }
        return found.sorted { $0.path < $1.path }
    }

    /// Looks for the missing inputs in a folder of the reviewer's.
    /// - Returns: Files by their SHA-256.
    /// - Throws: ``ExportError`` that names every input that is still missing, and where to get it.
    package func findMissing(in folder: String?, bundle: String) throws -> [String: String] {
        var finder = folder.map { FileFinder($0) }
        var found: [String: String] = [:]
        var absent: [Missing] = []
        for input in missingInputs() {
            if let path = finder?.find(input.path, sha256: input.sha256, size: input.size) {
                found[input.sha256] = path
            } else {
                absent.append(input)
            }
        }
        if absent.isEmpty { return found }
        let count = absent.count == 1 ? "An input" : "\(absent.count) inputs"
        throw ExportError(
            .content,
            "\(count) of this run \(absent.count == 1 ? "is" : "are") not in the bundle"
                + (folder.map { " and not in \($0)" } ?? "") + ":\n"
                + absent.map { "  " + $0.text }.joined(separator: "\n"),
            where: bundle,
            mend:
                "put them into a folder, under any names, and say `study replay \(bundle) --inputs FOLDER`; they are known by their hashes"
        )
    }

    // MARK: What is

    /// Writes the source tree and the study below `folder`, and links the inputs into it.
    /// - Parameter found: Files for inputs that the bag does not hold, by their SHA-256.
    package func lay(out run: RunRecord, into folder: String, found: [String: String]) throws
        -> Restoration
    {
        let tree = folder + "/tree"
        try make(tree)
        for (place, name) in try sourceNames() {
            let target = tree + "/" + name
            try make((target as NSString).deletingLastPathComponent)
            try FileManager.default.copyItem(atPath: bag + "/data/" + place, toPath: target)
        }
        // A study outside its repository keeps its name; its folder is nobody's business.
        let name =
            Self.isPlain(run.study) ? run.study : (run.study as NSString).lastPathComponent
        let study = tree + "/" + name
        try make((study as NSString).deletingLastPathComponent)
        try Data(run.text.utf8).write(to: URL(fileURLWithPath: study))
        var placed: [String: Restoration.Placed] = [:]
        for (index, input) in run.inputs.enumerated() {
            let isInside = Self.isPlain(input.path) && input.tracking != UpstreamLink.folder
            let target =
                isInside
                ? tree + "/" + input.path
                : folder + "/outside/\(index)/" + (input.path as NSString).lastPathComponent
            let members =
                input.isFolder
                ? input.files : [ManifestEntry(path: "", sha256: input.sha256, size: input.size)]
            for member in members {
                guard member.path.isEmpty || Self.isPlain(member.path) else {
                    throw Self.climbs(member.path)
                }
                let inBag = bag + "/data/" + BundleLayout.input(input.path, member: member.path)
                guard
                    let source = access(inBag, F_OK) == 0 ? inBag : found[member.sha256]
                else { continue }
                let place = member.path.isEmpty ? target : target + "/" + member.path
                try make((place as NSString).deletingLastPathComponent)
                unlink(place)
                guard symlink(source, place) == 0 else {
                    throw ExportError(
                        .archive, "An input cannot be laid out: \(systemMessage()).", where: place,
                        mend: "make room, or name another folder with --scratch")
                }
            }
            placed[input.written] = Restoration.Placed(path: target, sha256: input.sha256)
        }
        return Restoration(folder: tree, study: study, placed: placed)
    }

    /// Lets an object store have the original's artifacts, by links: files that differ are compared in
    /// canonical form.
    package func lend(_ artifacts: [StoredArtifact], to objects: ObjectStore) {
        for artifact in artifacts {
            let files =
                artifact.isFolder
                ? artifact.files
                : [ManifestEntry(path: "", sha256: artifact.sha256, size: artifact.size)]
            for file in files {
                let name = artifact.name + (file.path.isEmpty ? "" : "/" + file.path)
                let place = ["artifacts/", "adapters/"].map {
                    bag + "/data/" + BundleLayout.safe($0 + name)
                }.first { access($0, F_OK) == 0 }
                let target = objects.path(of: file.sha256)
                guard let place, access(target, F_OK) != 0 else { continue }
                try? make((target as NSString).deletingLastPathComponent)
                symlink(place, target)
            }
        }
    }

    /// Files of the source tree: their places in the crate, and the names that they had.
    private func sourceNames() throws -> [(place: String, name: String)] {
        var found: [(String, String)] = []
        for entity in verification.crate?[key: "@graph"]?.array ?? [] {
            guard let id = entity[key: "@id"]?.string.map({ $0.removingPercentEncoding ?? $0 }),
                id.hasPrefix(BundleLayout.sourceFiles), let name = entity[key: "name"]?.string
            else { continue }
            // The names are a stranger's.
            guard Self.isPlain(name) else { throw Self.climbs(name) }
            found.append((id, name))
        }
        return found
    }

    private static func isPlain(_ path: String) -> Bool {
        EntryNames.problem(with: path) == nil
            && !path.split(separator: "/").contains { $0 == ".." || $0 == "." }
    }

    private static func climbs(_ name: String) -> ExportError {
        ExportError(
            .bundle, "A file of the bundle says that it belongs elsewhere.", where: name,
            mend: "do not run it; ask its authors")
    }

    private func make(_ folder: String) throws {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: true)
    }
}

/// Finds files by what they hold, in a folder of the reader's.
package struct FileFinder {
    private let folder: String
    private lazy var bySize: [Int64: [String]] = {
        let names = (try? filesBelow(folder)) ?? []
        return Dictionary(
            grouping: names.map { folder + "/" + $0 }, by: { FileStatus($0)?.size ?? -1 })
    }()

    package init(_ folder: String) { self.folder = folder }

    /// The file with these bytes: by its hash as a name, by its path, or whichever has its size.
    mutating func find(_ path: String, sha256: String, size: Int64) -> String? {
        let likely = [sha256, path, "data/" + path].map { folder + "/" + $0 }
        for candidate in likely + (bySize[size] ?? [])
        where FileStatus(candidate)?.size == size
            && (try? hashFile(candidate).digest.sha256) == sha256
        {
            return candidate
        }
        return nil
    }
}
