// Bundles: the same bytes each time, whole on the way back, and nothing in them that the record or the
// policy does not allow. What the standards' own validators say is in validate.sh.

import Events
import Foundation
import Testing

import Export
import Provenance

@Suite struct `A bundle` {
    @Test(arguments: ArchiveFormat.allCases) func `verifies on the way back`(format: ArchiveFormat)
        throws
    {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x." + format.rawValue)
        let found = try BundleVerifier.verify(written.path)
        #expect(found.faults == [])
        #expect(found.format == format)
        #expect(found.tagManifestSHA256 == written.tagManifestSHA256)
        #expect(found.tarSHA256 == written.identity.tarSHA256)
    }

    /// Other programs read the archives as if the hash at their ends were not there.
    @Test func `carries its tar's hash where its format has a place, and everybody can unpack it`()
        throws
    {
        let scratch = Scratch()
        let tar = try Sample.bundle(scratch, "x.tar")
        let plain = Array(try #require(FileManager.default.contents(atPath: tar.path)))
        #expect(PayloadDigest(of: plain).sha256 == tar.identity.tarSHA256)
        let hash = Data("tar-sha256=\(tar.identity.tarSHA256)".utf8)
        for name in ["x.tar.gz", "x.tar.zst", "x.zip"] {
            let path = try Sample.bundle(scratch, name).path
            let bytes = try #require(FileManager.default.contents(atPath: path))
            #expect(bytes.suffix(200).range(of: hash) != nil, "\(name)")
        }
        let python = """
            import gzip, tarfile, zipfile, hashlib
            d = "\(scratch.path)/"
            assert hashlib.sha256(gzip.open(d + "x.tar.gz").read()).hexdigest() == "\(tar.identity.tarSHA256)"
            z = zipfile.ZipFile(d + "x.zip")
            assert z.testzip() is None and z.comment.startswith(b"study-bundle 2 tar-sha256=\(tar.identity.tarSHA256) time=")
            t = tarfile.open(d + "x.tar")
            assert z.namelist() == t.getnames()
            assert all(z.read(n) == t.extractfile(n).read() for n in t.getnames())
            """
        #expect(spawn("python3", ["-c", python]) == 0)
        #expect(
            spawn("sh", ["-c", "gzip -cd '\(scratch.path)/x.tar.gz' | cmp - '\(tar.path)'"]) == 0)
        #expect(spawn("tar", ["-tzf", scratch.path + "/x.tar.gz"]) == 0)
    }

    /// A mark that says something else than the archive, in each format that has one.
    @Test(arguments: [ArchiveFormat.tarZstd, .tarGzip, .zip])
    func `with another hash, or none, at its end is refused`(format: ArchiveFormat) throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x." + format.rawValue)
        var bytes = Array(try #require(FileManager.default.contents(atPath: written.path)))
        let hash = Array(written.identity.tarSHA256.utf8)
        let mark = try #require(Data(bytes).range(of: Data(hash), options: .backwards))
        let wrong = hash.map { $0 == 0x30 ? 0x31 : $0 }
        bytes.replaceSubrange(mark.lowerBound..<mark.upperBound, with: wrong)
        let changed = try BundleVerifier.verify(scratch.write("changed", bytes))
        #expect(
            changed.faults.map(\.problem) == [
                "does not match the hashes that it carries at its end: the archive or the mark was changed"
            ])
        #expect(changed.tarSHA256 == written.identity.tarSHA256)
        // As another program would have packed it.
        let sizes = [ArchiveFormat.tarZstd: 192, .tarGzip: 111, .zip: 120]
        bytes.removeLast(sizes[format]!)
        if format == .zip { bytes.replaceSubrange(bytes.count - 2..<bytes.count, with: [0, 0]) }
        let bare = try BundleVerifier.verify(scratch.write("bare", bytes))
        #expect(
            bare.faults.map(\.problem) == [
                "does not end with the mark of `study export`: it was cut short, added to or packed anew"
            ])
    }

    /// The time that a zip's mark gives to the tar's entries is under the hash too.
    @Test func `in a zip cannot have another time in its mark`() throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x.zip")
        var bytes = Array(try #require(FileManager.default.contents(atPath: written.path)))
        let time = try #require(Data(bytes).range(of: Data("time=1".utf8), options: .backwards))
        bytes[time.upperBound - 1] = 0x32
        let found = try BundleVerifier.verify(scratch.write("changed", bytes))
        #expect(found.faults.map(\.problem).contains { $0.hasPrefix("does not match the hashes") })
    }

    @Test func `is the same bytes when written twice, and one tar in every format`() throws {
        let (first, second) = (Scratch(), Scratch())
        var hashes: Set<String> = []
        for format in ArchiveFormat.allCases {
            let a = try Sample.bundle(first, "x." + format.rawValue)
            let b = try Sample.bundle(second, "x." + format.rawValue)
            #expect(
                FileManager.default.contents(atPath: a.path)
                    == FileManager.default.contents(atPath: b.path))
            hashes.formUnion([a.identity.tarSHA256, b.identity.tarSHA256])
        }
        #expect(hashes.count == 1)
    }

    @Test(arguments: [RunFacts.Status.succeeded, .failed, .interrupted])
    func `is made of runs that failed too, for the validators`(status: RunFacts.Status) throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "\(status.rawValue).tar", Sample.run(status))
        #expect(try BundleVerifier.verify(written.path).isWhole)
        // validate.sh runs this test and gives what it leaves to the standards' own tools.
        if let folder = ProcessInfo.processInfo.environment["STUDY_SAMPLE_FOLDER"] {
            let target = folder + "/\(status.rawValue).tar"
            try? FileManager.default.removeItem(atPath: target)
            try FileManager.default.copyItem(atPath: written.path, toPath: target)
        }
    }

    @Test func `of a run without authors or licence says so and invents neither`() throws {
        let scratch = Scratch()
        var run = Sample.run()
        run.authors = []
        run.licence = nil
        run.ended = nil
        let found = try BundleVerifier.verify(try Sample.bundle(scratch, "x.tar", run).path)
        #expect(found.isWhole)
        let graph = try #require(found.crate?[key: "@graph"]?.array)
        let action = try #require(graph.first { $0[key: "@id"]?.string == "urn:uuid:\(run.uuid)" })
        #expect(action[key: "endTime"] == nil)
        #expect(graph.contains { $0[key: "name"]?.string == "author not stated" })
        #expect(graph.contains { $0[key: "name"]?.string == "no licence stated" })
    }

    @Test func `that is thin has the fat one's manifests, and says where the rest is`() throws {
        let scratch = Scratch()
        var options = BundleOptions()
        options.fetchFrom = "https://example.org/bundles/mini"
        let fat = try BundleVerifier.verify(
            try Sample.bundle(scratch, "fat.tar", options: options).path)
        options.isThin = true
        let thin = try BundleVerifier.verify(
            try Sample.bundle(scratch, "thin.tar", options: options).path)
        #expect(fat.isWhole && thin.isWhole)
        #expect(fat.missing.isEmpty && thin.missing.count == 3)
        for name in ["manifest-sha512.txt", "data/" + BundleLayout.crate] {
            #expect(fat.held[name] == thin.held[name])
        }
        // fetch.txt is longer than the two small files that it stands for.
        #expect(thin.totalBytes + Int64(Sample.weights.count) < fat.totalBytes + 1000)
    }

    @Test func `refuses a file that is not the one on record`() throws {
        let scratch = Scratch()
        let store = try Sample.store(scratch)
        let path = store.objects.path(of: PayloadDigest(of: Sample.weights).sha256)
        chmod(path, 0o644)
        _ = FileManager.default.createFile(atPath: path, contents: Data(noise(70_000, seed: 8)))
        #expect {
            try Sample.bundle(scratch, "x.tar")
        } throws: { error in
            "\(error)".contains("adapter is not the file on record")
        }
        #expect(!FileManager.default.fileExists(atPath: scratch.path + "/x.tar"))
    }
}

@Suite struct `The release policy` {
    /// A run that lowers the refusal rate of a checkpoint from elsewhere.
    static func lowering() -> RunFacts {
        var run = Sample.run()
        for (arm, value) in [("before", 0.9), ("after", 0.2)] {
            var series = RunFacts.Series(cell: 1, name: "refusalRate", arm: arm)
            series.steps = [-1]
            series.values = [value]
            series.times = [0]
            run.series.append(series)
        }
        run.inputs.append(
            .init(
                cell: 0, path: "models/base", kind: "model",
                files: [
                    .init(
                        path: "model.safetensors", sha256: String(repeating: "e", count: 64),
                        size: 5)
                ]))
        return run
    }

    @Test func `withholds weights where refusals of another's checkpoint fall`() throws {
        let policy = try ReleasePolicy(Self.lowering())
        #expect(policy.mode == .metricsOnly)
        #expect(policy.reason.contains("models/base"))
        #expect(try ReleasePolicy(Sample.run()).mode == .open)
    }

    @Test func `takes the study's word with a reason, and not without`() throws {
        var run = Self.lowering()
        run.release = "open"
        #expect {
            try ReleasePolicy(run)
        } throws: { "\($0)".contains("gives no reason") }
        run.releaseReason = "the model is a toy"
        #expect(try ReleasePolicy(run).mode == .open)
    }

    @Test(arguments: ArchiveFormat.allCases)
    func `leaves no 64 bytes of a withheld weight in the bundle`(format: ArchiveFormat) throws {
        let scratch = Scratch()
        let run = Self.lowering()
        // The same weights lie in the source tree and are read as an input: those doors are shut too.
        let plan = try Sample.plan(scratch, run)
        let leak = scratch.write("tree/copy.bin", Sample.weights)
        let sneaky = try BundlePlan(
            run, store: try Sample.store(scratch), sourceFiles: [("copy.bin", leak)],
            options: BundleOptions(), scratch: scratch.path)
        #expect(plan.withheld.contains { $0.path.hasSuffix("adapter_model.safetensors") })
        #expect(sneaky.withheld.contains { $0.path.hasSuffix("copy.bin") })
        let path = scratch.path + "/x." + format.rawValue
        _ = try BundleWriter(
            run: sneaky.run, files: sneaky.files, withheld: sneaky.withheld,
            softwareVersion: "0.1.0"
        ).write(to: path, format: format)
        // What a reader unpacks, not only what lies in the compressed file.
        try BundleUnpacker.unpack(path, into: scratch.path + "/out")
        var windows: Set<ArraySlice<UInt8>> = []
        for start in 0...(Sample.weights.count - 64) {
            windows.insert(Sample.weights[start..<start + 64])
        }
        var files = try filesBelow(scratch.path + "/out").map { scratch.path + "/out/" + $0 }
        files.append(path)
        for file in files {
            let bytes = Array(FileManager.default.contents(atPath: file)!)
            guard bytes.count >= 64 else { continue }
            for start in 0...(bytes.count - 64) where windows.contains(bytes[start..<start + 64]) {
                Issue.record("64 bytes of the weight at \(start) of \(file)")
                break
            }
        }
        // Its hash is committed to.
        let policy = try #require(
            FileManager.default.contents(
                atPath: scratch.path + "/out/"
                    + (try filesBelow(scratch.path + "/out").first { $0.hasSuffix("release.json") }!)
            ))
        #expect(
            String(decoding: policy, as: UTF8.self).contains(
                PayloadDigest(of: Sample.weights).sha256))
    }

    @Test func `stores answers to restricted prompts as hashes and labels unless asked`() throws {
        let scratch = Scratch()
        func items(_ options: BundleOptions) throws -> String {
            let plan = try Sample.plan(scratch, options: options)
            guard
                case .bytes(let bytes) = plan.files.first(where: {
                    $0.path == "results/items.jsonl"
                })?.source
            else { return "" }
            return String(decoding: bytes, as: UTF8.self)
        }
        var options = BundleOptions()
        #expect(try !items(options).contains("a restricted answer"))
        #expect(try items(options).contains(ReleasePolicy.hash("a restricted answer")))
        #expect(try items(options).contains("refused"))
        // An imported run has hashes where its texts were; they leave as they came.
        let hash = ReleasePolicy.hash("a restricted answer")
        #expect(ReleasePolicy.hash(hash) == hash)
        #expect(ReleasePolicy.hash(hash.uppercased()) != hash)
        options.completions = true
        #expect(try items(options).contains("a restricted answer"))
    }
}

@Suite struct `An anonymous bundle` {
    @Test func `holds no name, affiliation, host, remote or home folder`() throws {
        let scratch = Scratch()
        var run = Sample.run()
        run.outputs = [
            .init(
                cell: 1, stream: .standardOutput,
                bytes: Array("saved to /home/ada/x by Ada Example\n".utf8))
        ]
        run.command = ["study", "run", "/home/ada/lab/mini/studies/mini.md"]
        // What is quoted from an adapter's configuration is a file on record too.
        let configuration = Array(
            #"{"peft_type": "LORA", "base_model_name_or_path": "/home/ada/tiny"}"#.utf8)
        run.artifacts[0].files[0].sha256 = PayloadDigest(of: configuration).sha256
        run.artifacts[0].files[0].size = Int64(configuration.count)
        _ = try ObjectStore(scratch.path + "/objects").store(configuration)
        var options = BundleOptions()
        options.isAnonymous = true
        let written = try Sample.bundle(scratch, "x.tar", run, options: options)
        #expect(try BundleVerifier.verify(written.path).isWhole)
        let bytes = FileManager.default.contents(atPath: written.path)!
        var needles = [
            "Ada", "Example Lab", "0000-0002-1825-0097", "example.org/lab", "/home/ada",
            scratch.path,
        ]
        var host = [CChar](repeating: 0, count: 256)
        gethostname(&host, 255)
        let name = String(
            decoding: host.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        if name.count >= 3, name != "localhost" { needles.append(name) }
        for needle in needles {
            #expect(bytes.range(of: Data(needle.utf8)) == nil, "\(needle)")
        }
    }
}

@Suite struct `A file that is too large to be rewritten` {
    /// 9 MB in which a text stands where blocks of reading end, at the end, or nowhere.
    private func export(_ text: String, at place: Int, in filler: UInt8) throws -> String? {
        let scratch = Scratch()
        var bytes = [UInt8](repeating: filler, count: 9_000_000)
        bytes.replaceSubrange(place..<place + text.utf8.count, with: Array(text.utf8))
        let file = scratch.write("tree/large.dat", bytes)
        var options = BundleOptions()
        options.isAnonymous = true
        let plan = try BundlePlan(
            Sample.run(), store: try Sample.store(scratch), sourceFiles: [("large.dat", file)],
            options: options, scratch: scratch.path)
        // Whoever writes nothing is told the same.
        let words = #expect(throws: ExportError.self) { try plan.rehearse() }.map { "\($0)" }
        let path = scratch.path + "/x.tar"
        let written = #expect(throws: ExportError.self) {
            try BundleWriter(
                run: plan.run, files: plan.files, withheld: plan.withheld, softwareVersion: "0.1.0"
            ).write(to: path, format: .tar)
        }
        #expect(written.map { "\($0)" } == words)
        #expect(!FileManager.default.fileExists(atPath: path))
        return words
    }

    @Test func `and holds a name stops an anonymous export, wherever the name stands`() throws {
        let words =
            "A file that is too large to be rewritten holds \"Ada Example\", which must not leave anonymously."
        for place in [0, (1 << 20) - 4, (1 << 18) - 1, 9_000_000 - 11] {
            #expect(try export("Ada Example", at: place, in: 0)?.contains(words) == true)
        }
        #expect(
            try export("/home/grace", at: (1 << 20) - 8, in: 32)?.contains("\"/home/grace\"")
                == true)
        #expect(
            try export("/Users/grace", at: 9_000_000 - 12, in: 32)?.contains("\"/Users/grace\"")
                == true)
    }
}

@Suite struct `A signature` {
    @Test func `by ssh-keygen is verified, and fails when a file changes`() throws {
        let scratch = Scratch()
        let key = scratch.path + "/key"
        try #require(
            spawn(
                "ssh-keygen",
                ["-q", "-t", "ed25519", "-N", "", "-C", "reviewer@example.org", "-f", key]) == 0)
        let written = try Sample.bundle(
            scratch, "x.tar", sign: { try Signature.sign($0, key: key) })
        let found = try BundleVerifier.verify(written.path)
        #expect(found.isWhole)
        guard case .untrusted = found.signature else {
            Issue.record("\(String(describing: found.signature))")
            return
        }
        let pub = String(
            decoding: FileManager.default.contents(atPath: key + ".pub")!, as: UTF8.self)
        let signers = scratch.write("signers", Array("reviewer@example.org \(pub)".utf8))
        #expect(
            try BundleVerifier.verify(written.path, signers: signers).signature
                == .trusted(signer: "reviewer@example.org"))
        let strangers = scratch.write("strangers", [])
        #expect(try !BundleVerifier.verify(written.path, signers: strangers).isWhole)
        let unsigned = try Sample.bundle(scratch, "y.tar")
        #expect(
            try BundleVerifier.verify(unsigned.path, signers: signers).faults.contains {
                $0.problem.contains("not signed")
            })
    }
}

/// Runs a program and returns its status.
func spawn(_ program: String, _ arguments: [String]) -> Int32 {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = [program] + arguments
    do { try process.run() } catch { return -1 }
    process.waitUntilExit()
    return process.terminationStatus
}
