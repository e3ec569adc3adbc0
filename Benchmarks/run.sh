#!/usr/bin/env bash
# Runs every comparison, one after the other: Benchmarks/NAME/compare.py each installs its peers from
# PyPI and prints ours and theirs from the same minutes. Takes long; name some to run only those.
# usage: Benchmarks/run.sh [NAME ...]
set -uo pipefail
cd "$(dirname "$0")/.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS MKL_DEBUG_CPU_TYPE OMP_NUM_THREADS
names=("$@")
if [ ${#names[@]} = 0 ]; then
    for script in Benchmarks/*/compare.py; do names+=("$(basename "$(dirname "$script")")"); done
fi
failed=0
for name in "${names[@]}"; do
    echo "== $name"
    python3 "Benchmarks/$name/compare.py" || { echo "$name: no result (status $?)"; failed=1; }
done
exit $failed
