#!/usr/bin/env python3
"""What recording costs a training step: blocks of steps with and without it, in turn, within one process on one training.

The cell trains the miniature world's smallest base over and over. Of each two blocks of steps one calls `run.record(step)`
after each step (loss and gradient norm) and ends with `run.flush()`, so that all it makes the recorder do falls into its own
time; which of the two comes first changes (A B B A). For each block the cell takes the wall clock and the processor time of
both processes, its own and the recorder's (/proc/PID/task/*/schedstat, in nanoseconds). Processor time hardly depends on what else the
machine does; the wall clock does, so of it the median of the pairs' ratios is given, with the interval in which the true
median lies in 95 of 100 cases (order statistics). The first pair warms and is left out. The last lines need no difference of large numbers:
how long the cell's own calls took, and what the recorder worked, as if the two came one after the other and delayed the step whole.

    Benchmarks/runner/recording.py [--pairs 30] [--block 40] [--scale 0.2]
"""
import argparse, json, math, pathlib, re, shutil, statistics, subprocess, sys, tempfile

root = pathlib.Path(__file__).resolve().parent.parent.parent
study = root / ".build/release/study"
text = """---
seed: 1
params: {pairs: 30, block: 40, scale: 0.2}
---
```swift
import Foundation
let run = Run.current
let recipe = MiniatureRecipe(scale: params.scale)

/// Nanoseconds that all threads of a process have run.
func ran(_ process: Int32) -> Double {
    let folder = "/proc/\\(process)/task"
    return ((try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []).reduce(0) { sum, thread in
        let text = (try? String(contentsOfFile: "\\(folder)/\\(thread)/schedstat", encoding: .utf8)) ?? ""
        return sum + (text.split(separator: " ").first.flatMap { Double($0) } ?? 0)
    }
}
struct Moment {
    var wall = 0.0, own = 0.0, recorder = 0.0
    static func now() -> Moment {
        var time = timespec()
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
        let own = Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
        clock_gettime(CLOCK_MONOTONIC, &time)
        return Moment(wall: Double(time.tv_sec) * 1e9 + Double(time.tv_nsec), own: own, recorder: ran(getppid()))
    }
}
func wall() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) * 1e9 + Double(time.tv_nsec)
}
struct Enough: Error {}

var block = 0, inBlock = 0
var inCalls = 0.0
var start = Moment.now()
/// Of blocks 0, 1, 2, 3 the first and the last are recorded.
func isRecorded(_ block: Int) -> Bool { block % 4 == 0 || block % 4 == 3 }
do {
    while true {
        var random = run.random("base")
        _ = try recipe.base(.llama, using: &random) { step in
            if isRecorded(block) {
                let before = wall()
                run.record(step, arm: "base")
                inCalls += wall() - before
            }
            inBlock += 1
            guard inBlock == params.block else { return }
            if isRecorded(block) {
                let before = wall()
                run.flush()
                inCalls += wall() - before
            }
            let end = Moment.now()
            run.note("block \\(isRecorded(block)) \\(end.wall - start.wall) \\(end.own - start.own) \\(end.recorder - start.recorder) \\(inCalls)")
            block += 1
            inCalls = 0
            inBlock = 0
            if block == 2 * params.pairs { throw Enough() }
            start = Moment.now()
        }
    }
} catch is Enough {}
```
"""


def interval(values):
    """The median, and the order statistics around it that hold the true one in at least 95 of 100 cases."""
    values = sorted(values)
    n = len(values)
    low, tail = 0, 0.0
    while low < n // 2 and tail + math.comb(n, low) / 2**n <= 0.025:
        tail += math.comb(n, low) / 2**n
        low += 1
    low = max(0, low - 1)
    return statistics.median(values), values[low], values[n - 1 - low]


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--pairs", type=int, default=30)
    options.add_argument("--block", type=int, default=40)
    options.add_argument("--scale", type=float, default=0.2)
    options = options.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="recording-bench-"))
    (work / "train.md").write_text(text)
    done = subprocess.run(
        [study, "run", "train.md", "--json", "-p", f"pairs={options.pairs + 1}", "-p", f"block={options.block}",
         "-p", f"scale={options.scale}"], cwd=work, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    blocks = [
        (words[0] == "true", *(float(w) / options.block / 1e6 for w in words[1:]))
        for words in (found.split() for found in re.findall(r"block ((?:true|false)(?: [\d.e+-]+){4})", done.stderr))
    ]
    if done.returncode != 0 or len(blocks) != 2 * options.pairs + 2:
        sys.exit(done.stdout + done.stderr)
    shutil.rmtree(work)
    # A recorded block and the one beside it: (recorded, not recorded), each (wall, own, recorder, in calls) in ms a step.
    pairs = [sorted(blocks[i : i + 2], key=lambda b: not b[0]) for i in range(2, len(blocks), 2)]
    without = statistics.median(b[1] for _, b in pairs)
    processor = [(a[2] + a[3]) - (b[2] + b[3]) for a, b in pairs]
    base = statistics.median(b[2] + b[3] for _, b in pairs)
    wall, wall_low, wall_high = interval([100 * (a[1] / b[1] - 1) for a, b in pairs])
    added, added_low, added_high = interval([100 * p / base for p in processor])
    calls = statistics.median(a[4] for a, _ in pairs)
    recorder = statistics.median(a[3] - b[3] for a, b in pairs)
    print(json.dumps({
        "pairs": options.pairs, "steps a block": options.block,
        "ms a step without": round(without, 4),
        "ms a step with": round(statistics.median(a[1] for a, _ in pairs), 4),
        "wall clock: % added, median of pairs": round(wall, 3), "in 95 %": [round(wall_low, 3), round(wall_high, 3)],
        "processor ms a step without, both processes": round(base, 4),
        "processor: % added, median of pairs": round(added, 3), "of 95 %": [round(added_low, 3), round(added_high, 3)],
        "µs a step within record() and flush()": round(1000 * calls, 2),
        "processor µs a step added in the recorder": round(1000 * recorder, 2),
        "% of a step, both one after the other": round(100 * (calls + recorder) / without, 3),
    }, indent=1, ensure_ascii=False))


if __name__ == "__main__":
    main()
