// SHA-256 and SHA-512 of streams: OpenSSL's where the system has it, else swift-crypto's. BoringSSL, which
// is inside swift-crypto, takes its slowest SHA-512 on AMD processors. Everything that hashes files comes here;
// short texts in memory are Digest.swift's.

internal import Crypto
internal import Foundation

/// The digest of bytes that come one block after the other. Not thread-safe: one thread at a time.
package final class StreamDigest {
    package enum Function: Sendable {
        case sha256, sha512
    }

    private let function: Function
    private let system: SystemCrypto?
    /// Of the system's library; without it one of the two below is used.
    private let context: OpaquePointer?
    private var sha256 = SHA256()
    private var sha512 = SHA512()

    /// - Parameter system: The library to hash with; nil for swift-crypto. The digests are the same.
    package init(_ function: Function, by system: SystemCrypto? = .shared) {
        self.function = function
        self.system = system
        context = system?.begin(function)
    }

    deinit { if let context { system?.free(context) } }

    package func update(_ bytes: UnsafeRawBufferPointer) {
        if let system, let context {
            system.update(context, bytes)
        } else if function == .sha256 {
            sha256.update(bufferPointer: bytes)
        } else {
            sha512.update(bufferPointer: bytes)
        }
    }

    package func update(_ bytes: [UInt8]) { bytes.withUnsafeBytes { update($0) } }

    /// The digest of everything since the beginning or the last call, in hexadecimal digits.
    package func finish() -> String {
        if let system, let context { return hexadecimal(system.finish(context, function)) }
        defer { (sha256, sha512) = (SHA256(), SHA512()) }
        return function == .sha256
            ? hexadecimal(sha256.finalize()) : hexadecimal(sha512.finalize())
    }
}

/// OpenSSL's digests, from the library that the system has at run time. Nothing links it, so whoever verifies a
/// bundle need not have it.
///
/// Unchecked: the addresses of functions are set once; a context belongs to one ``StreamDigest``.
package final class SystemCrypto: @unchecked Sendable {
    private typealias New = @convention(c) () -> OpaquePointer?
    private typealias Free = @convention(c) (OpaquePointer?) -> Void
    private typealias Kind = @convention(c) () -> OpaquePointer?
    private typealias Begin =
        @convention(c) (OpaquePointer?, OpaquePointer?, OpaquePointer?) ->
        Int32
    private typealias Update = @convention(c) (OpaquePointer?, UnsafeRawPointer?, Int) -> Int32
    private typealias Finish =
        @convention(c) (
            OpaquePointer?, UnsafeMutablePointer<UInt8>?, UnsafeMutablePointer<UInt32>?
        ) -> Int32

    private let new: New
    private let freeContext: Free
    private let sha256: Kind
    private let sha512: Kind
    private let beginDigest: Begin
    private let updateDigest: Update
    private let finishDigest: Finish

    /// Nil where the system has no OpenSSL 3, or one whose digests of "abc" are not those of swift-crypto.
    package static let shared = SystemCrypto(library: "libcrypto.so.3")

    /// - Parameter library: What `dlopen` takes. It stays loaded.
    package init?(library: String) {
        guard let handle = dlopen(library, RTLD_NOW | RTLD_LOCAL) else { return nil }
        func find<Call>(_ name: String, _ type: Call.Type) -> Call? {
            dlsym(handle, name).map { unsafeBitCast($0, to: type) }
        }
        guard let new = find("EVP_MD_CTX_new", New.self),
            let free = find("EVP_MD_CTX_free", Free.self),
            let sha256 = find("EVP_sha256", Kind.self), let sha512 = find("EVP_sha512", Kind.self),
            let begin = find("EVP_DigestInit_ex", Begin.self),
            let update = find("EVP_DigestUpdate", Update.self),
            let finish = find("EVP_DigestFinal_ex", Finish.self)
        else { return nil }
        (self.new, freeContext, self.sha256, self.sha512) = (new, free, sha256, sha512)
        (beginDigest, updateDigest, finishDigest) = (begin, update, finish)
        let text = Array("abc".utf8)
        for (function, known) in [
            (StreamDigest.Function.sha256, hexadecimal(SHA256.hash(data: text))),
            (.sha512, hexadecimal(SHA512.hash(data: text))),
        ] {
            guard let context = self.begin(function) else { return nil }
            defer { freeContext(context) }
            text.withUnsafeBytes { self.update(context, $0) }
            guard hexadecimal(self.finish(context, function)) == known else { return nil }
        }
    }

    /// A context that has seen nothing; nil where the library's configuration forbids the function.
    fileprivate func begin(_ function: StreamDigest.Function) -> OpaquePointer? {
        guard let context = new() else { return nil }
        guard beginDigest(context, kind(function), nil) == 1 else {
            freeContext(context)
            return nil
        }
        return context
    }

    fileprivate func update(_ context: OpaquePointer, _ bytes: UnsafeRawBufferPointer) {
        // It fails only for a context that was not begun, and ours were.
        let status = updateDigest(context, bytes.baseAddress, bytes.count)
        precondition(status == 1, "EVP_DigestUpdate failed")
    }

    /// The digest; the context is as new afterwards.
    fileprivate func finish(_ context: OpaquePointer, _ function: StreamDigest.Function) -> [UInt8]
    {
        let digest = [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
            var length: UInt32 = 0
            let status = finishDigest(context, buffer.baseAddress, &length)
            precondition(status == 1, "EVP_DigestFinal_ex failed")
            count = Int(length)
        }
        precondition(beginDigest(context, kind(function), nil) == 1, "EVP_DigestInit_ex failed")
        return digest
    }

    fileprivate func free(_ context: OpaquePointer) { freeContext(context) }

    private func kind(_ function: StreamDigest.Function) -> OpaquePointer? {
        function == .sha256 ? sha256() : sha512()
    }
}
