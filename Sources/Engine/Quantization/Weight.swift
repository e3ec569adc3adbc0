// A linear layer's weight, dense or quantised: the one type that models hold and the GEMM decodes.

/// A matrix `[output, input]` in the form in which it is stored.
public enum Weight: Sendable, Codable {
    /// f32, bf16 or f16.
    case dense(Tensor)
    case int8(Int8Matrix)
    case nf4(NF4Matrix)

    /// `[output, input]`.
    public var shape: [Int] {
        switch self {
        case .dense(let tensor): tensor.shape
        case .int8(let matrix): matrix.codes.shape
        case .nf4(let matrix): matrix.shape
        }
    }
}

/// A matrix in 8-bit integers, one scale a row: `w = code · absmax / 127` (LLM.int8, arXiv:2208.07339).
public struct Int8Matrix: Sendable, Codable {
    /// `[output, input]`, i8.
    public var codes: Tensor
    /// `[output]`, f32: the largest magnitude of each row.
    public var absmax: Tensor
    /// How a linear layer multiplies it: by LLM.int8 with its outliers apart, or, where `nil`, decoded
    /// with the input as it is. Gradients go through the decoded matrix either way.
    public var decomposition: OutlierDecomposition?
    public init(codes: Tensor, absmax: Tensor, decomposition: OutlierDecomposition? = nil) {
        self.codes = codes
        self.absmax = absmax
        self.decomposition = decomposition
    }
}

/// A matrix in 4-bit NormalFloat (QLoRA, arXiv:2305.14314): two codes a byte, the first in the high half,
/// flattened row-major in blocks of 64 with one scale each.
public struct NF4Matrix: Sendable, Codable {
    /// `[output, input]`.
    public var shape: [Int]
    /// `[⌈count / 2⌉]`, u8.
    public var packed: Tensor
    /// `[⌈count / 64⌉]`, f32: each block's scale as decoding uses it (already restored where it was
    /// quantised doubly).
    public var absmax: Tensor
    /// The scales' own quantisation, where there is one; kept for saving and for counting memory.
    public var doubleQuantization: DoubleQuantization?

    public struct DoubleQuantization: Sendable, Codable {
        /// `[⌈count / 64⌉]`, u8: indices into the signed 8-bit dynamic map.
        public var codes: Tensor
        /// `[⌈blocks / 256⌉]`, f32.
        public var absmax: Tensor
        /// The mean that was subtracted first.
        public var offset: Float
        /// The 256 values that codes stand for; `nil` for the engine's own map. A checkpoint brings the
        /// library's, whose linspace rounds fifty of them otherwise.
        public var map: [Float]?
        public init(codes: Tensor, absmax: Tensor, offset: Float, map: [Float]? = nil) {
            self.codes = codes
            self.absmax = absmax
            self.offset = offset
            self.map = map
        }
    }

    public init(
        shape: [Int], packed: Tensor, absmax: Tensor, doubleQuantization: DoubleQuantization? = nil
    ) {
        self.shape = shape
        self.packed = packed
        self.absmax = absmax
        self.doubleQuantization = doubleQuantization
    }
}
