// Safe LoRA against its dense formulas.

import Engine
import Testing

@Suite struct `Safe LoRA` {
    /// P = V Vᵀ / ‖V‖, formed whole.
    private func projector(_ v: [Double], rows: Int, columns: Int) -> [Double] {
        let norm = v.reduce(0) { $0 + $1 * $1 }.squareRoot()
        return naiveProduct(
            v, naiveTranspose(v, rows: rows, columns: columns), rows: rows, inner: columns,
            columns: rows
        ).map { $0 / norm }
    }

    private struct Layer {
        let path: String
        let base, aligned: Tensor
        let module: LoRAModule
        let rows = 20, columns = 14, rank = 3

        init(_ index: Int) {
            path = "model.layers.\(index).self_attn.q_proj"
            let seed = UInt64(index)
            base = Tensor(
                uniformNumbers(rows * columns, seed: seed, name: "base").map(Float.init),
                shape: [rows, columns])
            let change = uniformNumbers(rows * columns, seed: seed, name: "change")
            aligned = Tensor(
                zip(base.floats, change).map { $0 + Float($1 * 0.1) }, shape: [rows, columns])
            module = LoRAModule(
                a: Tensor(
                    uniformNumbers(rank * columns, seed: seed, name: "a").map(Float.init),
                    shape: [rank, columns]),
                b: Tensor(
                    uniformNumbers(rows * rank, seed: seed, name: "b").map(Float.init),
                    shape: [rows, rank]), scale: 2)
        }

        var difference: [Double] {
            zip(aligned.floats, base.floats).map { Double($0 - $1) }
        }
    }

    private func sets(_ layers: [Layer]) -> (LoRAAdapter, WeightSet, WeightSet) {
        (
            LoRAAdapter(
                configuration: LoRA(rank: 3),
                modules: Dictionary(uniqueKeysWithValues: layers.map { ($0.path, $0.module) })),
            WeightSet(
                Dictionary(uniqueKeysWithValues: layers.map { ($0.path + ".weight", $0.aligned) })),
            WeightSet(
                Dictionary(uniqueKeysWithValues: layers.map { ($0.path + ".weight", $0.base) }))
        )
    }

    @Test func `projects as the dense formula, and finds its cosine`() throws {
        let layer = Layer(0)
        let (adapter, aligned, base) = sets([layer])
        let (result, rows) = try SafeLoRA.projected(
            adapter, aligned: aligned, base: base, mode: .threshold(1))
        let p = projector(layer.difference, rows: 20, columns: 14)
        let b = layer.module.b.floats.map(Double.init)
        let a = layer.module.a.floats.map(Double.init)
        let projected = naiveProduct(p, b, rows: 20, inner: 20, columns: 3)
        let ours = result.modules[layer.path]!.b.floats
        #expect(zip(ours, projected).allSatisfy { abs(Double($0) - $1) < 1e-6 })
        let before = naiveProduct(b, a, rows: 20, inner: 3, columns: 14)
        let after = naiveProduct(projected, a, rows: 20, inner: 3, columns: 14)
        func dot(_ x: [Double], _ y: [Double]) -> Double {
            zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let cosine = dot(before, after) / (dot(before, before) * dot(after, after)).squareRoot()
        #expect(abs(rows[0].cosine! - cosine) <= 0.5e-5 + 1e-9)
        #expect(result.modules[layer.path]!.a.floats == layer.module.a.floats)
    }

    @Test func `the number of layers, lowest cosines first`() throws {
        let layers = (0..<5).map { Layer($0) }
        let (adapter, aligned, base) = sets(layers)
        let (result, rows) = try SafeLoRA.projected(
            adapter, aligned: aligned, base: base, mode: .number(2))
        let sorted = rows.map { $0.cosine! }.sorted()
        for row in rows {
            #expect(row.isProjected == (row.cosine! <= sorted[1]))
            let changed =
                result.modules[row.path]!.b.floats != adapter.modules[row.path]!.b.floats
            #expect(changed == row.isProjected)
        }
        #expect(rows.count { $0.isProjected } == 2)
        let none = try SafeLoRA.projected(adapter, aligned: aligned, base: base, mode: .number(0))
        #expect(!none.rows.contains { $0.isProjected })
        let all = try SafeLoRA.projected(adapter, aligned: aligned, base: base)
        #expect(all.rows.allSatisfy { $0.isProjected })
    }

    @Test func `a layer that alignment did not change is left alone`() throws {
        let layer = Layer(0)
        let (adapter, aligned, _) = sets([layer])
        let (result, rows) = try SafeLoRA.projected(adapter, aligned: aligned, base: aligned)
        #expect(rows[0].cosine == nil && !rows[0].isProjected)
        #expect(result.modules[layer.path]!.b.floats == layer.module.b.floats)
    }

    @Test func `a layer of another shape is named`() throws {
        let layer = Layer(0)
        let (adapter, _, _) = sets([layer])
        let other = WeightSet([layer.path + ".weight": Tensor(zeros: [20, 15])])
        #expect(
            throws: LoXError(.shapesDiffer([20, 15], [20, 14]), tensor: layer.path + ".weight")
        ) {
            try SafeLoRA.projected(adapter, aligned: other, base: other)
        }
    }
}
