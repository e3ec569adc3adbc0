// Little-endian bytes for Frame.swift: a writer that appends, a reader that never trusts a length.

/// Appends numbers and strings to a buffer.
struct ByteWriter {
    var bytes: [UInt8] = []

    mutating func integer<T: FixedWidthInteger>(_ value: T) {
        withUnsafeBytes(of: value.littleEndian) { bytes.append(contentsOf: $0) }
    }

    mutating func byte(_ value: UInt8) { bytes.append(value) }

    mutating func int(_ value: Int) { integer(Int64(value)) }

    mutating func double(_ value: Double) { integer(value.bitPattern) }

    mutating func flag(_ value: Bool) { bytes.append(value ? 1 : 0) }

    mutating func string(_ value: String) {
        var value = value
        value.withUTF8 { utf8 in
            integer(UInt32(utf8.count))
            bytes.append(contentsOf: utf8)
        }
    }

    mutating func list<T>(_ values: [T], _ element: (inout ByteWriter, T) -> Void) {
        integer(UInt32(values.count))
        for value in values { element(&self, value) }
    }
}

/// Takes numbers and strings off a buffer.
struct ByteReader {
    private let bytes: ArraySlice<UInt8>
    private var position: Int

    init(_ bytes: ArraySlice<UInt8>) {
        self.bytes = bytes
        position = bytes.startIndex
    }

    var isAtEnd: Bool { position == bytes.endIndex }

    mutating func integer<T: FixedWidthInteger>(_: T.Type = T.self) throws(FrameError) -> T {
        let size = MemoryLayout<T>.size
        guard bytes.endIndex - position >= size else { throw FrameError.truncated }
        var value: T = 0
        withUnsafeMutableBytes(of: &value) { target in
            for i in 0..<size { target[i] = bytes[position + i] }
        }
        position += size
        return T(littleEndian: value)
    }

    mutating func byte() throws(FrameError) -> UInt8 { try integer() }

    mutating func int() throws(FrameError) -> Int { Int(try integer(Int64.self)) }

    mutating func double() throws(FrameError) -> Double { Double(bitPattern: try integer()) }

    mutating func flag() throws(FrameError) -> Bool { try byte() != 0 }

    mutating func string() throws(FrameError) -> String {
        let count = Int(try integer(UInt32.self))
        guard bytes.endIndex - position >= count else { throw FrameError.truncated }
        defer { position += count }
        return String(decoding: bytes[position..<position + count], as: UTF8.self)
    }

    mutating func list<T>(
        _ element: (inout ByteReader) throws(FrameError) -> T
    ) throws(FrameError) -> [T] {
        let count = Int(try integer(UInt32.self))
        // Each element takes a byte at least: a count beyond that is not a list.
        guard count <= bytes.endIndex - position else { throw FrameError.truncated }
        var values: [T] = []
        values.reserveCapacity(count)
        for _ in 0..<count { values.append(try element(&self)) }
        return values
    }
}

/// What arrived is not a frame of ours.
public enum FrameError: Error, Equatable {
    /// A frame ends before its fields do.
    case truncated
    /// A frame longer than any of ours: 256 MiB.
    case oversized(Int)
    case unknownKind(UInt8)
    /// A field holds a value that no frame of ours has.
    case malformed(String)
}
