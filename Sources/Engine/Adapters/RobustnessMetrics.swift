// How much of a change lies in alignment's leading directions: R_align and R_ft of the LoX paper, as its
// `safety/R_metrics.py` computes them, by layer and by kind of module too.

/// `R_align = ‖P ΔW_align‖ / ‖ΔW_align‖` and `R_ft = ‖P (ΔW_align + ΔW_ft)‖ / ‖ΔW_align + ΔW_ft‖` for each
/// linear layer, where `P = U_k U_kᵀ` projects on the leading left singular vectors of ΔW_align.
///
/// Source: arXiv:2506.15606, §3; the published code takes k = 100, the linear layers with the head, and
/// the unweighted mean over modules. `‖P M‖ = ‖U_kᵀ M‖`, so no projector is formed.
public struct RobustnessMetrics: Sendable {
    /// One module's ratios.
    public struct Row: Sendable {
        /// The parameter's name.
        public let name: String
        /// The block it is in; nil for the head.
        public let layer: Int?
        /// The kind of module, such as "q_proj".
        public let kind: String
        public let aligned: Double
        /// nil where no fine-tuned model was given, or it undid alignment exactly.
        public let tuned: Double?
        /// ‖ΔW_align‖ in the Frobenius norm.
        public let norm: Double
    }

    public let rows: [Row]
    /// Modules that alignment did not change; the published code divides by zero there.
    public let unchanged: [String]

    /// - Parameters:
    ///   - tuned: The aligned model after fine-tuning; without it, only R_align is computed.
    ///   - rank: The k of the leading directions.
    ///   - options: The published code's precision by default: differences to the base in bf16.
    /// - Throws: ``LoXError`` where models do not fit, ``LinearAlgebraError``.
    public init(
        base: WeightSet, aligned: WeightSet, tuned: WeightSet? = nil, rank: Int = 100,
        selection: WeightSelection = .linearLayers,
        options: LoX.Options = .init(deltaPrecision: .bfloat16)
    ) throws {
        var rows: [Row] = []
        var unchanged: [String] = []
        for name in aligned.names {
            let weight = try aligned.tensor(name)
            guard
                selection.contains(
                    name, shape: weight.shape, tiesEmbeddings: aligned.tiesEmbeddings)
            else { continue }
            let origin = try base.tensor(name, of: "base")
            let delta = try LoX.decompose(
                aligned: weight, base: origin, rank: rank, options: options, name: name)
            if delta.frobeniusNorm == 0 {
                unchanged.append(name)
                continue
            }
            var ratio: Double?
            if let tuned {
                let later = try tuned.tensor(name, of: "fine-tuned")
                let change = try LoX.difference(
                    aligned: weight, base: origin, tuned: later, options: options, name: name)
                ratio = Self.share(of: change, along: delta)
                tuned.release(later)
            }
            rows.append(
                Row(
                    name: name, layer: Self.layer(name), kind: Self.kind(name),
                    aligned: delta.energy.squareRoot(), tuned: ratio, norm: delta.frobeniusNorm))
            aligned.release(weight)
            base.release(origin)
        }
        self.rows = rows
        self.unchanged = unchanged
    }

    /// The unweighted mean of R_align over modules; nil where there are none.
    public var aligned: Double? { Self.mean(rows.map(\.aligned)) }
    /// The unweighted mean of R_ft over modules.
    public var tuned: Double? { Self.mean(rows.compactMap(\.tuned)) }
    /// R_ft / R_align: falls as fine-tuning leaves alignment's directions.
    public var ratio: Double? {
        guard let tuned, let aligned, aligned > 0 else { return nil }
        return tuned / aligned
    }

    /// Means over a group of modules.
    public struct Group: Sendable {
        public let name: String
        public let aligned: Double
        public let tuned: Double?
        public let count: Int
    }

    /// Means by kind of module, in the order of the kinds' names.
    public var byKind: [Group] { grouped { $0.kind } }
    /// Means by block, in order; the head last.
    public var byLayer: [Group] {
        grouped {
            $0.layer.map { String(repeating: "0", count: 5 - "\($0)".count) + "\($0)" } ?? "head"
        }
        .map { group in
            Group(
                name: Int(group.name).map(String.init) ?? group.name, aligned: group.aligned,
                tuned: group.tuned, count: group.count)
        }
    }

    private func grouped(by key: (Row) -> String) -> [Group] {
        Dictionary(grouping: rows, by: key).sorted { $0.key < $1.key }.map { name, rows in
            Group(
                name: name, aligned: Self.mean(rows.map(\.aligned)) ?? 0,
                tuned: Self.mean(rows.compactMap(\.tuned)), count: rows.count)
        }
    }

    /// `‖U_kᵀ M‖ / ‖M‖`; nil where M is zero.
    private static func share(of change: WeightDifference, along delta: LowRankDelta) -> Double? {
        let width = SmallFactorizations.roundedUp(max(delta.rank, 1), to: 8)
        var directions = [Double](repeating: 0, count: change.rows * width)
        for r in 0..<change.rows {
            for i in 0..<delta.rank {
                directions[r * width + i] = delta.left[r * delta.rank + i]
            }
        }
        let (inside, total) = change.transposedProduct(directions, width: width)
        if total == 0 { return nil }
        return (inside.reduce(0) { $0 + $1 * $1 } / total).squareRoot()
    }

    private static func mean(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : values.reduce(0, +) / Double(values.count)
    }

    private static func layer(_ name: String) -> Int? {
        let parts = name.split(separator: ".")
        guard let at = parts.firstIndex(of: "layers"), at + 1 < parts.count else { return nil }
        return Int(parts[at + 1])
    }

    private static func kind(_ name: String) -> String {
        let parts = name.split(separator: ".")
        return String(parts.last == "weight" ? parts.dropLast().last ?? "" : parts.last ?? "")
    }
}
