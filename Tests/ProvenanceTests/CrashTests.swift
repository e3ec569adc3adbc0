// The world breaks: processes die, disks fill, files go bad, clocks jump. The ledger opens afterwards
// and tells the truth. Longer sweeps of the same are in Benchmarks/ledger/torture.py.

import Events
import Foundation
import Provenance
import Testing

/// The drill that is built beside the tests.
private let drill: String = {
    // The test bundle and the executables lie in the same folder.
    var folder = URL(fileURLWithPath: CommandLine.arguments[0]).deletingLastPathComponent()
    for candidate in [folder, folder.deletingLastPathComponent()] {
        let path = candidate.appendingPathComponent("ledger-drill").path
        if FileManager.default.isExecutableFile(atPath: path) { return path }
    }
    let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
        .deletingLastPathComponent()
        .deletingLastPathComponent().path
    return root + "/.build/debug/ledger-drill"
}()

private func integrity(_ ledger: Ledger) -> String {
    shell(["sqlite3", ledger.path, "PRAGMA integrity_check"], at: ledger.folder)
}

@Suite(.serialized) struct `When the world breaks` {
    @Test(arguments: 0..<8) func `kill -9 loses nothing that was acknowledged`(round: Int) throws {
        let scratch = Scratch()
        let process = Process()
        process.executableURL = URL(fileURLWithPath: drill)
        process.arguments = ["acknowledged", scratch.path]
        let pipe = Pipe()
        process.standardOutput = pipe
        try process.run()
        var random = SystemRandomNumberGenerator()
        usleep(useconds_t(60_000 + random.next(upperBound: UInt32(150_000))))
        kill(process.processIdentifier, SIGKILL)
        let said = String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()

        let lines = said.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
        let ledger = try Ledger.open(under: scratch.path)
        #expect(integrity(ledger) == "ok")
        guard let id = lines.first else {
            #expect(try ledger.list().runs.allSatisfy { $0.status == .lost })
            return
        }
        let run = try ledger.run(String(id), points: true)
        #expect(run.status == .lost)
        let acknowledged = lines.count > 1 ? Int(lines.last!) ?? 0 : 0
        let points = run.series.first?.points ?? []
        #expect(points.count >= acknowledged)
        #expect(points.map(\.step) == (0..<points.count).map(Int64.init))
        // The next run works.
        try ledger.begin(opening()).seal(.succeeded)
        #expect(try ledger.list().runs.map(\.status) == [.succeeded, .lost])
    }

    @Test func `sixteen writers lose no row, and none is told that the database is locked`() throws
    {
        let scratch = Scratch()
        let processes = (0..<16).map { _ in
            let process = Process()
            process.executableURL = URL(fileURLWithPath: drill)
            process.arguments = ["metrics", scratch.path, "2000", "3"]
            process.standardOutput = FileHandle.nullDevice
            try! process.run()
            return process
        }
        for process in processes { process.waitUntilExit() }
        #expect(processes.allSatisfy { $0.terminationStatus == 0 })
        let ledger = try Ledger.open(under: scratch.path)
        let runs = try ledger.list().runs
        #expect(runs.count == 16 && runs.allSatisfy { $0.status == .succeeded })
        for run in runs {
            #expect(try ledger.run(run.id).series.map(\.count).reduce(0, +) == 2000)
            #expect(try ledger.sealHolds(run.id) == true)
        }
        #expect(integrity(ledger) == "ok")
    }

    @Test(.enabled(if: getuid() == 0, "a small file system needs root"))
    func `a full disk is one clear error, and what was written stays`() throws {
        for kilobytes in [400, 700, 1000, 1500] {
            let scratch = Scratch()
            let mounted = shell(
                ["mount", "-t", "tmpfs", "-o", "size=\(kilobytes)k", "tmpfs", scratch.path], at: "/"
            )
            guard mounted.isEmpty else { return }  // containers may not mount
            defer { shell(["umount", "-l", scratch.path], at: "/") }
            var acknowledged = 0
            var id = ""
            do {
                let writer = try Ledger.open(under: scratch.path).begin(opening())
                id = writer.id
                for step in 0..<200_000 {
                    try writer.append(
                        .metric(
                            MetricPoint(
                                cell: 0, name: "loss", step: Int64(step), value: 1, time: .now)))
                    if step % 500 == 499 {
                        try writer.flush()
                        acknowledged = step + 1
                    }
                }
                Issue.record("the disk did not fill")
            } catch let error as ProvenanceError {
                #expect(error.reason == .diskFull, "\(error)")
                #expect(error.mend.contains("study gc"))
            }
            guard !id.isEmpty else { continue }
            // Some room again: the ledger opens, and has what it said it had.
            shell(["mount", "-o", "remount,size=20m", scratch.path], at: "/")
            let ledger = try Ledger.open(under: scratch.path)
            #expect(integrity(ledger) == "ok")
            #expect(try ledger.run(id).series.first?.count ?? 0 >= acknowledged)
            try ledger.begin(opening()).seal(.succeeded)
        }
    }

    @Test func `a ledger that is deleted under a run is named`() throws {
        let scratch = Scratch()
        let writer = try Ledger.open(under: scratch.path).begin(opening())
        shell(["rm", "-r", ".study"], at: scratch.path)
        let error = #expect(throws: ProvenanceError.self) {
            try writer.append(.metric(MetricPoint(cell: 0, name: "loss", value: 1, time: .now)))
            try writer.flush()
        }
        #expect(error?.reason == .ledgerMoved)
        #expect(
            error?.description == """
                The ledger was moved or deleted while the run went on.
                  where: \(scratch.path)/.study/ledger.sqlite
                  mend:  put it back and run again; a cell must leave .study alone
                """)
    }

    @Test func `a bad page is named, and repair saves what is whole`() throws {
        let scratch = Scratch()
        var ledger: Ledger? = try Ledger.open(under: scratch.path)
        var ids: [String] = []
        for _ in 0..<6 {
            let writer = try ledger!.begin(opening())
            ids.append(writer.id)
            for step in 0..<4000 {
                try writer.append(
                    .metric(
                        MetricPoint(
                            cell: 0, name: "loss", step: Int64(step), value: 0.1, time: .now)))
            }
            try writer.seal(.succeeded)
        }
        let path = ledger!.path
        ledger = nil
        shell(["sqlite3", path, "PRAGMA wal_checkpoint(TRUNCATE)"], at: scratch.path)
        // A leaf of the points: near the end of the file, where they were written last.
        let file = try FileHandle(forUpdating: URL(fileURLWithPath: path))
        let size = try file.seekToEnd()
        try file.seek(toOffset: (size / 4096 - 20) * 4096)
        try file.write(contentsOf: Data(repeating: 0xA5, count: 4096))
        try file.close()

        let health = try Ledger.open(under: scratch.path).health()
        #expect(!health.damage.isEmpty)
        #expect(
            health.damage.joined().lowercased().contains("page")
                || health.damage.joined().contains("malformed"))
        let report = try Ledger.repair(under: scratch.path)
        #expect(FileManager.default.fileExists(atPath: report.setAside))
        #expect(report.runs == 6)
        let fresh = try Ledger.open(under: scratch.path)
        #expect(integrity(fresh) == "ok")
        #expect(try fresh.health().damage.isEmpty)
        // One page holds some two hundred points of one run or two neighbours.
        let points = report.rows["point"] ?? 0
        #expect(points >= 24_000 - 1000 && points < 24_000)
        #expect((1...2).contains(report.brokenSeals.count))
    }

    @Test func `no file of SQLite's at all`() throws {
        let scratch = Scratch()
        scratch.write(".study/ledger.sqlite", String(repeating: "not a database ", count: 500))
        let error = #expect(throws: ProvenanceError.self) { try Ledger.open(under: scratch.path) }
        #expect(error?.reason == .notALedger)
    }

    @Test func `a clock that jumps back changes neither order nor status`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let first = try ledger.begin(opening())
        var early = opening()
        early.began = Timestamp(nanoseconds: 1_000_000_000_000_000_000)
        let second = try ledger.begin(early)
        #expect(try ledger.resolve("@latest") == second.id)
        #expect(try ledger.run(first.id).status == .running)
        try second.seal(.succeeded)
        #expect(try ledger.sealHolds(second.id) == true)
    }

    @Test func `an input that changes during the run is caught`() throws {
        let scratch = Scratch()
        let ledger = try Ledger.open(under: scratch.path)
        let file = scratch.write("data.txt", "a")
        let writer = try ledger.begin(opening())
        let input = try writer.input(cell: 0, path: file, written: "data.txt", kind: "dataset")
        #expect(input.sha256 == Digest(of: "a").hex)
        scratch.write("data.txt", "b")
        let sealed = try writer.seal(.succeeded)
        #expect(sealed.status == .failed)
        #expect(
            sealed.failure?.message.hasPrefix("data.txt changed while the run went on: sha256")
                == true)
        #expect(try ledger.run(writer.id).inputs[0].changed == Digest(of: "b").hex)
        #expect(try ledger.sealHolds(writer.id) == true)
    }

    @Test func `a file with the declared name and other bytes is refused`() throws {
        let scratch = Scratch()
        let writer = try Ledger.open(under: scratch.path).begin(opening())
        let file = scratch.write("data.txt", "a")
        let error = #expect(throws: ProvenanceError.self) {
            try writer.input(
                cell: 0, path: file, written: "data.txt", kind: "dataset",
                expected: Digest(of: "b").hex)
        }
        #expect(error?.reason == .changedFile)
        #expect(
            error?.what
                == "data.txt is not the file that the study names: sha256 3e23…c79d declared, ca97…48bb found."
                || error?.what.contains("declared") == true)
    }
}

@Suite struct `Hashing` {
    @Test(arguments: [0, 1, 63, 64, 65, 262_144, 262_145, 17 << 20, (17 << 20) + 1])
    func `agrees with sha256sum at every size`(size: Int) throws {
        let scratch = Scratch()
        let path = scratch.path + "/f"
        try Data((0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }).write(
            to: URL(fileURLWithPath: path))
        let digest = try hashFile(path).digest
        #expect(shell(["sha256sum", "f"], at: scratch.path).prefix(64) == digest.sha256)
        #expect(digest.size == Int64(size))
    }

    @Test func `a folder's manifest is what sha256sum -c takes`() throws {
        let scratch = Scratch()
        for name in ["b.txt", "a/x y.txt", "a.txt", "ü/z"] { scratch.write("f/" + name, name) }
        let store = ObjectStore(scratch.path + "/objects")
        let manifest = try store.store(folder: scratch.path + "/f")
        #expect(manifest.entries.map(\.path) == ["a.txt", "a/x y.txt", "b.txt", "ü/z"])
        scratch.write("sums", manifest.text)
        #expect(
            !shell(["sh", "-c", "cd f && sha256sum -c ../sums"], at: scratch.path).contains(
                "FAILED"))
        #expect(FolderManifest(text: manifest.text)?.digest == manifest.digest)
        #expect(try store.bytes(manifest.digest.hex) == Array(manifest.text.utf8))
    }

    @Test func `an object whose bytes went bad is not handed out`() throws {
        let scratch = Scratch()
        let store = ObjectStore(scratch.path + "/objects")
        let sha256 = try store.store(Array("weights".utf8))
        shell(
            [
                "sh", "-c",
                "chmod 644 '\(store.path(of: sha256))'; echo x > '\(store.path(of: sha256))'",
            ], at: "/")
        let error = #expect(throws: ProvenanceError.self) { try store.bytes(sha256) }
        #expect(error?.reason == .corrupted)
    }
}
