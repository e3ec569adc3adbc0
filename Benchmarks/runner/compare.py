#!/usr/bin/env python3
"""`study run` beside papermill: the same trivial cells, whole processes, A B A B, medians of 7.

Needs a release build and a Python with venv; installs papermill and ipykernel with pip into a folder
of its own. Writes results.json beside itself.

    Benchmarks/runner/compare.py [--rounds 7] [--skip-peer]
"""
import argparse, json, os, pathlib, shutil, statistics, subprocess, sys, tempfile, time

here = pathlib.Path(__file__).resolve().parent
root = here.parent.parent
study = root / ".build/release/study"


def run(command, cwd, **options):
    start = time.perf_counter()
    done = subprocess.run(command, cwd=cwd, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
    seconds = time.perf_counter() - start
    if done.returncode != 0:
        sys.exit(f"{command} failed:\n{done.stdout.decode()}\n{done.stderr.decode()}")
    return seconds, done.stdout.decode()


def write_study(path, count):
    cells = "".join(f"```swift\nlet value{i} = {i}\nprint(value{i})\n```\n\n" for i in range(count))
    path.write_text(f"# {count} trivial cells\n\n{cells}")


def write_notebook(path, count):
    cells = [
        {"cell_type": "code", "execution_count": None, "id": f"c{i}", "metadata": {}, "outputs": [],
         "source": f"value{i} = {i}\nprint(value{i})"}
        for i in range(count)
    ]
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path.write_text(json.dumps(
        {"cells": cells, "metadata": {"kernelspec": kernel, "language_info": {"name": "python"}},
         "nbformat": 4, "nbformat_minor": 5}))


def peer():
    folder = pathlib.Path(os.environ.get("PEER_VENV", root / ".build/peers/papermill"))
    if not (folder / "bin/papermill").exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([folder / "bin/pip", "install", "-q", "papermill", "ipykernel"], check=True)
    return folder / "bin/papermill"


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--skip-peer", action="store_true")
    options.add_argument("--counts", default="1,10,100,1000")
    options = options.parse_args()
    work = pathlib.Path(tempfile.mkdtemp(prefix="runner-bench-"))
    results = {"rounds": options.rounds}
    papermill = None if options.skip_peer else peer()

    # From nothing to compiled: ten cells, an empty cache each time.
    write_study(work / "cold.md", 10)
    cold = []
    for _ in range(3):
        shutil.rmtree(work / ".study", ignore_errors=True)
        cold.append(run([study, "check", "cold.md"], work)[0])
    results["first compile of ten cells, s"] = statistics.median(cold)

    # Ten unchanged cells, ours and the peer's in turn.
    write_study(work / "ten.md", 10)
    write_notebook(work / "ten.ipynb", 10)
    run([study, "run", "ten.md"], work)
    ours, theirs = [], []
    for _ in range(options.rounds):
        ours.append(run([study, "run", "ten.md"], work)[0])
        if papermill:
            theirs.append(run([papermill, "ten.ipynb", "out.ipynb", "--no-progress-bar"], work)[0])
    results["ten cells, study, s"] = statistics.median(ours)
    if papermill:
        results["ten cells, papermill, s"] = statistics.median(theirs)
        results["ten cells, ratio"] = statistics.median(ours) / statistics.median(theirs)

    # The cost of a cell, at each size: (time with n cells - time with one) / (n - 1).
    base = None
    for count in map(int, options.counts.split(",")):
        name = f"cells{count}.md"
        write_study(work / name, count)
        first, _ = run([study, "run", name], work)
        seconds = statistics.median(run([study, "run", name], work)[0] for _ in range(options.rounds))
        base = seconds if base is None else base
        results[f"{count} cells, s"] = seconds
        results[f"{count} cells, first run with compiling, s"] = first
        if count > 1:
            results[f"{count} cells, ms a cell"] = 1000 * (seconds - base) / (count - 1)

    # Metrics from a tight loop into the ledger.
    points = 2_000_000
    (work / "metrics.md").write_text(
        "```swift\nlet run = Run.current\n"
        f"for step in 0..<{points} {{ try run.record(\"loss\", Double(step), step: step) }}\n```\n")
    run([study, "run", "metrics.md"], work)
    rates = []
    for _ in range(min(3, options.rounds)):
        out = json.loads(run([study, "run", "metrics.md", "--json"], work)[1].splitlines()[-1])
        rates.append(points / out["seconds"])
    results["metrics a second into the ledger"] = statistics.median(rates)

    results["study --version, s"] = statistics.median(
        run([study, "--version"], work)[0] for _ in range(21))

    shutil.rmtree(work)
    (here / "results.json").write_text(json.dumps(results, indent=2) + "\n")
    for name, value in results.items():
        print(f"{name:45} {value:.6g}")


main()
