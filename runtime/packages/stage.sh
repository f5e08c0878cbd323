#!/usr/bin/env bash
# Lays out what a package installs, below a prefix: program, manual pages, completions, models, documents.
#
#     runtime/packages/stage.sh PROGRAM PREFIX
set -euo pipefail
[ $# = 2 ] || { echo "usage: stage.sh PROGRAM PREFIX" >&2; exit 2; }
program=$(realpath "$1")
mkdir -p "$2"
prefix=$(realpath "$2")
cd "$(dirname "$0")/../.."

install -D -m 755 "$program" "$prefix/bin/ninc"
mkdir -p "$prefix/share/man/man1"
"$program" man "$prefix/share/man/man1"
gzip -9 -n "$prefix"/share/man/man1/*.1

completions() { mkdir -p "$(dirname "$2")" && "$program" completions "$1" >"$2"; }
completions bash "$prefix/share/bash-completion/completions/ninc"
completions zsh "$prefix/share/zsh/vendor-completions/_ninc"
completions fish "$prefix/share/fish/vendor_completions.d/ninc.fish"

install -D -m 644 -t "$prefix/share/ninc/models" models/*.nin models/*.safetensors models/README.md
install -D -m 644 -t "$prefix/share/ninc/pictures" tests/data/digit-7.png tests/data/cat.png tests/data/mnist-7.png
install -D -m 644 -t "$prefix/share/doc/ninc" README.md LICENSE
install -m 644 grammar/README.md "$prefix/share/doc/ninc/reference.md"
gzip -9 -n -c CHANGELOG.md >"$prefix/share/doc/ninc/changelog.gz"
python3 runtime/packages/licences.py >"$prefix/share/doc/ninc/THIRD-PARTY.txt"
chmod -R u=rwX,go=rX "$prefix"
