import Engine
import Foundation
import Testing

@Suite struct `A checkpoint` {
    static let single = fixture("models/llama-gqa-rope")
    static let sharded = fixture("models/llama-gqa-rope/sharded")

    @Test func `in shards holds what the single file holds`() throws {
        let one = try Checkpoint(Self.single)
        let many = try Checkpoint(Self.sharded)
        #expect(many.weightFiles.count == 3)
        #expect(Set(one.names) == Set(many.names))
        for name in one.names {
            let (left, right) = (try one.tensor(name), try many.tensor(name))
            #expect(left.shape == right.shape)
            #expect(left.withUnsafeBytes { Array($0) } == right.withUnsafeBytes { Array($0) })
        }
        #expect(one.configurationJSON["model_type"]?.string == "llama")
        #expect(one.entry("model.norm.weight")?.shape == [64])
        #expect(!one.contains("lm_head.weight"))
    }

    @Test func `names a missing shard and a missing tensor`() throws {
        try withTemporaryFolder { folder in
            let copy = folder + "/copy"
            try FileManager.default.copyItem(atPath: Self.sharded, toPath: copy)
            try FileManager.default.removeItem(
                atPath: copy + "/model-00002-of-00003.safetensors")
            let error = #expect(throws: CheckpointError.self) { try Checkpoint(copy) }
            guard case .missingShard("model-00002-of-00003.safetensors", _)? = error?.reason else {
                Issue.record("\(String(describing: error))")
                return
            }
        }
        let error = #expect(throws: CheckpointError.self) {
            try Checkpoint(Self.single).tensor("model.nonesuch")
        }
        #expect(error?.reason == .missingTensor(name: "model.nonesuch"))
    }

    @Test func `refuses an index that climbs out of its folder, or names a tensor its shard lacks`()
        throws
    {
        try withTemporaryFolder { folder in
            let copy = folder + "/copy"
            try FileManager.default.copyItem(atPath: Self.sharded, toPath: copy)
            let index = copy + "/model.safetensors.index.json"
            try writeFile(Array(#"{"weight_map":{"w":"../model.safetensors"}}"#.utf8), index)
            let climbing = #expect(throws: CheckpointError.self) { try Checkpoint(copy) }
            #expect(
                climbing?.reason == .malformedIndex(#""w" must name a file of the same folder"#))
            try writeFile(
                Array(#"{"weight_map":{"w":"model-00001-of-00003.safetensors"}}"#.utf8), index)
            let lacking = #expect(throws: CheckpointError.self) { try Checkpoint(copy) }
            #expect(lacking?.reason == .missingTensor(name: "w"))
            try writeFile(Array("{}".utf8), index)
            let empty = #expect(throws: CheckpointError.self) { try Checkpoint(copy) }
            #expect(empty?.reason == .malformedIndex("it has no weight_map"))
        }
    }

    @Test func `refuses pickles by name`() throws {
        try withTemporaryFolder { folder in
            try writeFile(Array("{}".utf8), folder + "/config.json")
            let bare = #expect(throws: CheckpointError.self) { try Checkpoint(folder) }
            #expect(bare?.reason == .noWeights)
            try writeFile([0x80, 2], folder + "/pytorch_model.bin")
            let error = #expect(throws: CheckpointError.self) { try Checkpoint(folder) }
            #expect(error?.reason == .pickle("pytorch_model.bin"))
        }
    }
}
