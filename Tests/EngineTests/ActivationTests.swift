// Reading and changing hidden states: by hand, against finite differences, in generation and in training.

import Engine
import Testing

@Suite struct `Hidden states` {
    static let tokens: [Int32] = [1, 5, 9, 2, 33]
    static let sites: [ActivationSite] = [
        .embedding, .attention(layer: 0), .mlp(layer: 1), .block(layer: 0), .block(layer: 1),
    ]
    static func floats(_ tensor: Tensor) -> [Float] { tensor.withUnsafeFloats { Array($0) } }

    @Test(arguments: ModelConfiguration.Family.allCases)
    func `are read where they are`(family: ModelConfiguration.Family) throws {
        let model = tinyModel(family: family)
        let read = model.activations([Self.tokens, [3]], at: Set(Self.sites))
        let states = model.hiddenStates(Self.tokens)
        #expect(sameBits(read[.embedding]![0], states[0]))
        #expect(sameBits(read[.block(layer: 0)]![0], states[1]))
        #expect(read[.mlp(layer: 1)]![1].shape == [1, 24])
        // A block is its input, what attention adds and what the MLP adds.
        let all = model.activations(
            [Self.tokens], at: [.embedding, .attention(layer: 0), .mlp(layer: 0), .block(layer: 0)])
        let sum =
            all[.embedding]![0] + all[.attention(layer: 0)]![0] + all[.mlp(layer: 0)]![0]
        #expect(sameBits(sum, all[.block(layer: 0)]![0]))
        #expect(model.activations([], at: [.embedding]).isEmpty)
    }

    @Test func `are added to, replaced and rid of a direction at the positions named`() {
        var model = tinyModel()
        let before = model.activations([Self.tokens], at: [.block(layer: 0)])[.block(layer: 0)]![0]
        let vector = normal([24], "vector")
        func state(_ change: ActivationEdit.Change, _ positions: ActivationEdit.Positions)
            -> [[Float]]
        {
            model.edits = [ActivationEdit(change, at: .block(layer: 0), positions: positions)]
            let all = Self.floats(
                model.activations([Self.tokens], at: [.block(layer: 0)])[.block(layer: 0)]![0])
            return (0..<5).map { Array(all[$0 * 24..<($0 + 1) * 24]) }
        }
        let old = (0..<5).map { Array(Self.floats(before)[$0 * 24..<($0 + 1) * 24]) }
        let v = Self.floats(vector)
        let added = state(.add(vector, scale: 2), .only([1, 3]))
        #expect(added[0] == old[0] && added[2] == old[2] && added[4] == old[4])
        #expect(added[1] == zip(old[1], v).map { $0.addingProduct($1, 2) })
        let replaced = state(.replace(vector), .from(3))
        #expect(replaced[2] == old[2] && replaced[3] == v && replaced[4] == v)
        let length = v.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        for (row, original) in zip(state(.remove(vector), .all), old) {
            let left = zip(row, v).reduce(0) { $0 + Double($1.0) * Double($1.1) } / length
            #expect(abs(left) < 1e-5)
            let part = zip(original, v).reduce(0) { $0 + Double($1.0) * Double($1.1) } / length
            for i in 0..<24 {
                #expect(
                    abs(Double(row[i]) - (Double(original[i]) - part * Double(v[i]) / length))
                        < 1e-5)
            }
        }
        #expect(state(.remove(Tensor(zeros: [24])), .all) == old)
        model.edits = []
        #expect(
            sameBits(
                model.activations([Self.tokens], at: [.block(layer: 0)])[.block(layer: 0)]![0],
                before))
    }

    @Test(arguments: 0..<3, [0, 1, 4])
    func `have the gradients of finite differences, at sizes 0 and 1 too`(kind: Int, rows: Int) {
        let vector = normal([6], "vector")
        let change: ActivationEdit.Change =
            [.add(vector, scale: 0.5), .replace(vector), .remove(vector, strength: 0.7)][kind]
        let edit = ActivationEdit(change, at: .embedding, positions: .only([0, 2]))
        let packed = PackedRows(lengths: [rows])
        let x = normal([rows, 6], "x")
        let result = gradients(of: x) { edit.applied(to: $0, packed, on: $1) }
        #expect(result.output.shape == [rows, 6] && result.input!.shape == [rows, 6])
        guard rows > 0 else { return }
        checkGradient(result.input!, at: x, name: "x") { x in
            objective(x) { edit.applied(to: $0, packed, on: $1) }
        }
    }

    @Test func `changed, change generation as they change scoring, whatever the batch`() throws {
        var model = try LanguageModel(fixture("models/gemma2"))
        let prompts: [[Int32]] = [[2, 9, 100], [2, 5], [2, 7, 8, 11, 40]]
        let plain = model.generate(prompts, maximumNewTokens: 10)
        model.edits = [
            ActivationEdit(
                .add(normal([48], "steer"), scale: 6), at: .block(layer: 1), positions: .from(2)),
            ActivationEdit(.remove(normal([48], "away")), at: .mlp(layer: 2)),
            // At one position of the prompt each: whoever leaves a site out writes another text.
            ActivationEdit(
                .add(normal([48], "first"), scale: 3), at: .embedding, positions: .only([1])),
            ActivationEdit(
                .replace(normal([48], "second", scale: 9)), at: .attention(layer: 0),
                positions: .only([1])),
        ]
        let steered = model.generate(prompts, maximumNewTokens: 10)
        #expect(steered != plain)
        #expect(steered == prompts.flatMap { model.generate([$0], maximumNewTokens: 10) })
        for (prompt, answer) in zip(prompts, steered) {
            #expect(model.scores(of: [(prompt, answer)])[0].isGreedy)
        }
    }

    @Test func `changed, are trained through, with checkpointing to the same bits`() throws {
        var bytes: [[[UInt8]]] = []
        for checkpointing in [false, true] {
            var model = try adapted(tinyModel(family: .gemma3))
            model.edits = Self.sites.map {
                ActivationEdit(.remove(normal([24], "\($0)"), strength: 0.5), at: $0)
            }
            var random = RandomStream(seed: 5, name: "run")
            let summary = try train(
                &model, on: tinyExamples(16), with: AdamW(learningRate: 2e-2),
                TrainingOptions(epochs: 3, gradientCheckpointing: checkpointing), using: &random)
            #expect(summary.losses.last! < summary.losses[0])
            bytes.append(try trainedBytes(model))
        }
        #expect(bytes[0] == bytes[1])
    }

    @Test func `give a direction between two kinds of texts`() {
        let model = tinyModel()
        let direction = model.direction(
            from: [[1, 2], [1, 3]], against: [[1, 4]], at: .block(layer: 1))
        let states = model.activations([[1, 2], [1, 3], [1, 4]], at: [.block(layer: 1)])[
            .block(layer: 1)]!.map { Self.floats($0).suffix(24).map(Double.init) }
        for (i, value) in Self.floats(direction).enumerated() {
            #expect(value == Float((states[0][i] + states[1][i]) / 2 - states[2][i]))
        }
    }

    @Test func `are not edited by what does not fit`() async {
        await #expect(processExitsWith: .failure) {
            var model = tinyModel()
            model.edits = [ActivationEdit(.add(Tensor(zeros: [23])), at: .embedding)]
            _ = model.logits([[1]])
        }
        await #expect(processExitsWith: .failure) {
            _ = tinyModel().activations([[1]], at: [.block(layer: 2)])
        }
    }
}

/// Drawing a token against the definition: everything sorted.
@Suite struct `Token sampling` {
    static func bySorting(
        _ logits: [Float], temperature: Float, topK: Int?, topP: Float?, u: Double
    ) -> Int32 {
        var order = Array(logits.indices)
        order.sort { logits[$0] != logits[$1] ? logits[$0] > logits[$1] : $0 < $1 }
        if let topK { order = Array(order.prefix(topK)) }
        let largest = Double(logits[order[0]])
        var weights = order.map {
            PortableMath.exp(max(-700, (Double(logits[$0]) - largest) / Double(temperature)))
        }
        if let topP {
            let total = weights.reduce(0, +)
            var (sum, kept) = (0.0, 0)
            while kept < weights.count, sum < Double(topP) * total {
                sum += weights[kept]
                kept += 1
            }
            weights = Array(weights.prefix(max(1, kept)))
        }
        let target = u * weights.reduce(0, +)
        var sum = 0.0
        for (token, weight) in zip(order, weights) {
            sum += weight
            if target < sum { return Int32(token) }
        }
        return Int32(order[weights.count - 1])
    }

    @Test(arguments: [1, 2, 63, 64, 65, 1000, 5000])
    func `draws what sorting the whole vocabulary draws`(size: Int) {
        var random = RandomStream(seed: 12, name: "sampling \(size)")
        for trial in 0..<40 {
            // Ties, and spreads from nearly even to a single peak.
            let logits = Self.logits(size, trial, &random)
            let options: [(Int?, Float?)] = [
                (nil, nil), (1, nil), (40, nil), (nil, 0.9), (40, 0.5), (nil, 1), (nil, 1e-6),
                (5000, 0.99),
            ]
            for (topK, topP) in options {
                var copy = random
                let u = Double(copy.uniform())
                let sampler = TokenSampler(temperature: 0.8, topK: topK, topP: topP)
                let token = logits.withUnsafeBufferPointer { sampler($0, &random) }
                #expect(
                    token
                        == Self.bySorting(
                            logits, temperature: 0.8, topK: topK, topP: topP, u: u))
                #expect(random.draws == copy.draws)
            }
        }
    }

    static func logits(_ size: Int, _ trial: Int, _ random: inout RandomStream) -> [Float] {
        (0..<size).map { _ in
            trial % 4 == 0
                ? Float(random.below(3)) : random.normal() * Float(1 + trial % 7) - 0
        }
    }

    /// On every kernel and thread count, at lengths that fill no vector too.
    @Test func `weighs all tokens at once with the bits of one by one`() {
        var random = RandomStream(seed: 12, name: "weights")
        for size in [1, 7, 8, 9, 1000, 20_003] {
            for temperature in [0.8, 1, 0.01] as [Float] {
                var logits = (0..<size).map { _ in random.normal() * 6 }
                if size > 8 { (logits[3], logits[5]) = (.nan, -.infinity) }
                let largest = Double(logits.filter { !$0.isNaN }.max()!)
                let expected = logits.map {
                    PortableMath.exp(max(-700, (Double($0) - largest) / Double(temperature)))
                        .bitPattern
                }
                onEveryKernel { setting in
                    let ours = logits.withUnsafeBufferPointer {
                        TokenSampler.weights($0, largest, Double(temperature))
                    }
                    #expect(ours.map(\.bitPattern) == expected, "\(setting) \(size)")
                }
            }
        }
        // Halves between two multiples of ln 2, and both their neighbours.
        let ln2 = 0.693_147_180_559_945_3
        for n in 0..<40 {
            let half = Float(-(Double(n) + 0.5) * ln2)
            let logits: [Float] = [0, half, half.nextUp, half.nextDown]
            let ours = logits.withUnsafeBufferPointer { TokenSampler.weights($0, 0, 1) }
            #expect(ours == logits.map { PortableMath.exp(Double($0)) })
        }
    }

    @Test func `takes −0 for 0, and never what is not a number while there is one`() {
        var random = RandomStream(seed: 1, name: "odd")
        let sampler = TokenSampler(temperature: 1, topK: 1)
        let zeros: [Float] = [-0.0, 0.0]
        let odd: [Float] = [.nan, -3, .nan]
        #expect(zeros.withUnsafeBufferPointer { sampler($0, &random) } == 0)
        #expect(odd.withUnsafeBufferPointer { sampler($0, &random) } == 1)
    }
}
