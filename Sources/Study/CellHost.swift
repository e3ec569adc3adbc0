// The kernel's loop: loads each cell that the recorder names, runs it, and says how it ended.

internal import Engine
internal import Events
internal import Glibc
internal import KernelSupport

/// What `study-kernel` calls once it has loaded this library; `socket` is the recorder's end, `rules` what this process
/// may write to, or -1 where the system has no such rules. Returns the exit status of the process.
@_cdecl("study_kernel_main")
public func studyKernelMain(_ socket: Int32, _ rules: Int32) -> Int32 {
    // Before any thread is there: each is shut in as the one that starts it.
    if rules >= 0, ks_confine(rules) != 0 { return Int32(KS_CANNOT_START) }
    // Out of the way of a cell that closes the descriptors it did not open, one by one from 3.
    let moved = fcntl(socket, F_DUPFD_CLOEXEC, 200)
    guard moved >= 0 else { return Int32(KS_CANNOT_START) }
    close(socket)
    ks_start(moved)
    CellExecutor.shared.install()

    let channel = Channel(socket: moved)
    guard case .begin(let settings)? = channel.nextCommand() else {
        return Int32(KS_CANNOT_START)
    }
    // A tier that cannot be had is said at the first cell: that is where the study then ends.
    var problem: String?
    do {
        try checkArithmeticVariables()
        if settings.threads > 0 { setenv("STUDY_THREADS", String(settings.threads), 1) }
        try setArithmeticTier(ArithmeticTier(rawValue: settings.tier) ?? .portable)
    } catch {
        problem = String(describing: error)
    }
    Run.open(Run(channel: channel, settings: settings))
    var reported = report([:], to: channel)

    while let command = channel.nextCommand() {
        guard case .runCell(let cell, let library, let entry) = command else { break }
        if let problem {
            channel.send(.failure(FailureRecord(cell: cell, reason: .kernel, message: problem)))
            channel.flush()
            return 1
        }
        guard run(cell, library, entry, channel, &reported) else { return 1 }
    }
    channel.flush()
    fflush(nil)
    return 0
}

/// Sends the facts of this process's arithmetic and of its trainings' memory that are not those of `known`, and
/// returns all.
private func report(_ known: [String: String], to channel: Channel) -> [String: String] {
    var result = known
    var facts = arithmeticFacts
    if let peak = ActivationMemory.largest {
        let fact = ActivationFact(bytes: peak.bytes, isRecomputed: peak.isRecomputed)
        facts.append((fact.name, fact.value))
    }
    for (name, value) in facts where known[name] != value {
        channel.send(.fact(name: name, value: value))
        result[name] = value
    }
    return result
}

/// For `study doctor`: prints the facts of the arithmetic that a run on this machine would use, a line
/// each with a tab between name and value; each tier tests itself, and what it finds is one of them.
@_cdecl("study_describe_arithmetic")
public func describeArithmetic() {
    func line(_ name: String, _ value: String) {
        print(name + "\t" + value.replacing("\n", with: "; "))
    }
    func test(_ tier: ArithmeticTier) {
        do throws(ArithmeticError) {
            try setArithmeticTier(tier)
            try testArithmetic()
            line("test.\(tier)", "sound")
        } catch {
            line("test.\(tier)", error.what)
            line("mend.\(tier)", error.mend)
        }
    }
    test(.blas)
    test(.portable)
    for (name, value) in arithmeticFacts { line(name, value) }
    if let library = OpenBLAS.loaded { line("openblas.file", library.path) }
    fflush(nil)
}

private func run(
    _ cell: Int, _ library: String, _ entry: String, _ channel: Channel,
    _ reported: inout [String: String]
) -> Bool {
    // Global: a later cell sees this one's variables.
    guard let handle = dlopen(library, RTLD_NOW | RTLD_GLOBAL), let symbol = dlsym(handle, entry)
    else {
        let reason = String(cString: dlerror())
        channel.send(.failure(FailureRecord(cell: cell, reason: .kernel, message: reason)))
        channel.flush()
        return false
    }
    typealias Entry =
        @convention(c) (
            Int32, UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>?
        ) -> Int32
    var outcome = ks_outcome()
    channel.send(.cellBegan(cell: cell, time: Timestamp(nanoseconds: ks_now())))
    // Now, not in 50 ms: the cell's output must not be seen before the cell.
    channel.flush()
    ks_run_cell(unsafeBitCast(symbol, to: Entry.self), Int32(cell), &outcome)
    fflush(nil)
    Run.current.reportStreams()
    // A decomposition in the cell may have loaded OpenBLAS, or the cell chosen other threads.
    reported = report(reported, to: channel)
    guard let failure = failure(of: cell, outcome) else {
        if let fault = CellState.takeFault() {
            channel.send(.failure(FailureRecord(cell: cell, reason: .thrown, message: fault)))
            channel.flush()
            return false
        }
        Run.current.fill(cell)
        channel.send(.cellEnded(cell: cell, time: Timestamp(nanoseconds: ks_now())))
        channel.flush()
        return true
    }
    channel.send(.failure(failure))
    channel.flush()
    return false
}

private func failure(of cell: Int, _ outcome: ks_outcome) -> FailureRecord? {
    switch Int(outcome.kind) {
    case KS_RETURNED:
        return nil
    case KS_THREW:
        var message = "an error"
        if let pointer = outcome.error {
            let error = unsafeBitCast(pointer, to: (any Error).self)
            message = describe(error)
        }
        return FailureRecord(
            cell: cell, reason: .thrown, message: message, frames: frames(of: outcome),
            errorNumber: Int(outcome.error_number))
    case KS_CLOSED:
        return FailureRecord(
            cell: cell, reason: .exit,
            message:
                "the cell closed the connection to the recorder; close what you opened, by name",
            frames: frames(of: outcome),
            errorNumber: Int(outcome.error_number))
    case KS_FORKED:
        return FailureRecord(
            cell: cell, reason: .exit,
            message: "the cell called fork(); start other programs with posix_spawn or Subprocess",
            frames: frames(of: outcome),
            errorNumber: Int(outcome.error_number))
    default:
        return FailureRecord(
            cell: cell, reason: .exit,
            message: "the cell called exit(\(outcome.status))", code: Int(outcome.status),
            frames: frames(of: outcome),
            errorNumber: Int(outcome.error_number))
    }
}

/// An error's own words; its type's name before them where the words are only a case's.
private func describe(_ error: any Error) -> String {
    let text = String(describing: error)
    guard Mirror(reflecting: error).displayStyle == .enum,
        !(error is any CustomStringConvertible)
    else { return text }
    return "\(String(describing: type(of: error))).\(text)"
}

private func frames(of outcome: ks_outcome) -> [FrameAddress] {
    var result: [FrameAddress] = []
    withUnsafeBytes(of: outcome.frames) { bytes in
        for address in bytes.assumingMemoryBound(to: UInt.self).prefix(outcome.frame_count) {
            var object: UnsafePointer<CChar>?
            var base: UInt = 0
            guard ks_locate(address, &object, &base) != 0, let object else { continue }
            result.append(
                FrameAddress(object: String(cString: object), offset: UInt64(address - base)))
        }
    }
    return result
}
