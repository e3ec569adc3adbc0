// Functions, reductions, products, quantization, fused operators: each over a fixed grid of arguments.

import Engine
import EngineKernels

/// What is hashed, in the order of printing: the first word of a line's name, and how its lines are made.
let parts: [(name: String, run: @Sendable (String, inout Report) throws -> Void)] = [
    ("function", functions), ("convert", conversions), ("reduce", reductions), ("random", chance),
    ("gemm", products), ("quantize", quantization), ("operator", operators),
    ("factorize", factorizations), ("train", training), ("generate", generation),
]

/// Every 4,999th bit pattern of f32, both signs: 859,000 arguments, infinities and NaN among them.
private func grid() -> Tensor {
    var values: [Float] = []
    for pattern in stride(from: UInt32(0), through: 0x7f80_0000, by: 4999) {
        values.append(Float(bitPattern: pattern))
        values.append(-Float(bitPattern: pattern))
    }
    values += [.infinity, -.infinity]
    return Tensor(values, shape: [values.count])
}

private func functions(_ name: String, _ report: inout Report) {
    let x = grid()
    // Of a NaN only that it is one: its sign and payload are the CPU's own.
    func plain(_ tensor: Tensor) -> Tensor {
        var result = tensor
        result.withUnsafeMutableFloats { values in
            for i in values.indices where values[i].isNaN { values[i] = .nan }
        }
        return result
    }
    let functions: [(String, (Tensor) -> Tensor)] = [
        ("exp", { $0.exp() }), ("log", { $0.log() }), ("tanh", { $0.tanh() }),
        ("sin", { $0.sin() }), ("cos", { $0.cos() }), ("sqrt", { $0.squareRoot() }),
        ("rsqrt", { $0.reciprocalSquareRoot() }), ("erf", { $0.erf() }),
        ("sigmoid", { $0.sigmoid() }), ("silu", { $0.silu() }), ("gelu", { $0.gelu() }),
        ("silu-slope", { $0.mapped(EK_SILU_GRADIENT) }),
        ("gelu-slope", { $0.mapped(EK_GELU_TANH_GRADIENT) }), ("abs", { $0.magnitudes() }),
    ]
    for (function, compute) in functions { report.line("\(name) \(function)", plain(compute(x))) }
    let y = normal([x.count], "binary")
    report.line("\(name) add", plain(x + y))
    report.line("\(name) subtract", plain(x - y))
    report.line("\(name) multiply", plain(x * y))
    report.line("\(name) divide", plain(x / y))
    var sum = x
    sum.add(0.3, times: y)
    report.line("\(name) fused", plain(sum))
}

private func conversions(_ name: String, _ report: inout Report) {
    let x = normal([100_003], "conversion", scale: 300)
    for dtype in [DType.bf16, .f16] {
        let half = x.converted(to: dtype)
        report.line("\(name) \(dtype.rawValue)", half, half.converted(to: .f32))
    }
}

private func reductions(_ name: String, _ report: inout Report) {
    for count in [1, 17, 4097, 40_001, 1_000_003] {
        let x = normal([count], "x"), y = normal([count], "y")
        report.line("\(name) \(count)") { hash in
            hash.add([x.sum(), x.dot(y), Double(x.max()), x.norm()])
            x.withUnsafeFloats { p in
                y.withUnsafeFloats { q in
                    hash.add([
                        Double(ek_sum(count, p.baseAddress)),
                        Double(ek_dot(count, p.baseAddress, q.baseAddress)),
                    ])
                }
            }
        }
    }
    report.line("\(name) softmax", normal([301, 407], "softmax", scale: 4).softmax())
}

private func chance(_ name: String, _ report: inout Report) {
    var random = RandomStream(seed: 70, name: "init")
    var order = Array(0..<Int32(10_007))
    random.shuffle(&order)
    report.line("\(name) shuffle") { $0.add(order) }
    report.line("\(name) normal", normal([50_021], "normal"))
}

private func products(_ name: String, _ report: inout Report) {
    let sizes = [
        (1, 1, 1), (3, 17, 33), (64, 48, 64), (130, 257, 513), (1, 512, 768), (300, 16, 1024),
        (16, 1024, 300), (512, 512, 512),
    ]
    for (m, n, k) in sizes {
        let a = normal([m, k], "a"), b = normal([k, n], "b"), w = normal([n, k], "w")
        report.line("\(name) \(m)x\(n)x\(k)") { hash in
            hash.add(matmul(a, b))
            hash.add(matmulTransposed(a, w))
            for dtype in [DType.bf16, .f16] {
                hash.add(linear(a, .dense(w.converted(to: dtype))))
            }
            let forms: [Quantization] = [.int8, .llmInt8(), .nf4(doubleQuantization: true)]
            for form in forms { hash.add(linear(a, Weight(quantizing: w, as: form))) }
        }
    }
}

private func quantization(_ name: String, _ report: inout Report) {
    for (rows, columns) in [(1, 1), (3, 65), (300, 257)] {
        let weight = normal([rows, columns], "weight")
        let int8 = Int8Matrix(quantizing: weight)
        report.line(
            "\(name) int8 \(rows)x\(columns)", int8.codes, int8.absmax, int8.dequantized())
        let nf4 = NF4Matrix(quantizing: weight, doubleQuantization: true)
        report.line(
            "\(name) nf4 \(rows)x\(columns)", nf4.packed, nf4.absmax, nf4.dequantized(),
            nf4.doubleQuantization!.codes, nf4.doubleQuantization!.absmax)
    }
}

private func operators(_ name: String, _ report: inout Report) {
    /// An operator's output and the gradients of its input and parameters.
    func run(
        _ line: String, _ x: Tensor, _ parameters: [(name: String, shape: [Int])] = [],
        _ body: (Variable, Tape) -> Variable
    ) {
        let collected = ParameterGradients(trainable: parameters)
        let tape = Tape(recording: true, parameters: collected)
        let input = tape.leaf(x)
        let y = body(input, tape)
        report.line("\(name) \(line)") { hash in
            hash.add(y.value)
            tape.seed(y, gradient: normal(y.value.shape, "slopes"))
            tape.backward()
            if let gradient = tape.gradient(of: input) { hash.add(gradient) }
            for (name, _) in parameters { hash.add(collected.gradient(name)!) }
        }
    }
    for addsOne in [false, true] {
        let norm = RMSNorm(
            name: "w", weight: normal([67], "norm"), epsilon: 1e-6, addsOne: addsOne)
        run("rmsnorm \(addsOne)", normal([37, 67], "x"), [("w", [67])]) { norm($0, on: $1) }
    }
    run("silu", normal([33, 2 * 129], "x")) { GatedActivation.silu($0, on: $1) }
    run("gelu", normal([33, 2 * 129], "x")) { GatedActivation.geluTanh($0, on: $1) }
    for (heads, shared, dimension, cap, window) in [
        (4, 2, 16, Float(0), 0), (4, 1, 80, 5, 0), (3, 3, 24, 0, 7),
    ] {
        let attention = Attention(
            headCount: heads, keyValueHeadCount: shared, headDimension: dimension,
            scale: 1 / Float(dimension).squareRoot(), softCap: cap, window: window)
        var rope = RotaryEmbedding(headDimension: dimension, theta: 10_000, scaling: .none)
        rope.extend(to: 128)
        let rows = PackedRows(lengths: [70, 1, 33])
        run(
            "attention \(heads)/\(shared)x\(dimension) cap \(cap) window \(window)",
            normal([rows.count, (heads + 2 * shared) * dimension], "qkv")
        ) { attention($0, rows: rows, rope: rope, on: $1) }
    }
    let rope = RotaryTables(configuration(.gemma3))
    report.line("\(name) rope") { hash in
        var tables = rope
        tables.extend(to: 2000)
        for table in [tables.full, tables.local] {
            hash.add(table.cosine)
            hash.add(table.sine)
        }
    }
}

private func factorizations(_ name: String, _ report: inout Report) throws {
    let base = normal([90, 70], "base")
    let aligned = base + normal([90, 70], "delta", scale: 0.1)
    let delta = try LoX.decompose(aligned: aligned, base: base, rank: 5)
    report.line(
        "\(name) lox",
        try LoX.extrapolate(aligned, along: delta, coefficient: 1.25))
    report.line("\(name) values") { $0.add(delta.singularValues) }
}
