// Bytes in, a line out: FNV-1a in 64 bits, which every language has in five lines, so that others can check.

import Engine
import Glibc

struct Hash: CustomStringConvertible {
    private var state: UInt64 = 0xcbf2_9ce4_8422_2325

    mutating func add(_ bytes: UnsafeRawBufferPointer) {
        for byte in bytes { state = (state ^ UInt64(byte)) &* 0x100_0000_01b3 }
    }
    mutating func add(_ text: String) {
        var text = text
        text.withUTF8 { add(UnsafeRawBufferPointer($0)) }
    }
    mutating func add(_ tensor: Tensor) {
        add("\(tensor.dtype.rawValue)\(tensor.shape)")
        tensor.withUnsafeBytes { add($0) }
    }
    mutating func add(_ numbers: [Double]) { numbers.withUnsafeBytes { add($0) } }
    mutating func add(_ tokens: [Int32]) { tokens.withUnsafeBytes { add($0) } }

    var description: String {
        let digits = String(state, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}

struct Report {
    let prefix: String
    private(set) var whole = Hash()
    private(set) var count = 0

    init(prefix: String) { self.prefix = prefix }

    mutating func line(_ name: String, _ fill: (inout Hash) throws -> Void) rethrows {
        var hash = Hash()
        try fill(&hash)
        print("\(name) \(hash)")
        fflush(nil)
        whole.add("\(name) \(hash)\n")
        count += 1
    }
    mutating func line(_ name: String, _ tensors: Tensor...) {
        line(name) { hash in for tensor in tensors { hash.add(tensor) } }
    }
}

/// Standard normal numbers of a stream named after what they are for.
func normal(_ shape: [Int], _ name: String, scale: Float = 1) -> Tensor {
    var random = RandomStream(seed: 2026, name: name)
    var tensor = Tensor(zeros: shape)
    tensor.withUnsafeMutableFloats { values in
        for i in values.indices { values[i] = random.normal() * scale }
    }
    return tensor
}
