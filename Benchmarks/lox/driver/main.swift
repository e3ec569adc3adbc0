// Our side of the LoX benchmark: holds one pair of weights, and decomposes or extrapolates it each
// time a line arrives, so that the script that drives it can take turns with the peers.

import Engine
import Glibc

func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}

guard CommandLine.arguments.count == 4, let rank = Int(CommandLine.arguments[3]) else {
    print("usage: lox-benchmark BASE.safetensors ALIGNED.safetensors RANK")
    exit(2)
}
let base = try SafetensorsFile(CommandLine.arguments[1])
let aligned = try SafetensorsFile(CommandLine.arguments[2])
print("{\"kernels\": \"\(kernelSetName)\", \"threads\": \(threadCount)}")
fflush(nil)
while let line = readLine() {
    let words = line.split(separator: " ").map(String.init)
    guard words.count == 2 else { break }
    let (before, after) = (try base.tensor(words[1]), try aligned.tensor(words[1]))
    let start = seconds()
    switch words[0] {
    case "decompose":
        let delta = try LoX.decompose(aligned: after, base: before, rank: rank)
        let time = seconds() - start
        print(
            "{\"seconds\": \(time), \"residual\": \(delta.relativeResidual), "
                + "\"passes\": \(delta.passes), \"gap\": \(delta.gapRatio), "
                + "\"values\": \(delta.singularValues)}")
    case "extrapolate":
        let result = try LoX.extrapolate(
            aligned: after, base: before, rank: rank, coefficient: 1.25)
        print("{\"seconds\": \(seconds() - start), \"bytes\": \(result.byteCount)}")
    default:
        print("{\"error\": \"unknown command\"}")
    }
    fflush(nil)
}
