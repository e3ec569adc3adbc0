// Where things lie in a bundle. Paths are from the crate's root, which is `data/` of the bag. None may
// contain "data/": the crate's validator looks for that text inside paths.

internal import Foundation

/// The names of a bundle's own files.
package enum BundleLayout {
    package static let crate = "ro-crate-metadata.json"
    package static let readme = "README.md"
    package static let report = "results/report.html"
    package static let metrics = "results/metrics.jsonl"
    package static let rows = "results/run.sqlite"
    package static let claims = "results/claims.json"
    package static let environment = "environment.json"
    package static let policy = "release.json"
    package static let attestation = "provenance.intoto.json"
    package static let sourceBundle = "source/source.bundle"
    package static let sourceFiles = "source/files/"
    package static let lock = "environment.lock"
    package static let attempts = "attempts.json"
    package static let replays = "results/replays.json"
    package static let upstreams = "upstream.json"
    /// Rows and studies of the runs that this one took artifacts from, a folder a run.
    package static let upstreamRuns = "upstream/"
    package static let patch = "source/changes.patch"
    package static let checklists = "checklists.md"
    package static let citation = "CITATION.cff"
    package static let log = "logs/output.log"
    /// At the bag's root, beside the tag manifest that it signs.
    package static let signature = "tagmanifest-sha512.txt.sig"

    /// Where a file that a cell read lies; `member` is its path below a folder, or empty.
    package static func input(_ path: String, member: String) -> String {
        safe("inputs/" + relative(path) + (member.isEmpty ? "" : "/" + member))
    }

    /// An input's path inside the crate: what lies outside the repository keeps its last two names.
    private static func relative(_ path: String) -> String {
        if !path.hasPrefix("/"), !path.hasPrefix("..") { return path }
        return "outside/"
            + path.split(separator: "/").filter { $0 != ".." }.suffix(2).joined(separator: "/")
    }

    /// Text that may stand in a path: other characters become "-".
    package static func safe(_ path: String) -> String {
        var out = ""
        for scalar in path.precomposedStringWithCanonicalMapping.unicodeScalars {
            switch scalar {
            case "%", "\\", ":", "*", "?", "\"", "<", ">", "|": out += "-"
            default:
                out.unicodeScalars.append(
                    scalar.value < 0x20 || scalar.value == 0x7f ? "-" : scalar)
            }
        }
        let parts = out.split(separator: "/").filter { $0 != "." && $0 != ".." }
        // "data/" in a path confuses the crate's validator inside a bag.
        return parts.map { $0.hasSuffix("data") ? $0 + "-" : $0 }.joined(separator: "/")
    }
}
