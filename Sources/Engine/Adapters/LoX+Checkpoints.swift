// LoX from folder to folder: one matrix in memory at a time, whatever the model. The formats are in
// Checkpoints/; one weight's arithmetic is in LoX.swift.

import Glibc

extension LoX {
    /// Extrapolates a checkpoint on disk: reads both folders mapped, writes a third with the same files.
    ///
    /// Memory is one matrix of the result, the block of a decomposition, and the pages of the inputs that
    /// are being read, which are let go after each weight. Configuration, tokenizer and index are copied;
    /// where the result's type is another (published rounding of f32 weights), `config.json` says so.
    /// - Parameters:
    ///   - aligned: The aligned model's folder, in Hugging Face's layout.
    ///   - base: The base model's folder.
    ///   - output: A folder to make; its weights take their place when they are complete.
    /// - Returns: What was done with each weight, in the order of the names.
    /// - Throws: ``CheckpointError``, ``LoXError``, ``LinearAlgebraError``.
    @discardableResult
    public static func extrapolate(
        checkpoint aligned: String, from base: String, to output: String, rank: Int,
        coefficient: Double, selection: WeightSelection = .everyMatrix,
        options: Options = Options(), vocabularyMismatch: VocabularyMismatch = .refuse,
        onWeight: (Record) throws -> Void = { _ in }
    ) throws -> [Record] {
        precondition(rank >= 0, "a rank is at least 0, not \(rank)")
        let source = try Checkpoint(aligned)
        let before = WeightSet(try Checkpoint(base))
        let after = WeightSet(source)
        // Whatever cannot fit is said before hours of work.
        for name in after.names where !before.contains(name) {
            throw LoXError(.missing(side: "base"), tensor: name)
        }
        try FileSystem.makeFolder(output)
        try copyOtherFiles(from: aligned, to: output, source: source, options: options)
        var records: [Record] = []
        for path in source.weightFiles {
            let file = try SafetensorsFile(path)
            let slots = try file.names.map { name in
                let tensor = try source.tensor(name)
                return SafetensorsWriter.Slot(
                    name: name,
                    dtype: tensor.dtype.isFloating ? resultType(tensor, options) : tensor.dtype,
                    shape: tensor.shape)
            }
            var writer = try SafetensorsWriter(
                slots,
                metadata: Dictionary(
                    file.metadata.map { ($0.key, $0.value) }, uniquingKeysWith: { $1 }),
                to: output + "/" + lastComponent(path))
            for slot in writer.slots {
                let tensor = try after.tensor(slot.name)
                let counterpart = try before.tensor(slot.name, of: "base")
                let (result, record) = try extrapolate(
                    tensor, counterpart, name: slot.name, rank: rank, coefficient: coefficient,
                    isSelected: selection.contains(
                        slot.name, shape: tensor.shape, tiesEmbeddings: after.tiesEmbeddings),
                    options: options, vocabularyMismatch: vocabularyMismatch)
                try writer.write(result, as: slot.name)
                after.release(tensor)
                before.release(counterpart)
                if let record {
                    records.append(record)
                    try onWeight(record)
                }
            }
            try writer.finish()
        }
        return records.sorted { $0.name.precedesInBytes($1.name) }
    }

    /// One weight of a checkpoint; no record where it was not selected.
    private static func extrapolate(
        _ aligned: Tensor, _ base: Tensor, name: String, rank: Int, coefficient: Double,
        isSelected: Bool, options: Options, vocabularyMismatch: VocabularyMismatch
    ) throws -> (Tensor, Record?) {
        guard isSelected, aligned.dtype.isFloating else {
            let dtype = aligned.dtype.isFloating ? resultType(aligned, options) : aligned.dtype
            return (aligned.converted(to: dtype), nil)
        }
        guard let pair = try matched(aligned, base, name: name, vocabularyMismatch) else {
            return (
                aligned.converted(to: resultType(aligned, options)),
                Record(name, aligned.shape, nil, note: "skipped: the vocabularies differ")
            )
        }
        var delta: LowRankDelta?
        let moved: Tensor
        if rank == 0 {
            moved = try extrapolate(
                aligned: pair.aligned, base: pair.base, rank: 0, coefficient: coefficient,
                options: options, name: name)
        } else {
            let change = try decompose(
                aligned: pair.aligned, base: pair.base, rank: rank, options: options, name: name)
            delta = change
            moved = try extrapolate(
                pair.aligned, along: change, coefficient: coefficient, options: options, name: name)
        }
        return (
            moved.followed(byRowsOf: aligned),
            Record(name, aligned.shape, delta, note: pair.note)
        )
    }

    /// Everything beside the weights, files of the folder itself only.
    private static func copyOtherFiles(
        from folder: String, to output: String, source: Checkpoint, options: Options
    ) throws {
        let weights = Set(source.weightFiles.map(lastComponent))
        guard let directory = opendir(folder) else {
            throw CheckpointError(.unreadable(String(cString: strerror(errno))), path: folder)
        }
        var names: [String] = []
        while let entry = readdir(directory) {
            names.append(
                withUnsafePointer(to: &entry.pointee.d_name) {
                    $0.withMemoryRebound(to: CChar.self, capacity: 256) { String(cString: $0) }
                })
        }
        closedir(directory)
        for name in names.sorted()
        where name != "config.json" && !weights.contains(name)
            && !FileSystem.isFolder(folder + "/" + name)
        {
            // Weights in other formats are those of the aligned model, not of the result.
            let isWeights = ["safetensors", "bin", "gguf", "pt", "pth", "h5", "msgpack"]
                .contains { name.hasSuffix("." + $0) }
            if isWeights { continue }
            try FileSystem.write(
                try FileSystem.read(folder + "/" + name), to: output + "/" + name)
        }
        var configuration = source.configurationJSON
        if options.rounding == .published, case .object(var fields) = configuration {
            for key in ["dtype", "torch_dtype"] where fields[key] != nil {
                fields[key] = .string("bfloat16")
            }
            configuration = .object(fields)
        }
        try FileSystem.write(
            Array((configuration.text(.indented) + "\n").utf8), to: output + "/config.json")
    }

    private static func lastComponent(_ path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }
}

extension Tensor {
    /// Lets go of the pages that reading a mapped tensor brought into memory; its bytes stay on disk, and
    /// come back when they are read again. Does nothing to memory of our own.
    func forgetMappedPages() {
        if storage.isWritable { return }
        let page = Int(sysconf(Int32(_SC_PAGESIZE)))
        let start = Int(bitPattern: storage.base) + byteOffset
        let first = (start + page - 1) / page * page
        let last = (start + byteCount) / page * page
        if last > first {
            madvise(UnsafeMutableRawPointer(bitPattern: first), last - first, MADV_DONTNEED)
        }
    }
}
