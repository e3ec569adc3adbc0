"""f32 matrix products: our portable tier beside OpenBLAS's best core, numpy and PyTorch, in one run.

Rounds of A B A B: in each, every library computes every shape once, so that a slow minute slows all. Prints GFLOP/s, medians of
the rounds, the spread, and the ratio to ours. Peers come from PyPI (see peers.py); without them only OpenBLAS, loaded from
the system, is compared.
usage: python3 Benchmarks/gemm/compare.py [--sizes 512,1024,2048,4096,thin] [--threads 1,2] [--rounds 7] [--no-python-peers]
"""

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
import peers

HERE = Path(__file__).resolve().parent
KERNELS = peers.ROOT / "Sources" / "EngineKernels"


def build():
    """The driver, compiled as Package.swift compiles the kernels."""
    to = peers.ROOT / ".build" / "gemm-benchmark"
    to.parent.mkdir(exist_ok=True)
    sources = [
        KERNELS / f"{n}.c"
        for n in ("kernels_avx512", "kernels_avx2", "kernels_scalar", "dispatch", "memory", "pool", "gemm", "gemm_few")
    ]
    flags = ["-O3", "-ffp-contract=off", "-fno-math-errno", f"-I{KERNELS}/include", f"-I{KERNELS}"]
    subprocess.run(["clang", *flags, HERE / "driver.c", *sources, "-o", to, "-lpthread", "-ldl", "-lm"], check=True)
    return to


class Worker:
    def __init__(self, command, greeting, **environment):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=peers.clean_environment(**environment)
        )
        self.greeting = [self.process.stdout.readline().strip() for _ in range(greeting)]

    def seconds(self, who, threads, shape, nt, repeats):
        self.process.stdin.write(f"{who} {threads} {' '.join(map(str, shape))} {nt} {repeats}\n")
        self.process.stdin.flush()
        return float(self.process.stdout.readline())


def option(name, default):
    at = sys.argv.index(name) + 1 if name in sys.argv else None
    return (sys.argv[at] if at else default).split(",")


def main():
    print(peers.machine())
    driver = Worker([build()], 3)
    kernels, configuration, core = driver.greeting
    print(f"ours: {kernels} kernels; OpenBLAS: core {core}, {configuration}")
    contestants = [("ours (portable)", driver, "ours")]
    if core != "none":
        contestants.append((f"OpenBLAS, core {core}", driver, "openblas"))
    if "--no-python-peers" not in sys.argv:
        python = peers.install("numpy", "torch", "threadpoolctl")
        stock = Worker([python, HERE / "peer.py"], 1)
        tuned = Worker([python, HERE / "peer.py"], 1, **peers.tuned_mkl())
        print(stock.greeting[0])
        contestants += [
            ("numpy", stock, "numpy"), ("PyTorch as installed", stock, "torch"), ("PyTorch, MKL on AVX-512", tuned, "torch")]
    rounds = int(option("--rounds", "7")[0])
    sizes = option("--sizes", "512,1024,2048,4096,thin")
    # B as a linear layer's weight is stored, [n, k].
    shapes = [((int(s),) * 3, 1) for s in sizes if s != "thin"]
    if "thin" in sizes:
        # x · Aᵀ and h · Bᵀ of a rank-16 update, then a gradient's shape.
        shapes += [((2048, 16, 4096), 1), ((2048, 4096, 16), 1), ((16, 4096, 2048), 0)]
    for threads in map(int, option("--threads", "1,2")):
        for shape, nt in shapes:
            flops = 2 * shape[0] * shape[1] * shape[2]
            repeats = max(1, min(50, int(1e10 / flops)))
            times = {name: [] for name, _, _ in contestants}
            for _ in range(rounds):
                for name, worker, who in contestants:
                    times[name].append(flops / worker.seconds(who, threads, shape, nt, repeats) / 1e9)
            title = f"{shape[0]} × {shape[2]} · {shape[2]} × {shape[1]}{', B transposed' if nt else ''}, {threads} thread{'s' * (threads > 1)}"
            peers.table(title, "GFLOP/s", [(name, times[name]) for name, _, _ in contestants])


if __name__ == "__main__":
    main()
