import Engine
import EngineKernels
import Testing

/// Products of few rows with weights as they are stored: what generation computes.
@Suite(.serialized) struct `Products of few rows` {
    /// Both ways of using a weight (straight from registers, from a decoded panel), their edges, and the way to
    /// the blocked product.
    @Test(arguments: [1, 2, 3, 8, 14, 15, 29, 128, 129])
    func
        `with a group of weights are those with each weight alone`(rows: Int)
    {
        let input = 160
        let x = randomTensor([rows, input], name: "x")
        let half = randomTensor([70, input], name: "half")
        let weights: [Weight] = [
            .dense(half.converted(to: .bf16)), quantized(randomTensor([33, input], name: "codes")),
            .dense(randomTensor([64, input], name: "wide")), .dense(half.converted(to: .f16)),
        ]
        let left = x.values
        let expected = weights.map { weight -> [Float] in
            let rowsOfW = weight.values
            return (0..<rows).flatMap { row in
                (0..<weight.shape[0]).map { column in
                    (0..<input).reduce(Float(0)) { sum, p in
                        var sum = sum
                        sum.addProduct(left[row * input + p], rowsOfW[column * input + p])
                        return sum
                    }
                }
            }
        }
        let width = weights.reduce(0) { $0 + $1.shape[0] }
        onEveryKernel { setting in
            var y = [Float](repeating: .nan, count: rows * width)
            y.withUnsafeMutableBufferPointer { y in
                x.withOperand { a in
                    var calls: [ek_gemm_call] = []
                    var column = 0
                    for weight in weights {
                        weight.withOperand(transposed: true) { b in
                            calls.append(
                                ek_gemm_call(
                                    m: rows, n: weight.shape[0], k: input, a: a, b: b,
                                    c: y.baseAddress! + column, ldc: width, accumulate: false))
                        }
                        column += weight.shape[0]
                    }
                    // What comes next is a wish: the weights themselves will do.
                    ek_gemm_group(calls.count, calls, calls.count, calls)
                }
            }
            var column = 0
            for (i, weight) in weights.enumerated() {
                let outputs = weight.shape[0]
                let found = (0..<rows).flatMap { y[($0 * width + column)...].prefix(outputs) }
                #expect(
                    found.map(\.bitPattern) == expected[i].map(\.bitPattern),
                    "\(rows) rows, weight \(i), \(setting)")
                column += outputs
            }
        }
        withExtendedLifetime(weights) {}
    }

    private func quantized(_ tensor: Tensor) -> Weight {
        var codes = Tensor(zeros: tensor.shape, dtype: .i8)
        codes.withUnsafeMutableBytes { to in
            for (i, value) in tensor.values.enumerated() {
                to[i] = UInt8(bitPattern: Int8(max(-127, min(127, value * 40))))
            }
        }
        let absmax = randomTensor([tensor.shape[0]], name: "absmax").magnitudes()
        return .int8(Int8Matrix(codes: codes, absmax: absmax))
    }

    @Test func `take the first of the largest logits, and a NaN that comes first`() {
        for count in [1, 15, 31, 32, 33, 100, 4099] {
            for seed in 1...4 {
                // Few values, so that the largest comes several times.
                let x = randomTensor([count], seed: UInt64(seed)).values.map { ($0 * 2).rounded() }
                let largest = x.max()!
                #expect(ek_argmax(x, count) == x.firstIndex(of: largest)!, "\(count), \(seed)")
            }
        }
        var x = [Float](repeating: 1, count: 100)
        (x[40], x[77]) = (.nan, 2)
        #expect(ek_argmax(x, 100) == 77)
        x[0] = .nan
        #expect(ek_argmax(x, 100) == 0)
    }
}

/// What the allocator gives out.
@Suite struct `Memory of kernels` {
    @Test func `is aligned and nobody else's, in every size and order of return`() {
        var random = RandomStream(seed: 5, name: "memory")
        var blocks: [(base: UnsafeMutableRawPointer, size: Int, mark: UInt8)] = []
        func check(_ block: (base: UnsafeMutableRawPointer, size: Int, mark: UInt8)) {
            let bytes = UnsafeRawBufferPointer(start: block.base, count: block.size)
            #expect(bytes.first == block.mark && bytes.last == block.mark)
            #expect(bytes[block.size / 2] == block.mark)
            ek_release(block.base, block.size)
        }
        for round in 0..<400 {
            // From malloc's, through those that share a chunk, to mappings of their own.
            let size =
                1 + random.below(round % 40 == 0 ? 20 << 20 : round % 3 == 0 ? 3 << 20 : 90 << 10)
            let base = ek_allocate(size)!
            #expect(UInt(bitPattern: base) % 64 == 0)
            let mark = UInt8(random.below(256))
            for at in [0, size / 2, size - 1] {
                base.storeBytes(of: mark, toByteOffset: at, as: UInt8.self)
            }
            blocks.append((base, size, mark))
            if blocks.count > 30 { check(blocks.remove(at: random.below(blocks.count))) }
        }
        for block in blocks { check(block) }
    }
}

extension Weight {
    /// The elements as the products use them.
    fileprivate var values: [Float] {
        switch self {
        case .dense(let tensor): return tensor.converted(to: .f32).values
        case .int8(let matrix):
            let (input, scales) = (matrix.codes.shape[1], matrix.absmax.values)
            return matrix.codes.withUnsafeBytes { codes in
                codes.enumerated().map {
                    Float(Int8(bitPattern: $1)) * (scales[$0 / input] / 127)
                }
            }
        case .nf4: preconditionFailure("not in these tests")
        }
    }
}
