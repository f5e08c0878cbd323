#!/usr/bin/env bash
# On a machine with a GPU, in one run of at most about ten minutes: checks, then timings beside PyTorch on the same card,
# and one table of both (OUT/table.md).
#
#     tests/gpu/run.sh [DEVICE] [OUT]        DEVICE: as `ninc devices` calls it, opencl unless said
#
# Needs the card's OpenCL driver; a Rust toolchain, or binaries built elsewhere (NINC, and TESTS: the binary `all` of
# `cargo test --no-run`); for the comparison a Python with a CUDA build of torch. Each part has a limit, ends the script never,
# and says in the table when it failed.
#
# For a trial without a GPU all of it can be made small:
#     MODEL=models/digits.nin INFER="1 4" TRAIN=4 CHECKS="opencl::devices" EACH=1 tests/gpu/run.sh opencl:0 /tmp/trial
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1
device=${1:-opencl}
out=${2:-gpu-results}
model=${MODEL:-models/cifar10.nin}
read -ra infer <<< "${INFER:-1 128 1024}"
read -ra train <<< "${TRAIN:-128 512}"
read -ra checks <<< "${CHECKS:-opencl::}"
each=${EACH:-2}
mkdir -p "$out"
: > "$out/ninc.jsonl"
: > "$out/torch.jsonl"
: > "$out/failed.txt"
begin=$SECONDS

# What this part of the run does, its limit in seconds, and its command.
part() {
    local name=$1 limit=$2
    shift 2
    echo "== $name (at $((SECONDS - begin)) s)" >&2
    timeout "$limit" "$@"
    local code=$?
    if ((code != 0)); then
        echo "$name: $([[ $code == 124 ]] && echo "not done after $limit s" || echo "failed with code $code")" | tee -a "$out/failed.txt" >&2
    fi
    return $code
}

ninc=${NINC:-target/release/ninc}
if [[ -z ${NINC:-} ]]; then
    part "build" 1200 cargo build --release --locked || exit 1
fi
part "devices" 60 "$ninc" devices | tee "$out/devices.txt"
# Without the device nothing below makes sense.
part "the device" 120 "$ninc" bench models/digits.nin --device "$device" --batch 1 --rounds 1 --no-peak || exit 1

# The whole suite of the OpenCL back end, one test after the other: they share the device.
if [[ -n ${TESTS:-} ]]; then
    tests=("$TESTS")
else
    tests=(cargo test --release --locked --test all --)
fi
part "checks" 240 "${tests[@]}" "${checks[@]}" --test-threads=1 2>&1 | tee "$out/tests.txt" | grep -E "^test |^test result|skipped|panicked" || true
part "digits to the end" 60 "$ninc" train models/digits.nin --overwrite --device "$device" --out "$out/digits" 2>&1 | tee "$out/digits.txt" | tail -n 2

measure() {
    local mode=$1 batch=$2 precision=$3
    part "ninc $mode $batch $precision" 60 "$ninc" bench "$model" --device "$device" --mode "$mode" --batch "$batch" \
        --no-peak --json --precision "$precision" | tee -a "$out/ninc.jsonl"
}
for precision in f32 tf32 bf16; do
    for batch in "${infer[@]}"; do measure infer "$batch" "$precision"; done
    for batch in "${train[@]}"; do measure train "$batch" "$precision"; done
done
middle=${infer[$((${#infer[@]} / 2))]}
part "profile of inference" 60 "$ninc" bench "$model" --device "$device" --batch "$middle" --no-peak --profile > "$out/profile-infer.txt"
part "profile of training" 60 "$ninc" bench "$model" --device "$device" --mode train --batch "${train[0]}" --no-peak --profile \
    > "$out/profile-train.txt"

# The same network in PyTorch, as far as time allows: what matters most comes first.
if python3 -c 'import torch, sys; sys.exit(not torch.cuda.is_available())' 2> /dev/null; then
    left=$((570 - (SECONDS - begin)))
    part "PyTorch" $((left > 60 ? left : 60)) python3 tests/gpu/torch_bench.py --infer "${infer[@]}" --train "${train[@]}" \
        --seconds "$each" | tee "$out/torch.jsonl"
else
    echo "PyTorch: skipped, no torch that sees a GPU" | tee -a "$out/failed.txt" >&2
fi
python3 tests/gpu/table.py "$out" | tee "$out/table.md"
echo "== done after $((SECONDS - begin)) s: $out/table.md" >&2
