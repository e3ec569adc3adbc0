// How events and replies look on the socket: a length (u32), a kind (u8), then the fields. Metrics are
// the bulk of it, so their names are sent once and numbered after that.

/// The longest frame either side accepts.
private let longestFrame = 256 << 20

/// Splits a byte stream into frames.
struct FrameBuffer {
    private var bytes: [UInt8] = []
    private var start = 0

    mutating func append(_ more: some Sequence<UInt8>) {
        if start == bytes.count {
            bytes.removeAll(keepingCapacity: true)
            start = 0
        } else if start > 1 << 20 {
            bytes.removeFirst(start)
            start = 0
        }
        bytes.append(contentsOf: more)
    }

    /// The next whole frame: its kind and its fields; `nil` where more bytes must come first.
    mutating func next() throws(FrameError) -> (kind: UInt8, fields: ByteReader)? {
        let available = bytes.count - start
        guard available >= 4 else { return nil }
        var length = 0
        for i in 0..<4 { length |= Int(bytes[start + i]) << (8 * i) }
        guard length <= longestFrame else { throw FrameError.oversized(length) }
        guard length >= 1 else { throw FrameError.truncated }
        guard available >= 4 + length else { return nil }
        let kind = bytes[start + 4]
        let fields = ByteReader(bytes[start + 5..<start + 4 + length])
        start += 4 + length
        return (kind, fields)
    }
}

extension ByteWriter {
    /// Appends one frame: reserves its length, writes the fields, fills the length in.
    mutating func frame(_ kind: UInt8, _ fields: (inout ByteWriter) -> Void) {
        let place = bytes.count
        integer(UInt32(0))
        byte(kind)
        fields(&self)
        let length = UInt32(bytes.count - place - 4)
        for i in 0..<4 { bytes[place + i] = UInt8(truncatingIfNeeded: length >> (8 * i)) }
    }
}

private enum EventKind {
    static let name: UInt8 = 0
    static let metric: UInt8 = 1
    static let cellBegan: UInt8 = 2
    static let cellEnded: UInt8 = 3
    static let inlineValue: UInt8 = 4
    static let claim: UInt8 = 5
    static let artifact: UInt8 = 6
    static let figure: UInt8 = 7
    static let input: UInt8 = 8
    static let items: UInt8 = 9
    static let stream: UInt8 = 10
    static let digest: UInt8 = 11
    static let progress: UInt8 = 12
    static let failure: UInt8 = 13
    static let flush: UInt8 = 14
    static let fact: UInt8 = 15
    static let state: UInt8 = 16
}

/// Turns events into bytes; keeps the numbers it gave to names.
public struct EventEncoder {
    private var numbers: [String: UInt32] = [:]
    private var writer = ByteWriter()

    public init() {}

    /// How many bytes wait to be sent.
    public var count: Int { writer.bytes.count }

    /// Hands over the bytes that wait, and forgets them.
    public mutating func takeBytes() -> [UInt8] {
        defer {
            writer.bytes.removeAll(keepingCapacity: false)
            writer.bytes.reserveCapacity(1 << 16)
        }
        return writer.bytes
    }

    private mutating func number(of name: String) -> UInt32 {
        if let known = numbers[name] { return known }
        let number = UInt32(numbers.count)
        numbers[name] = number
        writer.frame(EventKind.name) { $0.string(name) }
        return number
    }

    /// Appends an event to the bytes that wait.
    public mutating func append(_ event: Event) {
        switch event {
        case .metric(let point):
            let name = number(of: point.name)
            let arm = number(of: point.arm)
            let judge = point.proportion.map { number(of: $0.judge) }
            writer.frame(EventKind.metric) {
                $0.integer(Int32(point.cell))
                $0.integer(name)
                $0.integer(arm)
                $0.integer(point.step)
                $0.double(point.value)
                $0.integer(point.time.nanoseconds)
                $0.flag(point.proportion != nil)
                if let proportion = point.proportion, let judge {
                    $0.int(proportion.count)
                    $0.int(proportion.total)
                    $0.integer(judge)
                }
            }
        case .cellBegan(let cell, let time):
            writer.frame(EventKind.cellBegan) {
                $0.int(cell)
                $0.integer(time.nanoseconds)
            }
        case .cellEnded(let cell, let time):
            writer.frame(EventKind.cellEnded) {
                $0.int(cell)
                $0.integer(time.nanoseconds)
            }
        case .inlineValue(let index, let text):
            writer.frame(EventKind.inlineValue) {
                $0.int(index)
                $0.string(text)
            }
        case .claim(let claim):
            writer.frame(EventKind.claim) {
                $0.int(claim.cell)
                $0.string(claim.text)
                $0.flag(claim.holds)
                $0.string(claim.evidence)
            }
        case .artifact(let artifact):
            writer.frame(EventKind.artifact) {
                $0.int(artifact.cell)
                $0.string(artifact.name)
                $0.string(artifact.path)
                $0.string(artifact.mediaType)
                $0.string(artifact.kind)
            }
        case .figure(let figure):
            writer.frame(EventKind.figure) {
                $0.int(figure.cell)
                $0.string(figure.title)
                $0.string(figure.alternativeText)
                $0.string(figure.script)
                $0.string(figure.data)
            }
        case .input(let input):
            writer.frame(EventKind.input) {
                $0.integer(input.request)
                $0.int(input.cell)
                $0.string(input.path)
                $0.string(input.kind)
            }
        case .items(let items):
            writer.frame(EventKind.items) { $0.list(items) { $0.item($1) } }
        case .stream(let name, let draws):
            writer.frame(EventKind.stream) {
                $0.string(name)
                $0.integer(draws)
            }
        case .fact(let name, let value):
            writer.frame(EventKind.fact) {
                $0.string(name)
                $0.string(value)
            }
        case .state(let cell, let path):
            writer.frame(EventKind.state) {
                $0.int(cell)
                $0.string(path)
            }
        case .digest(let digest):
            writer.frame(EventKind.digest) {
                $0.int(digest.cell)
                $0.string(digest.series)
                $0.integer(digest.step)
                $0.string(digest.digest)
            }
        case .progress(let progress):
            writer.frame(EventKind.progress) {
                $0.int(progress.cell)
                $0.string(progress.label)
                $0.integer(progress.done)
                $0.integer(progress.total)
            }
        case .failure(let failure):
            writer.frame(EventKind.failure) { $0.failure(failure) }
        case .flush(let request):
            writer.frame(EventKind.flush) { $0.integer(request) }
        }
    }
}

/// Turns bytes back into events, however the socket cut them.
public struct EventDecoder {
    private var frames = FrameBuffer()
    private var names: [String] = []

    public init() {}

    /// Takes bytes as they arrive.
    public mutating func append(_ bytes: some Sequence<UInt8>) { frames.append(bytes) }

    /// The next event; `nil` where more bytes must come first.
    /// - Throws: ``FrameError`` where the bytes are not an event of ours.
    public mutating func next() throws(FrameError) -> Event? {
        while let (kind, fields) = try frames.next() {
            var reader = fields
            if kind == EventKind.name {
                names.append(try reader.string())
                continue
            }
            return try event(kind, &reader)
        }
        return nil
    }

    private func name(_ number: UInt32) throws(FrameError) -> String {
        guard Int(number) < names.count else { throw FrameError.malformed("name \(number)") }
        return names[Int(number)]
    }

    private func event(_ kind: UInt8, _ r: inout ByteReader) throws(FrameError) -> Event {
        switch kind {
        case EventKind.metric:
            let cell = Int(try r.integer(Int32.self))
            let name = try self.name(r.integer())
            let arm = try self.name(r.integer())
            let step: Int64 = try r.integer()
            let value = try r.double()
            let time = Timestamp(nanoseconds: try r.integer())
            var proportion: ProportionRecord?
            if try r.flag() {
                let count = try r.int()
                let total = try r.int()
                proportion = ProportionRecord(
                    count: count, total: total, judge: try self.name(r.integer()))
            }
            return .metric(
                MetricPoint(
                    cell: cell, name: name, arm: arm, step: step, value: value,
                    proportion: proportion, time: time))
        case EventKind.cellBegan:
            return .cellBegan(cell: try r.int(), time: Timestamp(nanoseconds: try r.integer()))
        case EventKind.cellEnded:
            return .cellEnded(cell: try r.int(), time: Timestamp(nanoseconds: try r.integer()))
        case EventKind.inlineValue:
            return .inlineValue(index: try r.int(), text: try r.string())
        case EventKind.claim:
            return .claim(
                ClaimRecord(
                    cell: try r.int(), text: try r.string(), holds: try r.flag(),
                    evidence: try r.string()))
        case EventKind.artifact:
            return .artifact(
                ArtifactRecord(
                    cell: try r.int(), name: try r.string(), path: try r.string(),
                    mediaType: try r.string(), kind: try r.string()))
        case EventKind.figure:
            return .figure(
                FigureRecord(
                    cell: try r.int(), title: try r.string(), alternativeText: try r.string(),
                    script: try r.string(), data: try r.string()))
        case EventKind.input:
            return .input(
                InputRequest(
                    request: try r.integer(), cell: try r.int(), path: try r.string(),
                    kind: try r.string()))
        case EventKind.items:
            return .items(
                try r.list { (r: inout ByteReader) throws(FrameError) in try r.item() })
        case EventKind.stream:
            return .stream(name: try r.string(), draws: try r.integer())
        case EventKind.fact:
            return .fact(name: try r.string(), value: try r.string())
        case EventKind.state:
            return .state(cell: try r.int(), path: try r.string())
        case EventKind.digest:
            return .digest(
                DigestRecord(
                    cell: try r.int(), series: try r.string(), step: try r.integer(),
                    digest: try r.string()))
        case EventKind.progress:
            return .progress(
                ProgressRecord(
                    cell: try r.int(), label: try r.string(), done: try r.integer(),
                    total: try r.integer()))
        case EventKind.failure:
            return .failure(try r.failure())
        case EventKind.flush:
            return .flush(request: try r.integer())
        default:
            throw FrameError.unknownKind(kind)
        }
    }
}

extension ByteWriter {
    fileprivate mutating func item(_ item: ItemRecord) {
        int(item.cell)
        string(item.evaluation)
        string(item.arm)
        int(item.index)
        string(item.prompt)
        string(item.answer)
        string(item.judge)
        string(item.label)
        flag(item.restricted)
    }

    fileprivate mutating func failure(_ failure: FailureRecord) {
        int(failure.cell)
        string(failure.reason.rawValue)
        string(failure.message)
        int(failure.code)
        list(failure.frames) {
            $0.string($1.object)
            $0.integer($1.offset)
        }
        int(failure.errorNumber)
    }
}

extension ByteReader {
    fileprivate mutating func item() throws(FrameError) -> ItemRecord {
        ItemRecord(
            cell: try int(), evaluation: try string(), arm: try string(), index: try int(),
            prompt: try string(), answer: try string(), judge: try string(), label: try string(),
            restricted: try flag())
    }

    fileprivate mutating func failure() throws(FrameError) -> FailureRecord {
        let cell = try int()
        let word = try string()
        guard let reason = FailureRecord.Reason(rawValue: word) else {
            throw FrameError.malformed("reason \(word)")
        }
        let message = try string()
        let code = try int()
        let frames = try list { (r: inout ByteReader) throws(FrameError) in
            FrameAddress(object: try r.string(), offset: try r.integer())
        }
        return FailureRecord(
            cell: cell, reason: reason, message: message, code: code, frames: frames,
            errorNumber: try int())
    }
}
