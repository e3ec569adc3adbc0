// What export and verify take, by counts that are the same on every machine: how often a file is opened, how much
// memory is held, how much of a hostile archive is read. No test here knows how long anything took.

import Foundation
import TestSupport
import Testing

import Export
import Provenance

/// Counts how often files are opened, by anybody, as the kernel sees it (inotify).
private final class OpenCounter {
    private let queue = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
    private var names: [Int32: String] = [:]

    deinit { close(queue) }

    func watch(_ paths: [String]) throws {
        for path in paths {
            // With reading and closing between them, two openings are never told as one.
            let watch = inotify_add_watch(
                queue, path, UInt32(IN_OPEN | IN_ACCESS | IN_CLOSE_NOWRITE))
            try #require(watch >= 0)
            names[watch] = path
        }
    }

    /// Openings of each watched file so far.
    func openings() -> [String: Int] {
        var counts = Dictionary(uniqueKeysWithValues: names.values.map { ($0, 0) })
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            let count = read(queue, &buffer, buffer.count)
            guard count > 0 else { return counts }
            var place = 0
            buffer.withUnsafeBytes { bytes in
                while place < count {
                    let watch = bytes.loadUnaligned(fromByteOffset: place, as: Int32.self)
                    let mask = bytes.loadUnaligned(fromByteOffset: place + 4, as: UInt32.self)
                    let length = bytes.loadUnaligned(fromByteOffset: place + 12, as: UInt32.self)
                    if mask & UInt32(IN_OPEN) != 0, let name = names[watch] {
                        counts[name, default: 0] += 1
                    }
                    place += 16 + Int(length)
                }
            }
        }
    }
}

@Suite struct `What an export takes` {
    @Test func `is one opening of each file, for both hashes, the archive and the Git bundle`()
        throws
    {
        let scratch = Scratch()
        let store = try Sample.store(scratch)
        var sources: [(path: String, file: String)] = []
        for (name, bytes) in [
            ("studies/mini.md", Array(Sample.text.utf8)), ("large.bin", noise(3_000_000, seed: 4)),
            // As long as what is withheld elsewhere, so it is looked into.
            ("other.bin", noise(Sample.weights.count, seed: 9)), ("empty", []),
        ] {
            sources.append((name, scratch.write("tree/" + name, bytes)))
        }
        let counter = OpenCounter()
        let watched = try filesBelow(scratch.path).map { scratch.path + "/" + $0 }
        #expect(watched.count == 7)
        try counter.watch(watched)
        for (round, run) in [Sample.run(), `The release policy`.lowering()].enumerated() {
            let plan = try BundlePlan(
                run, store: store, sourceFiles: sources, options: BundleOptions(),
                scratch: scratch.path)
            let path = scratch.path + "/\(round).tar.zst"
            _ = try BundleWriter(
                run: plan.run, files: plan.files, withheld: plan.withheld, softwareVersion: "0.1.0"
            ).write(to: path, format: .tarZstd)
            let found = try BundleVerifier.verify(path)
            #expect(found.isWhole && found.missing.isEmpty, "\(found.faults)")
            let openings = counter.openings()
            for (file, count) in openings {
                // Withheld weights are not even looked at.
                let isWithheld =
                    round == 1 && FileManager.default.contents(atPath: file) == Data(Sample.weights)
                #expect(count == (isWithheld ? 0 : 1), "\(file) of round \(round)")
            }
            _ = counter.openings()
        }
    }

    /// 17 MB are more than is kept in memory; a file as long as a withheld one must be looked at before it leaves.
    @Test(arguments: [false, true])
    func `is one opening of each file of a source tree beyond what is kept in memory`(
        hasWithheld: Bool
    ) throws {
        let scratch = Scratch()
        let block = noise(1_000_000, seed: 2)
        let large = scratch.write(
            "tree/large.bin", Array(repeatElement(block, count: 17).joined()))
        let filling = scratch.write("tree/filling.txt", [UInt8](repeating: 65, count: 16_700_000))
        let likely = scratch.write("tree/likely.bin", noise(Sample.weights.count, seed: 9))
        let twin = scratch.write("tree/twin.bin", noise(Sample.weights.count, seed: 9))
        let leak = scratch.write("tree/z/leak.bin", Sample.weights)
        let store = try Sample.store(scratch)
        let files = [filling, large, likely, twin, leak]
        let counter = OpenCounter()
        try counter.watch(files)
        let plan = try BundlePlan(
            hasWithheld ? `The release policy`.lowering() : Sample.run(), store: store,
            sourceFiles: files.map { (String($0.dropFirst(scratch.path.count + 6)), $0) },
            options: BundleOptions(), scratch: scratch.path)
        let written = try BundleWriter(
            run: plan.run, files: plan.files, withheld: plan.withheld, softwareVersion: "0.1.0"
        ).write(to: scratch.path + "/x.tar", format: .tar)
        #expect(
            counter.openings() == Dictionary(uniqueKeysWithValues: files.map { ($0, 1) }))
        let bag = try BundleUnpacker.unpack(written.path, into: scratch.path + "/out").bag
        for file in files where !(hasWithheld && file == leak) {
            let place = "/data/source/files" + file.dropFirst(scratch.path.count + 5)
            #expect(
                FileManager.default.contents(atPath: bag + place)
                    == FileManager.default.contents(atPath: file), "\(place)")
        }
        // The files that stand in the bundle once more are Git's own.
        let clone = scratch.path + "/clone"
        let bundle = bag + "/data/source/source.bundle"
        if spawn("git", ["clone", "-q", bundle, clone]) == 0 {
            #expect(
                try filesBelow(clone).filter { !$0.hasPrefix(".git/") }
                    == files.map { String($0.dropFirst(scratch.path.count + 6)) }.filter {
                        !(hasWithheld && $0 == "z/leak.bin")
                    })
        }
    }

    /// It leaves twice, as an input and as source; small ones are kept in memory, large ones are copied.
    @Test(arguments: [1000, 17_000_000])
    func `is one opening of a file of the tree that a cell read too`(size: Int) throws {
        let scratch = Scratch()
        let bytes = noise(size, seed: 21)
        let store = try Sample.store(scratch)
        let file = scratch.write("tree/studies/data/words.jsonl", bytes)
        var run = Sample.run()
        run.inputs[0].files[0] = .init(
            path: "", sha256: PayloadDigest(of: bytes).sha256, size: Int64(size))
        let counter = OpenCounter()
        let elsewhere = try #require(store.root) + "/studies/data/words.jsonl"
        try counter.watch([file, elsewhere])
        let plan = try BundlePlan(
            run, store: store, sourceFiles: [("studies/data/words.jsonl", file)],
            options: BundleOptions(), scratch: scratch.path)
        let written = try BundleWriter(
            run: plan.run, files: plan.files, withheld: plan.withheld, softwareVersion: "0.1.0"
        ).write(to: scratch.path + "/x.tar", format: .tar)
        #expect(counter.openings() == [file: 1, elsewhere: 0])
        let bag = try BundleUnpacker.unpack(written.path, into: scratch.path + "/out").bag
        for place in ["inputs/studies/data-/words.jsonl", "source/files/studies/data-/words.jsonl"]
        {
            #expect(
                FileManager.default.contents(atPath: bag + "/data/" + place) == Data(bytes),
                "\(place)")
        }
    }

    /// Text is rewritten, weights are only looked at, whatever the size.
    @Test func `is one opening of each file under --anonymous too`() throws {
        let scratch = Scratch()
        let store = try Sample.store(scratch)
        let letter = Array("Ada Example wrote this.\n".utf8)
        // Together more than is kept in memory, and one alone more than is rewritten.
        var sources: [(path: String, file: String)] = []
        for (name, bytes) in [
            ("note.txt", letter), ("a.txt", letter + [UInt8](repeating: 66, count: 8_000_000)),
            ("b.txt", [UInt8](repeating: 66, count: 8_000_000) + letter),
            ("c.bin", noise(3_000_000, seed: 4)), ("d.bin", noise(9_000_000, seed: 5)),
        ] {
            sources.append((name, scratch.write("tree/" + name, bytes)))
        }
        let counter = OpenCounter()
        let watched = try filesBelow(scratch.path).map { scratch.path + "/" + $0 }
        #expect(watched.count == 8)
        try counter.watch(watched)
        var options = BundleOptions()
        options.isAnonymous = true
        let plan = try BundlePlan(
            Sample.run(), store: store, sourceFiles: sources, options: options,
            scratch: scratch.path)
        let written = try BundleWriter(
            run: plan.run, files: plan.files, withheld: plan.withheld, softwareVersion: "0.1.0"
        ).write(to: scratch.path + "/x.tar", format: .tar)
        #expect(
            counter.openings() == Dictionary(uniqueKeysWithValues: watched.map { ($0, 1) }))
        let bag = try BundleUnpacker.unpack(written.path, into: scratch.path + "/out").bag
        let tree = bag + "/data/source/files/"
        for name in ["note.txt", "a.txt", "b.txt"] {
            let text = String(
                decoding: try #require(FileManager.default.contents(atPath: tree + name)),
                as: UTF8.self)
            #expect(text.contains("Anonymous wrote this.") && !text.contains("Ada"))
        }
        #expect(
            FileManager.default.contents(atPath: tree + "d.bin") == Data(noise(9_000_000, seed: 5)))
        #expect(try BundleVerifier.verify(written.path).isWhole)
    }

    /// Of adapters that are stored, and of text that is compressed.
    @Test(arguments: [false, true])
    func `and a verification is no more memory for 400 MB than for 20 MB`(isText: Bool) throws {
        let bench = StudyProcess.products + "/export-bench"
        var block = noise(500_000, seed: 12)
        if isText {
            block = Array(block.map { String(format: "%02x", $0) }.joined().utf8)
        } else {
            block += noise(500_000, seed: 13)
        }
        var peaks: [[Int]] = []
        for megabytes in [20, 400] {
            let scratch = Scratch()
            let path = scratch.write("data", [])
            let file = try #require(FileHandle(forWritingAtPath: path))
            for _ in 0..<megabytes { try file.write(contentsOf: block) }
            try file.close()
            let pack = try StudyProcess(
                ["pack", "x.tar.zst", "data"], in: scratch.path, executable: bench)
            try #require(pack.status == 0, "\(pack.errors)")
            unlink(path)
            let verify = try StudyProcess(
                ["verify", "x.tar.zst"], in: scratch.path, executable: bench)
            #expect(verify.output.hasPrefix("whole"), "\(verify.output)")
            peaks.append(
                try [pack, verify].map { run in
                    let found = try #require(run.output.firstMatch(of: #/peak\s+(\d+) kB/#))
                    return try #require(Int(found.1))
                })
        }
        for (small, large) in zip(peaks[0], peaks[1]) {
            #expect(large - small < 8_000, "kilobytes: \(peaks)")
            #expect(large < 100_000, "kilobytes: \(peaks)")
        }
    }
}

@Suite struct `What a hostile archive gets` {
    @Test func `is no reading on after its end, and no memory for what follows`() throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x.tar")
        let size = Int64(written.identity.archiveBytes)
        // A hole costs nothing on disk; half a gigabyte all the same.
        try #require(truncate(written.path, off_t(size + 500_000_000)) == 0)
        let found = try BundleVerifier.verify(written.path)
        #expect(found.faults == [Fault("archive", "has more than 1048576 bytes after its end")])
        #expect(found.effort.readBytes < size + 2 << 20)
        // A little more is counted to the byte.
        try #require(truncate(written.path, off_t(size + 1000)) == 0)
        #expect(
            try BundleVerifier.verify(written.path).faults
                == [Fault("archive", "has 1000 bytes after its end")])
    }

    @Test func `is no memory for large files beside the payload, one or many`() throws {
        let scratch = Scratch()
        var limits = ArchiveLimits()
        limits.heldBytes = 100_000
        limits.heldTotalBytes = 250_000
        let path = try `A hostile archive`.tar(
            scratch,
            """
            add("bag/one", bytes(100_001))
            for n in range(4): add(f"bag/many{n}", bytes(90_000))
            """)
        let found = try BundleVerifier.verify(path, limits: limits)
        let tooLarge = found.faults.filter {
            $0.problem.hasPrefix("is too large to be looked into")
        }
        #expect(tooLarge.map(\.file) == ["many2", "many3", "one"], "\(found.faults)")
        #expect(
            tooLarge.first?.problem
                == "is too large to be looked into: files of its kind may have 100000 bytes, and 250000 together"
        )
        #expect(found.held.values.reduce(0) { $0 + $1.count } <= 250_000)
    }

    /// A file that says that it has ten bytes, and has five million.
    @Test func `is no belief in the sizes of a zip`() throws {
        let scratch = Scratch()
        let path = try `A hostile archive`.zip(
            scratch, #"z.writestr("bag/bagit.txt", bytes(5_000_000))"#,
            end: """
                data = bytearray(open(path, "rb").read())
                for place in (22, data.rfind(b"PK\\1\\2") + 24):
                    assert struct.unpack_from("<I", data, place) == (5_000_000,)
                    struct.pack_into("<I", data, place, 10)
                open(path, "wb").write(data)
                """)
        var limits = ArchiveLimits()
        limits.heldBytes = 100_000
        let found = try BundleVerifier.verify(path, limits: limits)
        #expect(!found.isWhole)
        #expect(found.held.values.reduce(0) { $0 + $1.count } <= 100_000)
        limits.totalBytes = 1_000_000
        let stopped = try BundleVerifier.verify(path, limits: limits)
        #expect(!stopped.isWhole)
        #expect(stopped.effort.unpackedBytes <= 1_000_000 + 1 << 20)
    }

    /// libarchive makes a node in memory of each entry of a zip before it gives the first.
    @Test
    func `is no more entries of a zip than the limit, counted before anything is made of them`()
        throws
    {
        let scratch = Scratch()
        // More than 65,535 entries need the records of ZIP64.
        let path = try `A hostile archive`.zip(
            scratch, #"for n in range(66000): z.writestr(f"bag/{n}", b"")"#)
        var limits = ArchiveLimits()
        #expect(try BundleVerifier.verify(path, limits: limits).effort.entries == 66_000)
        limits.entries = 65_999
        let found = try BundleVerifier.verify(path, limits: limits)
        #expect(found.faults.contains(Fault("archive", "has more than 65999 entries")))
        #expect(found.effort.unpackedBytes == 0)
        // A directory that says that it is elsewhere, or a comment after it, is no zip of ours.
        var bytes = Array(try #require(FileManager.default.contents(atPath: path)))
        bytes[bytes.count - 2] = 1
        let changed = try BundleVerifier.verify(scratch.write("y.zip", bytes + [0]))
        #expect(
            changed.faults.contains { $0.problem.hasPrefix("is damaged at its end, or no zip") })
    }

    @Test func `is a look at no more entries than the limit`() throws {
        let scratch = Scratch()
        var limits = ArchiveLimits()
        limits.entries = 50
        let path = try `A hostile archive`.tar(
            scratch, "for n in range(5000): add(f\"bag/{n}\")")
        let found = try BundleVerifier.verify(path, limits: limits)
        #expect(found.faults.contains { $0.problem == "has more than 50 entries" })
        #expect(found.effort.entries == 51)
        // Two blocks of 512 bytes an entry, and what one reading takes.
        #expect(found.effort.readBytes < 51 * 1024 + 512 << 10)
    }
}
