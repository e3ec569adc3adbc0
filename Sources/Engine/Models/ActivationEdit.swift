// Reading and changing hidden states: activations for probes, steering (Turner et al. 2023,
// arXiv:2308.10248), removing a direction (Arditi et al. 2024, arXiv:2406.11717), patching. Where the sites
// are: Transformer.swift.

internal import EngineKernels

/// A place in the computation whose hidden states, `[rows, hidden]`, can be read and changed.
public enum ActivationSite: Sendable, Hashable, Codable {
    /// The (scaled) embeddings, which the first block reads.
    case embedding
    /// What a block's attention adds to the residual stream, after its output projection and, in Gemma 2
    /// and 3, the norm behind it.
    case attention(layer: Int)
    /// What a block's MLP adds to the residual stream.
    case mlp(layer: Int)
    /// The residual stream after a block, before the final norm.
    case block(layer: Int)

    var layer: Int? {
        switch self {
        case .embedding: nil
        case .attention(let layer), .mlp(let layer), .block(let layer): layer
        }
    }
}

/// A change of the hidden states at one site, made in scoring, generation and training alike.
///
/// Gradients pass through the change as through any operator: unchanged where something is added, not at
/// all where the state is replaced, without the direction where one is removed.
public struct ActivationEdit: Sendable, Codable {
    public enum Change: Sendable, Codable {
        /// `h + scale · vector`; the vector is `[hidden]`.
        case add(Tensor, scale: Float = 1)
        /// The vector in place of `h`; `[hidden]`.
        case replace(Tensor)
        /// `h − strength · (h · d) d`, d the vector in unit length; `[hidden]`.
        case remove(Tensor, strength: Float = 1)
    }
    /// Which positions of each sequence, its first token at 0.
    public enum Positions: Sendable, Hashable, Codable {
        case all
        case only(Set<Int>)
        /// This one and every later one, generated ones included.
        case from(Int)

        func contains(_ position: Int) -> Bool {
            switch self {
            case .all: true
            case .only(let positions): positions.contains(position)
            case .from(let first): position >= first
            }
        }
    }

    public var site: ActivationSite
    public var positions: Positions
    public var change: Change

    public init(_ change: Change, at site: ActivationSite, positions: Positions = .all) {
        self.site = site
        self.positions = positions
        self.change = change
    }

    /// A vector of a change, as f32.
    private var vector: Tensor {
        switch change {
        case .add(let vector, _), .replace(let vector), .remove(let vector, _): vector.asFloats
        }
    }

    /// Traps where the change does not fit the model.
    func check(_ configuration: ModelConfiguration) {
        let hidden = configuration.hiddenSize
        precondition(
            vector.shape == [hidden],
            "an edit at \(site) needs a vector [\(hidden)], not \(vector.shape)")
        precondition(
            site.layer.map { (0..<configuration.layerCount).contains($0) } ?? true,
            "\(site): this model has layers 0 to \(configuration.layerCount - 1)")
    }

    /// The state after the change.
    package func applied(to x: Variable, _ rows: PackedRows, on tape: Tape) -> Variable {
        let hidden = x.value.shape[1]
        let chosen = rows.positions.indices.filter { positions.contains(Int(rows.positions[$0])) }
        let y = Tensor(uninitialized: x.value.shape)
        y.freshFloats.update(from: x.value.floats, count: y.count)
        let source = x.withoutValue
        switch change {
        case .add(let vector, let scale):
            let vector = vector.asFloats
            for row in chosen { Self.add(vector, times: scale, to: y, row: row) }
            return tape.record(y, needsGradient: x.needsGradient, keeping: []) { dy, tape in
                tape.add(dy, to: source)
            }
        case .replace(let vector):
            let vector = vector.asFloats
            for row in chosen {
                (y.freshFloats + row * hidden).update(from: vector.floats, count: hidden)
            }
            return tape.record(y, needsGradient: x.needsGradient, keeping: []) { dy, tape in
                let dx = Tensor(uninitialized: dy.shape)
                dx.freshFloats.update(from: dy.floats, count: dy.count)
                for row in chosen {
                    (dx.freshFloats + row * hidden).update(repeating: 0, count: hidden)
                }
                tape.add(dx, to: source)
            }
        case .remove(let vector, let strength):
            let direction = Self.unit(vector.asFloats)
            Self.remove(direction, strength, from: y, rows: chosen)
            return tape.record(y, needsGradient: x.needsGradient, keeping: [direction]) {
                dy, tape in
                // The projection is symmetric: the gradient loses the same part.
                let dx = Tensor(uninitialized: dy.shape)
                dx.freshFloats.update(from: dy.floats, count: dy.count)
                Self.remove(direction, strength, from: dx, rows: chosen)
                tape.add(dx, to: source)
            }
        }
    }

    /// A vector by its length, in f64; zero stays zero.
    private static func unit(_ vector: Tensor) -> Tensor {
        let length = vector.norm()
        var result = vector
        result.withUnsafeMutableFloats { values in
            for i in values.indices {
                values[i] = length > 0 ? Float(Double(values[i]) / length) : 0
            }
        }
        return result
    }

    private static func remove(
        _ direction: Tensor, _ strength: Float, from y: Tensor, rows: [Int]
    ) {
        let hidden = y.shape[1]
        for row in rows {
            let part = ek_dot(hidden, y.floats + row * hidden, direction.floats)
            add(direction, times: -strength * part, to: y, row: row)
        }
    }

    private static func add(_ vector: Tensor, times factor: Float, to y: Tensor, row: Int) {
        let place = y.freshFloats + row * vector.count
        ek_binary(EK_ADD_PRODUCT, vector.count, place, vector.floats, vector.count, factor, place)
    }
}

/// What happens at the sites of one computation: the model's edits, and whoever reads.
///
/// Without edits and without a reader a call is one branch: nothing is looked up, copied or recorded.
struct ActivationTap {
    private var edits: [ActivationSite: [ActivationEdit]] = [:]
    /// Called with each state after its edits; the tensor is the reader's own.
    var read: ((ActivationSite, Tensor) -> Void)?
    /// The sites that `read` wants.
    var wanted: Set<ActivationSite> = []

    init(_ edits: [ActivationEdit]) {
        for edit in edits { self.edits[edit.site, default: []].append(edit) }
    }

    func callAsFunction(
        _ x: Variable, at site: ActivationSite, _ rows: PackedRows, on tape: Tape
    ) -> Variable {
        if edits.isEmpty, wanted.isEmpty { return x }
        var x = x
        for edit in edits[site] ?? [] { x = edit.applied(to: x, rows, on: tape) }
        if let read, wanted.contains(site) {
            // Later operators may work in place on this memory.
            let own = Tensor(uninitialized: x.value.shape)
            own.freshFloats.update(from: x.value.floats, count: own.count)
            read(site, own)
        }
        return x
    }
}

extension LanguageModel {
    /// The hidden states of texts at some sites, the model's edits applied; for probes and for making
    /// directions. By site a tensor `[T, hidden]` for each text.
    /// - Precondition: the sites' layers exist.
    public func activations(
        _ tokens: [[Int32]], at sites: Set<ActivationSite>
    ) -> [ActivationSite: [Tensor]] {
        for site in sites {
            precondition(
                site.layer.map { (0..<configuration.layerCount).contains($0) } ?? true,
                "\(site): this model has layers 0 to \(configuration.layerCount - 1)")
        }
        var result: [ActivationSite: [Tensor]] = [:]
        var transformer = Transformer(self)
        let (tape, rope) = prepared(tokens.map(\.count).max() ?? 0)
        transformer.tap.wanted = sites
        // One text at a time: memory for one, and a text's bits are its own in any case.
        for text in tokens {
            transformer.tap.read = { site, state in result[site, default: []].append(state) }
            _ = transformer(text, rows: PackedRows(lengths: [text.count]), rope: rope, on: tape)
        }
        return result
    }

    /// The mean state at one position of each text less that of other texts: a direction to steer along
    /// or to remove, `[hidden]`, summed in f64.
    /// - Parameter position: Counted from the end: −1 is the last token.
    /// - Precondition: both lists have texts, each long enough.
    public func direction(
        from texts: [[Int32]], against others: [[Int32]], at site: ActivationSite,
        position: Int = -1
    ) -> Tensor {
        func mean(_ texts: [[Int32]]) -> [Double] {
            precondition(!texts.isEmpty, "a direction needs texts on both sides")
            let hidden = configuration.hiddenSize
            var sum = [Double](repeating: 0, count: hidden)
            for state in activations(texts, at: [site])[site] ?? [] {
                let row = position < 0 ? state.shape[0] + position : position
                precondition(
                    (0..<state.shape[0]).contains(row),
                    "a text of \(state.shape[0]) tokens has no position \(position)")
                for i in 0..<hidden { sum[i] += Double(state.floats[row * hidden + i]) }
            }
            return sum.map { $0 / Double(texts.count) }
        }
        return Tensor(
            zip(mean(texts), mean(others)).map { Float($0 - $1) }, shape: [configuration.hiddenSize]
        )
    }
}
