// `study verify BUNDLE` and `study inspect BUNDLE`: the reviewer's look at a bundle. Neither needs a
// toolchain, a BLAS or a network, and neither runs anything of the bundle's.

internal import ArgumentParser
internal import Export
internal import Foundation

/// What every command that reads a stranger's archive takes.
struct ArchiveOptions: ParsableArguments {
    @Option(
        help: ArgumentHelp(
            "An allowed-signers file of ssh-keygen: the signature must be by one of them.",
            valueName: "file"))
    var signers: String?

    @Option(help: ArgumentHelp("Refuse archives that unfold to more gigabytes.", valueName: "GB"))
    var maxSize: Int = 256

    @Option(
        help: ArgumentHelp(
            "Refuse archives that unfold to more times their size.", valueName: "times"))
    var maxRatio: Int = 250

    func validate() throws {
        guard maxSize > 0, maxRatio > 0, maxSize < 1 << 20 else {
            throw ValidationError("--max-size and --max-ratio are positive numbers.")
        }
    }

    var limits: ArchiveLimits {
        var limits = ArchiveLimits()
        limits.totalBytes = Int64(maxSize) << 30
        limits.ratio = Int64(maxRatio)
        return limits
    }
}

/// What both commands take.
struct BundleArguments: ParsableArguments {
    @Argument(
        help: "A .tar.zst, .tar, .tar.gz or .zip, or the folder of an unpacked bag.",
        completion: .file())
    var bundle: String

    @OptionGroup var archive: ArchiveOptions

    @Flag(help: "Print one JSON object, the last line of standard output.")
    var json = false

    /// Verifies; what cannot be read at all ends the command with status 2 or 5.
    func verification() throws -> Verification {
        do {
            return try BundleVerifier.verify(
                bundle, limits: archive.limits, signers: archive.signers)
        } catch {
            FileHandle.standardError.write(Data("\(error)\n".utf8))
            if json {
                JSONOutput.print(["error": "\(error)", "status": Int(ExitStatus.wrongUsage)])
            }
            throw ExitCode(ExitStatus.wrongUsage)
        }
    }
}

struct VerifyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "verify",
        abstract: "Check that a bundle is whole and exactly what was exported.",
        discussion: "Lists every fault at once, by file. Exit status 5 where there is one.")

    @OptionGroup var arguments: BundleArguments

    func run() throws {
        let found = try arguments.verification()
        let signature = Self.words(found.signature)
        if found.isWhole {
            print(
                "\(arguments.bundle) is whole: \(found.fileCount) files, \(Words.bytes(found.totalBytes)), every hash as exported"
            )
            if let hash = found.tarSHA256 { print("sha256 of the tar within: \(hash)") }
            print("signature: \(signature)")
            if !found.missing.isEmpty {
                print(
                    "incomplete: \(found.missing.count) files are to be fetched (fetch.txt), \(Words.bytes(found.missing.reduce(0) { $0 + $1.size }))"
                )
            }
        } else {
            print(
                "\(arguments.bundle) is not what was exported: \(found.faults.count) \(found.faults.count == 1 ? "fault" : "faults")"
            )
            for fault in found.faults { print("  \(fault)") }
            print("  mend:  get the bundle again from its author; do not run it")
        }
        if arguments.json { JSONOutput.print(Self.object(found)) }
        if !found.isWhole { throw ExitCode(ExitStatus.bundleRefused) }
    }

    static func words(_ signature: SignatureVerdict?) -> String {
        switch signature {
        case nil: "none"
        case .trusted(let signer): "good, by \(signer)"
        case .untrusted(let key):
            "good, by a key that nobody here vouched for: \(key) (name it with --signers)"
        case .bad(let reason): "bad: \(reason)"
        case .unchecked(let reason): "not checked: \(reason)"
        }
    }

    static func object(_ found: Verification) -> [String: Any] {
        var object: [String: Any] = [
            "whole": found.isWhole, "files": found.fileCount, "bytes": Int(found.totalBytes),
            "faults": found.faults.map { ["file": $0.file, "problem": $0.problem] },
            "signature": words(found.signature), "missing": found.missing.map(\.path),
        ]
        if let hash = found.tarSHA256 { object["tar_sha256"] = hash }
        return object
    }
}

struct InspectCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "inspect",
        abstract: "Show what a bundle would run, without running it.")

    @OptionGroup var arguments: BundleArguments
    @Flag(help: "Print the cells' code too.")
    var code = false

    func run() throws {
        let found = try arguments.verification()
        guard found.isWhole, let view = BundleInspection(found) else {
            for fault in found.faults.prefix(20) {
                FileHandle.standardError.write(Data("\(fault)\n".utf8))
            }
            FileHandle.standardError.write(
                Data("this bundle does not verify: `study verify` lists every fault\n".utf8))
            if arguments.json {
                JSONOutput.print(["whole": false, "status": Int(ExitStatus.bundleRefused)])
            }
            throw ExitCode(ExitStatus.bundleRefused)
        }
        for line in view.lines(withCode: code) { print(line) }
        if arguments.json {
            JSONOutput.print([
                "whole": true, "run": view.run, "study": view.study, "status": view.status,
                "cells": view.cells.map { ["name": $0.name, "lines": $0.lines] }, "network": false,
                "seconds": view.seconds.map { $0 as Any } ?? NSNull(),
            ])
        }
    }
}
