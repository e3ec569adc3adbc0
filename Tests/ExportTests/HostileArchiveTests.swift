// Archives that mean harm, or met with an accident: each is refused by name, nothing is written
// outside, and memory and time stay within bounds. Python's tarfile and zipfile make the hostile ones.

import Foundation
import TestSupport
import Testing

import Export
import Provenance

@Suite struct `A hostile archive` {
    /// Makes an archive with a few lines of Python; `t` is the open tarfile, `add(name, bytes, **fields)` adds a file.
    static func tar(_ scratch: Scratch, _ lines: String, mode: String = "w") throws -> String {
        let path = scratch.path + "/hostile.tar"
        let script = """
            import io, sys, tarfile
            t = tarfile.open(\("\"" + path + "\""), "\(mode)", format=tarfile.PAX_FORMAT)
            def add(name, data=b"x", **fields):
                i = tarfile.TarInfo(name); i.size = len(data); i.mode = 0o644
                for k, v in fields.items(): setattr(i, k, v)
                t.addfile(i, io.BytesIO(data))
            add("bag/bagit.txt", b"BagIt-Version: 1.0\\nTag-File-Character-Encoding: UTF-8\\n")
            \(lines)
            t.close()
            """
        try #require(
            spawn("python3", ["-c", script]) == 0, "python3 makes the archives of this suite")
        return path
    }

    /// Makes a zip with a few lines of Python; `z` is the open zipfile, and `end` what follows when it is closed.
    static func zip(_ scratch: Scratch, _ lines: String, end: String = "") throws -> String {
        let path = scratch.path + "/hostile.zip"
        let script = """
            import struct, zipfile
            path = "\(path)"
            z = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
            \(lines)
            z.close()
            \(end)
            """
        try #require(
            spawn("python3", ["-c", script]) == 0, "python3 makes the archives of this suite")
        return path
    }

    @Test(arguments: [
        (#"add("/etc/passwd-of-study")"#, "absolute path"),
        (#"add("bag/../../escape.txt")"#, "climbs out"),
        (#"add("../escape.txt")"#, "climbs out"),
        (#"add("bag/a", type=tarfile.SYMTYPE, linkname="/etc", data=b"")"#, "symbolic link"),
        (#"add("bag/a", type=tarfile.LNKTYPE, linkname="bag/bagit.txt", data=b"")"#, "hard link"),
        (#"add("bag/a", type=tarfile.CHRTYPE, devmajor=1, devminor=3, data=b"")"#, "device"),
        (#"add("bag/a", type=tarfile.BLKTYPE, devmajor=8, devminor=0, data=b"")"#, "device"),
        (#"add("bag/a", type=tarfile.FIFOTYPE, data=b"")"#, "named pipe"),
        (#"add("bag/a"); add("bag/a", b"y")"#, "is there twice"),
        (
            #"add("bag/Read.md"); add("bag/README.md".replace("README","READ"), b"y")"#,
            "differ in case or composition"
        ),
        (#"add("bag/caf\u00e9"); add("bag/cafe\u0301")"#, "is there twice"),
        (#"add("bag/a"); add("bag/a/b")"#, "which is a file"),
        (#"add("bag/X/a"); add("bag/x/b")"#, "differ in case or composition"),
        (#"add("other/a")"#, "outside the folder"),
        (#"add("bag/a\nb")"#, "control character"),
        (#"add("bag/100%25")"#, "% in its name"),
        (#"add("bag/a\\b")"#, "backslash"),
        (#"add("bag/" + "d/" * 600 + "a")"#, "longer than"),
        (#"add("bag/./a")"#, "empty or . part"),
        (#"add("bag/a", mode=0o4755)"#, "set-user"),
    ])
    func `is refused by name`(lines: String, reason: String) throws {
        let scratch = Scratch()
        let path = try Self.tar(scratch, lines)
        let found = try BundleVerifier.verify(path)
        #expect(found.faults.contains { $0.problem.contains(reason) }, "\(found.faults)")
        #expect(found.effort.entries <= 3)
        #expect(found.effort.unpackedBytes <= 20_480)
        let before = try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted()
        #expect(throws: ExportError.self) {
            try BundleUnpacker.unpack(path, into: scratch.path + "/out")
        }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: scratch.path).sorted() == before)
        #expect(access("/etc/passwd-of-study", F_OK) != 0)
    }

    @Test func `that unfolds a thousandfold is stopped early`() throws {
        let scratch = Scratch()
        let path = scratch.path + "/bomb.tar"
        try #require(
            spawn(
                "python3",
                [
                    "-c",
                    """
                    import tarfile, io
                    class Zeros(io.RawIOBase):
                        def read(self, n=-1): return bytes(n)
                    with tarfile.open("\(path).gz", "w:gz", compresslevel=9) as t:
                        i = tarfile.TarInfo("bag/data/zeros"); i.size = 300 << 20
                        t.addfile(i, Zeros())
                    """,
                ]) == 0)
        let found = try BundleVerifier.verify(path + ".gz")
        #expect(found.faults.contains { $0.problem.contains("250 times its size") })
        // Of 300 MiB no more is unpacked than any archive may have, and one buffer.
        #expect(found.effort.unpackedBytes <= ArchiveLimits().ratioFloor + 256 << 10)
        #expect(found.effort.entries == 1)
        var limits = ArchiveLimits()
        limits.ratio = 1 << 40
        limits.totalBytes = 10 << 20
        let sized = try BundleVerifier.verify(path + ".gz", limits: limits)
        #expect(sized.faults.contains { $0.problem.contains("more than \(10 << 20) bytes") })
        // Its header says it: nothing of the file itself is unpacked but what came along.
        #expect(sized.effort.unpackedBytes <= 256 << 10)
        // In a process of its own the whole takes this much memory at most.
        let bench = try StudyProcess(
            ["verify", path + ".gz"], in: scratch.path,
            executable: StudyProcess.products + "/export-bench")
        let peak = try #require(bench.output.firstMatch(of: #/peak\s+(\d+) kB/#))
        #expect(try #require(Int(peak.1)) < 60_000, "\(bench.output)")
    }

    @Test func `that says little and holds much is no way around the caps`() throws {
        let scratch = Scratch()
        let path = try Self.zip(
            scratch, #"for n in range(3): z.writestr(f"bag/{n}", bytes(60 << 20))"#)
        let found = try BundleVerifier.verify(path)
        #expect(found.faults.contains { $0.problem.contains("250 times its size") })
        #expect(found.effort.unpackedBytes <= ArchiveLimits().ratioFloor + 1 << 20)
        var limits = ArchiveLimits()
        limits.entries = 2
        limits.ratio = 1 << 40
        let counted = try BundleVerifier.verify(path, limits: limits)
        #expect(counted.faults.contains { $0.problem.contains("2 entries") })
        #expect(counted.effort.entries == 3)
    }

    @Test(arguments: ArchiveFormat.allCases)
    func `cut short or added to is refused`(format: ArchiveFormat) throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x." + format.rawValue)
        let whole = Array(FileManager.default.contents(atPath: written.path)!)
        for length in [
            0, 1, 511, 512, whole.count / 3, whole.count / 2, whole.count - 513, whole.count - 1,
        ] {
            let path = scratch.write("cut", Array(whole.prefix(length)))
            #expect(try !BundleVerifier.verify(path).isWhole, "\(length) of \(whole.count) bytes")
        }
        for extra in [
            [0], [UInt8](repeating: 0, count: 512), Array("more".utf8), Array(whole.prefix(4096)),
            whole,
        ] {
            let path = scratch.write("longer", whole + extra)
            #expect(try !BundleVerifier.verify(path).isWhole, "\(extra.count) bytes more")
        }
    }

    /// One bit each, at 200 places that a seed chose.
    @Test(arguments: ArchiveFormat.allCases)
    func `with one flipped bit is refused`(format: ArchiveFormat) throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x." + format.rawValue)
        var bytes = Array(FileManager.default.contents(atPath: written.path)!)
        let places = noise(200 * 8, seed: 2026)
        var missed: [Int] = []
        var tried = 0
        // However a bit lies about sizes, no more is unpacked than twice what is there.
        var most: Int64 = 0
        for index in 0..<200 {
            let place = (0..<7).reduce(0) { $0 << 8 | Int(places[index * 8 + $1]) } % bytes.count
            let bit = UInt8(1) << (places[index * 8 + 7] & 7)
            bytes[place] ^= bit
            let path = scratch.write("flipped", bytes)
            let found = try BundleVerifier.verify(path)
            if found.isWhole { missed.append(place) }
            most = max(most, found.effort.unpackedBytes)
            tried += 1
            bytes[place] ^= bit
        }
        #expect(missed == [], "bytes whose flip went unseen")
        #expect(tried == 200)
        #expect(most <= 2 * written.identity.tarBytes)
    }

    @Test func `repacked with another program is told from the one exported`() throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x.tar")
        try #require(spawn("tar", ["-C", scratch.path, "-xf", written.path]) == 0)
        let folder = try #require(
            FileManager.default.contentsOfDirectory(atPath: scratch.path).first {
                $0.hasPrefix("study-")
            })
        try #require(
            spawn("tar", ["-C", scratch.path, "-cf", scratch.path + "/y.tar", folder]) == 0)
        let found = try BundleVerifier.verify(scratch.path + "/y.tar")
        #expect(
            found.faults.count == 1 && found.faults[0].problem.contains("packed anew"),
            "\(found.faults)")
        // The folder itself is whole.
        #expect(try BundleVerifier.verify(scratch.path + "/" + folder).faults == [])
    }

    @Test func `with several faults has them all listed at once`() throws {
        let scratch = Scratch()
        let written = try Sample.bundle(scratch, "x.tar")
        try #require(spawn("tar", ["-C", scratch.path, "-xf", written.path]) == 0)
        let folder =
            scratch.path + "/"
            + (try #require(
                FileManager.default.contentsOfDirectory(atPath: scratch.path).first {
                    $0.hasPrefix("study-")
                }))
        _ = FileManager.default.createFile(
            atPath: folder + "/data/README.md", contents: Data("changed".utf8))
        try FileManager.default.removeItem(atPath: folder + "/data/results/metrics.jsonl")
        _ = FileManager.default.createFile(atPath: folder + "/data/extra", contents: Data())
        _ = FileManager.default.createFile(
            atPath: folder + "/bag-info.txt", contents: Data("Payload-Oxum: 1.1\n".utf8))
        let files = Set(try BundleVerifier.verify(folder).faults.map(\.file))
        #expect(
            files.isSuperset(of: [
                "data/README.md", "data/results/metrics.jsonl", "data/extra", "bag-info.txt",
            ]))
    }

    @Test func `that is none is said to be none`() throws {
        let scratch = Scratch()
        #expect(
            try BundleVerifier.verify(scratch.write("x", Array("hello".utf8))).faults.contains {
                $0.problem.contains("none of tar")
            })
        #expect(throws: ExportError.self) { try BundleVerifier.verify(scratch.path + "/nothing") }
    }
}

/// The frames of a .tar.zst: weights are stored, text is compressed, and no bit of either kind of frame can
/// change unseen.
@Suite struct `A bundle's zstd frames` {
    static let stored: [UInt8] = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x38]

    /// Noise as a file of a bundle, between texts.
    static func bundle(_ scratch: Scratch) throws -> WrittenBundle {
        let path = scratch.write("big.bin", noise(400_000, seed: 5))
        let files = [
            PayloadFile.text(
                "a.txt", String(repeating: "a text\n", count: 20_000), name: "a", about: "a"),
            PayloadFile(
                "big.bin", .file(path, size: 400_000), name: "big", about: "noise",
                mediaType: "application/octet-stream"),
            PayloadFile.text(
                "z.txt", String(repeating: "z text\n", count: 20_000), name: "z", about: "z"),
        ]
        return try BundleWriter(
            run: Sample.run(), files: files, withheld: [], softwareVersion: "0.1.0"
        ).write(to: scratch.path + "/x.tar.zst", format: .tarZstd)
    }

    @Test func `store noise, compress text, and are what zstd itself unpacks`() throws {
        let scratch = Scratch()
        let written = try Self.bundle(scratch)
        #expect(try BundleVerifier.verify(written.path).faults == [])
        let bytes = Data(try #require(FileManager.default.contents(atPath: written.path)))
        #expect(bytes.range(of: Data(Self.stored)) != nil)
        #expect(bytes.count < 420_000 && bytes.count > 400_000)
        #expect(bytes.range(of: Data("a text\na text\na text\n".utf8)) == nil)
        if spawn("zstd", ["-q", "-d", written.path, "-o", scratch.path + "/x.tar"]) == 0 {
            let tar = try BundleVerifier.verify(scratch.path + "/x.tar")
            #expect(tar.isWhole && tar.tarSHA256 == written.identity.tarSHA256)
        }
    }

    /// Gaussian numbers of a trained weight's size, by Box and Muller from noise.
    static func gaussian(_ count: Int) -> [Float] {
        let raw = noise(count * 8, seed: 11)
        func unit(_ place: Int) -> Double {
            Double((0..<4).reduce(UInt32(0)) { $0 << 8 | UInt32(raw[place * 4 + $1]) })
                / 4_294_967_296
        }
        return (0..<count).map {
            Float(
                0.02 * (-2 * log(unit($0 * 2) + 1e-12)).squareRoot()
                    * cos(2 * .pi * unit($0 * 2 + 1)))
        }
    }

    @Test func `store weights in single precision, and compress what shrinks by a tenth`() {
        func stores(_ bytes: [UInt8]) -> Bool {
            bytes.withUnsafeBytes { ZstdPacking.isIncompressible($0) }
        }
        let weights = Self.gaussian(60_000)
        #expect(stores(noise(200_000, seed: 3)))
        #expect(stores(weights.withUnsafeBytes { Array($0) }))
        let bfloat = weights.flatMap { value -> [UInt8] in
            let bits = value.bitPattern >> 16
            return [UInt8(bits & 255), UInt8(bits >> 8)]
        }
        #expect(!stores(bfloat))
        #expect(!stores(Array(String(repeating: Sample.text, count: 200).utf8)))
        #expect(!stores([UInt8](repeating: 0, count: 200_000)))
        #expect(!stores([]))
        // 16 binary places of a logarithm, rounded down.
        #expect(ZstdPacking.logarithm(1) == 0 && ZstdPacking.logarithm(65_536) == 16 << 16)
        for value: UInt64 in [2, 3, 10, 1000, 65_535] {
            #expect(ZstdPacking.logarithm(value) == UInt64(log2(Double(value)) * 65_536))
        }
    }

    /// Blocks of 4 MiB go past the page cache; what is left over does not.
    @Test(arguments: [(ArchiveFormat.tarZstd, 9), (.tar, 9), (.zip, 5)])
    func `of more than the disk takes at once come back whole`(
        format: ArchiveFormat, megabytes: Int
    )
        throws
    {
        let scratch = Scratch()
        let size = megabytes * 1_000_000
        let path = scratch.write(
            "big.bin", Array(repeatElement(noise(1_000_000, seed: 6), count: megabytes).joined()))
        let file = PayloadFile(
            "big.bin", .file(path, size: Int64(size)), name: "big", about: "noise",
            mediaType: "application/octet-stream")
        // Over a longer file that was there before, too.
        let place = scratch.write("x." + format.rawValue, noise(100_000, seed: 1))
        let written = try BundleWriter(
            run: Sample.run(), files: [file], withheld: [], softwareVersion: "0.1.0"
        ).write(to: place, format: format)
        let status = try FileManager.default.attributesOfItem(atPath: place)
        #expect((status[.size] as? NSNumber)?.int64Value == written.identity.archiveBytes)
        #expect(try BundleVerifier.verify(place).faults == [])
        let names = try FileManager.default.contentsOfDirectory(atPath: scratch.path)
        #expect(!names.contains { $0.hasSuffix(".partial") })
    }

    @Test func `show every flipped bit of their headers`() throws {
        let scratch = Scratch()
        let written = try Self.bundle(scratch)
        var bytes = Array(try #require(FileManager.default.contents(atPath: written.path)))
        let data = Data(bytes)
        var places: [Int] = []
        var from = data.startIndex
        while let frame = data.range(of: Data([0x28, 0xb5, 0x2f, 0xfd]), in: from..<data.endIndex) {
            places += frame.lowerBound..<frame.lowerBound + 12
            from = frame.upperBound
        }
        // Three frames, the headers of blocks within the stored one, and the trailer.
        #expect(places.count == 36)
        let second = try #require(data.range(of: Data(Self.stored))).upperBound
        places += (1..<4).flatMap { block in
            let start = second + block * (3 + 131_072)
            return start..<start + 3
        }
        var bits = places.flatMap { place in (0..<8).map { (place, $0) } }
        bits += (bytes.count - 200..<bytes.count).map { ($0, $0 % 8) }
        var missed: [String] = []
        for (place, bit) in bits {
            bytes[place] ^= 1 << UInt8(bit)
            let path = scratch.write("flipped", bytes)
            if try BundleVerifier.verify(path).isWhole { missed.append("\(place).\(bit)") }
            bytes[place] ^= 1 << UInt8(bit)
        }
        #expect(missed == [], "bits whose flip went unseen")
    }
}
