#!/usr/bin/env bash
# Do two builds of ninc compute the same bits? For each shipped model and each instruction set that this machine has: the weights
# after some steps of training (dropout and augmentation included), and the results for one image and for a batch, from the
# same weights. Images are prepared arrays, so preparation has no part in it.
#
#     tests/same_bits.sh OLD NEW [MODEL…] [-- OPTION…]      options for both, as `--precision bf16 --algorithm winograd`
#
# Needs Python 3 and no data set. Prints a table; exit code 1 if anything differs or fails.
set -euo pipefail

[ $# -ge 2 ] || { sed -n '2,8p' "$0"; exit 2; }
old=$(realpath "$1") new=$(realpath "$2")
shift 2
models=() options=()
while [ $# -gt 0 ] && [ "$1" != -- ]; do models+=("$1"); shift; done
[ $# -eq 0 ] || { shift; options=("$@"); }
root=$(cd "$(dirname "$0")/.." && pwd)
[ ${#models[@]} -gt 0 ] || for file in "$root"/models/*.nin; do models+=("$(basename "$file" .nin)"); done
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT
export XDG_CACHE_HOME=$place/cache

# The model with prepared arrays as its data, and the arrays: noise around one pattern a class.
write_inputs() {
    python3 - "$root/models/$1.nin" "$place" "$2" <<'PY'
import array, io, random, re, sys, zipfile
model, place, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
text = open(model).read()
dims = [int(n) for n in re.search(r"input image: \[([\d, ]+)\]", text)[1].split(",")]
classes = int(re.search(r"classes = (\d+)", text)[1])
if classes > count:
    # Each class needs an image to learn from.
    text = text.replace(f"classes = {classes}", f"classes = {count // 2}")
    classes = count // 2
data = re.search(r"^data \{.*?^\}\n", text, re.S | re.M)[0]
own = "\n".join(line for line in data.splitlines() if re.match(r"\s*augment", line))
open(f"{place}/model.nin", "w").write(text.replace(data, f"data {{\n    source = npz(\"data.npz\")\n{own}\n}}\n"))
draw = random.Random(1)
size = 1
for n in dims:
    size *= n
noise = [draw.gauss(0, 1) for _ in range(4096)]
def image(label):
    at, shift = label * 97, draw.randrange(4096)
    return [noise[(at + i // 3) % 4096] + 0.5 * noise[(shift + 7 * i) % 4096] for i in range(size)]
def npy(shape, kind, values):
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': ({', '.join(map(str, shape))},), }}"
    head = head.ljust((len(head) + 10 + 64) // 64 * 64 - 11) + "\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode() + values.tobytes()
def images(labels):
    return npy([len(labels), *dims], "<f4", array.array("f", [v for label in labels for v in image(label)]))
train = [i if i < classes else draw.randrange(classes) for i in range(count)]
with zipfile.ZipFile(f"{place}/data.npz", "w") as out:
    for name, labels in (("", train), ("_test", train[:4])):
        out.writestr(f"x{name}.npy", images(labels))
        out.writestr(f"y{name}.npy", npy([len(labels)], "<i8", array.array("q", labels)))
open(f"{place}/one.npy", "wb").write(images([1]))
open(f"{place}/batch.npy", "wb").write(images([label % classes for label in range(11)]))
PY
}

# Tensors of two files by name; what else is in them may differ between versions.
same_weights() {
    python3 - "$1" "$2" <<'PY'
import json, sys
def read(path):
    raw = open(path, "rb").read()
    end = 8 + int.from_bytes(raw[:8], "little")
    head = json.loads(raw[8:end])
    head.pop("__metadata__", None)
    return {n: (t["dtype"], t["shape"], raw[end:][slice(*t["data_offsets"])]) for n, t in head.items()}
old, new = map(read, sys.argv[1:])
sys.exit(not old or old != new)
PY
}

failed=0
# A cell of the table: both builds run the same command, then a comparison decides.
cell() {
    local what=$1 compare=$2 file=$3
    shift 3
    for side in old new; do
        if ! (cd "$place" && "${!side}" "${@//SIDE/$side}" >"$place/log" 2>&1); then
            echo "$what: the $side build fails: $(tail -1 "$place/log")" >&2
            failed=1 result=fails
            return
        fi
    done
    result=same
    $compare "$place/${file//SIDE/old}" "$place/${file//SIDE/new}" || failed=1 result=DIFFER
}

printf '%-14s %-9s %-9s %-9s %-9s\n' model isa training one batch
for model in "${models[@]}"; do
    case $model in
        digits) steps=200 batch=32 count=320 ;;
        imagenet) steps=2 batch=2 count=4 ;;
        *) steps=3 batch=12 count=24 ;;
    esac
    write_inputs "$model" "$count"
    for isa in portable avx2 avx512; do
        common=(--isa "$isa" ${options[@]+"${options[@]}"})
        "$old" build "$place/model.nin" "${common[@]}" >/dev/null 2>&1 || continue
        name=$(sed -n 's/^network \([a-z0-9_]*\).*/\1/p' "$place/model.nin")
        rm -rf "$place/old" "$place/new"
        cell "$model $isa training" same_weights "SIDE/$name.safetensors" \
            train model.nin "${common[@]}" --steps "$steps" --batch "$batch" --out SIDE
        row=("$result")
        for images in one batch; do
            cell "$model $isa $images" cmp "SIDE.npy" \
                run model.nin "${common[@]}" --weights "old/$name.safetensors" "$images.npy" --output SIDE.npy --no-cache
            row+=("$result")
        done
        printf '%-14s %-9s %-9s %-9s %-9s\n' "$model" "$isa" "${row[@]}"
    done
done
[ $failed = 0 ] && echo "the same bits" || { echo "the builds differ"; exit 1; }
