// Writes a bundle: payload, crate, manifests, in that order, in one pass. What the payload is,
// BundlePlan.swift decides; this file only knows how a bag is put together.

internal import Events
internal import Provenance

/// What was written.
package struct WrittenBundle: Sendable {
    package var path: String
    package var format: ArchiveFormat
    package var identity: ArchiveIdentity
    package var fileCount: Int
    /// SHA-256 of `tagmanifest-sha512.txt`, which fixes every byte of the bag's files.
    package var tagManifestSHA256: String
    package var withheld: [Withheld]
}

/// A bundle ready to be written.
package struct BundleWriter {
    package let run: RunFacts
    package let files: [PayloadFile]
    package let withheld: [Withheld]
    package let softwareVersion: String
    package let isThin: Bool
    /// Signs the tag manifest's bytes; nil for an unsigned bundle.
    package var sign: (([UInt8]) throws -> [UInt8])?

    package init(
        run: RunFacts, files: [PayloadFile], withheld: [Withheld], softwareVersion: String,
        isThin: Bool = false, sign: (([UInt8]) throws -> [UInt8])? = nil
    ) {
        self.isThin = isThin
        self.run = run
        self.files = files
        self.withheld = withheld
        self.softwareVersion = softwareVersion
        self.sign = sign
    }

    /// The top folder's name: study and run.
    package var folderName: String {
        let base = run.study.split(separator: "/").last.map(String.init) ?? "run"
        let stem = base.hasSuffix(".md") ? String(base.dropLast(3)) : base
        return "study-" + BundleLayout.safe(stem).replacing(" ", with: "-") + "-" + run.shortID
    }

    /// Writes the archive.
    /// - Throws: ``ExportError``; nothing is left at `path` then.
    package func write(to path: String, format: ArchiveFormat) throws -> WrittenBundle {
        let stream = try BundleStream(
            path: path, format: format, topFolder: folderName, time: run.epoch)
        var tags: [String: PayloadDigest] = [:]
        func tag(_ name: String, _ bytes: [UInt8]) throws {
            tags[name] = try stream.add(name, .bytes(bytes))
        }
        try tag("bagit.txt", Array(BagIt.declaration.utf8))
        let sorted = files.sorted {
            Array($0.path.utf8).lexicographicallyPrecedes(Array($1.path.utf8))
        }
        var digests: [String: PayloadDigest] = [:]
        var fetches: [BagIt.Fetch] = []
        for file in sorted {
            // A thin bundle leaves out what can be fetched; its manifests and crate are the fat one's.
            let isLeftOut = isThin && file.fetchURL != nil
            let watch = file.watch()
            let digest = try stream.add(
                "data/" + file.path, file.source, isExecutable: file.isExecutable,
                packs: !isLeftOut, watch: watch)
            try file.check(digest.sha256)
            try file.check(watch)
            if isLeftOut {
                fetches.append(
                    BagIt.Fetch(url: file.fetchURL!, size: digest.size, path: "data/" + file.path))
            }
            digests[file.path] = digest
        }
        // These two speak of the others' digests, so they come after them.
        let statement = Attestation.statement(
            run, digests: digests, withheld: withheld, version: softwareVersion)
        let all = sorted + [Attestation.file(statement)]
        digests[BundleLayout.attestation] = try stream.add(
            "data/" + BundleLayout.attestation, .bytes(statement))
        var crate = ROCrate(
            run: run, files: all, digests: digests, withheld: withheld,
            softwareVersion: softwareVersion)
        digests[BundleLayout.crate] = try stream.add(
            "data/" + BundleLayout.crate, .bytes(crate.document().file()))

        var payload: [String: PayloadDigest] = [:]
        for (name, digest) in digests { payload["data/" + name] = digest }
        if !fetches.isEmpty { try tag("fetch.txt", BagIt.fetchFile(fetches)) }
        try tag("bag-info.txt", info(payload))
        for algorithm in BagIt.algorithms {
            try tag("manifest-\(algorithm).txt", BagIt.manifest(payload, algorithm))
        }
        let before = tags
        for algorithm in BagIt.algorithms {
            try tag("tagmanifest-\(algorithm).txt", BagIt.manifest(before, algorithm))
        }
        if let sign {
            _ = try stream.add(
                BundleLayout.signature, .bytes(try sign(BagIt.manifest(before, "sha512"))))
        }
        let identity = try stream.finish()
        return WrittenBundle(
            path: path, format: format, identity: identity, fileCount: digests.count,
            tagManifestSHA256: tags["tagmanifest-sha512.txt"]!.sha256, withheld: withheld)
    }

    private func info(_ payload: [String: PayloadDigest]) -> [UInt8] {
        let bytes = payload.values.reduce(0) { $0 + $1.size }
        var lines = [
            "Bag-Software-Agent: study \(softwareVersion)",
            "Bagging-Date: \(ROCrate.time(run.epoch * 1_000_000_000).prefix(10))",
            "External-Identifier: urn:uuid:\(run.uuid)",
            "Payload-Oxum: \(bytes).\(payload.count)",
        ]
        if let organisation = run.authors.compactMap(\.affiliation).first {
            lines.append("Source-Organization: \(organisation)")
        }
        return Array((lines.joined(separator: "\n") + "\n").utf8)
    }
}
