// LoX against the fixtures' f64 values, and against the published code's own rounding to the bit.

import Engine
import Foundation
import Testing

@Suite struct `Low-rank extrapolation` {
    private let base = try! SafetensorsFile(fixture("lox/base.safetensors"))
    private let aligned = try! SafetensorsFile(fixture("lox/aligned.safetensors"))

    @Test func `agrees with the fixtures on every weight`() throws {
        let expected = try SafetensorsFile(fixture("lox/expected.safetensors"))
        let spectra = try SafetensorsFile(fixture("lox/singular_values.safetensors"))
        #expect(base.names.count == 17)
        for name in base.names {
            let (before, after) = (try base.tensor(name), try aligned.tensor(name))
            let result = try LoX.extrapolate(
                aligned: after, base: before, rank: 6, coefficient: 1.25, name: name)
            let wanted = try expected.tensor(name).withUnsafeBytes {
                Array($0.bindMemory(to: Double.self))
            }
            // f32 rounding of weights below 2, and of vectors times σ₁ below 1.
            for (ours, theirs) in zip(result.floats, wanted) {
                #expect(abs(Double(ours) - theirs) < 4e-7, "\(name)")
            }
            guard before.shape.count == 2 else {
                #expect(result.floats == after.floats)
                continue
            }
            let delta = try LoX.decompose(aligned: after, base: before, rank: 6)
            let values = try spectra.tensor(name).withUnsafeBytes {
                Array($0.bindMemory(to: Double.self))
            }
            // The fixture's difference is that of the f32 weights in f64; ours is rounded to f32 first.
            for (ours, theirs) in zip(delta.singularValues, values) {
                #expect(abs(ours - theirs) < 1e-6, "\(name)")
            }
            #expect(delta.relativeResidual < 1e-5)
        }
    }

    private static let settings = [(0, 1.0), (0, 1.25), (3, 1.25), (6, 0.7)]

    /// Every step behind the SVD, from the published run's own factors. Its product of three rows ("few") rounds
    /// each term, which no weight of a model has; there the steps begin at its low-rank matrix, as U with S = V = 1.
    @Test(arguments: ["square", "wide", "few"])
    func `from the published factors gives the published bits in every element`(name: String) throws
    {
        let published = try SafetensorsFile(fixture("lox/published.safetensors"))
        func numbers(_ part: String) throws -> [Double] {
            try published.tensor(name + part).floats.map(Double.init)
        }
        let (before, after) = (
            try published.tensor("\(name).base"), try published.tensor("\(name).aligned")
        )
        let columns = after.shape[1]
        for (rank, coefficient) in Self.settings {
            let key = ".rank\(rank).coefficient\(coefficient)"
            let wanted = try published.tensor(name + key)
            func check(_ delta: LowRankDelta) throws {
                let ours = try LoX.extrapolate(
                    after, along: delta, coefficient: coefficient, options: .published)
                #expect(ours.dtype == .bf16 && ours.differing(from: wanted) == 0, "\(name)\(key)")
            }
            if rank == 0 {
                let ours = try LoX.extrapolate(
                    aligned: after, base: before, rank: 0, coefficient: coefficient,
                    options: .published)
                #expect(ours.differing(from: wanted) == 0, "\(name)\(key)")
                continue
            }
            var identity = [Double](repeating: 0, count: columns * columns)
            for i in 0..<columns { identity[i * columns + i] = 1 }
            try check(
                LowRankDelta(
                    shape: after.shape, left: numbers(key + ".matrix"),
                    singularValues: [Double](repeating: 1, count: columns), right: identity,
                    residuals: [], frobeniusNorm: 0))
            if name == "few" { continue }
            let values = try numbers(".s")
            let delta = LowRankDelta(
                shape: after.shape, left: try numbers(".u"), singularValues: values,
                right: try numbers(".v"), residuals: values.map { _ in 0 }, frobeniusNorm: 0
            ).truncated(to: rank)
            try check(delta)
            // A result of 8 bits hides most roundings of the product: so the product itself, in f32.
            let matrix = try published.tensor(name + key + ".matrix")
            #expect(bits(delta.dense(rounding: .published)) == bits(matrix), "\(name)\(key)")
        }
    }

    /// An f32 SVD's own bits are its library's: from ours the published steps are held to the bit, and the published
    /// result to one unit of bf16 in a few elements. "few" has no more rows than the rank: its low-rank part is the
    /// difference itself, so that exact sums lie on ties, which either SVD's error turns.
    @Test(arguments: [("square", 2), ("wide", 8), ("few", 8)])
    func
        `from our own factors gives the published steps' bits, and the published result but for its SVD's error`(
            name: String, mostOther: Int
        ) throws
    {
        let published = try SafetensorsFile(fixture("lox/published.safetensors"))
        let (before, after) = (
            try published.tensor("\(name).base"), try published.tensor("\(name).aligned")
        )
        for (rank, coefficient) in Self.settings where rank > 0 {
            let ours = try LoX.extrapolate(
                aligned: after, base: before, rank: rank, coefficient: coefficient,
                options: .published)
            let key = "\(name).rank\(rank).coefficient\(coefficient)"
            #expect(ours.differing(from: try published.tensor(key + ".f32")) == 0, "\(key)")
            let theirs = try published.tensor(key)
            #expect(ours.differing(from: theirs) <= mostOther, "\(key)")
            #expect(ours.farthest(from: theirs) <= 1, "\(key)")
        }
    }

    @Test func `the published rounding takes f32 weights as bf16`() throws {
        let published = try SafetensorsFile(fixture("lox/published.safetensors"))
        func widened(_ name: String) throws -> Tensor {
            let narrow = try published.tensor(name)
            let values = narrow.withUnsafeBytes {
                $0.bindMemory(to: UInt16.self).map { Float(bitPattern: UInt32($0) << 16) }
            }
            return Tensor(values, shape: narrow.shape)
        }
        for rank in [0, 3] {
            let ours = try LoX.extrapolate(
                aligned: widened("wide.aligned"), base: widened("wide.base"), rank: rank,
                coefficient: 1.25, options: .published)
            let theirs = try published.tensor(
                "wide.rank\(rank).coefficient1.25" + (rank > 0 ? ".f32" : ""))
            #expect(ours.differing(from: theirs) == 0)
        }
    }

    @Test func `a coefficient of zero leaves every weight as it was`() throws {
        for name in base.names {
            let after = try aligned.tensor(name)
            for rank in [0, 2] {
                let result = try LoX.extrapolate(
                    aligned: after, base: try base.tensor(name), rank: rank, coefficient: 0)
                #expect(result.floats == after.floats)
            }
        }
    }

    @Test func `rank 0 extrapolates all of the change`() throws {
        // 2 + 1.5 · (2 - 1) = 3.5, and so on.
        let result = try LoX.extrapolate(
            aligned: Tensor([2, 0, -1, 4], shape: [2, 2]),
            base: Tensor([1, 0, 1, 8], shape: [2, 2]), rank: 0, coefficient: 1.5)
        #expect(result.floats == [3.5, 0, -4, -2])
    }

    @Test func `rank one by hand`() throws {
        // The change is 2 · e₁e₁ᵀ + 1 · e₂e₂ᵀ: rank 1 keeps the first alone.
        let aligned = Tensor([3, 1, 1, 2], shape: [2, 2])
        let base = Tensor([1, 1, 1, 1], shape: [2, 2])
        let delta = try LoX.decompose(aligned: aligned, base: base, rank: 1)
        #expect(delta.singularValues == [2])
        #expect(delta.u.floats == [1, 0] && delta.v.floats == [1, 0])
        #expect(delta.nextSingularValue == 1)
        let result = try LoX.extrapolate(aligned, along: delta, coefficient: 0.5)
        #expect(result.floats == [4, 1, 1, 2])
    }

    @Test func `one decomposition serves every rank and coefficient`() throws {
        let name = "model.layers.0.mlp.gate_proj.weight"
        let (before, after) = (try base.tensor(name), try aligned.tensor(name))
        let delta = try LoX.decompose(aligned: after, base: before, rank: 6)
        for rank in 1...6 {
            for coefficient in [-1.0, 0.5, 1.25] {
                let once = try LoX.extrapolate(
                    after, along: delta.truncated(to: rank), coefficient: coefficient)
                let anew = try LoX.extrapolate(
                    aligned: after, base: before, rank: rank, coefficient: coefficient)
                #expect(zip(once.floats, anew.floats).allSatisfy { abs($0 - $1) < 1e-5 })
            }
        }
    }

    @Test func `half precision in, half precision out`() throws {
        let published = try SafetensorsFile(fixture("lox/published.safetensors"))
        let (before, after) = (
            try published.tensor("wide.base"), try published.tensor("wide.aligned")
        )
        let result = try LoX.extrapolate(aligned: after, base: before, rank: 3, coefficient: 1.25)
        #expect(result.dtype == .bf16 && result.shape == after.shape)
        // 1.5 in f16 is 0x3e00; 1.5 + 1 · (1.5 - 1) = 2 is 0x4000.
        let half = Tensor(halves: [0x3e00, 0x3e00, 0x3e00, 0x3e00], shape: [2, 2])
        let one = Tensor(halves: [0x3c00, 0x3c00, 0x3c00, 0x3c00], shape: [2, 2])
        let moved = try LoX.extrapolate(aligned: half, base: one, rank: 1, coefficient: 1)
        #expect(
            moved.withUnsafeBytes { $0.bindMemory(to: UInt16.self).allSatisfy { $0 == 0x4000 } })
    }

    @Test func `a result beyond the type is an error`() throws {
        let half = Tensor(halves: [0x7bff, 0, 0, 0], shape: [2, 2])  // 65504
        let none = Tensor(halves: [0, 0, 0, 0], shape: [2, 2])
        let error = #expect(throws: LoXError.self) {
            try LoX.extrapolate(
                aligned: half, base: none, rank: 1, coefficient: 1, name: "lm_head.weight")
        }
        #expect(
            error?.description == """
                An extrapolated weight is beyond the range of F16.
                  where: lm_head.weight
                  mend:  choose a smaller coefficient, or store the result as BF16 or F32.
                """)
    }

    @Test func `weights that do not fit are named`() throws {
        let error = #expect(throws: LoXError.self) {
            try LoX.decompose(
                aligned: Tensor(zeros: [3, 4]), base: Tensor(zeros: [4, 3]), rank: 1, name: "q_proj"
            )
        }
        #expect(
            error?.description == """
                The weights have different shapes: [3, 4] and [4, 3].
                  where: q_proj
                  mend:  compare checkpoints of one architecture.
                """)
        #expect(throws: LoXError(.unsupportedDType(.i32), tensor: "weight")) {
            try LoX.decompose(
                aligned: Tensor(zeros: [3, 4], dtype: .i32),
                base: Tensor(zeros: [3, 4], dtype: .i32), rank: 1)
        }
    }
}

extension Tensor {
    /// How many 16-bit elements have other bits.
    func differing(from other: Tensor) -> Int {
        withUnsafeBytes { ours in
            other.withUnsafeBytes { theirs in
                zip(ours.bindMemory(to: UInt16.self), theirs.bindMemory(to: UInt16.self))
                    .count { $0 != $1 }
            }
        }
    }

    /// The largest distance between 16-bit elements of equal sign, in units of their last place.
    func farthest(from other: Tensor) -> Int {
        withUnsafeBytes { ours in
            other.withUnsafeBytes { theirs in
                zip(ours.bindMemory(to: Int16.self), theirs.bindMemory(to: Int16.self))
                    .map { abs(Int($0) - Int($1)) }.max() ?? 0
            }
        }
    }

    /// f16 elements by their bits.
    init(halves: [UInt16], shape: [Int]) {
        self.init(zeros: shape, dtype: .f16)
        withUnsafeMutableBytes { bytes in
            for (i, bits) in halves.enumerated() {
                bytes.storeBytes(of: bits, toByteOffset: 2 * i, as: UInt16.self)
            }
        }
    }
}
