import Events
import Testing

@Suite struct `Frames` {
    static let time = Timestamp(nanoseconds: 1_700_000_000_123_456_789)
    static let events: [Event] = [
        .cellBegan(cell: 0, time: time),
        .metric(MetricPoint(cell: 0, name: "loss", arm: "a", step: 3, value: -0.0, time: time)),
        .metric(
            MetricPoint(
                cell: 0, name: "refusal", arm: "", value: 0.5,
                proportion: ProportionRecord(count: 1, total: 2, judge: "substrings"), time: time)),
        .inlineValue(index: 7, text: "0.25 ± é\u{0}"),
        .claim(ClaimRecord(cell: 1, text: "it holds", holds: true, evidence: "1 of 2")),
        .artifact(ArtifactRecord(cell: 1, name: "a/b", path: "/x y", mediaType: "t", kind: "w")),
        .figure(
            FigureRecord(cell: 1, title: "t", alternativeText: "a", script: "plot", data: "[]")),
        .input(InputRequest(request: 9, cell: 1, path: "p", kind: "dataset")),
        .items([
            ItemRecord(
                cell: 1, evaluation: "e", arm: "", index: 2, prompt: "p", answer: "a", judge: "j",
                label: "l", restricted: true)
        ]),
        .stream(name: "init", draws: .max),
        .fact(name: "openblas.core", value: "SkylakeX"), .state(cell: 1, path: "/x y/cell-1.state"),
        .digest(DigestRecord(cell: 1, series: "adapter", step: 4, digest: "00ff")),
        .progress(ProgressRecord(cell: 1, label: "train", done: 3, total: 10)),
        .failure(
            FailureRecord(
                cell: 2, reason: .trap, message: "m", code: 4,
                frames: [FrameAddress(object: "/a.so", offset: 4096)], errorNumber: 13)),
        .flush(request: 11),
        .cellEnded(cell: 2, time: time),
    ]

    @Test(arguments: [1, 2, 3, 7, 1 << 20])
    func `come back as they went, however the stream is cut`(piece: Int) throws {
        var encoder = EventEncoder()
        for event in Self.events { encoder.append(event) }
        let bytes = encoder.takeBytes()
        var decoder = EventDecoder()
        var received: [Event] = []
        for start in stride(from: 0, to: bytes.count, by: piece) {
            decoder.append(bytes[start..<min(start + piece, bytes.count)])
            while let event = try decoder.next() { received.append(event) }
        }
        #expect(received == Self.events)
    }

    @Test func `carry every reply`() throws {
        let replies: [Reply] = [
            .begin(
                RunSettings(
                    runID: "r", study: "s.md", seed: 7, threads: 2, tier: "portable", scratch: "/s",
                    parameters: [ParameterSetting(name: "rank", type: "Int", text: "8")])),
            .runCell(3, library: "/c 3.so", entry: "cell_3_main"), .cancel, .flushed(request: 1),
            .input(request: 2, path: "/d", sha256: "00"), .refused(request: 3, reason: "why"),
            .finish,
        ]
        var decoder = ReplyDecoder()
        for reply in replies { decoder.append(reply.encoded()) }
        for reply in replies { #expect(try decoder.next() == reply) }
        #expect(try decoder.next() == nil)
    }

    @Test func `refuse bytes that are no frame`() throws {
        var oversized = EventDecoder()
        oversized.append([0xff, 0xff, 0xff, 0xff, 1])
        #expect(throws: FrameError.oversized(0xffff_ffff)) { try oversized.next() }
        var unknown = EventDecoder()
        unknown.append([1, 0, 0, 0, 99])
        #expect(throws: FrameError.unknownKind(99)) { try unknown.next() }
        var cut = EventDecoder()
        cut.append([3, 0, 0, 0, 2, 0, 0])
        #expect(throws: FrameError.truncated) { try cut.next() }
        var list = EventDecoder()
        list.append([5, 0, 0, 0, 9, 0xff, 0xff, 0xff, 0x7f])
        #expect(throws: FrameError.truncated) { try list.next() }
    }
}
