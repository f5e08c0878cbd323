#!/usr/bin/env bash
# Builds the pages of three networks and drives them in headless Chromium (page.mjs), also where something is wrong
# (wrong.mjs), and the page of `ninc serve` (served.mjs).
#
#     tests/web/pages.sh [FOLDER]      pages and screenshots stay in FOLDER, if one is given
#
# NINC is the program (target/release/ninc unless set). Without node or Chromium it says that it is skipped.
set -euo pipefail
cd "$(dirname "$0")/../.."
for program in node "${CHROMIUM:-chromium}"; do
    command -v "$program" > /dev/null || { echo "skipped: no $program"; exit 0; }
done
ninc=${NINC:-target/release/ninc}
out=${1:-$(mktemp -d)}
[ $# -gt 0 ] || trap 'rm -rf "$out"' EXIT
mkdir -p "$out/shots"
cp tests/data/*.png "$out"
for name in digits mnist cifar10; do
    begin=${EPOCHREALTIME/[.,]/}
    "$ninc" build "models/$name.nin" --weights "models/$name.safetensors" --target wasm32 -o "$out/$name" > /dev/null
    echo "$name: built in $(((${EPOCHREALTIME/[.,]/} - begin) / 1000)) ms"
done
"$ninc" build models/cifar10.nin --weights models/cifar10.safetensors --target wasm32 --threads 4 -o "$out/threads" > /dev/null
"$ninc" build models/digits.nin --weights models/digits.safetensors --target wasm32 --precision bf16 -o "$out/other" > /dev/null
node tests/web/wrong.mjs "$out"
node tests/web/page.mjs "$out" "$out/shots" digits digit-7.png 7 mnist mnist-7.png 7 cifar10 ship.png ship
node tests/web/served.mjs "$ninc" "$out/shots" digits digit-7.png 7 cifar10 cat.png cat
