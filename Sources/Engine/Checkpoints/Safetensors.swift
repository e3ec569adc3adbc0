// Writes safetensors files, byte for byte as the reference writer does. Reading is in
// SafetensorsFile.swift.

/// The safetensors format, written.
public enum Safetensors {
    /// Writes tensors to a file that takes its place when it is complete.
    ///
    /// The bytes are those of the reference writer (`safetensors/src/tensor.rs`, `prepare`): tensors by
    /// type, widest first, then by name; compact JSON; the header padded with spaces to eight bytes.
    /// - Throws: ``CheckpointError`` with reason `.unwritable`.
    public static func write(
        _ tensors: [String: Tensor], metadata: [String: String] = [:], to path: String
    ) throws(CheckpointError) {
        var writer = try SafetensorsWriter(
            tensors.map { .init(name: $0.key, dtype: $0.value.dtype, shape: $0.value.shape) },
            metadata: metadata, to: path)
        for slot in writer.slots { try writer.write(tensors[slot.name]!, as: slot.name) }
        try writer.finish()
    }
}

/// Writes a file of tensors one at a time, in any order, so that no more than one need be in memory.
public struct SafetensorsWriter: ~Copyable {
    /// A tensor to come.
    public struct Slot: Sendable, Hashable {
        public let name: String
        public let dtype: DType
        public let shape: [Int]
        public init(name: String, dtype: DType, shape: [Int]) {
            self.name = name
            self.dtype = dtype
            self.shape = shape
        }
        var byteCount: Int { shape.reduce(1, *) * dtype.byteCount }
    }

    /// Every tensor in the order of the file.
    public let slots: [Slot]
    private let file: ReplacementFile
    private let offsets: [UTF8Key: (slot: Int, offset: Int)]
    private var missing: Set<UTF8Key>

    /// Lays out the file and writes its header.
    /// - Precondition: No two slots share a name, and none is called `__metadata__`.
    public init(
        _ slots: [Slot], metadata: [String: String] = [:], to path: String
    ) throws(CheckpointError) {
        let ordered = slots.sorted {
            let (left, right) = (Self.rank($0.dtype), Self.rank($1.dtype))
            return left != right ? left < right : $0.name.precedesInBytes($1.name)
        }
        var header = JSONObject()
        if !metadata.isEmpty {
            let sorted = metadata.sorted { $0.key.precedesInBytes($1.key) }
            header = JSONObject([
                ("__metadata__", .object(JSONObject(sorted.map { ($0.key, .string($0.value)) })))
            ])
        }
        var entries = header.entries
        var end = 0
        var starts: [UTF8Key: (slot: Int, offset: Int)] = [:]
        for (index, slot) in ordered.enumerated() {
            precondition(slot.name != "__metadata__", "a tensor cannot be called __metadata__")
            let start = end
            end += slot.byteCount
            let previous = starts.updateValue((index, start), forKey: UTF8Key(slot.name))
            precondition(previous == nil, "two tensors are called \(slot.name)")
            entries.append(
                (
                    slot.name,
                    [
                        "dtype": .string(slot.dtype.rawValue),
                        "shape": .array(slot.shape.map { .integer($0) }),
                        "data_offsets": [.integer(start), .integer(end)],
                    ]
                ))
        }
        var bytes = JSONValue.object(JSONObject(entries)).bytes()
        while bytes.count % 8 != 0 { bytes.append(0x20) }
        let length = withUnsafeBytes(of: UInt64(bytes.count).littleEndian) { Array($0) }
        bytes.insert(contentsOf: length, at: 0)
        let dataStart = bytes.count
        let file = try ReplacementFile(path)
        try file.write(bytes, at: 0)
        offsets = starts.mapValues { ($0.slot, $0.offset + dataStart) }
        missing = Set(starts.keys)
        self.slots = ordered
        self.file = file
    }

    /// Writes one tensor in its place.
    /// - Precondition: A slot of that name, with this dtype and shape.
    public mutating func write(_ tensor: Tensor, as name: String) throws(CheckpointError) {
        let key = UTF8Key(name)
        guard let (index, offset) = offsets[key] else {
            preconditionFailure("no tensor \(name) was announced")
        }
        precondition(
            slots[index].dtype == tensor.dtype && slots[index].shape == tensor.shape,
            "\(name) was announced as \(slots[index].dtype) \(slots[index].shape), "
                + "and is \(tensor.dtype) \(tensor.shape)")
        let base = UnsafeRawPointer(tensor.storage.base + tensor.byteOffset)
        try file.write(UnsafeRawBufferPointer(start: base, count: tensor.byteCount), at: offset)
        withExtendedLifetime(tensor) {}
        missing.remove(key)
    }

    /// Puts the complete file in its place.
    /// - Precondition: Every announced tensor was written.
    public consuming func finish() throws(CheckpointError) {
        precondition(missing.isEmpty, "\(missing.first!.string) was announced and never written")
        try file.finish()
    }

    /// The place of a type in the file: the reference's enumeration, from its end.
    private static func rank(_ dtype: DType) -> Int {
        switch dtype {
        case .i64: 1
        case .f64: 2
        case .f32: 4
        case .i32: 6
        case .bf16: 7
        case .f16: 8
        case .i16: 10
        case .i8: 12
        case .u8: 13
        case .bool: 16
        }
    }
}
