// What is not touched: the bytes of a checkpoint that nobody asks for, and libraries that nothing needs.

import Engine
import Foundation
import Testing

@Suite struct `What is not touched` {
    /// Two processes, the second's peak of resident memory its own. The file is a hole: nothing of it is on the disk.
    @Test func `a file of 64 GiB is opened, and an element of it read, in little memory`() async {
        defer { try? FileManager.default.removeItem(atPath: Self.path(getpid())) }
        await #expect(processExitsWith: .success) {
            let path = `What is not touched`.path(getppid())
            func peak() throws -> Int {
                let status = try String(contentsOfFile: "/proc/self/status", encoding: .utf8)
                let line = status.split(separator: "\n").first { $0.hasPrefix("VmHWM") }!
                return Int(line.split(separator: " ").dropFirst().first!)! << 10
            }
            let header =
                #"{"a":{"dtype":"F32","shape":[1048576,16384],"data_offsets":[0,68719476736]}}"#
            var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Array($0) }
            bytes += header.utf8
            try Data(bytes).write(to: URL(filePath: path))
            let handle = try FileHandle(forWritingTo: URL(filePath: path))
            try handle.truncate(atOffset: UInt64(bytes.count) + 1 << 36)
            try handle.close()
            let before = try peak()
            let file = try SafetensorsFile(path)
            let tensor = try file.tensor("a")
            precondition(tensor.shape == [1 << 20, 1 << 14])
            precondition(tensor.withUnsafeFloats { $0[$0.count / 2] } == 0)
            let risen = try peak() - before
            precondition(risen < 4 << 20, "\(risen >> 20) MiB more")
        }
    }

    fileprivate static func path(_ process: Int32) -> String {
        FileManager.default.temporaryDirectory.appending(path: "hole-\(process).safetensors").path(
            percentEncoded: false)
    }

    /// The small factorizations are the engine's own, so that they have the same bits everywhere.
    @Test func `LoX decomposes, extrapolates and measures without OpenBLAS`() async {
        await #expect(processExitsWith: .success) {
            let pair = PlantedPair(rows: 300, columns: 200) { 1 / Double($0 + 1) }
            for (aligned, base) in [
                (pair.aligned, pair.base), (pair.aligned.rows(40), pair.base.rows(40)),
            ] {
                let delta = try LoX.decompose(aligned: aligned, base: base, rank: 6)
                _ = try LoX.extrapolate(aligned, along: delta, coefficient: 1.25)
                _ = try RobustnessMetrics(
                    base: WeightSet(["lm_head.weight": base]),
                    aligned: WeightSet(["lm_head.weight": aligned]), rank: 6)
            }
            precondition(OpenBLAS.loaded == nil, "a library was loaded")
        }
    }
}

extension Tensor {
    /// The first rows of a matrix.
    fileprivate func rows(_ count: Int) -> Tensor {
        Tensor(
            withUnsafeFloats { Array($0[..<(count * shape[1])]) }, shape: [count, shape[1]])
    }
}
