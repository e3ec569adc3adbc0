// Reads safetensors files: maps them, checks every rule of the format, and hands out tensors that are
// windows on the mapping. Writing is in Safetensors.swift.

internal import Glibc

/// A safetensors file: its header checked at once, its tensors read when they are used.
///
/// Source: the format's README and `safetensors/src/tensor.rs`, whose validation this repeats: offsets
/// in order without hole or overlap from 0 to the end of the file, sizes that agree with shape and
/// type, no repeated key.
public struct SafetensorsFile: Sendable {
    /// What the header says of a tensor.
    public struct Entry: Sendable, Hashable {
        public let name: String
        /// The type's name in the format, such as "F32" or "F8_E4M3".
        public let dtypeName: String
        public let shape: [Int]
        /// Where the elements lie in the file, in bytes from its start.
        public let range: Range<Int>
        /// The type, where this engine computes with it.
        public var dtype: DType? { DType(rawValue: dtypeName) }
    }

    public let path: String
    /// The header's `__metadata__`, in the order of the file.
    public let metadata: [(key: String, value: String)]
    /// Every tensor, in the order of its bytes.
    public let entries: [Entry]
    private let indices: [UTF8Key: Int]
    private let file: MappedFile

    /// Opens and checks a file; no tensor is read.
    /// - Throws: ``CheckpointError`` naming the first rule that the file breaks.
    public init(_ path: String) throws(CheckpointError) {
        self.path = path
        file = try MappedFile(path)
        do {
            (entries, metadata) = try SafetensorsHeader.read(file.bytes)
        } catch {
            throw CheckpointError(error.reason, path: path)
        }
        indices = Dictionary(
            uniqueKeysWithValues: entries.enumerated().map { (UTF8Key($1.name), $0) })
    }

    /// The tensors' names, in the order of their bytes.
    public var names: [String] { entries.map(\.name) }

    /// What the header says of a tensor, or `nil` where there is none of that name.
    public func entry(_ name: String) -> Entry? { indices[UTF8Key(name)].map { entries[$0] } }

    /// A tensor as a window on the mapped file; its bytes are read as they are used.
    /// - Throws: ``CheckpointError`` with reason `.missingTensor` or `.unsupportedDType`.
    public func tensor(_ name: String) throws(CheckpointError) -> Tensor {
        guard let entry = entry(name) else {
            throw CheckpointError(.missingTensor(name: name), path: path)
        }
        guard let dtype = entry.dtype else {
            throw CheckpointError(
                .unsupportedDType(name: name, dtype: entry.dtypeName), path: path)
        }
        if entry.range.isEmpty { return Tensor(zeros: entry.shape, dtype: dtype) }
        let start = file.bytes.baseAddress! + entry.range.lowerBound
        if UInt(bitPattern: start) % UInt(dtype.byteCount) == 0 {
            let storage = TensorStorage(
                borrowing: start, byteCount: entry.range.count, owner: file)
            return Tensor(storage: storage, byteOffset: 0, shape: entry.shape, dtype: dtype)
        }
        // Legal in the format, though the reference writer aligns: copied, so that loads are aligned.
        let tensor = Tensor(uninitialized: entry.shape, dtype: dtype)
        tensor.storage.base.copyMemory(from: start, byteCount: entry.range.count)
        return tensor
    }

    /// Asks the system to begin reading a tensor's bytes.
    public func prefetch(_ name: String) {
        guard let entry = entry(name), !entry.range.isEmpty else { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let first = entry.range.lowerBound / page * page
        madvise(
            UnsafeMutableRawPointer(mutating: file.bytes.baseAddress! + first),
            entry.range.upperBound - first, MADV_WILLNEED)
    }
}

/// The header of a safetensors file, parsed and checked against the file's length.
enum SafetensorsHeader {
    /// What is wrong, before anybody knows the path.
    struct Fault: Error { let reason: CheckpointError.Reason }

    /// The format's own limit for the header, in bytes.
    static let maximumLength: UInt64 = 100_000_000

    /// Bits an element takes, for every type the format defines (`safetensors/src/tensor.rs`, Dtype).
    static let bits: [String: Int] = [
        "BOOL": 8, "F4": 4, "F6_E2M3": 6, "F6_E3M2": 6, "U8": 8, "I8": 8, "F8_E5M2": 8,
        "F8_E4M3": 8, "F8_E8M0": 8, "F8_E4M3FNUZ": 8, "F8_E5M2FNUZ": 8, "I16": 16, "U16": 16,
        "F16": 16, "BF16": 16, "I32": 32, "U32": 32, "F32": 32, "C64": 64, "F64": 64, "I64": 64,
        "U64": 64,
    ]

    static func read(
        _ file: UnsafeRawBufferPointer
    ) throws(Fault) -> (entries: [SafetensorsFile.Entry], metadata: [(key: String, value: String)])
    {
        guard file.count >= 8 else {
            throw Fault(reason: .truncated(expected: 8, found: file.count))
        }
        let length = UInt64(littleEndian: file.loadUnaligned(as: UInt64.self))
        if length > maximumLength { throw Fault(reason: .headerTooLong(length)) }
        let dataStart = 8 + Int(length)
        if dataStart > file.count {
            throw Fault(reason: .truncated(expected: dataStart, found: file.count))
        }
        let header = UnsafeRawBufferPointer(rebasing: file[8..<dataStart])
            .bindMemory(to: UInt8.self)
        if header.first != UInt8(ascii: "{") { throw Fault(reason: .headerNotObject) }
        let json: JSONValue
        do {
            json = try JSONValue(parsing: header, duplicateKeys: .refused)
        } catch {
            throw Fault(reason: .headerNotJSON(offset: error.offset, message: error.message))
        }
        var metadata: [(key: String, value: String)] = []
        var entries: [SafetensorsFile.Entry] = []
        for (name, value) in json.object!.entries {
            if name.hasSameBytes(as: "__metadata__") {
                metadata = try readMetadata(value)
            } else {
                entries.append(try readEntry(name, value, dataStart: dataStart))
            }
        }
        entries.sort {
            ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound)
        }
        try checkCoverage(entries, from: dataStart, to: file.count)
        return (entries, metadata)
    }

    private static func readMetadata(
        _ value: JSONValue
    ) throws(Fault) -> [(key: String, value: String)] {
        guard let object = value.object else {
            throw malformed("__metadata__", "it must be an object, not \(value.kind)")
        }
        var result: [(key: String, value: String)] = []
        for (key, value) in object.entries {
            guard let text = value.string else {
                throw malformed("__metadata__", "\"\(key)\" must be a string, not \(value.kind)")
            }
            result.append((key, text))
        }
        return result
    }

    private static func readEntry(
        _ name: String, _ value: JSONValue, dataStart: Int
    ) throws(Fault) -> SafetensorsFile.Entry {
        guard let object = value.object else {
            throw malformed(name, "it must be an object, not \(value.kind)")
        }
        if let extra = object.keys.first(where: {
            !["dtype", "shape", "data_offsets"].contains($0)
        }) {
            throw malformed(name, "it has the unknown field \"\(extra)\"")
        }
        guard let dtype = object["dtype"]?.string else {
            throw malformed(name, "dtype must be a string")
        }
        guard let bits = bits[dtype] else {
            throw Fault(reason: .unknownDType(name: name, dtype: dtype))
        }
        let shape = try readLengths(object["shape"], of: "shape", name)
        let offsets = try readLengths(object["data_offsets"], of: "data_offsets", name)
        guard offsets.count == 2 else {
            throw malformed(name, "data_offsets must be two numbers, not \(offsets.count)")
        }
        guard offsets[0] <= offsets[1] else {
            throw malformed(name, "data_offsets run backwards, \(offsets[0]) to \(offsets[1])")
        }
        var elements = 1
        for extent in shape {
            let (product, overflow) = elements.multipliedReportingOverflow(by: extent)
            if overflow { throw malformed(name, "the shape \(shape) overflows 64 bits") }
            elements = product
        }
        let (size, overflow) = elements.multipliedReportingOverflow(by: bits)
        if overflow { throw malformed(name, "the shape \(shape) overflows 64 bits") }
        if size % 8 != 0 {
            throw malformed(name, "\(elements) elements of \(bits) bits do not fill whole bytes")
        }
        let (end, endOverflow) = offsets[1].addingReportingOverflow(dataStart)
        if endOverflow { throw malformed(name, "data_offsets overflow 64 bits") }
        if offsets[1] - offsets[0] != size / 8 {
            throw Fault(
                reason: .sizeMismatch(
                    name: name, expected: size / 8, found: offsets[1] - offsets[0]))
        }
        return SafetensorsFile.Entry(
            name: name, dtypeName: dtype, shape: shape, range: (offsets[0] + dataStart)..<end)
    }

    private static func readLengths(
        _ value: JSONValue?, of field: String, _ name: String
    ) throws(Fault) -> [Int] {
        guard case .array(let elements)? = value else {
            throw malformed(name, "\(field) must be an array")
        }
        var result: [Int] = []
        for element in elements {
            // Only what is written as an integer: `1.0` is no length in the reference reader either.
            guard case .integer(let length) = element, length >= 0 else {
                throw malformed(name, "\(field) must be non-negative integers")
            }
            result.append(length)
        }
        return result
    }

    /// Each tensor begins where the one before ended, the first at 0, and the last ends the file.
    private static func checkCoverage(
        _ entries: [SafetensorsFile.Entry], from start: Int, to end: Int
    ) throws(Fault) {
        var expected = start
        var previous = ""
        for entry in entries {
            if entry.range.lowerBound < expected {
                throw Fault(reason: .overlap(name: entry.name, previous: previous))
            }
            if entry.range.lowerBound > expected {
                throw Fault(
                    reason: .hole(
                        name: entry.name, from: expected - start,
                        to: entry.range.lowerBound - start))
            }
            expected = entry.range.upperBound
            previous = entry.name
        }
        if expected > end { throw Fault(reason: .truncated(expected: expected, found: end)) }
        if expected < end { throw Fault(reason: .trailingBytes(expected: expected, found: end)) }
    }

    private static func malformed(_ name: String, _ message: String) -> Fault {
        Fault(reason: .malformedEntry(name: name, message: message))
    }
}
