import Engine
import Foundation
import Testing

private struct KnownAnswers: Decodable {
    struct Case: Decodable {
        let counter, key, output: String
    }
    let cases: [Case]
}

private func words(_ text: String) -> [UInt32] {
    text.split(separator: " ").map { UInt32($0, radix: 16)! }
}

@Suite struct `Random streams` {
    @Test func `Philox gives Random123's known answers`() throws {
        let file = URL(filePath: #filePath).deletingLastPathComponent()
            .appending(path: "../Fixtures/rng/philox4x32-10.json")
        let answers = try JSONDecoder().decode(KnownAnswers.self, from: Data(contentsOf: file))
        #expect(answers.cases.count >= 11)
        for answer in answers.cases {
            let counter = words(answer.counter), key = words(answer.key)
            let output = RandomStream.philox(
                counter: (counter[0], counter[1], counter[2], counter[3]), key: (key[0], key[1]))
            #expect(output == words(answer.output))
        }
    }

    @Test func `a stream is the same however it is drawn`() {
        var one = RandomStream(seed: 7, name: "init")
        var many = one
        let single = (0..<1003).map { _ in one.normal() }
        var bulk = [Float](repeating: 0, count: 1003)
        bulk.withUnsafeMutableBufferPointer { many.fillNormal($0) }
        #expect(single.map(\.bitPattern) == bulk.map(\.bitPattern))
        #expect(one == many)
        let uniforms = (0..<77).map { _ in one.uniform() }
        var bulkUniforms = [Float](repeating: 0, count: 77)
        bulkUniforms.withUnsafeMutableBufferPointer { many.fillUniform($0) }
        #expect(uniforms == bulkUniforms)
    }

    @Test(arguments: [UInt64(0), 1, 3, 4, 65, 1 << 40]) func `is restored from its count of draws`(
        draws: UInt64
    ) {
        var restored = RandomStream(seed: 1, name: "x", draws: draws)
        var next = RandomStream(seed: 1, name: "x", draws: draws + 1)
        _ = restored.nextUInt32()
        #expect(restored == next)
        #expect(restored.nextUInt32() == next.nextUInt32())
    }

    @Test func `names and seeds make different streams and children leave the parent alone`() {
        var a = RandomStream(seed: 1, name: "a")
        var b = RandomStream(seed: 1, name: "b")
        var c = RandomStream(seed: 2, name: "a")
        var child = a.stream(named: "b")
        #expect(child.name == "a/b" && a.draws == 0)
        let firsts = [a.nextUInt32(), b.nextUInt32(), c.nextUInt32(), child.nextUInt32()]
        #expect(Set(firsts).count == 4)
    }

    @Test func `normals have the moments of a standard normal`() {
        var random = RandomStream(seed: 3, name: "moments")
        var values = [Float](repeating: 0, count: 200_000)
        values.withUnsafeMutableBufferPointer { random.fillNormal($0) }
        let n = Double(values.count)
        let mean = values.reduce(0) { $0 + Double($1) } / n
        let square = values.reduce(0) { $0 + Double($1) * Double($1) } / n
        let fourth = values.reduce(0) { $0 + Double($1 * $1) * Double($1 * $1) } / n
        // Five standard errors: 1/√n, √(2/n), √(96/n).
        #expect(abs(mean) < 5 / n.squareRoot())
        #expect(abs(square - 1) < 5 * (2 / n).squareRoot())
        #expect(abs(fourth - 3) < 5 * (96 / n).squareRoot())
    }

    @Test(arguments: [1, 2, 3, 6, 1000]) func `below(n) reaches each number as often`(n: Int) {
        var random = RandomStream(seed: 5, name: "below")
        var counts = [Int](repeating: 0, count: n)
        for _ in 0..<(n * 1000) { counts[random.below(n)] += 1 }
        // Chi-squared with n - 1 degrees: mean n - 1, variance 2 (n - 1); six standard deviations.
        let statistic = counts.reduce(0.0) { $0 + pow(Double($1) - 1000, 2) / 1000 }
        #expect(statistic <= Double(n - 1) + 6 * (2 * Double(n - 1)).squareRoot())
    }

    /// Nothing in the engine may draw from anywhere else.
    /// Of 2³² words, 3 · 2³⁰ numbers: where no word is refused, every third number comes as often as the two others.
    @Test func `below(n) refuses the words that would favour some numbers`() {
        var random = RandomStream(seed: 8, name: "third")
        var counts = [0, 0, 0]
        for _ in 0..<30_000 { counts[random.below(3 << 30) % 3] += 1 }
        // Five standard deviations of √(30,000 · 1/3 · 2/3) = 82.
        for count in counts { #expect(abs(count - 10_000) < 410) }
        #expect(random.draws > 39_000)
    }

    @Test func `are the only source of chance`() throws {
        let root = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent().resolvingSymlinksInPath().path(percentEncoded: false)
        var files = 0
        for folder in ["/Sources/Engine", "/Sources/EngineKernels"] {
            for case let file as String in FileManager.default.enumerator(atPath: root + folder)
                ?? .init() where [".swift", ".c", ".h"].contains(where: file.hasSuffix)
            {
                let text = try String(contentsOfFile: "\(root)\(folder)/\(file)", encoding: .utf8)
                files += 1
                for word in [
                    "SystemRandomNumberGenerator", ".random(in", ".shuffled(", ".randomElement(",
                    "drand48", "arc4random", "getrandom", " rand()", "rdrand", "UUID()",
                ] where text.contains(word) { Issue.record("\(file) has \(word)") }
            }
        }
        #expect(files > 100)
    }

    @Test func `a shuffle keeps every element`() {
        var random = RandomStream(seed: 5, name: "shuffle")
        var array = Array(0..<100)
        random.shuffle(&array)
        #expect(array != Array(0..<100) && array.sorted() == Array(0..<100))
    }

    /// Changing any of these words changes every study's numbers: they are the promise.
    @Test func `the first words of a stream never change`() {
        var random = RandomStream(seed: 7, name: "init")
        let drawn = (0..<4).map { _ in random.nextUInt32() }
        // Computed from the documented definition by a few lines of Python.
        #expect(drawn == [1_300_917_628, 2_205_693_481, 2_768_543_897, 2_220_824_841])
    }
}
