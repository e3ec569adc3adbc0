#!/bin/bash
# Gives bundles of a succeeded, a failed and an interrupted run to the standards' own tools: roc-validator,
# bagit, runcrate, mlcroissant (from PyPI, into a virtual environment) and coreutils. Says so and leaves
# with 77 where they cannot be installed.
#
# usage: Tests/ExportTests/validate.sh [BUNDLE.tar*...]     without bundles: those of the tests' sample run
set -u
cd "$(dirname "$0")/../.."
venv=${STUDY_VALIDATORS:-.build/validators}
if [ ! -x "$venv/bin/rocrate-validator" ]; then
    python3 -m venv "$venv" >/dev/null 2>&1 &&
        "$venv/bin/pip" install -q roc-validator==0.13.0 bagit==1.9.0 runcrate==0.6.2 mlcroissant==1.1.1 \
            setuptools || { echo "validators not installed (no python3-venv, or no PyPI): nothing was checked"; exit 77; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ $# -eq 0 ]; then
    STUDY_SAMPLE_FOLDER=$work swift test --filter 'is_made_of_runs|is made of runs' >"$work/test.log" 2>&1 || { tail -20 "$work/test.log"; exit 1; }
    set -- "$work"/*.tar
fi
bad=0
check() { # what, command...
    local what=$1; shift
    if "$@" >"$work/log" 2>&1; then echo "  ok    $what"; else echo "  FAIL  $what"; sed 's/^/        /' "$work/log" | head -40; bad=1; fi
}
for bundle in "$@"; do
    echo "$bundle"
    rm -rf "$work/bag"; mkdir "$work/bag"
    tar -C "$work/bag" -xf "$bundle" || { bad=1; continue; }
    bag=$(echo "$work"/bag/*)
    # 5.1: the study's own id is a path, since the study is a file of the crate.
    check "rocrate-validator, required and recommended" "$venv/bin/rocrate-validator" -y --disable-color validate --offline \
        --no-paging -p provenance-run-crate-0.5 -l recommended -s process-run-crate-0.5_5.1 "$bag"
    check "bagit.py --validate" "$venv/bin/python" -c 'import sys, bagit; bagit.Bag(sys.argv[1]).validate()' "$bag"
    for algorithm in sha256 sha512; do
        check "${algorithm}sum -c" env -C "$bag" "${algorithm}sum" --quiet -c "manifest-$algorithm.txt" "tagmanifest-$algorithm.txt"
    done
    check "runcrate report" "$venv/bin/runcrate" report "$bag/data"
    for file in "$bag"/data/croissant/*.json; do
        [ -e "$file" ] && check "mlcroissant validate $(basename "$file")" "$venv/bin/mlcroissant" validate --jsonld "$file"
    done
done
exit $bad
