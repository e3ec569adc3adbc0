// Every differentiable operator: its value and its gradients against finite differences in f64, at sizes 0 and 1
// too; the same bits on every kernel and thread count; and that the list is whole.

import Engine
import Foundation
import Testing

@Suite(.serialized) struct `Every differentiable operator` {
    /// Where the engine records an operator or seeds a gradient: "Layers/Linear.swift:1".
    static func places() throws -> Set<String> {
        let engine = URL(filePath: #filePath).deletingLastPathComponent()
            .deletingLastPathComponent().deletingLastPathComponent().appending(
                path: "Sources/Engine")
        let root = engine.resolvingSymlinksInPath().path(percentEncoded: false)
        var places: Set<String> = []
        for case let file as String in FileManager.default.enumerator(atPath: root) ?? .init()
        where file.hasSuffix(".swift") {
            let text = try String(contentsOfFile: root + "/" + file, encoding: .utf8)
            let calls = ["tape.record(", " return record(", "tape.seed("].reduce(0) {
                $0 + text.components(separatedBy: $1).count - 1
            }
            for call in 0..<calls { places.insert("\(file):\(call + 1)") }
        }
        return places
    }

    @Test func `is on the list`() throws {
        let places = try Self.places()
        #expect(places.count > 10)
        #expect(places == Set(OperatorCase.all.map(\.place)))
    }

    @Test(
        arguments: OperatorCase.all,
        [
            OperatorCase.Size(rows: 0, width: 3), .init(rows: 1, width: 1),
            .init(rows: 1, width: 6),
            .init(rows: 5, width: 7),
        ])
    func `has the value and the gradients of f64`(c: OperatorCase, size: OperatorCase.Size) {
        let (output, gradients) = c.evaluate(size)
        var inputs = c.inputs(size).map { $0.value.values.map(Double.init) }
        let exact = c.exact(inputs, size)
        #expect(output.count == exact.count)
        let largest = exact.reduce(1) { max($0, abs($1)) }
        for (a, b) in zip(output, exact) { #expect(abs(Double(a) - b) < 2e-6 * largest) }
        let dy = normal([exact.count], "dy").values.map(Double.init)
        func objective() -> Double { zip(c.exact(inputs, size), dy).reduce(0) { $0 + $1.0 * $1.1 } }
        for index in inputs.indices {
            var slopes: [Double] = []
            for i in inputs[index].indices {
                // Central differences in f64, extrapolated: errors of about 1e-11.
                func slope(_ h: Double) -> Double {
                    let old = inputs[index][i]
                    defer { inputs[index][i] = old }
                    inputs[index][i] = old + h
                    let up = objective()
                    inputs[index][i] = old - h
                    return (up - objective()) / (2 * h)
                }
                slopes.append((4 * slope(1e-4) - slope(2e-4)) / 3)
            }
            #expect(gradients[index].count == slopes.count)
            let scale = slopes.reduce(1) { max($0, abs($1)) }
            for (i, (ours, exact)) in zip(gradients[index], slopes).enumerated() {
                // Some tens of roundings of 2⁻²⁴.
                #expect(
                    abs(Double(ours) - exact) < 5e-6 * scale, "input \(index), element \(i)")
            }
        }
    }

    /// Sizes that several threads share, and an odd one that they do not.
    @Test(
        arguments: OperatorCase.all,
        [OperatorCase.Size(rows: 3, width: 5), .init(rows: 130, width: 517)])
    func `gives the same bits on every kernel and thread count`(
        c: OperatorCase, size: OperatorCase.Size
    ) {
        var expected: [[UInt32]]?
        onEveryKernel { setting in
            let (output, gradients) = c.evaluate(size)
            let bits = ([output] + gradients).map { $0.map(\.bitPattern) }
            if expected == nil { expected = bits }
            if bits != expected { Issue.record("\(c.name) differs on \(setting)") }
        }
    }

    /// Losses of one number, whose slope the trainer uses.
    @Test(arguments: [
        PreferenceLoss.sigmoid(), .sigmoid(labelSmoothing: 0.2), .ipo, .hinge,
    ]) func `preference losses have the slopes of finite differences`(loss: PreferenceLoss) {
        for beta in [0.1, 0.5] {
            for h in stride(from: -40.0, through: 40, by: 1.7) {
                let step = 1e-4
                let up = loss.value(h + step, beta: beta).loss
                let down = loss.value(h - step, beta: beta).loss
                let slope = loss.value(h, beta: beta).slope
                #expect(abs((up - down) / (2 * step) - slope) < 1e-8 * max(1, abs(slope)))
            }
        }
    }
}
