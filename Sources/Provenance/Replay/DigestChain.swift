// The chain of training states: each link holds the state's digest and a hash over it and the link
// before, so that nobody can change, drop or swap a step without changing every later link.

package import Events

internal import Foundation

extension DigestRecord {
    /// The digest of the state alone, as the cell gave it.
    package var state: String {
        link == nil ? digest : String(digest.dropLast(17))
    }

    /// The chain's link, 16 hexadecimal digits; nil where the record is of a version without chain.
    package var link: String? {
        guard digest.count > 17, let space = digest.lastIndex(of: " "),
            digest.distance(from: space, to: digest.endIndex) == 17
        else { return nil }
        return String(digest[digest.index(after: space)...])
    }
}

/// Links and checks chains.
///
/// A link is the first 16 hexadecimal digits of SHA-256 over "PREVIOUS SERIES STEP STATE", PREVIOUS being
/// sixteen zeros at first; `printf '%s' "…" | sha256sum` makes it.
package struct DigestChain {
    private var last: [String: String] = [:]

    package init() {}

    /// The link for the next state of a series in a cell.
    package mutating func link(cell: Int, series: String, step: Int64, state: String) -> String {
        let key = "\(cell) \(series)"
        let previous = last[key] ?? "0000000000000000"
        let link = String(Digest(of: "\(previous) \(series) \(step) \(state)").hex.prefix(16))
        last[key] = link
        return link
    }

    /// The first record whose link does not follow from those before it; records without links are
    /// passed over.
    package static func firstBreak(in records: [DigestRecord]) -> DigestRecord? {
        var chain = DigestChain()
        return records.first { record in
            guard let link = record.link else { return false }
            return link
                != chain.link(
                    cell: record.cell, series: record.series, step: record.step,
                    state: record.state)
        }
    }
}
