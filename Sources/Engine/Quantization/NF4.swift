// Blocks of 64 in 4-bit NormalFloat, with or without quantized scales: Dettmers et al. 2023, QLoRA,
// arXiv:2305.14314. The GEMM reads the same layout directly (Backends).

internal import EngineKernels

extension NF4Matrix {
    /// Elements that share a scale.
    static let blockSize = 64
    /// Scales that share a scale of their own, under double quantization.
    static let scaleBlockSize = 256

    /// Quantizes a matrix `[output, input]`, flattened row-major, in blocks of 64.
    ///
    /// Each block: absmax, and the nearest of the 16 values to `w · (1 / absmax)`, a midpoint taking the
    /// lower. With `doubleQuantization` the scales, less their mean, are quantized in blocks of 256 on
    /// the signed 8-bit dynamic map (§3, Double Quantization), and `absmax` holds them as restored.
    /// - Precondition: Two axes, f32, bf16 or f16, every element finite.
    public init(quantizing weight: Tensor, doubleQuantization: Bool = false) {
        precondition(
            weight.shape.count == 2, "NF4 quantization is of a matrix, not \(weight.shape)")
        let dense = weight.converted(to: .f32)
        let blocks = (dense.count + Self.blockSize - 1) / Self.blockSize
        var packed = Tensor(uninitialized: [(dense.count + 1) / 2], dtype: .u8)
        let absmax = Tensor(uninitialized: [blocks])
        let isFinite = packed.withUnsafeMutableBytes { bytes in
            ek_nf4_quantize(
                dense.floats, dense.count,
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), absmax.freshFloats)
        }
        precondition(isFinite, "a weight with an element that is not finite cannot be quantized")
        self.init(shape: weight.shape, packed: packed, absmax: absmax)
        if doubleQuantization {
            let scales = DoubleQuantization(quantizing: absmax)
            self.absmax = scales.restored()
            self.doubleQuantization = scales
        }
    }

    /// The matrix as decoding gives it, `table[code] · absmax`, `[output, input]`, f32.
    public func dequantized() -> Tensor {
        let result = Tensor(uninitialized: shape)
        packed.withUnsafeBytes { bytes in
            ek_nf4_dequantize(
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), absmax.floats,
                result.count, result.freshFloats)
        }
        return result
    }

    /// Bits a weight takes, scales included: 4.5, or about 4.127 with quantized scales.
    public var bitsPerElement: Double {
        let count = shape.reduce(1, *)
        guard count > 0 else { return 0 }
        let scaleBytes = doubleQuantization.map {
            $0.codes.byteCount + $0.absmax.byteCount + 4
        }
        return Double(8 * (packed.byteCount + (scaleBytes ?? absmax.byteCount))) / Double(count)
    }

    /// The sixteen values, ascending.
    public static var values: [Float] {
        Array(UnsafeBufferPointer(start: ek_nf4_table(), count: 16))
    }
}

extension NF4Matrix.DoubleQuantization {
    /// Quantizes scales: their mean is taken off, and the rest put on the dynamic map.
    init(quantizing scales: Tensor) {
        let offset = ek_pairwise_mean(scales.floats, scales.count)
        var centred = scales
        centred.withUnsafeMutableFloats { values in
            for index in values.indices { values[index] -= offset }
        }
        var codes = Tensor(uninitialized: [scales.count], dtype: .u8)
        let block = NF4Matrix.scaleBlockSize
        let absmax = Tensor(uninitialized: [(scales.count + block - 1) / block])
        codes.withUnsafeMutableBytes { bytes in
            ek_map_quantize(
                centred.floats, scales.count, block, DynamicMap.values,
                bytes.baseAddress?.assumingMemoryBound(to: UInt8.self), absmax.freshFloats)
        }
        self.init(codes: codes, absmax: absmax, offset: offset)
    }

    /// The scales as decoding uses them: `map[code] · absmax + offset`.
    public func restored() -> Tensor {
        var result = Tensor(uninitialized: codes.shape)
        let map = map ?? DynamicMap.values
        result.withUnsafeMutableFloats { result in
            codes.withUnsafeBytes { codes in
                absmax.withUnsafeFloats { absmax in
                    for index in result.indices {
                        result[index] =
                            map[Int(codes[index])] * absmax[index / NF4Matrix.scaleBlockSize]
                            + offset
                    }
                }
            }
        }
        return result
    }
}

/// The signed 8-bit dynamic data type: Dettmers et al. 2021, arXiv:2110.02861, §1.2, as bitsandbytes'
/// `create_dynamic_map` makes it: seven decades, each with twice the fractions of the one below.
package enum DynamicMap {
    /// The 256 values, ascending, 0 and 1 among them.
    package static let values: [Float] = {
        let powers = [1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]
        var values = [0.0, 1.0]
        for (decade, power) in powers.enumerated() {
            let count = 1 << decade
            // Edges as numpy's linspace(0.1, 1) rounds them.
            let step = (1.0 - 0.1) / Double(count)
            let edges = (0...count).map { Float($0 == count ? 1.0 : Double($0) * step + 0.1) }
            for index in 0..<count {
                let mean = Double((edges[index] + edges[index + 1]) / 2)
                values.append(power * mean)
                values.append(-power * mean)
            }
        }
        return values.sorted().map { Float($0) }
    }()
}
