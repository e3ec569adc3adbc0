// Safe LoRA: Hsu et al. 2024, arXiv:2405.16833. A fine-tuned adapter's updates are projected on what
// alignment changed, where they have strayed from it.

/// Projects the B of a LoRA update on the alignment subspace of its layer: `B ← P B` with
/// `P = V Vᵀ / ‖V‖_F`, `V = W_aligned − W_base`.
///
/// P is not idempotent; it is the approximation that the paper uses in place of `V (VᵀV)⁻¹ Vᵀ`.
/// Which layers: those whose cosine between `P B A` and `B A` is at or below a threshold. In the published
/// code's default mode the threshold is the cosine of the tenth-lowest layer; cosines are rounded to five
/// decimals first, so layers may tie.
public enum SafeLoRA {
    /// Which layers are projected.
    public enum Mode: Sendable, Hashable {
        /// As many layers as this, those with the lowest cosines (more where they tie).
        case number(Int)
        /// Every layer whose cosine is at or below this.
        case threshold(Double)
    }

    /// One layer's similarity, and what was done.
    public struct Row: Sendable {
        /// The module's path.
        public let path: String
        /// Between `P B A` and `B A`, rounded to five decimals; nil where alignment or the update is zero.
        public let cosine: Double?
        public let isProjected: Bool
    }

    /// An adapter with the updates that strayed projected, and the table by path.
    /// - Throws: ``LoXError`` where the models do not fit.
    public static func projected(
        _ adapter: LoRAAdapter, aligned: WeightSet, base: WeightSet, mode: Mode = .number(10),
        options: LoX.Options = .init()
    ) throws -> (adapter: LoRAAdapter, rows: [Row]) {
        let paths = adapter.modules.keys.sorted { $0.precedesInBytes($1) }
        var projections: [String: Tensor] = [:]
        var cosines: [String: Double] = [:]
        for path in paths {
            let module = adapter.modules[path]!
            let name = path + ".weight"
            let (weight, origin) = (
                try aligned.tensor(name, of: "aligned"), try base.tensor(name, of: "base")
            )
            let change = try LoX.difference(
                aligned: weight, base: origin, options: options, name: name)
            guard module.b.shape[0] == change.rows, module.a.shape[1] == change.columns else {
                throw LoXError(
                    .shapesDiffer(weight.shape, [module.b.shape[0], module.a.shape[1]]),
                    tensor: name)
            }
            if let found = project(module, on: change) {
                projections[path] = found.b
                cosines[path] = (found.cosine * 1e5).rounded(.toNearestOrEven) / 1e5
            }
            aligned.release(weight)
            base.release(origin)
        }
        let threshold: Double
        switch mode {
        case .threshold(let value): threshold = value
        case .number(let count):
            let sorted = cosines.values.sorted()
            threshold =
                count <= 0 || sorted.isEmpty ? -.infinity : sorted[min(count, sorted.count) - 1]
        }
        var result = adapter
        let rows = paths.map { path in
            let isProjected = cosines[path].map { $0 <= threshold } ?? false
            if isProjected { result.modules[path]!.b = projections[path]! }
            return Row(path: path, cosine: cosines[path], isProjected: isProjected)
        }
        return (result, rows)
    }

    /// `P B`, and the cosine between `P B A` and `B A`; nil where either has length zero.
    private static func project(
        _ module: LoRAModule, on change: WeightDifference
    ) -> (b: Tensor, cosine: Double)? {
        let rank = module.a.shape[0]
        let width = SmallFactorizations.roundedUp(max(rank, 1), to: 8)
        var b = [Double](repeating: 0, count: change.rows * width)
        module.b.converted(to: .f32).withUnsafeFloats { values in
            for r in 0..<change.rows {
                for i in 0..<rank { b[r * width + i] = Double(values[r * rank + i]) }
            }
        }
        // P B = V (Vᵀ B) / ‖V‖: two readings of V, and no matrix of its square's size.
        let (inner, squares) = change.transposedProduct(b, width: width)
        if squares == 0 { return nil }
        var image = change.sweep(inner, width: width, wantsZ: false).y
        let norm = squares.squareRoot()
        for i in image.indices { image[i] /= norm }
        // ⟨P B A, B A⟩ = tr((P B)ᵀ B · A Aᵀ), and so the norms.
        let gram = gram(of: module.a, rank: rank)
        func innerProduct(_ left: [Double], _ right: [Double]) -> Double {
            var small = [Double](repeating: 0, count: rank * rank)
            for r in 0..<change.rows {
                for i in 0..<rank {
                    let x = left[r * width + i]
                    for j in 0..<rank { small[i * rank + j] += x * right[r * width + j] }
                }
            }
            return zip(small, gram).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let lengths = innerProduct(image, image) * innerProduct(b, b)
        if !(lengths > 0) { return nil }
        var projected: [Float] = []
        projected.reserveCapacity(change.rows * rank)
        for r in 0..<change.rows {
            for i in 0..<rank { projected.append(Float(image[r * width + i])) }
        }
        let tensor = Tensor(projected, shape: [change.rows, rank]).converted(to: module.b.dtype)
        return (tensor, innerProduct(image, b) / lengths.squareRoot())
    }

    /// `A Aᵀ`, `[rank, rank]`.
    private static func gram(of a: Tensor, rank: Int) -> [Double] {
        let input = a.shape[1]
        return a.converted(to: .f32).withUnsafeFloats { values in
            var gram = [Double](repeating: 0, count: rank * rank)
            for i in 0..<rank {
                for j in 0..<rank {
                    var sum = 0.0
                    for c in 0..<input {
                        sum += Double(values[i * input + c]) * Double(values[j * input + c])
                    }
                    gram[i * rank + j] = sum
                }
            }
            return gram
        }
    }
}
