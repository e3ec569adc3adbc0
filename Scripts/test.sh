#!/usr/bin/env bash
# Runs the built tests: failures as they come, what could not be run here and why, then one closing line. The whole log stays in .build.
# usage: Scripts/test.sh [swift test options, as --filter NAME]
set -uo pipefail
cd "$(dirname "$0")/.."
log=.build/last-test.log
swift test -c release --skip-build --disable-xctest "$@" >"$log" 2>&1
status=$?
grep -aE "^(✘|.*recorded an issue|Fatal error|.*: Fatal error|error:)" "$log" | head -n 60
grep -aE "^(not run|PEFT itself): " "$log"
grep -aE "Test run with [0-9]+ tests?" "$log" | tail -n 1
if [ "$status" -ne 0 ]; then
    echo "test: failed; the whole log is $log" >&2
    echo "  mend:  run one suite alone with Scripts/test.sh --filter SUITE" >&2
fi
exit "$status"
