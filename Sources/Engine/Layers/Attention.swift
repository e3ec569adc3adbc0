// Causal attention on packed sequences: QK-norm, rotary embedding, window and soft cap in one operator,
// forward by backward; and the same against a key-value cache, forward only.

internal import EngineKernels

/// The rows of a batch: sequences one after the other, no padding between them.
package struct PackedRows {
    /// `[sequences + 1]`: where each begins.
    package let offsets: [Int32]
    /// `[rows]`: each row's position in its sequence.
    package let positions: [Int32]
    package var count: Int { positions.count }
    package var sequenceCount: Int { offsets.count - 1 }

    /// - Parameters:
    ///   - lengths: new rows of each sequence.
    ///   - starts: the position of each one's first row; 0 without a cache.
    package init(lengths: [Int], starts: [Int]? = nil) {
        var offsets: [Int32] = [0]
        var positions: [Int32] = []
        for (i, length) in lengths.enumerated() {
            let start = starts?[i] ?? 0
            offsets.append(offsets[i] + Int32(length))
            for j in 0..<length { positions.append(Int32(start + j)) }
        }
        self.offsets = offsets
        self.positions = positions
    }
}

/// Attention of one layer, between the query-key-value projection and the output projection.
package struct Attention {
    package var headCount: Int
    package var keyValueHeadCount: Int
    package var headDimension: Int
    /// What `q kᵀ` is multiplied by.
    package var scale: Float
    /// Soft cap of the scaled products; 0 for none.
    package var softCap: Float
    /// A query sees itself and the `window − 1` keys before it; 0 for all.
    package var window: Int
    package var queryNorm: RMSNorm?
    package var keyNorm: RMSNorm?

    package init(
        headCount: Int, keyValueHeadCount: Int, headDimension: Int, scale: Float,
        softCap: Float = 0,
        window: Int = 0, queryNorm: RMSNorm? = nil, keyNorm: RMSNorm? = nil
    ) {
        self.headCount = headCount
        self.keyValueHeadCount = keyValueHeadCount
        self.headDimension = headDimension
        self.scale = scale
        self.softCap = softCap
        self.window = window
        self.queryNorm = queryNorm
        self.keyNorm = keyNorm
    }

    /// - Parameters:
    ///   - qkv: `[rows, (heads + 2 · keyValueHeads) · headDimension]`: queries, keys, values. Fresh from
    ///     its projection: it is rotated in place.
    ///   - rope: tables that reach every position of `rows`.
    /// - Returns: `[rows, heads · headDimension]`.
    package func callAsFunction(
        _ qkv: Variable, rows: PackedRows, rope: RotaryEmbedding, on tape: Tape
    ) -> Variable {
        let (normed, inverses) = prepared(qkv.value, rows, rope)
        let o = Tensor(uninitialized: [rows.count, headCount * headDimension])
        let statistics = Tensor(uninitialized: [rows.count, headCount, 2])
        rows.offsets.withUnsafeBufferPointer { offsets in
            var a = arguments(normed, offsets, rows)
            (a.o, a.statistics) = (o.freshFloats, statistics.freshFloats)
            ek_attention(&a)
        }
        let (original, source) = (qkv.value, qkv.withoutValue)
        let trains = [queryNorm, keyNorm].contains {
            $0.map { tape.parameters.contains($0.name) } ?? false
        }
        let tensors = [normed, o, statistics] + (inverses.map { [original, $0.0, $0.1] } ?? [])
        return tape.record(o, needsGradient: qkv.needsGradient || trains, keeping: tensors) {
            [self] dO, tape in
            let gradient = Tensor(uninitialized: normed.shape)
            rows.offsets.withUnsafeBufferPointer { offsets in
                var a = arguments(normed, offsets, rows)
                (a.o, a.statistics, a.dO) = (o.freshFloats, statistics.freshFloats, dO.floats)
                a.dq = gradient.freshFloats
                a.dk = gradient.freshFloats + headCount * headDimension
                a.dv = gradient.freshFloats + (headCount + keyValueHeadCount) * headDimension
                ek_attention_backward(&a)
            }
            rotate(gradient, rows, rope, backward: true)
            if let inverses {
                unnorm(queryNorm!, gradient, original, inverses.0, head: 0, heads: headCount, tape)
                unnorm(
                    keyNorm!, gradient, original, inverses.1, head: headCount,
                    heads: keyValueHeadCount, tape)
            }
            tape.add(gradient, to: source)
        }
    }

    /// Attends to a cache, and writes the new keys and values into it.
    package func callAsFunction(
        _ qkv: Tensor, rows: PackedRows, rope: RotaryEmbedding, cache: KeyValueCache, layer: Int
    ) -> Tensor {
        let (normed, _) = prepared(qkv, rows, rope)
        let o = Tensor(uninitialized: [rows.count, headCount * headDimension])
        rows.offsets.withUnsafeBufferPointer { offsets in
            cache.withPointers(layer: layer) { keys, values, lengths, capacity in
                let plain = arguments(normed, offsets, rows)
                var a = ek_cached_attention_t()
                (a.sequences, a.heads) = (plain.sequences, plain.heads)
                (a.keyValueHeads, a.headDim) = (plain.keyValueHeads, plain.headDim)
                (a.capacity, a.offsets, a.lengths) = (capacity, plain.offsets, lengths)
                (a.keys, a.values) = (keys, values)
                (a.q, a.k, a.v, a.stride) = (plain.q, plain.k, plain.v, plain.stride)
                (a.o, a.scale, a.softcap, a.window) = (o.freshFloats, scale, softCap, window)
                ek_cached_attention(&a)
            }
        }
        return o
    }

    private func arguments(
        _ qkv: Tensor, _ offsets: UnsafeBufferPointer<Int32>, _ rows: PackedRows
    ) -> ek_attention_t {
        var a = ek_attention_t()
        (a.sequences, a.heads) = (rows.sequenceCount, headCount)
        (a.keyValueHeads, a.headDim) = (keyValueHeadCount, headDimension)
        (a.offsets, a.stride) = (offsets.baseAddress, qkv.shape[1])
        a.q = qkv.floats
        a.k = qkv.floats + headCount * headDimension
        a.v = qkv.floats + (headCount + keyValueHeadCount) * headDimension
        (a.scale, a.softcap, a.window) = (scale, softCap, window)
        return a
    }

    /// Queries and keys normalized (where the family does) and rotated. Without norms the projection's
    /// own memory is used; with them it is kept for the way back.
    private func prepared(
        _ qkv: Tensor, _ rows: PackedRows, _ rope: RotaryEmbedding
    ) -> (Tensor, (Tensor, Tensor)?) {
        guard let queryNorm, let keyNorm else {
            rotate(qkv, rows, rope, backward: false)
            return (qkv, nil)
        }
        let normed = Tensor(uninitialized: qkv.shape)
        let width = qkv.shape[1], values = (headCount + keyValueHeadCount) * headDimension
        ek_nn_scale_rows(
            normed.freshFloats + values, width, qkv.floats + values, width, rows.count,
            keyValueHeadCount * headDimension, 1)
        let inverses = (
            Tensor(uninitialized: [rows.count, headCount]),
            Tensor(uninitialized: [rows.count, keyValueHeadCount])
        )
        norm(queryNorm, qkv, normed, inverses.0, head: 0, heads: headCount)
        norm(keyNorm, qkv, normed, inverses.1, head: headCount, heads: keyValueHeadCount)
        rotate(normed, rows, rope, backward: false)
        return (normed, inverses)
    }

    private func rotate(
        _ qkv: Tensor, _ rows: PackedRows, _ rope: RotaryEmbedding, backward: Bool
    ) {
        rows.positions.withUnsafeBufferPointer { positions in
            var a = ek_rope_t()
            (a.rows, a.heads, a.headDim) = (
                rows.count, headCount + keyValueHeadCount, headDimension
            )
            (a.stride, a.x, a.positions) = (qkv.shape[1], qkv.freshFloats, positions.baseAddress)
            (a.cosine, a.sine, a.backward) = (rope.cosine.floats, rope.sine.floats, backward)
            ek_rope(&a)
        }
    }

    private func norm(
        _ norm: RMSNorm, _ x: Tensor, _ y: Tensor, _ inverse: Tensor, head: Int, heads: Int
    ) {
        let width = x.shape[1], start = head * headDimension
        var a = ek_rmsnorm_t()
        (a.rows, a.groups, a.dim) = (x.shape[0], heads, headDimension)
        (a.x, a.xStride, a.w) = (x.floats + start, width, norm.weight.floats)
        (a.y, a.yStride, a.inverse) = (y.freshFloats + start, width, inverse.freshFloats)
        (a.epsilon, a.plusOne) = (norm.epsilon, norm.addsOne)
        ek_rmsnorm(&a)
    }

    private func unnorm(
        _ norm: RMSNorm, _ gradient: Tensor, _ x: Tensor, _ inverse: Tensor, head: Int, heads: Int,
        _ tape: Tape
    ) {
        let width = x.shape[1], start = head * headDimension
        var a = ek_rmsnorm_backward_t()
        (a.rows, a.groups, a.dim) = (x.shape[0], heads, headDimension)
        (a.x, a.xStride, a.w) = (x.floats + start, width, norm.weight.floats)
        (a.dy, a.dyStride) = (gradient.floats + start, width)
        (a.inverse, a.plusOne) = (inverse.floats, norm.addsOne)
        tape.parameters.add(to: norm.name) { dw in
            var weightOnly = a
            weightOnly.dw = dw
            ek_rmsnorm_backward(&weightOnly)
        }
        (a.dx, a.dxStride) = (gradient.freshFloats + start, width)
        ek_rmsnorm_backward(&a)
    }
}
