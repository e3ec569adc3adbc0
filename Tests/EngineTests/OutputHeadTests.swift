// A head that is not trained takes a way of its own: the same bits as a trained one's, whatever its shape.

import Engine
import EngineKernels
import Testing

@Suite(.serialized) struct `An output head that is not trained` {
    struct Shape: Sendable, CustomTestStringConvertible {
        var rows: Int
        var hidden: Int
        var vocabulary: Int
        var softCap: Float = 0
        var dtype = DType.f32
        var testDescription: String {
            "\(rows) × \(hidden) × \(vocabulary), cap \(softCap), \(dtype)"
        }
    }

    struct Outcome: Equatable {
        var losses: [UInt64]
        var isGreedy: [Bool]
        var slopes: [UInt32]

        init(_ losses: OutputHead.Losses, _ gradient: Tensor) {
            // What is no number is one thing: which NaN it is, is nobody's promise.
            self.losses = losses.values.map { $0.isNaN ? .max : $0.bitPattern }
            isGreedy = losses.isGreedy
            slopes = gradient.withUnsafeFloats { $0.map { $0.isNaN ? .max : $0.bitPattern } }
        }
    }

    /// Every third is 7, every third 14, where there are as many tokens.
    static func labels(_ shape: Shape) -> [Int32] {
        var labels: [Int32] = []
        for row in 0..<shape.rows {
            let other = Int32(row * 7 % shape.vocabulary)
            let chosen: [Int32] = [7, 14, other]
            labels.append(shape.vocabulary > 20 ? chosen[row % 3] : other)
        }
        return labels
    }

    static func outcome(_ x: Tensor, _ w: Tensor, _ shape: Shape, trained: Bool) -> Outcome {
        let weights = (0..<shape.rows).map { Float($0 % 5) / 4 - 0.25 }
        let parameters = ParameterGradients(trainable: trained ? [("w", w.shape)] : [])
        let tape = Tape(recording: true, parameters: parameters)
        let input = tape.leaf(x)
        let losses = OutputHead(name: "w", weight: .dense(w), softCap: shape.softCap)
            .crossEntropy(input, labels: labels(shape), weights: weights, on: tape)
        return Outcome(losses, tape.gradient(of: input)!)
    }

    @Test(arguments: [
        Shape(rows: 1, hidden: 5, vocabulary: 1), Shape(rows: 17, hidden: 12, vocabulary: 33),
        Shape(rows: 130, hidden: 50, vocabulary: 1300),
        Shape(rows: 300, hidden: 37, vocabulary: 2049, softCap: 1.5),
        Shape(rows: 40, hidden: 1100, vocabulary: 203),
        Shape(rows: 33, hidden: 450, vocabulary: 97, dtype: .bf16),
        Shape(rows: 49, hidden: 40, vocabulary: 1030, softCap: 30, dtype: .f16),
    ]) func `has the bits of a trained one on every kernel and thread count`(shape: Shape) {
        var x = normal([shape.rows, shape.hidden], "x")
        var w = normal([shape.vocabulary, shape.hidden], "w", scale: 0.2)
        w.withUnsafeMutableFloats { w in
            // Logits that are equal: the first of them is the greedy choice.
            for i in 0..<shape.hidden where shape.vocabulary > 20 {
                w[14 * shape.hidden + i] = w[7 * shape.hidden + i] * 3
                w[7 * shape.hidden + i] *= 3
            }
        }
        if shape.rows > 30 {
            x.withUnsafeMutableFloats { x in
                x[4 * shape.hidden] = .nan
                x[5 * shape.hidden] = .infinity
                x[shape.hidden * 6 + 3] = 1e30
            }
        }
        let weight = w.converted(to: shape.dtype)
        var outcomes: [Outcome] = []
        onEveryKernel { _ in
            for trained in [true, false] {
                outcomes.append(Self.outcome(x, weight, shape, trained: trained))
            }
        }
        #expect(outcomes.count > 2 && outcomes.allSatisfy { $0 == outcomes[0] })
        // The first of two equal largest logits is the greedy choice, the second is none.
        guard shape.rows > 100 else { return }
        var found = [0, 0, 0]
        for (row, isGreedy) in outcomes[0].isGreedy.enumerated() where isGreedy {
            found[row % 3] += 1
        }
        #expect(found[0] > 0 && found[1] == 0, "\(found)")
    }

    @Test func `has no gradient and the same losses where none is asked for`() {
        let shape = Shape(rows: 70, hidden: 24, vocabulary: 1500)
        let x = normal([shape.rows, shape.hidden], "x"), w = normal([1500, 24], "w", scale: 0.2)
        let head = OutputHead(name: "w", weight: .dense(w), softCap: 0)
        let losses = head.crossEntropy(
            Variable(constant: x), labels: Self.labels(shape), weights: nil,
            on: Tape(recording: false))
        let bits: [UInt64] = losses.values.map { $0.bitPattern }
        #expect(bits == Self.outcome(x, w, shape, trained: true).losses)
    }

    @Test func `holds the logits of 128 rows at once`() {
        var head = ek_head_t()
        (head.hidden, head.vocabulary) = (288, 32_000)
        let rooms = [128, 129, 5000].map { rows -> Int in
            head.rows = rows
            return ek_head_room(&head)
        }
        #expect(rooms[0] == rooms[1] && rooms[0] == rooms[2])
        // An eighth for what stands beside them.
        #expect(rooms[0] >= 128 * 32_000 && rooms[0] < 144 * 32_000)
    }
}
