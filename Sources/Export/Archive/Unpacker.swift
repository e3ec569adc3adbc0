// Unpacks an archive that has been verified, into a folder of its own. Nothing is written outside it:
// the folder is new, names were judged by EntryNames, and every file is created anew.

internal import Foundation

/// Writes the files that it is shown below a new folder.
final class Unpacker: ArchiveVisitor {
    private let folder: String
    private var descriptor: Int32 = -1
    private var known: Set<String> = []

    /// - Parameter folder: Must not exist yet.
    init(into folder: String) throws {
        self.folder = folder
        guard mkdir(folder, 0o700) == 0 else {
            throw ExportError(
                .archive, "The folder to unpack into cannot be made: \(systemMessage()).",
                where: folder,
                mend: "remove it, or name another")
        }
    }

    func begin(_ entry: ArchiveEntry) throws {
        var parent = folder
        for part in entry.name.split(separator: "/").dropLast() {
            parent += "/" + part
            if known.insert(parent).inserted, mkdir(parent, 0o755) != 0, errno != EEXIST {
                throw failure(parent)
            }
        }
        let path = folder + "/" + entry.name
        descriptor = open(
            path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
            entry.isExecutable ? 0o755 : 0o644)
        if descriptor < 0 { throw failure(path) }
    }

    func bytes(_ lease: Lease) throws {
        var rest = lease.bytes
        while rest.count > 0 {
            let count = Foundation.write(descriptor, rest.baseAddress, rest.count)
            if count < 0 { throw failure(folder) }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    func end() throws {
        close(descriptor)
        descriptor = -1
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private func failure(_ path: String) -> ExportError {
        ExportError(
            .archive, "The bundle cannot be unpacked: \(systemMessage()).", where: path,
            mend: "make room, or choose another folder for temporary files by TMPDIR")
    }
}

/// Verifies and unpacks in one pass; what was unpacked is removed again where the bundle has a fault.
package enum BundleUnpacker {
    /// The error for a bundle that does not verify.
    package static func refusal(of path: String, _ found: Verification) -> ExportError {
        ExportError(
            .bundle,
            "The bundle is not what was exported:\n"
                + found.faults.map { "  \($0)" }.joined(separator: "\n"),
            where: path, mend: "get the bundle again from its author; do not run it")
    }

    /// - Returns: What the verification found, without faults, and the bag's folder below `folder`.
    /// - Throws: ``ExportError`` with reason `.bundle` that names every fault.
    @discardableResult
    package static func unpack(
        _ path: String, into folder: String, limits: ArchiveLimits = ArchiveLimits(),
        signers: String? = nil
    ) throws -> (verification: Verification, bag: String) {
        let digester = Digester(limits: limits)
        digester.next = try Unpacker(into: folder)
        do {
            let findings = try ArchiveReader(path, limits: limits).read(digester)
            let verification = try BundleVerifier.finish(
                digester.contents, findings.topFolder ?? "", findings: findings, signers: signers)
            guard verification.isWhole else {
                throw refusal(of: path, verification)
            }
            return (verification, folder + "/" + verification.folder)
        } catch {
            try? FileManager.default.removeItem(atPath: folder)
            throw error
        }
    }
}
