// `study replay BUNDLE`: verifies and unpacks, then either locks this same program up with the bag
// (BundleReplay+Sandbox.swift), or, under --no-sandbox, lays out the files and runs them here.

internal import ArgumentParser
internal import Export
internal import Foundation
internal import Notebook
internal import Provenance

struct BundleReplayOptions: ParsableArguments {
    @Flag(
        help: "Run without a sandbox. The bundle's code can then read and change whatever you can.")
    var noSandbox = false

    @Option(
        help: ArgumentHelp(
            "Where inputs are that the bundle only names; they are known by their hashes.",
            valueName: "folder"))
    var inputs: String?

    @Option(
        help: ArgumentHelp(
            "Where to unpack and run; a folder for temporary files if not given.",
            valueName: "folder"))
    var scratch: String?

    @Option(help: ArgumentHelp("End it after so long, as 90m or 2h.", valueName: "time"))
    var maxTime: String?

    @Option(help: ArgumentHelp("End it when it holds more memory, as 8G.", valueName: "size"))
    var maxMemory: String?

    @Option(help: ArgumentHelp("End it when it writes more to the disk.", valueName: "size"))
    var maxDisk: String?

    @OptionGroup var archive: ArchiveOptions

    /// Set where this program runs inside a sandbox that it made.
    @Option(help: .hidden)
    var inside: InsideSandbox?

    func validate() throws {
        if let maxTime, Size.seconds(maxTime) == nil {
            throw ValidationError("--max-time is a time such as 90m or 2h, not '\(maxTime)'.")
        }
        for (name, size) in [("--max-memory", maxMemory), ("--max-disk", maxDisk)] {
            if let size, Size.bytes(size) == nil {
                throw ValidationError("\(name) is a size such as 512M or 8G, not '\(size)'.")
            }
        }
    }

    /// The first option that was given and means something for bundles only.
    var given: String? {
        let all: [(String, Bool)] = [
            ("--no-sandbox", noSandbox), ("--inputs", inputs != nil),
            ("--scratch", scratch != nil), ("--max-time", maxTime != nil),
            ("--max-memory", maxMemory != nil), ("--max-disk", maxDisk != nil),
            ("--signers", archive.signers != nil),
        ]
        return all.first { $0.1 }?.0
    }
}

/// One replay of one bundle.
struct BundleReplay {
    var bundle: String
    var options: BundleReplayOptions
    var threads: Int?
    var keep: Bool
    var json: Bool

    /// Whether the word names a bundle rather than a run: it is there, or its name says so.
    static func isBundle(_ word: String) -> Bool {
        ArchiveFormat(path: word) != nil || access(word, F_OK) == 0
    }

    var view: RunView { RunView(usesErrorStream: json) }

    func run() async throws {
        if let part = options.inside { return try await runInside(part) }
        let scratch = try makeScratch()
        defer { if !keep { Self.remove(scratch) } }
        do {
            if !options.noSandbox, let problem = Sandbox.problem {
                throw ExportError(
                    .usage, "There is no sandbox to be had: \(problem).", where: bundle,
                    mend:
                        "install what is missing; `study inspect` shows what would run; --no-sandbox runs it as you, with your files and your network"
                )
            }
            let contents = try unpack(into: scratch)
            if keep { view.note("scratch folder: \(scratch)") }
            let found = try contents.findMissing(in: options.inputs, bundle: bundle)
            if options.noSandbox {
                try await replayHere(contents, found, scratch)
            } else {
                try await replayInSandbox(contents, found, scratch)
            }
        } catch let status as ExitCode {
            throw status
        } catch {
            throw Failures.report(error, json: json)
        }
    }

    /// A folder of our own, which nobody else can look into.
    private func makeScratch() throws -> String {
        let parent = options.scratch ?? NSTemporaryDirectory()
        let folder = realPath(parent) + "/study-replay-\(UUID().uuidString.prefix(8))"
        guard mkdir(folder, 0o700) == 0 else {
            let text =
                "The scratch folder cannot be made: \(String(cString: strerror(errno))).\n  where: \(folder)\n  mend:  name a folder that can be written with --scratch"
            FileHandle.standardError.write(Data((text + "\n").utf8))
            throw ExitCode(ExitStatus.wrongUsage)
        }
        return folder
    }

    /// Removes what a stranger's code left, whatever it did to the rights of its folders.
    private static func remove(_ folder: String) {
        if (try? FileManager.default.removeItem(atPath: folder)) != nil { return }
        for words in [["chmod", "-R", "u+rwx", "--", folder], ["rm", "-rf", "--", folder]] {
            let process = Process()
            process.executableURL = URL(fileURLWithPath: "/usr/bin/env")
            process.arguments = words
            process.standardError = FileHandle.nullDevice
            if (try? process.run()) != nil { process.waitUntilExit() }
        }
    }

    private func unpack(into scratch: String) throws -> BundleContents {
        guard access(bundle, R_OK) == 0 else {
            throw ExportError(
                .usage, "The bundle cannot be read: \(String(cString: strerror(errno))).",
                where: bundle, mend: "check the path")
        }
        var isFolder: ObjCBool = false
        if FileManager.default.fileExists(atPath: bundle, isDirectory: &isFolder),
            isFolder.boolValue
        {
            let found = try BundleVerifier.verify(
                bundle, limits: options.archive.limits, signers: options.archive.signers)
            guard found.isWhole else {
                throw BundleUnpacker.refusal(of: bundle, found)
            }
            return BundleContents(bag: realPath(bundle), verification: found)
        }
        let (found, bag) = try BundleUnpacker.unpack(
            bundle, into: scratch + "/bundle", limits: options.archive.limits,
            signers: options.archive.signers)
        return BundleContents(bag: bag, verification: found)
    }

    // MARK: Here

    private func replayHere(
        _ contents: BundleContents, _ found: [String: String], _ scratch: String
    ) async throws {
        view.note(
            "without sandbox: the bundle's code runs as you, with your files and your network")
        let replay = try BundledRun(
            contents, root: scratch + "/replay", view: view, threads: threads,
            memory: options.maxMemory.flatMap(Size.bytes))
        view.note("expected: \(Replayer.expectation(replay.original, threads: threads).text)")
        let verdict = try await replay.replayer.replay(
            replay.original, in: try replay.layOut(found))
        if json {
            var object = verdict.json
            object["bundle"] = bundle
            object["sandbox"] = false
            JSONOutput.print(object)
        } else {
            print(verdict.text)
        }
        if !verdict.holds { throw ExitCode(ExitStatus.replayDiverged) }
    }
}
