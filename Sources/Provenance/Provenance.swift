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
    package var text: String { written(between: " ", rest: "") }

    /// As "2026-11-21T08:13:39.123+00:00": the one form that every RO-Crate validator takes.
    package var iso8601: String {
        let milliseconds = String(1000 + nanoseconds / 1_000_000 % 1000).dropFirst()
        return written(between: "T", rest: ".\(milliseconds)+00:00")
    }

    /// Date, mark, time of day and `rest`, digit by digit: a list of ten thousand runs has twenty thousand times.
    private func written(between mark: Unicode.Scalar, rest: String) -> String {
        var seconds = time_t(nanoseconds / 1_000_000_000)
        var parts = tm()
        gmtime_r(&seconds, &parts)
        // Four digits, whatever a broken clock says.
        let year = min(max(parts.tm_year + 1900, 0), 9999)
        return String(unsafeUninitializedCapacity: 19 + rest.utf8.count) { bytes in
            func put(_ value: Int32, _ place: Int, _ mark: Unicode.Scalar? = nil) {
                bytes[place] = UInt8(48 + value / 10)
                bytes[place + 1] = UInt8(48 + value % 10)
                if let mark { bytes[place + 2] = UInt8(ascii: mark) }
            }
            put(year / 100, 0)
            put(year % 100, 2, "-")
            put(parts.tm_mon + 1, 5, "-")
            put(parts.tm_mday, 8, mark)
            put(parts.tm_hour, 11, ":")
            put(parts.tm_min, 14, ":")
            put(parts.tm_sec, 17)
            for (place, byte) in rest.utf8.enumerated() { bytes[19 + place] = byte }
            return 19 + rest.utf8.count
        }
    }
}
