// LoX over whole models and folders, and what is measured beside it.

import Engine
import Foundation
import Testing

/// A miniature model pair: aligned is base with a change of low rank and a little noise.
struct MiniaturePair {
    let base: LanguageModel
    let aligned: LanguageModel
    let configuration: ModelConfiguration

    init(seed: UInt64 = 5, folder: String = "models/llama-gqa-rope") throws {
        let start = try LanguageModel(fixture(folder))
        configuration = start.configuration
        var changed = start
        for name in start.weights.keys.sorted() where start[name].shape.count == 2 {
            let shape = start[name].shape
            let left = uniformNumbers(shape[0] * 3, seed: seed, name: name + "/left")
            let right = uniformNumbers(3 * shape[1], seed: seed, name: name + "/right")
            let noise = uniformNumbers(shape[0] * shape[1], seed: seed, name: name + "/noise")
            let change = naiveProduct(left, right, rows: shape[0], inner: 3, columns: shape[1])
            let values = start[name].converted(to: .f32).floats
            changed[name] = Tensor(
                values.indices.map { values[$0] + Float(0.01 * change[$0] + 0.0005 * noise[$0]) },
                shape: shape)
        }
        base = start
        aligned = changed
    }
}

@Suite struct `Low-rank extrapolation of models` {
    @Test func `every matrix is extrapolated, norms are not`() throws {
        let pair = try MiniaturePair()
        let robust = try pair.aligned.extrapolated(from: pair.base, rank: 3, coefficient: 1.25)
        #expect(robust.weights.count == pair.base.weights.count)
        for name in pair.base.weights.keys {
            let expected = try LoX.extrapolate(
                aligned: pair.aligned[name], base: pair.base[name], rank: 3, coefficient: 1.25)
            #expect(robust[name].floats == expected.floats, "\(name)")
            #expect(
                (robust[name].floats != pair.aligned[name].floats) == (expected.shape.count == 2))
        }
    }

    @Test func `one decomposition serves every rank and coefficient of a model`() throws {
        let pair = try MiniaturePair()
        let delta = try LoX.decompose(aligned: pair.aligned, base: pair.base, rank: 4)
        #expect(delta.records.map(\.name) == delta.deltas.keys.sorted())
        #expect(delta.records.allSatisfy { $0.relativeResidual < 1e-5 && $0.rank == 4 })
        for rank in [1, 4] {
            let once = try pair.aligned.extrapolated(along: delta, rank: rank, coefficient: 0.5)
            let anew = try pair.aligned.extrapolated(from: pair.base, rank: rank, coefficient: 0.5)
            for name in once.weights.keys {
                #expect(
                    zip(once[name].floats, anew[name].floats).allSatisfy { abs($0 - $1) < 1e-5 })
            }
        }
    }

    @Test func `rank 0 extrapolates the whole change`() throws {
        let pair = try MiniaturePair()
        let result = try pair.aligned.extrapolated(
            from: pair.base, rank: 0, coefficient: 0.5, selection: .containing("q_proj"))
        for name in pair.base.weights.keys {
            let (after, before) = (pair.aligned[name].floats, pair.base[name].floats)
            let moves = name.contains("q_proj")
            for (i, x) in result[name].floats.enumerated() {
                let wanted = moves ? after[i] + 0.5 * (after[i] - before[i]) : after[i]
                #expect(abs(x - wanted) < 1e-6)
            }
        }
    }

    @Test func `an adapter's change is decomposed exactly, without its weights`() throws {
        let base = try LanguageModel(fixture("models/llama-gqa-rope"))
        var aligned = base
        var random = RandomStream(seed: 3, name: "adapter")
        try aligned.attach(LoRA(rank: 4, alpha: 8), using: &random)
        for (path, module) in aligned.adapter!.modules {
            aligned.adapter!.modules[path]!.b = Tensor(
                uniformNumbers(module.b.count, name: path).map { Float(0.02 * $0) },
                shape: module.b.shape)
        }
        let delta = try LoX.decompose(
            aligned: aligned, base: base, rank: 6, selection: .blocks)
        #expect(delta.records.allSatisfy { $0.rank == 4 && $0.passes == 0 })
        let merged = try aligned.merged()
        for (name, change) in delta.deltas {
            let dense = try LoX.decompose(aligned: merged[name], base: base[name], rank: 4)
            for (exact, found) in zip(change.singularValues, dense.singularValues) {
                // The merged weights are rounded to f32.
                #expect(abs(exact - found) < 1e-5 * change.singularValues[0] + 1e-6)
            }
            let update = aligned.adapter!.modules[String(name.dropLast(".weight".count))]!.delta
            #expect(zip(change.dense().floats, update.floats).allSatisfy { abs($0 - $1) < 1e-6 })
            #expect(abs(change.energy - 1) < 1e-12)
        }
        let robust = try aligned.extrapolated(along: delta, coefficient: 1)
        #expect(robust.adapter == nil)
        let name = "model.layers.0.self_attn.q_proj.weight"
        for (i, x) in robust[name].floats.enumerated() {
            let (b, m) = (base[name].floats[i], merged[name].floats[i])
            #expect(abs(x - (m + (m - b))) < 1e-6)
        }
    }

    @Test func `vocabularies of different sizes are refused, skipped or cut, as asked`() throws {
        let rows = 12
        let name = "model.embed_tokens.weight"
        let long = Tensor(uniformNumbers((rows + 2) * 6).map(Float.init), shape: [rows + 2, 6])
        let short = Tensor([Float](repeating: 0, count: rows * 6), shape: [rows, 6])
        let folders = try TemporaryCheckpoints(base: [name: short], aligned: [name: long])
        defer { folders.remove() }
        #expect(throws: LoXError(.vocabulariesDiffer(rows + 2, rows), tensor: name)) {
            try LoX.extrapolate(
                checkpoint: folders.aligned, from: folders.base, to: folders.output, rank: 2,
                coefficient: 1)
        }
        let skipped = try LoX.extrapolate(
            checkpoint: folders.aligned, from: folders.base, to: folders.output, rank: 2,
            coefficient: 1, vocabularyMismatch: .skip)
        #expect(skipped.map(\.note) == ["skipped: the vocabularies differ"])
        #expect(try Checkpoint(folders.output).tensor(name).floats == long.floats)
        let cut = try LoX.extrapolate(
            checkpoint: folders.aligned, from: folders.base, to: folders.output, rank: 0,
            coefficient: 1, vocabularyMismatch: .commonRows)
        #expect(cut.map(\.note) == ["only the first 12 of 14 rows: the base has 12"])
        let result = try Checkpoint(folders.output).tensor(name).floats
        #expect(result[..<(rows * 6)].elementsEqual(long.floats[..<(rows * 6)].map { 2 * $0 }))
        #expect(result[(rows * 6)...].elementsEqual(long.floats[(rows * 6)...]))
    }

    @Test func `from folder to folder gives the same weights as in memory`() throws {
        let pair = try MiniaturePair()
        try withTemporaryFolder { folder in
            try pair.base.save(to: folder + "/base")
            try pair.aligned.save(to: folder + "/aligned")
            try writeFile(Array("{}".utf8), folder + "/aligned/tokenizer_config.json")
            var seen: [String] = []
            let records = try LoX.extrapolate(
                checkpoint: folder + "/aligned", from: folder + "/base", to: folder + "/robust",
                rank: 3, coefficient: 1.25
            ) { seen.append($0.name) }
            #expect(Set(seen) == Set(records.map(\.name)))
            let robust = try LanguageModel(folder + "/robust")
            let expected = try pair.aligned.extrapolated(
                from: pair.base, rank: 3, coefficient: 1.25)
            for name in expected.weights.keys {
                #expect(robust[name].floats == expected[name].floats)
            }
            #expect(try fileBytes(folder + "/robust/tokenizer_config.json") == Array("{}".utf8))
            // The published rounding writes bf16, and says so.
            try LoX.extrapolate(
                checkpoint: folder + "/aligned", from: folder + "/base", to: folder + "/half",
                rank: 0, coefficient: 1, options: .published)
            let half = try Checkpoint(folder + "/half")
            for name in half.names { #expect(try half.tensor(name).dtype == .bf16) }
            let declared = half.configurationJSON["dtype"] ?? half.configurationJSON["torch_dtype"]
            #expect(declared?.string == "bfloat16")
        }
    }

    /// Two processes, so that the peak is the extrapolation's alone: 24 layers, 63 MB a model, of which the
    /// published script holds three. The largest matrix takes 0.5 MB.
    @Test func `from folder to folder holds one matrix and its block, whatever the model`() async {
        defer { try? FileManager.default.removeItem(atPath: Self.memoryFolder(getpid())) }
        await #expect(processExitsWith: .success) {
            let folder = `Low-rank extrapolation of models`.memoryFolder(getppid())
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            let configuration = ModelConfiguration(
                vocabularySize: 64, hiddenSize: 256, intermediateSize: 512, layerCount: 24,
                headCount: 4)
            for (seed, name) in [(UInt64(1), "base"), (2, "aligned")] {
                var random = RandomStream(seed: seed, name: "memory")
                try LanguageModel(configuration: configuration, using: &random).save(
                    to: folder + "/" + name)
            }
        }
        await #expect(processExitsWith: .success) {
            let folder = `Low-rank extrapolation of models`.memoryFolder(getppid())
            func peak() throws -> Int {
                let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
                let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }!
                return Int(line.split(separator: " ").dropFirst().first!)! << 10
            }
            let before = try peak()
            let records = try LoX.extrapolate(
                checkpoint: folder + "/aligned", from: folder + "/base", to: folder + "/robust",
                rank: 3, coefficient: 1.25)
            precondition(records.count >= 168, "\(records.count) matrices")
            let risen = try peak() - before
            precondition(risen < 24 << 20, "\(risen >> 20) MiB more")
        }
    }

    fileprivate static func memoryFolder(_ process: Int32) -> String {
        FileManager.default.temporaryDirectory.appending(path: "lox-memory-\(process)").path(
            percentEncoded: false)
    }

    @Test func `a tensor that the base lacks is named before anything is written`() throws {
        let folders = try TemporaryCheckpoints(
            base: ["a": Tensor(zeros: [2, 2])],
            aligned: ["a": Tensor(zeros: [2, 2]), "b": Tensor(zeros: [2, 2])])
        defer { folders.remove() }
        #expect(throws: LoXError(.missing(side: "base"), tensor: "b")) {
            try LoX.extrapolate(
                checkpoint: folders.aligned, from: folders.base, to: folders.output, rank: 1,
                coefficient: 1)
        }
        #expect(!FileManager.default.fileExists(atPath: folders.output))
    }
}

/// Two folders with weights and an empty configuration.
struct TemporaryCheckpoints {
    let base, aligned, output: String
    private let root: URL

    init(base weights: [String: Tensor], aligned changed: [String: Tensor]) throws {
        root = FileManager.default.temporaryDirectory.appending(path: "lox-\(UUID().uuidString)")
        (base, aligned, output) = (
            root.path + "/base", root.path + "/aligned", root.path + "/output"
        )
        for (folder, tensors) in [(base, weights), (aligned, changed)] {
            try FileManager.default.createDirectory(
                atPath: folder, withIntermediateDirectories: true)
            try Safetensors.write(tensors, to: folder + "/model.safetensors")
            try writeFile(Array("{}".utf8), folder + "/config.json")
        }
    }

    func remove() { try? FileManager.default.removeItem(at: root) }
}

@Suite struct `Measures of alignment's directions` {
    @Test func `R_align and R_ft by hand`() throws {
        // Alignment changes diag(3, 4); the leading direction is the second. R_align = 4 / 5.
        // Fine-tuning adds diag(0, -4): then nothing is left along it. R_ft = 0.
        let base = WeightSet(["model.layers.0.self_attn.q_proj.weight": Tensor(zeros: [2, 2])])
        let aligned = WeightSet([
            "model.layers.0.self_attn.q_proj.weight": Tensor([3, 0, 0, 4], shape: [2, 2])
        ])
        let tuned = WeightSet([
            "model.layers.0.self_attn.q_proj.weight": Tensor([3, 0, 0, 0], shape: [2, 2])
        ])
        let metrics = try RobustnessMetrics(base: base, aligned: aligned, tuned: tuned, rank: 1)
        #expect(metrics.rows.count == 1)
        #expect(abs(metrics.aligned! - 0.8) < 1e-12)
        #expect(metrics.tuned == 0)
        #expect(metrics.rows[0].layer == 0 && metrics.rows[0].kind == "q_proj")
        let same = try RobustnessMetrics(base: base, aligned: aligned, tuned: aligned, rank: 1)
        #expect(abs(same.ratio! - 1) < 1e-12)
    }

    @Test func `agree with a projector built from LAPACK's vectors`() throws {
        let pair = PlantedPair(rows: 90, columns: 70) { 1 / Double($0 + 1) }
        let later = Tensor(
            zip(pair.aligned.floats, uniformNumbers(90 * 70, name: "drift")).map {
                $0 + Float(0.01 * $1)
            }, shape: [90, 70])
        let metrics = try RobustnessMetrics(
            base: WeightSet(["lm_head.weight": pair.base]),
            aligned: WeightSet(["lm_head.weight": pair.aligned]),
            tuned: WeightSet(["lm_head.weight": later]), rank: 5, options: .init())
        let svd = try LAPACK.singularValueDecomposition(pair.difference, rows: 90, columns: 70)
        let change = zip(later.floats, pair.base.floats).map { Double($0) - Double($1) }
        var inside = 0.0
        for i in 0..<5 {
            for c in 0..<70 {
                var sum = 0.0
                for r in 0..<90 { sum += svd.u[r * 70 + i] * change[r * 70 + c] }
                inside += sum * sum
            }
        }
        let expected = (inside / change.reduce(0) { $0 + $1 * $1 }).squareRoot()
        #expect(abs(metrics.tuned! - expected) < 1e-4)
        #expect(
            metrics.byLayer.map(\.name) == ["head"] && metrics.byKind.map(\.name) == ["lm_head"])
    }

    @Test func `a module that did not change is left out and named`() throws {
        let weight = Tensor([1, 2, 3, 4], shape: [2, 2])
        let metrics = try RobustnessMetrics(
            base: WeightSet(["lm_head.weight": weight]),
            aligned: WeightSet(["lm_head.weight": weight]), rank: 1)
        #expect(metrics.rows.isEmpty && metrics.unchanged == ["lm_head.weight"])
        #expect(metrics.aligned == nil && metrics.ratio == nil)
    }

    @Test func `embeddings count where they are the head`() {
        let embedding = "model.embed_tokens.weight"
        let linear = WeightSelection.linearLayers
        #expect(!linear.contains(embedding, shape: [4, 4], tiesEmbeddings: false))
        #expect(linear.contains(embedding, shape: [4, 4], tiesEmbeddings: true))
        #expect(linear.contains("lm_head.weight", shape: [4, 4], tiesEmbeddings: false))
        #expect(
            !WeightSelection.everyMatrix.contains(
                "model.norm.weight", shape: [4], tiesEmbeddings: false))
    }

    @Test func `effective rank: the smallest whose rate is close enough`() throws {
        // The change has rank 3 (and noise): the judge fails a model whose change is not nearly whole.
        let pair = try MiniaturePair()
        let name = "model.layers.0.mlp.up_proj.weight"
        let goal = pair.aligned[name].floats
        let whole = zip(goal, pair.base[name].floats).reduce(0) {
            $0 + ($1.0 - $1.1) * ($1.0 - $1.1)
        }
        var judged = 0
        let found = try EffectiveRank(aligned: pair.aligned, base: pair.base) { model in
            judged += 1
            let rest = zip(goal, model[name].floats).reduce(0) {
                $0 + ($1.0 - $1.1) * ($1.0 - $1.1)
            }
            return rest < 0.05 * whole ? 0.02 : 0.9
        }
        #expect(found.rank == 3)
        #expect(judged == 8 && found.rates.map(\.rank) == [0, 1, 2, 3, 4, 6, 8])
        #expect(found.alignedRate == 0.02)
    }

    @Test func `at rank 0 even the norms are the base's`() throws {
        let pair = try MiniaturePair()
        var aligned = pair.aligned
        let norm = "model.norm.weight"
        aligned[norm] = Tensor(
            aligned[norm].converted(to: .f32).floats.map { $0 + 1 }, shape: aligned[norm].shape)
        let delta = try LoX.decompose(aligned: aligned, base: pair.base, rank: 1)
        let zero = try EffectiveRank.model(aligned: aligned, base: pair.base, delta: delta, rank: 0)
        for name in pair.base.weights.keys { #expect(zero[name].floats == pair.base[name].floats) }
        let one = try EffectiveRank.model(aligned: aligned, base: pair.base, delta: delta, rank: 1)
        #expect(one[norm].floats == aligned[norm].floats)
    }

    @Test func `the landscape's axes are orthonormal, and its corner is where it should be`() throws
    {
        let pair = try MiniaturePair()
        let other = try MiniaturePair(seed: 6)
        let third = try MiniaturePair(seed: 7)
        let plane = try SafetyLandscape(
            pair.base, pair.aligned, tunedFrom1: other.aligned, tunedFrom2: third.aligned)
        func flat(_ model: LanguageModel) -> [Double] {
            model.weights.keys.sorted().flatMap {
                model[$0].converted(to: .f32).floats.map(Double.init)
            }
        }
        let origin = flat(pair.base)
        func offset(_ a: Double, _ b: Double) throws -> [Double] {
            zip(flat(try plane.model(a: a, b: b, dtype: .f32)), origin).map { $0 - $1 }
        }
        func dot(_ x: [Double], _ y: [Double]) -> Double {
            zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
        }
        let (d1, d2) = (try offset(1, 0), try offset(0, 1))
        // f32 weights of about 0.1 rounded, a hundred thousand of them.
        #expect(abs(dot(d1, d1) - 1) < 1e-5 && abs(dot(d2, d2) - 1) < 1e-5)
        #expect(abs(dot(d1, d2)) < 1e-5)
        let corner = flat(try plane.model(a: plane.alignedDistance, b: 0, dtype: .f32))
        #expect(zip(corner, flat(pair.aligned)).allSatisfy { abs($0 - $1) < 1e-5 })
        let grid = SafetyLandscape.grid()
        #expect(grid.count == 7 && grid.first == -10 && grid[3] == 10 && grid.last == 30)
        let points = try plane.map(a: [0, 1], b: [2]) { _ in 0.5 }
        #expect(points.map(\.a) == [0, 1] && points.map(\.b) == [2, 2])
        #expect(throws: LoXError(.unchanged, tensor: "W2 - W1")) {
            try SafetyLandscape(
                pair.base, pair.base, tunedFrom1: pair.aligned, tunedFrom2: pair.aligned)
        }
    }
}
