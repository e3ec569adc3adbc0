"""Peers for the benchmarks, and how a comparison is printed.

`install("torch", "peft")` returns the Python of an environment that has those packages: the one that STUDY_PEERS names, or
`.build/peers`, made and filled from PyPI on first use. `table(rows)` prints medians, spread and ratio the same way everywhere.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def install(*packages):
    """The path of a Python that imports `packages` (names on PyPI); leaves with 3 where PyPI cannot be reached."""
    home = Path(os.environ.get("STUDY_PEERS") or ROOT / ".build" / "peers")
    python = home / "bin" / "python"
    if not python.exists():
        venv.create(home, with_pip=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=freeze"], capture_output=True, text=True).stdout
    have = {line.split("==")[0].lower().replace("_", "-") for line in listed.splitlines()}
    missing = [p for p in packages if p.split("==")[0].lower().replace("_", "-") not in have]
    if missing:
        print("installing from PyPI:", " ".join(missing), flush=True)
        if subprocess.run([python, "-m", "pip", "install", "--quiet", *missing]).returncode != 0:
            print("the peers cannot be installed here; nothing is compared", file=sys.stderr)
            sys.exit(3)
    return str(python)


def clean_environment(**more):
    """This process's environment less what bends OpenBLAS and its like, plus `more`."""
    bent = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "MKL_DEBUG_CPU_TYPE", "OMP_NUM_THREADS")
    return {k: v for k, v in os.environ.items() if k not in bent} | {k: str(v) for k, v in more.items()}


def tuned_mkl():
    """Variables with which MKL takes its AVX-512 path on AMD's CPUs too: it asks a function of its own for the vendor, and
    this preloads another that says yes. (MKL_ENABLE_INSTRUCTIONS does nothing there.) Empty without a C compiler."""
    library = ROOT / ".build" / "peers-mkl" / "libvendor.so"
    if " " in str(library) or ":" in str(library):  # LD_PRELOAD ends a name there
        library = Path(tempfile.gettempdir()) / f"study-peers-mkl-{os.getuid()}" / "libvendor.so"
    compiler = next(filter(None, map(shutil.which, (os.environ.get("CC") or "cc", "clang", "gcc"))), None)
    if not library.exists():
        if compiler is None:
            print("no C compiler: MKL's AVX-512 path cannot be had on AMD's CPUs", file=sys.stderr)
            return {}
        library.parent.mkdir(parents=True, exist_ok=True)
        source = library.with_suffix(".c")
        source.write_text("int mkl_serv_intel_cpu_true(void) { return 1; }\n")
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
    return {"LD_PRELOAD": str(library)}


def machine():
    """One line: CPU, cores, kernel."""
    name = next(
        (line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "unknown CPU"
    )
    return f"{name}, {os.cpu_count()} cores, Linux {platform.release()}"


def spread(values):
    """Median, and half the distance between the extremes in per cent of it."""
    middle = statistics.median(values)
    return middle, 50 * (max(values) - min(values)) / middle if middle else 0.0


def table(title, unit, rows):
    """Prints `rows` of (name, values): medians, spread, and the ratio to the first row."""
    print(f"\n{title} ({unit}; median of {len(rows[0][1])}, ± half the range)")
    first = statistics.median(rows[0][1])
    for name, values in rows:
        middle, percent = spread(values)
        print(f"  {name:<44} {middle:>12.4g}  ± {percent:4.1f} %   ratio {middle / first if first else 0:7.3f}")
