// For double-blind review: names, affiliations, hosts, remotes and paths of home folders go, wherever
// they stand. What cannot be searched (binary files) and holds one of them stays here.

internal import Events
internal import Provenance
internal import Foundation

struct Anonymizer {
    /// What must not leave, longest first, with what stands there instead.
    let replacements: [(needle: String, mark: String)]
    let marker = "Anonymous"

    /// - Parameter roots: Folders whose places nobody shall read: that of the source, that of the ledger.
    init(_ run: RunFacts, roots: [String]) {
        var found: [String: String] = [:]
        func add(_ text: String?, _ mark: String) {
            // Two letters would blot out half the text.
            guard let text, text.count >= 3 else { return }
            found[text] = mark
        }
        for author in run.authors {
            add(author.name, "Anonymous")
            let parts = author.name.split(separator: " ").map(String.init)
            if let family = parts.last, parts.count > 1, family.count >= 4 {
                add(family, "Anonymous")
                add(family.lowercased(), "anonymous")
                add(family + ", " + parts.dropLast().joined(separator: " "), "Anonymous")
            }
            add(author.affiliation, "Anonymous institution")
            add(author.orcid, "anonymous")
            add(author.orcid?.split(separator: "/").last.map(String.init), "anonymous")
        }
        if let remote = run.code.remote {
            add(remote, "anonymous-remote")
            let bare = remote.hasSuffix(".git") ? String(remote.dropLast(4)) : remote
            add(bare, "anonymous-remote")
            // "owner/name", whichever way the address is written.
            let path = bare.split(whereSeparator: { $0 == "/" || $0 == ":" }).suffix(2)
            if path.count == 2 {
                add(path.joined(separator: "/"), "anonymous/repository")
                add(path.first.map(String.init), "anonymous")
            }
        }
        var host = [CChar](repeating: 0, count: 256)
        if gethostname(&host, 255) == 0 {
            let name = String(
                decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if !["localhost", "debian", "linux"].contains(name) { add(name, "anonymous-host") }
        }
        let everyones = ["root", "user", "nobody", "admin"]
        if let entry = getpwuid(getuid()) {
            let name = String(cString: entry.pointee.pw_name)
            if !everyones.contains(name) { add(name, "anonymous") }
            let full = String(cString: entry.pointee.pw_gecos).split(separator: ",").first.map(
                String.init)
            if let full, !everyones.contains(full.lowercased()) { add(full, "Anonymous") }
            let home = String(cString: entry.pointee.pw_dir)
            if home != "/" { add(home, "/home/anonymous") }
        }
        for root in roots where root != "/" { add(root, "/repository") }
        replacements = found.sorted { ($1.key.count, $0.key) < ($0.key.count, $1.key) }.map {
            ($0.key, $0.value)
        }
    }

    func scrubbed(_ text: String) -> String {
        var text = text
        for (needle, mark) in replacements where text.contains(needle) {
            text = text.replacingOccurrences(of: needle, with: mark)
        }
        // Any other home folder: /home/someone, /Users/someone.
        for prefix in ["/home/", "/Users/"] {
            var from = text.startIndex
            while let range = text.range(of: prefix, range: from..<text.endIndex) {
                let end =
                    text[range.upperBound...].firstIndex {
                        !($0.isLetter || $0.isNumber || "._-".contains($0))
                    } ?? text.endIndex
                let name = text[range.upperBound..<end]
                if name.isEmpty || name == "anonymous" {
                    from = end
                    continue
                }
                let offset = text.utf8.distance(from: text.startIndex, to: range.upperBound) + 9
                text.replaceSubrange(range.upperBound..<end, with: "anonymous")
                from = text.utf8.index(text.startIndex, offsetBy: offset)
            }
        }
        return text
    }

    func scrubbed(_ facts: RunFacts) -> RunFacts {
        var run = facts
        // One author whatever the number: the number says something too.
        run.authors = facts.authors.isEmpty ? [] : [RunFacts.Person(name: "Anonymous")]
        // No address, no branch; and a public repository can be searched for a commit's id.
        run.code = CodeIdentity()
        run.text = scrubbed(facts.text)
        run.title = scrubbed(facts.title)
        run.study = scrubbed(facts.study)
        run.command = facts.command.map(scrubbed)
        run.environment = facts.environment.map { ($0.name, scrubbed($0.value)) }
        run.changes = facts.changes.map { RunFacts.Change(path: scrubbed($0.path), kind: $0.kind) }
        run.parameters = facts.parameters.map {
            RunFacts.Parameter(name: $0.name, type: $0.type, value: scrubbed($0.value))
        }
        run.cells = facts.cells.map {
            var cell = $0
            cell.source = scrubbed($0.source)
            return cell
        }
        run.inputs = facts.inputs.map {
            var input = $0
            // The bytes are found by the true path; the crate shows the scrubbed one.
            input.shownPath = scrubbed($0.path)
            input.url = $0.url.map(scrubbed)
            return input
        }
        run.outputs = facts.outputs.map {
            RunFacts.Output(cell: $0.cell, stream: $0.stream, bytes: scrubbed($0.bytes))
        }
        run.claims = facts.claims.map {
            ClaimRecord(
                cell: $0.cell, text: scrubbed($0.text), holds: $0.holds,
                evidence: scrubbed($0.evidence))
        }
        run.figures = facts.figures.map {
            RunFacts.Figure(
                cell: $0.cell, title: scrubbed($0.title),
                alternativeText: scrubbed($0.alternativeText),
                script: scrubbed($0.script), data: scrubbed($0.data))
        }
        run.inlineValues = facts.inlineValues.mapValues(scrubbed)
        if var failure = facts.failure {
            failure.message = scrubbed(failure.message)
            run.failure = failure
        }
        run.releaseReason = facts.releaseReason.map(scrubbed)
        run.attempts = facts.attempts.map {
            var attempt = $0
            attempt.note = scrubbed($0.note)
            attempt.parameters = scrubbed($0.parameters)
            return attempt
        }
        run.upstreams = facts.upstreams.map {
            var link = $0
            link.study = scrubbed($0.study)
            return link
        }
        return run
    }

    private func scrubbed(_ bytes: [UInt8]) -> [UInt8] {
        guard let text = String(validating: bytes, as: UTF8.self) else { return bytes }
        let clean = scrubbed(text)
        return clean == text ? bytes : Array(clean.utf8)
    }

    /// Files up to this size are rewritten, in bytes. Longer ones are weights and data: a name in them is refused
    /// as they leave.
    static let longest: Int64 = 8 << 20

    /// A file without what must not leave, read at most once; text is rewritten, binary files are only looked at.
    func scrubbed(_ file: PayloadFile, _ spool: inout Spool, notes: inout [String]) throws
        -> PayloadFile
    {
        var file = file
        file.name = scrubbed(file.name)
        file.about = scrubbed(file.about)
        if scrubbed(file.path) != file.path { file.path = BundleLayout.safe(scrubbed(file.path)) }
        file.fetchURL = nil
        switch file.source {
        // Within the Git bundle lies what was looked at before, or is too large.
        case .packed: return file
        case .file(_, let size) where size > Self.longest:
            file.forbiddenTexts = replacements.map(\.needle)
            return file
        default: break
        }
        let bytes = try file.source.contents()
        if file.expectedSHA256 != nil { try file.check(PayloadDigest(of: bytes).sha256) }
        let clean = try clean(bytes, of: file)
        if clean != bytes, file.expectedSHA256 != nil {
            file.expectedSHA256 = nil
            notes.append("\(file.path) was rewritten to hide names.")
        }
        if case .file = file.source {
            file.source = try spool.keep(clean)
        } else {
            file.source = .bytes(clean)
        }
        return file
    }

    /// - Throws: ``ExportError`` where they are no text and hold what must not leave.
    private func clean(_ bytes: [UInt8], of file: PayloadFile) throws -> [UInt8] {
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return try refuseNames(in: bytes, of: file)
        }
        let clean = scrubbed(text)
        return clean == text ? bytes : Array(clean.utf8)
    }

    private func refuseNames(in bytes: [UInt8], of file: PayloadFile) throws -> [UInt8] {
        if let needle = replacements.first(where: { Self.holds(bytes, $0.needle) }) {
            throw ExportError(
                .content,
                "A binary file holds \"\(needle.needle)\", which must not leave anonymously.",
                where: file.path, mend: "remove it from the file, or export without --anonymous")
        }
        return bytes
    }

    static func holds(_ bytes: [UInt8], _ needle: String) -> Bool {
        Data(bytes).range(of: Data(needle.utf8)) != nil
    }
}
