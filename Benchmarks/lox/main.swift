// Our side of the LoX benchmark: holds one pair of weights, and decomposes or extrapolates it each
// time a line arrives, so that the script that drives it can take turns with the peers.

import Engine
import Glibc

func seconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}

/// The largest resident memory of this process so far, in bytes; file pages that are mapped count.
func peakMemory() -> Int {
    var usage = rusage()
    getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
    return usage.ru_maxrss * 1024
}

let arguments = CommandLine.arguments
if arguments.count == 6, arguments[1] == "folder", let rank = Int(arguments[5]) {
    // folder ALIGNED BASE OUTPUT RANK: a whole checkpoint.
    let start = seconds()
    var passes = 0
    var worst = 0.0
    let records = try LoX.extrapolate(
        checkpoint: arguments[2], from: arguments[3], to: arguments[4], rank: rank,
        coefficient: 1.25
    ) { record in
        passes += record.passes
        worst = max(worst, record.relativeResidual)
    }
    print(
        "{\"seconds\": \(seconds() - start), \"weights\": \(records.count), "
            + "\"passes\": \(passes), \"residual\": \(worst), "
            + "\"flagged\": \(records.filter(\.isIllDetermined).count), "
            + "\"peakBytes\": \(peakMemory()), \"threads\": \(threadCount), "
            + "\"kernels\": \"\(kernelSetName)\"}")
    exit(0)
}
guard arguments.count == 4, let rank = Int(arguments[3]) else {
    print("usage: lox-bench BASE.safetensors ALIGNED.safetensors RANK")
    print("       lox-bench folder ALIGNED BASE OUTPUT RANK")
    exit(2)
}
let base = try SafetensorsFile(arguments[1])
let aligned = try SafetensorsFile(arguments[2])
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
