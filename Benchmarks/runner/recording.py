#!/usr/bin/env python3
"""What recording costs a training step: the same training with and without it, in turn.

Each round trains the miniature world's smallest base twice, once with `run.record(step)` after each step (loss and
gradient norm, into a durable ledger) and once without; the cell times its own loop. Prints the medians and the
paired ratios.

    Benchmarks/runner/recording.py [--rounds 7] [--scale 0.2]
"""
import argparse, json, pathlib, re, statistics, subprocess, sys, tempfile

root = pathlib.Path(__file__).resolve().parent.parent.parent
study = root / ".build/release/study"
text = """---
seed: 1
params: {record: true, scale: 0.2}
---
```swift
let run = Run.current
let recipe = MiniatureRecipe(scale: params.scale)
var random = run.random("base")
var steps = 0
let clock = ContinuousClock()
let began = clock.now
_ = try recipe.base(.llama, using: &random) { step in
    steps += 1
    if params.record { run.record(step, arm: "base") }
}
run.note("seconds \\(began.duration(to: clock.now) / .seconds(1)) steps \\(steps)")
```
"""


def once(work, record, scale):
    done = subprocess.run(
        [study, "run", "train.md", "--json", "-p", f"record={record}", "-p", f"scale={scale}"], cwd=work,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    found = re.search(r"seconds ([0-9.e-]+) steps (\d+)", done.stderr)
    if done.returncode != 0 or not found:
        sys.exit(done.stdout + done.stderr)
    return float(found[1]), int(found[2])


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--scale", type=float, default=0.2)
    options = options.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="recording-bench-"))
    (work / "train.md").write_text(text)
    once(work, "true", options.scale)  # compiles, and warms
    pairs = [[], []]
    for number in range(options.rounds):
        # Who goes first changes, so that neither is always the warmer one.
        for side in ([0, 1] if number % 2 == 0 else [1, 0]):
            seconds, steps = once(work, "false" if side == 0 else "true", options.scale)
            pairs[side].append(seconds)
    ratios = [with_ / without for without, with_ in zip(*pairs)]
    print(json.dumps({
        "steps": steps, "rounds": options.rounds,
        "ms a step without": 1000 * statistics.median(pairs[0]) / steps,
        "ms a step with": 1000 * statistics.median(pairs[1]) / steps,
        "ratio, median": statistics.median(ratios), "ratio, all": [round(r, 4) for r in ratios],
    }, indent=1))


if __name__ == "__main__":
    main()
