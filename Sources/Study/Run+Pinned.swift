// Files that a parameter names, such as a checkpoint or a benchmark that a user brings: the same study runs on the
// miniature and on them.

public import Engine
internal import Events

extension Run {
    /// The file or folder that a parameter's text names: a path, or `path@sha256:HEX`, which pins its bytes. Either way
    /// it is hashed and on record first, as by ``input(_:kind:)``.
    ///
    /// A folder's digest is that of its sorted manifest, as `study show` prints it.
    /// - Throws: ``RunError`` where the file is missing, the pin is no SHA-256, or the bytes are others than it says.
    public func pinned(_ reference: String, kind: String = "dataset") throws -> InputFile {
        let mark = "@sha256:"
        guard let at = reference.range(ofLast: mark) else {
            return try input(reference, kind: kind)
        }
        let path = String(reference[..<at.lowerBound])
        let pin = reference[at.upperBound...].lowercased()
        guard pin.count == 64, pin.allSatisfy(\.isHexDigit) else {
            throw RunError(
                what: "\"\(reference)\" pins no SHA-256: \(pin.count) characters follow \(mark)",
                mend: "write \(path)\(mark) and the 64 hexadecimal digits that sha256sum prints")
        }
        let file = try input(path, kind: kind)
        guard file.sha256 == pin else {
            throw RunError(
                what: "\(path) is not the file that the parameter pins: "
                    + "sha256 \(pin) pinned, \(file.sha256) found",
                mend: "bring the file that was meant, or pin this one: "
                    + "\(path)\(mark)\(file.sha256)")
        }
        return file
    }
}

extension Run {
    /// The checkpoint that a parameter names (a folder in Hugging Face's layout, or `folder@sha256:HEX`), and how its own
    /// chat template puts a request to it.
    /// - Throws: what ``pinned(_:kind:)`` throws; ``RunError`` where the folder has no tokenizer; `CheckpointError`, and
    ///   `TokenizerError` where there is no chat template.
    public func checkpoint(
        _ reference: String, dtype: DType? = nil, quantization: Quantization? = nil
    ) throws -> (model: LanguageModel, format: PromptFormat) {
        let folder = try pinned(reference, kind: "model").path
        let model = try LanguageModel(folder, dtype: dtype, quantization: quantization)
        guard let tokenizer = model.tokenizer else {
            throw RunError(
                what: "\(reference) has no tokenizer.json",
                mend: "put the model's tokenizer files into its folder")
        }
        return (model, try .chat(tokenizer))
    }
}

extension String {
    /// Where `text` last occurs.
    fileprivate func range(ofLast text: String) -> Range<Index>? {
        var start = endIndex
        while start > startIndex {
            start = index(before: start)
            if self[start...].hasPrefix(text) {
                return start..<index(start, offsetBy: text.count)
            }
        }
        return nil
    }
}
