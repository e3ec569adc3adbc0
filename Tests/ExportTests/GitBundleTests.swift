// The Git bundle beside the source files: Git itself verifies, clones and checks it.

import Foundation
import Testing

import Export

@Suite struct `The source as a Git bundle` {
    /// Writes the bundle of a sample run whose tree holds these files.
    private func bundle(_ scratch: Scratch, _ files: [String: [UInt8]]) throws -> [UInt8] {
        var sources: [(path: String, file: String)] = []
        for (name, bytes) in files.sorted(by: { $0.key < $1.key }) {
            let file = scratch.write("tree/" + name, bytes)
            if name.hasSuffix(".sh") { chmod(file, 0o755) }
            sources.append((name, file))
        }
        let plan = try BundlePlan(
            Sample.run(), store: try Sample.store(scratch), sourceFiles: sources,
            options: BundleOptions(), scratch: scratch.path)
        let file = try #require(plan.files.first { $0.path == "source/source.bundle" })
        guard case .file(let path, let size) = file.source else { return [] }
        let bytes = Array(try #require(FileManager.default.contents(atPath: path)))
        #expect(bytes.count == Int(size))
        return bytes
    }

    private static let files: [String: [UInt8]] = [
        "studies/mini.md": Array(Sample.text.utf8), "studies/run.sh": Array("echo\n".utf8),
        "studies-a": [], "studies.b": Array("x".utf8), "data/words.txt": Array("a\n".utf8),
        "data/large.bin": noise(200_000, seed: 3), "naïve ☃": Array("y".utf8),
        // The same bytes twice are one object.
        "copy.md": Array(Sample.text.utf8),
    ]

    @Test(.enabled(if: spawn("git", ["--version"]) == 0))
    func `is verified, cloned and found sound by Git`() throws {
        let scratch = Scratch()
        let path = scratch.write("source.bundle", try bundle(scratch, Self.files))
        let clone = scratch.path + "/clone"
        try #require(spawn("git", ["init", "-q", scratch.path + "/empty"]) == 0)
        #expect(spawn("git", ["-C", scratch.path + "/empty", "bundle", "verify", "-q", path]) == 0)
        #expect(spawn("git", ["clone", "-q", path, clone]) == 0)
        #expect(spawn("git", ["-C", clone, "fsck", "--strict", "--full"]) == 0)
        #expect(spawn("git", ["-C", clone, "diff", "--quiet", "HEAD"]) == 0)
        for (name, bytes) in Self.files {
            #expect(
                FileManager.default.contents(atPath: clone + "/" + name).map { Array($0) } == bytes,
                "\(name)")
        }
        #expect(access(clone + "/studies/run.sh", X_OK) == 0)
        #expect(access(clone + "/copy.md", X_OK) != 0)
    }

    @Test func `is the same bytes each time and holds no file that is withheld`() throws {
        let (first, second) = (Scratch(), Scratch())
        #expect(try bundle(first, Self.files) == bundle(second, Self.files))
        var run = `The release policy`.lowering()
        run.release = "metrics-only"
        let scratch = Scratch()
        let leak = scratch.write("tree/copy.bin", Sample.weights)
        let study = scratch.write("tree/mini.md", Array(Sample.text.utf8))
        let plan = try BundlePlan(
            run, store: try Sample.store(scratch),
            sourceFiles: [("copy.bin", leak), ("mini.md", study)],
            patch: "diff --git a/mini.md b/mini.md\n", options: BundleOptions(),
            scratch: scratch.path)
        let file = try #require(plan.files.first { $0.path == "source/source.bundle" })
        #expect(file.source.size < Sample.weights.count)
        #expect(plan.files.contains { $0.path == "source/changes.patch" })
        run.changes = [.init(path: "copy.bin", kind: "modified")]
        let careful = try BundlePlan(
            run, store: try Sample.store(scratch),
            sourceFiles: [("copy.bin", leak), ("mini.md", study)],
            patch: "diff --git a/copy.bin b/copy.bin\n", options: BundleOptions(),
            scratch: scratch.path)
        #expect(!careful.files.contains { $0.path == "source/changes.patch" })
        #expect(careful.notes.contains { $0.contains("a patch would hold what is withheld") })
    }
}
