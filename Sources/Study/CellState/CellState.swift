// The values that a cell marked `//| cache: true` leaves to later cells: written down when it has run, and put back where
// `study replay --cell` runs a later cell without it. Generated code (Notebook/Compiling/CellVariables.swift) names the
// variables; they are globals of the cell's module, and their addresses are those of its symbols.

internal import Events
internal import Glibc
internal import KernelSupport
internal import Synchronization

/// One passage over the variables of a cell, out of them or into them. Generated code calls it; a study does not.
public struct CellState {
    /// What happened last in this process, for the kernel's loop.
    private static let fault = Mutex<(any Error & Sendable)?>(nil)
    private static let first = "study cell state 1"

    private enum Way {
        case out(ExactEncoder)
        case back(into: Set<Int>)
    }
    private let way: Way
    private var reader = ExactReader([])
    private var bytes: [UInt8] = []
    private var count: UInt64 = 0

    private init(_ way: Way) { self.way = way }

    /// Writes the variables of the running cell to a file of the run's scratch folder and tells the recorder.
    public static func keep(_ pass: (inout CellState) throws -> Void) {
        catching {
            let run = Run.current
            var state = CellState(.out(ExactEncoder(ownFolders: run.ownFolders)))
            try pass(&state)
            var file: [UInt8] = []
            file.append(text: first)
            file.append(word: state.count)
            file += state.bytes
            let path = run.statePath(of: run.cell)
            try write(file, to: path)
            run.channel.send(.state(cell: run.cell, path: path))
        }
    }

    /// Reads what ``keep(_:)`` wrote, which the recorder has laid out, into the variables.
    public static func bringBack(_ pass: (inout CellState) throws -> Void) {
        catching {
            let run = Run.current
            var state = CellState(.back(into: run.cellsWithValues))
            state.reader = ExactReader(try read(run.statePath(of: run.cell)))
            guard try state.reader.text() == first else { throw ExactFormatError() }
            state.count = try state.reader.word()
            try pass(&state)
            guard state.count == 0, state.reader.isAtEnd else { throw ExactFormatError() }
        }
    }

    /// One variable.
    /// - Parameters:
    ///   - cell: The cell that declares it, from 0.
    ///   - symbol: The name of its storage in the cells' library.
    ///   - value: Reads it.
    public mutating func variable<T: Codable>(
        _ name: String, of cell: Int, at symbol: String, _ value: () -> T
    ) throws {
        switch way {
        case .out(let encoder):
            bytes.append(text: name)
            bytes.append(text: String(reflecting: T.self))
            try encode(value(), named: name, encoder).write(to: &bytes)
            count += 1
        case .back(let filled):
            guard count > 0, try reader.text() == name,
                try reader.text() == String(reflecting: T.self)
            else { throw ExactFormatError() }
            count -= 1
            let value = try ExactDecoder.decode(T.self, from: try ExactValue(&reader))
            guard let place = dlsym(nil, symbol) else { throw ExactFormatError() }
            let variable = place.assumingMemoryBound(to: T.self)
            if filled.contains(cell) {
                variable.pointee = value
            } else {
                // The memory of a cell that has not run is zero, and no value yet.
                variable.initialize(to: value)
            }
        }
    }

    /// What a value is made of, once it is seen that it comes back the same.
    private func encode<T: Codable>(
        _ value: T, named name: String, _ encoder: ExactEncoder
    ) throws -> ExactValue {
        func refuse(_ why: String, _ mend: String) -> RunError {
            RunError(
                what:
                    "`\(name)` cannot be stored for a later `study replay --cell`: \(why)",
                mend: "\(mend), or take `cache: true` off this cell")
        }
        let encoded: ExactValue
        do {
            encoded = try encoder.encode(value)
        } catch let error as NotStorable {
            throw refuse("it holds \(error.description)", error.mend)
        } catch {
            throw refuse("its `encode(to:)` threw \(error)", "mend that")
        }
        let again: T
        let twice: T
        do {
            again = try ExactDecoder.decode(T.self, from: encoded)
            twice = try ExactDecoder.decode(T.self, from: encoded)
        } catch {
            throw refuse("its `init(from:)` threw \(error)", "mend that")
        }
        // A value with a NaN in it is not equal to itself; two that were read apart say so.
        var isSame = true
        if let again = again as? any Equatable, Self.areEqual(again, twice) {
            isSame = Self.areEqual(again, value)
        }
        guard isSame, try encoder.encode(again).bytes == encoded.bytes else {
            throw refuse(
                "what comes back of its type \(T.self) is another value",
                "let its `Codable` write all that it holds")
        }
        return encoded
    }

    private static func areEqual<T: Equatable>(_ a: T, _ b: Any) -> Bool { (b as? T) == a }

    // MARK: - Files and faults

    private static func catching(_ body: () throws -> Void) {
        do {
            try body()
        } catch let error as RunError {
            fault.withLock { $0 = error }
        } catch {
            fault.withLock {
                $0 = RunError(
                    what: "the cell's stored values could not be written or read: \(error)",
                    mend: "`study gc --states --delete` removes what is stored; then run again")
            }
        }
    }

    /// Why the last passage failed; nil where it did not.
    static func takeFault() -> String? {
        fault.withLock { fault in
            defer { fault = nil }
            return fault.map { String(describing: $0) }
        }
    }

    private static func write(_ bytes: [UInt8], to path: String) throws {
        let descriptor = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw trouble("write", path) }
        defer { Glibc.close(descriptor) }
        try bytes.withUnsafeBytes { buffer in
            var done = 0
            while done < buffer.count {
                let count = Glibc.write(descriptor, buffer.baseAddress! + done, buffer.count - done)
                if count < 0, errno == EINTR { continue }
                guard count > 0 else { throw trouble("write", path) }
                done += count
            }
        }
    }

    private static func read(_ path: String) throws -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { throw trouble("read", path) }
        defer { Glibc.close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw trouble("read", path) }
        let size = Int(status.st_size)
        return try [UInt8](unsafeUninitializedCapacity: size) { buffer, count in
            while count < size {
                let read = Glibc.read(descriptor, buffer.baseAddress! + count, size - count)
                if read < 0, errno == EINTR { continue }
                guard read > 0 else { throw trouble("read", path) }
                count += read
            }
        }
    }

    private static func trouble(_ what: String, _ path: String) -> RunError {
        RunError(
            what:
                "the cell's values cannot be \(what == "read" ? "read from" : "written to") \(path): "
                + String(cString: strerror(errno)),
            mend: what == "read" ? "run the replay again" : "free some space, then run again")
    }
}

extension Run {
    private static let filled = Mutex<Set<Int>>([])

    /// The cells whose variables have values in this process.
    var cellsWithValues: Set<Int> { Run.filled.withLock { $0 } }
    func fill(_ cell: Int) { Run.filled.withLock { _ = $0.insert(cell) } }

    /// Where a cell's state lies, going out or coming back.
    func statePath(of cell: Int) -> String { scratch + "/cell-\(cell).state" }

    /// The run's own folder and the study's, where a replay has others.
    var ownFolders: [String] {
        var folders = [scratch]
        if let here = getcwd(nil, 0) {
            let folder = String(cString: here)
            free(here)
            // "/" is in every path.
            if folder.count > 1 { folders.append(folder + "/") }
        }
        return folders
    }
}

/// The run that goes on: what is stored of it is nothing, what comes back is the run that reads it.
extension Run: Codable {
    public init(from decoder: any Decoder) throws { self = Run.current }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode("run")
    }
}

extension MetricName: Codable {
    public init(from decoder: any Decoder) throws {
        self.init(try decoder.singleValueContainer().decode(String.self))
    }
    public func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode(description)
    }
}
