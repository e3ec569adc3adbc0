// A tensor to the bit in whatever an encoder writes: what a marked cell's stored state and a study's own files use.

extension Tensor: Codable {
    private enum CodingKeys: String, CodingKey { case shape, dtype, bytes }

    /// - Throws: `DecodingError` where the bytes are not as many as shape and type ask for.
    public init(from decoder: any Swift.Decoder) throws {
        let container = try decoder.container(keyedBy: CodingKeys.self)
        let shape = try container.decode([Int].self, forKey: .shape)
        let dtype = try container.decode(DType.self, forKey: .dtype)
        let bytes = try container.decode([UInt8].self, forKey: .bytes)
        guard shape.allSatisfy({ $0 >= 0 }),
            let count = Self.byteCount(of: shape, dtype), bytes.count == count
        else {
            throw DecodingError.dataCorruptedError(
                forKey: .bytes, in: container,
                debugDescription: "\(bytes.count) bytes are no tensor \(shape) of \(dtype)")
        }
        self.init(uninitialized: shape, dtype: dtype)
        bytes.withUnsafeBytes { source in
            if let start = source.baseAddress {
                storage.base.copyMemory(from: start, byteCount: source.count)
            }
        }
    }

    /// Nil where the product is beyond what an `Int` holds.
    private static func byteCount(of shape: [Int], _ dtype: DType) -> Int? {
        var count = dtype.byteCount
        for extent in shape {
            let (product, isTooLarge) = count.multipliedReportingOverflow(by: extent)
            if isTooLarge { return nil }
            count = product
        }
        return count
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: CodingKeys.self)
        try container.encode(shape, forKey: .shape)
        try container.encode(dtype, forKey: .dtype)
        try container.encode(withUnsafeBytes { [UInt8]($0) }, forKey: .bytes)
    }
}
