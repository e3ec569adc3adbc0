"""Times one product at a time in numpy or PyTorch, as compare.py asks: the same lines as driver.c's."""

import sys
import time

import numpy
import torch

core = "unknown"
try:
    import threadpoolctl

    core = next((i.get("architecture", "unknown") for i in threadpoolctl.threadpool_info() if "openblas" in i["internal_api"]), core)
except ImportError:
    pass
print(f"numpy {numpy.__version__} (core {core}), torch {torch.__version__}", flush=True)
for line in sys.stdin:
    who, *numbers = line.split()
    threads, m, n, k, nt, repeats = map(int, numbers)
    random = numpy.random.default_rng(1)
    a = random.random((m, k), dtype=numpy.float32)
    b = random.random((n, k) if nt else (k, n), dtype=numpy.float32)
    if who == "torch":
        torch.set_num_threads(threads)
        a, b, c = torch.from_numpy(a), torch.from_numpy(b), torch.empty(m, n)
        product = lambda: torch.mm(a, b.T if nt else b, out=c)
    else:
        c = numpy.empty((m, n), dtype=numpy.float32)
        product = lambda: numpy.matmul(a, b.T if nt else b, out=c)
    if who == "numpy" and "threadpoolctl" in sys.modules:
        threadpoolctl.threadpool_limits(threads)
    product()
    start = time.perf_counter()
    for _ in range(repeats):
        product()
    print((time.perf_counter() - start) / repeats, flush=True)
