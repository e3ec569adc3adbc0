// GSM8K's number at the end of an answer, as lm-evaluation-harness v0.4.12 finds it (`tasks/gsm8k/gsm8k.yaml`), and
// as LoX's own script does. Generating the answer is elsewhere.

/// Finds and compares the final number of a worked answer.
public enum ArithmeticAnswer {
    /// The prompt of one problem: `Question: …\nAnswer:`.
    public static func prompt(_ question: String) -> String { "Question: \(question)\nAnswer:" }

    /// Where a generated answer stops.
    public static let stops = ["Question:", "</s>", "<|im_end|>"]

    /// The harness's `strict-match`: the first `#### (\-?[0-9\.\,]+)`.
    public static func strict(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        let mark = Array("#### ".utf8)
        guard bytes.count >= mark.count else { return nil }
        for start in 0...(bytes.count - mark.count) where bytes[start...].starts(with: mark) {
            var end = start + mark.count
            let first = end
            if end < bytes.count, bytes[end] == minus { end += 1 }
            let digits = end
            while end < bytes.count, isDigit(bytes[end]) || bytes[end] == dot || bytes[end] == comma
            {
                end += 1
            }
            if end > digits { return String(decoding: bytes[first..<end], as: UTF8.self) }
        }
        return nil
    }

    /// The harness's `flexible-extract`: the last match of `(-?[$0-9.,]{2,})|(-?[0-9]+)`.
    public static func flexible(_ text: String) -> String? {
        let bytes = Array(text.utf8)
        var last: Range<Int>?
        var i = 0
        while i < bytes.count {
            let start = i
            var end = i
            if bytes[end] == minus { end += 1 }
            let body = end
            while end < bytes.count,
                isDigit(bytes[end]) || bytes[end] == dot || bytes[end] == comma
                    || bytes[end] == dollar
            { end += 1 }
            if end - body >= 2 {
                last = start..<end
                i = end
            } else if end - body == 1, isDigit(bytes[body]) {
                last = start..<end
                i = end
            } else {
                i = start + 1
            }
        }
        return last.map { String(decoding: bytes[$0], as: UTF8.self) }
    }

    /// The harness's exact match: commas, dollar signs, everything up to the last "#### " and a final full stop go,
    /// case is ignored, and the rest must be equal.
    public static func agree(_ found: String, _ reference: String) -> Bool {
        normalized(found) == normalized(reference)
    }

    private static func normalized(_ text: String) -> [UInt8] {
        var bytes = Array(text.lowercased().utf8).filter { $0 != comma && $0 != dollar }
        let mark = Array("#### ".utf8)
        if bytes.count >= mark.count {
            for start in stride(from: bytes.count - mark.count, through: 0, by: -1)
            where bytes[start...].starts(with: mark) {
                bytes.removeFirst(start + mark.count)
                break
            }
        }
        if bytes.last == dot { bytes.removeLast() }
        return bytes
    }

    private static let minus = UInt8(ascii: "-")
    private static let dot = UInt8(ascii: ".")
    private static let comma = UInt8(ascii: ",")
    private static let dollar = UInt8(ascii: "$")
    private static func isDigit(_ byte: UInt8) -> Bool {
        byte >= UInt8(ascii: "0") && byte <= UInt8(ascii: "9")
    }
}
