#!/usr/bin/env bash
# Lays out a `study` that works from any folder: PREFIX/bin/study, and under PREFIX/lib/study the
# kernel, the library that cells link, and the modules that they are compiled against.
# usage: Scripts/install.sh PREFIX
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${1:?usage: Scripts/install.sh PREFIX}
build=.build/release
home=$prefix/lib/study

if ! mkdir -p "$prefix/bin" "$home/modules" 2>/dev/null || [ ! -w "$prefix/bin" ]; then
    echo "install: $prefix cannot be written by $(id -un)." >&2
    echo "  mend:  make install PREFIX=\$HOME/.local, or run it as the folder's owner" >&2
    exit 1
fi

# A running `study` keeps its file: copy beside it, then rename over it.
place() {
    install -m "$1" "$2" "$3.new"
    mv -f "$3.new" "$3"
}

strip -o "$build/study.stripped" "$build/study"
place 755 "$build/study.stripped" "$prefix/bin/study"
rm -f "$build/study.stripped"
place 755 "$build/study-kernel" "$home/study-kernel"
place 755 "$build/libStudy.so" "$home/libStudy.so"
for module in Study Engine Events; do
    place 644 "$build/Modules/$module.swiftmodule" "$home/modules/$module.swiftmodule"
done
# Engine and Study import these C targets; a compiler that reads their modules wants the headers.
for target in EngineKernels KernelSupport; do
    rm -rf "$home/modules/$target"
    mkdir -p "$home/modules/$target"
    cp Sources/$target/include/*.h "$home/modules/$target/"
    printf 'module %s {\n    umbrella "."\n    export *\n}\n' "$target" \
        >"$home/modules/$target/module.modulemap"
done
echo "install: $prefix/bin/study"
case ":$PATH:" in
*":$prefix/bin:"*) ;;
*) echo "  next:  put $prefix/bin on your PATH" ;;
esac
