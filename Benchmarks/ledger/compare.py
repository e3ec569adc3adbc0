"""The ledger beside MLflow on SQLite, in one run: metrics a second, one acknowledged metric, 16 writers, lists, start-up,
hashing beside openssl. Medians of 7. `python3 Benchmarks/ledger/compare.py [--quick]`; builds ledger-drill in release first."""

import json
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


def main():
    subprocess.run(["swift", "build", "-c", "release", "--product", "ledger-drill"], cwd=ROOT, check=True)
    python = install("mlflow")
    print(machine())
    work = Path(tempfile.mkdtemp(prefix="ledger-bench-"))
    ours, acknowledged, p99, sixteen, batched, single = [], [], [], [], [], []
    version = ""
    for turn in range(ROUNDS):  # interleaved, so that a slow minute hits both
        place = work / f"a{turn}"
        place.mkdir()
        ours.append(drill("metrics", place, 1_000_000)["per_second"])
        answer = drill("acknowledge", place, 5000)
        acknowledged.append(answer["median_ms"])
        p99.append(answer["p99_ms"])
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
        (f"MLflow {version} on SQLite, log_metric", single), ("ours, median", acknowledged), ("ours, 99th percentile", p99)])

    many = work / "many"
    many.mkdir()
    drill("fill", many, 10_000, 100_000 if "--quick" in sys.argv else 10_000_000)
    study = ROOT / ".build" / "release" / "study"
    if study.exists():
        rows = []
        for name, extra in [("newest 50", []), ("--where", ["--where", "refusal.after < 0.1"]), ("all 10,000", ["--limit", "0"])]:
            times = []
            for _ in range(ROUNDS):
                begin = time.perf_counter()
                subprocess.run([study, "list", "--ledger", many, *extra], check=True, stdout=subprocess.DEVNULL)
                times.append((time.perf_counter() - begin) * 1000)
            rows.append((f"study list, {name}", times))
        table("10,000 runs, 10 million metrics", "ms, whole process", rows)

    tree = work / "tree"
    tree.mkdir()
    repository(tree, 50_000)
    starts = [drill("open", tree) for _ in range(ROUNDS)]
    table("start-up of a run, 50,000 tracked files", "ms", [
        ("open + code identity + begin", [s["open_ms"] + s["capture_ms"] + s["begin_ms"] for s in starts]),
        ("code identity alone", [s["capture_ms"] for s in starts])])

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
    shutil.rmtree(work)


main()
