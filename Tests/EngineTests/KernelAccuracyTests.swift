import Engine
import EngineKernels
import Foundation
import Testing

/// The distance from `value` to the exact result, in units in the last place of the result's binade.
private func ulps(_ value: Float, from exact: Double) -> Double {
    let nearest = Float(exact)
    if value.isNaN || nearest.isNaN { return value.isNaN && nearest.isNaN ? 0 : .infinity }
    if value == nearest {
        return nearest.isFinite ? abs(Double(value) - exact) / Double(nearest.ulp) : 0
    }
    return abs(Double(value) - exact) / Double(Swift.max(nearest.ulp, .leastNonzeroMagnitude))
}

/// Every 997th f32 of `range`, by bit pattern, and its negation where that lies in it.
private func samples(_ range: ClosedRange<Float>) -> [Float] {
    var result: [Float] = []
    for pattern in stride(from: UInt32(0), to: 0x7f80_0000, by: 997) {
        let x = Float(bitPattern: pattern)
        if range.contains(x) { result.append(x) }
        if range.contains(-x) { result.append(-x) }
    }
    return result
}

struct FunctionCase: Sendable, CustomTestStringConvertible {
    let name: String
    let operation: ek_unary_op
    let range: ClosedRange<Float>
    /// The accuracy that simd.h states, in ulp.
    let limit: Double
    let exact: @Sendable (Double) -> Double
    var testDescription: String { name }

    static let all: [FunctionCase] = [
        .init(name: "exp", operation: EK_EXP, range: -110...95, limit: 1.0) { Foundation.exp($0) },
        .init(
            name: "log", operation: EK_LOG, range: 0...Float.greatestFiniteMagnitude, limit: 0.8
        ) { Foundation.log($0) },
        .init(name: "tanh", operation: EK_TANH, range: -20...20, limit: 1.3) {
            Foundation.tanh($0)
        },
        .init(name: "sin", operation: EK_SIN, range: -0x1p30...0x1p30, limit: 0.51) {
            Foundation.sin($0)
        },
        .init(name: "cos", operation: EK_COS, range: -0x1p30...0x1p30, limit: 0.51) {
            Foundation.cos($0)
        },
        .init(
            name: "rsqrt", operation: EK_RSQRT, range: 0...Float.greatestFiniteMagnitude, limit: 1.5
        ) { 1 / $0.squareRoot() },
        .init(name: "erf", operation: EK_ERF, range: -10...10, limit: 1.8) { Foundation.erf($0) },
        .init(name: "sigmoid", operation: EK_SIGMOID, range: -85...85, limit: 2.2) {
            1 / (1 + Foundation.exp(-$0))
        },
        .init(name: "silu", operation: EK_SILU, range: -85...85, limit: 2.2) {
            $0 / (1 + Foundation.exp(-$0))
        },
        .init(
            name: "sqrt", operation: EK_SQRT, range: 0...Float.greatestFiniteMagnitude, limit: 0.5
        ) { $0.squareRoot() },
        .init(
            name: "gelu, x ≥ −1", operation: EK_GELU_TANH, range: -1...30, limit: 2.5, exact: gelu),
        .init(
            name: "gelu, −5 ≤ x ≤ −1", operation: EK_GELU_TANH, range: -5 ... -1, limit: 32,
            exact: gelu),
    ]

    /// By σ(2u), which does not cancel in f64.
    static let gelu: @Sendable (Double) -> Double = {
        $0
            / (1
                + Foundation.exp(-2 * (2 / Double.pi).squareRoot() * ($0 + 0.044715 * $0 * $0 * $0)))
    }
}

@Suite(.serialized) struct `Elementary functions` {
    @Test(arguments: FunctionCase.all) func `keep to the accuracy that is stated`(
        _ function: FunctionCase
    ) {
        let xs = samples(function.range)
        let ys = Tensor(xs, shape: [xs.count]).mapped(function.operation).values
        var worst = (ulps: 0.0, x: Float(0))
        for (x, y) in zip(xs, ys) {
            let error = ulps(y, from: function.exact(Double(x)))
            if error > worst.ulps { worst = (error, x) }
        }
        print(
            "\(function.name): at most \(worst.ulps) ulp, at \(worst.x), of \(xs.count) arguments")
        #expect(worst.ulps <= function.limit, "at \(worst.x)")
    }

    @Test func `give limits and NaN where the functions have them`() {
        func value(_ operation: ek_unary_op, _ x: Float) -> Float {
            Tensor([x], shape: [1]).mapped(operation).values[0]
        }
        let none: Float = 0, one: Float = 1, below: Float = -0.0
        #expect(value(EK_EXP, -.infinity) == none)
        #expect(value(EK_EXP, .infinity) == .infinity)
        #expect(value(EK_EXP, 0) == one)
        #expect(value(EK_LOG, 0) == -.infinity)
        #expect(value(EK_LOG, .infinity) == .infinity)
        #expect(value(EK_LOG, 1) == none)
        #expect(value(EK_TANH, .infinity) == one)
        #expect(value(EK_TANH, -.infinity) == -one)
        #expect(value(EK_COS, 0) == one)
        #expect(value(EK_ERF, .infinity) == one)
        #expect(value(EK_ERF, -.infinity) == -one)
        #expect(value(EK_SIGMOID, -.infinity) == none)
        #expect(value(EK_SIGMOID, .infinity) == one)
        for operation in [EK_TANH, EK_SIN, EK_ERF] {
            #expect(value(operation, below).bitPattern == below.bitPattern)
        }
        for operation in [EK_EXP, EK_LOG, EK_TANH, EK_SIN, EK_COS, EK_ERF, EK_SIGMOID] {
            #expect(value(operation, .nan).isNaN)
        }
        for (operation, x) in [(EK_LOG, -one), (EK_SIN, Float.infinity), (EK_COS, 0x1p31)] {
            #expect(value(operation, x).isNaN)
        }
    }

    /// The slope of GELU's tanh form and of SiLU, against central differences in f64.
    @Test func `have the gradients that finite differences give`() {
        let xs = (-200...200).map { Float($0) / 16 }
        let input = Tensor(xs, shape: [xs.count])
        func silu(_ x: Double) -> Double { x / (1 + Foundation.exp(-x)) }
        func gelu(_ x: Double) -> Double {
            0.5 * x
                * (1 + Foundation.tanh((2 / Double.pi).squareRoot() * (x + 0.044715 * x * x * x)))
        }
        for (operation, f, limit) in [
            (EK_SILU_GRADIENT, silu, 12.0), (EK_GELU_TANH_GRADIENT, gelu, 4),
        ] {
            var worst = 0.0
            for (x, slope) in zip(xs, input.mapped(operation).values) {
                func central(_ h: Double) -> Double {
                    (f(Double(x) + h) - f(Double(x) - h)) / (2 * h)
                }
                let expected = (4 * central(1e-4) - central(2e-4)) / 3
                worst = max(worst, abs(Double(slope) - expected))
            }
            // As simd.h states: near its zero a slope has no ulp to speak of.
            print("slope \(operation.rawValue): off by at most \(worst * 0x1p24) · 2⁻²⁴")
            #expect(worst <= limit * 0x1p-24)
        }
        for (x, y) in zip(xs, input.gelu().values) {
            #expect(abs(Double(y) - gelu(Double(x))) < 2e-6)
        }
    }

    @Test func `slopes and values far out are those of the lines they approach`() {
        let x = Tensor([-1e30, -1e14, -60, 60, 1e14, 1e30], shape: [6])
        for operation in [EK_GELU_TANH_GRADIENT, EK_SILU_GRADIENT] {
            let slopes = x.mapped(operation).values
            #expect(slopes[2...].map { $0.rounded() } == [0, 1, 1, 1], "\(operation.rawValue)")
        }
        #expect(x.mapped(EK_GELU_TANH_GRADIENT).values == [0, 0, 0, 1, 1, 1])
        #expect(x.mapped(EK_GELU_TANH).values.map { abs($0) } == [0, 0, 0, 60, 1e14, 1e30])
        let nan = Tensor([.nan], shape: [1])
        for operation in [EK_GELU_TANH, EK_GELU_TANH_GRADIENT, EK_SILU, EK_SILU_GRADIENT] {
            #expect(nan.mapped(operation).values[0].isNaN)
        }
    }

    @Test func `a softmax's shares and a soft cap keep to their accuracy`() {
        for count in [1, 2, 17, 1000] {
            let x = randomTensor([count], name: "softmax")
            let values = x.values.map(Double.init)
            let largest = values.max()!
            let powers = values.map { Foundation.exp($0 - largest) }
            let sum = powers.reduce(0, +)
            var worst = 0.0
            for (y, power) in zip(x.softmax().values, powers) {
                worst = max(worst, ulps(y, from: power / sum))
            }
            print("softmax of \(count): at most \(worst) ulp")
            // exp of a difference of up to 8 rounded once (4 ulp), exp, the sum's tree, a division.
            #expect(worst <= 8)
        }
    }
}

#if arch(x86_64)
    @Suite struct `Functions in f64` {
        /// ulps of f64 from a value in 80 bits.
        static func error(_ value: Double, _ exact: Float80) -> Double {
            Double(abs(Float80(value) - exact) / Float80(Double(exact).ulp))
        }

        @Test func `keep to the accuracy that is stated`() {
            var random = RandomStream(seed: 3, name: "f64")
            var worst = (exp: 0.0, log: 0.0, cosine: 0.0, sine: 0.0)
            for _ in 0..<20_000 {
                let x = Double(random.uniform() * 1400 - 700)
                worst.exp = max(
                    worst.exp, Self.error(PortableMath.exp(x), Foundation.exp(Float80(x))))
                let y = Double(Float(bitPattern: 1 + random.nextUInt32() % 0x7f00_0000))
                worst.log = max(
                    worst.log, Self.error(PortableMath.log(y), Foundation.log(Float80(y))))
                let near = Double(0.5 + random.uniform())
                worst.log = max(
                    worst.log, Self.error(PortableMath.log(near), Foundation.log(Float80(near))))
                // Absolute: a table's entry near 0 is rounded to f32 of an angle that was one.
                let angle = Double(random.uniform() * 1e6)
                let (c, s) = PortableMath.cosineAndSine(angle)
                worst.cosine = max(
                    worst.cosine,
                    Double(abs(Float80(c) - Foundation.cos(Float80(angle)))) * 0x1p53)
                worst.sine = max(
                    worst.sine, Double(abs(Float80(s) - Foundation.sin(Float80(angle)))) * 0x1p53)
            }
            print("f64, of 20,000 arguments: \(worst)")
            #expect(worst.exp <= 2.5 && worst.log <= 3)
            #expect(worst.cosine <= 2 && worst.sine <= 2)
        }
    }
#endif

@Suite(.serialized) struct `Every operator` {
    /// Lengths with odd ends, one block and several.
    static let lengths = [0, 1, 15, 16, 17, 63, 64, 100, 4097, 40_000]

    @Test(arguments: lengths) func `gives the same bits on every kernel and thread count`(
        count: Int
    ) {
        let x = randomTensor([count], name: "x"), y = randomTensor([count], name: "y")
        var expected: [String: [UInt32]] = [:]
        onEveryKernel { setting in
            var results: [String: [UInt32]] = [:]
            for operation in 0...EK_ABS.rawValue {
                results["function \(operation)"] = bits(x.mapped(ek_unary_op(operation)))
            }
            results["+"] = bits(x + y)
            results["-"] = bits(x - y)
            results["*"] = bits(x * y)
            results["/"] = bits(x / y)
            var sum = x
            sum.add(0.3, times: y)
            results["add"] = bits(sum)
            results["scaled"] = bits(x * 0.7)
            results["softmax"] = bits(x.softmax())
            results["bf16"] = bits(x.converted(to: .bf16).converted(to: .f32))
            results["f16"] = bits(x.converted(to: .f16).converted(to: .f32))
            x.withUnsafeFloats { p in
                y.withUnsafeFloats { q in
                    results["sum"] = [ek_sum(count, p.baseAddress).bitPattern]
                    results["dot"] = [ek_dot(count, p.baseAddress, q.baseAddress).bitPattern]
                    results["max"] = [ek_max(count, p.baseAddress).bitPattern]
                }
            }
            for (name, value) in [("sum64", x.sum()), ("dot64", x.dot(y))] {
                results[name] = [
                    UInt32(truncatingIfNeeded: value.bitPattern >> 32),
                    UInt32(truncatingIfNeeded: value.bitPattern),
                ]
            }
            var normals = RandomStream(seed: 9, name: "normals")
            var drawn = Tensor(zeros: [count])
            drawn.withUnsafeMutableFloats { normals.fillNormal($0) }
            results["normals"] = bits(drawn)
            drawn.withUnsafeMutableFloats { normals.fillUniform($0) }
            results["uniforms"] = bits(drawn)
            if count > 0, count % 4 == 0 {
                results["transposed"] = bits(x.reshaped([4, count / 4]).transposed())
            }
            if expected.isEmpty { expected = results }
            for (name, value) in results where value != expected[name] {
                Issue.record("\(name) of \(count) differs on \(setting)")
            }
        }
    }

    @Test(arguments: lengths) func `sums what f64 sums`(count: Int) {
        let x = randomTensor([count], name: "x")
        let values = x.values.map(Double.init)
        let scale = values.reduce(0) { $0 + abs($1) }
        // f32: each of the log₂ n levels of the tree and 64 chained lanes rounds by 2⁻²⁴ at most.
        let narrow = x.withUnsafeFloats { ek_sum(count, $0.baseAddress) }
        #expect(abs(Double(narrow) - values.reduce(0, +)) <= scale * 0x1p-24 * 80)
        #expect(abs(x.sum() - values.reduce(0, +)) <= scale * 1e-13)
        #expect(
            abs(x.norm() - values.reduce(0) { $0 + $1 * $1 }.squareRoot()) <= 1e-12 * (1 + x.norm())
        )
        #expect(x.max() == (x.values.max() ?? -.infinity))
    }
}

@Suite(.serialized) struct `Half precision` {
    @Test func `every half and bfloat16 goes to f32 and back unchanged, on every kernel`() {
        let patterns = (0...UInt16.max).map { $0 }
        onEveryKernel { setting in
            for dtype in [DType.bf16, .f16] {
                var half = Tensor(zeros: [patterns.count], dtype: dtype)
                half.withUnsafeMutableBytes { bytes in
                    patterns.withUnsafeBytes { bytes.copyMemory(from: $0) }
                }
                let wide = half.converted(to: .f32)
                let back = wide.converted(to: dtype).withUnsafeBytes {
                    Array($0.assumingMemoryBound(to: UInt16.self))
                }
                let values = wide.values
                for (pattern, value) in zip(patterns, values) {
                    if value.isNaN { continue }
                    let exact: Float =
                        dtype == .bf16
                        ? Float(bitPattern: UInt32(pattern) << 16)
                        : Float(Float16(bitPattern: pattern))
                    if value != exact || back[Int(pattern)] != pattern {
                        Issue.record("\(dtype) \(pattern): \(value) for \(exact), \(setting)")
                        return
                    }
                }
                let infinity: UInt16 = dtype == .bf16 ? 0x7f80 : 0x7c00
                for (pattern, value) in zip(patterns, values) where value.isNaN {
                    #expect(
                        back[Int(pattern)] & 0x7fff > infinity, "NaN became a number, \(setting)")
                }
            }
        }
    }

    @Test func `rounds to the nearest, ties to even, as Float16 does`() {
        let xs = samples(-70000...70000)
        let expected = xs.map { Float16($0).bitPattern }
        onEveryKernel { setting in
            let half = Tensor(xs, shape: [xs.count]).converted(to: .f16)
            let got = half.withUnsafeBytes { Array($0.assumingMemoryBound(to: UInt16.self)) }
            #expect(got == expected, "\(setting)")
        }
        // bfloat16: 1 + 2⁻⁸ lies midway between 1 and 1 + 2⁻⁷; the even one is 1.
        let ties: [Float] = [0x1.01p0, 0x1.03p0, 0x1.0101p0]
        let rounded: [Float] = [0x1p0, 0x1.04p0, 0x1.02p0]
        #expect(Tensor(ties, shape: [3]).converted(to: .bf16).values == rounded)
    }
}
