#!/usr/bin/env bash
# On a machine with a GPU: checks, then timings beside PyTorch on the same card. Writes everything to OUT.
#
#     tests/gpu/run.sh [DEVICE] [OUT]        DEVICE: as `ninc devices` calls it, opencl unless said
#
# Needs a Rust toolchain, the card's OpenCL driver, and for the comparison a Python with a CUDA build of torch. Not run yet
# on a real GPU: the project has had none at hand.
set -euo pipefail
cd "$(dirname "$0")/../.."
device=${1:-opencl}
out=${2:-gpu-results}
mkdir -p "$out"

cargo build --release --locked
ninc=target/release/ninc
$ninc devices | tee "$out/devices.txt"

echo "== checks"
cargo test --release --locked --test all -- opencl:: 2>&1 | tee "$out/tests.txt"
$ninc train models/digits.nin --device "$device" --out "$out/digits" | tee "$out/digits.txt"

echo "== inference and training, ours"
: > "$out/ninc.jsonl"
for batch in 1 128 1024; do
    $ninc bench models/cifar10.nin --device "$device" --batch $batch --json | tee -a "$out/ninc.jsonl"
done
for batch in 128 512; do
    $ninc bench models/cifar10.nin --device "$device" --mode train --batch $batch --json | tee -a "$out/ninc.jsonl"
done
$ninc bench models/cifar10.nin --device "$device" --batch 128 --profile > "$out/profile-infer.txt"
$ninc bench models/cifar10.nin --device "$device" --mode train --batch 128 --profile > "$out/profile-train.txt"

echo "== the same networks in PyTorch"
if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2>/dev/null; then
    python3 tests/gpu/torch_bench.py | tee "$out/torch.jsonl"
else
    echo "skipped: no torch that sees a GPU" | tee "$out/torch.jsonl"
fi
