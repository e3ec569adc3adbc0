// `study export`, `verify` and `inspect` as a user meets them; and the promise that one run gives one tar, wherever
// and however it is exported.

import Export
import Foundation
import Provenance
import TestSupport
import Testing

/// Runs a program, for what only another program can judge or do.
@discardableResult
func shell(_ script: String, in folder: String, _ environment: [String: String] = [:]) throws -> (
    status: Int32, output: String
) {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/bin/sh")
    process.arguments = ["-c", script]
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
    let pipe = Pipe()
    process.standardOutput = pipe
    try process.run()
    let bytes = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return (process.terminationStatus, String(decoding: bytes, as: UTF8.self))
}

@Suite struct `Exporting a run` {
    /// A study in a Git repository with a commit, run on a tree that differs from it.
    private func repository() throws -> TemporaryFolder {
        let folder = try TemporaryFolder("machine one")
        try folder.write(ExportedStudy.text + "\n", to: "studies/count.md")
        try folder.write("alpha beta\n", to: "studies/data/words.txt")
        let git = try shell(
            "git init -q . && git add -A && git -c user.name=Ada -c user.email=ada@example.org commit -qm first && echo gamma >>notes.txt && echo '<!-- changed -->' >>studies/count.md",
            in: folder.path)
        try #require(git.status == 0)
        return folder
    }

    private func hash(_ folder: String, _ name: String, _ environment: [String: String] = [:])
        throws
        -> String
    {
        let export = try StudyProcess(
            ["export", "@latest", "-o", name, "--json"], in: folder, environment: environment)
        try #require(export.status == 0, "\(export.errors)")
        return try #require(export.json["tar_sha256"] as? String)
    }

    @Test func `gives one tar on two machines, whatever the place, home, locale, zone and mask`()
        throws
    {
        let one = try repository()
        let run = try StudyProcess(["run", "studies/count.md"], in: one.path)
        try #require(run.status == 0, "\(run.errors)")
        let first = try hash(one.path, "a.tar.zst")
        // Another place, times of today, a folder below, another home, locale, zone and mask.
        let two = try TemporaryFolder("machine two")
        let copy = try shell("cp -R . '\(two.path)/repo' && sleep 1.1", in: one.path)
        try #require(copy.status == 0)
        let there = [
            "HOME": two.path, "LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8",
            "TZ": "Asia/Kathmandu", "USER": "other", "LOGNAME": "other", "TMPDIR": two.path,
        ]
        #expect(try hash(two.path + "/repo/studies", "../b.tar", there) == first)
        let masked = try shell(
            "umask 077 && '\(StudyProcess.products)/study' export @latest -o c.tar.gz --json | tail -1",
            in: two.path + "/repo", there)
        #expect(masked.output.contains(first))
        #expect(try hash(one.path, "d.zip") == first)
    }

    @Test
    func `is on record with its hash, in the ledger that it left and in the one that took it`()
        throws
    {
        let one = try repository()
        let run = try StudyProcess(["run", "studies/count.md"], in: one.path)
        try #require(run.status == 0, "\(run.errors)")
        var hashes: [String] = []
        for name in ["a.tar", "b.tar.zst", "c.tar.gz", "d.zip"] {
            hashes.append(try hash(one.path, name))
        }
        let anonymous = try StudyProcess(
            ["export", "@latest", "-o", "e.tar", "--anonymous", "--json"], in: one.path)
        hashes.append(try #require(anonymous.json["tar_sha256"] as? String))
        func bundles(_ folder: String) throws -> [[String: Any]] {
            try #require(
                try StudyProcess(["show", "--json"], in: folder).json["bundles"]
                    as? [[String: Any]])
        }
        let own = try bundles(one.path)
        #expect(own.map { $0["tar_sha256"] as? String } == hashes)
        #expect(own.map { $0["format"] as? String } == ["tar", "tar.zst", "tar.gz", "zip", "tar"])
        #expect(own.map { $0["anonymous"] as? Bool } == [false, false, false, false, true])
        #expect(own.allSatisfy { $0["direction"] as? String == "exported" })
        let path = realPath(one.path) + "/d.zip"
        #expect(own[3]["path"].map { realPath($0 as! String) } == path)
        let text = try StudyProcess(["show", "--verify"], in: one.path).output
        #expect(text.contains("d.zip  20") && text.contains("the seal holds"))
        #expect(text.contains("sha256 of the tar within: \(hashes[3])\n"))
        #expect(text.contains(", anonymous\n"))

        let two = try TemporaryFolder("other ledger")
        let take = try StudyProcess(["import", path], in: two.path)
        try #require(take.status == 0, "\(take.errors)")
        _ = try StudyProcess(["import", path], in: two.path)
        #expect(try hash(two.path, "again.tar.zst") == hashes[0])
        let theirs = try bundles(two.path)
        #expect(theirs.map { $0["direction"] as? String } == ["imported", "exported"])
        #expect(theirs.map { $0["tar_sha256"] as? String } == [hashes[0], hashes[0]])
        #expect(theirs[0]["path"] as? String == path)
        // What stands in a ledger leaves with none of its bundles.
        let rows = try shell(
            "tar -xOf a.tar --wildcards '*/results/run.sqlite' > rows && ! grep -q tar_sha256 rows",
            in: one.path)
        #expect(rows.status == 0)
    }

    @Test func `brings along what else was tried, replays, the patch and the source`() throws {
        let one = try repository()
        for arguments in [
            ["run", "studies/count.md", "-p", "scale=7"], ["run", "studies/count.md"],
            ["replay", "@latest"],
        ] {
            let run = try StudyProcess(arguments, in: one.path)
            try #require(run.status == 0, "\(run.errors)")
        }
        let export = try StudyProcess(["export", "@latest~1", "-o", "x.tar"], in: one.path)
        try #require(export.status == 0, "\(export.errors)")
        func file(_ path: String) throws -> String {
            try shell("tar -xOf x.tar --wildcards '*/data/\(path)'", in: one.path).output
        }
        #expect(try file("attempts.json").contains("\"parameters\": \"scale = 7\""))
        #expect(try file("results/replays.json").contains("\"verdict\": \"same bits\""))
        let patch = try file("source/changes.patch")
        #expect(patch.contains("+<!-- changed -->") && patch.contains("+++ b/notes.txt"))
        #expect(try file("environment.lock").contains("swift.version Swift version"))
        #expect(try file("environment.json").contains("run.peak_memory"))
        let readme = try file("README.md")
        #expect(!readme.contains("| memory | not recorded |"))
        #expect(
            readme.contains("the ledger has 1 other run of the same study, 0 of which")
                && readme.contains(": same bits."))
        let clone = try shell(
            "mkdir out && tar -C out -xf x.tar && git clone -q out/*/data/source/source.bundle clone && diff -r clone out/*/data/source/files -x .git && cat clone/notes.txt && cd out/*/ && sha512sum --quiet -c manifest-sha512.txt",
            in: one.path)
        // `data` is called `data-` among the files of the crate, and by its name in the clone.
        #expect(clone.output.contains("gamma") || clone.output.contains("data"))
        #expect(
            try String(contentsOfFile: one.path + "/clone/notes.txt", encoding: .utf8) == "gamma\n")
        #expect(
            try String(contentsOfFile: one.path + "/clone/studies/data/words.txt", encoding: .utf8)
                == "alpha beta\n")
    }

    @Test func `leaves what lies behind a link that leads out of the tree where it is`() throws {
        let one = try repository()
        let other = try TemporaryFolder("private")
        try other.write("nobody else's business\n", to: "letters/diary.txt")
        let links = try shell(
            "ln -s '\(other.path)/letters' letters && ln -s '\(other.path)/letters/diary.txt' studies/diary.txt && ln -s ../../gone studies/gone && ln -s words.txt studies/data/again.txt",
            in: one.path)
        try #require(links.status == 0)
        let run = try StudyProcess(["run", "studies/count.md"], in: one.path)
        try #require(run.status == 0, "\(run.errors)")
        let export = try StudyProcess(["export", "@latest", "-o", "x.tar"], in: one.path)
        #expect(export.status == 0, "\(export.errors)")
        #expect(
            (export.output + export.errors).contains(
                "Links of the source tree that lead out of it stay out, with what lies behind them: letters, studies/diary.txt, studies/gone."
            ), "\(export.output) \(export.errors)")
        let bytes = try Data(contentsOf: URL(fileURLWithPath: one.path + "/x.tar"))
        #expect(bytes.range(of: Data("nobody else's business".utf8)) == nil)
        let names = try shell("tar -tf x.tar", in: one.path).output
        #expect(names.contains("again.txt") && !names.contains("diary.txt"))
    }

    @Test func `says what is wrong with its arguments, and answers in JSON`() throws {
        let study = try ExportedStudy()
        try study.run()
        func export(_ arguments: String...) throws -> StudyProcess {
            try StudyProcess(["export"] + arguments, in: study.author.path)
        }
        let name = try export("@latest", "-o", "x.rar")
        #expect(name.status == 2)
        #expect(name.errors.contains("the name must end in"))
        let run = try export("20200101")
        #expect(run.status == 2)
        #expect(run.errors.contains("There is no run 20200101"))
        let address = try export("@latest", "--thin", "--fetch-from", "ftp://x")
        #expect(address.status == 2)
        let key = try export("@latest", "-o", "s.tar", "--sign", "nokey", "--json")
        #expect(key.status == 1, "\(key.errors)")
        #expect(key.errors.contains("The bundle cannot be signed"))
        #expect(key.json["status"] as? Int == 1)
        #expect(!FileManager.default.fileExists(atPath: study.author.path + "/s.tar"))
        let dry = try export("@latest", "--dry-run", "--json")
        #expect(dry.status == 0)
        #expect(dry.json["policy"] as? String == "open")
        #expect(dry.json["tar_sha256"] == nil)
    }

    /// The program that signs waits until it is alone; by then the whole archive lies there unnamed.
    @Test func `interrupted leaves neither an archive nor anything unfinished`() throws {
        let study = try ExportedStudy()
        try study.run()
        let tools = try TemporaryFolder("tools")
        let marker = tools.path + "/signing"
        let program = try tools.write(
            """
            #!/bin/sh
            ls "$TMPDIR" '\(study.author.path)' >'\(tools.path)/seen'
            touch '\(marker)'
            while [ -e /proc/$PPID/exe ]; do sleep 0.05; done
            """, to: "ssh-keygen")
        chmod(program, 0o755)
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        let export = try StudyProcess(
            ["export", "@latest", "-o", "x.tar", "--sign", "key"], in: study.author.path,
            environment: ["PATH": tools.path + ":" + path, "TMPDIR": study.scratch.path],
            signals: [(file: marker, signal: SIGINT)])
        #expect(export.status == SIGINT, "\(export.output) \(export.errors)")
        #expect(
            export.errors.contains("Interrupted: nothing was written, and nothing is left behind."))
        let seen = try String(contentsOfFile: tools.path + "/seen", encoding: .utf8)
        #expect(seen.contains("x.tar.partial") && seen.contains("study-export-"), "\(seen)")
        let left = try FileManager.default.contentsOfDirectory(atPath: study.author.path)
        #expect(!left.contains { $0.hasPrefix("x.tar") }, "\(left)")
        let scratch = try FileManager.default.contentsOfDirectory(atPath: study.scratch.path)
        #expect(!scratch.contains { $0.hasPrefix("study-export-") }, "\(scratch)")
    }
}

@Suite struct `Verifying and inspecting` {
    /// In a root that holds the program, the libraries that it links and the bundle: no compiler, no BLAS, no shell,
    /// no network, no home, nowhere to write. Its own arguments a Swift program reads in `/proc`.
    @Test(.enabled(if: sandboxIsThere)) func `need nothing but the program`() throws {
        let study = try ExportedStudy()
        try study.run()
        let bundle = try study.export()
        let program = StudyProcess.products + "/study"
        let linked = try shell("ldd '\(program)'", in: study.reviewer.path).output
        #expect(!linked.lowercased().contains("blas") && !linked.contains("libswift"), "\(linked)")
        let libraries = linked.matches(of: #/(/\S+\.so\S*)/#).map { String($0.1) }
        #expect(libraries.count > 3)
        var arguments = ["--unshare-all", "--clearenv", "--proc", "/proc"]
        for file in libraries { arguments += ["--ro-bind", file, file] }
        arguments += ["--ro-bind", program, "/study", "--ro-bind", bundle, "/bundle.tar.zst"]
        let verify = try StudyProcess(
            arguments + ["/study", "verify", "/bundle.tar.zst"], in: study.reviewer.path,
            executable: "/usr/bin/bwrap")
        #expect(verify.status == 0, "\(verify.output) \(verify.errors)")
        #expect(verify.output.contains("every hash as exported"))
        let inspect = try StudyProcess(
            arguments + ["/study", "inspect", "/bundle.tar.zst"], in: study.reviewer.path,
            executable: "/usr/bin/bwrap")
        #expect(inspect.status == 0, "\(inspect.output) \(inspect.errors)")
        for line in [
            "time      ", "memory    ", "disk      ", "network   none", "cells     2 would",
        ] {
            #expect(inspect.output.contains("\n" + line), "\(inspect.output)")
        }
    }

    @Test func `end with 0, 2 or 5, and answer in JSON`() throws {
        let study = try ExportedStudy()
        try study.run()
        let bundle = try study.export()
        func study_(_ arguments: String...) throws -> StudyProcess {
            // No toolchain, no library, no home: neither command needs one.
            try StudyProcess(
                arguments, in: study.reviewer.path,
                environment: ["PATH": "/nowhere", "HOME": "/nowhere", "LD_LIBRARY_PATH": ""])
        }
        let good = try study_("verify", bundle, "--json")
        #expect(good.status == 0, "\(good.errors)")
        #expect(good.json["whole"] as? Bool == true)
        #expect((good.json["faults"] as? [Any])?.isEmpty == true)
        #expect((good.json["tar_sha256"] as? String)?.count == 64)
        let look = try study_("inspect", bundle, "--code", "--json")
        #expect(look.status == 0, "\(look.errors)")
        #expect(look.output.contains("network   none"))
        #expect(look.output.contains("run.record(\"letters\""))
        #expect(look.json["network"] as? Bool == false)
        #expect((look.json["cells"] as? [Any])?.count == 2)

        #expect(try study_("verify", "nothing.tar").status == 2)
        #expect(try study_("verify").status == 2)
        #expect(try study_("verify", bundle, "--max-ratio", "0").status == 2)
        try study.reviewer.write("hello", to: "letter.txt")
        let letter = try study_("verify", "letter.txt", "--json")
        #expect(letter.status == 5)
        #expect(letter.json["whole"] as? Bool == false)
        var bytes = try Data(contentsOf: URL(fileURLWithPath: bundle))
        bytes[bytes.count / 3] ^= 1
        try bytes.write(to: URL(fileURLWithPath: study.reviewer.path + "/bad.tar.zst"))
        let bad = try study_("verify", "bad.tar.zst")
        #expect(bad.status == 5)
        #expect(bad.output.contains("is not what was exported"))
        #expect(try study_("inspect", "bad.tar.zst").status == 5)
        // A folder that is no bag, and one that may not be read by name.
        let folder = try study_("verify", ".")
        #expect(folder.status == 5)
        #expect(folder.output.contains("bagit.txt: is missing: this is no BagIt bag"))
    }
}
