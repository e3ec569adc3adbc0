"""Top-6 of a 4096 x 11008 weight difference: ours beside every peer that PyTorch, SciPy and scikit-learn
offer, in turns on the same cores.

    python compare.py [--full] [--ours PATH/TO/lox-bench] [--rounds 7]

Makes its data (two spectra: one with a gap after the sixth value, one decaying as i^-1/2), installs the
peers from PyPI (Benchmarks/peers.py), and prints a table:
median of the rounds, spread, and the residual each result really has, max_i ||D^T u_i - s_i v_i|| and
||D v_i - s_i u_i|| in f64 relative to s_1. The peers get the difference as one f32 matrix, made beforehand;
ours reads the two weights and subtracts as it goes. `--full` times torch.linalg.svd too (a minute or two).
"""
import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
import peers  # noqa: E402

PEERS = ["torch", "scipy", "scikit-learn", "numpy", "safetensors", "threadpoolctl"]
DATA = pathlib.Path(os.environ.get("LOX_BENCHMARK_DATA", "/tmp/lox-benchmark"))
RANK, ROWS, COLUMNS = 6, 4096, 11008


def restart_with_peers():
    """Runs this script again where the peers are installed and nothing pins OpenBLAS to a slower core."""
    if os.environ.get("LOX_BENCHMARK_INSIDE"):
        return
    python = peers.install(*PEERS)
    os.execve(python, [python, *sys.argv], peers.clean_environment(LOX_BENCHMARK_INSIDE=1))


def make_data():
    import torch
    from safetensors.torch import save_file
    if (DATA / "aligned.safetensors").exists():
        return
    DATA.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(1)
    left, _ = torch.linalg.qr(torch.randn(ROWS, ROWS))
    right, _ = torch.linalg.qr(torch.randn(COLUMNS, ROWS))
    i = torch.arange(1, ROWS + 1, dtype=torch.float32)
    spectra = {"gap": torch.where(i <= RANK, 1.1 - 0.1 * i, 0.02 * (7 / i).sqrt()), "decay": i ** -0.5}
    base = torch.randn(ROWS, COLUMNS) * 0.02
    for kind, to in (("", torch.float32), (".bf16", torch.bfloat16)):
        save_file({name: base.to(to).clone() for name in spectra}, DATA / f"base{kind}.safetensors")
    aligned = {name: base + 0.5 * (left * s) @ right.T for name, s in spectra.items()}
    save_file({k: v.bfloat16() for k, v in aligned.items()}, DATA / "aligned.bf16.safetensors")
    save_file(aligned, DATA / "aligned.safetensors")


class Ours:
    """Our side in a process of its own, asked a line at a time."""

    def __init__(self, program, kind=""):
        self.process = subprocess.Popen(
            [program, DATA / f"base{kind}.safetensors", DATA / f"aligned{kind}.safetensors", str(RANK)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.kernels = json.loads(self.process.stdout.readline())

    def __call__(self, name):
        self.process.stdin.write(f"decompose {name}\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


def main():
    import numpy as np
    import scipy
    import scipy.sparse.linalg
    import sklearn
    import threadpoolctl
    import torch
    from safetensors.torch import load_file
    from sklearn.utils.extmath import randomized_svd

    options = argparse.ArgumentParser()
    options.add_argument("--full", action="store_true")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--ours", default=str(ROOT / ".build/release/lox-bench"))
    options.add_argument("--json")
    options = options.parse_args()
    make_data()
    torch.set_num_threads(os.cpu_count())

    print(peers.machine())
    print(f"threads {os.cpu_count()}; torch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}), "
          f"scipy {scipy.__version__}, scikit-learn {sklearn.__version__}, numpy {np.__version__}")
    for pool in threadpoolctl.threadpool_info():
        print("  ", pool.get("internal_api"), pool.get("version"), pool.get("architecture"),
              pool.get("num_threads"), "threads")
    ours, half = Ours(options.ours), Ours(options.ours, ".bf16")
    print(f"ours: kernels {ours.kernels['kernels']}, threads {ours.kernels['threads']}")

    def lowrank(niter):
        def run(tensor, matrix):
            u, s, v = torch.svd_lowrank(tensor, q=16, niter=niter)
            return u[:, :RANK].numpy(), s[:RANK].numpy(), v[:, :RANK].numpy()
        return run

    def arpack(tensor, matrix):
        u, s, vt = scipy.sparse.linalg.svds(matrix, k=RANK, solver="arpack", tol=1e-5)
        order = np.argsort(-s)
        return u[:, order], s[order], vt[order].T

    def scikit(**kwargs):
        def run(tensor, matrix):
            u, s, vt = randomized_svd(matrix, n_components=RANK, random_state=0, **kwargs)
            return u, s, vt.T
        return run

    others = {f"torch.svd_lowrank q 16 niter {n}": lowrank(n) for n in (2, 3, 4, 8, 12, 16)}
    others["scipy svds (ARPACK, tol 1e-5)"] = arpack
    others["sklearn randomized_svd (default)"] = scikit()
    others["sklearn randomized_svd n_iter 12"] = scikit(n_iter=12)
    results = {}
    for name in ("gap", "decay"):
        aligned = load_file(DATA / "aligned.safetensors")[name]
        tensor = aligned - load_file(DATA / "base.safetensors")[name]
        matrix = tensor.numpy()
        wide = matrix.astype(np.float64)

        def residual(u, s, v):
            # Normalised, so that a peer's f32 lengths are not held against it.
            u, s, v = (np.asarray(x, np.float64) for x in (u, s, v))
            u, v = u / np.linalg.norm(u, axis=0), v / np.linalg.norm(v, axis=0)
            one = np.linalg.norm(wide @ v - u * s, axis=0)
            other = np.linalg.norm(wide.T @ u - v * s, axis=0)
            return float(max(one.max(), other.max()) / s[0])

        times = {"ours, f32 pair": [], "ours, bf16 pair": [], **{k: [] for k in others}}
        found = {}
        ours(name), half(name)
        for _ in range(options.rounds):
            for peer, run in others.items():
                for label, side in (("ours, f32 pair", ours), ("ours, bf16 pair", half)):
                    if label == "ours, bf16 pair" and peer != "scipy svds (ARPACK, tol 1e-5)":
                        continue
                    answer = side(name)
                    times[label].append(answer["seconds"])
                    found[label] = answer["residual"]
                start = time.perf_counter()
                triplets = run(tensor, matrix)
                times[peer].append(time.perf_counter() - start)
                if peer not in found:
                    found[peer] = residual(*triplets)
        if options.full:
            start = time.perf_counter()
            u, s, vt = torch.linalg.svd(tensor, full_matrices=False)
            times["torch.linalg.svd"] = [time.perf_counter() - start]
            found["torch.linalg.svd"] = residual(
                u[:, :RANK].numpy(), s[:RANK].numpy(), vt[:RANK].T.numpy())
        reference = statistics.median(times["ours, f32 pair"])
        print(f"\n{name}: {ROWS} x {COLUMNS}, top {RANK}; rounds {options.rounds}")
        print(f"{'':36}{'median ms':>10}{'min':>9}{'max':>9}{'residual':>10}{'x ours':>8}")
        for label, values in sorted(times.items(), key=lambda item: statistics.median(item[1])):
            median = statistics.median(values)
            print(f"{label:36}{1e3 * median:10.1f}{1e3 * min(values):9.1f}{1e3 * max(values):9.1f}"
                  f"{found[label]:10.1e}{median / reference:8.2f}")
        results[name] = {k: {"seconds": v, "residual": found[k]} for k, v in times.items()}
    if options.json:
        pathlib.Path(options.json).write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    restart_with_peers()
    main()
