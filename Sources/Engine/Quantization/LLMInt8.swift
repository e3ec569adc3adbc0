// The product of LLM.int8: integers for most columns, high precision for those with outliers. Dettmers et
// al. 2022, arXiv:2208.07339, §3, in bitsandbytes' order of rounding (backends/default/ops.py, 0.50).

internal import EngineKernels

/// How a layer in 8 bits treats inputs that are much larger than the rest.
public struct OutlierDecomposition: Sendable, Hashable, Codable {
    /// Which rows an outlying column is high-precision for.
    public enum Scope: Sendable, Hashable, Codable {
        /// For every row that is computed with it, as the paper and bitsandbytes have it: a row's result
        /// then depends on the rows beside it.
        case batch
        /// For the row that has the outlier alone: a row's bits do not depend on the others. For one row
        /// at a time both are the same.
        case row
    }
    /// The paper's α: magnitudes from here on are outliers; 0 for none.
    public var threshold: Float
    public var scope: Scope

    public init(threshold: Float = 6, scope: Scope = .batch) {
        precondition(threshold >= 0, "an outlier's threshold is not negative: \(threshold)")
        self.threshold = threshold
        self.scope = scope
    }
}

/// What ``Int8Matrix/mixedProduct(_:_:)`` found and computed.
public struct MixedProduct: Sendable {
    /// `[rows, output]`, f32.
    public var result: Tensor
    /// The input columns that were multiplied in high precision, ascending.
    public var outlierColumns: [Int]
}

extension Int8Matrix {
    /// `x Wᵀ` as LLM.int8 computes it.
    ///
    /// The input is rounded to f16 and quantized by row, outliers counting as 0; codes are multiplied in
    /// integers and scaled by `(absmaxₓ · absmaxᵥ) · 6.200124e-05`, the library's 1 / 127² (1.8e-5 above
    /// it). Columns with outliers take no part in that: their inputs, unrounded, are multiplied with the
    /// decoded weights in f32 and added. The library's result is the same up to the order in which that
    /// last sum is taken. A row with an element that is not finite gives NaN, or the infinity of an
    /// outlier.
    /// Source: §3.1, Eq. 8.
    /// - Parameter x: `[rows, input]`, f32, bf16 or f16.
    public func mixedProduct(
        _ x: Tensor, _ decomposition: OutlierDecomposition = OutlierDecomposition()
    ) -> MixedProduct {
        precondition(
            x.shape.count == 2 && x.shape[1] == codes.shape[1],
            "mixedProduct: \(x.shape) · \(codes.shape)ᵀ: \(x.shape.last ?? 0) ≠ \(codes.shape[1])")
        let input = DecomposedInput(x.converted(to: .f32), decomposition)
        let result = Tensor(uninitialized: [x.shape[0], codes.shape[0]])
        input.product(with: self, to: result.freshFloats, stride: codes.shape[0])
        return MixedProduct(result: result, outlierColumns: input.outlierColumns)
    }
}

/// A layer's input in 8 bits, its outliers apart: made once for all the layers that read it.
package struct DecomposedInput {
    /// `[rows, input]`, i8; 0 where an outlier was.
    package private(set) var codes: Tensor
    /// `[rows]`; NaN for a row that is not finite.
    package private(set) var absmax: Tensor
    /// `[rows, outlierColumns]`, f32: what is multiplied in high precision.
    private var outliers: Tensor
    package let outlierColumns: [Int]

    /// - Parameter x: `[rows, input]`, f32.
    package init(_ x: Tensor, _ decomposition: OutlierDecomposition) {
        let (rows, input, threshold) = (x.shape[0], x.shape[1], decomposition.threshold)
        var plain = x.converted(to: .f16).converted(to: .f32)
        var columns: [Int] = []
        if threshold > 0, rows > 0 {
            let marks = [Bool](unsafeUninitializedCapacity: input) { buffer, count in
                ek_int8_mark_outliers(plain.floats, rows, input, threshold, buffer.baseAddress)
                count = input
            }
            columns = marks.indices.filter { marks[$0] }
        }
        outlierColumns = columns
        outliers = Tensor(uninitialized: [rows, columns.count])
        let high = outliers.freshFloats
        let alone = decomposition.scope == .row
        // Outlying values do not count for a row's scale; other values of their columns do, as in the
        // library, though in its scope those columns then take no part in the integer product.
        plain.withUnsafeMutableFloats { plain in
            for row in 0..<rows {
                for (place, column) in columns.enumerated() {
                    let at = row * input + column
                    let isOutlier = plain[at].magnitude >= threshold
                    high[row * columns.count + place] = isOutlier || !alone ? x.floats[at] : 0
                    if isOutlier { plain[at] = 0 }
                }
            }
        }
        codes = Tensor(uninitialized: [rows, input], dtype: .i8)
        absmax = Tensor(uninitialized: [rows])
        let scales = absmax.freshFloats
        codes.withUnsafeMutableBytes { bytes in
            let codes = bytes.baseAddress?.assumingMemoryBound(to: Int8.self)
            if !ek_int8_quantize(plain.floats, rows, input, codes, scales) {
                for row in 0..<rows
                where ek_first_non_finite(plain.floats + row * input, input) >= 0 {
                    scales[row] = .nan
                }
            }
            guard let codes, !alone else { return }
            for row in 0..<rows {
                for column in columns { codes[row * input + column] = 0 }
            }
        }
    }

    /// Writes `x Wᵀ`, `[rows, output]`, rows `stride` apart.
    func product(with weight: Int8Matrix, to y: UnsafeMutablePointer<Float>, stride: Int) {
        let (rows, output, input) = (codes.shape[0], weight.codes.shape[0], codes.shape[1])
        guard rows > 0, output > 0 else { return }
        let sums = Tensor(uninitialized: [rows, output], dtype: .i32)
        let place = UnsafeMutableRawPointer(sums.storage.base + sums.byteOffset)
            .assumingMemoryBound(to: Int32.self)
        codes.withUnsafeBytes { left in
            weight.codes.withUnsafeBytes { right in
                ek_int8_products(
                    left.baseAddress?.assumingMemoryBound(to: Int8.self),
                    right.baseAddress?.assumingMemoryBound(to: Int8.self), rows, output, input,
                    place)
            }
        }
        ek_int8_scale_sums(
            place, absmax.floats, weight.absmax.floats, rows, output, y, stride)
        guard !outlierColumns.isEmpty else { return }
        let columns = weight.decodedColumns(outlierColumns)
        ek_gemm(
            rows, output, outlierColumns.count, outliers.columns(from: 0),
            columns.columns(from: 0, transposed: true), y, stride, true)
    }
}

extension Int8Matrix {
    /// Some columns of the decoded matrix, `[output, columns]`, f32.
    fileprivate func decodedColumns(_ columns: [Int]) -> Tensor {
        let (output, input) = (codes.shape[0], codes.shape[1])
        let result = Tensor(uninitialized: [output, columns.count])
        let target = result.freshFloats
        codes.withUnsafeBytes { bytes in
            let codes = bytes.bindMemory(to: Int8.self)
            for row in 0..<output {
                let scale = absmax.floats[row] / 127
                for (place, column) in columns.enumerated() {
                    target[row * columns.count + place] = Float(codes[row * input + column]) * scale
                }
            }
        }
        return result
    }
}

/// The decomposed forms of one input, each made when a layer first asks for it.
struct DecomposedInputs {
    private let x: Tensor
    private var made: [OutlierDecomposition: DecomposedInput] = [:]
    init(_ x: Tensor) { self.x = x }
    subscript(decomposition: OutlierDecomposition) -> DecomposedInput {
        mutating get {
            if let known = made[decomposition] { return known }
            let input = DecomposedInput(x, decomposition)
            made[decomposition] = input
            return input
        }
    }
}
