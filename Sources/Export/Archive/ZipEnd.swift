// The end of a zip, looked at before libarchive does: it makes a node in memory for each entry that the central
// directory has, and a stranger chooses how many those are.

internal import Foundation

/// Where a zip's central directory lies, by its end records (APPNOTE 6.3.10, 4.3.12 to 4.3.16).
struct ZipEnd {
    /// The offset and size of the central directory, in bytes.
    let offset: Int64
    let size: Int64
    /// What follows the end record: nothing, or as many bytes as a mark of ours has.
    let comment: [UInt8]

    private static let recordSize = 22
    private static let locatorSize = 20
    private static let wideRecordSize = 56

    /// Nil where the end is not as `study export` leaves it, or a writer that knows no comments: the directory, the
    /// records of ZIP64 where they are needed, the end record, and its comment if there is one.
    init?(_ file: ReadOnlyFile) {
        func record(_ commentSize: Int) -> Fields {
            let place = file.size - Int64(Self.recordSize + commentSize)
            return Fields(file.bytes(at: place, count: Self.recordSize))
        }
        let found = [ZipMark.byteCount, 0].first { size in
            let record = record(size)
            return record.count == Self.recordSize && record.starts(with: [0x50, 0x4b, 5, 6])
                && record[20, 2] == size
        }
        guard let commentSize = found else { return nil }
        let record = record(commentSize)
        let place = file.size - Int64(Self.recordSize + commentSize)
        comment = file.bytes(at: place + Int64(Self.recordSize), count: commentSize)
        let locator = Fields(
            file.bytes(at: place - Int64(Self.locatorSize), count: Self.locatorSize))
        var end = place
        if locator.starts(with: [0x50, 0x4b, 6, 7]) {
            end = Int64(clamping: locator[8, 8])
            let wide = Fields(file.bytes(at: end, count: Self.wideRecordSize))
            guard end == place - Int64(Self.locatorSize + Self.wideRecordSize),
                wide.starts(with: [0x50, 0x4b, 6, 6])
            else { return nil }
            (size, offset) = (Int64(clamping: wide[40, 8]), Int64(clamping: wide[48, 8]))
        } else {
            (size, offset) = (Int64(record[12, 4]), Int64(record[16, 4]))
        }
        guard size <= end, offset == end - size else { return nil }
    }

    /// The number of entries, counted up to one more than `limit`; nil where the directory is broken.
    func entries(in file: ReadOnlyFile, upTo limit: Int) -> Int? {
        var count = 0
        var place = offset
        var block = Fields([])
        var start = offset
        while place < offset + size, count <= limit {
            if place + 46 > start + Int64(block.count) {
                start = place
                block = Fields(file.bytes(at: start, count: 256 << 10))
            }
            let header = Int(place - start)
            guard header + 46 <= block.count, block[header, 4] == 0x0201_4b50 else { return nil }
            place += 46
            for field in [28, 30, 32] { place += Int64(block[header + field, 2]) }
            count += 1
        }
        return count > limit || place == offset + size ? count : nil
    }

    /// Bytes with numbers in them, the lowest byte first.
    private struct Fields {
        private let bytes: [UInt8]
        init(_ bytes: [UInt8]) { self.bytes = bytes }
        var count: Int { bytes.count }
        func starts(with magic: [UInt8]) -> Bool { bytes.starts(with: magic) }
        subscript(place: Int, length: Int) -> UInt64 {
            bytes[place..<place + length].reversed().reduce(0) { $0 << 8 | UInt64($1) }
        }
    }
}
