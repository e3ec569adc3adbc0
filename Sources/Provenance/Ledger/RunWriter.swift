// Writes one run while it happens. RunWriter+Rows.swift says which event becomes which row;
// RunWriter+Files.swift hashes and keeps files; Seal.swift ends it.

package import Events

internal import Dispatch
internal import Foundation
internal import GRDB
internal import GRDBSQLite
internal import Synchronization

/// The only writer of one run.
///
/// `append` gathers events in memory and writes them in one transaction when enough have come, at the
/// end of a cell, when ``flush()`` is called, and each quarter of a second. What is written survives
/// the death of this process at once, and a power cut as soon as it is synced: each half second, and
/// by ``seal(_:failure:)``. After a failed write the writer takes nothing more; ``seal(_:failure:)``
/// then seals what the ledger has.
package final class RunWriter: Sendable {
    package enum OutputStream: String, Sendable, Hashable {
        case standardOutput = "stdout"
        case standardError = "stderr"
    }

    package let id: String
    package let ledger: Ledger
    let number: Int64
    /// The study's folder and the repository, for the paths that are written down.
    let root: String?
    let keepsInputs: Bool
    let headline: [String]
    let state: Mutex<State>
    /// When the run began, by the wall clock, and what ``passedNow()`` said then.
    private let began: (wall: Int64, passed: Int64)
    private let clock: Mutex<Clock?>

    /// Rows gathered before a transaction: large enough that its cost vanishes (about 10 µs against
    /// 1 µs a row), small enough that 16 writers pass the lock around within milliseconds.
    private static let batch = 8192
    private static let tick = 0.25
    private static let syncInterval: Int64 = 500_000_000
    private static let heartbeatInterval: Int64 = 2_000_000_000

    /// Proof of `Sendable`: libdispatch's objects may be used from any thread; Swift's annotation lags.
    private struct Clock: @unchecked Sendable {
        let timer: any DispatchSourceTimer
    }

    struct State {
        var series: [SeriesKey: Int] = [:]
        var open: [OpenSeries] = []
        var points: [PendingPoint] = []
        var events: [PendingEvent] = []
        var ordinals: [String: Int64] = [:]
        var inputs: [InputRecord] = []
        var chain = DigestChain()
        var lastSync: Int64 = 0
        var lastHeartbeat: Int64 = 0
        var unsynced = true
        /// What the kernel said of its failure, for a seal to which the recorder adds no words.
        var kernelFailure: FailureRecord?
        /// What stopped the writer; every later call says it again.
        var broken: ProvenanceError?
        var sealed = false

        /// The next ordinal of a table's rows in this run.
        mutating func next(_ table: String) -> Int64 {
            defer { ordinals[table, default: 0] += 1 }
            return ordinals[table, default: 0]
        }
    }

    init(ledger: Ledger, id: String, number: Int64, opening: RunOpening) {
        self.ledger = ledger
        self.id = id
        self.number = number
        root = opening.code.root ?? parent(of: ledger.folder)
        // Without Git nothing else holds what a replay needs.
        headline = opening.headline
        began = (opening.began.nanoseconds, passedNow())
        keepsInputs = opening.code.commit == nil && opening.code.snapshot == nil
        state = Mutex(State())
        clock = Mutex(nil)
        let timer = DispatchSource.makeTimerSource(queue: .global(qos: .utility))
        timer.schedule(deadline: .now() + Self.tick, repeating: Self.tick)
        timer.setEventHandler { [weak self] in self?.beat() }
        timer.resume()
        let running = Clock(timer: timer)
        clock.withLock { $0 = running }
    }

    deinit { clock.withLock { $0?.timer.cancel() } }

    // MARK: - What the runner calls

    /// Takes an event down. `.input` is hashed (``input(_:path:written:kind:)`` gives its digest),
    /// `.artifact` is stored, `.progress` and `.flush` leave no row.
    /// - Throws: ``ProvenanceError`` where an earlier write failed, or this one.
    package func append(_ event: Event) throws {
        switch event {
        case .metric(let point):
            try state.withLock { state in
                try check(state)
                state.add(point)
                if state.points.count >= Self.batch { try write(&state) }
            }
        case .artifact(let record):
            try keep(record)
        case .input(let request):
            _ = try input(
                cell: request.cell, path: request.path, written: request.path, kind: request.kind)
        case .progress:
            break
        case .flush:
            try flush()
        case .failure(let record):
            try state.withLock { state in
                try check(state)
                state.kernelFailure = record
                state.events.append(.event(event))
                try write(&state)
            }
        case .cellBegan, .cellEnded:
            // The moments at which others look.
            try state.withLock { state in
                try check(state)
                state.events.append(.event(event))
                try write(&state)
            }
        default:
            try state.withLock { state in
                try check(state)
                state.events.append(.event(event))
                if state.events.count >= Self.batch { try write(&state) }
            }
        }
    }

    /// Takes down what a cell wrote, byte for byte. Consecutive pieces of one stream become one row.
    package func output(cell: Int, stream: OutputStream, bytes: [UInt8]) throws {
        guard !bytes.isEmpty else { return }
        try state.withLock { state in
            try check(state)
            if case .output(cell, stream, let earlier)? = state.events.last, earlier.count < 1 << 16
            {
                state.events[state.events.count - 1] = .output(cell, stream, earlier + bytes)
            } else {
                state.events.append(.output(cell, stream, bytes))
            }
            if state.events.count >= Self.batch { try write(&state) }
        }
    }

    /// Everything before this is in the ledger's file when it returns, and survives our death.
    package func flush() throws {
        try state.withLock { state in
            try check(state)
            try write(&state)
        }
    }

    /// Everything before this is on the disk when it returns, and survives a power cut.
    package func synchronize() throws {
        try flush()
        try ledger.synchronize()
        state.withLock { state in
            state.unsynced = false
            state.lastSync = monotonicNow()
        }
    }

    /// Adds a fact that is known only when the cells have ended, such as how much memory they took. Facts whose names
    /// begin with "run." are of this one run; environments are not told apart by them.
    package func note(_ name: String, _ value: String) throws {
        try state.withLock { state in
            try check(state)
            try ledger.write { db in
                try db.execute(
                    sql: """
                        INSERT INTO environment
                        SELECT ?1, coalesce(max(ordinal) + 1, 0), ?2, ?3 FROM environment WHERE run = ?1
                        """, arguments: [number, name, value])
            }
        }
    }

    // MARK: - Within

    func stopClock() { clock.withLock { $0?.timer.cancel() } }

    /// The time of this moment: the wall clock's at the beginning, and what has passed since. A clock that is set
    /// while the run goes on changes neither its length nor the order of its times.
    func time() -> Int64 { began.wall + passedNow() - began.passed }

    func check(_ state: borrowing State) throws {
        if let broken = state.broken { throw broken }
        if state.sealed {
            throw ProvenanceError(
                .writerClosed, "The run is sealed; nothing can be added.", where: "run \(id)",
                mend: "record before the last cell ends")
        }
    }

    /// Writes what is gathered, in one transaction. A failure breaks the writer: which rows of the
    /// batch are lost is known (all of them), and no later row may follow a gap.
    func write(_ state: inout State) throws {
        let now = monotonicNow()
        let beats = now - state.lastHeartbeat >= Self.heartbeatInterval
        guard beats || !state.points.isEmpty || !state.events.isEmpty else { return }
        do {
            try ensureInPlace()
            try ledger.write { db in
                if !state.points.isEmpty { try state.writePoints(db, run: number) }
                for event in state.events { try state.writeRow(event, db, run: number) }
                if beats {
                    try db.cachedStatement(sql: "UPDATE process SET heartbeat = ? WHERE run = ?")
                        .execute(arguments: [Timestamp.now.nanoseconds, number])
                }
            }
        } catch let error as ProvenanceError {
            state.broken = error
            throw error
        }
        state.points.removeAll(keepingCapacity: true)
        state.events.removeAll(keepingCapacity: true)
        state.unsynced = true
        if beats { state.lastHeartbeat = now }
    }

    /// SQLite would go on writing into a file that no longer has a name.
    private func ensureInPlace() throws {
        guard access(ledger.path, F_OK) == 0 else {
            throw ProvenanceError(
                .ledgerMoved, "The ledger was moved or deleted while the run went on.",
                where: ledger.path,
                mend: "put it back and run again; a cell must leave .study alone")
        }
    }

    private func beat() {
        let mustSync = state.withLock { state in
            if state.broken == nil, !state.sealed { try? write(&state) }
            return state.broken == nil && state.unsynced
                && monotonicNow() - state.lastSync >= Self.syncInterval
        }
        guard mustSync else { return }
        // Outside the lock: no cell waits for the disk.
        state.withLock { state in
            state.unsynced = false
            state.lastSync = monotonicNow()
        }
        do {
            try ledger.synchronize()
        } catch let error as ProvenanceError {
            state.withLock { $0.broken = $0.broken ?? error }
        } catch {}
    }
}

/// Nanoseconds since the machine was started, its sleep included. Corresponds to `clock_gettime(CLOCK_BOOTTIME)`.
func passedNow() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_BOOTTIME, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}

/// Nanoseconds of a clock that nobody can set back. Corresponds to `clock_gettime(CLOCK_MONOTONIC)`.
func monotonicNow() -> Int64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec)
}
