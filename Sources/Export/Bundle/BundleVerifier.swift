// The reviewer's first command: is this bundle whole, and exactly what was exported? Reads an archive
// or an unpacked folder once and lists everything that is wrong.

internal import Foundation
internal import Provenance

/// What a verification found.
package struct Verification: Sendable {
    package var faults: [Fault]
    package var format: ArchiveFormat?
    package var folder: String
    package var tarSHA256: String?
    package var tagManifestSHA256: String?
    package var fileCount: Int
    package var totalBytes: Int64
    /// Payload that a thin bundle names in `fetch.txt` and does not hold.
    package var missing: [BagIt.Fetch]
    /// The crate's description, where it could be read.
    package var crate: JSON?
    /// What ssh-keygen said of the signature; nil where there is none.
    package var signature: SignatureVerdict?
    package var held: [String: [UInt8]]
    /// What the archive took to read; nothing of a folder.
    package var effort = ArchiveEffort()

    package var isWhole: Bool { faults.isEmpty }
}

/// Verifies bundles.
package enum BundleVerifier {
    /// Files that are kept in memory while the rest passes by.
    static func holds(_ path: String) -> Bool {
        !path.hasPrefix("data/")
            || [
                BundleLayout.crate, BundleLayout.policy, BundleLayout.environment,
                BundleLayout.attestation,
            ].contains(String(path.dropFirst(5)))
    }

    /// - Parameters:
    ///   - path: An archive, or the folder of a bag.
    ///   - signers: An allowed-signers file of ssh-keygen, where the reviewer has one.
    /// - Throws: ``ExportError`` where nothing can be read at all.
    package static func verify(
        _ path: String, limits: ArchiveLimits = ArchiveLimits(), signers: String? = nil
    ) throws -> Verification {
        if FileStatus(path)?.kind == .folder {
            return try finish(
                try BagFolder.read(path, limits), path, findings: nil, signers: signers)
        }
        let reader = ArchiveReader(path, limits: limits)
        let digester = Digester(limits: limits)
        let findings = try reader.read(digester)
        return try finish(
            digester.contents, findings.topFolder ?? "", findings: findings, signers: signers)
    }

    /// What a bag says of itself that was verified a moment ago and cannot be written since: hashes nothing.
    package static func reading(_ folder: String) throws -> Verification {
        let names = try filesBelow(folder)
        var held: [String: [UInt8]] = [:]
        for name in names where holds(name) {
            held[name] = FileManager.default.contents(atPath: folder + "/" + name).map { Array($0) }
        }
        let present = Set(names)
        var faults: [Fault] = []
        let fetches = held["fetch.txt"].map { BagIt.parseFetch($0, &faults) } ?? []
        return Verification(
            faults: faults, format: nil, folder: folder, tarSHA256: nil, tagManifestSHA256: nil,
            fileCount: names.count,
            totalBytes: names.reduce(0) { $0 + (FileStatus(folder + "/" + $1)?.size ?? 0) },
            missing: fetches.filter { !present.contains($0.path) },
            crate: held["data/" + BundleLayout.crate].flatMap { JSON(parsing: $0) },
            signature: nil, held: held)
    }

    static func finish(
        _ contents: BagContents, _ folder: String, findings: ArchiveFindings?, signers: String?
    ) throws -> Verification {
        var faults = findings?.faults ?? []
        let (bagFaults, missing) = contents.faults()
        // An archive that broke off has lost its manifests: that each is missing says nothing new.
        let brokeOff = findings?.faults.contains { $0.problem.contains("damaged") } ?? false
        faults += brokeOff ? bagFaults.filter { !$0.problem.contains("missing") } : bagFaults
        let crateBytes = contents.held["data/" + BundleLayout.crate]
        let crate = crateBytes.flatMap { JSON(parsing: $0) }
        faults += CrateCheck.faults(
            crate, hasFile: crateBytes != nil, contents, missing, brokeOff: brokeOff)
        var signature: SignatureVerdict?
        if let bytes = contents.held[BundleLayout.signature],
            let manifest = contents.held["tagmanifest-sha512.txt"]
        {
            signature = Signature.verify(bytes, of: manifest, signers: signers)
            if case .bad(let reason) = signature {
                faults.append(Fault(BundleLayout.signature, reason))
            }
        } else if signers != nil {
            faults.append(Fault(BundleLayout.signature, "is missing: the bundle is not signed"))
        }
        return Verification(
            faults: Array(Set(faults)).sorted(), format: findings?.format, folder: folder,
            tarSHA256: findings?.tarSHA256,
            tagManifestSHA256: contents.held["tagmanifest-sha512.txt"].map {
                PayloadDigest(of: $0).sha256
            },
            fileCount: contents.digests.count,
            totalBytes: contents.digests.values.reduce(0) { $0 + $1.size }, missing: missing,
            crate: crate, signature: signature, held: contents.held,
            effort: findings?.effort ?? ArchiveEffort())
    }
}

/// Does the crate's description speak of the files that are there?
enum CrateCheck {
    static func faults(
        _ crate: JSON?, hasFile: Bool, _ contents: BagContents, _ missing: [BagIt.Fetch],
        brokeOff: Bool
    ) -> [Fault] {
        let name = "data/" + BundleLayout.crate
        guard hasFile else {
            // One that is too large for us was said to be.
            return brokeOff || contents.digests[name] != nil
                ? [] : [Fault(name, "is missing: this is no crate")]
        }
        guard let graph = crate?[key: "@graph"]?.array else {
            return [Fault(name, "is not the JSON-LD of a crate")]
        }
        var faults: [Fault] = []
        let absent = Set(missing.map(\.path))
        for entity in graph {
            guard let id = entity[key: "@id"]?.string, isFile(entity[key: "@type"]) else {
                continue
            }
            let path = "data/" + (id.removingPercentEncoding ?? id)
            guard let digest = contents.digests[path] else {
                if !absent.contains(path), !brokeOff {
                    faults.append(Fault(path, "is missing; the crate describes it"))
                }
                continue
            }
            if let hash = entity[key: "sha256"]?.string, hash != digest.sha256 {
                faults.append(Fault(path, "is not the file that the crate describes (sha256)"))
            }
            if let size = entity[key: "contentSize"]?.string, size != String(digest.size) {
                faults.append(Fault(path, "has \(digest.size) bytes, the crate says \(size)"))
            }
        }
        return faults
    }

    private static func isFile(_ type: JSON?) -> Bool {
        type?.string == "File" || type?.array?.contains { $0.string == "File" } ?? false
    }
}
