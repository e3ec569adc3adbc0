// A model's folder in Hugging Face's layout: config.json and its weights, in one file or in shards. What
// the configuration means is the models' affair.

/// The weights of a model on disk, mapped and read when used.
public struct Checkpoint: Sendable {
    public let folder: String
    /// `config.json` as it was read.
    public let configurationJSON: JSONValue
    /// Every tensor's name, in the order of the files.
    public let names: [String]
    private let files: [SafetensorsFile]
    private let places: [UTF8Key: Int]

    /// Opens a folder: `config.json`, and `model.safetensors` or `model.safetensors.index.json` with its
    /// shards. Headers are checked at once; weights are read when they are used.
    /// - Throws: ``CheckpointError`` naming the file, the missing shard or the missing tensor.
    public init(_ folder: String) throws(CheckpointError) {
        self.folder = folder
        configurationJSON = try FileSystem.readJSON(folder + "/config.json")
        let single = folder + "/model.safetensors"
        let index = folder + "/model.safetensors.index.json"
        if FileSystem.exists(single) {
            let file = try SafetensorsFile(single)
            files = [file]
            names = file.names
            places = Dictionary(uniqueKeysWithValues: names.map { (UTF8Key($0), 0) })
        } else if FileSystem.exists(index) {
            (files, names, places) = try Self.readShards(index, in: folder)
        } else {
            for pickle in ["pytorch_model.bin", "pytorch_model.bin.index.json"]
            where FileSystem.exists(folder + "/" + pickle) {
                throw CheckpointError(.pickle(pickle), path: folder)
            }
            throw CheckpointError(.noWeights, path: folder)
        }
    }

    private static func readShards(
        _ index: String, in folder: String
    ) throws(CheckpointError) -> ([SafetensorsFile], [String], [UTF8Key: Int]) {
        guard
            let map = try FileSystem.readJSON(index, duplicateKeys: .refused)["weight_map"]?.object
        else { throw CheckpointError(.malformedIndex("it has no weight_map"), path: index) }
        var files: [SafetensorsFile] = []
        var numbers: [UTF8Key: Int] = [:]
        var names: [String] = []
        var places: [UTF8Key: Int] = [:]
        for (name, value) in map.entries {
            guard let shard = value.string, !shard.isEmpty, !shard.utf8.contains(UInt8(ascii: "/")),
                !shard.utf8.contains(0)
            else {
                throw CheckpointError(
                    .malformedIndex("\"\(name)\" must name a file of the same folder"), path: index)
            }
            let number: Int
            if let known = numbers[UTF8Key(shard)] {
                number = known
            } else {
                let path = folder + "/" + shard
                guard FileSystem.exists(path) else {
                    throw CheckpointError(.missingShard(shard: shard, tensor: name), path: folder)
                }
                number = files.count
                files.append(try SafetensorsFile(path))
                numbers[UTF8Key(shard)] = number
            }
            guard files[number].entry(name) != nil else {
                throw CheckpointError(.missingTensor(name: name), path: files[number].path)
            }
            names.append(name)
            places[UTF8Key(name)] = number
        }
        return (files, names, places)
    }

    /// Whether there is a tensor of that name.
    public func contains(_ name: String) -> Bool { places[UTF8Key(name)] != nil }

    /// What the header says of a tensor; `nil` where there is none of that name.
    public func entry(_ name: String) -> SafetensorsFile.Entry? {
        places[UTF8Key(name)].flatMap { files[$0].entry(name) }
    }

    /// A tensor as a window on its file.
    /// - Throws: ``CheckpointError`` with reason `.missingTensor` or `.unsupportedDType`.
    public func tensor(_ name: String) throws(CheckpointError) -> Tensor {
        guard let place = places[UTF8Key(name)] else {
            throw CheckpointError(.missingTensor(name: name), path: folder)
        }
        return try files[place].tensor(name)
    }

    /// Asks the system to begin reading a tensor's bytes.
    public func prefetch(_ name: String) {
        if let place = places[UTF8Key(name)] { files[place].prefetch(name) }
    }

    /// The files that hold the weights.
    public var weightFiles: [String] { files.map(\.path) }
}
