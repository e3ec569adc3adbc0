// Forms in which two outputs may be equal though their bytes are not: JSON by its values, texts
// without what blanks and line ends do, safetensors by tensor. Nothing numeric is rounded here.

internal import Foundation

enum Canonical {
    /// The canonical form of a file's bytes, by its name; the bytes themselves where none is known.
    static func form(_ bytes: [UInt8], name: String) -> [UInt8] {
        if name.hasSuffix(".json") { return json(bytes) ?? text(bytes) ?? bytes }
        if name.hasSuffix(".safetensors") { return safetensors(bytes) ?? bytes }
        let texts = [".txt", ".md", ".csv", ".jsonl", ".svg", ".html", ".yaml", ".yml"]
        if texts.contains(where: { name.hasSuffix($0) }) { return text(bytes) ?? bytes }
        return bytes
    }

    /// Keys sorted, blanks gone; numbers as they are written.
    private static func json(_ bytes: [UInt8]) -> [UInt8]? {
        guard
            let value = try? JSONSerialization.jsonObject(
                with: Data(bytes), options: [.fragmentsAllowed]),
            let data = try? JSONSerialization.data(
                withJSONObject: value, options: [.sortedKeys, .fragmentsAllowed])
        else { return nil }
        return [UInt8](data)
    }

    /// Line ends as newlines, no blanks before them, none at the end.
    private static func text(_ bytes: [UInt8]) -> [UInt8]? {
        guard let text = String(validating: bytes, as: UTF8.self) else { return nil }
        var lines = text.replacing("\r\n", with: "\n").split(
            separator: "\n", omittingEmptySubsequences: false
        )
        .map { line in
            var line = line
            while let last = line.last, last == " " || last == "\t" || last == "\r" {
                line.removeLast()
            }
            return line
        }
        while lines.last?.isEmpty == true { lines.removeLast() }
        return Array(lines.joined(separator: "\n").utf8)
    }

    /// Tensors by name with type, shape and bytes, so that neither their order in the file nor the
    /// header's blanks count.
    private static func safetensors(_ bytes: [UInt8]) -> [UInt8]? {
        guard let tensors = tensors(bytes) else { return nil }
        var result: [UInt8] = []
        for (name, kind, range) in tensors {
            result += Array("\(name)\n\(kind)\n".utf8)
            result += bytes[range]
        }
        return result
    }

    static func tensors(_ bytes: [UInt8]) -> [(
        name: String, kind: String, range: Range<Int>
    )]? {
        guard bytes.count >= 8 else { return nil }
        let length = bytes[0..<8].reversed().reduce(0) { ($0 << 8) | Int($1) }
        guard length > 0, length <= bytes.count - 8,
            let header = try? JSONSerialization.jsonObject(with: Data(bytes[8..<(8 + length)]))
                as? [String: Any]
        else { return nil }
        var result: [(String, String, Range<Int>)] = []
        for name in header.keys.sorted() where name != "__metadata__" {
            guard let tensor = header[name] as? [String: Any],
                let offsets = tensor["data_offsets"] as? [Int], offsets.count == 2,
                let shape = tensor["shape"] as? [Int], let type = tensor["dtype"] as? String,
                offsets[0] <= offsets[1], offsets[0] >= 0, 8 + length + offsets[1] <= bytes.count
            else { return nil }
            result.append(
                (name, "\(type) \(shape)", (8 + length + offsets[0])..<(8 + length + offsets[1])))
        }
        return result
    }

    /// What differs first in two files: a tensor and an element, or a byte.
    static func firstDifference(_ a: [UInt8], _ b: [UInt8], name: String) -> String {
        if name.hasSuffix(".safetensors"), let mine = tensors(a), let theirs = tensors(b) {
            for tensor in mine {
                guard let other = theirs.first(where: { $0.name == tensor.name }) else {
                    return "tensor \(tensor.name) is missing"
                }
                if other.kind != tensor.kind {
                    return "\(tensor.name): \(tensor.kind) is now \(other.kind)"
                }
                if a[tensor.range] == b[other.range] { continue }
                let width =
                    ["F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2][
                        String(tensor.kind.prefix { $0 != " " })] ?? 1
                let place = zip(a[tensor.range], b[other.range]).enumerated().first { $1.0 != $1.1 }
                return "first in \(tensor.name), element \((place?.offset ?? 0) / width)"
            }
            return "a tensor was added"
        }
        let place = zip(a, b).enumerated().first { $1.0 != $1.1 }?.offset ?? min(a.count, b.count)
        return "first at byte \(place)"
    }

    /// The first lines in which two texts differ, and their number from 1.
    static func firstLines(_ a: [UInt8], _ b: [UInt8]) -> (String, String, Int) {
        let mine = a.split(separator: 10, omittingEmptySubsequences: false)
        let theirs = b.split(separator: 10, omittingEmptySubsequences: false)
        for index in 0..<max(mine.count, theirs.count) {
            let first = index < mine.count ? mine[index] : []
            let second = index < theirs.count ? theirs[index] : []
            if first != second || index >= mine.count || index >= theirs.count {
                return (
                    String(decoding: first, as: UTF8.self), String(decoding: second, as: UTF8.self),
                    index + 1
                )
            }
        }
        return ("", "", 0)
    }
}
