// What goes into a run's bundle, and what does not: every file with its place, before a byte is
// written. The release policy decides about weights and completions; nothing else here does.
// BundlePlan+Documents.swift makes the files that are written for the bundle.

internal import Events
internal import Foundation
internal import Provenance

/// How a bundle is wanted.
package struct BundleOptions: Sendable {
    /// Leave out what can be fetched, and say where in `fetch.txt`.
    package var isThin = false
    /// Where the fat bundle's files will be: inputs and artifacts can be fetched below it.
    package var fetchFrom: String?
    package var isAnonymous = false
    /// Completions to restricted prompts as text.
    package var completions = false
    package var softwareVersion = "0.1.0"

    package init() {}
}

/// A bundle's files and what is withheld.
package struct BundlePlan {
    package let run: RunFacts
    package let policy: ReleasePolicy
    package var files: [PayloadFile] = []
    package var withheld: [Withheld] = []
    /// Sentences for the researcher: what could not come along though nothing forbids it.
    package var notes: [String] = []
    let options: BundleOptions
    let anonymizer: Anonymizer?
    /// Digests of weights that must not leave: whatever else holds the same bytes stays too.
    private var forbidden: Set<String> = []
    /// Digests of inputs that nothing forbids and nobody has any more.
    private var lost: Set<String> = []
    private var spool: Spool
    /// Files of the tree that were read already, by path: where their bytes are now, and their digest.
    private var known: [String: (source: ByteSource, sha256: String)] = [:]

    /// - Parameters:
    ///   - sourceFiles: The tree that ran, as paths with the files that hold them.
    ///   - patch: What differed from the commit, as a unified diff.
    ///   - scratch: A folder for files that exist until the archive is written.
    ///   - ledgerRoot: The folder that holds the ledger, where it is another than the store's.
    package init(
        _ facts: RunFacts, store: RunStore, sourceFiles: [(path: String, file: String)],
        patch: String? = nil, options: BundleOptions, scratch: String, ledgerRoot: String? = nil
    ) throws {
        let roots = [store.root, ledgerRoot].compactMap { $0 }
        let anonymizer = options.isAnonymous ? Anonymizer(facts, roots: roots) : nil
        self.anonymizer = anonymizer
        spool = Spool(scratch)
        run = anonymizer?.scrubbed(facts) ?? facts
        self.options = options
        policy = try ReleasePolicy(facts, includesCompletions: options.completions)
        let studyPath = BundleLayout.safe(run.study)
        files.append(
            .text(
                studyPath, run.text, name: "the study",
                about: "the study as it was compiled and run: Markdown with Swift cells",
                mediaType: "text/markdown", role: .study))
        addArtifacts(store, anonymizer)
        try addInputs(store, sourceFiles)
        try scrub(from: 0)
        try addSource(sourceFiles, patch, scratch)
        let first = files.count
        try addDocuments(scratch: scratch)
        try scrub(from: first)
        files = Self.unique(files)
        writeReadme()
    }

    private mutating func scrub(from first: Int) throws {
        guard let anonymizer else { return }
        for index in files.indices.dropFirst(first) {
            files[index] = try anonymizer.scrubbed(files[index], &spool, notes: &notes)
        }
    }

    /// The first of those whose names no file system may tell apart.
    private static func unique(_ files: [PayloadFile]) -> [PayloadFile] {
        var seen: Set<String> = []
        return files.filter { seen.insert(EntryNames.folded($0.path)).inserted }
    }

    /// Reads what would otherwise be looked at as it is written: for whoever writes nothing.
    /// - Throws: ``ExportError`` where a file holds what must not leave.
    package func rehearse() throws {
        for file in files {
            guard let watch = file.watch() else { continue }
            try file.source.eachBlock { watch.update($0) }
            try file.check(watch)
        }
    }

    // MARK: Inputs and artifacts

    private mutating func addArtifacts(_ store: RunStore, _ anonymizer: Anonymizer?) {
        for (index, artifact) in run.artifacts.enumerated() {
            let folder = Self.isAdapter(artifact) ? "adapters/" : "artifacts/"
            var configuration: [UInt8]?
            for member in artifact.files {
                let path = BundleLayout.safe(
                    folder + artifact.name + (member.path.isEmpty ? "" : "/" + member.path))
                if let reason = policy.withholds(artifact, member) {
                    if ReleasePolicy.isWeights(artifact, member) { forbidden.insert(member.sha256) }
                    withheld.append(
                        Withheld(
                            path: path, sha256: member.sha256, size: member.size, reason: reason))
                    continue
                }
                guard var source = store.source(member, below: "") else {
                    withheld.append(
                        Withheld(
                            path: path, sha256: member.sha256, size: member.size,
                            reason: "its bytes are no longer in this ledger"))
                    notes.append("\(path) is no longer in the ledger: only its hash leaves.")
                    continue
                }
                if member.path == Self.adapterConfiguration, member.size < 1 << 20 {
                    // The model card quotes it: read once for both.
                    configuration = try? source.contents()
                    if let configuration { source = .bytes(configuration) }
                }
                var file = PayloadFile(
                    path, source, name: artifact.name,
                    about: "made by cell \(cellName(artifact.cell))",
                    mediaType: Self.mediaType(path, artifact.mediaType),
                    role: .artifact(index: index))
                file.expectedSHA256 = member.sha256
                file.fetchURL = fetchURL(path)
                files.append(file)
            }
            if Self.isAdapter(artifact), !artifact.files.contains(where: { $0.path == "README.md" })
            {
                addModelCard(artifact, store, configuration)
            }
        }
    }

    private mutating func addInputs(
        _ store: RunStore, _ sourceFiles: [(path: String, file: String)]
    ) throws {
        let tree = Dictionary(sourceFiles.map { ($0.path, $0.file) }) { first, _ in first }
        var seen: Set<String> = []
        for (index, input) in run.inputs.enumerated() {
            for member in input.files {
                let path = BundleLayout.input(
                    input.shownPath ?? input.path, member: member.path)
                guard seen.insert(path).inserted else { continue }
                let reason =
                    forbidden.contains(member.sha256)
                    ? "the same bytes as weights that are withheld"
                    : policy.withholds(input, member)
                if let reason {
                    withheld.append(
                        Withheld(
                            path: path, sha256: member.sha256, size: member.size, reason: reason,
                            url: input.url))
                    continue
                }
                let source = try self.source(of: member, below: input.path, store, tree)
                guard let source else {
                    withheld.append(
                        Withheld(
                            path: path, sha256: member.sha256, size: member.size,
                            reason: "it is neither in the ledger nor where it was read",
                            url: input.url))
                    lost.insert(member.sha256)
                    let note = "\(input.path) is not there any more: only its hash leaves."
                    if !notes.contains(note) { notes.append(note) }
                    continue
                }
                var file = PayloadFile(
                    path, source, name: input.shownPath ?? input.path,
                    about: "\(input.kind) read by cell \(cellName(input.cell))",
                    mediaType: Self.mediaType(path, ""), role: .input(index: index))
                file.expectedSHA256 = member.sha256
                file.fetchURL =
                    input.files.count == 1 && input.url != nil ? input.url : fetchURL(path)
                files.append(file)
            }
        }
    }

    /// An input's bytes: the ledger's object; the same place in the tree that ran, since the file may have changed
    /// there; or the file itself, whose digest is checked when it is read.
    private mutating func source(
        of member: RunFacts.Member, below path: String, _ store: RunStore, _ tree: [String: String]
    ) throws -> ByteSource? {
        let place = member.path.isEmpty ? path : path + "/" + member.path
        if !store.objects.contains(member.sha256), let file = tree[place],
            Self.size(file) == member.size
        {
            let found = try look(at: place, file, size: member.size)
            if found.sha256 == member.sha256 { return found.source }
        }
        return store.source(member, below: path)
    }

    /// Reads a file of the tree that must be looked at before it leaves, once for all who ask.
    private mutating func look(at path: String, _ file: String, size: Int64) throws -> (
        source: ByteSource, sha256: String
    ) {
        if let found = known[path] { return found }
        let file = ByteSource.file(file, size: size)
        let found: (source: ByteSource, sha256: String)
        if size <= spool.room {
            let kept = try spool.keep(try file.contents())
            found = (kept, try kept.sha256())
        } else {
            found = try spool.copy(file)
        }
        known[path] = found
        return found
    }

    /// The tree that ran, without what is withheld: a weight committed to Git must not slip out here.
    private mutating func addSource(
        _ sourceFiles: [(path: String, file: String)], _ patch: String?, _ scratch: String
    ) throws {
        // What was merely not found again is no secret.
        let held = Set(withheld.map(\.sha256)).subtracting(lost)
        // Only one as long as one of these can be one of them; a size may be unknown.
        let sizes = Set(withheld.map(\.size))
        let isAnySize = sizes.contains { $0 < 0 }
        var kept: Set<String> = []
        var leaving: [PayloadFile] = []
        for (path, file) in sourceFiles {
            guard let size = Self.size(file) else { continue }
            var payload = PayloadFile(
                BundleLayout.safe(BundleLayout.sourceFiles + path), .file(file, size: size),
                name: path, about: "source as it was when the study ran",
                mediaType: Self.mediaType(path, ""))
            payload.isExecutable = access(file, X_OK) == 0
            let isLikely = isAnySize || sizes.contains(size)
            var digest = ""
            let isKnown = known[path] != nil
            // Read once, for this look, the Git bundle, the hashes and the archive.
            if isKnown {
                (payload.source, digest) = try look(at: path, file, size: size)
            } else if size <= (anonymizer == nil ? spool.room : Anonymizer.longest) {
                payload.source = .bytes(try payload.source.contents())
                if isLikely { digest = try payload.source.sha256() }
            } else if isLikely {
                (payload.source, digest) = try look(at: path, file, size: size)
            }
            if held.contains(digest) {
                kept.insert(path)
                withheld.append(
                    Withheld(
                        path: payload.path, sha256: digest, size: size,
                        reason: "the same bytes as a file that is withheld"))
                continue
            }
            if let anonymizer {
                payload = try anonymizer.scrubbed(payload, &spool, notes: &notes)
            }
            if case .bytes(let bytes) = payload.source, !isKnown {
                payload.source = try spool.keep(bytes)
            }
            leaving.append(payload)
        }
        leaving = Self.unique(leaving)
        let bundle = try addGitBundle(of: &leaving, scratch)
        files += leaving + bundle
        addPatch(patch, without: kept)
    }

    private mutating func addPatch(_ patch: String?, without kept: Set<String>) {
        guard let patch, !patch.isEmpty else { return }
        if run.changes.contains(where: { kept.contains($0.path) }) {
            notes.append(
                "What differed from the commit leaves as files only: a patch would hold what is withheld."
            )
            return
        }
        files.append(
            .text(
                BundleLayout.patch, anonymizer?.scrubbed(patch) ?? patch,
                name: "uncommitted changes",
                about:
                    "how the tree that ran differed from commit \(run.code.commit ?? "(none)"), for `git apply`",
                mediaType: "text/x-diff"))
    }

    /// The source files once more, for `git clone`: those that leave, as they leave. From here on they are read out
    /// of the Git bundle, where they lie as they are.
    private mutating func addGitBundle(of sources: inout [PayloadFile], _ scratch: String) throws
        -> [PayloadFile]
    {
        guard !sources.isEmpty else { return [] }
        // Twice the same: worth it for a tree of text.
        guard sources.reduce(0, { $0 + $1.source.size }) < 256 << 20 else {
            notes.append("The source is too large for a Git bundle beside it; it comes as files.")
            return []
        }
        let commit = run.code.snapshot ?? run.code.commit ?? "(none)"
        let place = scratch + "/source.bundle"
        let (size, id, places) = try GitBundle.write(
            sources.map {
                GitBundle.File(path: $0.name, source: $0.source, isExecutable: $0.isExecutable)
            }, message: "The source of run \(run.id)\n\nRecorded as commit \(commit).",
            time: run.epoch, to: place)
        for index in sources.indices {
            guard let packed = places[sources[index].name] else { continue }
            sources[index].source = packed
        }
        return [
            PayloadFile(
                BundleLayout.sourceBundle, .file(place, size: size), name: "Git bundle",
                about:
                    "the same files as one commit, \(id), for `git clone -b \(GitBundle.branch) source.bundle`",
                mediaType: "application/octet-stream")
        ]
    }

    func fetchURL(_ path: String) -> String? {
        options.fetchFrom.map {
            ($0.hasSuffix("/") ? $0 : $0 + "/") + "data/" + ROCrate.encoded(path)
        }
    }

    func cellName(_ index: Int) -> String {
        run.cells.indices.contains(index) ? run.cells[index].id : String(index + 1)
    }

    static func size(_ path: String) -> Int64? {
        FileStatus(path)?.size
    }

    static func isAdapter(_ artifact: RunFacts.Artifact) -> Bool {
        artifact.files.contains { $0.path == adapterConfiguration }
    }

    static let adapterConfiguration = "adapter_config.json"

    static func mediaType(_ path: String, _ given: String) -> String {
        if !given.isEmpty, given != "application/octet-stream" { return given }
        let types = [
            "md": "text/markdown", "txt": "text/plain", "json": "application/json",
            "jsonl": "application/jsonl", "csv": "text/csv", "html": "text/html",
            "svg": "image/svg+xml",
            "png": "image/png", "safetensors": "application/vnd.safetensors",
            "sqlite": "application/vnd.sqlite3", "swift": "text/x-swift", "yml": "application/yaml",
            "yaml": "application/yaml", "py": "text/x-python", "c": "text/x-c", "h": "text/x-c",
        ]
        return types[path.split(separator: ".").last.map { $0.lowercased() } ?? ""]
            ?? "application/octet-stream"
    }

    /// What is shown to the researcher before anything is written.
    package var summary: [String] {
        var lines = ["release: \(policy.mode.rawValue): \(policy.reason)"]
        let size = files.reduce(0) { $0 + $1.source.size }
        lines.append("leaves: \(files.count) files, \(Words.bytes(size))")
        var groups: [String: (count: Int, size: Int64)] = [:]
        for file in files {
            let group =
                file.path.split(separator: "/").count > 1
                ? file.path.split(separator: "/")[0] + "/" : file.path[...]
            groups[String(group), default: (0, 0)].count += 1
            groups[String(group), default: (0, 0)].size += file.source.size
        }
        for (name, group) in groups.sorted(by: { $0.key < $1.key }) {
            lines.append(
                "  \(name)  \(group.count == 1 ? "1 file" : "\(group.count) files"), \(Words.bytes(group.size))"
            )
        }
        if withheld.isEmpty {
            lines.append("withheld: nothing")
        } else {
            lines.append(
                withheld.count == 1
                    ? "withheld: 1 file; its SHA-256 leaves in release.json"
                    : "withheld: \(withheld.count) files; their SHA-256 leave in release.json")
            for (reason, items) in Dictionary(grouping: withheld, by: \.reason).sorted(by: {
                $0.key < $1.key
            }) {
                let names = items.map(\.path).sorted()
                lines.append(
                    "  \(names.prefix(3).joined(separator: ", "))\(names.count > 3 ? ", …" : ""): \(reason)"
                )
            }
        }
        return lines + notes.map { "note: " + $0 }
    }
}
