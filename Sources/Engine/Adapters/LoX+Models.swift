// LoX over whole models: one decomposition of every matrix, then any rank and coefficient. One weight's
// arithmetic is in LoX.swift; folders of checkpoints are in LoX+Checkpoints.swift.

extension LoX {
    /// What to do with an embedding whose rows differ in number: two vocabularies.
    public enum VocabularyMismatch: String, Sendable, Hashable, CaseIterable {
        /// An error, as in the published code.
        case refuse
        /// The tensor stays as it is in the aligned model, and the report says so.
        case skip
        /// The rows that both have are extrapolated, the others stay; the report says so.
        case commonRows
    }

    /// What LoX did with one weight, and how sure that is.
    public struct Record: Sendable {
        public let name: String
        public let shape: [Int]
        /// Triplets that were used; nil where the whole change was taken, or none of it.
        public let rank: Int?
        public let singularValues: [Double]
        /// Relative to the largest singular value.
        public let relativeResidual: Double
        public let gapRatio: Double
        /// The top-k subspace is ill-determined: see ``LowRankDelta/isIllDetermined``.
        public let isIllDetermined: Bool
        public let passes: Int
        /// Why the weight stayed as it was, in whole or in part.
        public let note: String?

        init(_ name: String, _ shape: [Int], _ delta: LowRankDelta?, note: String? = nil) {
            self.name = name
            self.shape = shape
            rank = delta?.rank
            singularValues = delta?.singularValues ?? []
            relativeResidual = delta?.relativeResidual ?? 0
            gapRatio = delta?.gapRatio ?? 0
            isIllDetermined = delta?.isIllDetermined ?? false
            passes = delta?.passes ?? 0
            self.note = note
        }
    }

    /// The decomposed change of a whole model: serves every rank up to its own, and every coefficient.
    public struct ModelDelta: Sendable {
        public let rank: Int
        /// By parameter name; only the matrices that were selected and have a counterpart.
        public let deltas: [String: LowRankDelta]
        /// In the order of the names.
        public let records: [Record]
        public let options: Options

        /// Weights whose top-k subspace is ill-determined at this rank.
        public var illDetermined: [String] { records.filter(\.isIllDetermined).map(\.name) }
    }

    /// Decomposes the change between two models, one matrix at a time.
    ///
    /// - Parameters:
    ///   - rank: At least 1; the change of a smaller matrix is kept whole.
    ///   - selection: Every matrix by default, as the published code has it.
    ///   - vocabularyMismatch: What to do where embeddings differ in rows.
    public static func decompose(
        aligned: LanguageModel, base: LanguageModel, rank: Int,
        selection: WeightSelection = .everyMatrix, options: Options = Options(),
        vocabularyMismatch: VocabularyMismatch = .refuse
    ) throws -> ModelDelta {
        precondition(rank > 0, "a decomposition has a rank of at least 1, not \(rank)")
        let exact = exactAdapter(of: aligned, over: base)
        let (before, after) = (try WeightSet(base), try WeightSet(aligned))
        var deltas: [String: LowRankDelta] = [:]
        var records: [Record] = []
        for name in after.names {
            let tensor = try after.tensor(name)
            guard
                selection.contains(
                    name, shape: tensor.shape, tiesEmbeddings: after.tiesEmbeddings)
            else { continue }
            if let module = exact[name] {
                let delta = decompose(module, rank: rank)
                deltas[name] = delta
                records.append(Record(name, tensor.shape, delta))
                continue
            }
            let pair = try matched(
                tensor, try before.tensor(name, of: "base"), name: name, vocabularyMismatch)
            guard let pair else {
                records.append(
                    Record(name, tensor.shape, nil, note: "skipped: the vocabularies differ"))
                continue
            }
            let delta = try decompose(
                aligned: pair.aligned, base: pair.base, rank: rank, options: options, name: name)
            deltas[name] = delta
            records.append(Record(name, tensor.shape, delta, note: pair.note))
        }
        return ModelDelta(rank: rank, deltas: deltas, records: records, options: options)
    }

    /// The adapter's updates by parameter name, where the aligned model is the base with an adapter: then
    /// their decomposition is exact, and no weight need be read.
    private static func exactAdapter(
        of aligned: LanguageModel, over base: LanguageModel
    ) -> [String: LoRAModule] {
        guard let adapter = aligned.adapter, base.adapter == nil else { return [:] }
        var result: [String: LoRAModule] = [:]
        // The embedding's update lies the other way round; its difference is taken from the weights.
        for (path, module) in adapter.modules where !LoRAModule.isEmbedding(path) {
            guard case .dense(let mine)? = aligned.weights[path + ".weight"],
                case .dense(let theirs)? = base.weights[path + ".weight"],
                mine.hasSameBits(as: theirs)
            else { continue }
            result[path + ".weight"] = module
        }
        return result
    }

    /// The rows that can be compared; nil where the tensor is to be left alone.
    static func matched(
        _ aligned: Tensor, _ base: Tensor, name: String, _ mismatch: VocabularyMismatch
    ) throws -> (aligned: Tensor, base: Tensor, note: String?)? {
        if aligned.shape == base.shape { return (aligned, base, nil) }
        let isVocabulary = name.hasSuffix("embed_tokens.weight") || name.hasSuffix("lm_head.weight")
        guard isVocabulary, aligned.shape.count == 2, base.shape.count == 2,
            aligned.shape[1] == base.shape[1]
        else { throw LoXError(.shapesDiffer(aligned.shape, base.shape), tensor: name) }
        let (mine, theirs) = (aligned.shape[0], base.shape[0])
        switch mismatch {
        case .refuse: throw LoXError(.vocabulariesDiffer(mine, theirs), tensor: name)
        case .skip: return nil
        case .commonRows:
            let common = min(mine, theirs)
            return (
                aligned.rows(0..<common), base.rows(0..<common),
                "only the first \(common) of \(mine) rows: the base has \(theirs)"
            )
        }
    }
}

extension LanguageModel {
    /// This aligned model with the leading part of what alignment changed extrapolated (LoX): every
    /// selected matrix becomes `W + coefficient · Proj_rank(W − W_base)`; norms stay as they are.
    ///
    /// An adapter of this model is folded in first. Rank 0 extrapolates the whole change (ExPO).
    /// Source: arXiv:2506.15606, §4. Our `rank` is the paper's k (6 in its main setting), our
    /// `coefficient` its α (1.25 there).
    /// - Throws: ``LoXError`` where the models do not fit or a weight is quantised,
    ///   ``LinearAlgebraError`` where a weight is not finite or a residual is not reached.
    public func extrapolated(
        from base: LanguageModel, rank: Int, coefficient: Double,
        selection: WeightSelection = .everyMatrix, options: LoX.Options = .init(),
        vocabularyMismatch: LoX.VocabularyMismatch = .refuse
    ) throws -> LanguageModel {
        if rank > 0 {
            return try extrapolated(
                along: LoX.decompose(
                    aligned: self, base: base, rank: rank, selection: selection, options: options,
                    vocabularyMismatch: vocabularyMismatch), coefficient: coefficient)
        }
        var result = adapter == nil ? self : try merged()
        let (before, after) = (try WeightSet(base), try WeightSet(result))
        for name in after.names {
            let tensor = try after.tensor(name)
            let isSelected = selection.contains(
                name, shape: tensor.shape, tiesEmbeddings: after.tiesEmbeddings)
            guard isSelected,
                let pair = try LoX.matched(
                    tensor, try before.tensor(name, of: "base"), name: name, vocabularyMismatch)
            else {
                result.weights[name] = .dense(
                    tensor.converted(to: LoX.resultType(tensor, options)))
                continue
            }
            let moved = try LoX.extrapolate(
                aligned: pair.aligned, base: pair.base, rank: 0, coefficient: coefficient,
                options: options, name: name)
            result.weights[name] = .dense(moved.followed(byRowsOf: tensor))
        }
        return result
    }

    /// This aligned model moved along a decomposition of its change.
    /// - Parameters:
    ///   - rank: At most the decomposition's; all of it by default.
    public func extrapolated(
        along delta: LoX.ModelDelta, rank: Int? = nil, coefficient: Double
    ) throws -> LanguageModel {
        if let rank {
            precondition(
                rank > 0 && rank <= delta.rank,
                "this decomposition has the ranks 1 to \(delta.rank), not \(rank)")
        }
        var result = adapter == nil ? self : try merged()
        for name in try WeightSet(result).names {
            let tensor = result[name]
            guard let change = delta.deltas[name]?.truncated(to: rank ?? delta.rank) else {
                result.weights[name] = .dense(
                    tensor.converted(to: LoX.resultType(tensor, delta.options)))
                continue
            }
            let moved = try LoX.extrapolate(
                tensor.rows(0..<change.shape[0]), along: change, coefficient: coefficient,
                options: delta.options, name: name)
            result.weights[name] = .dense(moved.followed(byRowsOf: tensor))
        }
        return result
    }
}

extension Tensor {
    /// Some rows of a matrix, as a window on the same bytes.
    func rows(_ range: Range<Int>) -> Tensor {
        let bytes = shape[1] * dtype.byteCount
        return Tensor(
            storage: storage, byteOffset: byteOffset + range.lowerBound * bytes,
            shape: [range.count, shape[1]], dtype: dtype)
    }

    /// These rows, and after them those that `whole` has beyond them, in this tensor's type.
    func followed(byRowsOf whole: Tensor) -> Tensor {
        if whole.shape[0] == shape[0] { return self }
        let rest = whole.rows(shape[0]..<whole.shape[0]).converted(to: dtype)
        let result = Tensor(uninitialized: whole.shape, dtype: dtype)
        withUnsafeBytes {
            result.storage.base.copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
        rest.withUnsafeBytes {
            (result.storage.base + byteCount).copyMemory(from: $0.baseAddress!, byteCount: $0.count)
        }
        return result
    }

    /// Whether type, shape and bytes are equal.
    func hasSameBits(as other: Tensor) -> Bool {
        guard dtype == other.dtype, shape == other.shape else { return false }
        if storage === other.storage, byteOffset == other.byteOffset { return true }
        return withUnsafeBytes { mine in
            other.withUnsafeBytes { mine.elementsEqual($0) }
        }
    }
}
