#!/bin/bash
# Export of 2 GB of adapters beside tar | zstd, sha256sum and sha512sum one after the other; verify; and
# the report of a run with a million points. usage: Benchmarks/export/compare.sh [MEGABYTES] [ROUNDS]
set -eu
cd "$(dirname "$0")/../.."
megabytes=${1:-2000}; rounds=${2:-3}
bench=${BENCH:-.build/release/export-bench}
work=$(mktemp -d); trap 'rm -rf "$work"' EXIT
mkdir "$work/in"
for i in 1 2 3 4; do head -c $((megabytes * 250000)) /dev/urandom >"$work/in/$i.safetensors"; done
now() { date +%s.%N; }
for round in $(seq "$rounds"); do
    a=$(now); tar --sort=name -C "$work" -cf - in | zstd -q -1 -T2 -f -o "$work/peer.tar.zst"; b=$(now)
    sha256sum "$work"/in/* >/dev/null; c=$(now); sha512sum "$work"/in/* >/dev/null; d=$(now)
    echo "peer    $(echo "$d - $a" | bc) s (tar|zstd $(echo "$b - $a" | bc), sha256sum $(echo "$c - $b" | bc), sha512sum $(echo "$d - $c" | bc))"
    echo "pack    $("$bench" pack "$work/ours.tar.zst" "$work"/in/*)"
    echo "verify  $("$bench" verify "$work/ours.tar.zst")"
    echo "report  $("$bench" report 1000000 "$work/report.html")"
done
