#!/usr/bin/env bash
# Builds the program for any Linux of x86-64 with glibc 2.28 or newer, and packs it.
#
#     runtime/packages/binary.sh
#
# Compiler and linker against the old glibc come from PyPI, into target/packages/venv. The program alone is left at
# target/x86_64-unknown-linux-gnu/release/ninc, the archive in target/packages.
set -euo pipefail
cd "$(dirname "$0")/../.."
glibc=2.28
out=target/packages
mkdir -p "$out"
if [ ! -x "$out/venv/bin/cargo-zigbuild" ]; then
    python3 -m venv "$out/venv"
    "$out/venv/bin/pip" install --quiet ziglang==0.17.1 cargo-zigbuild==0.24.1
fi
rustup target add x86_64-unknown-linux-gnu 2>/dev/null || true
PATH="$PWD/$out/venv/bin:$PATH" cargo zigbuild --release --locked --target "x86_64-unknown-linux-gnu.$glibc"

program=target/x86_64-unknown-linux-gnu/release/ninc
version=$("$program" --version | cut -d' ' -f2)
name=ninc-$version-linux-x86_64
rm -rf "${out:?}/$name"
runtime/packages/stage.sh "$program" "$out/$name"
# The same bytes for the same commit.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
tar --create --directory "$out" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner "$name" |
    gzip -9 -n >"$out/$name.tar.gz"
rm -r "${out:?}/$name"
echo "$out/$name.tar.gz: $(stat -c %s "$out/$name.tar.gz") bytes, the program alone $(stat -c %s "$program")"
