// Measures our side of the training benchmark: one mode a call, one JSON line on stdout. run.py beside it
// runs the peers and prints both.

import Engine
import Foundation

/// The sizes of issue 3.
struct Size {
    let configuration: ModelConfiguration
    let batch: Int
    let length = 256

    init(_ name: String) {
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
        case "mini":  // the lab's miniature
            c = ModelConfiguration(
                vocabularySize: 154, hiddenSize: 96, intermediateSize: 256, layerCount: 3,
                headCount: 4)
            batch = 64
        default: fatalError("sizes: 15m, 110m, mini")
        }
        c.tiesEmbeddings = true
        configuration = c
    }
}

func argument(_ index: Int, _ fallback: String) -> String {
    CommandLine.arguments.count > index ? CommandLine.arguments[index] : fallback
}

func peakMegabytes() -> Double {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return Double(usage.ru_maxrss) / 1024
}

let size = Size(argument(1, "15m"))
let mode = argument(2, "lora")  // lora, full, lora-bf16, generate, start
let steps = Int(argument(3, "8"))!
let clock = ContinuousClock()
let begin = clock.now
var random = RandomStream(seed: 1, name: "benchmark")
var model = LanguageModel(configuration: size.configuration, using: &random)
if mode == "lora-bf16" { model = model.converted(to: .bf16) }
if mode.hasPrefix("lora") { try model.attach(LoRA(rank: 8, alpha: 16), using: &random) }
let length = argument(1, "15m") == "mini" ? 12 : size.length
let examples = (0..<size.batch * steps).map { _ in
    TrainingExample(
        tokens: (0..<length).map { _ in Int32(random.below(size.configuration.vocabularySize)) })
}
let options = TrainingOptions(batchSize: size.batch, shuffles: false)
var times: [Double] = []
var last = clock.now
let summary = try train(
    &model, on: examples, with: AdamW(learningRate: 1e-4), options, using: &random
) { step in
    let now = clock.now
    times.append((now - last) / .seconds(1))
    if step.number == 1 { times[0] = (now - begin) / .seconds(1) }
    last = now
}
let steady = times.dropFirst().sorted()
let median = steady.isEmpty ? times[0] : steady[steady.count / 2]
print(
    "{\"mode\": \"\(mode)\", \"first_step_s\": \(times[0]), \"step_s\": \(median), "
        + "\"tokens_per_s\": \(Double(size.batch * length) / median), "
        + "\"activation_mb\": \(summary.peakActivationBytes >> 20), \"peak_mb\": \(peakMegabytes()), "
        + "\"kernels\": \"\(kernelSetName)\", \"last_loss\": \(summary.finalLoss!)}")
