// Every fused operator's gradient against central differences, at sizes 0 and 1 too, and the tape's rules.

import Engine
import Testing

/// Random numbers of a named stream, standard normal times `scale`.
func normal(_ shape: [Int], _ name: String, scale: Float = 1) -> Tensor {
    var tensor = Tensor(uninitialized: shape)
    var random = RandomStream(seed: 11, name: name)
    tensor.withUnsafeMutableFloats { values in
        for i in values.indices { values[i] = random.normal() * scale }
    }
    return tensor
}

func dot(_ a: Tensor, _ b: Tensor) -> Double {
    a.withUnsafeFloats { x in
        b.withUnsafeFloats { y in zip(x, y).reduce(0) { $0 + Double($1.0) * Double($1.1) } }
    }
}

/// Compares a gradient with central differences along random directions.
///
/// `f` is computed in f32, so a difference over 2h carries noise of about 2⁻²⁴ · |f| · √n / h; with h of
/// 10⁻² of the input's scale and values near 1 that is some 10⁻⁴ of the slope, and the truncation h² about
/// as much. Both shrink together under Richardson's extrapolation, hence the tolerance of 2e-3.
func checkGradient(
    _ gradient: Tensor, at x: Tensor, step: Float = 1e-2, tolerance: Double = 2e-3, name: String,
    _ f: (Tensor) -> Double
) {
    for trial in 0..<3 {
        let direction = normal(x.shape, "direction \(trial)")
        func moved(_ h: Float) -> Tensor {
            var result = x
            result.withUnsafeMutableFloats { values in
                direction.withUnsafeFloats { d in
                    for i in values.indices { values[i] += h * d[i] }
                }
            }
            return result
        }
        func slope(_ h: Float) -> Double { (f(moved(h)) - f(moved(-h))) / (2 * Double(h)) }
        let numeric = (4 * slope(step) - slope(2 * step)) / 3
        let analytic = dot(gradient, direction)
        let scale = max(dot(gradient, gradient).squareRoot(), 1e-3)
        #expect(abs(numeric - analytic) / scale < tolerance, "\(name), direction \(trial)")
    }
}

/// Runs an operator forward and backward with a fixed output gradient.
/// - Returns: the input's gradient and the parameters'.
func gradients(
    of x: Tensor, parameters: [(name: String, shape: [Int])] = [], outputGradient: String = "dy",
    _ run: (Variable, Tape) -> Variable
) -> (input: Tensor?, parameters: ParameterGradients, output: Tensor) {
    let collected = ParameterGradients(trainable: parameters)
    let tape = Tape(recording: true, parameters: collected)
    let input = tape.leaf(x)
    let y = run(input, tape)
    tape.seed(y, gradient: normal(y.value.shape, outputGradient))
    tape.backward()
    return (tape.gradient(of: input), collected, y.value)
}

/// `Σ y · dy`, the scalar that the gradients above are of.
func objective(_ x: Tensor, _ run: (Variable, Tape) -> Variable) -> Double {
    let tape = Tape(recording: false)
    let y = run(Variable(constant: copy(x)), tape).value
    return dot(y, normal(y.shape, "dy"))
}

/// Memory of its own: some operators work in place on what they are given.
func copy(_ x: Tensor) -> Tensor {
    var result = x
    result.withUnsafeMutableBytes { _ in }
    return result
}

@Suite struct `Gradients of fused operators` {
    static func layer(_ dropout: Bool = false) -> LinearGroup {
        func linear(_ path: String, _ output: Int, updated: Bool) -> Linear {
            Linear(
                path: path, weight: .dense(normal([output, 20], path, scale: 0.2)),
                bias: normal([output], path + "bias"),
                update: updated
                    ? LoRAModule(
                        a: normal([3, 20], path + "a", scale: 0.2),
                        b: normal([output, 3], path + "b"),
                        scale: 2) : nil)
        }
        return LinearGroup(
            linear("q", 18, updated: true), linear("k", 7, updated: false),
            linear("v", 5, updated: true))
    }

    @Test(arguments: [false, true]) func `root-mean-square normalization`(addsOne: Bool) {
        let x = normal([5, 37], "x"), w = normal([37], "w")
        func norm(_ w: Tensor) -> RMSNorm {
            RMSNorm(name: "w", weight: w, epsilon: 1e-5, addsOne: addsOne)
        }
        let result = gradients(of: x, parameters: [("w", [37])]) { norm(w)($0, on: $1) }
        checkGradient(result.input!, at: x, name: "x") { x in objective(x) { norm(w)($0, on: $1) } }
        checkGradient(result.parameters.gradient("w")!, at: w, name: "w") { w in
            objective(x) { norm(w)($0, on: $1) }
        }
    }

    @Test(arguments: [Float(0), 0.4]) func `linear layers with low-rank updates`(dropout: Float) {
        let x = normal([6, 20], "x")
        let group = Self.layer()
        let drop = UpdateDropout(probability: dropout, stream: RandomStream(seed: 4, name: "drop"))
        let shapes = group.layers.flatMap { layer -> [(String, [Int])] in
            var result = [
                (layer.weightName, layer.weight.shape), (layer.biasName, [layer.outputCount]),
            ]
            if let update = layer.update {
                result += [(layer.aName, update.a.shape), (layer.bName, update.b.shape)]
            }
            return result
        }
        let result = gradients(of: x, parameters: shapes) { group($0, on: $1, dropout: drop) }
        checkGradient(result.input!, at: x, name: "x") { x in
            objective(x) { group($0, on: $1, dropout: drop) }
        }
        for (i, layer) in group.layers.enumerated() {
            func check(_ name: String, _ at: Tensor, _ change: (inout Linear, Tensor) -> Void) {
                checkGradient(result.parameters.gradient(name)!, at: at, name: name) { value in
                    var changed = group
                    change(&changed.layers[i], value)
                    return objective(x) { changed($0, on: $1, dropout: drop) }
                }
            }
            guard case .dense(let weight) = layer.weight else { continue }
            check(layer.weightName, weight) { $0.weight = .dense($1) }
            check(layer.biasName, layer.bias!) { $0.bias = $1 }
            if let update = layer.update {
                check(layer.aName, update.a) { $0.update!.a = $1 }
                check(layer.bName, update.b) { $0.update!.b = $1 }
            }
        }
    }

    @Test(arguments: [GatedActivation.silu, .geluTanh]) func `gated activations`(
        activation: GatedActivation
    ) {
        let x = normal([4, 2 * 19], "x")
        let result = gradients(of: x) { activation($0, on: $1) }
        checkGradient(result.input!, at: x, name: "x") { x in
            objective(x) { activation($0, on: $1) }
        }
    }

    struct AttentionCase: Sendable, CustomTestStringConvertible {
        var heads = 4, keyValueHeads = 2, dimension = 12, softCap: Float = 0, window = 0
        var norms = false
        var lengths = [5, 1, 37]
        var testDescription: String {
            "\(heads)/\(keyValueHeads) heads of \(dimension), cap \(softCap), window \(window), norms \(norms)"
        }
        func attention(_ query: Tensor, _ key: Tensor) -> Attention {
            func norm(_ name: String, _ w: Tensor) -> RMSNorm? {
                norms ? RMSNorm(name: name, weight: w, epsilon: 1e-6, addsOne: true) : nil
            }
            return Attention(
                headCount: heads, keyValueHeadCount: keyValueHeads, headDimension: dimension,
                scale: 1 / Float(dimension).squareRoot(), softCap: softCap, window: window,
                queryNorm: norm("q", query), keyNorm: norm("k", key))
        }
    }

    @Test(arguments: [
        AttentionCase(), AttentionCase(keyValueHeads: 4, dimension: 16, lengths: [40]),
        AttentionCase(keyValueHeads: 1, dimension: 80, window: 6), AttentionCase(softCap: 2),
        AttentionCase(window: 3, norms: true),
    ]) func `causal attention`(c: AttentionCase) {
        let rows = PackedRows(lengths: c.lengths)
        let x = normal([rows.count, (c.heads + 2 * c.keyValueHeads) * c.dimension], "x")
        var rope = RotaryEmbedding(headDimension: c.dimension, theta: 100, scaling: .none)
        rope.extend(to: 64)
        let query = normal([c.dimension], "qn", scale: 0.3),
            key = normal([c.dimension], "kn", scale: 0.3)
        let shapes = c.norms ? [("q", [c.dimension]), ("k", [c.dimension])] : []
        let result = gradients(of: copy(x), parameters: shapes) {
            c.attention(query, key)($0, rows: rows, rope: rope, on: $1)
        }
        checkGradient(result.input!, at: x, step: 5e-3, name: "qkv") { x in
            objective(x) { c.attention(query, key)($0, rows: rows, rope: rope, on: $1) }
        }
        guard c.norms else { return }
        checkGradient(result.parameters.gradient("q")!, at: query, name: "query norm") { query in
            objective(x) { c.attention(query, key)($0, rows: rows, rope: rope, on: $1) }
        }
        checkGradient(result.parameters.gradient("k")!, at: key, name: "key norm") { key in
            objective(x) { c.attention(query, key)($0, rows: rows, rope: rope, on: $1) }
        }
    }

    // One head, two positions, no rotation at position 0 and a tiny one at 1 (theta is huge in the second
    // pair only); values 1 and 3: the first output is 1, the second between by the softmax.
    @Test func `attention by hand`() {
        // q = k = 0 but for the value: the softmax is even, so the second output is (1 + 3) / 2.
        let x = Tensor([0, 0, 0, 0, 1, 10, 0, 0, 0, 0, 3, 30], shape: [2, 6])
        var rope = RotaryEmbedding(headDimension: 2, theta: 10, scaling: .none)
        rope.extend(to: 2)
        let attention = AttentionCase(heads: 1, keyValueHeads: 1, dimension: 2).attention(x, x)
        let y = attention(
            Variable(constant: x), rows: PackedRows(lengths: [2]), rope: rope,
            on: Tape(recording: false))
        #expect(y.value.withUnsafeFloats { Array($0) } == [1, 10, 2, 20])
    }

    @Test(arguments: [Float(0), 1.5]) func `cross-entropy with its output layer`(softCap: Float) {
        let x = normal([5, 12], "x"), w = normal([33, 12], "w", scale: 0.5)
        let labels: [Int32] = [0, 32, 7, 7, 15], weights: [Float] = [0.5, 1, 0, -0.25, 2]
        func run(_ x: Tensor, _ w: Tensor, on tape: Tape) -> (Variable, Double) {
            let input = tape.leaf(x)
            let head = OutputHead(name: "w", weight: .dense(w), softCap: softCap)
            let losses = head.crossEntropy(input, labels: labels, weights: weights, on: tape)
            return (input, zip(losses.values, weights).reduce(0) { $0 + $1.0 * Double($1.1) })
        }
        let collected = ParameterGradients(trainable: [("w", [33, 12])])
        let tape = Tape(recording: true, parameters: collected)
        let (input, _) = run(x, w, on: tape)
        checkGradient(tape.gradient(of: input)!, at: x, name: "x") { x in
            run(x, w, on: Tape(recording: true)).1
        }
        checkGradient(collected.gradient("w")!, at: w, name: "w") { w in
            run(x, w, on: Tape(recording: true)).1
        }
    }

    @Test func `embedding, residual and choice of rows`() {
        let table = normal([9, 5], "table")
        func run(_ table: Tensor, _ tape: Tape) -> Variable {
            let embedding = Embedding(name: "e", table: table, scale: 1.5)
            let a = embedding([3, 3, 8, 0], on: tape), b = embedding([1, 3, 2, 2], on: tape)
            return chosenRows(residual(a, b, on: tape), [2, 0], on: tape)
        }
        let result = gradients(of: table, parameters: [("e", [9, 5])]) { run($0.value, $1) }
        checkGradient(result.parameters.gradient("e")!, at: table, name: "table") { table in
            objective(table) { run($0.value, $1) }
        }
    }

    @Test(arguments: [0, 1]) func `sizes 0 and 1`(rows: Int) {
        let x = normal([rows, 20], "x")
        let shape: (Variable, Tape) -> Variable = { Self.layer()($0, on: $1) }
        #expect(gradients(of: x, shape).output.shape == [rows, 30])
        let norm = RMSNorm(name: "w", weight: normal([20], "w"), epsilon: 1e-5, addsOne: false)
        #expect(gradients(of: x) { norm($0, on: $1) }.input!.shape == [rows, 20])
        #expect(gradients(of: x) { GatedActivation.silu($0, on: $1) }.input!.shape == [rows, 20])
        let packed = PackedRows(lengths: [rows, 0])
        var rope = RotaryEmbedding(headDimension: 4, theta: 100, scaling: .none)
        rope.extend(to: 4)
        let attention = AttentionCase(heads: 3, keyValueHeads: 1, dimension: 4).attention(x, x)
        let attended = gradients(of: copy(x)) { attention($0, rows: packed, rope: rope, on: $1) }
        #expect(attended.input!.shape == [rows, 20] && attended.output.shape == [rows, 12])
        if rows == 1 {
            // A single key: the output is its value, and queries and keys get no
            // gradient but the rounding of p (dp − Σ p dp).
            let values = x.withUnsafeFloats { Array($0[16..<20]) }
            let output = attended.output.withUnsafeFloats { Array($0) }
            #expect(output == values + values + values)
            #expect(attended.input!.withUnsafeFloats { $0[0..<16].allSatisfy { abs($0) < 1e-6 } })
        }
        let head = OutputHead(name: "h", weight: .dense(normal([1, 20], "h")), softCap: 0)
        let tape = Tape(recording: true)
        let losses = head.crossEntropy(
            tape.leaf(x), labels: [Int32](repeating: 0, count: rows),
            weights: [Float](repeating: 1, count: rows), on: tape)
        #expect(losses.values == [Double](repeating: 0, count: rows))  // one token: no choice
    }
}

@Suite struct `The tape` {
    @Test func `keeps nothing where nothing needs a gradient`() {
        let tape = Tape(recording: true)
        let norm = RMSNorm(name: "w", weight: normal([8], "w"), epsilon: 1e-5, addsOne: false)
        #expect(!norm(Variable(constant: normal([2, 8], "x")), on: tape).needsGradient)
        #expect(tape.activationBytes == 0)
    }

    @Test func `gives the same bits from a checkpointed part`() {
        let x = normal([7, 20], "x")
        let norm = RMSNorm(name: "n", weight: normal([30], "n"), epsilon: 1e-5, addsOne: false)
        let group = LinearGroup(`Gradients of fused operators`.layer().layers)
        let shapes = [("n", [30]), ("q.weight", [18, 20]), ("v.lora_A.weight", [3, 20])]
        func body(_ tape: Tape, _ x: Variable) -> Variable { norm(group(x, on: tape), on: tape) }
        let plain = gradients(of: x, parameters: shapes) { body($1, $0) }
        let again = gradients(of: x, parameters: shapes) { x, tape in
            tape.checkpoint(x, needsGradient: true) { body($0, $1) }
        }
        #expect(sameBits(plain.output, again.output) && sameBits(plain.input!, again.input!))
        for (name, _) in shapes {
            #expect(sameBits(plain.parameters.gradient(name)!, again.parameters.gradient(name)!))
        }
    }
}

@Suite struct `Rotary tables` {
    @Test func `are right to the last bit or nearly`() {
        // cos 1, sin 1, cos 1000, sin 1000 to nine digits.
        let (c, s) = PortableMath.cosineAndSine(1)
        #expect(
            abs(c - 0.540_302_305_868_139_7) < 2e-16 && abs(s - 0.841_470_984_807_896_5) < 2e-16)
        let (c2, s2) = PortableMath.cosineAndSine(1000)
        #expect(
            abs(c2 - 0.562_379_076_290_703) < 1e-14 && abs(s2 - 0.826_879_540_532_002_6) < 1e-14)
        #expect(abs(PortableMath.exp(1) - 2.718_281_828_459_045) < 1e-15)
        #expect(abs(PortableMath.log(500_000) - 13.122_363_377_404_328) < 4e-15)
        #expect(PortableMath.exp(0) == 1 && PortableMath.log(1) == 0)
    }
}
