// What every part of this module shares: its one error type, and the clock. Which files, commits and
// machines a run came from lies in Git/, Hashing/ and Environment/; Ledger/ writes it down.

package import Events

internal import Foundation

/// What went wrong with the record of a run, where, and how to mend it.
package struct ProvenanceError: Error, Sendable, CustomStringConvertible {
    package enum Reason: Sendable, Equatable {
        case noLedger, cannotOpen, notALedger, newerLedger, readOnly, diskFull, corrupted, sealed,
            writerClosed
        case ledgerMoved, noSuchRun, ambiguousRun, badFilter
        case missingFile, unreadableFile, changedFile, missingObject
        case git, dirtyTree
        case nothingToReplay, incomplete, upstream
    }

    package let reason: Reason
    /// What happened, with the names and values at hand.
    package let what: String
    /// Where: a path, a run, a line.
    package let place: String
    /// What to type or change.
    package let mend: String

    package init(_ reason: Reason, _ what: String, where place: String = "", mend: String) {
        self.reason = reason
        self.what = what
        self.place = place
        self.mend = mend
    }

    package var description: String {
        var text = what
        if !place.isEmpty { text += "\n  where: \(place)" }
        return text + "\n  mend:  \(mend)"
    }
}

extension Timestamp {
    /// The wall clock's time. Corresponds to `clock_gettime(CLOCK_REALTIME)`.
    package static var now: Timestamp {
        var time = timespec()
        clock_gettime(CLOCK_REALTIME, &time)
        return Timestamp(nanoseconds: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
    }

    /// As "2026-11-21 08:13:39", in UTC; the sortable part of a run's id is this without marks.
    package var text: String {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        func pad(_ value: Int32) -> String { value < 10 ? "0\(value)" : "\(value)" }
        return "\(parts.tm_year + 1900)-\(pad(parts.tm_mon + 1))-\(pad(parts.tm_mday)) "
            + "\(pad(parts.tm_hour)):\(pad(parts.tm_min)):\(pad(parts.tm_sec))"
    }

    /// As "2026-11-21T08:13:39.123+00:00": the one form that every RO-Crate validator takes.
    package var iso8601: String {
        let milliseconds = String(1000 + nanoseconds / 1_000_000 % 1000).dropFirst()
        return text.replacing(" ", with: "T") + "." + milliseconds + "+00:00"
    }
}
