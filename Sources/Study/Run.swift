// What a cell knows of the run it belongs to: identity, parameters, chance, and whether to go on.
// Writing things down is in Run+Recording.swift, reading files in Run+Inputs.swift.

public import Engine
internal import Events
internal import Glibc
internal import KernelSupport
internal import Synchronization

/// The run that `study run` opened: the way from a cell to the ledger.
public struct Run: Sendable {
    let channel: Channel
    let settings: RunSettings

    /// The run this process belongs to.
    /// - Precondition: the process is a kernel of `study run`.
    public static var current: Run {
        guard let run = opened.withLock({ $0 }) else {
            fatalError("no run is open: cells run through `study run FILE.md`")
        }
        return run
    }

    private static let opened = Mutex<Run?>(nil)
    private static let streams = Mutex<[String]>([])

    static func open(_ run: Run) { opened.withLock { $0 = run } }

    /// The run's name in the ledger.
    public var id: String { settings.runID }

    /// The study's path, as messages show it.
    public var study: String { settings.study }

    /// The root seed: every named stream descends from it.
    public var seed: UInt64 { settings.seed }

    /// A folder of this run's own, empty at first, for files that become artifacts.
    public var scratch: String { settings.scratch }

    /// The stream of this name: its draws depend on the root seed and the name alone, so a new cell
    /// never shifts another's.
    public func random(_ name: String) -> RandomStream {
        Run.streams.withLock { names in
            if !names.contains(name) { names.append(name) }
        }
        return RandomStream(seed: seed, name: name)
    }

    /// Tells the ledger which streams have been asked for since the last cell.
    func reportStreams() {
        let names = Run.streams.withLock { names in
            defer { names = [] }
            return names
        }
        for name in names { channel.send(.stream(name: name, draws: 0)) }
    }

    /// The cell that runs, counted from 0 in document order.
    public var cell: Int { Int(ks_current_cell()) }

    // MARK: stopping

    /// Whether somebody pressed Ctrl-C: a long loop may stop where it can do so cleanly.
    public var isCancelled: Bool { ks_is_cancelled() != 0 }

    /// Throws where somebody pressed Ctrl-C.
    /// - Throws: `CancellationError`.
    public func checkCancellation() throws {
        if isCancelled { throw CancellationError() }
    }

    /// Says how far a long loop is; shown in the terminal, never recorded.
    public func progress(_ label: String, _ done: Int, of total: Int) {
        channel.send(
            .progress(
                ProgressRecord(
                    cell: cell, label: label, done: Int64(done), total: Int64(total))))
    }

    // MARK: parameters

    /// The value of a parameter of the study.
    /// - Precondition: the front matter declares it with this type.
    public func parameter<Value: StudyParameter>(_ name: String, as type: Value.Type) -> Value {
        guard let setting = settings.parameters.first(where: { $0.name == name }) else {
            fatalError("the study has no parameter named \(name)")
        }
        guard let value = Value(parameterText: setting.text) else {
            fatalError("parameter \(name) is \"\(setting.text)\", which is no \(Value.self)")
        }
        return value
    }
}

/// A type that front matter and `-p` can hold.
public protocol StudyParameter: Sendable {
    init?(parameterText: String)
}

extension Int: StudyParameter {
    public init?(parameterText: String) { self.init(parameterText) }
}
extension Double: StudyParameter {
    public init?(parameterText: String) { self.init(parameterText) }
}
extension Bool: StudyParameter {
    public init?(parameterText: String) { self.init(parameterText) }
}
extension String: StudyParameter {
    public init?(parameterText: String) { self = parameterText }
}
