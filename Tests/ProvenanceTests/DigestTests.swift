// Digests of streams are the same, whichever library computes them.

import Foundation
import Provenance
import Testing

@Suite struct `The digest of a stream` {
    private static let functions: [StreamDigest.Function] = [.sha256, .sha512]

    /// FIPS 180-4's examples, by their short texts.
    @Test func `is the standard's`() {
        for system in [SystemCrypto.shared, nil] {
            let small = StreamDigest(.sha256, by: system)
            small.update(Array("abc".utf8))
            #expect(
                small.finish() == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
            )
            let large = StreamDigest(.sha512, by: system)
            large.update(Array("abc".utf8))
            #expect(
                large.finish()
                    == "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
            )
        }
    }

    /// Where the system has no OpenSSL, both are swift-crypto, and this holds all the same.
    @Test func `is one, by the system's library and without it, however the bytes are cut`() {
        var bytes: [UInt8] = []
        for index in 0..<300_000 {
            bytes.append(UInt8(truncatingIfNeeded: index &* 131 ^ index >> 7))
        }
        for function in Self.functions {
            var digests: Set<String> = []
            for step in [1_000_000, 65_536, 4_097, 63] {
                for system in [SystemCrypto.shared, nil] {
                    let hasher = StreamDigest(function, by: system)
                    for start in stride(from: 0, to: bytes.count, by: step) {
                        hasher.update(Array(bytes[start..<min(start + step, bytes.count)]))
                    }
                    digests.insert(hasher.finish())
                }
            }
            #expect(digests.count == 1)
            if function == .sha256 { #expect(digests == [Digest(of: bytes).hex]) }
        }
    }

    @Test func `begins anew after the end, and is that of nothing where nothing came`() {
        for function in Self.functions {
            let fresh = StreamDigest(function, by: nil).finish()
            for system in [SystemCrypto.shared, nil] {
                let hasher = StreamDigest(function, by: system)
                hasher.update([1, 2, 3])
                let first = hasher.finish()
                #expect(hasher.finish() == fresh)
                hasher.update([1, 2])
                hasher.update([])
                hasher.update([3])
                #expect(hasher.finish() == first)
            }
        }
    }

    @Test func `needs no library of the system`() {
        #expect(SystemCrypto(library: "libnothing-of-this-name.so.3") == nil)
        // One that is there and has no digests.
        #expect(SystemCrypto(library: "libc.so.6") == nil)
    }
}
