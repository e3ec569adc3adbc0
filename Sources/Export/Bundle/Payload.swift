// The files of a bundle as a list, before a byte is written: the crate, the manifests and what is
// shown to the researcher before writing are all made from it.

/// A file of the crate.
package struct PayloadFile: Sendable {
    /// From the crate's root.
    package var path: String
    package var source: ByteSource
    package var name: String
    package var about: String
    package var mediaType: String
    /// What the file is to the run, for the crate.
    package var role: Role
    package var isExecutable = false
    /// The digest on record: other bytes stop the export.
    package var expectedSHA256: String?
    /// Where a thin bundle's reader gets it.
    package var fetchURL: String?
    /// Texts that its bytes must not hold; what is too large to be rewritten is looked at as it leaves.
    var forbiddenTexts: [String] = []

    package enum Role: Sendable, Hashable {
        case study
        /// `index` in `RunFacts.inputs`.
        case input(index: Int)
        /// `index` in `RunFacts.artifacts`.
        case artifact(index: Int)
        case metrics, report, log, readme
        case other
    }

    package init(
        _ path: String, _ source: ByteSource, name: String, about: String, mediaType: String,
        role: Role = .other
    ) {
        self.path = path
        self.source = source
        self.name = name
        self.about = about
        self.mediaType = mediaType
        self.role = role
    }

    package static func text(
        _ path: String, _ text: String, name: String, about: String,
        mediaType: String = "text/plain",
        role: Role = .other
    ) -> PayloadFile {
        PayloadFile(
            path, .bytes(Array(text.utf8)), name: name, about: about, mediaType: mediaType,
            role: role)
    }
}

extension PayloadFile {
    /// - Parameter sha256: Of the bytes that were found.
    /// - Throws: ``ExportError`` where they are not those on record.
    func check(_ sha256: String) throws {
        guard let expected = expectedSHA256, expected != sha256 else { return }
        throw ExportError(
            .content,
            "\(name) is not the file on record: sha256 \(expected.prefix(12))… recorded, \(sha256.prefix(12))… found.",
            where: path, mend: "restore it, or `study import` a bundle or ledger that has it")
    }

    /// What sees its bytes stream by; nil where nothing is forbidden.
    func watch() -> TextWatch? { forbiddenTexts.isEmpty ? nil : TextWatch(forbiddenTexts) }

    /// - Throws: ``ExportError`` where the watch that saw all of its bytes found what must not leave.
    func check(_ watch: TextWatch?) throws {
        guard let text = watch?.finish() else { return }
        throw ExportError(
            .content,
            "A file that is too large to be rewritten holds \"\(text)\", which must not leave anonymously.",
            where: path, mend: "remove it from the file, or export without --anonymous")
    }
}

/// Something that does not come along, with its commitment.
package struct Withheld: Sendable, Hashable {
    /// Where it would have been in the crate.
    package var path: String
    package var sha256: String
    package var size: Int64
    package var reason: String
    /// Where to get it, where the study says so.
    package var url: String?

    package init(
        path: String, sha256: String, size: Int64, reason: String, url: String? = nil
    ) {
        self.path = path
        self.sha256 = sha256
        self.size = size
        self.reason = reason
        self.url = url
    }
}
