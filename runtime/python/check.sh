#!/usr/bin/env bash
# Tests the Python package.
#
#     runtime/python/check.sh --quick        the module of a development build, with this machine's Python (as CI does)
#     runtime/python/check.sh [PYTHON…]      the wheel, installed in a fresh environment of each of these Pythons
#
# It needs a Python with `venv` and an index of packages; without them it says that it is skipped. The wheel is built for
# glibc 2.28 and lies in target/wheels. NINC names the program to compare with (that of the same build unless said).
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
target=${CARGO_TARGET_DIR:-$root/target}
cd "$root"

# Makes an environment in folder $2 with Python $1 and these packages.
environment() {
    local python=$1 folder=$2
    shift 2
    "$python" -m venv "$folder" 2>/dev/null && "$folder/bin/pip" install -q "$@"
}

if [ "${1:-}" = --quick ]; then
    if ! environment python3 "$target/python-venv" numpy pillow pytest; then
        echo "SKIPPED: the Python package: there is no python3 with venv, or no numpy to be had"
        exit 0
    fi
    # What the tests of the workspace were built with, so that little is built again.
    cargo build --locked --workspace --all-targets
    rm -rf "$target/python"
    mkdir -p "$target/python"
    cp -r runtime/python/ninc "$target/python/"
    cp "$target/debug/lib_ninc.so" "$target/python/ninc/_ninc.abi3.so"
    export NINC=${NINC:-$target/debug/ninc} NINC_CALLS=1000 PYTHONPATH=$target/python
    "$target/python-venv/bin/python" -m pytest -c runtime/python/pyproject.toml runtime/python/tests
    exit
fi

[ $# -gt 0 ] || set -- python3
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
if ! environment python3 "$tools/build" 'maturin>=1.16,<2' 'ziglang>=0.15' mypy numpy pillow; then
    echo "SKIPPED: the wheel: there is no python3 with venv, or no maturin to be had"
    exit 0
fi
"$tools/build/bin/mypy" --strict --python-version 3.10 runtime/python/ninc
(cd runtime/python && PATH=$tools/build/bin:$PATH maturin build --release --locked --zig \
    --compatibility manylinux_2_28 --out "$target/wheels")
wheel=$(ls -t "$target"/wheels/ninc-*.whl | head -n 1)
ls -l "$wheel"
for python in "$@"; do
    "$python" --version
    environment "$python" "$tools/venv" "$wheel" pillow pytest
    "$tools/venv/bin/ninc" --version
    # From another folder: what is tested is what was installed.
    (cd "$tools" && NINC=${NINC:-$tools/venv/bin/ninc} venv/bin/python -m pytest -c "$root/runtime/python/pyproject.toml" \
        --rootdir "$root/runtime/python" "$root/runtime/python/tests")
    rm -rf "$tools/venv"
done
