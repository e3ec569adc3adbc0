// A plane through weight space, spanned by alignment and by fine-tuning, on which a judge draws the
// landscape of safety. The plane is here; the judge is the caller's.

internal import EngineKernels

/// The plane `W₁ + a · d₁ + b · d₂` of the published `safety/safety_landscape.py`:
/// `d₁ = W₂ − W₁`, `d₂ = mean(W₃ − W₁, W₄ − W₂)` made orthogonal to d₁ over all parameters together, both of
/// global norm 1.
///
/// W₁ is the base or the aligned model, W₂ its extrapolation, W₃ and W₄ what fine-tuning made of each.
public struct SafetyLandscape: Sendable {
    private let corners: [WeightSet]
    private let origin: LanguageModel
    /// What the unit vectors are in terms of the differences: `d₁ = first · (W₂ − W₁)`,
    /// `d₂ = second · (mean − overlap · (W₂ − W₁))`.
    private let first, second, overlap: Double
    /// ‖W₂ − W₁‖: where W₂ lies on the first axis.
    public let alignedDistance: Double
    /// The cosine between the two differences before they were made orthogonal.
    public let cosine: Double

    /// - Throws: ``LoXError`` where models do not fit, or a direction has length zero.
    public init(
        _ w1: LanguageModel, _ w2: LanguageModel, tunedFrom1 w3: LanguageModel,
        tunedFrom2 w4: LanguageModel
    ) throws {
        origin = w1.adapter == nil ? w1 : try w1.merged()
        corners = try [w1, w2, w3, w4].map { try WeightSet($0) }
        // ⟨d₁, d₁⟩, ⟨d₁, d₂⟩, ⟨d₂, d₂⟩ in f64, tensor by tensor in the order of the names.
        var sums = [0.0, 0, 0]
        for name in corners[0].names {
            let tensors = try Self.tensors(name, corners)
            var part = [0.0, 0, 0]
            Self.withFloats(tensors) { w in
                ek_lox_plane_sums(w[0], w[1], w[2], w[3], Int64(tensors[0].count), &part)
            }
            for i in 0..<3 { sums[i] += part[i] }
        }
        guard sums[0] > 0 else { throw LoXError(.unchanged, tensor: "W2 - W1") }
        overlap = sums[1] / sums[0]
        let rest = sums[2] - sums[1] * overlap
        guard rest > 1e-12 * sums[2] else { throw LoXError(.unchanged, tensor: "W3 - W1, W4 - W2") }
        first = 1 / sums[0].squareRoot()
        second = 1 / rest.squareRoot()
        alignedDistance = sums[0].squareRoot()
        cosine = sums[1] / (sums[0] * sums[2]).squareRoot()
    }

    /// The model at `W₁ + a · d₁ + b · d₂`.
    /// - Parameter dtype: How its weights are held; the published code evaluates in bf16.
    public func model(a: Double, b: Double, dtype: DType = .bf16) throws -> LanguageModel {
        var result = origin
        // As multiples of W₂ − W₁ and of the mean.
        let along = a * first - b * second * overlap
        for name in corners[0].names {
            let tensors = try Self.tensors(name, corners)
            let point = Tensor(uninitialized: tensors[0].shape)
            Self.withFloats(tensors) { w in
                ek_lox_plane_point(
                    w[0], w[1], w[2], w[3], along, b * second, Int64(point.count),
                    point.storage.base.assumingMemoryBound(to: Float.self))
            }
            result.weights[name] = .dense(point.converted(to: dtype))
        }
        return result
    }

    /// Evenly spaced numbers with both ends, as the published grid `linspace(-10, 30, 7)`.
    public static func grid(from start: Double = -10, to end: Double = 30, count: Int = 7)
        -> [Double]
    {
        precondition(count > 0, "a grid has at least one point, not \(count)")
        if count == 1 { return [start] }
        return (0..<count).map { start + (end - start) * Double($0) / Double(count - 1) }
    }

    /// One point of the landscape.
    public struct Point: Sendable {
        public let a, b, rate: Double
    }

    /// The judge's rate at every point of a grid, row by row.
    public func map(
        a: [Double] = grid(), b: [Double] = grid(), dtype: DType = .bf16,
        rate: (LanguageModel) throws -> Double
    ) throws -> [Point] {
        if a.isEmpty || b.isEmpty { throw LoXError(.emptyGrid, tensor: "landscape") }
        var points: [Point] = []
        for x in a {
            for y in b {
                points.append(Point(a: x, b: y, rate: try rate(model(a: x, b: y, dtype: dtype))))
            }
        }
        return points
    }

    private static func tensors(_ name: String, _ corners: [WeightSet]) throws -> [Tensor] {
        let tensors = try corners.enumerated().map { index, corner in
            try corner.tensor(name, of: "W\(index + 1)").converted(to: .f32)
        }
        for tensor in tensors where tensor.shape != tensors[0].shape {
            throw LoXError(.shapesDiffer(tensors[0].shape, tensor.shape), tensor: name)
        }
        return tensors
    }

    private static func withFloats<R>(
        _ tensors: [Tensor], _ body: ([UnsafePointer<Float>]) -> R
    ) -> R {
        withExtendedLifetime(tensors) {
            body(
                tensors.map {
                    UnsafePointer(
                        ($0.storage.base + $0.byteOffset).assumingMemoryBound(to: Float.self))
                })
        }
    }
}
