// The digest of a training's state: the same whoever computes it, another for any difference.

import Engine
import EngineKernels
import Foundation
import Testing

@Suite(.serialized) struct `The digest of a state` {
    private func digest(_ bytes: [UInt8]) -> UInt64 {
        bytes.withUnsafeBytes { ek_digest($0.baseAddress, $0.count) }
    }

    private func noise(_ count: Int) -> [UInt8] {
        var random = RandomStream(seed: 3, name: "bytes")
        return (0..<count).map { _ in UInt8(random.below(256)) }
    }

    @Test(arguments: [0, 1, 255, 256, 257, 65_535, 65_536, 65_537, 300_000])
    func `does not depend on kernels and threads`(count: Int) {
        let bytes = noise(count)
        let (kernel, threads) = (String(cString: ek_kernel_name()), ek_threads())
        defer {
            _ = ek_use_kernels(kernel)
            ek_set_threads(threads)
        }
        let expected = digest(bytes)
        for name in ["scalar", "avx2", "avx512"] where ek_use_kernels(name) {
            for threads in [1, 2, 5] {
                ek_set_threads(Int32(threads))
                #expect(digest(bytes) == expected)
            }
        }
    }

    @Test(arguments: [0, 1, 16_383, 16_384, 16_385, 100_000, 4_194_304 + 5])
    func `an update gives the digests of what it wrote`(count: Int) {
        let threads = ek_threads()
        defer { ek_set_threads(threads) }
        var random = RandomStream(seed: 4, name: "update")
        let start = (0..<4).map { _ in
            let part = (0..<1009).map { _ in abs(Float(random.normal())) }
            var all: [Float] = []
            while all.count < count { all += part }
            return Array(all.prefix(count))
        }
        func updated(digesting: Bool) -> (tensors: [[Float]], digests: [UInt64]) {
            var (p, m, v) = (start[0], start[2], start[3])
            var digests: [UInt64] = [1, 2, 3]
            var a = ek_adamw_t()
            (a.count, a.gradientScale, a.beta1, a.beta2) = (count, 0.5, 0.9, 0.99)
            (a.decay, a.stepSize, a.rootCorrection, a.epsilon) = (0.99, 0.01, 0.5, 1e-8)
            start[1].withUnsafeBufferPointer { g in
                p.withUnsafeMutableBufferPointer { p in
                    m.withUnsafeMutableBufferPointer { m in
                        v.withUnsafeMutableBufferPointer { v in
                            digests.withUnsafeMutableBufferPointer { d in
                                (a.p, a.g) = (p.baseAddress, g.baseAddress)
                                (a.m, a.v) = (m.baseAddress, v.baseAddress)
                                if digesting { a.digests = d.baseAddress }
                                ek_adamw(&a)
                            }
                        }
                    }
                }
            }
            return ([p, m, v], digests)
        }
        let plain = updated(digesting: false).tensors
        for threads in [1, 2, 3] {
            ek_set_threads(Int32(threads))
            let (tensors, digests) = updated(digesting: true)
            #expect(tensors == plain)
            #expect(
                digests
                    == tensors.map { tensor in
                        tensor.withUnsafeBytes { ek_digest($0.baseAddress, $0.count) }
                    })
        }
    }

    @Test func `any flipped bit, any swap of words, a longer row of zeros: another digest`() {
        let bytes = noise(70_000)
        var seen: Set<UInt64> = [digest(bytes)]
        var count = 1
        for place in stride(from: 0, to: bytes.count, by: 997) {
            for bit in 0..<8 {
                var changed = bytes
                changed[place] ^= 1 << bit
                seen.insert(digest(changed))
                count += 1
            }
        }
        // Two sign bits in one lane, words of one lane swapped, blocks swapped.
        for distance in [256, 512, 65_536] {
            var signs = bytes
            signs[7] ^= 0x80
            signs[7 + distance] ^= 0x80
            seen.insert(digest(signs))
            var swapped = bytes
            for place in 0..<8 { swapped.swapAt(place, place + distance) }
            seen.insert(digest(swapped))
            count += 2
        }
        for length in 0..<600 {
            seen.insert(digest([UInt8](repeating: 0, count: length)))
            count += 1
        }
        #expect(seen.count == count)
    }

    private func digests(
        _ start: LanguageModel, rate: Double = 1e-2, _ options: TrainingOptions = TrainingOptions()
    ) throws -> [UInt64] {
        var model = start
        var random = RandomStream(seed: 5, name: "run")
        var states: [UInt64] = []
        try train(
            &model, on: tinyExamples(32), with: AdamW(learningRate: rate), options, using: &random
        ) { states.append($0.stateDigest) }
        return states
    }

    @Test(arguments: [false, true]) func `is that of any thread count, and of a resumed run`(
        full: Bool
    ) throws {
        let start = full ? tinyModel().converted(to: .bf16) : try adapted(tinyModel(), dropout: 0.1)
        let threads = ek_threads()
        defer { ek_set_threads(threads) }
        let whole = try digests(start)
        #expect(whole.count == 4 && Set(whole).count == 4)
        ek_set_threads(threads == 1 ? 2 : 1)
        #expect(try digests(start) == whole)

        let path = NSTemporaryDirectory() + "/state-\(UUID().uuidString).safetensors"
        defer { try? FileManager.default.removeItem(atPath: path) }
        #expect(
            try digests(start, TrainingOptions(maximumSteps: 2, checkpoints: (2, path)))
                == Array(whole[..<2]))
        let checkpoint = try TrainingCheckpoint(path)
        #expect(checkpoint.stateDigest == whole[1])
        #expect(try digests(start, TrainingOptions(resumption: checkpoint)) == Array(whole[2...]))
    }

    @Test func `parts at the first step whose update differs`() throws {
        let start = try adapted(tinyModel())
        let (a, b) = (try digests(start), try digests(start, rate: 1e-2 * (1 + 1e-6)))
        #expect(zip(a, b).allSatisfy { $0 != $1 })
    }

    @Test func `covers what the run drew and saw, and which tensor is which`() throws {
        let path = NSTemporaryDirectory() + "/state-\(UUID().uuidString).safetensors"
        let other = path + ".other"
        defer { for file in [path, other] { try? FileManager.default.removeItem(atPath: file) } }
        _ = try digests(tinyModel(), TrainingOptions(maximumSteps: 2, checkpoints: (2, path)))
        let file = try SafetensorsFile(path)
        let fields = Dictionary(file.metadata.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 })
        let tensors = Dictionary(
            uniqueKeysWithValues: try file.names.map { ($0, try file.tensor($0)) })
        func digest(_ fields: [String: String], _ tensors: [String: Tensor]) throws -> UInt64 {
            try Safetensors.write(tensors, metadata: fields, to: other)
            return try TrainingCheckpoint(other).stateDigest
        }
        var seen: Set<UInt64> = [try digest(fields, tensors)]
        #expect(seen == [try TrainingCheckpoint(path).stateDigest])
        for (field, value) in [
            ("salt", "7"), ("tokens", "1"), ("seed", "99"), ("draws", "12345"), ("stream", "other"),
        ] {
            #expect(fields[field] != nil && fields[field] != value)
            let changed = fields.merging([field: value]) { $1 }
            #expect(seen.insert(try digest(changed, tensors)).inserted, "\(field)")
        }
        // Two tensors of one shape in each other's place.
        let layer = "model.layers.0.self_attn."
        for (a, b) in [
            ("mean/\(layer)k_proj.weight", "mean/\(layer)v_proj.weight"),
            ("mean/\(layer)k_proj.weight", "square/\(layer)k_proj.weight"),
        ] {
            var swapped = tensors
            (swapped[a], swapped[b]) = (try #require(tensors[b]), try #require(tensors[a]))
            #expect(seen.insert(try digest(fields, swapped)).inserted, "\(a)")
        }
    }

    @Test func `the last state is kept though the steps do not come out even`() throws {
        let path = NSTemporaryDirectory() + "/state-\(UUID().uuidString).safetensors"
        defer { try? FileManager.default.removeItem(atPath: path) }
        _ = try digests(tinyModel(), TrainingOptions(checkpoints: (3, path)))
        #expect(try TrainingCheckpoint(path).step == 4)
    }
}
