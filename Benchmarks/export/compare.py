#!/usr/bin/env python3
"""Export of 2 GB of adapters beside `tar --sort=name | zstd`, `sha256sum` and `sha512sum` one after the other; verify
beside the two sums; and the report of a run with a million metric points, as a user types it.

usage: Benchmarks/export/compare.py [--megabytes 2000] [--rounds 5] [--content f32|bf16|noise]
Needs the release build (`make build`), tar, zstd and coreutils. Everything is written below a temporary folder (TMPDIR) that
needs twice the size and is removed at the end. Rounds take turns: the peer, then ours. Before them all inputs are read once.
"""

import argparse
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers  # noqa: E402

ROOT = Path(__file__).resolve().parent.parent.parent
BUILD = ROOT / ".build" / "release"

STUDY = """---
title: A million points
---
```swift
let run = Run.current
for step in 0..<1_000_000 {
    run.record("loss", 1 / Double(step + 1) + Double(step &* 2_654_435_761 % 1000) / 1e4, step: step)
}
```
"""


def timed(command, **more):
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, **more)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{command}: status {done.returncode}\n{done.stdout[-500:]}{done.stderr[-500:]}")
    return seconds, done.stdout


def peak(output):
    """The peak of memory that export-bench prints, in MB."""
    return int(re.search(r"peak\s+(\d+) kB", output).group(1)) / 1000


def content(kind, megabytes):
    """A million bytes at a time. Noise does not shrink at all; trained weights behave as Gaussian numbers do, whose exponents
    alone are uneven: f32 by about 7 %, bf16 by a fifth."""
    if kind == "noise":
        for _ in range(megabytes):
            yield os.urandom(1_000_000)
        return
    import numpy

    random = numpy.random.default_rng(7)
    block = None
    for number in range(megabytes):
        # Drawn anew every 50 MB only: drawing takes longer than hashing, and zstd looks back 0.5 MB.
        if number % 50 == 0:
            block = (random.standard_normal(12_500_000, dtype=numpy.float32) * 0.02).tobytes()
            if kind == "bf16":
                block = numpy.frombuffer(block, dtype="<u2")[1::2].tobytes() * 2
        start = number % 50 * 1_000_000
        yield block[start : start + 1_000_000]


def archives(work, megabytes, rounds, kind):
    inputs = work / "in"
    shutil.rmtree(inputs, ignore_errors=True)
    files = []
    for number in range(4):
        folder = inputs / f"adapter-{number}"
        folder.mkdir(parents=True)
        files.append(str(folder / "adapter_model.safetensors"))
        with open(files[-1], "wb") as file:
            for block in content(kind, megabytes // 4):
                file.write(block)
    subprocess.run(["sync"], check=True)
    subprocess.run(["cat", *files], stdout=subprocess.DEVNULL, check=True)
    bench = str(BUILD / "export-bench")
    ours, theirs, verify, cold, sums, parts = [], [], [], [], [], []
    pack_memory, verify_memory, synced = [], [], []
    for _ in range(rounds):
        tar, _ = timed(f"tar --sort=name -C '{work}' -cf - in | zstd -q -T2 -f -o '{work}/peer.tar.zst'", shell=True)
        # Ours has its archive on the disk when it ends; tar and zstd leave that to the system.
        seconds, _ = timed(["sync", str(work / "peer.tar.zst")])
        synced.append(seconds)
        peer_bytes = (work / "peer.tar.zst").stat().st_size
        (work / "peer.tar.zst").unlink()
        sha256, _ = timed(["sha256sum", *files])
        sha512, _ = timed(["sha512sum", *files])
        theirs.append(tar + sha256 + sha512)
        sums.append(sha256 + sha512)
        parts.append((tar, sha256, sha512))
        seconds, output = timed([bench, "pack", str(work / "ours.tar.zst"), *files])
        ours.append(seconds)
        pack_memory.append(peak(output))
        # The archive was written past the page cache, so the first reading is from the disk; the sums' files were read before.
        seconds, _ = timed([bench, "verify", str(work / "ours.tar.zst")])
        cold.append(seconds)
        subprocess.run(["cat", str(work / "ours.tar.zst")], stdout=subprocess.DEVNULL, check=True)
        seconds, output = timed([bench, "verify", str(work / "ours.tar.zst")])
        if "whole" not in output:
            sys.exit(f"verify: {output}")
        verify.append(seconds)
        verify_memory.append(peak(output))
        own_bytes = (work / "ours.tar.zst").stat().st_size
        (work / "ours.tar.zst").unlink()
    peers.table(f"export of {megabytes} MB ({kind})", "s", [("tar | zstd -T2, sha256sum, sha512sum", theirs), ("ours", ours)])
    for name, values in zip(("tar | zstd", "sha256sum", "sha512sum"), zip(*parts)):
        print(f"    of which {name:<12} {statistics.median(values):.2f} s")
    print(f"    not counted: to sync the peer's archive {statistics.median(synced):.2f} s")
    print(f"    archives: {peer_bytes / 1e6:.0f} MB, ours {own_bytes / 1e6:.0f} MB")
    print(f"    ours: {megabytes / 1000 / statistics.median(ours):.2f} GB/s, {max(pack_memory):.0f} MB of memory at most")
    peers.table(f"verify of {megabytes} MB", "s", [("sha256sum, sha512sum", sums), ("ours, from the archive", verify), ("ours, from the disk", cold)])
    slower = [max(a, b) for _, a, b in parts]
    faster = [min(a, b) for _, a, b in parts]
    print(f"    of the two sums alone: the slower {statistics.median(slower):.2f} s, the faster {statistics.median(faster):.2f} s")
    print(f"    ours: {megabytes / 1000 / statistics.median(verify):.2f} GB/s, {max(verify_memory):.0f} MB of memory at most")


def report(work, rounds):
    study = str(BUILD / "study")
    (work / "million.md").write_text(STUDY)
    timed([study, "run", "million.md", "--ledger", str(work)], cwd=work)
    times = []
    for _ in range(rounds):
        seconds, _ = timed([study, "report", "@latest", "--ledger", str(work), "-o", "million.html"], cwd=work)
        times.append(seconds)
    size = (work / "million.html").stat().st_size
    peers.table("study report, 1,000,000 points", "s", [("whole command", times)])
    print(f"    {size / 1e6:.2f} MB of HTML")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--megabytes", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--content", choices=("noise", "f32", "bf16"), default="f32", help="f32 and bf16 need numpy")
    options = parser.parse_args()
    for tool in ("tar", "zstd", "sha256sum", "sha512sum"):
        if shutil.which(tool) is None:
            sys.exit(f"{tool} is not installed")
    print(peers.machine())
    with tempfile.TemporaryDirectory(prefix="study-export-") as name:
        work = Path(name)
        report(work, options.rounds)
        archives(work, options.megabytes, options.rounds, options.content)


if __name__ == "__main__":
    main()
