import Engine
import EngineKernels
import Foundation
import Testing

/// OpenBLAS's product, for one that spoils a single element of it.
nonisolated(unsafe) private var soundProduct: ek_sgemm?

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

    @Test func `the self-test finds one wrong element, and says in whose product`() async {
        await #expect(processExitsWith: .success) {
            // Where OpenBLAS is missing there is no product to spoil; the test above says so.
            guard let library = try? OpenBLAS.load() else { return }
            soundProduct = library.sgemm
            ek_set_blas { order, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc in
                soundProduct!(
                    order, transA, transB, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc)
                // Sums of 333 products of normals: about 18; rounding explains 0.004.
                if n == 96 { c![0] += 0.01 }
            }
            do throws(ArithmeticError) {
                try testArithmetic()
                preconditionFailure("the wrong element was not found")
            } catch {
                precondition(error.reason == .wrongProduct(m: 128, n: 96, k: 333), "\(error)")
            }
            ek_set_blas(nil)
            try testArithmetic()
        }
    }

    @Test func `variables force lower kernels and a number of threads`() async {
        await #expect(processExitsWith: .success) {
            setenv("STUDY_KERNELS", "scalar", 1)
            setenv("STUDY_THREADS", "3", 1)
            precondition(kernelSetName == "scalar" && threadCount == 3, kernelSetName)
            // The chosen set is kept, whatever the variable says later.
            setenv("STUDY_KERNELS", "avx512", 1)
            precondition(kernelSetName == "scalar")
        }
        await #expect(processExitsWith: .success) {
            unsetenv("STUDY_KERNELS")
            let best = ["avx512", "avx2", "scalar"].first(where: useKernelSet)
            precondition(best != nil && kernelSetName == best)
        }
    }

    /// In a process of its own: the variables are the whole process's.
    @Test func `a variable that asks for what cannot be had is refused in every tier`() async {
        await #expect(processExitsWith: .success) {
            for (name, value, words) in [
                ("STUDY_KERNELS", "avx1024", "names no kernels"),
                ("STUDY_KERNELS", "AVX2", "names no kernels"),
                ("STUDY_THREADS", "two", "is no number of threads"),
                ("STUDY_THREADS", "0", "is no number of threads"),
            ] {
                setenv(name, value, 1)
                for tier in ArithmeticTier.allCases {
                    var found = ""
                    do throws(ArithmeticError) { try setArithmeticTier(tier) } catch {
                        found = error.description
                    }
                    precondition(found.contains("\"\(value)\", which \(words)"), found)
                    precondition(found.contains("environment variable \(name)"), found)
                }
                unsetenv(name)
            }
            // What can be had, and nothing, pass.
            for value in ["scalar", ""] {
                setenv("STUDY_KERNELS", value, 1)
                setenv("STUDY_THREADS", value.isEmpty ? "" : "2", 1)
                try setArithmeticTier(.portable)
            }
        }
    }

    /// The sentences, for CPUs that have more and less than this one.
    @Test func `say which kernels a CPU can run`() {
        func problem(
            _ kernels: String?, _ threads: String?, _ available: [String]
        ) -> ArithmeticError? {
            do {
                try checkVariables(kernels: kernels, threads: threads, available: available)
            } catch {
                return error
            }
            return nil
        }
        let all = ["avx512", "avx2", "scalar"]
        #expect(
            problem("avx51", nil, all)?.description == """
                STUDY_KERNELS is "avx51", which names no kernels.
                  where: the environment variable STUDY_KERNELS
                  mend:  set it to avx512, avx2 or scalar, which this CPU can run, or unset it: then the \
                fastest compute. The bits are the same.
                """)
        #expect(
            problem("avx512", nil, ["avx2", "scalar"])?.description == """
                STUDY_KERNELS asks for the avx512 kernels, which this CPU cannot run.
                  where: the environment variable STUDY_KERNELS
                  mend:  set it to avx2 or scalar, or unset it: then avx2 computes. The bits are the same.
                """)
        #expect(
            problem("avx2", nil, ["scalar"])?.mend
                == "set it to scalar, or unset it: then scalar computes. The bits are the same.")
        #expect(
            problem(nil, "-3", all)?.description == """
                STUDY_THREADS is "-3", which is no number of threads.
                  where: the environment variable STUDY_THREADS
                  mend:  set it to a number from 1 to 256, or unset it: then every CPU has a thread.
                """)
        #expect(problem("scalar", "256", ["scalar"]) == nil && problem(nil, nil, all) == nil)
        #expect(problem(nil, "257", all) != nil)
        // What the library says of this CPU is what it can run.
        for name in kernelSetNames where problem(name, nil, all) == nil {
            let before = kernelSetName
            if useKernelSet(name) { #expect(kernelSetName == name) }
            #expect(useKernelSet(before))
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

    /// In a process of its own: other suites' tensors count too.
    @Test func `memory of tensors is counted, and freed blocks serve again`() async {
        await #expect(processExitsWith: .success) {
            let before = TensorMemory.current
            let large = Tensor(zeros: [16 << 20])
            #expect(large.withUnsafeBytes { $0.count } == 64 << 20)
            #expect(TensorMemory.current.liveBytes == before.liveBytes + (64 << 20))
            #expect(TensorMemory.current.peakBytes >= before.liveBytes + (64 << 20))
            var odd: Tensor? = Tensor(zeros: [3_333_333])
            let place = odd!.withUnsafeBytes { $0.baseAddress }
            let held = TensorMemory.current
            odd = nil
            #expect(TensorMemory.current.liveBytes < held.liveBytes)
            let again = Tensor(zeros: [3_333_333])
            #expect(again.withUnsafeBytes { $0.baseAddress } == place)
            #expect(TensorMemory.current.liveBytes == held.liveBytes)
        }
    }
}
