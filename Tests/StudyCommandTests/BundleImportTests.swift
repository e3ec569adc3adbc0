// A bundle into another ledger: everything arrives, twice is once, and leaving again gives the same tar.

import Export
import Foundation
import Provenance
import TestSupport
import Testing

@Suite struct `Importing a bundle` {
    private static let study = """
        ---
        title: Away and back
        ---
        ```swift
        //| id: all
        import Glibc
        let run = Run.current
        let text = try run.text("data/words.txt")
        for step in 0..<20 { run.record("length", Double(text.utf8.count + step), step: step) }
        try run.save("adapter", kind: "data") { path in
            mkdir(path, 0o755)
            let file = fopen(path + "/words.txt", "w")
            fputs(text, file)
            fclose(file)
        }
        run.claim("it is long", holds: text.utf8.count > 3, evidence: "\\(text.utf8.count)")
        print("done")
        ```
        """

    private func git(_ arguments: String..., at folder: String) throws {
        let process = Process()
        process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
        process.arguments =
            ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"] + arguments
        process.currentDirectoryURL = URL(fileURLWithPath: folder)
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
    }

    @Test(arguments: [true, false]) func `arrives whole, replays there, and leaves as the same tar`(
        inRepository: Bool
    ) throws {
        let home = try TemporaryFolder("home")
        try home.write(Self.study, to: "studies/away.md")
        try home.write("some words\n", to: "studies/data/words.txt")
        try home.write("#!/bin/sh\n", to: "tool.sh")
        chmod(home.path + "/tool.sh", 0o755)
        if inRepository {
            try git("init", "-q", at: home.path)
            try git("add", ".", at: home.path)
            try git("commit", "-qm", "one", at: home.path)
        }
        let run = try StudyProcess(["run", "studies/away.md", "--json"], in: home.path)
        let id = try #require(run.json["run"] as? String, "\(run.errors)")
        // Without Git, the ledger lies beside the study.
        let work = inRepository ? home.path : home.path + "/studies"
        let first = try StudyProcess(["export", id, "-o", "one.tar.zst", "--json"], in: work)
        let hash = try #require(first.json["tar_sha256"] as? String, "\(first.errors)")

        let away = try TemporaryFolder("away")
        let place = work + "/one.tar.zst"
        let taken = try StudyProcess(["import", place, "--json"], in: away.path)
        #expect(taken.status == 0, "\(taken.errors)")
        #expect(taken.json["imported"] as? [String] == [id])
        #expect(taken.json["missing"] as? Int == 0)
        let again = try StudyProcess(["import", place, "--json"], in: away.path)
        #expect(again.status == 0)
        #expect(again.json["imported"] as? [String] == [])
        #expect(again.json["known"] as? [String] == [id])
        #expect(again.json["objects"] as? Int == 0)
        let shown = try StudyProcess(["show", id, "--verify", "--json"], in: away.path)
        #expect(shown.json["seal_holds"] as? Bool == true)

        let second = try StudyProcess(["export", id, "-o", "two.tar.zst", "--json"], in: away.path)
        #expect(second.status == 0, "\(second.errors)")
        #expect(second.json["tar_sha256"] as? String == hash)
        #expect(
            FileManager.default.contents(atPath: away.path + "/two.tar.zst")
                == FileManager.default.contents(atPath: place))

        // Home is gone; what ran is in the ledger.
        try FileManager.default.removeItem(atPath: home.path + "/studies")
        let replay = try StudyProcess(["replay", id], in: away.path)
        #expect(replay.status == 0, "\(replay.output) \(replay.errors)")
        #expect(replay.output.contains("✓ same bits"))
        // Nothing of it is garbage.
        let garbage = try Ledger.open(under: away.path).garbage(olderThan: -1)
        #expect(garbage.objects.isEmpty)
    }

    @Test func `a run that took from another leaves as the same tar, wherever it is exported`()
        throws
    {
        let home = try TemporaryFolder("home")
        try home.write(`Taking another study's artifact`.base, to: "base.md")
        try home.write(`Taking another study's artifact`.consumer, to: "use.md")
        // A third study between, so that what is upstream has an upstream of its own.
        try home.write(
            """
            ---
            inputs: {note: {study: use.md, artifact: twice.txt}}
            ---
            The loss ends at $e^{-1}$.

            ```swift
            print(try Run.current.text("note"))
            var chart = Chart("Losses")
            chart.addLine([3, 2, 1], label: "loss")
            Run.current.show(chart)
            ```
            """, to: "last.md")
        try home.write(
            `Taking another study's artifact`.consumer.replacing(
                "print(try String(contentsOfFile: run.input(\"note\").path, encoding: .utf8))",
                with:
                    "try run.save(\"twice.txt\") { try \"twice\".write(toFile: $0, atomically: true, encoding: .utf8) }"
            ), to: "use.md")
        // An attempt that fails, without its data, is named beside the run that is exported, upstream too.
        #expect(try StudyProcess(["run", "base.md", "-p", "scale=2"], in: home.path).status == 1)
        try home.write("some data", to: "data.txt")
        let run = try StudyProcess(["run", "last.md", "--json"], in: home.path)
        let id = try #require(run.json["run"] as? String, "\(run.errors)")
        // Elsewhere there is neither gnuplot nor KaTeX: what was drawn at home comes along.
        let nothing = ["PATH": "/nowhere"]
        func export(_ name: String, from folder: TemporaryFolder) throws -> String {
            let export = try StudyProcess(
                ["export", id, "-o", name, "--json"], in: folder.path,
                environment: folder.path == home.path ? [:] : nothing)
            #expect(export.status == 0, "\(export.errors)")
            return try #require(export.json["tar_sha256"] as? String)
        }
        let hash = try export("one.tar", from: home)
        #expect(try export("again.tar", from: home) == hash)
        #expect(
            FileManager.default.contentsEqual(
                atPath: home.path + "/one.tar", andPath: home.path + "/again.tar"))

        // From a ledger that has it from the bundle alone, and from one that has it from that one.
        var folders = [home]
        for name in ["one.tar", "next.tar"] {
            let place = folders.last!.path + "/" + name
            let away = try TemporaryFolder("away")
            let taken = try StudyProcess(
                ["import", place, "--json"], in: away.path, environment: nothing)
            #expect(taken.status == 0, "\(taken.errors)")
            #expect(taken.json["imported"] as? [String] == [id])
            #expect((taken.json["upstream"] as? [String])?.count == 2)
            #expect(try export("next.tar", from: away) == hash, "from what \(name) brought")
            #expect(
                FileManager.default.contentsEqual(
                    atPath: away.path + "/next.tar", andPath: place))
            folders.append(away)
        }
        let replay = try StudyProcess(["replay", id], in: folders.last!.path)
        #expect(replay.output.contains("✓ same bits"), "\(replay.output) \(replay.errors)")
    }

    @Test func `upstream runs come along, or are named with their hashes by a thin bundle`() throws
    {
        let home = try TemporaryFolder("home")
        try home.write(`Taking another study's artifact`.base, to: "base.md")
        try home.write(`Taking another study's artifact`.consumer, to: "use.md")
        try home.write("some data", to: "data.txt")
        let run = try StudyProcess(["run", "use.md", "--json"], in: home.path)
        let id = try #require(run.json["run"] as? String, "\(run.errors)")
        func export(_ arguments: String...) throws -> StudyProcess {
            try StudyProcess(["export", id] + arguments, in: home.path)
        }
        #expect(try export("-o", "fat.tar").status == 0)
        // What is left out must be somewhere.
        let nowhere = try export("-o", "thin.tar", "--thin")
        #expect(nowhere.status == 2)
        #expect(
            nowhere.errors.contains(
                "A thin bundle leaves the upstream run out, and nothing says where it can be fetched."
            ) && nowhere.errors.contains("add --fetch-from URL"), "\(nowhere.errors)")
        #expect(!FileManager.default.fileExists(atPath: home.path + "/thin.tar"))
        let address = "https://example.org/bundle"
        let done = try export("-o", "thin.tar", "--thin", "--fetch-from", address)
        #expect(done.status == 0, "\(done.errors)")

        let fat = try BundleVerifier.verify(home.path + "/fat.tar")
        let thin = try BundleVerifier.verify(home.path + "/thin.tar")
        #expect(fat.isWhole && thin.isWhole, "\(fat.faults) \(thin.faults)")
        // One crate, also where the fat one was exported without an address.
        for name in [
            "manifest-sha256.txt", "manifest-sha512.txt", "data/ro-crate-metadata.json",
        ] {
            #expect(fat.held[name] == thin.held[name], "\(name)")
        }
        let producer = try #require(
            try Ledger.open(under: home.path).run(id).upstreams.first?.producer)
        let upstream = ["run.sqlite", "study.md"].map { "data/upstream/\(producer)/\($0)" }
        let left = Dictionary(uniqueKeysWithValues: thin.missing.map { ($0.path, $0.url) })
        for path in upstream {
            #expect(left[path] == "\(address)/\(path)", "\(left)")
            // Named with its hash.
            let manifest = String(decoding: thin.held["manifest-sha512.txt"] ?? [], as: UTF8.self)
            #expect(manifest.contains("  " + path + "\n"))
        }
        let names = try shell("tar -tf thin.tar", in: home.path).output
        #expect(!names.contains("/upstream/") && names.contains("/upstream.json"))
        #expect(try shell("tar -tf fat.tar", in: home.path).output.contains("/upstream/"))
        // A thin bundle is taken without them.
        let away = try TemporaryFolder("away")
        let taken = try StudyProcess(
            ["import", home.path + "/thin.tar", "--json"], in: away.path)
        #expect(taken.status == 0, "\(taken.errors)")
        #expect(taken.json["imported"] as? [String] == [id])
        #expect((taken.json["upstream"] as? [String])?.isEmpty == true)
    }

    @Test func `a bundle with a flipped byte is refused with status 5, and nothing is taken`()
        throws
    {
        let home = try TemporaryFolder("home")
        try home.write(Self.study, to: "away.md")
        try home.write("some words\n", to: "data/words.txt")
        let run = try StudyProcess(["run", "away.md", "--json"], in: home.path)
        let id = try #require(run.json["run"] as? String, "\(run.errors)")
        #expect(try StudyProcess(["export", id, "-o", "one.tar"], in: home.path).status == 0)
        var bytes = try Data(contentsOf: URL(fileURLWithPath: home.path + "/one.tar"))
        let word = try #require(bytes.range(of: Data("some words".utf8)))
        bytes[word.lowerBound] ^= 1
        try bytes.write(to: URL(fileURLWithPath: home.path + "/bad.tar"))
        let away = try TemporaryFolder("away")
        let taken = try StudyProcess(["import", home.path + "/bad.tar"], in: away.path)
        #expect(taken.status == 5)
        #expect(taken.errors.hasPrefix("The bundle is not what was exported:\n"), "\(taken.errors)")
        #expect(try StudyProcess(["list"], in: away.path).output.hasPrefix("No run yet."))
        let nothing = try StudyProcess(["import", "nowhere.tar"], in: away.path)
        #expect(nothing.status == 2)
        #expect(nothing.errors.hasPrefix("There is nothing at nowhere.tar.\n"))
    }
}
