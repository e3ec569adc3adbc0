// Quantization of any weight, and what it does to a low-rank update that is merged. The two layouts are
// in Int8.swift and NF4.swift.

/// How a linear layer's weight is stored in fewer bits.
public enum Quantization: Sendable, Hashable, Codable {
    /// 8-bit integers, one scale a row, decoded inside the product.
    case int8
    /// The same codes, multiplied as LLM.int8 does: inputs in 8 bits too, columns with outliers in high
    /// precision (arXiv:2208.07339). ``OutlierDecomposition`` says what the rows of a batch then share.
    case llmInt8(OutlierDecomposition = OutlierDecomposition())
    /// 4-bit NormalFloat, one scale a block of 64; the scales in 8 bits as well where asked.
    case nf4(doubleQuantization: Bool)
}

extension Weight {
    /// Quantizes a dense matrix `[output, input]`.
    /// - Precondition: Two axes, f32, bf16 or f16, every element finite.
    public init(quantizing weight: Tensor, as quantization: Quantization) {
        switch quantization {
        case .int8: self = .int8(Int8Matrix(quantizing: weight))
        case .llmInt8(let decomposition):
            var matrix = Int8Matrix(quantizing: weight)
            matrix.decomposition = decomposition
            self = .int8(matrix)
        case .nf4(let double):
            self = .nf4(NF4Matrix(quantizing: weight, doubleQuantization: double))
        }
    }

    /// The matrix as it computes, `[output, input]`: decoded to f32, or as it is where it is dense.
    public func dequantized() -> Tensor {
        switch self {
        case .dense(let tensor): tensor
        case .int8(let matrix): matrix.dequantized()
        case .nf4(let matrix): matrix.dequantized()
        }
    }
}

/// How large quantization's error is beside a low-rank update that was trained on the quantized weight.
///
/// Merging the update into the original weight `W` and not into the decoded one `Ŵ` moves the layer by
/// `W - Ŵ`, which the training never saw; where this is as large as the update itself, the merge
/// destroys what was trained.
public struct MergeError: Sendable, Hashable, Codable {
    /// ‖W - Ŵ‖, Frobenius.
    public var quantization: Double
    /// ‖scale · B A‖, Frobenius.
    public var update: Double
    /// ‖W - Ŵ‖ / ‖scale · B A‖; infinite where the update is zero and the error is not, 0 where both are.
    public var ratio: Double {
        update == 0 ? (quantization == 0 ? 0 : .infinity) : quantization / update
    }

    /// - Parameters:
    ///   - original: `[output, input]`, the weight before quantization.
    ///   - quantized: The weight that the update was trained on.
    ///   - module: The update.
    public init(original: Tensor, quantized: Weight, module: LoRAModule) {
        precondition(
            original.shape == quantized.shape,
            "MergeError: \(original.shape) was not quantized to \(quantized.shape)")
        let (dense, decoded) = (original.converted(to: .f32), quantized.dequantized())
        quantization = Self.distance(dense, decoded.converted(to: .f32))
        update = Self.norm(of: module)
    }

    private static func distance(_ left: Tensor, _ right: Tensor) -> Double {
        left.withUnsafeFloats { left in
            right.withUnsafeFloats { right in
                // One sum a row of 1,024, then the rows: the error does not grow with the count.
                var total = 0.0
                for start in stride(from: 0, to: left.count, by: 1024) {
                    var sum = 0.0
                    for index in start..<min(start + 1024, left.count) {
                        let difference = Double(left[index]) - Double(right[index])
                        sum += difference * difference
                    }
                    total += sum
                }
                return total.squareRoot()
            }
        }
    }

    /// ‖scale · B A‖² = scale² · tr(BᵀB · A Aᵀ), from two products of the size of the rank.
    private static func norm(of module: LoRAModule) -> Double {
        let rank = module.a.shape[0]
        let (output, input) = (module.b.shape[0], module.a.shape[1])
        var left = [Double](repeating: 0, count: rank * rank)
        var right = left
        module.b.withUnsafeFloats { b in
            for row in 0..<output {
                for i in 0..<rank {
                    for j in 0..<rank {
                        left[i * rank + j] += Double(b[row * rank + i]) * Double(b[row * rank + j])
                    }
                }
            }
        }
        module.a.withUnsafeFloats { a in
            for i in 0..<rank {
                for j in 0..<rank {
                    var sum = 0.0
                    for column in 0..<input {
                        sum += Double(a[i * input + column]) * Double(a[j * input + column])
                    }
                    right[i * rank + j] = sum
                }
            }
        }
        let trace = zip(left, right).reduce(0) { $0 + $1.0 * $1.1 }
        return max(trace, 0).squareRoot() * Double(module.scale.magnitude)
    }
}
