#!/usr/bin/env bash
# Runs every comparison, one after the other: Benchmarks/NAME/compare.py each installs its peers from
# PyPI and prints ours and theirs from the same minutes. Takes long; name some to run only those.
# usage: Benchmarks/run.sh [NAME ...]
set -uo pipefail
cd "$(dirname "$0")/.."
unset OPENBLAS_CORETYPE OPENBLAS_L2_SIZE OPENBLAS_NUM_THREADS MKL_DEBUG_CPU_TYPE OMP_NUM_THREADS
compare() {
    if [ -e "Benchmarks/$1/compare.py" ]; then python3 "Benchmarks/$1/compare.py"; else bash "Benchmarks/$1/compare.sh"; fi
}
names=("$@")
if [ ${#names[@]} = 0 ]; then
    for script in Benchmarks/*/compare.*; do names+=("$(basename "$(dirname "$script")")"); done
fi
failed=0
for name in "${names[@]}"; do
    echo "== $name"
    compare "$name" || { echo "$name: no result (status $?)"; failed=1; }
done
exit $failed
