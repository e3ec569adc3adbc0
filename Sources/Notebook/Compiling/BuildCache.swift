// `.study/cache`: what was compiled, under a name made of everything that went into it. Deleting the
// folder costs time and nothing else.

internal import Crypto
internal import Foundation

/// A name made by hashing: equal inputs, equal name.
struct CacheKey: Sendable, Hashable {
    let text: String

    init(_ data: Data) { self.init(digest: SHA256.hash(data: data)) }

    /// Each part is hashed with its length, so that no two lists of parts run together.
    init(_ parts: [String]) {
        var hasher = SHA256()
        for part in parts {
            hasher.update(data: Data("\(part.utf8.count):".utf8))
            hasher.update(data: Data(part.utf8))
        }
        self.init(digest: hasher.finalize())
    }

    private init(digest: SHA256.Digest) {
        text = digest.prefix(16).map { byte in
            let hex = String(byte, radix: 16)
            return hex.count == 1 ? "0" + hex : hex
        }.joined()
    }
}

/// Folders by key; a folder appears whole or not at all, so two runs at once do no harm.
package struct BuildCache: Sendable {
    package let folder: String

    /// - Parameter folder: As `.study/cache`; made where it is missing.
    package init(_ folder: String) throws {
        // Compiled modules are linked from a folder elsewhere: a relative path would lead nowhere.
        let folder = URL(fileURLWithPath: folder).standardizedFileURL.path
        self.folder = folder
        do {
            for part in ["cells", "programs", "facts"] {
                try FileManager.default.createDirectory(
                    atPath: "\(folder)/\(part)", withIntermediateDirectories: true)
            }
        } catch {
            throw BuildError(
                .cache,
                "The cache for compiled cells, \(folder), cannot be written: \(Self.reason(error)).",
                mend: Self.mend)
        }
    }

    private static let mend =
        "free some space, give this user the right to write there, or name another place with `--ledger FOLDER`"

    func cell(_ key: CacheKey) -> String { "\(folder)/cells/\(key.text)" }
    func program(_ key: CacheKey) -> String { "\(folder)/programs/\(key.text)" }

    /// Makes `destination` by filling a folder beside it and renaming that; when another process was
    /// first, its result stands.
    func make(_ destination: String, _ fill: (String) async throws -> Void) async throws {
        let draft = "\(destination).\(getpid())-\(UInt32.random(in: 0...UInt32.max))"
        do {
            try FileManager.default.createDirectory(
                atPath: draft, withIntermediateDirectories: false)
            defer { try? FileManager.default.removeItem(atPath: draft) }
            try await fill(draft)
            if rename(draft, destination) != 0, errno != EEXIST, errno != ENOTEMPTY {
                throw CocoaError(.fileWriteUnknown)
            }
        } catch let error as CocoaError {
            throw BuildError(
                .cache, "\(destination) cannot be written: \(Self.reason(error)).", mend: Self.mend)
        }
    }

    /// A fact about a file that is dear to find out: kept under the file's identity.
    func remembered(_ name: String, of file: String, _ find: () throws -> String) throws -> String {
        if let known = recall(name, of: file) { return known }
        let found = try find()
        remember(name, of: file, found)
        return found
    }

    func recall(_ name: String, of file: String) -> String? {
        try? String(contentsOfFile: factPath(name, file), encoding: .utf8)
    }

    func remember(_ name: String, of file: String, _ fact: String) {
        try? fact.write(toFile: factPath(name, file), atomically: true, encoding: .utf8)
    }

    private func factPath(_ name: String, _ file: String) -> String {
        var info = stat()
        stat(file, &info)
        let identity = [
            file, "\(info.st_size)", "\(info.st_mtim.tv_sec).\(info.st_mtim.tv_nsec)",
            "\(info.st_ino)", "\(info.st_dev)",
        ]
        return "\(folder)/facts/\(name)-\(CacheKey(identity).text)"
    }

    private static func reason(_ error: any Error) -> String {
        let underlying = (error as NSError).userInfo[NSUnderlyingErrorKey] as? NSError
        let code = underlying?.code ?? Int(errno)
        return String(cString: strerror(Int32(truncatingIfNeeded: code)))
    }
}
