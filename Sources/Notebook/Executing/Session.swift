// One run of a compiled study: starts the kernel, has it run cell after cell, passes on what it says,
// and finds out how it ended, whatever the cells do. Writing down is the observer's business.

package import Events
internal import CProcess
internal import Foundation

/// What a session tells while it goes on. Called on the session's own thread.
package protocol SessionObserver: AnyObject {
    /// Something happened; an answer where the event asks for one (`.input`, `.flush`).
    func observe(_ event: Event) throws -> Reply?
    func output(cell: Int, isError: Bool, bytes: [UInt8]) throws
    /// Called at least ten times a second.
    func tick()
}

/// How a session ended.
package enum SessionEnd: Sendable {
    case finished
    /// Ctrl-C: the cell stopped when asked, or was ended.
    case interrupted(cell: Int)
    case failed(CellFailure)
}

/// Runs the cells of one program, once.
package final class Session {
    package struct Limits: Sendable {
        /// Resident bytes of the kernel; beyond this it is ended.
        package var memory: UInt64
        /// Bytes that are kept of what a cell prints on one stream; the rest is counted.
        package var output = 16 << 20
        package init(memory: UInt64? = nil) {
            let installed = UInt64(sysconf(Int32(_SC_PHYS_PAGES))) * UInt64(getpagesize())
            self.memory = min(memory ?? .max, Self.groupLimit ?? .max, installed / 20 * 19)
        }

        /// The control group's memory limit, where the machine is divided.
        private static var groupLimit: UInt64? {
            (try? String(contentsOfFile: "/sys/fs/cgroup/memory.max", encoding: .utf8)).flatMap {
                UInt64($0.trimmingCharacters(in: .whitespacesAndNewlines))
            }
        }
    }

    let study: StudyFile
    let program: Program
    let sourceName: String
    let compiler: Compiler
    let limits: Limits
    let kernel: KernelProcess
    let observer: any SessionObserver
    private let confinement: Confinement?

    /// The most memory that the cells' process had, in bytes; known where it was still alive at the end.
    package private(set) var peakMemory: UInt64?

    private var decoder = EventDecoder()
    private var unsent: [UInt8] = []
    /// Kept from one reading to the next: to make and zero it each time took as long as to write a metric down.
    private var received = [UInt8](repeating: 0, count: 1 << 18)
    var unit = 0
    private var deadline: Double?
    private var written: [Bool: Int] = [:]
    private var lastErrors: [UInt8] = []
    private var interrupts = 0
    private var failure: RawFailure?
    /// Why we ended the kernel ourselves; the report of its own that follows only adds the place.
    private var ending: (reason: CellFailure.Reason, message: String, since: Double)?
    private var unitEnded = false
    private var lastWatch = 0.0
    /// Seconds in which a cell that is stopped can say where it is; enough on a machine that is busy beyond its cores.
    private static let grace = 10.0

    /// Starts the kernel.
    /// - Parameters:
    ///   - folder: The working directory of the cells: the study's.
    ///   - confinement: Where cells may write.
    package init(
        _ study: StudyFile, _ program: Program, sourceName: String, compiler: Compiler,
        limits: Limits, folder: String, confinement: Confinement? = nil,
        observer: any SessionObserver
    ) throws {
        self.study = study
        self.program = program
        self.sourceName = CellModule.compilerName(sourceName)
        self.compiler = compiler
        self.limits = limits
        self.observer = observer
        self.confinement = confinement
        kernel = try KernelProcess(
            compiler.installation, folder: folder,
            environment: [
                // Our own report replaces Swift's, which would start another process.
                "SWIFT_BACKTRACE": "enable=no"
            ], confinement: confinement)
    }

    var cell: Int { program.units[min(unit, program.units.count - 1)].cell }

    /// Runs every cell, or as far as they get.
    package func run(_ settings: RunSettings) async -> SessionEnd {
        let raw = drive(settings)
        let interrupted = interrupts > 0
        peakMemory = kernel.peakMemory ?? peakMemory
        kernel.end()
        if interrupted { return .interrupted(cell: cell) }
        guard let raw else { return .finished }
        let failure = await CellFailure(
            raw, in: study, sourceName: sourceName, library: program.library,
            toolchain: compiler.toolchain)
        return .failed(confinement?.explain(failure, raw) ?? failure)
    }

    /// The loop; gives what went wrong.
    private func drive(_ settings: RunSettings) -> RawFailure? {
        let signals = Interrupts.install()
        defer { Interrupts.remove() }
        do {
            send(.begin(settings))
            while unit < program.units.count {
                begin()
                try runUnit(signals)
                if let failure { return failure }
                if interrupts > 0 { break }
                unit += 1
            }
            // Before it is told that this was all: it may be gone a moment later.
            peakMemory = kernel.peakMemory
            send(.finish)
            flushReplies()
            return nil
        } catch let failure as RawFailureError {
            return failure.raw
        } catch {
            return RawFailure(
                cell: cell, reason: .recorder, message: "\(error)", lastErrors: "")
        }
    }

    struct RawFailureError: Error {
        let raw: RawFailure
    }

    private func begin() {
        let next = program.units[unit]
        unitEnded = false
        let isFirst = unit == 0 || program.units[unit - 1].cell != next.cell
        if isFirst {
            written = [:]
            lastErrors = []
            deadline = study.cells[next.cell].options.timeout.map { now() + $0 }
        }
        send(.runCell(next.cell, library: program.library, entry: next.entry))
    }

    private func runUnit(_ signals: Int32) throws {
        while !unitEnded, failure == nil {
            observer.tick()
            var list = [
                pollfd(
                    fd: kernel.socket,
                    events: Int16(POLLIN) | (unsent.isEmpty ? 0 : Int16(POLLOUT)),
                    revents: 0),
                pollfd(fd: kernel.output, events: Int16(POLLIN), revents: 0),
                pollfd(fd: kernel.errors, events: Int16(POLLIN), revents: 0),
                pollfd(fd: signals, events: Int16(POLLIN), revents: 0),
                pollfd(fd: kernel.ended, events: Int16(POLLIN), revents: 0),
            ]
            poll(&list, nfds_t(list.count), 50)
            if list[3].revents != 0 { interrupt(signals) }
            if !unsent.isEmpty { flushReplies() }
            // Events first: a cell's beginning comes before its output.
            let heard = list[0].revents != 0 ? try receive() : false
            if unitEnded || failure != nil { break }
            // Standard error first: it is the older where both have something (KernelSupport/order.c).
            if list[2].revents != 0 { try take(kernel.errors, isError: true) }
            if list[1].revents != 0 { try take(kernel.output, isError: false) }
            if !heard || now() - lastWatch >= 0.05 { try watch() }
        }
    }

    // MARK: - Events

    /// Reads what the kernel says. Gives false once it says nothing more.
    private func receive() throws -> Bool {
        let count = read(kernel.socket, &received, received.count)
        guard count > 0 else { return count < 0 && (errno == EAGAIN || errno == EINTR) }
        decoder.append(received[..<count])
        do {
            while let event = try decoder.next() { try handle(event) }
        } catch let error as FrameError {
            throw SessionError.protocolBroken("\(error)")
        }
        return true
    }

    private func handle(_ event: Event) throws {
        switch event {
        case .cellBegan where isBringingBack:
            return
        case .cellEnded where isBringingBack:
            try drain()
            unitEnded = true
            return
        case .cellBegan(let cell, _):
            // Inline values before the first cell are a unit of their own; the cell begins with them.
            if unit > 0, program.units[unit - 1].cell == cell { return }
        case .cellEnded(let cell, _):
            try drain()
            // It ended as its time or memory did: the signal is under way, and its report says so.
            guard ending == nil else { return }
            unitEnded = true
            if unit + 1 < program.units.count, program.units[unit + 1].cell == cell { return }
            try tellDropped()
        case .failure(let record):
            try drain()
            try tellDropped()
            failure = raw(record)
            return
        default:
            break
        }
        if let reply = try observer.observe(event) { send(reply) }
    }

    /// The cell does not run: its values are put back.
    private var isBringingBack: Bool {
        program.units[min(unit, program.units.count - 1)].role == .bringBack
    }

    private func raw(_ record: FailureRecord) -> RawFailure {
        let errors = String(decoding: lastErrors, as: UTF8.self)
        let current = record.cell >= 0 ? record.cell : cell
        if let ending {
            return RawFailure(
                cell: current, reason: ending.reason, message: ending.message,
                frames: record.frames)
        }
        let reason: CellFailure.Reason =
            switch record.reason {
            case .thrown: .thrown
            case .exit: .exit
            case .trap: .trap
            case .kernel: .kernel
            }
        return RawFailure(
            cell: current, reason: reason, message: record.message, code: record.code,
            frames: record.frames, lastErrors: errors, errorNumber: record.errorNumber)
    }

    // MARK: - Output

    private func take(_ descriptor: Int32, isError: Bool) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = read(descriptor, &buffer, buffer.count)
        guard count > 0 else { return }
        let bytes = buffer[..<count]
        if isError { lastErrors = Array((lastErrors + bytes).suffix(4096)) }
        let before = written[isError, default: 0]
        written[isError] = before + count
        let room = limits.output - before
        guard room > 0 else { return }
        try observer.output(cell: cell, isError: isError, bytes: Array(bytes.prefix(room)))
    }

    /// Takes what is in the pipes now, and no more: a process that the cell left behind may go on
    /// writing for ever.
    private func drain() throws {
        for (descriptor, isError) in [(kernel.errors, true), (kernel.output, false)] {
            let waiting = study_waiting(descriptor)
            let target = written[isError, default: 0] + Int(waiting)
            while written[isError, default: 0] < target {
                let before = written[isError, default: 0]
                try take(descriptor, isError: isError)
                if written[isError, default: 0] == before { break }
            }
        }
    }

    /// Says at the end of a cell how much of its output was not kept.
    private func tellDropped() throws {
        for isError in [false, true] {
            let dropped = written[isError, default: 0] - limits.output
            guard dropped > 0 else { continue }
            let name = isError ? "standard error" : "standard output"
            let note =
                "\nstudy: \(dropped) more bytes on \(name) were not kept (\(limits.output) were)\n"
            try observer.output(cell: cell, isError: isError, bytes: Array(note.utf8))
            written[isError] = 0
        }
    }

    // MARK: - Watching

    /// Time, memory, and whether the kernel is still there.
    private func watch() throws {
        lastWatch = now()
        if let ending, now() - ending.since > Self.grace {
            // We may have been held up longer than the cell (by a slow disk, say): what it has said meanwhile counts.
            while failure == nil, study_waiting(kernel.socket) > 0, try receive() {}
            guard failure == nil else { return }
            // It was asked for its place and could not even say that.
            kernel.end()
            throw RawFailureError(
                raw: RawFailure(cell: cell, reason: ending.reason, message: ending.message))
        }
        if let status = kernel.poll() {
            while try receive() && failure == nil && !unitEnded {}
            try drain()
            if failure == nil && !unitEnded {
                try tellDropped()
                failure = ended(status)
            }
            return
        }
        guard ending == nil else { return }
        if let deadline, now() > deadline, let timeout = study.cells[cell].options.timeout {
            stop(.timeout, "the cell ran longer than its timeout of \(Self.duration(timeout))")
        } else if let memory = kernel.memory, memory > limits.memory {
            stop(
                .memory,
                "the cell ran out of memory: it holds \(memory >> 20) MiB, and \(limits.memory >> 20) MiB is the limit"
            )
        }
    }

    /// Ends the kernel by a signal that it answers with its place.
    private func stop(_ reason: CellFailure.Reason, _ message: String) {
        ending = (reason, message, now())
        kill(kernel.id, SIGABRT)
    }

    /// What to say of a kernel that ended without a word.
    private func ended(_ status: Int32) -> RawFailure {
        let errors = String(decoding: lastErrors, as: UTF8.self)
        let signal = status & 0x7f
        if let ending {
            return RawFailure(cell: cell, reason: ending.reason, message: ending.message)
        }
        if signal == SIGKILL {
            return RawFailure(
                cell: cell, reason: .memory,
                message: "the cell was killed (SIGKILL); the usual reason is that memory ran out",
                code: Int(signal))
        }
        if signal != 0 {
            return RawFailure(
                cell: cell, reason: .signal, message: "", code: Int(signal), lastErrors: errors)
        }
        let code = Int(status >> 8) & 0xff
        switch code {
        case 86:
            return RawFailure(
                cell: cell, reason: .exit,
                message: "the cell closed the connection to the recorder", code: code)
        case 87:
            return RawFailure(
                cell: cell, reason: .kernel, message: "the kernel could not start: \(errors)",
                code: code)
        default:
            return RawFailure(
                cell: cell, reason: .exit,
                message: "the cell ended the process with status \(code)",
                code: code)
        }
    }

    private func interrupt(_ signals: Int32) {
        var buffer = [UInt8](repeating: 0, count: 16)
        let count = read(signals, &buffer, buffer.count)
        guard count > 0 else { return }
        interrupts += count
        let demanded = buffer[..<count].contains { $0 != UInt8(SIGINT) }
        if interrupts >= 2 || demanded {
            kernel.end()
            failure = RawFailure(cell: cell, reason: .signal, message: "interrupted")
        } else {
            send(.cancel)
        }
    }

    /// Ends the run at once, as a second Ctrl-C does; for an observer that has seen enough.
    package func stop() {
        interrupts += 2
        kernel.end()
        failure = RawFailure(cell: cell, reason: .signal, message: "stopped")
    }

    /// Whether Ctrl-C was pressed; for the terminal.
    package var isInterrupted: Bool { interrupts > 0 }

    // MARK: - Replies

    private func send(_ reply: Reply) {
        unsent += reply.encoded()
        flushReplies()
    }

    private func flushReplies() {
        while !unsent.isEmpty {
            // A kernel that has gone must not take us along by SIGPIPE.
            let count = Glibc.send(
                kernel.socket, unsent, unsent.count, Int32(MSG_NOSIGNAL))
            if count < 0, errno == EINTR { continue }
            guard count > 0 else {
                if errno != EAGAIN { unsent = [] }
                return
            }
            unsent.removeFirst(count)
        }
    }

    private func now() -> Double {
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
    }

    static func duration(_ seconds: Double) -> String {
        if seconds < 1 { return "\(Int((seconds * 1000).rounded())) ms" }
        if seconds < 120 { return "\(Int(seconds.rounded())) s" }
        return seconds < 7200
            ? "\(Int((seconds / 60).rounded())) min" : "\(Int((seconds / 3600).rounded())) h"
    }
}
