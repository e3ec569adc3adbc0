import Engine
import Foundation
import Testing

/// Expected values: Fixtures/quant, bitsandbytes' definitions computed with numpy.
@Suite(.serialized) struct `Quantized weights` {
    static func load(_ number: Int) throws -> SafetensorsFile {
        try SafetensorsFile(fixture("quant/matrix\(number).safetensors"))
    }

    static func bytes(_ tensor: Tensor) -> [UInt8] { tensor.withUnsafeBytes { Array($0) } }
    static func floats(_ tensor: Tensor) -> [Float] { tensor.withUnsafeFloats { Array($0) } }

    static func expectSame(
        _ tensor: Tensor, _ file: SafetensorsFile, _ name: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let expected = try file.tensor(name)
        #expect(tensor.count == expected.count, sourceLocation: sourceLocation)
        #expect(bytes(tensor) == bytes(expected), "\(name)", sourceLocation: sourceLocation)
    }

    @Test(arguments: 0..<4) func `int8 has the reference's codes, scales and values`(number: Int)
        throws
    {
        let file = try Self.load(number)
        let matrix = Int8Matrix(quantizing: try file.tensor("weight"))
        try Self.expectSame(matrix.codes, file, "int8_codes")
        try Self.expectSame(matrix.absmax, file, "int8_absmax")
        try Self.expectSame(matrix.dequantized(), file, "int8_dequantized")
    }

    @Test(arguments: 0..<4) func `NF4 has the reference's codes, scales and values`(number: Int)
        throws
    {
        let file = try Self.load(number)
        let matrix = NF4Matrix(quantizing: try file.tensor("weight"))
        try Self.expectSame(matrix.packed, file, "nf4_packed")
        try Self.expectSame(matrix.absmax, file, "nf4_absmax")
        try Self.expectSame(matrix.dequantized(), file, "nf4_dequantized")
        #expect(matrix.doubleQuantization == nil)
    }

    @Test(arguments: 0..<4)
    func `double quantization has the reference's codes, scales and values`(number: Int) throws {
        let file = try Self.load(number)
        let matrix = NF4Matrix(quantizing: try file.tensor("weight"), doubleQuantization: true)
        let scales = try #require(matrix.doubleQuantization)
        try Self.expectSame(matrix.packed, file, "nf4_packed")
        try Self.expectSame(scales.codes, file, "dq_absmax_codes")
        try Self.expectSame(scales.absmax, file, "dq_absmax2")
        #expect(try Self.floats(file.tensor("dq_offset")) == [scales.offset])
        try Self.expectSame(matrix.absmax, file, "dq_absmax_restored")
        try Self.expectSame(matrix.dequantized(), file, "dq_dequantized")
    }

    @Test func `the tables are the reference's`() throws {
        let file = try SafetensorsFile(fixture("quant/tables.safetensors"))
        #expect(try NF4Matrix.values == Self.floats(file.tensor("nf4")))
        #expect(try DynamicMap.values == Self.floats(file.tensor("dynamic_map_8bit")))
    }

    /// `[rows, columns]` of numbers in (-1, 1) by a fixed recurrence (Numerical Recipes' LCG).
    static func numbers(_ rows: Int, _ columns: Int, seed: UInt32 = 1) -> Tensor {
        var state = seed
        return Tensor(
            (0..<(rows * columns)).map { _ in
                state = state &* 1_664_525 &+ 1_013_904_223
                return Float(Int32(bitPattern: state)) / 2_147_483_648
            }, shape: [rows, columns])
    }

    @Test(arguments: [(0, 5), (5, 0), (1, 1), (3, 1), (1, 63), (1, 65), (7, 33), (300, 257)])
    func `gives the same bits by every kernel and any thread count`(rows: Int, columns: Int) throws
    {
        let weight = Self.numbers(rows, columns)
        func everything() -> [[UInt8]] {
            let int8 = Int8Matrix(quantizing: weight)
            let nf4 = NF4Matrix(quantizing: weight, doubleQuantization: true)
            let tensors: [Tensor] = [
                int8.codes, int8.absmax, int8.dequantized(), nf4.packed, nf4.absmax,
                nf4.dequantized(),
                int8.mixedProduct(weight, OutlierDecomposition(threshold: 0.9)).result,
                int8.mixedProduct(weight, OutlierDecomposition(threshold: 0.9, scope: .row)).result,
            ]
            return tensors.map(Self.bytes)
        }
        let expected = everything()
        onEveryKernel { setting in #expect(everything() == expected, "\(setting)") }
    }

    @Test func `errors are at most half a step`() throws {
        let weight = Self.numbers(40, 96)
        let int8 = Int8Matrix(quantizing: weight)
        let decoded = Self.floats(int8.dequantized())
        let absmax = Self.floats(int8.absmax)
        for (index, value) in Self.floats(weight).enumerated() {
            // Half a step, and a rounding of the scale.
            #expect(abs(decoded[index] - value) <= absmax[index / 96] / 254 * 1.001)
        }
        let nf4 = Self.floats(NF4Matrix(quantizing: weight).dequantized())
        for (left, right) in zip(nf4, Self.floats(weight)) {
            #expect(abs(left - right) <= 0.1521)  // half the widest gap, 1 - 0.696
        }
    }

    @Test func `quantizes bf16 as the f32 it stands for`() throws {
        let weight = Self.numbers(8, 64).converted(to: .bf16)
        #expect(
            Self.bytes(Int8Matrix(quantizing: weight).codes)
                == Self.bytes(Int8Matrix(quantizing: weight.converted(to: .f32)).codes))
    }

    @Test func `counts its bits`() {
        let weight = Self.numbers(256, 256)
        #expect(NF4Matrix(quantizing: weight).bitsPerElement == 4.5)
        let double = NF4Matrix(quantizing: weight, doubleQuantization: true).bitsPerElement
        let expected: Double = 4 + 8.0 / 64 + 32.0 / 16384 + 32.0 / 65536  // and one mean
        #expect(double == expected)
    }

    @Test func `the linear layer computes with the decoded weight's bits`() throws {
        let (x, weight) = (Self.numbers(5, 96, seed: 3), Self.numbers(40, 96))
        for quantization in [
            Quantization.int8, .nf4(doubleQuantization: false), .nf4(doubleQuantization: true),
        ] {
            let quantized = Weight(quantizing: weight, as: quantization)
            #expect(
                Self.bytes(linear(x, quantized))
                    == Self.bytes(linear(x, .dense(quantized.dequantized()))))
        }
    }

    /// Another process, whose peak of resident memory is its own. A copy in f32 would take 256 MiB.
    @Test func `decoded inside the product, a weight is never held in f32`() async {
        await #expect(processExitsWith: .success) {
            func peak() throws -> Int {
                let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
                let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }!
                return Int(line.split(separator: " ").dropFirst().first!)! << 10
            }
            let size = 8192
            let weights: [Weight] = [
                .int8(
                    Int8Matrix(
                        codes: Tensor(zeros: [size, size], dtype: .i8),
                        absmax: Tensor(zeros: [size]))),
                .nf4(
                    NF4Matrix(
                        shape: [size, size], packed: Tensor(zeros: [size * size / 2], dtype: .u8),
                        absmax: Tensor(zeros: [size * size / 64]))),
            ]
            for rows in [1, 70] {
                let x = Tensor(zeros: [rows, size])
                let before = try peak()
                for weight in weights { _ = linear(x, weight) }
                let risen = try peak() - before
                precondition(risen < 64 << 20, "\(risen >> 20) MiB more at \(rows) rows")
            }
        }
    }

    // MARK: LLM.int8

    @Test func `LLM int8 keeps outlier columns in high precision`() throws {
        var x = Self.numbers(6, 96, seed: 7)
        x.withUnsafeMutableFloats {
            $0[2 * 96 + 10] = 40; $0[4 * 96 + 50] = -6
        }
        let weight = Self.numbers(20, 96)
        let matrix = Int8Matrix(quantizing: weight)
        let product = matrix.mixedProduct(x)
        #expect(product.outlierColumns == [10, 50])
        let exact = Self.floats(matmulTransposed(x, weight))
        func error(_ tensor: Tensor) -> Float {
            zip(Self.floats(tensor), exact).map { abs($0 - $1) }.max()!
        }
        // Quantized beside the outlier 40, the others would have steps of 0.3.
        #expect(error(product.result) < 0.2)
        #expect(error(matrix.mixedProduct(x, OutlierDecomposition(threshold: 0)).result) > 0.5)
    }

    @Test func `LLM int8 on numbers that need no rounding has the library's constant alone`() throws
    {
        // Codes are ±127 and scales 1, so each product is ±127² · 6.200124e-05 = ±1.000018: the library's
        // constant is that much above 1 / 127².
        let x = Tensor([1, -1, 1, 1, 1, 1], shape: [2, 3])
        let weight = Tensor([1, 1, 1, -1, 1, -1], shape: [2, 3])
        let product = Int8Matrix(quantizing: weight).mixedProduct(x)
        #expect(product.outlierColumns == [])
        for (value, expected) in zip(Self.floats(product.result), [1, -3, 3, -1] as [Float]) {
            #expect(abs(value - expected * 1.000018) < 1e-6 * 3)
        }
    }

    @Test func `LLM int8 takes empty shapes`() {
        let matrix = Int8Matrix(quantizing: Tensor(zeros: [3, 0]))
        #expect(matrix.mixedProduct(Tensor(zeros: [2, 0])).result.shape == [2, 3])
        let none = Int8Matrix(quantizing: Tensor(zeros: [0, 4]))
        #expect(none.mixedProduct(Tensor(zeros: [2, 4])).result.shape == [2, 0])
    }

    // MARK: Merging

    @Test func `a merge's error is measured against the update`() {
        let weight = Self.numbers(12, 64)
        let module = LoRAModule(
            a: Self.numbers(2, 64, seed: 5), b: Self.numbers(12, 2, seed: 6), scale: 0.5)
        let quantized = Weight(quantizing: weight, as: .nf4(doubleQuantization: false))
        let error = MergeError(original: weight, quantized: quantized, module: module)
        func norm(_ values: [Float]) -> Double {
            values.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        }
        let difference = zip(Self.floats(weight), Self.floats(quantized.dequantized())).map {
            $0 - $1
        }
        #expect(abs(error.quantization - norm(difference)) < 1e-6)
        #expect(abs(error.update - norm(Self.floats(module.delta))) < 1e-6 * error.update)
        #expect(error.ratio == error.quantization / error.update)
        let none = MergeError(original: weight, quantized: .dense(weight), module: module)
        #expect(none.quantization == 0 && none.ratio == 0)
    }
}
