#!/usr/bin/env bash
# Makes sure that the Debian packages and the Swift toolchain that a build needs are here.
# Quiet when nothing is missing. Installs as root (or through sudo that asks no password); where it
# may not install, it prints the command to type and leaves with 1.
set -euo pipefail

# header or program to look for : the Debian package that brings it
needed=(
    /usr/include/git2.h:libgit2-dev
    /usr/include/archive.h:libarchive-dev
    /usr/include/sqlite3.h:libsqlite3-dev
    /usr/include/cmark-gfm.h:libcmark-gfm-dev
    /usr/include/cmark-gfm-core-extensions.h:libcmark-gfm-extensions-dev
    libopenblas.so.0:libopenblas0-pthread
    gnuplot:gnuplot-nox
    bwrap:bubblewrap
    pkg-config:pkg-config
    git:git
)

# what reports typeset formulas with; without it they show their TeX
wanted=(
    node:nodejs
    /usr/share/javascript/katex/katex.js:libjs-katex
)

present() {
    case $1 in
    /*) [ -e "$1" ] ;;
    *.so.*) ldconfig -p 2>/dev/null | grep -qF "$1" || [ -e "/usr/lib/x86_64-linux-gnu/$1" ] ;;
    *) command -v "$1" >/dev/null 2>&1 ;;
    esac
}

missing=()
for entry in "${needed[@]}"; do
    present "${entry%%:*}" || missing+=("${entry##*:}")
done

if [ ${#missing[@]} -gt 0 ]; then
    command_line="apt-get install -y --no-install-recommends ${missing[*]}"
    if [ "$(id -u)" = 0 ]; then
        elevate=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        elevate="sudo -n"
    else
        echo "setup: Debian packages are missing: ${missing[*]}" >&2
        echo "  mend:  sudo apt-get update && sudo $command_line" >&2
        exit 1
    fi
    echo "setup: installing Debian packages: ${missing[*]}"
    log=$(mktemp)
    if ! { $elevate apt-get update && $elevate env DEBIAN_FRONTEND=noninteractive $command_line; } \
        >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "setup: the packages could not be installed; the log is $log" >&2
        echo "  mend:  apt-get update && $command_line" >&2
        exit 1
    fi
    rm -f "$log"
fi

missing=()
for entry in "${wanted[@]}"; do
    present "${entry%%:*}" || missing+=("${entry##*:}")
done
# Asked for once: what is not to be had is not missed.
asked=$(dirname "$0")/../.build/setup-asked
if [ ${#missing[@]} -gt 0 ] && [ ! -e "$asked" ]; then
    mkdir -p "$(dirname "$asked")" && touch "$asked"
    command_line="apt-get install -y --no-install-recommends ${missing[*]}"
    elevate=none
    if [ "$(id -u)" = 0 ]; then
        elevate=""
    elif command -v sudo >/dev/null 2>&1 && sudo -n true 2>/dev/null; then
        elevate="sudo -n"
    fi
    echo "setup: for formulas in reports, which show their TeX without: ${missing[*]}"
    if [ "$elevate" = none ] ||
        ! { $elevate apt-get update && $elevate env DEBIAN_FRONTEND=noninteractive $command_line; } >/dev/null 2>&1; then
        echo "setup: not installed; they are not needed to go on (sudo $command_line)"
    fi
fi

if ! command -v swift >/dev/null 2>&1; then
    echo "setup: no \`swift\` on the path." >&2
    echo "  mend:  install Swift 6.3 for Debian 12 (swift.org/install) and put its usr/bin on PATH" >&2
    exit 1
fi
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
read -r major minor <<<"${version:-0 0}"
if [ "$major" -lt 6 ] || { [ "$major" = 6 ] && [ "$minor" -lt 2 ]; }; then
    echo "setup: Swift $major.$minor is too old; 6.3 is what this was built with." >&2
    echo "  mend:  install Swift 6.3 (swift.org/install) and put its usr/bin first on PATH" >&2
    exit 1
fi
