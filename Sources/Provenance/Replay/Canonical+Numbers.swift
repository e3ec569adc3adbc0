// Two outputs number by number: alike in everything but their numbers, and how far those are apart. A
// study's tolerances decide what that is worth.

internal import Foundation

extension Canonical {
    /// How much of a tolerance the numbers of two files use at most, 0 to 1 and beyond; nil where the files
    /// differ in more than numbers, or are of a kind that has none.
    static func use(of tolerance: Tolerance, _ a: [UInt8], _ b: [UInt8], name: String) -> Double? {
        if name.hasSuffix(".safetensors") { return tensorUse(of: tolerance, a, b) }
        let (a, b) = (form(a, name: name), form(b, name: name))
        guard let (mine, first) = numbers(a), let (theirs, second) = numbers(b), mine == theirs,
            first.count == second.count
        else { return nil }
        return zip(first, second).map { tolerance.use(expected: $0, found: $1) }.max() ?? 0
    }

    /// A text's numbers, and the text with each of them replaced by "#". Digits in a word ("f32") are
    /// no numbers.
    static func numbers(_ bytes: [UInt8]) -> (frame: [UInt8], values: [Double])? {
        guard String(validating: bytes, as: UTF8.self) != nil else { return nil }
        func isDigit(_ place: Int) -> Bool {
            place < bytes.count && bytes[place] >= 0x30 && bytes[place] <= 0x39
        }
        func isLetter(_ byte: UInt8) -> Bool {
            byte == 0x5F || byte >= 0x80 || (byte | 0x20 >= 0x61 && byte | 0x20 <= 0x7A)
        }
        var frame: [UInt8] = []
        var values: [Double] = []
        var place = 0
        while place < bytes.count {
            let before = place > 0 ? bytes[place - 1] : 0x20
            let isSign = bytes[place] == 0x2D && isDigit(place + 1)
            guard isDigit(place) || isSign, !isLetter(before), !(before >= 0x30 && before <= 0x39)
            else {
                frame.append(bytes[place])
                place += 1
                continue
            }
            var end = place + (isSign ? 1 : 0)
            while isDigit(end) { end += 1 }
            if end < bytes.count, bytes[end] == 0x2E, isDigit(end + 1) {
                end += 1
                while isDigit(end) { end += 1 }
            }
            if end < bytes.count, bytes[end] | 0x20 == 0x65 {
                var exponent = end + 1
                if exponent < bytes.count, bytes[exponent] == 0x2B || bytes[exponent] == 0x2D {
                    exponent += 1
                }
                if isDigit(exponent) {
                    while isDigit(exponent) { exponent += 1 }
                    end = exponent
                }
            }
            guard let value = Double(String(decoding: bytes[place..<end], as: UTF8.self)) else {
                return nil
            }
            values.append(value)
            frame.append(0x23)
            place = end
        }
        return (frame, values)
    }

    /// Floating-point tensors element by element; all others must have the same bytes.
    private static func tensorUse(of tolerance: Tolerance, _ a: [UInt8], _ b: [UInt8]) -> Double? {
        guard let mine = tensors(a), let theirs = tensors(b), mine.count == theirs.count else {
            return nil
        }
        var worst = 0.0
        for (tensor, other) in zip(mine, theirs) {
            guard tensor.name == other.name, tensor.kind == other.kind else { return nil }
            if a[tensor.range] == b[other.range] { continue }
            guard
                let width = ["F64": 8, "F32": 4, "F16": 2, "BF16": 2][
                    String(tensor.kind.prefix { $0 != " " })]
            else { return nil }
            let isBrain = tensor.kind.hasPrefix("BF16")
            for place in stride(from: 0, to: tensor.range.count, by: width) {
                let x = number(a, tensor.range.lowerBound + place, width, isBrain: isBrain)
                let y = number(b, other.range.lowerBound + place, width, isBrain: isBrain)
                worst = max(worst, tolerance.use(expected: x, found: y))
            }
        }
        return worst
    }

    private static func number(_ bytes: [UInt8], _ place: Int, _ width: Int, isBrain: Bool)
        -> Double
    {
        var bits: UInt64 = 0
        for offset in (0..<width).reversed() { bits = bits << 8 | UInt64(bytes[place + offset]) }
        switch (width, isBrain) {
        case (8, _): return Double(bitPattern: bits)
        case (4, _): return Double(Float(bitPattern: UInt32(bits)))
        case (_, true): return Double(Float(bitPattern: UInt32(bits) << 16))
        default: return half(UInt16(bits))
        }
    }

    /// IEEE 754 binary16: 5 bits of exponent, 10 of fraction.
    private static func half(_ bits: UInt16) -> Double {
        let sign: Double = bits & 0x8000 == 0 ? 1 : -1
        let fraction = Double(bits & 0x3FF)
        switch Int(bits >> 10 & 0x1F) {
        case 0: return sign * fraction / 16_777_216  // 2^-24
        case 31: return fraction == 0 ? sign * .infinity : .nan
        case let exponent: return sign * (1 + fraction / 1024) * pow(2, Double(exponent - 15))
        }
    }
}
