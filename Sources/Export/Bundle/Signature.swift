// Signatures by `ssh-keygen -Y`: everyone who writes code has such a key, and no service is asked.

internal import Foundation

/// What is known of a bundle's signature.
package enum SignatureVerdict: Sendable, Equatable {
    /// Good, by a key that the reviewer's file allows; `signer` is the name in that file.
    case trusted(signer: String)
    /// Good, by a key that nobody vouched for: its type and fingerprint.
    case untrusted(key: String)
    case bad(reason: String)
    /// ssh-keygen is not installed.
    case unchecked(reason: String)
}

package enum Signature {
    /// Signatures are for this purpose only.
    static let namespace = "study-bundle"

    /// Signs bytes with a private key file.
    package static func sign(_ bytes: [UInt8], key: String) throws -> [UInt8] {
        let result = try Tool.run(
            "ssh-keygen", ["-Y", "sign", "-q", "-f", key, "-n", namespace], input: bytes)
        guard result.status == 0, !result.output.isEmpty else {
            throw ExportError(
                .tool, "The bundle cannot be signed: \(result.message).", where: key,
                mend:
                    "name a private key that `ssh-keygen -Y sign` accepts; unlock it with ssh-agent"
            )
        }
        return result.output
    }

    static func verify(_ signature: [UInt8], of bytes: [UInt8], signers: String?)
        -> SignatureVerdict
    {
        let file = NSTemporaryDirectory() + "/study-signature-\(UUID().uuidString)"
        guard FileManager.default.createFile(atPath: file, contents: Data(signature)) else {
            return .unchecked(reason: "no room for a temporary file")
        }
        defer { unlink(file) }
        do {
            if let signers {
                let found = try Tool.run(
                    "ssh-keygen", ["-Y", "find-principals", "-s", file, "-f", signers])
                let name =
                    String(decoding: found.output, as: UTF8.self)
                    .split(separator: "\n").first.map(String.init) ?? ""
                if found.status != 0 || name.isEmpty {
                    return .bad(reason: "is by a key that \(signers) does not allow")
                }
                let result = try Tool.run(
                    "ssh-keygen",
                    ["-Y", "verify", "-f", signers, "-I", name, "-n", namespace, "-s", file],
                    input: bytes)
                return result.status == 0
                    ? .trusted(signer: name)
                    : .bad(reason: "does not match the tag manifest: \(result.message)")
            }
            let result = try Tool.run(
                "ssh-keygen", ["-Y", "check-novalidate", "-n", namespace, "-s", file], input: bytes)
            guard result.status == 0 else {
                return .bad(reason: "does not match the tag manifest: \(result.message)")
            }
            // Good "study-bundle" signature with ED25519 key SHA256:…
            let text = String(decoding: result.output, as: UTF8.self)
            let key = text.range(of: " with ").map { String(text[$0.upperBound...]) } ?? text
            return .untrusted(key: key.trimmingCharacters(in: .whitespacesAndNewlines))
        } catch {
            return .unchecked(reason: "ssh-keygen is not installed")
        }
    }
}
