#!/usr/bin/env bash
# Trainings that several processes share over MPI: the same weights for any number of ranks, with each MPI that this machine
# has, and refusals and ends that leave a checkpoint.
#
#     tests/mpi/run.sh [PART…]      core (digits, few steps), digits, cifar10, devices, pictures, refused, killed,
#                                 slurm; core unless said
#
# killed=30 kills 30 ranks with each MPI, killed 15.
# NINC names the program (target/debug/ninc unless said), NINC_DATA a folder with cifar-10-binary.tar.gz. Exit code 1 as soon
# as anything differs.
set -euo pipefail
cd "$(dirname "$0")/../.."
ninc=$(realpath "${NINC:-target/debug/ninc}")
data=${NINC_DATA:-../shared/data}/cifar-10-binary.tar.gz
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

# Each launcher, with what lets it start as root, and more processes than there are cores.
launchers=()
command -v mpirun.openmpi >/dev/null && launchers+=("mpirun.openmpi --allow-run-as-root --oversubscribe")
command -v mpirun.mpich >/dev/null && launchers+=("mpirun.mpich")
if [ ${#launchers[@]} = 0 ]; then
    echo "SKIPPED: there is neither mpirun.openmpi nor mpirun.mpich (Debian: openmpi-bin, mpich)"
    exit 0
fi

fail() { echo "FAILED: $*" >&2; exit 1; }

# hash OUT: of the weights, those of the best epoch included.
hash() { cat "$1"/*.safetensors | sha256sum; }

# train OUT RANKS OPTION…: with the launcher in $launcher; 0 ranks are a process alone.
train() {
    local out=$1 ranks=$2 start=()
    shift 2
    [ "$ranks" = 0 ] || start=($launcher -n "$ranks")
    "${start[@]}" "$ninc" train "$@" --out "$out" >>"$place/said" 2>&1 || { cat "$place/said" >&2; return 1; }
}

# same MODEL STEPS RANKS… -- OPTION…: hashes of all, and of a training that goes from four ranks to three.
same() {
    local model=$1 steps=$2 ranks=() expected found launcher out=$place/out
    shift 2
    while [ "$1" != -- ]; do ranks+=("$1"); shift; done
    shift
    local options=("models/$model.nin" --batch 64 "$@")
    rm -rf "$out"
    train "$out" 0 "${options[@]}" --steps "$steps" --threads 2
    options+=(--threads 1)
    expected=$(hash "$out")
    echo "$model, $steps steps, one process: $expected"
    for launcher in "${launchers[@]}"; do
        for count in "${ranks[@]}"; do
            rm -rf "$out"
            train "$out" "$count" "${options[@]}" --steps "$steps"
            found=$(hash "$out")
            [ "$found" = "$expected" ] || fail "$launcher, $count ranks: $found"
            echo "${launcher%% *}: $count ranks have the same weights"
        done
        rm -rf "$out"
        train "$out" 4 "${options[@]}" --steps "$steps" --checkpoint-every $((steps / 2)) --keep 3
        rm "$out/$model.safetensors"
        train "$out" 3 "${options[@]}" --steps "$steps" \
            --resume="$out/$model.step-$(printf %08d $((steps / 2))).checkpoint"
        [ "$(hash "$out")" = "$expected" ] || fail "$launcher, from 4 ranks to 3"
        echo "${launcher%% *}: from 4 ranks to 3 in the middle, the same weights"
    done
}

# OpenCL devices of several processes have the same weights for any number, and one process goes on to them.
devices() {
    local launcher ranks expected= out=$place/out options=(models/digits.nin --device opencl --batch 64 --steps 8)
    if ! "$ninc" devices | grep -q '^opencl:0'; then
        echo "SKIPPED: no OpenCL device (Debian: pocl-opencl-icd)"
        return
    fi
    for launcher in "${launchers[@]}"; do
        for ranks in 2 3; do
            rm -rf "$out"
            train "$out" "$ranks" "${options[@]}" --checkpoint-every 4 --keep 3
            expected=${expected:-$(hash "$out")}
            [ "$(hash "$out")" = "$expected" ] || fail "$launcher, OpenCL on $ranks ranks"
        done
        rm "$out/digits.safetensors"
        train "$out" 0 "${options[@]}" --resume="$out/digits.step-00000004.checkpoint"
        [ "$(hash "$out")" = "$expected" ] || fail "$launcher, OpenCL from 3 ranks to one process"
        echo "${launcher%% *}: OpenCL devices of 2 and 3 ranks, and one process from the middle on"
    done
}

# Processes that srun starts, with each of its ways to meet that it can load. A machine becomes a cluster of one node by
# Debian's slurm-wlm and munge, a slurm.conf, and libpmix-dev, without which `--mpi=pmix` is listed but cannot be loaded.
slurm() {
    local way expected out=$place/out options=(models/digits.nin --batch 64 --steps 12 --threads 1)
    if ! timeout 10 sinfo -h >/dev/null 2>&1; then
        echo "SKIPPED: no cluster of Slurm answers here"
        return
    fi
    rm -rf "$out"
    train "$out" 0 "${options[@]}"
    expected=$(hash "$out")
    # The first one must still be there when the second comes.
    srun --mpi=none -n 2 "$ninc" train models/digits.nin --epochs 20 --out "$place/apart" >"$place/said" 2>&1 &&
        fail "two processes that do not know of each other trained in one folder"
    grep -q -- "srun --mpi=pmix" "$place/said" || fail "$(cat "$place/said")"
    for way in pmix pmi2; do
        if ! srun --mpi=$way -n 2 true 2>/dev/null; then
            echo "SKIPPED: srun --mpi=$way cannot start anything"
            continue
        fi
        rm -rf "$out"
        srun --mpi=$way --kill-on-bad-exit=1 -n 2 "$ninc" train "${options[@]}" --out "$out" >>"$place/said" 2>&1 ||
            fail "srun --mpi=$way: $(tail -3 "$place/said")"
        [ "$(hash "$out")" = "$expected" ] || fail "srun --mpi=$way: other weights"
        srun --mpi=$way --kill-on-bad-exit=1 -n 2 "$ninc" bench models/digits.nin --mode train --rounds 3 | grep -q '^2 ' ||
            fail "srun --mpi=$way: not two ranks"
        echo "srun --mpi=$way: 2 ranks have the same weights"
    done
}

# Ranks that would make another training end before the first step, with one sentence.
refused() {
    local launcher said options=(--steps 5 --threads 1 --out "$place/refused")
    for launcher in "${launchers[@]}"; do
        said=$($launcher -n 1 "$ninc" train models/digits.nin "${options[@]}" : \
            -n 1 "$ninc" train models/digits.nin "${options[@]}" --seed 9 2>&1) && fail "another recipe was taken"
        grep -q "rank 1 has another recipe than rank 0" <<<"$said" || fail "$said"
        [ "$(grep -c "^error" <<<"$said")" = 1 ] || fail "more than one error: $said"
        [ ! -e "$place/refused/digits.checkpoint" ] || fail "a checkpoint of a training that was refused"
        said=$($launcher -n 1 "$ninc" train models/digits.nin "${options[@]}" : \
            -n 1 "$ninc" train "$place/nothing.nin" "${options[@]}" 2>&1) && fail "a missing model was taken"
        grep -q "rank 1: " <<<"$said" || fail "$said"
        # A training of a version whose sums depended on caches.
        cp -r tests/data/checkpoint/out "$place/older"
        said=$($launcher -n 2 "$ninc" train tests/data/checkpoint/small.nin --threads 1 --steps 6 --resume \
            --out "$place/older" 2>&1) && fail "sums in groups of images went on in two processes"
        grep -q "added up in groups of images: several processes cannot continue that" <<<"$said" || fail "$said"
        rm -r "$place/older"
        echo "${launcher%% *}: ranks with other files or options are refused"
    done
}

# A folder of pictures, of which each rank reads a part before the first step and decodes its own images; copies, which each
# rank reads whole; a copy that differs.
pictures() {
    local launcher expected out=$place/out photos=$place/photos copy=$place/copy class i
    local options=("$place/pictures.nin" --no-data-cache --threads 1) all
    cat >"$place/pictures.nin" <<'END'
network pictures(classes = 2) {
    input image: [3, 16, 16]
    image |> conv(kernel = 3, pad = 1, channels = 8) |> relu |> conv(kernel = 3, pad = 1, channels = classes)
        |> global_avg_pool |> softmax
}
data { source = folder("photos")  prepare = [mean_std]  augment = [flip]  valid = 0.2 }
train { loss = cross_entropy  optimizer = sgd(rate = 0.1, momentum = 0.9)  batch = 24  epochs = 3  seed = 1 }
END
    mkdir -p "$photos/animal" "$photos/other"
    for i in {10..39}; do
        class=$([ $((i % 3)) = 0 ] && echo cat || echo horse)
        cp "tests/data/$class.png" "$photos/animal/$i.png"
        class=$([ $((i % 4)) = 0 ] && echo digit-7 || echo ship)
        cp "tests/data/$class.png" "$photos/other/$i.png"
    done
    cp -r "$photos" "$copy"
    rm -rf "$out"
    train "$out" 0 "${options[@]}"
    expected=$(hash "$out")
    for launcher in "${launchers[@]}"; do
        for i in 2 3; do
            rm -rf "$out"
            train "$out" "$i" "${options[@]}"
            [ "$(hash "$out")" = "$expected" ] || fail "$launcher: pictures on $i ranks"
        done
        rm -rf "$out"
        all=("${options[@]}" --out "$out")
        $launcher -n 1 "$ninc" train "${all[@]}" : -n 1 "$ninc" train "${all[@]}" --data "$copy" >>"$place/said" 2>&1 ||
            fail "$launcher: copies of pictures: $(tail -3 "$place/said")"
        [ "$(hash "$out")" = "$expected" ] || fail "$launcher: copies of pictures"
        cp tests/data/horse.png "$copy/animal/21.png"
        said=$($launcher -n 1 "$ninc" train "${all[@]}" --overwrite : \
            -n 1 "$ninc" train "${all[@]}" --overwrite --data "$copy" 2>&1) && fail "other pictures were taken"
        grep -q "rank 1 has other training data than rank 0" <<<"$said" || fail "$said"
        cp tests/data/cat.png "$copy/animal/21.png"
        echo "${launcher%% *}: pictures in one folder and in copies"
    done
}

# killed TIMES: a random rank dies at a random moment, as often as that; what is resumed ends like what was not interrupted.
killed() {
    local times=$1 launcher expected out=$place/killed begin pids resume started done ends i
    local options=(models/digits.nin --batch 64 --threads 1 --steps 600 --checkpoint-every 5)
    rm -rf "$out"
    train "$out" 0 "${options[@]}"
    expected=$(hash "$out")
    for launcher in "${launchers[@]}"; do
        rm -rf "$out"
        done=0 ends=0
        while [ "$done" -lt "$times" ]; do
            resume=()
            [ ! -e "$out/digits.checkpoint" ] || resume=(--resume)
            $launcher -n 3 "$ninc" train "${options[@]}" --out "$out" "${resume[@]}" >"$place/said" 2>&1 &
            started=$!
            sleep "$((RANDOM % 3)).$((RANDOM % 10))"
            pids=($(pgrep -f "^$ninc train models/digits.nin .*--out $out" || true))
            begin=$SECONDS
            if [ ${#pids[@]} -gt 0 ] && kill -9 "${pids[RANDOM % ${#pids[@]}]}" 2>/dev/null; then
                while pgrep -f "^$ninc train models/digits.nin .*--out $out" >/dev/null; do
                    [ $((SECONDS - begin)) -le 30 ] || fail "$launcher: ranks live on after $((SECONDS - begin)) s"
                    sleep 0.1
                done
                # Open MPI 4.1.4 seldom waits for ever for a lock of its PMIx, once all ranks have ended.
                for ((i = 0; i < 300; i++)); do
                    kill -0 "$started" 2>/dev/null || break
                    sleep 0.1
                done
                if kill -9 "$started" 2>/dev/null; then echo "${launcher%% *} hangs after its ranks have ended"; fi
                done=$((done + 1))
            fi
            wait "$started" || true
            # One that was faster than its killer is done, and another begins.
            if [ -e "$out/digits.safetensors" ]; then
                [ "$(hash "$out")" = "$expected" ] || fail "$launcher: other weights after $done kills"
                ends=$((ends + 1))
                rm -rf "$out"
            fi
        done
        resume=()
        [ ! -e "$out/digits.checkpoint" ] || resume=(--resume)
        train "$out" 2 "${options[@]}" "${resume[@]}"
        [ "$(hash "$out")" = "$expected" ] || fail "$launcher: other weights after $times kills"
        echo "${launcher%% *}: the same weights after $times kills, in $((ends + 1)) trainings"
    done
}

[ $# -gt 0 ] || set -- core
for part in "$@"; do
    case $part in
        core)
            same digits 12 2 3 --
            pictures
            devices
            refused
            ;;
        digits) same digits 50 1 2 3 4 8 -- ;;
        cifar10)
            if [ -e "$data" ]; then same cifar10 50 1 2 3 4 8 -- --data "$data"; else echo "SKIPPED: no $data"; fi
            ;;
        devices) devices ;;
        slurm) slurm ;;
        pictures) pictures ;;
        refused) refused ;;
        killed | killed=*) times=${part#killed} && times=${times#=} && killed "${times:-15}" ;;
        *) echo "unknown part '$part'; parts: core, digits, cifar10, devices, pictures, refused, killed, slurm" >&2; exit 2 ;;
    esac
done
