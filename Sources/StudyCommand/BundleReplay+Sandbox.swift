// Two sandboxes, one after the other. In the first a stranger's cells run and leave a ledger. In the second
// none of them runs: there the ledger is compared with the bundle's record. So a cell can forge its own
// numbers, and neither the verdict nor what it is compared with; what it left can harm nobody by its form.

internal import ArgumentParser
internal import Export
internal import Foundation
internal import Notebook
internal import Provenance

extension BundleReplay {
    /// Where things are seen inside.
    private enum Inside {
        static let bag = "/replay/bundle"
        static let inputs = "/replay/inputs"
        static let work = "/replay/work"
        static let judge = "/replay/judge"
    }

    func replayInSandbox(
        _ contents: BundleContents, _ found: [String: String], _ scratch: String
    ) async throws {
        let toolchain = try await Toolchain.find(cache: try BuildCache(scratch + "/facts"))
        let inspection = BundleInspection(contents.verification)
        let limits = limits(inspection)
        let (work, judge) = (scratch + "/work", scratch + "/judge")
        for folder in [work, judge] {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: false)
        }
        var readable = Set(try Installation().files + [toolchain.root]).sorted().map {
            Sandbox.Mount($0)
        }
        readable.append(Sandbox.Mount(contents.bag, at: Inside.bag))
        let inputs = found.sorted { $0.key < $1.key }.map {
            Sandbox.Mount(realPath($0.value), at: Inside.inputs + "/" + $0.key)
        }
        var cells = Sandbox(
            writable: Sandbox.Mount(work, at: Inside.work), readable: readable + inputs,
            limits: limits)
        cells.programs = [toolchain.root + "/bin"]
        cells.locale = inspection?.locale ?? cells.locale
        view.note("sandbox: no network, nothing of yours to be seen; " + cells.bounds)
        var words = [Installation.ownPath, "replay", Inside.bag, "--no-sandbox", "--json"]
        if !found.isEmpty { words += ["--inputs", Inside.inputs] }
        if let threads { words += ["--threads", "\(threads)"] }
        // Whatever the cells print has a bar before it: no line of theirs can pass for one of ours.
        try expectSuccess(
            of: try run(
                words + ["--inside", "run", "--scratch", Inside.work], in: cells, mark: "│ "))

        var court = Sandbox(
            writable: Sandbox.Mount(judge, at: Inside.judge),
            readable: readable + [Sandbox.Mount(work, at: Inside.work)], limits: limits)
        court.locale = cells.locale
        try tell(
            try run(
                words + ["--inside", "judge", "--scratch", Inside.judge], in: court, mark: ""))
    }

    /// How a sandboxed program ended, and its last line.
    private struct Answer {
        var end: SandboxEnd
        var object: [String: Any]
    }

    private func run(_ words: [String], in sandbox: Sandbox, mark: String) throws -> Answer {
        var answer: [UInt8] = []
        var shown = ShownOutput(
            limit: sandbox.limits.output, descriptor: json ? 2 : 1, mark: mark)
        let end = try sandbox.run(words) { isError, bytes in
            if isError {
                shown.add(bytes)
            } else if answer.count < 64 << 20 {
                answer += bytes
            }
        }
        shown.finish()
        let line = answer.split(separator: 10).last.map { Data($0) } ?? Data()
        let object = (try? JSONSerialization.jsonObject(with: line)) as? [String: Any]
        return Answer(end: end, object: object ?? [:])
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

    /// - Throws: Why there is no replay to judge.
    private func expectSuccess(of answer: Answer) throws {
        switch answer.end {
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
        case .exited(ExitStatus.success): return
        case .exited(let status):
            // Why, it has said itself.
            let shown =
                status == ExitStatus.wrongUsage ? ExitStatus.wrongUsage : ExitStatus.studyFailed
            if json {
                JSONOutput.print([
                    "error": ShownOutput.harmless(
                        answer.object["error"] as? String ?? "the replay ended without a verdict"),
                    "status": Int(shown),
                ])
            }
            FileHandle.standardError.write(
                Data("no verdict: the replay in the sandbox ended with status \(status)\n".utf8))
            throw ExitCode(shown)
        }
    }

    /// The last word: the verdict of the second sandbox, or why there is none.
    private func tell(_ answer: Answer) throws {
        var answer = answer
        if case .exited(ExitStatus.replayDiverged) = answer.end {
            answer.end = .exited(ExitStatus.success)
        }
        let text = answer.object["text"] as? String
        // A judge that gave no verdict has another status; one that was ended in mid-word has none.
        if case .exited(ExitStatus.success) = answer.end, text == nil {
            answer.end = .exited(ExitStatus.internalError)
        }
        try expectSuccess(of: answer)
        let holds = answer.object["holds"] as? Bool ?? false
        if json {
            answer.object["text"] = nil
            answer.object["bundle"] = bundle
            answer.object["sandbox"] = true
            JSONOutput.print(answer.object)
        } else {
            print(ShownOutput.harmless(text ?? ""))
        }
        if !holds { throw ExitCode(ExitStatus.replayDiverged) }
    }

    // MARK: Inside

    /// What this program does in the sandboxes that it made.
    func runInside(_ part: InsideSandbox) async throws {
        do {
            let scratch = options.scratch ?? Inside.work
            let contents = BundleContents(
                bag: bundle, verification: try BundleVerifier.reading(bundle))
            var replay = try BundledRun(
                contents, root: scratch + "/replay", view: view, threads: threads,
                memory: options.maxMemory.flatMap(Size.bytes))
            // The sandbox's one writable folder is the cells' to do with as they like; it is thrown away, and what they leave in it
            // is judged in another sandbox.
            replay.replayer.writable = [scratch]
            switch part {
            case .run:
                let found = try contents.findMissing(in: options.inputs, bundle: bundle)
                let id = try await replay.replayer.rerun(
                    replay.original, in: try replay.layOut(found))
                JSONOutput.print(["replay": id])
            case .judge:
                let verdict = try replay.judge(
                    leftIn: Inside.work + "/replay", copying: scratch + "/taken")
                var object = verdict.json
                object["text"] = verdict.text
                JSONOutput.print(object)
                if !verdict.holds { throw ExitCode(ExitStatus.replayDiverged) }
            }
        } catch let status as ExitCode {
            throw status
        } catch {
            throw Failures.report(error, json: json)
        }
    }
}

/// The two parts of a replay in sandboxes.
enum InsideSandbox: String, ExpressibleByArgument {
    case run, judge
}

/// A bundle's run in a ledger of its own, with the means to run it again.
struct BundledRun {
    let contents: BundleContents
    let original: RunRecord
    var replayer: Replayer

    /// - Parameter root: A folder in which nobody else has written.
    init(
        _ contents: BundleContents, root: String, view: RunView, threads: Int?, memory: UInt64?
    ) throws {
        self.contents = contents
        let ledger = try Ledger.open(under: root)
        let report = try ledger.importRuns(from: contents.rows)
        guard let id = report.imported.first, report.imported.count == 1 else {
            let reason = report.refused.first?.value ?? "it holds \(report.imported.count) runs"
            throw ExportError(
                .bundle, "The bundle's rows are not those of one run: \(reason).",
                where: contents.rows, mend: "get the bundle again from its author")
        }
        original = try ledger.run(id, points: true)
        contents.lend(original.artifacts, to: ledger.objects)
        replayer = Replayer(
            ledger: ledger, root: root, view: view, threads: threads, memory: memory)
    }

    func layOut(_ found: [String: String]) throws -> Restoration {
        try contents.lay(out: original, into: replayer.root, found: found)
    }

    /// Compares what a sandbox left with the bundle's record, which was read before and is not looked for
    /// there.
    /// - Throws: ``ExportError`` where there is not one sealed replay, `ProvenanceError` where the ledger is
    ///   none.
    func judge(leftIn left: String, copying folder: String) throws -> ReplayVerdict {
        try FileManager.default.createDirectory(
            atPath: folder, withIntermediateDirectories: false)
        for name in ["ledger.sqlite", "ledger.sqlite-wal"] {
            try Self.copy("\(left)/.study/\(name)", to: "\(folder)/\(name)")
        }
        try FileManager.default.createSymbolicLink(
            atPath: folder + "/objects", withDestinationPath: left + "/.study/objects")
        let report = try replayer.ledger.importRuns(from: folder + "/ledger.sqlite")
        let replays = try report.imported.filter {
            try replayer.ledger.run($0).replayOf == original.id
        }
        guard let replay = replays.first, report.imported.count == 1 else {
            let reason =
                report.refused.filter { $0.key != original.id }.first?.value
                ?? "it has \(replays.count) of \(report.imported.count) runs"
            throw ExportError(
                .content, "The sandbox left no record of one replay: \(reason).", where: left,
                mend: "replay again; where it stays so, the bundle's code meddles with the record")
        }
        return try replayer.verdict(on: replay, of: original)
    }

    /// Copies a file that somebody hostile may have made: no link is followed, no pipe waited for.
    private static func copy(_ path: String, to target: String) throws {
        let from = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
        if from < 0, errno == ENOENT { return }
        var status = stat()
        guard from >= 0, fstat(from, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            if from >= 0 { close(from) }
            throw ExportError(
                .content, "What the sandbox left is not a ledger's file.", where: path,
                mend: "the bundle's code meddles with the record; do not trust it")
        }
        let source = FileHandle(fileDescriptor: from, closeOnDealloc: true)
        guard FileManager.default.createFile(atPath: target, contents: nil),
            let copy = FileHandle(forWritingAtPath: target)
        else {
            throw ExportError(
                .archive, "The record cannot be copied: \(String(cString: strerror(errno))).",
                where: target, mend: "make room, or name another folder with --scratch")
        }
        while let bytes = try source.read(upToCount: 1 << 20), !bytes.isEmpty {
            try copy.write(contentsOf: bytes)
        }
        try copy.close()
    }
}

/// What a stranger's code prints, as it reaches the terminal: whole lines, no control characters, and
/// not without end.
struct ShownOutput {
    private var left: Int
    private let descriptor: Int32
    private let mark: String
    private var line: [UInt8] = []

    /// - Parameter mark: Stands before every line.
    init(limit: Int, descriptor: Int32, mark: String) {
        left = limit
        self.descriptor = descriptor
        self.mark = mark
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
        let lines = Self.harmless(String(decoding: bytes, as: UTF8.self))
            .split(separator: "\n", omittingEmptySubsequences: false)
        // A line too long to wait for its end ends here.
        var text = lines.dropLast().map { mark + $0 + "\n" }.joined()
        if let rest = lines.last, !rest.isEmpty { text += mark + rest + "\n" }
        if left <= 0 { text += "(more output is not shown)\n" }
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
