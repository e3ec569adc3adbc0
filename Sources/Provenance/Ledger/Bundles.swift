// The archives that a run left in or came in. They come after its end, so they are no part of the record that its
// seal covers, and no bundle holds them.

package import Events

internal import Foundation
internal import GRDB

/// One archive of a run.
package struct BundleRecord: Sendable, Hashable {
    package enum Direction: String, Sendable {
        case exported, imported
    }
    package var direction: Direction
    package var time: Timestamp
    /// Where it was written to or read from, in full.
    package var path: String
    /// "tar", "tar.zst", "tar.gz" or "zip".
    package var format: String
    package var isThin: Bool
    package var isAnonymous: Bool
    package var isSigned: Bool
    /// SHA-256 of the uncompressed tar, which is the bundle's identity whatever it is packed in.
    package var tarSHA256: String
    /// Of the archive.
    package var bytes: Int64

    package init(
        _ direction: Direction, path: String, format: String, isThin: Bool,
        isAnonymous: Bool = false, isSigned: Bool, tarSHA256: String, bytes: Int64,
        time: Timestamp = .now
    ) {
        self.direction = direction
        self.time = time
        self.path = path
        self.format = format
        self.isThin = isThin
        self.isAnonymous = isAnonymous
        self.isSigned = isSigned
        self.tarSHA256 = tarSHA256
        self.bytes = bytes
    }
}

extension Ledger {
    /// Writes down an archive of a run, sealed or not.
    /// - Throws: ``ProvenanceError``, with reason `.readOnly` where the ledger may only be read.
    package func record(_ bundle: BundleRecord, of name: String) throws {
        let id = try resolve(name)
        if queue.configuration.readonly {
            errno = EACCES
            throw cannotWrite(path)
        }
        try write { db in
            try db.execute(
                sql: """
                    INSERT INTO bundle SELECT number,
                        (SELECT COALESCE(MAX(ordinal) + 1, 0) FROM bundle WHERE run = number),
                        ?, ?, ?, ?, ?, ?, ?, ?, ? FROM run WHERE id = ?
                    """,
                arguments: [
                    bundle.direction.rawValue, bundle.time.nanoseconds, bundle.path, bundle.format,
                    bundle.isThin, bundle.isAnonymous, bundle.isSigned, bundle.tarSHA256,
                    bundle.bytes, id,
                ])
        }
    }

    /// The archives of a run that this ledger knows of, in the order in which they were written down.
    package func bundles(of name: String) throws -> [BundleRecord] {
        let id = try resolve(name)
        return try read { db in
            // An older ledger that may only be read has none.
            guard try db.tableExists("bundle") else { return [] }
            return try Row.fetchAll(
                db,
                sql: """
                    SELECT direction, time, path, format, is_thin, is_anonymous, is_signed, tar_sha256, bytes
                    FROM bundle b JOIN run r ON r.number = b.run WHERE r.id = ? ORDER BY ordinal
                    """, arguments: [id]
            ).map { row in
                BundleRecord(
                    BundleRecord.Direction(rawValue: row[0]) ?? .exported, path: row[2],
                    format: row[3], isThin: row[4], isAnonymous: row[5], isSigned: row[6],
                    tarSHA256: row[7], bytes: row[8], time: Timestamp(nanoseconds: row[1]))
            }
        }
    }
}
