// A weight difference that is never stored whole: two (or three) tensors, read tile by tile inside the
// kernels. What is done with its products is in LowRankDelta.swift and its neighbours.

internal import EngineKernels

/// `aligned - base` of two matrices `[output, input]`, computed as it is read.
package struct WeightDifference: Sendable {
    /// In what precision the difference is taken.
    public enum Precision: Sendable, Hashable {
        /// f32 from the stored values: exact for bf16 weights that lie within a factor of 2.
        case float32
        /// Weights rounded to bf16 as they are read, and the difference rounded to bf16, as the
        /// published code does.
        case bfloat16
    }

    let name: String
    let aligned: Tensor
    let base: Tensor?
    /// A further fine-tuned weight: then the difference is `(aligned - base) + (tuned - aligned)`.
    let tuned: Tensor?
    let precision: Precision
    /// A power of two that elements are multiplied by in the kernels, so that squares stay in range.
    var scale: Float = 1

    var rows: Int { aligned.shape[0] }
    var columns: Int { aligned.shape[1] }

    /// - Throws: ``LoXError`` where shapes differ or an element type is not f32, bf16 or f16.
    package init(
        aligned: Tensor, base: Tensor?, tuned: Tensor? = nil, precision: Precision, name: String
    ) throws(LoXError) {
        for tensor in [aligned, base, tuned] {
            guard let tensor else { continue }
            if tensor.shape.count != 2 || tensor.shape != aligned.shape {
                throw LoXError(.shapesDiffer(aligned.shape, tensor.shape), tensor: name)
            }
            if Self.code(tensor.dtype) == nil {
                throw LoXError(.unsupportedDType(tensor.dtype), tensor: name)
            }
        }
        self.name = name
        self.aligned = aligned
        self.base = base
        self.tuned = tuned
        self.precision = precision
    }

    private init(
        name: String, aligned: Tensor, base: Tensor?, tuned: Tensor?, precision: Precision,
        scale: Float
    ) {
        self.name = name
        self.aligned = aligned
        self.base = base
        self.tuned = tuned
        self.precision = precision
        self.scale = scale
    }

    static func code(_ dtype: DType) -> Int32? {
        switch dtype {
        case .f32: Int32(EK_LOX_F32)
        case .bf16: Int32(EK_LOX_BF16)
        case .f16: Int32(EK_LOX_F16)
        default: nil
        }
    }

    /// The difference as the kernels take it.
    func withKernel<R>(_ body: (UnsafePointer<ek_lox_delta>) -> R) -> R {
        func pointer(_ tensor: Tensor?) -> UnsafeRawPointer? {
            tensor.map { UnsafeRawPointer($0.storage.base + $0.byteOffset) }
        }
        var delta = ek_lox_delta(
            aligned: pointer(aligned)!, base: pointer(base), tuned: pointer(tuned),
            aligned_type: Self.code(aligned.dtype)!,
            base_type: base.flatMap { Self.code($0.dtype) } ?? 0,
            tuned_type: tuned.flatMap { Self.code($0.dtype) } ?? 0,
            rows: Int64(rows), columns: Int64(columns),
            bf16_inputs: precision == .bfloat16 ? 1 : 0,
            bf16_delta: precision == .bfloat16 ? 1 : 0, scale: scale)
        return withExtendedLifetime((aligned, base, tuned)) {
            withUnsafePointer(to: &delta, body)
        }
    }

    /// What a sweep over the difference D gives: `y = D x`, and `z = Dᵀ y` where it was wanted.
    struct Sweep {
        /// `[rows, width]`
        var y: [Double]
        /// `[columns, width]`
        var z: [Double]
        var sumOfSquares: Double
    }

    /// One reading of the difference with products in f64.
    /// - Parameter x: `[columns, width]`, width a multiple of 8.
    func sweep(_ x: [Double], width: Int, wantsZ: Bool = true) -> Sweep {
        precondition(x.count == columns * width, "\(x.count) ≠ \(columns) × \(width)")
        var result = Sweep(
            y: [Double](repeating: 0, count: rows * width),
            z: [Double](repeating: 0, count: wantsZ ? columns * width : 0), sumOfSquares: 0)
        var seen = ek_lox_seen()
        withKernel { delta in
            result.y.withUnsafeMutableBufferPointer { y in
                result.z.withUnsafeMutableBufferPointer { z in
                    ek_lox_sweep_f64(
                        delta, Int64(width), x, y.baseAddress!, wantsZ ? z.baseAddress : nil, &seen)
                }
            }
        }
        result.sumOfSquares = seen.sum_of_squares
        return result
    }

    /// `Dᵀ y` for a given `y` `[rows, width]`, products in f64, width a multiple of 8.
    func transposedProduct(_ y: [Double], width: Int) -> (z: [Double], sumOfSquares: Double) {
        precondition(y.count == rows * width, "\(y.count) ≠ \(rows) × \(width)")
        var given = y
        var z = [Double](repeating: 0, count: columns * width)
        var seen = ek_lox_seen()
        withKernel { ek_lox_sweep_f64($0, Int64(width), nil, &given, &z, &seen) }
        return (z, seen.sum_of_squares)
    }

    /// `DᵀD x` with products in f32 (chains of 256, sums over groups of rows in f64).
    /// - Parameter x: `[columns, width]`, width a multiple of 16.
    func gramProductInFloat(
        _ x: [Double], width: Int, seen: inout ek_lox_seen
    ) -> [Double] {
        precondition(x.count == columns * width, "\(x.count) ≠ \(columns) × \(width)")
        let narrow = [Float](unsafeUninitializedCapacity: x.count) { buffer, count in
            ek_lox_narrow(x, buffer.baseAddress!, Int64(x.count))
            count = x.count
        }
        var y = [Float](repeating: 0, count: rows * width)
        var z = [Double](repeating: 0, count: columns * width)
        withKernel { ek_lox_sweep_f32($0, Int64(width), narrow, &y, &z, &seen) }
        return z
    }

    /// The difference of some rows.
    func rows(_ range: Range<Int>) -> WeightDifference {
        WeightDifference(
            name: name, aligned: aligned.rows(range), base: base?.rows(range),
            tuned: tuned?.rows(range), precision: precision, scale: scale)
    }

    /// Row by row as f32, for whatever wants to look at elements.
    func row(_ index: Int) -> [Float] {
        var line = [Float](repeating: 0, count: columns)
        var seen = ek_lox_seen()
        withKernel { ek_lox_rows($0, Int64(index), Int64(index + 1), &line, &seen) }
        return line
    }

    /// Chooses a power of two so that squares stay in range of f32, from the largest magnitude.
    /// - Returns: false where the difference is zero.
    /// - Throws: ``LinearAlgebraError`` with reason `.nonFinite` and the place.
    mutating func normalize(largest: Float, isFinite: Bool) throws(LinearAlgebraError) -> Bool {
        if !isFinite {
            let place = firstNonFinite() ?? (0, 0)
            throw LinearAlgebraError(
                .nonFinite(row: place.row, column: place.column), matrix: name)
        }
        if largest == 0 { return false }
        if largest < 0x1p-40 || largest > 0x1p40 {
            scale = Float(sign: .plus, exponent: min(126, -Int(largest.exponent)), significand: 1)
        }
        return true
    }

    /// Where the first element that is infinite or not a number lies; nil where there is none.
    func firstNonFinite() -> (row: Int, column: Int)? {
        for index in 0..<rows {
            if let column = row(index).firstIndex(where: { !$0.isFinite }) {
                return (index, column)
            }
        }
        return nil
    }
}
