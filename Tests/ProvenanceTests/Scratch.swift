// Folders, repositories and openings for the tests of this suite.

import Foundation
import Provenance

/// A folder of its own, removed with the last reference.
final class Scratch {
    let path: String

    init(_ name: String = "ledger") {
        let base = realPath(NSTemporaryDirectory())
        path = "\(base)/study-tests-\(getpid())-\(UInt32.random(in: 0 ... .max))/\(name)"
        try! FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(atPath: (path as NSString).deletingLastPathComponent)
    }

    @discardableResult
    func write(_ name: String, _ text: String) -> String {
        let file = path + "/" + name
        try! FileManager.default.createDirectory(
            atPath: (file as NSString).deletingLastPathComponent, withIntermediateDirectories: true)
        try! Data(text.utf8).write(to: URL(fileURLWithPath: file))
        return file
    }

    func read(_ name: String) -> String? {
        FileManager.default.contents(atPath: path + "/" + name).map {
            String(decoding: $0, as: UTF8.self)
        }
    }

    /// Runs Git itself: what our own reading is held against.
    @discardableResult
    func git(_ arguments: String..., at folder: String? = nil) -> String {
        shell(
            [
                "git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-c",
                "protocol.file.allow=always", "-c", "init.defaultBranch=main",
            ]
                + arguments, at: folder ?? path)
    }
}

/// Runs a program and gives its output; the test fails where it cannot be started.
@discardableResult
func shell(_ arguments: [String], at folder: String) -> String {
    let process = Process()
    process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
    process.arguments = arguments
    process.currentDirectoryURL = URL(fileURLWithPath: folder)
    let pipe = Pipe()
    process.standardOutput = pipe
    process.standardError = pipe
    try! process.run()
    let data = pipe.fileHandleForReading.readDataToEndOfFile()
    process.waitUntilExit()
    return String(decoding: data, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
}

/// An opening of a study with two cells.
func opening(_ text: String = "# A study\n", seed: UInt64 = 7, replayOf: String? = nil)
    -> RunOpening
{
    RunOpening(
        study: "studies/x.md", text: text, title: "A study", seed: seed, tier: "portable",
        threads: 2,
        parameters: [.init(name: "rank", type: "Int", value: "8")],
        cells: [
            .init(id: "load", firstLine: 3, lastLine: 5, sha256: Digest(of: "a").hex),
            .init(id: "train", firstLine: 9, lastLine: 20, sha256: Digest(of: "b").hex),
        ],
        tolerances: [Tolerance(metric: "loss", relative: 1e-6)],
        command: ["study", "run", "studies/x.md"], replayOf: replayOf)
}
