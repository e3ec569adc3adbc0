// Linear layers as bitsandbytes leaves them in a checkpoint: codes where the weight was, scales and notes in
// tensors beside it. The keys are those of QuantState.as_dict(packed: True) for 4 bits and of
// Linear8bitLt's state for 8 (bitsandbytes 0.43 to 0.50); the layouts are Quantization/'s.

/// Reads the quantized layers of one checkpoint.
struct BitsAndBytes {
    private let checkpoint: Checkpoint
    private let threshold: Float

    /// - Throws: ``ModelError`` with reason `.unsupported` where another library quantized the weights.
    init(_ checkpoint: Checkpoint) throws {
        self.checkpoint = checkpoint
        let json = checkpoint.configurationJSON
        let quantization =
            json["quantization_config"] ?? json["text_config"]?["quantization_config"] ?? .null
        if !quantization.isNull {
            let method = quantization["quant_method"]?.string ?? "bitsandbytes"
            guard method == "bitsandbytes" else {
                throw ModelError(
                    .unsupported("weights quantized by \(method)"),
                    where: checkpoint.folder + "/config.json")
            }
        }
        // The library's own default, for a checkpoint without the field.
        threshold = Float(quantization["llm_int8_threshold"]?.double ?? 6)
    }

    /// A layer's weight; nil where it is stored as it is.
    /// - Parameter name: The parameter's name in the file.
    /// - Throws: ``CheckpointError`` where a side tensor is missing or says what is not computed here,
    ///   ``ModelError`` where codes and shape do not fit.
    func weight(_ name: String, shape: [Int]) throws -> Weight? {
        let state = name + ".quant_state.bitsandbytes__"
        if checkpoint.contains(state + "nf4") {
            return .nf4(try nf4(name, state: state + "nf4", shape: shape))
        }
        if checkpoint.contains(state + "fp4") {
            throw fault(.unsupportedField(field: "bnb_4bit_quant_type", value: "\"fp4\""))
        }
        guard checkpoint.entry(name)?.dtype == .i8 else { return nil }
        return .int8(try int8(name, shape: shape))
    }

    // MARK: 4 bits

    private func nf4(_ name: String, state: String, shape: [Int]) throws -> NF4Matrix {
        let notes = try self.notes(state)
        try require(notes, "quant_type", "nf4", in: state)
        try require(notes, "blocksize", .integer(NF4Matrix.blockSize), in: state)
        guard let stored = notes["shape"]?.array?.map(\.integer), stored == shape else {
            throw ModelError(
                .wrongShape(
                    name, found: notes["shape"]?.array?.compactMap(\.integer) ?? [],
                    expected: shape), where: checkpoint.folder)
        }
        try requireTable(name + ".quant_map", NF4Matrix.values)
        let count = shape.reduce(1, *)
        let blocks = (count + NF4Matrix.blockSize - 1) / NF4Matrix.blockSize
        // The codes may be stored under any type (bnb_4bit_quant_storage): they are bytes all the same.
        let packed = try bytes(name, count: (count + 1) / 2)
        guard notes["nested_offset"] != nil else {
            return NF4Matrix(
                shape: shape, packed: packed, absmax: try floats(name + ".absmax", count: blocks))
        }
        try require(
            notes, "nested_blocksize", .integer(NF4Matrix.scaleBlockSize), in: state)
        guard let offset = notes["nested_offset"]?.double else {
            throw fault(.malformedField(field: "nested_offset", message: "it is no number"))
        }
        let scales = NF4Matrix.DoubleQuantization(
            codes: try bytes(name + ".absmax", count: blocks),
            absmax: try floats(
                name + ".nested_absmax",
                count: (blocks + NF4Matrix.scaleBlockSize - 1) / NF4Matrix.scaleBlockSize),
            offset: Float(offset), map: try floats(name + ".nested_quant_map", count: 256).values)
        return NF4Matrix(
            shape: shape, packed: packed, absmax: scales.restored(), doubleQuantization: scales)
    }

    /// The part of the state that is no tensor: JSON in bytes.
    private func notes(_ name: String) throws -> JSONValue {
        let tensor = try checkpoint.tensor(name)
        do {
            return try tensor.withUnsafeBytes { (bytes) throws(JSONError) in
                try JSONValue(parsing: Array(bytes))
            }
        } catch {
            throw fault(
                .malformedField(
                    field: name, message: "it is not JSON at byte \(error.offset): \(error.message)"
                ))
        }
    }

    private func require(
        _ notes: JSONValue, _ field: String, _ wanted: JSONValue, in name: String
    ) throws {
        guard let value = notes[field] else {
            throw fault(.malformedField(field: name, message: "it has no \(field)"))
        }
        if value != wanted { throw fault(.unsupportedField(field: field, value: value.text())) }
    }

    /// Refuses a code book other than the one that the GEMM decodes by.
    private func requireTable(_ name: String, _ table: [Float]) throws {
        if try floats(name, count: table.count).values != table {
            throw fault(.unsupportedField(field: name, value: "another code book"))
        }
    }

    // MARK: 8 bits

    private func int8(_ name: String, shape: [Int]) throws -> Int8Matrix {
        let codes = try checkpoint.tensor(name)
        guard codes.shape == shape else {
            throw ModelError(
                .wrongShape(name, found: codes.shape, expected: shape), where: checkpoint.folder)
        }
        let path = String(name.dropLast(".weight".count))
        if checkpoint.contains(path + ".weight_format") {
            let format = try checkpoint.tensor(path + ".weight_format").values
            if format != [0] {
                throw fault(
                    .unsupportedField(
                        field: path + ".weight_format", value: "\(format.map { Int($0) })"))
            }
        }
        return Int8Matrix(
            codes: codes, absmax: try floats(path + ".SCB", count: shape[0]),
            decomposition: OutlierDecomposition(threshold: threshold))
    }

    // MARK: Tensors

    private func bytes(_ name: String, count: Int) throws -> Tensor {
        let tensor = try checkpoint.tensor(name)
        guard tensor.byteCount == count else {
            throw fault(.sizeMismatch(name: name, expected: count, found: tensor.byteCount))
        }
        return Tensor(
            storage: tensor.storage, byteOffset: tensor.byteOffset, shape: [count], dtype: .u8)
    }

    private func floats(_ name: String, count: Int) throws -> Tensor {
        let tensor = try checkpoint.tensor(name)
        guard tensor.dtype == .f32 else {
            throw fault(
                .malformedField(
                    field: name,
                    message:
                        "it is \(tensor.dtype.rawValue) \(tensor.shape), not F32 [\(count)]; the "
                        + "library leaves scales so in a model that ran on the CPU before it was saved"
                ))
        }
        guard tensor.count == count else {
            throw fault(.sizeMismatch(name: name, expected: 4 * count, found: tensor.byteCount))
        }
        // A copy: scales are read at every use, and a file may hold them at any address.
        return Tensor(tensor.values, shape: [count])
    }

    private func fault(_ reason: CheckpointError.Reason) -> CheckpointError {
        CheckpointError(reason, path: checkpoint.folder)
    }
}
