"""The ledger beside MLflow on SQLite and DVC, in one run: metrics a second, one acknowledged metric, 16 writers, lists, start-up of a
run, an unchanged study beside an unchanged pipeline, hashing beside openssl. Medians of 7.
`python3 Benchmarks/ledger/compare.py [--quick] [metrics] [list] [start] [unchanged] [hash]` (all where none is named); wants `study` and
`ledger-drill` built in release. LEDGER_MANY names a folder for the large ledger, which is then kept and used again."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from peers import ROOT, install, machine, table  # noqa: E402

ROUNDS = 3 if "--quick" in sys.argv else 7
DRILL = ROOT / ".build" / "release" / "ledger-drill"
STUDY = ROOT / ".build" / "release" / "study"
PARTS = [a for a in sys.argv[1:] if not a.startswith("-")]

MLFLOW = """
import sys, time, json, logging
logging.disable(logging.CRITICAL)
from mlflow.tracking import MlflowClient
from mlflow.entities import Metric
import mlflow
client = MlflowClient(sys.argv[1])
experiment = client.create_experiment("e%d" % time.time_ns())
run = client.create_run(experiment).info.run_id
begin = time.perf_counter()
for step in range(200): client.log_metric(run, "loss", 1 / (step + 1), step=step)
single = (time.perf_counter() - begin) / 200
begin = time.perf_counter()
for chunk in range(10):
    client.log_batch(run, metrics=[Metric("batched", 1 / (s + 1), 0, chunk * 1000 + s) for s in range(1000)])
batched = 10000 / (time.perf_counter() - begin)
print(json.dumps({"single": single, "batched": batched, "version": mlflow.__version__}))
"""


TOLD = """```swift
import Glibc
let run = Run.current
func now() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) * 1000 + Double(time.tv_nsec) * 1e-6
}
var times: [Double] = []
for step in 0..<5000 {
    let begin = now()
    run.record("loss", 1 / Double(step + 1), step: step)
    run.flush()
    times.append(now() - begin)
}
times.sort()
run.note("median \\(times[2500]) p99 \\(times[4950])")
```
"""


def told(place):
    """Milliseconds until a cell of a real run is told that one metric is on record: median and 99th percentile."""
    (place / "told.md").write_text(TOLD)
    done = subprocess.run([STUDY, "run", "told.md", "--json"], cwd=place, capture_output=True, text=True, check=True)
    found = re.search(r"median ([\d.e-]+) p99 ([\d.e-]+)", done.stderr)
    return float(found[1]), float(found[2])


def drill(*arguments):
    out = subprocess.run([DRILL, *map(str, arguments)], capture_output=True, text=True, check=True).stdout
    return json.loads(out) if out.startswith("{") else out


def repository(folder, files):
    """A repository with `files` tracked files, older than their index so that Git trusts its times."""
    for d in range(files // 100):
        place = folder / f"d{d // 50}" / f"e{d}"
        place.mkdir(parents=True)
        for f in range(100):
            (place / f"f{f}.txt").write_text(f"{d} {f}\n")
    git = ["git", "-c", "user.name=T", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], cwd=folder, check=True)
    subprocess.run([*git, "add", "."], cwd=folder, check=True)
    subprocess.run([*git, "commit", "-qm", "one"], cwd=folder, check=True)
    time.sleep(2)
    subprocess.run(["git", "status", "--porcelain"], cwd=folder, check=True, stdout=subprocess.DEVNULL)


def metrics(work):
    python = install("mlflow")
    ours, acknowledged, p99, sixteen, batched, single = [], [], [], [], [], []
    cell, cell_p99 = [], []
    version = ""
    (work / "told").mkdir()
    told(work / "told")  # compiles
    for turn in range(ROUNDS):  # interleaved, so that a slow minute hits both
        place = work / f"a{turn}"
        place.mkdir()
        ours.append(drill("metrics", place, 1_000_000)["per_second"])
        answer = drill("acknowledge", place, 5000)
        acknowledged.append(answer["median_ms"])
        p99.append(answer["p99_ms"])
        for values, value in zip((cell, cell_p99), told(work / "told")):
            values.append(value)
        crowd = work / f"c{turn}"
        crowd.mkdir()
        begin = time.perf_counter()
        writers = [
            subprocess.Popen([DRILL, "metrics", crowd, "50000"], stdout=subprocess.DEVNULL) for _ in range(16)
        ]
        assert all(w.wait() == 0 for w in writers), "a writer failed"
        sixteen.append(16 * 50000 / (time.perf_counter() - begin))
        answer = json.loads(
            subprocess.run(
                [python, "-c", MLFLOW, f"sqlite:///{place}/m.db"], capture_output=True, text=True, check=True
            ).stdout.splitlines()[-1]
        )
        single.append(answer["single"] * 1000)
        batched.append(answer["batched"])
        version = answer["version"]
        shutil.rmtree(place)
        shutil.rmtree(crowd)
    table("metrics into the ledger", "a second", [
        (f"MLflow {version} on SQLite, log_batch of 1000", batched), ("ours, one run, seal included", ours),
        ("ours, 16 runs at once, in total", sixteen)])
    table("one acknowledged metric", "ms", [
        (f"MLflow {version} on SQLite, log_metric", single), ("ours, told to the cell: median", cell),
        ("99th percentile", cell_p99), ("ours, at the writer: median", acknowledged), ("99th percentile", p99)])


def timed(command, folder):
    begin = time.perf_counter()
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return (time.perf_counter() - begin) * 1000


def listing(work):
    points = 100_000 if "--quick" in sys.argv else 10_000_000
    many = Path(os.environ.get("LEDGER_MANY") or work / "many")
    if not many.exists():
        many.mkdir(parents=True)
        drill("fill", many, 10_000, points)
    rows = [
        (f"study list, {name}", [timed([STUDY, "list", "--ledger", many, *extra], work) for _ in range(ROUNDS)])
        for name, extra in [
            ("newest 50", []), ("--where", ["--where", "refusal.after < 0.1"]), ("--sort by a metric", ["--sort", "refusal.after"]),
            ("--status --since --study", ["--status", "succeeded", "--since", "30d", "--study", "drill"]),
            ("all 10,000", ["--limit", "0"]), ("all as CSV", ["--limit", "0", "--format", "csv"]),
            ("all as JSON", ["--limit", "0", "--json"]), ("--where, all", ["--where", "refusal.after < 0.9", "--limit", "0"]),
        ]
    ]
    table(f"10,000 runs, {points:,} metrics", "ms, whole process", rows)


def start(work):
    tree = work / "tree"
    tree.mkdir()
    repository(tree, 50_000)
    drill("open", tree)  # makes the ledger
    time.sleep(2.5)
    drill("open", tree)  # lists folders that are old enough to be remembered
    starts = [drill("open", tree) for _ in range(ROUNDS)]
    table("start-up of a run, 50,000 tracked files", "ms", [
        ("the ledger opened and what ran found out at once, the run begun", [s["start_ms"] for s in starts]),
        ("code identity alone", [s["capture_ms"] for s in starts])])
    small = work / "small"
    small.mkdir()
    repository(small, 100)
    large, little = [], []
    for folder in (tree, small):
        (folder / "one.md").write_text("```swift\nprint(1)\n```\n")
        subprocess.run(["git", "add", "one.md"], cwd=folder, check=True)
        subprocess.run(
            ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "commit", "-qm", "two"], cwd=folder, check=True)
        time.sleep(1.5)
        subprocess.run(["git", "status", "--porcelain"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        timed([STUDY, "run", "one.md"], folder)
    for _ in range(ROUNDS):
        little.append(timed([STUDY, "run", "one.md"], small))
        large.append(timed([STUDY, "run", "one.md"], tree))
    table("study run of one trivial cell, compiled before", "ms, whole process", [
        ("100 tracked files", little), ("50,000 tracked files", large)])


def unchanged(work):
    """An unchanged study runs again and is recorded; an unchanged pipeline is only looked at, so `--force` is timed too."""
    python = install("dvc")
    dvc = str(Path(python).parent / "dvc")
    place = work / "pipeline"
    place.mkdir()
    version = subprocess.run([dvc, "--version"], capture_output=True, text=True).stdout.strip()
    (place / "one.md").write_text("".join(f"```swift\nlet x{i} = {i}\n```\n" for i in range(10)))
    (place / "stage.py").write_text("print(1)\n")
    stages = "".join(
        f"  s{i}:\n    cmd: python3 stage.py > out{i}\n    deps: [stage.py]\n    outs: [out{i}]\n" for i in range(10))
    (place / "dvc.yaml").write_text("stages:\n" + stages)
    for command in (["git", "init", "-q"], [dvc, "init", "-q"], [dvc, "config", "core.analytics", "false"], [dvc, "repro", "-q"]):
        subprocess.run(command, cwd=place, check=True)
    timed([STUDY, "run", "one.md"], place)
    ours, looked, forced = [], [], []
    for _ in range(ROUNDS):
        ours.append(timed([STUDY, "run", "one.md"], place))
        looked.append(timed([dvc, "repro", "-q"], place))
        forced.append(timed([dvc, "repro", "-q", "--force"], place))
    table("ten unchanged steps", "ms, whole process", [
        (f"dvc {version} repro, nothing to do", looked), (f"dvc {version} repro --force", forced),
        ("study run, ten cells run and recorded", ours)])


def hashing(work):
    big = work / "big"
    with open(big, "wb") as f:
        block = bytes(range(256)) * 4096
        for _ in range(1024):
            f.write(block)
    openssl, file = [], []
    for _ in range(ROUNDS):
        text = subprocess.run(
            ["openssl", "speed", "-evp", "sha256", "-bytes", "16384", "-seconds", "1"], capture_output=True, text=True
        ).stdout
        openssl.append(float(re.findall(r"([\d.]+)k", text)[-1]) / 1024 * 1000 / 1024)
        file.append(drill("hash", big)["mib_per_s"])
    table("SHA-256 of a file in the page cache", "MiB/s", [("openssl speed, in memory", openssl), ("ours, 1 GiB file", file)])


def main():
    for product in (DRILL, STUDY):
        if not product.exists():
            subprocess.run(["swift", "build", "-c", "release"], cwd=ROOT, check=True)
    print(machine(), flush=True)
    work = Path(tempfile.mkdtemp(prefix="ledger-bench-"))
    parts = {"metrics": metrics, "list": listing, "start": start, "unchanged": unchanged, "hash": hashing}
    for name in PARTS or parts:
        parts[name](work)
        sys.stdout.flush()
    shutil.rmtree(work)


main()
