"""Breaks the world under a real `study run` at random moments, and looks at the ledger each time: whole, every acknowledged metric
there, no status that lies, the next run works. `python3 Benchmarks/ledger/breakage.py [kill N] [fill N] [power N] [readonly N]`
(default: kill 200, fill 50, power 20, readonly 10). Filling a file system and making files immutable need root.

The study records metrics in a loop, flushes after each 200 and notes in a file of its own when it was told that they are on record.
kill: the recorder, the kernel or both get SIGKILL. fill: the ledger's file system has room for a random number of bytes more.
power: every write that was not synced is dropped (powercut.c). readonly: the ledger's files become immutable in mid-run (ext4)."""

import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
STUDY = next(p for p in (ROOT / ".build" / c / "study" for c in ("release", "debug")) if p.exists())

HEAVY = """---
title: Metrics without end
---
```swift
//| id: record
import Glibc
let run = Run.current
let acks = open(String(cString: getenv("ACKS")), O_WRONLY | O_CREAT | O_APPEND, 0o644)
let last = Int(String(cString: getenv("LAST")))!
var step = 0
while step < last {
    for _ in 0..<200 {
        run.record("loss", 1 / Double(step + 1), step: step)
        run.record("norm", Double(step), step: step, arm: "b")
        step += 1
    }
    run.flush()
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    let line = Array("\\(step) \\(Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9)\\n".utf8)
    _ = write(acks, line, line.count)
}
```
"""


class Place:
    """A folder with the study, compiled once; its ledger on a file system of its own where `size` is given."""

    def __init__(self, mounted=False):
        self.folder = Path(tempfile.mkdtemp(prefix="ledger-breakage-"))
        self.mounted = mounted
        if mounted:
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", self.folder], check=True)
        (self.folder / "heavy.md").write_text(HEAVY)
        self.acks = Path(tempfile.mkdtemp(prefix="ledger-acks-"))
        assert self.run(200).wait() == 0, "the study does not run"

    def run(self, last, **more):
        (self.acks / "acks").unlink(missing_ok=True)
        environment = os.environ | {"ACKS": str(self.acks / "acks"), "LAST": str(last)} | more
        self.out = open(self.acks / "out", "w+")
        return subprocess.Popen(
            [STUDY, "run", "heavy.md"], cwd=self.folder, env=environment, stdout=self.out, stderr=subprocess.STDOUT
        )

    def said(self):
        return (self.acks / "out").read_text()

    def acknowledged(self):
        """(steps, time) of every whole line."""
        try:
            lines = (self.acks / "acks").read_text().split("\n")[:-1]
        except FileNotFoundError:
            return []
        return [(int(a), float(b)) for a, b in (line.split() for line in lines)]

    def remount(self, options):
        subprocess.run(["mount", "-o", "remount," + options, self.folder], check=True)

    def newest(self):
        out = subprocess.run([STUDY, "list", "--json", "--limit", "1"], cwd=self.folder, capture_output=True, text=True)
        assert out.returncode == 0, out.stderr
        return json.loads(out.stdout.splitlines()[-1])["runs"][0]

    def check(self, what, least, statuses, run=None):
        """The ledger is whole, the newest run has at least `least` points in each series and an honest status."""
        db = sqlite3.connect(self.folder / ".study" / "ledger.sqlite")
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",), f"{what}: damaged"
        number, name = db.execute("SELECT number, id FROM run ORDER BY number DESC LIMIT 1").fetchone()
        counts = [
            c for (c,) in db.execute(
                "SELECT count(*) FROM point p JOIN series s ON s.id = p.series WHERE s.run = ? GROUP BY s.id", (number,))
        ]
        db.close()
        if least:
            assert len(counts) == 2 and min(counts) >= least, f"{what}: {least} acknowledged, {counts} there"
        status = self.newest()["status"]
        assert status in statuses, f"{what}: {status} is not one of {statuses}"
        return status

    def close(self):
        if self.mounted:
            subprocess.run(["umount", "-l", self.folder], check=True)
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self.acks, ignore_errors=True)


def children(pid):
    found = []
    for thread in Path(f"/proc/{pid}/task").glob("*/children"):  # a child belongs to the thread that started it
        try:
            found += [int(c) for c in thread.read_text().split()]
        except FileNotFoundError:
            pass
    return found


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def kill(rounds, chance):
    place, tally, kept = Place(), {}, 0
    for turn in range(rounds):
        recorder = place.run(10**9)
        time.sleep(chance.uniform(0.005, 0.5))
        kernels = children(recorder.pid)
        target = chance.choice(["recorder", "kernel", "both"])
        if not kernels:
            target = "recorder"
        for pid in {"recorder": [recorder.pid], "kernel": kernels, "both": kernels + [recorder.pid]}[target]:
            os.kill(pid, signal.SIGKILL)
        recorder.wait()
        for _ in range(100):  # a kernel whose recorder has gone ends by itself
            if not any(alive(pid) for pid in kernels):
                break
            time.sleep(0.05)
        else:
            raise AssertionError(f"round {turn}: a kernel outlives its recorder")
        acknowledged = place.acknowledged()
        least = acknowledged[-1][0] if acknowledged else 0
        kept += least
        # With the kernel gone first, the recorder may have the time to say so.
        statuses = {"recorder": ["lost"], "kernel": ["failed"], "both": ["lost", "failed"]}[target]
        # Killed before the run's row was written, the newest run is the one before.
        before = [] if acknowledged else ["succeeded", "lost", "failed"]
        status = place.check(f"round {turn}, {target}", least, statuses + before)
        tally[f"{target}: {status}"] = tally.get(f"{target}: {status}", 0) + 1
    assert place.run(200).wait() == 0, place.said()
    assert place.newest()["status"] == "succeeded"
    place.close()
    print(f"kill: {rounds} rounds, {kept} acknowledged steps all there, {tally}, the next run works")


def fill(rounds, chance):
    tally = {}
    place = Place(mounted=True)
    for turn in range(rounds):
        place.remount("size=256m")
        used = int(subprocess.run(["df", "--output=used", "-k", place.folder], capture_output=True, text=True).stdout.split()[1])
        room = chance.randrange(64, 12000)
        place.remount(f"size={used + room}k")
        status = place.run(10**9).wait()
        words = place.said()
        assert status == 1, f"round {turn}, {room} KiB: status {status}\n{words}"
        named = "disk is full" in words or "No space left" in words
        assert named and "mend:" in words, f"round {turn}, {room} KiB: not named\n{words}"
        acknowledged = place.acknowledged()
        place.remount("size=512m")
        found = place.check(
            f"round {turn}, {room} KiB", acknowledged[-1][0] if acknowledged else 0,
            ["failed", "lost"] + ([] if acknowledged else ["succeeded"]))
        tally[found] = tally.get(found, 0) + 1
        if turn % 10 == 9:  # keep the file system small
            assert place.run(200).wait() == 0, place.said()
            place.close()
            place = Place(mounted=True)
    assert place.run(200).wait() == 0, place.said()
    place.close()
    print(f"fill: {rounds} rounds, one clear error each, {tally}, the next run works")


def readonly(rounds, chance):
    tally = {}
    for turn in range(rounds):
        place = Place()
        files = [place.folder / ".study" / name for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm")]
        recorder = place.run(10**9)
        time.sleep(chance.uniform(0.05, 0.6))
        frozen = [file for file in files if file.exists()]
        subprocess.run(["chattr", "+i", *frozen], check=True)  # holds for files that are open, too
        try:
            status = recorder.wait(timeout=30)
        finally:
            subprocess.run(["chattr", "-i", *frozen], check=True)
        words = place.said()
        assert status == 1 and "mend:" in words and ".study" in words, f"round {turn}: status {status}, not named\n{words}"
        acknowledged = place.acknowledged()
        found = place.check(
            f"round {turn}", acknowledged[-1][0] if acknowledged else 0,
            ["failed", "lost"] + ([] if acknowledged else ["succeeded"]))
        tally[found] = tally.get(found, 0) + 1
        assert place.run(200).wait() == 0, place.said()
        place.close()
    print(f"readonly: {rounds} rounds, one clear error each, {tally}, the next run works")


def power(rounds, chance):
    work = Path(tempfile.mkdtemp(prefix="ledger-power-"))
    shim = work / "powercut.so"
    subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", shim, Path(__file__).with_name("powercut.c"), "-ldl"], check=True)
    worst, lost = 0.0, 0
    for turn in range(rounds):
        place = Place()
        kept = work / f"kept{turn}"
        kept.mkdir()
        ledger = place.folder / ".study"
        for name in ("ledger.sqlite", "ledger.sqlite-wal"):  # what lay there before is on the disk
            if (ledger / name).exists():
                shutil.copy(ledger / name, kept / name)
        recorder = place.run(10**9, LD_PRELOAD=str(shim), POWERCUT=str(kept))
        time.sleep(chance.uniform(0.8, 3))
        kernels = children(recorder.pid)
        for pid in [recorder.pid, *kernels]:
            os.kill(pid, signal.SIGKILL)
        recorder.wait()
        cut = time.monotonic()
        acknowledged = place.acknowledged()
        for name in ("ledger.sqlite", "ledger.sqlite-wal", "ledger.sqlite-shm"):
            (ledger / name).unlink(missing_ok=True)
            if (kept / name).exists():
                shutil.copy(kept / name, ledger / name)
        # Whatever was acknowledged more than a second before the cut is there.
        old = [steps for steps, at in acknowledged if at < cut - 1]
        place.check(f"round {turn}", old[-1] if old else 0, ["lost", "succeeded"])
        db = sqlite3.connect(ledger / "ledger.sqlite")
        (there,) = db.execute(
            "SELECT count(*) FROM point p JOIN series s ON s.id = p.series WHERE s.name = 'loss' AND s.run = "
            "(SELECT max(number) FROM run)").fetchone()
        db.close()
        missing = [at for steps, at in acknowledged if steps > there]
        worst = max(worst, cut - missing[0] if missing else 0)
        lost += (acknowledged[-1][0] - there) if missing else 0
        assert place.run(200).wait() == 0, place.said()
        place.close()
    shutil.rmtree(work)
    print(f"power: {rounds} cuts, the ledger whole each time, at most {worst:.2f} s of acknowledged metrics lost ({lost} steps in all)")


def main():
    words = sys.argv[1:] or ["kill", "200", "fill", "50", "power", "20", "readonly", "10"]
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"seed {seed}", flush=True)
    for what, rounds in zip(words[::2], words[1::2]):
        globals()[what](int(rounds), random.Random(f"{seed} {what}"))
        sys.stdout.flush()


main()
