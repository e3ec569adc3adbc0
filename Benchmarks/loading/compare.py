#!/usr/bin/env python3
"""A 10 GB checkpoint, read lazily: seconds to the first tensor, and to every page of it, beside the disk's own speed.

    python3 Benchmarks/loading/compare.py [--gigabytes 10] [--folder DIR]

Writes a safetensors file (zeros compress nowhere here: the bytes are pseudo-random), asks the system to forget its pages
before each reading, and times `dd` of the same file. The file is removed at the end.
"""
import argparse
import json
import os
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import peers

TENSOR = 64 << 20


def make(path, gigabytes):
    count = gigabytes * (1 << 30) // TENSOR
    header = {f"layer.{i}": {"dtype": "F32", "shape": [TENSOR // 4096, 1024], "data_offsets": [i * TENSOR, (i + 1) * TENSOR]}
              for i in range(count)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    block = os.urandom(TENSOR)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _ in range(count):
            f.write(block)
        f.flush()
        os.fsync(f.fileno())


def forget(path):
    f = os.open(path, os.O_RDONLY)
    os.posix_fadvise(f, 0, 0, os.POSIX_FADV_DONTNEED)
    os.close(f)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--gigabytes", type=int, default=10)
    parser.add_argument("--folder", default=str(peers.ROOT / ".build"))
    options = parser.parse_args()
    driver = os.environ.get("STUDY_TRAINING_BENCH") or os.path.join(peers.ROOT, ".build", "release", "training-bench")
    print(peers.machine())
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = os.path.join(folder, "big.safetensors")
        make(path, options.gigabytes)
        size = os.path.getsize(path)
        for _ in range(2):
            forget(path)
            start = time.perf_counter()
            subprocess.run(["dd", f"if={path}", "of=/dev/null", "bs=16M", "status=none"], check=True)
            disk = time.perf_counter() - start
            forget(path)
            answer = json.loads(subprocess.run([driver, "load", path], stdout=subprocess.PIPE, check=True).stdout)
            print(f"first tensor {1e3 * answer['first_s']:.2f} ms; all {size / answer['all_s'] / 1e9:.2f} GB/s; "
                  f"dd {size / disk / 1e9:.2f} GB/s; ratio {disk / answer['all_s']:.2f}")


if __name__ == "__main__":
    main()
