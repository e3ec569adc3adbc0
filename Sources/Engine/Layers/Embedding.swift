// Token embeddings and the choice of rows, forward by backward.

internal import EngineKernels

/// A table of token vectors, scaled by √hidden in the Gemma families.
package struct Embedding {
    package var name: String
    /// `[vocabulary, hidden]`; f32, bf16 or f16.
    package var table: Tensor
    package var scale: Float

    package init(name: String, table: Tensor, scale: Float) {
        precondition(
            table.dtype == .f32 || table.dtype == .bf16 || table.dtype == .f16,
            "an embedding is f32, bf16 or f16, not \(table.dtype)")
        self.name = name
        self.table = table
        self.scale = scale
    }

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
        return tape.record(y, needsGradient: tape.parameters.contains(name), keeping: []) {
            [name, scale] dy, tape in
            tape.parameters.add(to: name) { gradient in
                ek_embed_backward(gradient, dy.floats, tokens, tokens.count, dim, scale)
            }
        }
    }
}

/// Rows of a matrix, each at most once: the positions whose logits are wanted.
package func chosenRows(_ x: Variable, _ rows: [Int32], on tape: Tape) -> Variable {
    let (all, dim) = (x.value.shape[0], x.value.shape[1])
    let y = Tensor(uninitialized: [rows.count, dim])
    ek_gather_rows(y.freshFloats, x.value.floats, rows, rows.count, dim)
    return tape.record(y, needsGradient: x.needsGradient, keeping: []) { dy, tape in
        let dx = Tensor(zeros: [all, dim])
        ek_scatter_rows(dx.freshFloats, dy.floats, rows, rows.count, dim)
        tape.add(dx, to: x)
    }
}
