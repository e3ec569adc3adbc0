// The other direction: what the recorder says, in the frames that Frame.swift describes.

private enum ReplyKind {
    static let begin: UInt8 = 1
    static let runCell: UInt8 = 2
    static let cancel: UInt8 = 3
    static let flushed: UInt8 = 4
    static let input: UInt8 = 5
    static let refused: UInt8 = 6
    static let finish: UInt8 = 7
}

extension Reply {
    /// The reply as one frame.
    public func encoded() -> [UInt8] {
        var writer = ByteWriter()
        switch self {
        case .begin(let settings):
            writer.frame(ReplyKind.begin) {
                $0.string(settings.runID)
                $0.string(settings.study)
                $0.integer(settings.seed)
                $0.int(settings.threads)
                $0.string(settings.tier)
                $0.string(settings.scratch)
                $0.list(settings.parameters) {
                    $0.string($1.name)
                    $0.string($1.type)
                    $0.string($1.text)
                }
                $0.list(settings.segments) {
                    $0.int($1.cell)
                    $0.string($1.arm)
                    $0.int($1.from)
                    $0.int($1.to)
                    $0.string($1.checkpoint)
                }
            }
        case .runCell(let cell, let library, let entry):
            writer.frame(ReplyKind.runCell) {
                $0.int(cell)
                $0.string(library)
                $0.string(entry)
            }
        case .cancel:
            writer.frame(ReplyKind.cancel) { _ in }
        case .flushed(let request):
            writer.frame(ReplyKind.flushed) { $0.integer(request) }
        case .input(let request, let path, let sha256):
            writer.frame(ReplyKind.input) {
                $0.integer(request)
                $0.string(path)
                $0.string(sha256)
            }
        case .refused(let request, let reason):
            writer.frame(ReplyKind.refused) {
                $0.integer(request)
                $0.string(reason)
            }
        case .finish:
            writer.frame(ReplyKind.finish) { _ in }
        }
        return writer.bytes
    }
}

/// Turns bytes back into replies, however the socket cut them.
public struct ReplyDecoder {
    private var frames = FrameBuffer()

    public init() {}

    /// Takes bytes as they arrive.
    public mutating func append(_ bytes: some Sequence<UInt8>) { frames.append(bytes) }

    /// The next reply; `nil` where more bytes must come first.
    /// - Throws: ``FrameError`` where the bytes are not a reply of ours.
    public mutating func next() throws(FrameError) -> Reply? {
        guard let (kind, fields) = try frames.next() else { return nil }
        var r = fields
        switch kind {
        case ReplyKind.begin:
            return .begin(
                RunSettings(
                    runID: try r.string(), study: try r.string(), seed: try r.integer(),
                    threads: try r.int(), tier: try r.string(), scratch: try r.string(),
                    parameters: try r.list { (r: inout ByteReader) throws(FrameError) in
                        ParameterSetting(
                            name: try r.string(), type: try r.string(), text: try r.string())
                    },
                    segments: try r.list { (r: inout ByteReader) throws(FrameError) in
                        TrainingSegment(
                            cell: try r.int(), arm: try r.string(), from: try r.int(),
                            to: try r.int(), checkpoint: try r.string())
                    }))
        case ReplyKind.runCell:
            return .runCell(try r.int(), library: try r.string(), entry: try r.string())
        case ReplyKind.cancel:
            return .cancel
        case ReplyKind.flushed:
            return .flushed(request: try r.integer())
        case ReplyKind.input:
            return .input(
                request: try r.integer(), path: try r.string(), sha256: try r.string())
        case ReplyKind.refused:
            return .refused(request: try r.integer(), reason: try r.string())
        case ReplyKind.finish:
            return .finish
        default:
            throw FrameError.unknownKind(kind)
        }
    }
}
