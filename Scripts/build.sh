#!/usr/bin/env bash
# Builds in release, quietly where nothing changed: `swift build` only speaks when it compiles.
# usage: Scripts/build.sh [swift build options]
set -euo pipefail
cd "$(dirname "$0")/.."
log=.build/last-build.log
mkdir -p .build
if [ ! -e .build/release/study ]; then
    echo "build: first build in release; three to six minutes on two cores"
fi
started=$SECONDS
if ! swift build -c release "$@" >"$log" 2>&1; then
    grep -E "error|warning: unre|fatal" "$log" | head -n 40 >&2 || true
    echo "build: failed; the whole log is $log" >&2
    exit 1
fi
took=$((SECONDS - started))
[ "$took" -lt 20 ] || echo "build: done in ${took} s"
