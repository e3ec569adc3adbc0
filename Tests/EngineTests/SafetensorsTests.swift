import Engine
import Testing

@Suite struct `safetensors` {
    /// A file with the given header and data.
    static func file(_ header: String, data: [UInt8] = [], length: UInt64? = nil) -> [UInt8] {
        let count = length ?? UInt64(header.utf8.count)
        return withUnsafeBytes(of: count.littleEndian) { Array($0) } + Array(header.utf8) + data
    }

    /// The reason for which a file is refused.
    static func refusal(_ bytes: [UInt8]) throws -> CheckpointError.Reason? {
        try withTemporaryFolder { folder in
            let path = folder + "/x.safetensors"
            try writeFile(bytes, path)
            do throws(CheckpointError) {
                _ = try SafetensorsFile(path)
                return nil
            } catch { return error.reason }
        }
    }

    @Test(arguments: ["empty", "one", "kinds", "bf16"])
    func `writes the bytes of the reference writer`(name: String) throws {
        let path = fixture("safetensors/\(name).safetensors")  // made by safetensors/make.py
        let file = try SafetensorsFile(path)
        try withTemporaryFolder { folder in
            let copy = folder + "/copy.safetensors"
            var writer = try SafetensorsWriter(
                file.entries.shuffled().map {
                    .init(name: $0.name, dtype: $0.dtype!, shape: $0.shape)
                },
                metadata: Dictionary(
                    uniqueKeysWithValues: file.metadata.map { ($0.key, $0.value) }),
                to: copy)
            for name in file.names.reversed() { try writer.write(file.tensor(name), as: name) }
            try writer.finish()
            #expect(try fileBytes(copy) == fileBytes(path))
        }
    }

    @Test func `reads every type, scalars and empty tensors`() throws {
        let file = try SafetensorsFile(fixture("safetensors/kinds.safetensors"))
        #expect(file.metadata.map(\.key) == ["format"])
        #expect(try file.tensor("scalar").shape == [])
        #expect(try file.tensor("scalar").withUnsafeFloats { Array($0) } == [2.5])
        #expect(try file.tensor("Zz.i8").shape == [0, 6])
        #expect(try file.tensor("i64.weight").withUnsafeBytes { $0[8] } == 1)
        for (name, dtype) in [("f64", DType.f64), ("f16", .f16), ("i16", .i16), ("bool", .bool)] {
            #expect(try file.tensor(name + ".weight").dtype == dtype)
        }
    }

    @Test func `tells canonically equivalent names apart`() throws {
        let file = try SafetensorsFile(fixture("safetensors/kinds.safetensors"))
        #expect(try file.tensor("caf\u{e9}").withUnsafeFloats { $0[0] } == 1)
        #expect(try file.tensor("cafe\u{301}").withUnsafeFloats { $0[0] } == 0)
    }

    @Test func `a tensor outlives its file, and writing it leaves the file as it was`() throws {
        try withTemporaryFolder { folder in
            let path = folder + "/x.safetensors"
            try Safetensors.write(["w": Tensor([1, 2, 3], shape: [3])], to: path)
            var tensor = try SafetensorsFile(path).tensor("w")
            tensor.withUnsafeMutableFloats { $0[0] = 9 }
            #expect(tensor.withUnsafeFloats { Array($0) } == [9, 2, 3])
            #expect(try SafetensorsFile(path).tensor("w").withUnsafeFloats { $0[0] } == 1)
        }
    }

    @Test func `a tensor that is not aligned reads the same`() throws {
        let header =
            #"{"b":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"#
            + #""w":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}}"#
        try withTemporaryFolder { folder in
            try writeFile(Self.file(header, data: [7, 0, 0, 0x80, 0x3F]), folder + "/x")
            let tensor = try SafetensorsFile(folder + "/x").tensor("w")
            #expect(tensor.withUnsafeFloats { Array($0) } == [1])
        }
    }

    @Test func `accepts padding after the header and types it cannot compute with`() throws {
        let header = #"{"q":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]}}      "#
        try withTemporaryFolder { folder in
            try writeFile(Self.file(header, data: [1, 2]), folder + "/x")
            let file = try SafetensorsFile(folder + "/x")
            #expect(file.entry("q")?.dtypeName == "F8_E4M3")
            let error = #expect(throws: CheckpointError.self) { try file.tensor("q") }
            #expect(error?.reason == .unsupportedDType(name: "q", dtype: "F8_E4M3"))
        }
    }

    @Test func `takes numbers as they are, NaN and infinity among them, little end first`() throws {
        let header = #"{"w":{"dtype":"F32","shape":[3],"data_offsets":[0,12]}}"#
        try withTemporaryFolder { folder in
            try writeFile(
                Self.file(header, data: [0, 0, 0xC0, 0x7F, 0, 0, 0x80, 0xFF, 0, 0, 0x20, 0x41]),
                folder + "/x")
            let values = try SafetensorsFile(folder + "/x").tensor("w").values
            #expect(values[0].isNaN && values[1] == -.infinity && values[2] == 10)
        }
    }

    // MARK: Hostile files

    static func entry(_ name: String, _ from: Int, _ to: Int, shape: String = "[1]") -> String {
        #""\#(name)":{"dtype":"F32","shape":\#(shape),"data_offsets":[\#(from),\#(to)]}"#
    }
    static let four = [UInt8](repeating: 0, count: 4)
    static let eight = [UInt8](repeating: 0, count: 8)

    @Test func `refuses files cut short anywhere`() throws {
        let whole = try fileBytes(fixture("safetensors/kinds.safetensors"))
        for count in stride(from: 0, to: whole.count, by: 7) {
            let reason = try Self.refusal(Array(whole[..<count]))
            guard case .truncated(_, let found)? = reason else {
                Issue.record("\(count) bytes: \(String(describing: reason))")
                continue
            }
            #expect(found == count)
        }
    }

    @Test func `refuses bytes after the last tensor`() throws {
        let header = "{\(Self.entry("a", 0, 4))}"
        #expect(
            try Self.refusal(Self.file(header, data: Self.eight))
                == .trailingBytes(
                    expected: 8 + header.utf8.count + 4, found: 16 + header.utf8.count))
    }

    @Test func `refuses a header longer than the format allows, before reading it`() throws {
        #expect(
            try Self.refusal(Self.file("{}", length: 100_000_001)) == .headerTooLong(100_000_001))
        #expect(try Self.refusal(Self.file("{}", length: .max)) == .headerTooLong(.max))
        #expect(
            try Self.refusal(Self.file("{}", length: 100_000_000))
                == .truncated(expected: 100_000_008, found: 10))
    }

    @Test func `refuses overlap and holes`() throws {
        let overlap = "{\(Self.entry("a", 0, 4)),\(Self.entry("b", 2, 6))}"
        #expect(
            try Self.refusal(Self.file(overlap, data: Self.eight))
                == .overlap(name: "b", previous: "a"))
        let same = "{\(Self.entry("a", 0, 4)),\(Self.entry("b", 0, 4))}"
        guard case .overlap? = try Self.refusal(Self.file(same, data: Self.four)) else {
            Issue.record("two tensors on the same bytes were accepted")
            return
        }
        let hole = "{\(Self.entry("a", 0, 4)),\(Self.entry("b", 8, 12))}"
        #expect(
            try Self.refusal(Self.file(hole, data: Self.eight + Self.four))
                == .hole(name: "b", from: 4, to: 8))
        let late = "{\(Self.entry("a", 4, 8))}"
        #expect(
            try Self.refusal(Self.file(late, data: Self.eight)) == .hole(name: "a", from: 0, to: 4))
    }

    @Test func `refuses sizes that disagree with shape and type`() throws {
        let header = "{\(Self.entry("a", 0, 4, shape: "[2]"))}"
        #expect(
            try Self.refusal(Self.file(header, data: Self.four))
                == .sizeMismatch(name: "a", expected: 8, found: 4))
        let empty = "{\(Self.entry("a", 0, 4, shape: "[0,7]"))}"
        #expect(
            try Self.refusal(Self.file(empty, data: Self.four))
                == .sizeMismatch(name: "a", expected: 0, found: 4))
    }

    @Test func `refuses repeated names and fields`() throws {
        let twice = "{\(Self.entry("a", 0, 4)),\(Self.entry("a", 4, 8))}"
        guard
            case .headerNotJSON(_, "the key \"a\" is repeated")? =
                try Self.refusal(Self.file(twice, data: Self.eight))
        else {
            Issue.record("a repeated name was accepted")
            return
        }
        let field = #"{"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}"#
        guard case .headerNotJSON? = try Self.refusal(Self.file(field, data: Self.four)) else {
            Issue.record("a repeated field was accepted")
            return
        }
    }

    @Test(arguments: [
        (#"{"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}}"#, "unknownDType"),
        (#"{"a":{"dtype":7,"shape":[1],"data_offsets":[0,4]}}"#, "dtype must be a string"),
        (#"{"a":{"shape":[1],"data_offsets":[0,4]}}"#, "dtype must be a string"),
        (#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, "non-negative"),
        (#"{"a":{"dtype":"F32","shape":[1.0],"data_offsets":[0,4]}}"#, "non-negative"),
        (#"{"a":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}"#, "shape must be an array"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}"#, "non-negative"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}"#, "run backwards"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}"#, "two numbers"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}"#, "two numbers"),
        (#"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"extra":1}}"#, "unknown field"),
        (
            #"{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}"#,
            "overflows"
        ),
        (#"{"a":{"dtype":"F64","shape":[4611686018427387904],"data_offsets":[0,4]}}"#, "overflows"),
        (#"{"a":{"dtype":"U8","shape":[4],"data_offsets":[0,9223372036854775807]}}"#, "overflow"),
        (
            #"{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551615]}}"#,
            "non-negative"
        ),
        (#"{"a":{"dtype":"F4","shape":[7],"data_offsets":[0,4]}}"#, "do not fill whole bytes"),
        (#"{"a":[1,2]}"#, "must be an object"),
        (#"{"__metadata__":{"n":1}}"#, "must be a string"),
        (#"{"__metadata__":[]}"#, "must be an object"),
        (#"[1]"#, "headerNotObject"),
        (#" {}"#, "headerNotObject"),
        (#"{"a":}"#, "headerNotJSON"),
        (#"{} x"#, "headerNotJSON"),
        ("", "headerNotObject"),
    ])
    func `refuses a malformed header by name`(header: String, expected: String) throws {
        let reason = try #require(try Self.refusal(Self.file(header, data: Self.four)))
        #expect("\(reason)".contains(expected))
    }

    @Test func `refuses a header that is not UTF-8`() throws {
        var bytes = Self.file("{\(Self.entry("a", 0, 4))}", data: Self.four)
        bytes[10] = 0xFF
        #expect(
            try Self.refusal(bytes)
                == .headerNotJSON(offset: 1, message: "a string is not valid UTF-8"))
    }

    @Test func `flipping any bit of a header is refused or leaves a well-formed file`() throws {
        let whole = try fileBytes(fixture("safetensors/bf16.safetensors"))
        for index in 0..<(whole.count - 12) {
            for bit in 0..<8 {
                var bytes = whole
                bytes[index] ^= 1 << UInt8(bit)
                _ = try Self.refusal(bytes)  // must not trap
            }
        }
    }

    @Test func `says what, where and how to mend it`() throws {
        let error = CheckpointError(.overlap(name: "b", previous: "a"), path: "m/model.safetensors")
        #expect(
            error.description == """
                The tensors "a" and "b" overlap.
                  where: m/model.safetensors
                  mend:  write the file again with the safetensors library, or fetch it again.
                """)
        let missing = #expect(throws: CheckpointError.self) { try SafetensorsFile("/no/such") }
        #expect(
            missing?.description == """
                The file cannot be read: No such file or directory.
                  where: /no/such
                  mend:  check the path and the permissions.
                """)
    }
}
