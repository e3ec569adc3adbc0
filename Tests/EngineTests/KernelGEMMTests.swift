import Engine
import EngineKernels
import Testing

/// Runs `body` under every kernel set this CPU has and 1, 2, 3 and 7 threads.
/// Suites that switch kernels are `.serialized`; others get the same bits whichever is chosen.
func onEveryKernel(_ body: (_ setting: String) -> Void) {
    let (before, threads) = (kernelSetName, threadCount)
    for name in ["avx512", "avx2", "scalar"] where useKernelSet(name) {
        for count in [1, 2, 3, 7] {
            setThreadCount(count)
            body("\(name), \(count) threads")
        }
    }
    _ = useKernelSet(before)
    setThreadCount(threads)
}

func randomTensor(_ shape: [Int], seed: UInt64 = 1, name: String = "tensor") -> Tensor {
    var random = RandomStream(seed: seed, name: name)
    var tensor = Tensor(zeros: shape)
    tensor.withUnsafeMutableFloats { random.fillNormal($0) }
    return tensor
}

func bits(_ tensor: Tensor) -> [UInt32] {
    tensor.withUnsafeFloats { $0.map(\.bitPattern) }
}

@Suite(.serialized) struct `Matrix product` {
    @Test func `of 2 × 3 and 3 × 2 by hand`() {
        let a = Tensor([1, 2, 3, 4, 5, 6], shape: [2, 3])
        let b = Tensor([7, 8, 9, 10, 11, 12], shape: [3, 2])
        // Row 1: 7 + 18 + 33, 8 + 20 + 36; row 2: 28 + 45 + 66, 32 + 50 + 72.
        #expect(matmul(a, b).withUnsafeFloats { Array($0) } == [58, 64, 139, 154])
        #expect(
            matmulTransposed(a, b.transposed()).withUnsafeFloats { Array($0) } == [
                58, 64, 139, 154,
            ])
    }

    /// Every transpose, accumulation and shape, with rows further apart than they are long.
    @Test(arguments: [
        [0, 5, 3], [5, 0, 3], [5, 3, 0], [1, 1, 1], [1, 17, 33], [3, 2, 1], [16, 16, 16],
        [14, 32, 256], [4, 40, 700], [3, 16, 33], [130, 32, 513], [70, 20, 100], [20, 300, 300],
        [16, 257, 270],
        [15, 33, 257], [29, 129, 513], [64, 48, 64], [70, 5, 600], [2, 300, 40], [33, 8, 100],
        [60, 200, 9],
    ]) func `is one ascending chain of fused multiply-adds, whatever computes it`(size: [Int]) {
        let (m, n, k) = (size[0], size[1], size[2])
        for (transposedA, transposedB, accumulate) in [
            (false, false, false), (false, true, true), (true, false, true), (true, true, false),
        ] {
            let strideA = (transposedA ? m : k) + 3, strideB = (transposedB ? k : n) + 1,
                ldc = n + 2
            let a = randomTensor([max(m, k), strideA], name: "a").withUnsafeFloats { Array($0) }
            let b = randomTensor([max(n, k), strideB], name: "b").withUnsafeFloats { Array($0) }
            let start = randomTensor([m, ldc], name: "c").withUnsafeFloats { Array($0) }
            var expected = start
            for i in 0..<m {
                for j in 0..<n {
                    var sum: Float = accumulate ? start[i * ldc + j] : 0
                    for p in 0..<k {
                        let x = transposedA ? a[p * strideA + i] : a[i * strideA + p]
                        let y = transposedB ? b[j * strideB + p] : b[p * strideB + j]
                        sum.addProduct(x, y)
                    }
                    expected[i * ldc + j] = sum
                }
            }
            onEveryKernel { setting in
                var c = start
                a.withUnsafeBufferPointer { a in
                    b.withUnsafeBufferPointer { b in
                        ek_gemm(
                            m, n, k,
                            operand(a.baseAddress, stride: strideA, transposed: transposedA),
                            operand(b.baseAddress, stride: strideB, transposed: transposedB),
                            &c, ldc, accumulate)
                    }
                }
                #expect(
                    c.map(\.bitPattern) == expected.map(\.bitPattern),
                    "\(size), \(transposedA), \(transposedB), \(setting)")
            }
        }
    }

    /// Sizes that are cut along every axis: more k than a block and than is packed at a time, more rows and
    /// columns than are packed at a time. A sample of elements is computed one by one.
    @Test(arguments: [[40, 90, 5000], [4100, 33, 2050], [33, 2100, 2050], [9, 40, 9000]])
    func `is that chain where it is cut along every axis`(size: [Int]) {
        let (m, n, k) = (size[0], size[1], size[2])
        let a = randomTensor([m, k], name: "a"), b = randomTensor([n, k], name: "b")
        var random = RandomStream(seed: 3, name: "sample")
        let sample =
            (0..<40).map { _ in (random.below(m), random.below(n)) }
            + [(0, 0), (m - 1, n - 1), (m - 1, 0), (0, n - 1)]
        let expected = sample.map { i, j in
            a.withUnsafeFloats { a in
                b.withUnsafeFloats { b in
                    (0..<k).reduce(Float(0)) { sum, p in
                        var sum = sum
                        sum.addProduct(a[i * k + p], b[j * k + p])
                        return sum
                    }
                }
            }
        }
        for name in ["avx512", "avx2", "scalar"] where useKernelSet(name) {
            let c = matmulTransposed(a, b)
            let found = c.withUnsafeFloats { c in sample.map { c[$0 * n + $1] } }
            #expect(found.map(\.bitPattern) == expected.map(\.bitPattern), "\(size), \(name)")
        }
        _ = useKernelSet("avx512") || useKernelSet("avx2")
    }

    /// int8, NF4, bf16 and f16 operands give what their f32 values give, whether x · Wᵀ or g · W.
    @Test(arguments: [[20, 64, 192], [3, 33, 128], [40, 70, 90], [1, 16, 64]])
    func `decodes narrow weights to the bits of the widened ones`(size: [Int]) {
        let (rows, output, input) = (size[0], size[1], size[2])
        let codes = randomTensor([output, input], name: "codes").values.map {
            Int8(max(-127, min(127, $0 * 40)))
        }
        var bytes = Tensor(zeros: [output, input], dtype: .i8)
        bytes.withUnsafeMutableBytes { to in codes.withUnsafeBytes { to.copyMemory(from: $0) } }
        let absmax = randomTensor([output], name: "absmax").magnitudes()
        let scales = absmax.values
        let int8 = Weight.int8(Int8Matrix(codes: bytes, absmax: absmax))
        let wide = codes.enumerated().map { Float($1) * (scales[$0 / input] / 127) }

        var packed = Tensor(zeros: [output * input / 2], dtype: .u8)
        let nibbles = codes.map { UInt8(bitPattern: $0) & 15 }
        packed.withUnsafeMutableBytes { to in
            for i in to.indices { to[i] = nibbles[2 * i] << 4 | nibbles[2 * i + 1] }
        }
        let blocks = randomTensor([(output * input + 63) / 64], name: "blocks").magnitudes()
        let nf4 = Weight.nf4(NF4Matrix(shape: [output, input], packed: packed, absmax: blocks))
        let nf4Wide = nibbles.enumerated().map { nf4Values[Int($1)] * blocks.values[$0 / 64] }

        let half = randomTensor([output, input], name: "half")
        let cases: [(String, Weight, Tensor)] = [
            ("int8", int8, Tensor(wide, shape: [output, input])),
            ("nf4", nf4, Tensor(nf4Wide, shape: [output, input])),
            (
                "bf16", .dense(half.converted(to: .bf16)),
                half.converted(to: .bf16).converted(to: .f32)
            ),
            ("f16", .dense(half.converted(to: .f16)), half.converted(to: .f16).converted(to: .f32)),
        ]
        let x = randomTensor([rows, input], name: "x"), g = randomTensor([rows, output], name: "g")
        for (name, weight, dense) in cases {
            let forward = bits(matmulTransposed(x, dense)), backward = bits(matmul(g, dense))
            onEveryKernel { setting in
                #expect(bits(linear(x, weight)) == forward, "\(name), \(setting)")
                var result = Tensor(zeros: [rows, input])
                result.withUnsafeMutableFloats { c in
                    g.withOperand { g in
                        weight.withOperand(transposed: false) { w in
                            ek_gemm(rows, input, output, g, w, c.baseAddress, input, false)
                        }
                    }
                }
                #expect(bits(result) == backward, "\(name), \(setting)")
            }
        }
    }

    @Test func `a batch gives what its products give one by one`() {
        let a = randomTensor([5, 9, 20], name: "a"), b = randomTensor([5, 20, 33], name: "b")
        let batch = matmul(a, b).values
        for i in 0..<5 {
            let x = Tensor(Array(a.values[i * 180..<(i + 1) * 180]), shape: [9, 20])
            let y = Tensor(Array(b.values[i * 660..<(i + 1) * 660]), shape: [20, 33])
            #expect(matmul(x, y).values == Array(batch[i * 297..<(i + 1) * 297]))
        }
    }

    @Test func `names both shapes when they do not fit`() async {
        await #expect(processExitsWith: .failure) {
            _ = matmul(Tensor(zeros: [16, 768]), Tensor(zeros: [512, 768]))
        }
    }
}

private let nf4Values: [Float] = [
    -1, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635,
    -0.18477343022823334, -0.09105003625154495, 0, 0.07958029955625534, 0.16093020141124725,
    0.24611230194568634, 0.33791524171829224, 0.44070982933044434, 0.5626170039176941,
    0.7229568362236023, 1,
]
