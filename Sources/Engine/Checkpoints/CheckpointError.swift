// What can be wrong with the files of a model, and the one place that words it. Reading is elsewhere.

/// A file of weights, a configuration or an adapter that cannot be used: what, where, how to mend it.
public struct CheckpointError: Error, Sendable, CustomStringConvertible {
    /// For code: what went wrong.
    public enum Reason: Sendable, Hashable {
        /// The system refused to open, read or write; its message.
        case unreadable(String)
        case unwritable(String)
        /// Shorter than its own header says, in bytes.
        case truncated(expected: Int, found: Int)
        /// Bytes after the last tensor.
        case trailingBytes(expected: Int, found: Int)
        /// The header's length is beyond the format's limit of 100,000,000 bytes, or beyond the file.
        case headerTooLong(UInt64)
        case headerNotJSON(offset: Int, message: String)
        case headerNotObject
        /// An entry of the header that does not say dtype, shape and data_offsets as the format wants.
        case malformedEntry(name: String, message: String)
        case unknownDType(name: String, dtype: String)
        /// A type that the format knows and this engine does not compute with.
        case unsupportedDType(name: String, dtype: String)
        /// Shape and dtype want another number of bytes than the offsets span.
        case sizeMismatch(name: String, expected: Int, found: Int)
        /// Bytes that two tensors claim.
        case overlap(name: String, previous: String)
        /// Bytes that no tensor claims, before this one.
        case hole(name: String, from: Int, to: Int)
        case missingTensor(name: String)
        /// A shard that the index names and the folder lacks.
        case missingShard(shard: String, tensor: String)
        case noWeights
        /// Weights as a Python pickle: code that runs when it is read.
        case pickle(String)
        case malformedJSON(offset: Int, message: String)
        case malformedIndex(String)
        /// A field whose value this engine does not honour.
        case unsupportedField(field: String, value: String)
        case malformedField(field: String, message: String)
        case malformedAdapter(String)
    }

    public let reason: Reason
    /// The file or folder.
    public let path: String

    public init(_ reason: Reason, path: String) {
        self.reason = reason
        self.path = path
    }

    public var description: String {
        let (what, mend) = wording
        return "\(what)\n  where: \(path)\n  mend:  \(mend)"
    }

    /// What happened, and how to mend it.
    private var wording: (what: String, mend: String) {
        let again =
            "fetch or copy the file again, and compare its size and sha256 with the source's."
        let rewrite = "write the file again with the safetensors library, or fetch it again."
        switch reason {
        case .unreadable(let message):
            return ("The file cannot be read: \(message).", "check the path and the permissions.")
        case .unwritable(let message):
            return (
                "The file cannot be written: \(message).",
                "check that the folder exists, is writable and has room."
            )
        case .truncated(let expected, let found):
            return (
                "The file ends early: \(found) bytes, where its header wants \(expected).", again
            )
        case .trailingBytes(let expected, let found):
            return (
                "The file goes on after its last tensor: \(found) bytes, where its header wants "
                    + "\(expected).", again
            )
        case .headerTooLong(let length):
            return ("The header's length, \(length) bytes, is beyond 100000000.", again)
        case .headerNotJSON(let offset, let message):
            return ("The header is not valid JSON at its byte \(offset): \(message).", rewrite)
        case .headerNotObject:
            return ("The header does not begin with \"{\".", again)
        case .malformedEntry(let name, let message):
            return ("The header's entry \"\(name)\" is malformed: \(message).", rewrite)
        case .unknownDType(let name, let dtype):
            return (
                "The tensor \"\(name)\" has the type \"\(dtype)\", which the format does not define.",
                rewrite
            )
        case .unsupportedDType(let name, let dtype):
            return (
                "The tensor \"\(name)\" has the type \(dtype), which this engine does not compute "
                    + "with.", "convert it to F32, BF16 or F16 where it was made."
            )
        case .sizeMismatch(let name, let expected, let found):
            return (
                "The tensor \"\(name)\" spans \(found) bytes, where its shape and type want "
                    + "\(expected).", rewrite
            )
        case .overlap(let name, let previous):
            return ("The tensors \"\(previous)\" and \"\(name)\" overlap.", rewrite)
        case .hole(let name, let from, let to):
            return (
                "The bytes \(from) to \(to) before the tensor \"\(name)\" belong to no tensor.",
                rewrite
            )
        case .missingTensor(let name):
            return (
                "There is no tensor \"\(name)\".",
                "compare the name with `names`; the checkpoint may be of another family."
            )
        case .missingShard(let shard, let tensor):
            return (
                "The shard \(shard), which holds \"\(tensor)\", is missing.",
                "fetch \(shard) into the same folder."
            )
        case .noWeights:
            return (
                "The folder has neither model.safetensors nor model.safetensors.index.json.",
                "point to the folder that holds the weights, or convert them to safetensors."
            )
        case .pickle(let file):
            return (
                "The weights are a Python pickle, \(file), which runs code when it is read.",
                "save them as safetensors with the library that wrote them (safe_serialization=True)."
            )
        case .malformedJSON(let offset, let message):
            return ("The file is not valid JSON at byte \(offset): \(message).", again)
        case .malformedIndex(let message):
            return ("The index of shards is malformed: \(message).", again)
        case .unsupportedField(let field, let value):
            return (
                "The field \(field) is \(value), which this engine does not honour.",
                "use an adapter or model made without it."
            )
        case .malformedField(let field, let message):
            return (
                "The field \(field) is malformed: \(message).", "mend the field, or fetch it again."
            )
        case .malformedAdapter(let message):
            return ("The adapter's tensors are malformed: \(message).", again)
        }
    }
}
