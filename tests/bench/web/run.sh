#!/usr/bin/env bash
# The CIFAR-10 network, one picture at a time, on one thread of headless Chromium: a built page, one with relaxed
# multiply-adds, onnxruntime-web and TensorFlow.js (both WebAssembly), side by side; and the same code compiled for this
# processor. Milliseconds, the median and the best of many runs. Then how long it takes from `ninc build` to a page's first
# answer.
#
#     tests/bench/web/run.sh [FOLDER]      everything stays in FOLDER (target/web unless given); NINC is the program
set -euo pipefail
cd "$(dirname "$0")/../../.."
ninc=${NINC:-target/release/ninc}
out=${1:-target/web}
mkdir -p "$out"
cp tests/bench/web/{package.json,*.html,*.mjs} "$out"
model=(models/cifar10.nin --weights models/cifar10.safetensors)
"$ninc" build "${model[@]}" --target wasm32 -o "$out/strict" > /dev/null
"$ninc" build "${model[@]}" --target wasm32 --relaxed -o "$out/relaxed" > /dev/null
"$ninc" export "${model[@]}" --overwrite -o "$out/cifar10.onnx" > /dev/null
cp models/cifar10.safetensors "$out"
[ -d "$out/node_modules" ] || (cd "$out" && npm install --no-audit --no-fund --ignore-scripts > npm.log)
node tests/bench/web/run.mjs "$out"
node tests/bench/web/first.mjs "$ninc" "$out"
