// The only source of randomness: named counter-based streams. The cipher itself is in EngineKernels.

internal import EngineKernels

/// A stream of random numbers fixed by a seed and a name: Philox4x32-10.
///
/// The n-th 32-bit word depends on seed, name and n alone, so a new cell or another thread never
/// shifts a stream that it does not draw from. The key is `mix(mix(seed) ^ h)` and the upper half of
/// the counter is `h`, where `h` is the FNV-1a hash (64 bits) of the name's UTF-8 and `mix` is
/// SplitMix64's finaliser; the lower half counts blocks of four words.
/// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", §3.3.
public struct RandomStream: Sendable, Hashable, Codable {
    public let seed: UInt64
    public let name: String
    /// 32-bit words drawn so far: with seed and name, the whole state.
    public private(set) var draws: UInt64

    private let key: UInt64
    private let nonce: UInt64

    public init(seed: UInt64, name: String) {
        self.init(seed: seed, name: name, draws: 0)
    }

    /// The stream as it was after `draws` words, for resuming from a checkpoint.
    public init(seed: UInt64, name: String, draws: UInt64) {
        self.seed = seed
        self.name = name
        self.draws = draws
        var hash: UInt64 = 0xcbf2_9ce4_8422_2325
        for byte in name.utf8 { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01b3 }
        nonce = hash
        key = Self.mix(Self.mix(seed) ^ hash)
    }

    /// A stream of its own, whose draws leave this one's alone; named "parent/child".
    public func stream(named child: String) -> RandomStream {
        RandomStream(seed: seed, name: "\(name)/\(child)")
    }

    public mutating func nextUInt32() -> UInt32 {
        var word: UInt32 = 0
        var philox = ek_random(key: key, nonce: nonce)
        ek_random_words(&philox, draws, 1, &word)
        draws += 1
        return word
    }

    /// A number in [0, 1), a multiple of 2⁻²⁴; draws one word.
    public mutating func uniform() -> Float {
        Float(nextUInt32() >> 8) * 0x1p-24
    }

    /// A standard normal number (Box–Muller, the cosine half); draws two words.
    public mutating func normal() -> Float {
        var value: Float = 0
        var philox = ek_random(key: key, nonce: nonce)
        ek_random_normal(&philox, draws, 1, &value)
        draws += 2
        return value
    }

    /// A whole number in 0 ..< n, every one equally likely (Lemire 2019, arXiv:1805.10941, Alg. 5).
    /// - Precondition: 0 < n ≤ 2³².
    public mutating func below(_ n: Int) -> Int {
        precondition(n > 0 && n <= 1 << 32, "below(\(n)): the bound must be 1 to 2^32")
        let bound = UInt64(n)
        var product = UInt64(nextUInt32()) * bound
        if product & 0xffff_ffff < bound {
            let threshold = (1 << 32) % bound
            while product & 0xffff_ffff < threshold { product = UInt64(nextUInt32()) * bound }
        }
        return Int(product >> 32)
    }

    /// Puts the elements in an order drawn uniformly from all (Fisher–Yates, from the end).
    public mutating func shuffle<T>(_ array: inout [T]) {
        for i in stride(from: array.count - 1, to: 0, by: -1) { array.swapAt(i, below(i + 1)) }
    }

    /// Fills with what repeated `uniform()` would give.
    package mutating func fillUniform(_ values: UnsafeMutableBufferPointer<Float>) {
        guard let start = values.baseAddress else { return }
        var philox = ek_random(key: key, nonce: nonce)
        ek_random_uniform(&philox, draws, values.count, start)
        draws += UInt64(values.count)
    }

    /// Fills with what repeated `normal()` would give.
    package mutating func fillNormal(_ values: UnsafeMutableBufferPointer<Float>) {
        guard let start = values.baseAddress else { return }
        var philox = ek_random(key: key, nonce: nonce)
        ek_random_normal(&philox, draws, values.count, start)
        draws += 2 * UInt64(values.count)
    }

    /// The cipher of one counter under one key, for its published known answers.
    package static func philox(
        counter: (UInt32, UInt32, UInt32, UInt32), key: (UInt32, UInt32)
    ) -> [UInt32] {
        var words = [UInt32](repeating: 0, count: 4)
        var philox = ek_random(
            key: UInt64(key.0) | UInt64(key.1) << 32,
            nonce: UInt64(counter.2) | UInt64(counter.3) << 32)
        // A block number is 62 bits where words are counted; the cipher takes all 64.
        ek_random_block(&philox, UInt64(counter.0) | UInt64(counter.1) << 32, &words)
        return words
    }

    private static func mix(_ value: UInt64) -> UInt64 {
        var z = value &+ 0x9e37_79b9_7f4a_7c15
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
