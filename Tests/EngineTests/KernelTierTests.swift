import Engine
import Foundation
import Testing

@Suite(.serialized) struct `Arithmetic tiers` {
    @Test func `the portable tier passes its own test on every kernel`() throws {
        let before = kernelSetName
        for name in ["avx512", "avx2"] where useKernelSet(name) { try testArithmetic() }
        #expect(useKernelSet(before))
    }

    /// Another process, since the tier holds for the whole of one and OpenBLAS cannot be unloaded.
    @Test func `the blas tier pins a core, agrees with f64 and gives one answer for any threads`()
        async
    {
        await #expect(processExitsWith: .success) {
            do { try setArithmeticTier(.blas) } catch {
                // Where OpenBLAS is missing the error says so; that is the other promise.
                precondition("\(error)".contains("install"), "\(error)")
                return
            }
            precondition(arithmeticTier == .blas && OpenBLAS.loaded?.core.isEmpty == false)
            var random = RandomStream(seed: 1, name: "blas")
            var a = Tensor(zeros: [600, 333]), b = Tensor(zeros: [700, 333])
            a.withUnsafeMutableFloats { random.fillNormal($0) }
            b.withUnsafeMutableFloats { random.fillNormal($0) }
            let half = b.converted(to: .bf16)
            var answers: [[Float]] = [], halves: [[Float]] = []
            for threads in [1, 2, 3, 7] {
                setThreadCount(threads)
                answers.append(matmulTransposed(a, b).values)
                halves.append(linear(a, .dense(half)).values)
            }
            precondition(answers.allSatisfy { $0 == answers[0] }, "threads change the blas tier")
            precondition(halves.allSatisfy { $0 == halves[0] }, "threads change the blas tier")
            precondition(halves[0] == linear(a, .dense(half.converted(to: .f32))).values)
            try setArithmeticTier(.portable)
            let portable = matmulTransposed(a, b).values
            let far = zip(portable, answers[0]).map { abs($0 - $1) }.max()!
            // Sums of 333 products of standard normals: about 18, off by 333 roundings at most.
            precondition(far < 333 * 0x1p-24 * 333, "the tiers differ by \(far)")
        }
    }

    @Test func `variables force lower kernels and a number of threads`() async {
        await #expect(processExitsWith: .success) {
            setenv("STUDY_KERNELS", "scalar", 1)
            setenv("STUDY_THREADS", "3", 1)
            precondition(kernelSetName == "scalar" && threadCount == 3, kernelSetName)
            // Higher ones than the CPU has, and other words, change nothing; the chosen set is kept.
            setenv("STUDY_KERNELS", "avx512", 1)
            precondition(kernelSetName == "scalar")
        }
        await #expect(processExitsWith: .success) {
            unsetenv("STUDY_KERNELS")
            let best = ["avx512", "avx2", "scalar"].first(where: useKernelSet)
            precondition(best != nil && kernelSetName == best)
        }
    }

    @Test func `say what is missing and how to mend it`() {
        let missing = ArithmeticError(
            .libraryMissing("libopenblas.so.0: cannot open"), library: nil)
        #expect(
            missing.description == """
                The blas tier needs OpenBLAS, which is not installed: libopenblas.so.0: cannot open
                  where: our own kernels
                  mend:  install it (Debian: apt-get install libopenblas0-pthread), or use the portable \
                tier, the default, which needs no library.
                """)
        let core = ArithmeticError(
            .otherCore(wanted: "SkylakeX", found: "Haswell"), library: "/lib/x.so")
        #expect(
            core.description == """
                OpenBLAS was to run its SkylakeX kernels and runs those for Haswell.
                  where: /lib/x.so
                  mend:  start the process without OPENBLAS_CORETYPE, or name a core that this build has \
                in STUDY_BLAS_CORE.
                """)
    }

    @Test func `memory of tensors is counted, and freed blocks serve again`() {
        // Other suites count beside this one: they free small tensors, so half of a large one must show.
        let before = TensorMemory.current
        let large = Tensor(zeros: [16 << 20])
        #expect(TensorMemory.current.liveBytes >= before.liveBytes + (32 << 20))
        #expect(large.withUnsafeBytes { $0.count } == 64 << 20)
        // Other suites run beside this one and may take the block; ask for a size of its own.
        var odd: Tensor? = Tensor(zeros: [3_333_333])
        let place = odd!.withUnsafeBytes { $0.baseAddress }
        odd = nil
        let again = Tensor(zeros: [3_333_333])
        #expect(again.withUnsafeBytes { $0.baseAddress } == place)
        #expect(TensorMemory.current.peakBytes >= before.liveBytes + (32 << 20))
    }
}
