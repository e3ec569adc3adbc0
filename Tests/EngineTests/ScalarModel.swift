// A second transformer, in f64 and one scalar at a time, with gradients by reverse accumulation: slow, plain,
// and written from the papers, to hold the engine's fused f32 operators against.

import Engine
import Foundation

/// Scalars, and how each depends on earlier ones.
final class ScalarTape {
    private(set) var values: [Double] = []
    private var edges: [[(parent: Int, slope: Double)]] = []

    func leaf(_ value: Double) -> Int { node(value, []) }
    func node(_ value: Double, _ parents: [(parent: Int, slope: Double)]) -> Int {
        values.append(value)
        edges.append(parents)
        return values.count - 1
    }
    subscript(index: Int) -> Double { values[index] }

    func add(_ a: Int, _ b: Int) -> Int { node(self[a] + self[b], [(a, 1), (b, 1)]) }
    func scale(_ a: Int, _ factor: Double) -> Int { node(self[a] * factor, [(a, factor)]) }
    func multiply(_ a: Int, _ b: Int) -> Int {
        node(self[a] * self[b], [(a, self[b]), (b, self[a])])
    }
    func dot(_ a: [Int], _ b: [Int]) -> Int {
        var (sum, parents) = (0.0, [(parent: Int, slope: Double)]())
        for (x, y) in zip(a, b) {
            sum += self[x] * self[y]
            parents.append((x, self[y]))
            parents.append((y, self[x]))
        }
        return node(sum, parents)
    }
    func dot(_ a: ArraySlice<Double>, _ b: [Int]) -> Int {
        var (sum, parents) = (0.0, [(parent: Int, slope: Double)]())
        for (x, y) in zip(a, b) {
            sum += x * self[y]
            parents.append((y, x))
        }
        return node(sum, parents)
    }

    /// d (Σ weight · node) / d every scalar.
    func backward(_ seeds: [(node: Int, weight: Double)]) -> [Double] {
        var slopes = [Double](repeating: 0, count: values.count)
        for seed in seeds { slopes[seed.node] += seed.weight }
        for index in slopes.indices.reversed() where slopes[index] != 0 {
            for (parent, slope) in edges[index] { slopes[parent] += slope * slopes[index] }
        }
        return slopes
    }
}

/// A language model with an adapter whose A's and B's are trained.
struct ScalarModel {
    let model: LanguageModel
    private let weights: [String: [Double]]
    private let rope: RotaryTables

    init(_ model: LanguageModel) {
        self.model = model
        var weights: [String: [Double]] = [:]
        for (name, weight) in model.weights {
            weights[name] = weight.dequantized().converted(to: .f32).withUnsafeFloats {
                $0.map(Double.init)
            }
        }
        for (path, module) in model.adapter?.modules ?? [:] {
            for (name, tensor) in [
                (LoRAModule.aName(path), module.a), (LoRAModule.bName(path), module.b),
            ] { weights[name] = tensor.withUnsafeFloats { $0.map(Double.init) } }
        }
        self.weights = weights
        var rope = RotaryTables(model.configuration)
        rope.extend(to: 64)
        self.rope = rope
    }

    /// The weighted sum of the losses of a batch's labelled positions, and its gradients by name.
    func lossAndGradients(_ batch: TrainingBatch, _ weights: [Double]) -> (
        Double, [String: [Double]]
    ) {
        let run = Run(self)
        var (start, seeds, loss, at) = (0, [(node: Int, weight: Double)](), 0.0, 0)
        for length in batch.lengths {
            let logits = run.logits(Array(batch.tokens[start..<start + length]))
            while at < batch.chosen.count, Int(batch.chosen[at]) < start + length {
                let row = logits[Int(batch.chosen[at]) - start]
                let node = run.crossEntropy(row, label: Int(batch.labels[at]))
                loss += weights[at] * run.tape[node]
                seeds.append((node, weights[at]))
                at += 1
            }
            start += length
        }
        let slopes = run.tape.backward(seeds)
        return (loss, run.trained.mapValues { $0.map { slopes[$0] } })
    }

    private final class Run {
        let tape = ScalarTape()
        let owner: ScalarModel
        /// By name, the scalars of a trained tensor in row-major order.
        var trained: [String: [Int]] = [:]
        var c: ModelConfiguration { owner.model.configuration }

        init(_ owner: ScalarModel) {
            self.owner = owner
            for path in (owner.model.adapter?.modules ?? [:]).keys.sorted() {
                for name in [LoRAModule.aName(path), LoRAModule.bName(path)] {
                    trained[name] = owner.weights[name]!.map { tape.leaf($0) }
                }
            }
        }

        func linear(_ path: String, _ x: [Int]) -> [Int] {
            let w = owner.weights[path + ".weight"]!
            let output = w.count / x.count
            var y = (0..<output).map { tape.dot(w[$0 * x.count..<($0 + 1) * x.count], x) }
            guard let module = owner.model.adapter?.modules[path] else { return y }
            let (a, b) = (trained[LoRAModule.aName(path)]!, trained[LoRAModule.bName(path)]!)
            let rank = module.a.shape[0]
            let hidden = (0..<rank).map {
                tape.scale(
                    tape.dot(Array(a[$0 * x.count..<($0 + 1) * x.count]), x), Double(module.scale))
            }
            for o in 0..<output {
                y[o] = tape.add(y[o], tape.dot(Array(b[o * rank..<(o + 1) * rank]), hidden))
            }
            return y
        }

        func norm(_ name: String, _ x: [Int]) -> [Int] {
            let mean = tape[tape.dot(x, x)] / Double(x.count) + Double(Float(c.normEpsilon))
            let inverse = 1 / mean.squareRoot()
            // d inverse / d x_i = −inverse³ x_i / n.
            let node = tape.node(
                inverse,
                x.map { ($0, -inverse * inverse * inverse * tape[$0] / Double(x.count)) })
            let w = owner.weights[name]!
            return x.indices.map {
                tape.scale(tape.multiply(x[$0], node), (c.normAddsOne ? 1 : 0) + w[$0])
            }
        }

        func cap(_ x: Int, _ cap: Double?) -> Int {
            guard let cap else { return x }
            let t = tanh(tape[x] / cap)
            return tape.node(cap * t, [(x, 1 - t * t)])
        }

        func rotated(_ x: [Int], _ position: Int, _ table: RotaryEmbedding) -> [Int] {
            let half = x.count / 2
            return table.cosine.withUnsafeFloats { cosine in
                table.sine.withUnsafeFloats { sine in
                    x.indices.map { i in
                        let angle = position * half + i % half
                        let other = tape.scale(
                            x[(i + half) % x.count], (i < half ? -1 : 1) * Double(sine[angle]))
                        return tape.add(tape.scale(x[i], Double(cosine[angle])), other)
                    }
                }
            }
        }

        func softmax(_ x: [Int]) -> [Int] {
            let largest = x.map { tape[$0] }.max()!
            let powers = x.map { exp(tape[$0] - largest) }
            let sum = powers.reduce(0, +)
            let p = powers.map { $0 / sum }
            return x.indices.map { i in
                tape.node(p[i], x.indices.map { (x[$0], p[i] * ((i == $0 ? 1 : 0) - p[$0])) })
            }
        }

        func attention(_ layer: Int, _ rows: [[Int]]) -> [[Int]] {
            let prefix = "model.layers.\(layer).self_attn."
            let slides = c.slidingLayers[layer] && c.slidingWindow != nil
            let table = slides ? owner.rope.local : owner.rope.full
            let size = c.headDimension
            func heads(_ name: String, _ normed: String?) -> [[[Int]]] {
                rows.enumerated().map { position, x in
                    let all = linear(prefix + name, x)
                    return stride(from: 0, to: all.count, by: size).map {
                        var head = Array(all[$0..<$0 + size])
                        guard let normed else { return head }
                        if c.hasQueryKeyNorms { head = norm(prefix + normed + ".weight", head) }
                        return rotated(head, position, table)
                    }
                }
            }
            let (q, k, v) = (
                heads("q_proj", "q_norm"), heads("k_proj", "k_norm"), heads("v_proj", nil)
            )
            return rows.indices.map { i in
                let first = slides ? max(0, i - c.slidingWindow! + 1) : 0
                let joined = (0..<c.headCount).flatMap { head -> [Int] in
                    let shared = head / (c.headCount / c.keyValueHeadCount)
                    let scores = (first...i).map { j in
                        let product = tape.dot(q[i][head], k[j][shared])
                        let scale = Double(Float(1 / c.queryScalar.squareRoot()))
                        return cap(
                            tape.scale(product, scale), c.attentionSoftCap)
                    }
                    let p = softmax(scores)
                    return (0..<size).map { d in
                        tape.dot(p, (first...i).map { v[$0][shared][d] })
                    }
                }
                return linear(prefix + "o_proj", joined)
            }
        }

        func gated(_ layer: Int, _ x: [Int]) -> [Int] {
            let prefix = "model.layers.\(layer).mlp."
            let (gate, up) = (linear(prefix + "gate_proj", x), linear(prefix + "up_proj", x))
            let hidden = zip(gate, up).map { g, u -> Int in
                let x = tape[g]
                let (value, slope): (Double, Double)
                if c.isGemmaFamily {
                    let root = (2 / Double.pi).squareRoot()
                    let t = tanh(root * (x + 0.044715 * x * x * x))
                    value = 0.5 * x * (1 + t)
                    slope =
                        0.5 * (1 + t) + 0.5 * x * (1 - t * t) * root * (1 + 3 * 0.044715 * x * x)
                } else {
                    let s = 1 / (1 + exp(-x))
                    (value, slope) = (x * s, s * (1 + x * (1 - s)))
                }
                return tape.multiply(tape.node(value, [(g, slope)]), u)
            }
            return linear(prefix + "down_proj", hidden)
        }

        func logits(_ tokens: [Int32]) -> [[Int]] {
            let table = owner.weights[ModelConfiguration.embeddingName]!
            let scale = c.scalesEmbeddings ? Double(Float(Double(c.hiddenSize).squareRoot())) : 1
            var rows = tokens.map { token in
                table[Int(token) * c.hiddenSize..<(Int(token) + 1) * c.hiddenSize].map {
                    tape.leaf($0 * scale)
                }
            }
            for layer in 0..<c.layerCount {
                let prefix = "model.layers.\(layer)."
                func after(_ name: String, _ x: [Int]) -> [Int] {
                    c.hasPostNorms ? norm(prefix + name + ".weight", x) : x
                }
                let attended = attention(
                    layer, rows.map { norm(prefix + "input_layernorm.weight", $0) })
                rows = zip(rows, attended).map { x, y in
                    zip(x, after("post_attention_layernorm", y)).map(tape.add)
                }
                let inner =
                    c.hasPostNorms ? "pre_feedforward_layernorm" : "post_attention_layernorm"
                rows = rows.map { x in
                    let y = gated(layer, norm(prefix + inner + ".weight", x))
                    return zip(x, after("post_feedforward_layernorm", y)).map(tape.add)
                }
            }
            let head =
                c.tiesEmbeddings ? table : owner.weights[ModelConfiguration.headName]!
            return rows.map { row in
                let x = norm(ModelConfiguration.finalNormName, row)
                return (0..<c.vocabularySize).map {
                    cap(
                        tape.dot(head[$0 * c.hiddenSize..<($0 + 1) * c.hiddenSize], x),
                        c.finalSoftCap)
                }
            }
        }

        func crossEntropy(_ logits: [Int], label: Int) -> Int {
            let largest = logits.map { tape[$0] }.max()!
            let powers = logits.map { exp(tape[$0] - largest) }
            let sum = powers.reduce(0, +)
            return tape.node(
                log(sum) + largest - tape[logits[label]],
                logits.indices.map { (logits[$0], powers[$0] / sum - ($0 == label ? 1 : 0)) })
        }
    }
}

extension ModelConfiguration {
    fileprivate var isGemmaFamily: Bool {
        family == .gemma || family == .gemma2 || family == .gemma3
    }
}
