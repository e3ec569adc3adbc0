// Our side of the training and generation benchmark: one mode a process, one JSON line on stdout. compare.py
// beside it runs the peers in turn with it and prints both.

import Engine
import Foundation

/// The sizes of the comparison, Llama-shaped, embeddings tied.
struct Size {
    let configuration: ModelConfiguration
    let batch: Int
    var length = 256

    init?(_ name: String) {
        var c: ModelConfiguration
        switch name {
        case "15m":
            c = ModelConfiguration(
                vocabularySize: 32_000, hiddenSize: 288, intermediateSize: 768, layerCount: 6,
                headCount: 6)
            batch = 8
        case "110m":
            c = ModelConfiguration(
                vocabularySize: 32_000, hiddenSize: 768, intermediateSize: 2048, layerCount: 12,
                headCount: 12)
            batch = 4
        case "mini":  // the lab's miniature: many short sequences
            c = ModelConfiguration(
                vocabularySize: 154, hiddenSize: 96, intermediateSize: 256, layerCount: 3,
                headCount: 4)
            batch = 64
            length = 12
        default: return nil
        }
        c.tiesEmbeddings = true
        configuration = c
    }
}

let usage = """
    training-bench SIZE MODE COUNT     SIZE: 15m, 110m, mini
      lora, full, lora-bf16, lora-nf4, lora-int8   COUNT training steps: tokens a second
      generate, generate-bf16, generate-int8       COUNT prompts at once, 64 new tokens each: tokens a second
      hash                                         COUNT training steps, then a hash of losses and adapter;
                                                   and the same with a stop and a resumption after each step
    training-bench sample VOCABULARY   microseconds to draw a token from that many logits
    training-bench load FILE    a safetensors file: seconds to its first tensor, and to every byte of it
    """
let arguments = CommandLine.arguments
if arguments.count == 3, arguments[1] == "load" {
    try load(arguments[2])
    exit(0)
}
if arguments.count == 3, arguments[1] == "sample", let count = Int(arguments[2]), count > 0 {
    sample(count)
    exit(0)
}
guard arguments.count == 4, let size = Size(arguments[1]), let count = Int(arguments[3]) else {
    print(usage)
    exit(2)
}
try checkArithmeticVariables()
let mode = arguments[2]
let clock = ContinuousClock()
let begin = clock.now

func seconds(since start: ContinuousClock.Instant) -> Double { (clock.now - start) / .seconds(1) }

func peakMegabytes() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Double(usage.ru_maxrss) / 1024
}

/// Times the lazy way to one tensor, and a reading of every page.
func load(_ path: String) throws {
    let start = clock.now
    let file = try SafetensorsFile(path)
    let first = try file.tensor(file.names[0])
    let element = first.withUnsafeBytes { $0[0] }
    let untilFirst = seconds(since: start)
    var bytes = 0
    var sum = Int(element)
    for name in file.names {
        file.prefetch(name)
        try file.tensor(name).withUnsafeBytes { contents in
            for i in stride(from: 0, to: contents.count, by: 4096) { sum &+= Int(contents[i]) }
            bytes += contents.count
        }
    }
    let all = seconds(since: start)
    print("{\"first_s\": \(untilFirst), \"all_s\": \(all), \"bytes\": \(bytes), \"sum\": \(sum)}")
}

/// Times drawing from logits as models have them (a few likely tokens), by each way of drawing: the median of
/// 7 rounds of 100 draws.
func sample(_ vocabulary: Int) {
    var random = RandomStream(seed: 1, name: "sampling")
    let logits = (0..<vocabulary).map { $0 % 1000 == 0 ? 8 + random.normal() : 2 * random.normal() }
    var times: [String] = []
    for (name, topK, topP) in [
        ("all", nil, nil), ("top_k_50", 50, nil), ("top_p_0.95", nil, 0.95),
        ("top_k_50_top_p_0.95", 50, 0.95),
    ] as [(String, Int?, Float?)] {
        let sampler = TokenSampler(temperature: 0.8, topK: topK, topP: topP)
        let rounds = (0..<7).map { _ in
            let start = clock.now
            for _ in 0..<100 { _ = logits.withUnsafeBufferPointer { sampler($0, &random) } }
            return seconds(since: start) / 100
        }
        times.append("\"\(name)_us\": \(Int(1e6 * rounds.sorted()[3]))")
    }
    print("{\"vocabulary\": \(vocabulary), \(times.joined(separator: ", "))}")
}

struct Stopped: Error {}

/// FNV-1a of the losses and the adapter after `count` steps; where `stop` > 0, the run ends after that step
/// and goes on from the checkpoint on disk, with the model as it was before.
func trainedHash(
    _ untrained: LanguageModel, _ examples: [TrainingExample], stop: Int, _ random: RandomStream
) throws -> String {
    var options = TrainingOptions(batchSize: size.batch)
    let optimizer = AdamW(learningRate: 1e-3)
    var (model, stream) = (untrained, random)
    if stop > 0 {
        let path = FileManager.default.temporaryDirectory
            .appending(path: "training-bench-\(getpid()).safetensors").path
        defer { try? FileManager.default.removeItem(atPath: path) }
        options.checkpoints = (every: stop, path: path)
        do {
            _ = try train(&model, on: examples, with: optimizer, options, using: &stream) { step in
                if step.number == stop { throw Stopped() }
            }
        } catch is Stopped {}
        options.checkpoints = nil
        options.resumption = try TrainingCheckpoint(path)
        (model, stream) = (untrained, random)
    }
    let summary = try train(&model, on: examples, with: optimizer, options, using: &stream)
    var hash: UInt64 = 0xcbf2_9ce4_8422_2325
    func mix(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    summary.losses.withUnsafeBytes { mix($0) }
    for (path, _) in model.linearLayers {
        guard let update = model.adapter?.modules[path] else { continue }
        update.a.withUnsafeBytes { mix($0) }
        update.b.withUnsafeBytes { mix($0) }
    }
    return String(hash, radix: 16)
}

var random = RandomStream(seed: 1, name: "benchmark")
var model = LanguageModel(configuration: size.configuration, using: &random)
if mode.hasSuffix("-bf16") || mode == "generate-int8" { model = model.converted(to: .bf16) }
if mode.hasSuffix("-int8") { model = model.quantized(.int8) }
if mode.hasSuffix("-nf4") { model = model.quantized(.nf4(doubleQuantization: true)) }
/// Before anything is measured that no training does.
var peak: Double?
var fields: [(String, String)] = [("mode", "\"\(mode)\""), ("kernels", "\"\(kernelSetName)\"")]

let vocabulary = size.configuration.vocabularySize
func tokens(_ count: Int, using random: inout RandomStream) -> [Int32] {
    (0..<count).map { _ in Int32(random.below(vocabulary)) }
}

if mode == "hash" {
    try model.attach(LoRA(rank: 8, alpha: 16), using: &random)
    let examples = (0..<size.batch * count).map { _ in
        TrainingExample(tokens: tokens(size.length, using: &random))
    }
    var hashes: [String] = []
    for stop in 0..<count { hashes.append(try trainedHash(model, examples, stop: stop, random)) }
    fields += [
        ("hash", "\"\(hashes[0])\""),
        ("resumed", "[" + hashes.dropFirst().map { "\"\($0)\"" }.joined(separator: ", ") + "]"),
    ]
} else if mode.hasPrefix("generate") {
    let new = 64
    let prompts = (0..<count).map { _ in tokens(16, using: &random) }
    var options = GenerationOptions.greedy(new)
    options.stopsAtEndOfText = false
    options.batchSize = count
    var rates: [Double] = []
    for _ in 0..<3 {
        let start = clock.now
        _ = try model.generate(prompts, options, using: &random)
        rates.append(Double(count * new) / seconds(since: start))
    }
    fields.append(("tokens_per_s", "\(rates.sorted()[1])"))
} else {
    if mode.hasPrefix("lora") { try model.attach(LoRA(rank: 8, alpha: 16), using: &random) }
    let examples = (0..<size.batch * count).map { _ in
        TrainingExample(tokens: tokens(size.length, using: &random))
    }
    var times: [Double] = []
    var last = clock.now
    let summary = try train(
        &model, on: examples, with: AdamW(learningRate: 1e-4),
        TrainingOptions(batchSize: size.batch, shuffles: false), using: &random
    ) { step in
        times.append(seconds(since: step.number == 1 ? begin : last))
        last = clock.now
    }
    let steady = times.dropFirst().sorted()
    let median = steady.isEmpty ? times[0] : steady[steady.count / 2]
    fields += [
        ("first_step_s", "\(times[0])"), ("step_s", "\(median)"),
        ("tokens_per_s", "\(Double(size.batch * size.length) / median)"),
        ("activation_mb", "\(summary.peakActivationBytes >> 20)"),
        ("last_loss", "\(summary.finalLoss!)"),
    ]
    peak = peakMegabytes()
    // What each step pays for the digest of its state: updates with and without it, in turn.
    var optimization = try Optimization(
        model, optimizer: AdamW(learningRate: 1e-4), keepsMasterWeights: true)
    var updates: [Bool: [Double]] = [:]
    for round in 0..<22 {
        let digesting = round % 2 == 0
        let start = clock.now
        _ = try optimization.update(&model, rate: 1e-4, clip: nil, digesting: digesting)
        // The first of each touches the moments' pages.
        if round > 1 { updates[digesting, default: []].append(seconds(since: start)) }
    }
    let digest = updates[true]!.sorted()[5] - updates[false]!.sorted()[5]
    fields += [("state_digest_s", "\(digest)"), ("state_digest_share", "\(digest / median)")]
}
fields.append(("peak_mb", "\(peak ?? peakMegabytes())"))
print("{" + fields.map { "\"\($0.0)\": \($0.1)" }.joined(separator: ", ") + "}")
