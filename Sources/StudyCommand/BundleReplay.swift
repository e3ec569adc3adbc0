// `study replay BUNDLE`: verifies and unpacks, then either locks this same program up with the bag and
// has it replay there, or, under --no-sandbox, lays out the files and runs them here.

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

    /// Set where this program runs inside the sandbox that it made.
    @Flag(help: .hidden)
    var inside = false

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

    private var view: RunView { RunView(usesErrorStream: json) }

    func run() async throws {
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
        if !options.inside {
            view.note(
                "without sandbox: the bundle's code runs as you, with your files and your network")
        }
        let root = scratch + "/replay"
        let ledger = try Ledger.open(under: root)
        let report = try ledger.importRuns(from: contents.rows)
        guard let id = report.imported.first, report.imported.count == 1 else {
            let reason = report.refused.first?.value ?? "it holds \(report.imported.count) runs"
            throw ExportError(
                .bundle, "The bundle's rows are not those of one run: \(reason).",
                where: contents.rows, mend: "get the bundle again from its author")
        }
        let original = try ledger.run(id, points: true)
        if !options.inside {
            view.note(
                "expected: \(Replayer.expectation(original, threads: threads).text)")
        }
        let restored = try contents.lay(out: original, into: root, found: found)
        contents.lend(original.artifacts, to: ledger.objects)
        let verdict = try await Replayer(
            ledger: ledger, root: root, view: view, threads: threads,
            memory: options.maxMemory.flatMap(Size.bytes)
        ).replay(original, in: restored)
        if json {
            var object = verdict.json
            object["bundle"] = bundle
            object["sandbox"] = options.inside
            if options.inside { object["text"] = verdict.text }
            JSONOutput.print(object)
        } else {
            print(verdict.text)
        }
        if !verdict.holds { throw ExitCode(ExitStatus.replayDiverged) }
    }

    // MARK: In the sandbox

    /// Where things are seen inside.
    private enum Inside {
        static let bag = "/replay/bundle"
        static let inputs = "/replay/inputs"
        static let work = "/replay/work"
    }

    private func replayInSandbox(
        _ contents: BundleContents, _ found: [String: String], _ scratch: String
    ) async throws {
        let installation = try Installation()
        let toolchain = try await Toolchain.find(cache: try BuildCache(scratch + "/facts"))
        let work = scratch + "/work"
        try FileManager.default.createDirectory(
            atPath: work, withIntermediateDirectories: false)
        let inspection = BundleInspection(contents.verification)
        var readable = Set(installation.files + [toolchain.root]).sorted().map {
            Sandbox.Mount($0)
        }
        readable.append(Sandbox.Mount(contents.bag, at: Inside.bag))
        for (sha256, path) in found.sorted(by: { $0.key < $1.key }) {
            readable.append(Sandbox.Mount(realPath(path), at: Inside.inputs + "/" + sha256))
        }
        var sandbox = Sandbox(
            writable: Sandbox.Mount(work, at: Inside.work), readable: readable,
            limits: limits(inspection))
        sandbox.programs = [toolchain.root + "/bin"]
        sandbox.locale = inspection?.locale ?? sandbox.locale
        view.note(
            "sandbox: no network, nothing of yours to be seen; at most \(Words.seconds(sandbox.limits.seconds)), \(Words.bytes(Int64(sandbox.limits.memory))) of memory, \(Words.bytes(Int64(sandbox.limits.disk))) of disk"
        )
        var program = [Installation.ownPath, "replay", Inside.bag, "--no-sandbox", "--inside"]
        program += ["--scratch", Inside.work, "--json"]
        if !found.isEmpty { program += ["--inputs", Inside.inputs] }
        if let threads { program += ["--threads", "\(threads)"] }
        var answer: [UInt8] = []
        var shown = ShownOutput(limit: sandbox.limits.output, descriptor: json ? 2 : 1)
        let end = try sandbox.run(program) { isError, bytes in
            if isError {
                shown.add(bytes)
            } else if answer.count < 64 << 20 {
                answer += bytes
            }
        }
        shown.finish()
        try tell(end, answer, sandbox.limits)
    }

    private func limits(_ inspection: BundleInspection?) -> Sandbox.Limits {
        let installed = UInt64(sysconf(Int32(_SC_PHYS_PAGES))) * UInt64(getpagesize())
        // A slower machine, and the time to compile.
        let seconds = inspection?.seconds.map { max(600, $0 * 20 + 300) } ?? 3600
        let disk = UInt64(max(0, inspection?.totalBytes ?? 0)) * 3 + 8 << 30
        return Sandbox.Limits(
            seconds: options.maxTime.flatMap(Size.seconds) ?? seconds,
            memory: options.maxMemory.flatMap(Size.bytes) ?? installed / 4 * 3,
            disk: options.maxDisk.flatMap(Size.bytes) ?? disk)
    }

    /// The last word: the verdict that came out of the sandbox, or why there is none.
    private func tell(_ end: SandboxEnd, _ answer: [UInt8], _ limits: Sandbox.Limits) throws {
        switch end {
        case .interrupted:
            throw ExportError(
                .stopped, "The replay was stopped by Ctrl-C.", where: bundle, mend: "start it again"
            )
        case .stopped(let reason):
            throw ExportError(
                .stopped, "The replay was ended: the bundle's code \(reason).", where: bundle,
                mend:
                    "`study inspect` shows what it would run; --max-time, --max-memory and --max-disk allow more"
            )
        case .exited(let status):
            let line = answer.split(separator: 10).last.map { Data($0) } ?? Data()
            let object = (try? JSONSerialization.jsonObject(with: line)) as? [String: Any] ?? [:]
            guard let text = object["text"] as? String, let holds = object["holds"] as? Bool,
                status == (holds ? ExitStatus.success : ExitStatus.replayDiverged)
            else {
                // Why, it has said itself.
                let known = [
                    ExitStatus.studyFailed, ExitStatus.wrongUsage, ExitStatus.bundleRefused,
                ]
                if json {
                    JSONOutput.print([
                        "error": object["error"] as? String ?? "the replay ended without a verdict",
                        "status": Int(known.contains(status) ? status : ExitStatus.studyFailed),
                    ])
                }
                FileHandle.standardError.write(
                    Data("no verdict: the replay in the sandbox ended with status \(status)\n".utf8)
                )
                throw ExitCode(known.contains(status) ? status : ExitStatus.studyFailed)
            }
            if json {
                var object = object
                object["text"] = nil
                object["bundle"] = bundle
                JSONOutput.print(object)
            } else {
                print(ShownOutput.harmless(text))
            }
            if !holds { throw ExitCode(ExitStatus.replayDiverged) }
        }
    }
}

/// What a stranger's code prints, as it reaches the terminal: whole lines, no control characters, and
/// not without end.
struct ShownOutput {
    private var left: Int
    private let descriptor: Int32
    private var line: [UInt8] = []

    init(limit: Int, descriptor: Int32) {
        left = limit
        self.descriptor = descriptor
    }

    mutating func add(_ bytes: [UInt8]) {
        line += bytes
        guard let last = line.lastIndex(of: 10) ?? (line.count > 1 << 14 ? line.count - 1 : nil)
        else { return }
        show(Array(line[...last]))
        line.removeSubrange(...last)
    }

    mutating func finish() {
        if !line.isEmpty { show(line + [10]) }
        line = []
    }

    private mutating func show(_ bytes: [UInt8]) {
        guard left > 0 else { return }
        left -= bytes.count
        var text = Self.harmless(String(decoding: bytes, as: UTF8.self))
        if left <= 0 { text += "\n(more output is not shown)\n" }
        FileHandle(fileDescriptor: descriptor).write(Data(text.utf8))
    }

    /// Without the characters that a terminal obeys; lines and tabs stay.
    static func harmless(_ text: String) -> String {
        String(
            String.UnicodeScalarView(
                text.unicodeScalars.map {
                    ($0.value < 0x20 && $0.value != 10 && $0.value != 9)
                        || (0x7f...0x9f).contains($0.value) ? "\u{fffd}" : $0
                }))
    }
}
