// Why a bundle or report could not be made or read. Faults of a bundle are `Fault`s, listed all at
// once by Bundle/BundleVerifier.swift; an `ExportError` is for what stops us altogether.

/// What stopped an export, and how to mend it.
package struct ExportError: Error, Sendable, Equatable, CustomStringConvertible {
    /// For code; the sentences are for people.
    package enum Reason: Sendable, Equatable {
        /// A name that no archive of ours may hold.
        case name
        /// The archive could not be written or read.
        case archive
        /// A file that the bundle needs is gone, or is not the one on record.
        case content
        /// The release policy forbids what was asked for.
        case policy
        /// A program that we call (ssh-keygen, bwrap, gnuplot) is missing or refused.
        case tool
        /// A replay in the sandbox went beyond a limit, or was interrupted.
        case stopped
        /// The bundle does not verify.
        case bundle
        /// What was asked for cannot be: a place that cannot be written, a run that is still going on.
        case usage
    }

    package let reason: Reason
    package let what: String
    package let place: String
    package let mend: String

    package init(_ reason: Reason, _ what: String, where place: String, mend: String) {
        self.reason = reason
        self.what = what
        self.place = place
        self.mend = mend
    }

    package var description: String { "\(what)\n  where: \(place)\n  mend:  \(mend)" }
}

/// One thing that is wrong with a bundle, at one of its files.
package struct Fault: Sendable, Hashable, Comparable, CustomStringConvertible {
    /// The file as the archive names it; "archive" for the archive itself.
    package let file: String
    package let problem: String

    package init(_ file: String, _ problem: String) {
        self.file = file
        self.problem = problem
    }

    package var description: String { "\(file): \(problem)" }

    package static func < (a: Fault, b: Fault) -> Bool {
        (a.file, a.problem) < (b.file, b.problem)
    }
}
