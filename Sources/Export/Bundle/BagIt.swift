// BagIt 1.0 (RFC 8493): writes a bag's tag files, and says all that is wrong with a bag. Both work on
// names and digests only; files are read by the archive's one pass.

internal import Foundation

/// A bag's tag files and its rules.
package enum BagIt {
    package static let declaration = "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    static let algorithms = ["sha256", "sha512"]

    /// A line of `fetch.txt`: a payload file that must be got elsewhere.
    package struct Fetch: Sendable, Hashable {
        package var url: String
        package var size: Int64
        /// From the bag's root, as "data/inputs/base.safetensors".
        package var path: String
        package init(url: String, size: Int64, path: String) {
            self.url = url
            self.size = size
            self.path = path
        }
    }

    /// A manifest's bytes: digest, two spaces, path; sorted by path.
    static func manifest(_ files: [String: PayloadDigest], _ algorithm: String) -> [UInt8] {
        var text = ""
        for path in files.keys.sorted(by: {
            Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8))
        }) {
            let digest = files[path]!
            text += (algorithm == "sha256" ? digest.sha256 : digest.sha512) + "  " + path + "\n"
        }
        return Array(text.utf8)
    }

    static func fetchFile(_ lines: [Fetch]) -> [UInt8] {
        Array(
            lines.sorted { $0.path < $1.path }.map { "\($0.url) \($0.size) \($0.path)\n" }.joined()
                .utf8)
    }

    /// Splits a manifest into digests by path; what is wrong with its lines goes to `faults`.
    static func parse(_ name: String, _ bytes: [UInt8], digits: Int, _ faults: inout [Fault])
        -> [String: String]
    {
        var entries: [String: String] = [:]
        guard let text = String(validating: bytes, as: UTF8.self) else {
            faults.append(Fault(name, "is not UTF-8"))
            return [:]
        }
        for (index, line) in text.split(separator: "\n").enumerated() {
            let parts = line.split(separator: " ", maxSplits: 1)
            guard parts.count == 2 else {
                faults.append(Fault(name, "line \(index + 1) is not a digest and a path"))
                continue
            }
            let path = String(parts[1].drop { $0 == " " || $0 == "*" })
            let digest = parts[0].lowercased()
            if digest.count != digits || !digest.allSatisfy(\.isHexDigit) {
                faults.append(
                    Fault(
                        name,
                        "line \(index + 1): the digest of \(path) is not \(digits) hexadecimal digits"
                    ))
                continue
            }
            if let problem = EntryNames.problem(with: path) {
                faults.append(Fault(name, "line \(index + 1): \(path) \(problem)"))
                continue
            }
            if entries.updateValue(digest, forKey: path) != nil {
                faults.append(Fault(name, "lists \(path) twice"))
            }
        }
        return entries
    }

    static func parseFetch(_ bytes: [UInt8], _ faults: inout [Fault]) -> [Fetch] {
        var lines: [Fetch] = []
        for (index, line) in String(decoding: bytes, as: UTF8.self).split(separator: "\n")
            .enumerated()
        {
            let parts = line.split(separator: " ", maxSplits: 2)
            guard parts.count == 3, let size = Int64(parts[1]), size >= 0 else {
                faults.append(
                    Fault("fetch.txt", "line \(index + 1) is not a URL, a length and a path"))
                continue
            }
            lines.append(Fetch(url: String(parts[0]), size: size, path: String(parts[2])))
        }
        return lines
    }
}

/// What a reader of an archive or a folder found of a bag.
package struct BagContents: Sendable {
    /// By path from the bag's root.
    package var digests: [String: PayloadDigest] = [:]
    /// The bytes of tag files, and of the few payload files that are looked into.
    package var held: [String: [UInt8]] = [:]
    /// What was found wrong while reading.
    var extra: [Fault] = []

    package init() {}

    /// All that is wrong with the bag, and what is left to be fetched.
    func faults() -> (faults: [Fault], missing: [BagIt.Fetch]) {
        var faults = extra
        switch held["bagit.txt"] {
        case nil where digests["bagit.txt"] == nil:
            faults.append(Fault("bagit.txt", "is missing: this is no BagIt bag"))
        case let bytes? where String(decoding: bytes, as: UTF8.self) != BagIt.declaration:
            faults.append(
                Fault("bagit.txt", "does not declare BagIt 1.0 in UTF-8, in its two lines"))
        default: break
        }
        let missing = held["fetch.txt"].map { BagIt.parseFetch($0, &faults) } ?? []
        let fetched = Dictionary(missing.map { ($0.path, $0) }) { first, _ in first }
        let payload = digests.keys.filter { $0.hasPrefix("data/") }
        var found = false
        for algorithm in BagIt.algorithms {
            let name = "manifest-\(algorithm).txt"
            guard let bytes = held[name] else {
                if digests[name] == nil { faults.append(Fault(name, "is missing")) }
                continue
            }
            found = true
            let listed = BagIt.parse(name, bytes, digits: algorithm == "sha256" ? 64 : 128, &faults)
            for (path, digest) in listed {
                if !path.hasPrefix("data/") {
                    faults.append(Fault(name, "lists \(path), which is not payload"))
                } else if let own = digests[path] {
                    compare(path, algorithm, digest, own, &faults)
                } else if fetched[path] == nil {
                    faults.append(Fault(path, "is missing; \(name) lists it"))
                }
            }
            for path in payload where listed[path] == nil {
                faults.append(Fault(path, "is not listed in \(name)"))
            }
            for path in fetched.keys where listed[path] == nil {
                faults.append(Fault("fetch.txt", "names \(path), which \(name) does not list"))
            }
        }
        if !found { return (faults, missing) }
        checkTags(&faults)
        checkOxum(payload, missing, &faults)
        return (faults, missing.filter { digests[$0.path] == nil })
    }

    private func compare(
        _ path: String, _ algorithm: String, _ digest: String, _ own: PayloadDigest,
        _ faults: inout [Fault]
    ) {
        let actual = algorithm == "sha256" ? own.sha256 : own.sha512
        if actual != digest {
            faults.append(
                Fault(
                    path,
                    "is not the file that was exported: its \(algorithm) is \(actual.prefix(12))…, the manifest says \(digest.prefix(12))…"
                ))
        }
    }

    private func checkTags(_ faults: inout [Fault]) {
        for algorithm in BagIt.algorithms {
            let name = "tagmanifest-\(algorithm).txt"
            guard let bytes = held[name] else {
                if digests[name] == nil { faults.append(Fault(name, "is missing")) }
                continue
            }
            let listed = BagIt.parse(name, bytes, digits: algorithm == "sha256" ? 64 : 128, &faults)
            for (path, digest) in listed {
                if let own = digests[path] {
                    compare(path, algorithm, digest, own, &faults)
                } else {
                    faults.append(Fault(path, "is missing; \(name) lists it"))
                }
            }
            for path in digests.keys
            where !path.hasPrefix("data/") && !path.hasPrefix("tagmanifest-") && listed[path] == nil
            {
                // A signature is of the tag manifest, so it cannot be listed there.
                if path != BundleLayout.signature {
                    faults.append(Fault(path, "is not listed in \(name)"))
                }
            }
        }
    }

    private func checkOxum(_ payload: [String], _ missing: [BagIt.Fetch], _ faults: inout [Fault]) {
        guard let info = held["bag-info.txt"] else { return }
        for line in String(decoding: info, as: UTF8.self).split(separator: "\n")
        where line.hasPrefix("Payload-Oxum: ") {
            let present = Set(payload)
            let extra = missing.filter { !present.contains($0.path) }
            let bytes =
                payload.reduce(0) { $0 + digests[$1]!.size } + extra.reduce(0) { $0 + $1.size }
            let count = payload.count + extra.count
            if line.dropFirst(14) != "\(bytes).\(count)" {
                faults.append(
                    Fault(
                        "bag-info.txt",
                        "says \(line.dropFirst(14)) (bytes.files) of payload, but there are \(bytes).\(count)"
                    ))
            }
        }
    }
}
