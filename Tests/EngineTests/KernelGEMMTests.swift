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
        [14, 32, 256],
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
}
