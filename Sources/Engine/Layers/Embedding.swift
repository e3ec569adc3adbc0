// Token embeddings with their low-rank update, and the choice of rows, forward by backward.

internal import EngineKernels

/// A table of token vectors, scaled by √hidden in the Gemma families:
/// `y = scale · (table[token] + update.scale · B A[:, token])`.
package struct Embedding {
    package var name: String
    /// `[vocabulary, hidden]`; f32, bf16 or f16.
    package var table: Tensor
    package var scale: Float
    /// A `[rank, vocabulary]`, B `[hidden, rank]` (PEFT's lora_embedding_A and _B); no dropout, as there.
    package var update: LoRAModule?

    package init(name: String, table: Tensor, scale: Float, update: LoRAModule? = nil) {
        precondition(
            table.dtype == .f32 || table.dtype == .bf16 || table.dtype == .f16,
            "an embedding is f32, bf16 or f16, not \(table.dtype)")
        self.name = name
        self.table = table
        self.scale = scale
        self.update = update
    }

    private var path: String { String(name.dropLast(".weight".count)) }

    /// - Precondition: every token is below the vocabulary's size.
    /// - Returns: `[tokens, hidden]`.
    package func callAsFunction(_ tokens: [Int32], on tape: Tape) -> Variable {
        let dim = table.shape[1]
        for token in tokens {
            precondition(
                token >= 0 && Int(token) < table.shape[0],
                "token \(token) is not in a vocabulary of \(table.shape[0])")
        }
        let y = Tensor(uninitialized: [tokens.count, dim])
        let dtype: Int32 = table.dtype == .f32 ? 0 : table.dtype == .bf16 ? 1 : 2
        ek_embed(
            y.freshFloats, table.storage.base + table.byteOffset, dtype, tokens, tokens.count, dim,
            scale)
        let chosen = update.map { self.chosen($0, tokens) }
        if let update, let chosen {
            ek_gemm(
                tokens.count, dim, chosen.shape[1], chosen.columns(from: 0),
                update.b.columns(from: 0, transposed: true), y.freshFloats, dim, true)
        }
        let trains = [name] + (update == nil ? [] : [LoRAModule.aName(path)])
        return tape.record(
            y, needsGradient: trains.contains(where: tape.parameters.contains),
            keeping: chosen.map { [$0] } ?? []
        ) { [self] dy, tape in
            tape.parameters.add(to: name) { gradient in
                ek_embed_backward(gradient, dy.floats, tokens, tokens.count, dim, scale)
            }
            if let update, let chosen { backward(update, chosen, dy, tokens, tape) }
        }
    }

    /// `scale · update.scale · A[:, token]` of each token, `[tokens, rank]`.
    private func chosen(_ update: LoRAModule, _ tokens: [Int32]) -> Tensor {
        let (rank, vocabulary) = (update.a.shape[0], update.a.shape[1])
        let result = Tensor(uninitialized: [tokens.count, rank])
        let (from, to, factor) = (update.a.floats, result.freshFloats, scale * update.scale)
        for (row, token) in tokens.enumerated() {
            for i in 0..<rank { to[row * rank + i] = factor * from[i * vocabulary + Int(token)] }
        }
        return result
    }

    private func backward(
        _ update: LoRAModule, _ chosen: Tensor, _ dy: Tensor, _ tokens: [Int32], _ tape: Tape
    ) {
        let (rank, vocabulary) = (update.a.shape[0], update.a.shape[1])
        let (rows, dim) = (tokens.count, dy.shape[1])
        tape.parameters.add(to: LoRAModule.bName(path)) { db in
            ek_gemm(
                dim, rank, rows, dy.columns(from: 0, transposed: true), chosen.columns(from: 0),
                db, rank, true)
        }
        tape.parameters.add(to: LoRAModule.aName(path)) { da in
            let slopes = Tensor(uninitialized: [rows, rank])
            ek_gemm(
                rows, rank, dim, dy.columns(from: 0), update.b.columns(from: 0),
                slopes.freshFloats, rank, false)
            let (from, factor) = (slopes.floats, scale * update.scale)
            // Rows ascend, so that a step's bits do not depend on its cut into batches.
            for (row, token) in tokens.enumerated() {
                for i in 0..<rank {
                    da[i * vocabulary + Int(token)].addProduct(factor, from[row * rank + i])
                }
            }
        }
    }
}

/// Rows of a matrix, each at most once: the positions whose logits are wanted.
package func chosenRows(_ x: Variable, _ rows: [Int32], on tape: Tape) -> Variable {
    let (all, dim) = (x.value.shape[0], x.value.shape[1])
    let y = Tensor(uninitialized: [rows.count, dim])
    ek_gather_rows(y.freshFloats, x.value.floats, rows, rows.count, dim)
    let source = x.withoutValue
    return tape.record(y, needsGradient: x.needsGradient, keeping: []) { dy, tape in
        let dx = Tensor(zeros: [all, dim])
        ek_scatter_rows(dx.freshFloats, dy.floats, rows, rows.count, dim)
        tape.add(dx, to: source)
    }
}
